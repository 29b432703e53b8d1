// SPDX-License-Identifier: MIT
// The decoder of a tokenizer.json, applied to every token when the file is read.
#include "tokenizer/reader.h"

#include "base/utf8.h"

#include <string.h>

typedef enum decode_kind {
    DECODE_REPLACE,
    DECODE_METASPACE,
    DECODE_BYTE_FALLBACK,
    DECODE_STRIP,
} decode_kind;

typedef struct decode_step {
    decode_kind kind;
    rill__text from, to;     // REPLACE, METASPACE; STRIP: the character
    json_int_t start, stop;  // STRIP
} decode_step;

typedef struct decode_plan {
    decode_step steps[RILL_MAX_STEPS];
    size_t n;
    bool byte_level;
    bool fused;  // what follows looks at the whole text
} decode_plan;

static rill_status read_strip(const rill__reader *r, const json_t *value, decode_plan *plan,
                              decode_step *step) {
    uint32_t c;
    step->kind = DECODE_STRIP;
    step->from = rill__json_text(value, "content");
    step->start = json_integer_value(json_object_get(value, "start"));
    step->stop = json_integer_value(json_object_get(value, "stop"));
    bool one = step->from.length > 0 &&
               rill__utf8_decode(step->from.data, step->from.length, &c) == step->from.length;
    if (!one || step->start < 0 || step->stop < 0 || step->start > 1000 || step->stop > 1000)
        return rill__reader_fail(r, RILL_EFORMAT, "decoder.Strip",
                                 "content is one character, start and stop are 0 to 1000");
    if (!plan->fused) {
        plan->n++;
        return RILL_OK;
    }
    if (step->stop > 0 || r->t->decoding.lead != RILL_LEAD_KEEP)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "decoder.Strip",
                                 "at the end of a whole text, or twice at its start");
    if (step->start == 0) return RILL_OK;
    r->t->decoding.lead = RILL_LEAD_CHARACTERS;
    r->t->decoding.lead_character = c;
    r->t->decoding.lead_count = (unsigned)step->start;
    return RILL_OK;
}

static rill_status read_metaspace(const rill__reader *r, const json_t *value, decode_plan *plan,
                                  decode_step *step) {
    const char *scheme = json_string_value(json_object_get(value, "prepend_scheme"));
    if (!scheme) scheme = rill__json_flag(value, "add_prefix_space", true) ? "always" : "never";
    step->kind = DECODE_METASPACE;
    step->from = rill__json_text(value, "replacement");
    if (!step->from.data) step->from = (rill__text){"\xe2\x96\x81", 3};
    step->to = (rill__text){" ", 1};
    plan->n++;
    if (strcmp(scheme, "never") != 0) r->t->decoding.lead = RILL_LEAD_FIRST_TOKEN;
    return RILL_OK;
}

static rill_status read_step(const rill__reader *r, const json_t *value, decode_plan *plan) {
    const char *type = rill__json_type(value);
    if (plan->n == RILL_MAX_STEPS)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "decoder", "more than %d steps",
                                 RILL_MAX_STEPS);
    decode_step *step = &plan->steps[plan->n];
    *step = (decode_step){0};
    if (strcmp(type, "ByteLevel") == 0) {
        plan->byte_level = true;
        return RILL_OK;
    }
    if (strcmp(type, "Fuse") == 0) {
        plan->fused = true;
        return RILL_OK;
    }
    if (strcmp(type, "Strip") == 0) return read_strip(r, value, plan, step);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(r, value, plan, step);
    if (strcmp(type, "ByteFallback") == 0) {
        step->kind = DECODE_BYTE_FALLBACK;
        plan->n++;
        return RILL_OK;
    }
    if (strcmp(type, "Replace") == 0) {
        step->kind = DECODE_REPLACE;
        step->from = rill__json_text(json_object_get(value, "pattern"), "String");
        step->to = rill__json_text(value, "content");
        if (step->from.length == 0 || step->from.length > RILL_MAX_STEP_BYTES ||
            step->to.length > RILL_MAX_STEP_BYTES)
            return rill__reader_fail(r, RILL_EUNSUPPORTED, "decoder.Replace",
                                     "a pattern that is not a String of 1 to %d bytes",
                                     RILL_MAX_STEP_BYTES);
        plan->n++;
        return RILL_OK;
    }
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "decoder", "type '%.40s' is not known", type);
}

// ---- Applying it ----------------------------------------------------------------------------

static rill_status replace(rill__text text, const decode_step *step, rill__bytes *out,
                           rill_error *err) {
    rill_status status = RILL_OK;
    while (status == RILL_OK && text.length > 0) {
        const char *hit = memmem(text.data, text.length, step->from.data, step->from.length);
        size_t before = hit ? (size_t)(hit - text.data) : text.length;
        status = rill__bytes_append(out, text.data, before, err);
        if (!hit) break;
        if (status == RILL_OK)
            status = rill__bytes_append(out, step->to.data, step->to.length, err);
        text.data += before + step->from.length;
        text.length -= before + step->from.length;
    }
    return status;
}

static rill_status strip(rill__text text, const decode_step *step, rill__bytes *out,
                         rill_error *err) {
    rill__text c = step->from;
    for (json_int_t i = 0; i < step->start && text.length >= c.length; i++) {
        if (memcmp(text.data, c.data, c.length) != 0) break;
        text.data += c.length;
        text.length -= c.length;
    }
    for (json_int_t i = 0; i < step->stop && text.length >= c.length; i++) {
        if (memcmp(text.data + text.length - c.length, c.data, c.length) != 0) break;
        text.length -= c.length;
    }
    return rill__bytes_append(out, text.data, text.length, err);
}

// One token through all steps; the result is in buffers[0].
static rill_status apply(const rill__reader *r, const decode_plan *plan, size_t id,
                         rill__bytes buffers[2]) {
    rill__tokenizer *t = r->t;
    rill__text text = rill__strings_get(&t->texts, id);
    rill__bytes_reset(&buffers[0]);
    rill_status status = rill__bytes_append(&buffers[0], text.data, text.length, r->err);
    for (size_t i = 0; status == RILL_OK && i < plan->n; i++) {
        const decode_step *step = &plan->steps[i];
        text = (rill__text){buffers[0].data ? buffers[0].data : "", buffers[0].length};
        int byte = rill__byte_token(text.data, text.length);
        rill__bytes_reset(&buffers[1]);
        if (step->kind == DECODE_BYTE_FALLBACK && byte >= 0) {
            t->decoding.flags[id] = RILL_OUTPUT_BYTES;
            status = rill__bytes_append(&buffers[1], &(char){(char)byte}, 1, r->err);
        } else if (step->kind == DECODE_BYTE_FALLBACK) {
            continue;
        } else if (step->kind == DECODE_STRIP) {
            status = strip(text, step, &buffers[1], r->err);
        } else {
            bool marked = text.length >= step->from.length &&
                          memmem(text.data, text.length, step->from.data, step->from.length);
            if (step->kind == DECODE_METASPACE && marked)
                t->decoding.flags[id] |= RILL_OUTPUT_SPACE;
            status = replace(text, step, &buffers[1], r->err);
        }
        rill__bytes swapped = buffers[0];
        buffers[0] = buffers[1];
        buffers[1] = swapped;
    }
    return status;
}

rill_status rill__read_decoder(const rill__reader *r, const json_t *value) {
    rill__tokenizer *t = r->t;
    decode_plan plan = {0};
    rill_status status = RILL_OK;
    const json_t *list = json_object_get(value, "decoders");
    if (strcmp(rill__json_type(value), "Sequence") == 0) {
        for (size_t i = 0; status == RILL_OK && i < json_array_size(list); i++)
            status = read_step(r, json_array_get(list, i), &plan);
    } else if (value && !json_is_null(value)) {
        status = read_step(r, value, &plan);
    }
    if (status != RILL_OK) return status;
    if (plan.byte_level && plan.n > 0)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "decoder", "ByteLevel among other steps");
    if (plan.byte_level) return rill__decoding_from_bytes(t, r->err);
    rill__strings_init(&t->decoding.outputs);
    t->decoding.flags = rill__calloc(t->n_tokens, 1);
    if (!t->decoding.flags) return rill__fail_memory(r->err, "a vocabulary", t->n_tokens);
    rill__bytes buffers[2];
    rill__bytes_init(&buffers[0], RILL_MAX_TEXT_BYTES);
    rill__bytes_init(&buffers[1], RILL_MAX_TEXT_BYTES);
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        status = apply(r, &plan, id, buffers);
        if (status == RILL_OK)
            status = rill__strings_set(&t->decoding.outputs, id, buffers[0].data, buffers[0].length,
                                       r->err);
    }
    rill__bytes_deinit(&buffers[0]);
    rill__bytes_deinit(&buffers[1]);
    return status;
}
