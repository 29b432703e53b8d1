// SPDX-License-Identifier: MIT
// The normalizer, the pre-tokenizer and the post-processor of a tokenizer.json.
#include "tokenizer/reader.h"

#include "base/utf8.h"

#include <string.h>

// Calls `read` for a value, or for each of the list behind `key` if the value is a "Sequence".
// jansson bounds the depth.
static rill_status each(const rill__reader *r, const json_t *value, const char *key,
                        rill_status (*read)(const rill__reader *, const json_t *)) {
    if (!value || json_is_null(value)) return RILL_OK;
    if (strcmp(rill__json_type(value), "Sequence") != 0) return read(r, value);
    const json_t *list = json_object_get(value, key);
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (strcmp(rill__json_type(item), "Sequence") == 0)
            return rill__reader_fail(r, RILL_EUNSUPPORTED, key, "a Sequence in a Sequence");
        status = read(r, item);
    }
    return status;
}

// ---- Normalizer -----------------------------------------------------------------------------

rill__normal_step *rill__new_normal_step(const rill__reader *r, rill__normal_kind kind) {
    rill__tokenizer *t = r->t;
    if (t->n_normal == RILL_MAX_STEPS) {
        (void)rill__reader_fail(r, RILL_EUNSUPPORTED, "normalizer", "more than %d steps",
                                RILL_MAX_STEPS);
        return NULL;
    }
    rill__normal_step *step = &t->normal[t->n_normal++];
    *step = (rill__normal_step){.kind = kind};
    return step;
}

rill_status rill__set_replace(const rill__reader *r, rill__normal_step *step, rill__text from,
                              rill__text to) {
    if (from.length > RILL_MAX_STEP_BYTES || to.length > RILL_MAX_STEP_BYTES)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "normalizer", "a text of more than %d bytes",
                                 RILL_MAX_STEP_BYTES);
    step->from = rill__strndup(from.data ? from.data : "", from.length);
    step->to = rill__strndup(to.data ? to.data : "", to.length);
    step->n_from = from.length;
    step->n_to = to.length;
    return step->from && step->to ? RILL_OK : rill__fail_memory(r->err, "a normalizer", to.length);
}

static bool one_character(rill__text text) {
    uint32_t c;
    return text.length > 0 && rill__utf8_decode(text.data, text.length, &c) == text.length;
}

static rill_status read_replace(const rill__reader *r, const json_t *value) {
    const json_t *pattern = json_object_get(value, "pattern");
    rill__text literal = rill__json_text(pattern, "String");
    rill__text regular = rill__json_text(pattern, "Regex");
    rill__normal_step *step = rill__new_normal_step(r, RILL_NORMAL_REPLACE);
    if (!step) return RILL_EUNSUPPORTED;
    rill_status status = rill__set_replace(r, step, literal, rill__json_text(value, "content"));
    if (status == RILL_OK && regular.data)
        status = rill__pattern_open(regular.data, regular.length, &step->pattern, r->err);
    // What spans characters may span the place where a text is cut.
    if (regular.data || !one_character(literal)) r->t->normal_whole = true;
    return status;
}

// From base64: false for anything else.
static bool decode_base64(const char *text, size_t length, uint8_t *out, size_t *n) {
    uint32_t bits = 0;
    unsigned n_bits = 0;
    *n = 0;
    for (size_t i = 0; i < length && text[i] != '='; i++) {
        static const char digits[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit) return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        out[(*n)++] = (uint8_t)(bits >> n_bits);
    }
    return true;
}

static rill_status read_charsmap(const rill__reader *r, const json_t *value) {
    rill__tokenizer *t = r->t;
    rill__text text = rill__json_text(value, "precompiled_charsmap");
    if (!rill__new_normal_step(r, RILL_NORMAL_CHARSMAP)) return RILL_EUNSUPPORTED;
    t->normal_inert = true;
    if (t->charsmap_blob)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "normalizer", "two precompiled_charsmaps");
    t->charsmap_blob = rill__malloc(text.length + 1);
    if (!t->charsmap_blob) return rill__fail_memory(r->err, "a precompiled_charsmap", text.length);
    if (!decode_base64(text.data, text.length, t->charsmap_blob, &t->charsmap_blob_length))
        return rill__reader_fail(r, RILL_EFORMAT, "normalizer.precompiled_charsmap",
                                 "is not base64");
    return rill__charsmap_read(&t->charsmap, r->name, t->charsmap_blob, t->charsmap_blob_length,
                               r->err);
}

static rill_status read_normal_step(const rill__reader *r, const json_t *value) {
    static const struct {
        const char *type;
        rill__normal_kind kind;
        bool inert;
    } plain[] = {
        {"NFC", RILL_NORMAL_NFC, true},
        {"NFD", RILL_NORMAL_NFD, true},
        {"NFKC", RILL_NORMAL_NFKC, true},
        {"NFKD", RILL_NORMAL_NFKD, true},
        {"Lowercase", RILL_NORMAL_LOWERCASE, false},
        {"StripAccents", RILL_NORMAL_STRIP_ACCENTS, false},
    };
    const char *type = rill__json_type(value);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(type, plain[i].type) != 0) continue;
        r->t->normal_inert = r->t->normal_inert || plain[i].inert;
        return rill__new_normal_step(r, plain[i].kind) ? RILL_OK : RILL_EUNSUPPORTED;
    }
    if (strcmp(type, "Replace") == 0) return read_replace(r, value);
    if (strcmp(type, "Precompiled") == 0) return read_charsmap(r, value);
    if (strcmp(type, "Prepend") == 0) {
        rill__normal_step *step = rill__new_normal_step(r, RILL_NORMAL_PREPEND);
        return step ? rill__set_replace(r, step, (rill__text){0}, rill__json_text(value, "prepend"))
                    : RILL_EUNSUPPORTED;
    }
    if (strcmp(type, "Strip") == 0) {
        rill__normal_step *step = rill__new_normal_step(r, RILL_NORMAL_STRIP);
        if (!step) return RILL_EUNSUPPORTED;
        step->left = rill__json_flag(value, "strip_left", true);
        step->right = rill__json_flag(value, "strip_right", true);
        r->t->normal_whole = true;
        return RILL_OK;
    }
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "normalizer", "type '%.40s' is not known", type);
}

rill_status rill__read_normalizer(const rill__reader *r, const json_t *value) {
    return each(r, value, "normalizers", read_normal_step);
}

// ---- Pre-tokenizer --------------------------------------------------------------------------

rill__split_step *rill__new_split_step(const rill__reader *r, rill__split_kind kind,
                                       rill__behavior behavior) {
    rill__tokenizer *t = r->t;
    if (t->n_splits == RILL_MAX_STEPS) {
        (void)rill__reader_fail(r, RILL_EUNSUPPORTED, "pre_tokenizer", "more than %d steps",
                                RILL_MAX_STEPS);
        return NULL;
    }
    rill__split_step *step = &t->splits[t->n_splits++];
    *step = (rill__split_step){.kind = kind, .behavior = behavior};
    return step;
}

rill_status rill__add_pattern_step(const rill__reader *r, const char *pattern, size_t length,
                                   rill__behavior behavior, bool invert) {
    rill__split_step *step = rill__new_split_step(r, RILL_SPLIT_PATTERN, behavior);
    if (!step) return RILL_EUNSUPPORTED;
    step->invert = invert;
    return rill__pattern_open(pattern, length, &step->pattern, r->err);
}

static rill_status read_behavior(const rill__reader *r, const json_t *value, const char *fallback,
                                 rill__behavior *out) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(json_object_get(value, "behavior"));
    if (!name) name = fallback;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (rill__behavior)i;
            return RILL_OK;
        }
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "pre_tokenizer.behavior", "'%.40s' is not known",
                             name);
}

// A text as a pattern: letters and digits as they are, anything else of ASCII with a backslash.
static rill_status add_literal_pattern(const rill__reader *r, rill__text text,
                                       rill__behavior behavior, bool invert) {
    char pattern[2 * RILL_MAX_STEP_BYTES];
    size_t n = 0;
    if (text.length > RILL_MAX_STEP_BYTES)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "pre_tokenizer.pattern",
                                 "a text of more than %d bytes", RILL_MAX_STEP_BYTES);
    for (size_t i = 0; i < text.length; i++) {
        bool sign = text.data[i] > 0 && strchr("\\^$.[]|()?*+{}-#", text.data[i]);
        if (sign) pattern[n++] = '\\';
        pattern[n++] = text.data[i];
    }
    return rill__add_pattern_step(r, pattern, n, behavior, invert);
}

static rill_status read_split(const rill__reader *r, const json_t *value) {
    const json_t *pattern = json_object_get(value, "pattern");
    rill__text literal = rill__json_text(pattern, "String");
    rill__text regular = rill__json_text(pattern, "Regex");
    bool invert = rill__json_flag(value, "invert", false);
    rill__behavior behavior;
    rill_status status = read_behavior(r, value, "Isolated", &behavior);
    if (status != RILL_OK) return status;
    if (regular.data)
        return rill__add_pattern_step(r, regular.data, regular.length, behavior, invert);
    if (!one_character(literal)) return add_literal_pattern(r, literal, behavior, invert);
    rill__split_step *step = rill__new_split_step(r, RILL_SPLIT_CHARACTER, behavior);
    if (!step) return RILL_EUNSUPPORTED;
    step->invert = invert;
    rill__utf8_decode(literal.data, literal.length, &step->character);
    return RILL_OK;
}

static rill_status read_byte_level(const rill__reader *r, const json_t *value) {
    rill_status status = RILL_OK;
    if (rill__json_flag(value, "add_prefix_space", true)) {
        rill__split_step *step = rill__new_split_step(r, RILL_SPLIT_PREFIX, RILL_ISOLATED);
        if (!step) return RILL_EUNSUPPORTED;
        step->character = ' ';
    }
    if (rill__json_flag(value, "use_regex", true))
        status = rill__add_pattern_step(r, rill__gpt2_pattern, strlen(rill__gpt2_pattern),
                                        RILL_ISOLATED, false);
    if (status != RILL_OK) return status;
    return rill__new_split_step(r, RILL_SPLIT_BYTES, RILL_ISOLATED) ? RILL_OK : RILL_EUNSUPPORTED;
}

// Spaces become the mark, which is put in front and begins words. As the first step its first part
// is one more normalizer.
static rill_status read_metaspace(const rill__reader *r, const json_t *value) {
    rill__text mark = rill__json_text(value, "replacement");
    const char *scheme = json_string_value(json_object_get(value, "prepend_scheme"));
    if (!scheme) scheme = rill__json_flag(value, "add_prefix_space", true) ? "always" : "never";
    if (!mark.data) mark = (rill__text){"\xe2\x96\x81", 3};
    uint32_t character;
    if (!one_character(mark))
        return rill__reader_fail(r, RILL_EFORMAT, "pre_tokenizer.replacement", "not one character");
    rill__utf8_decode(mark.data, mark.length, &character);
    // Text that earlier steps cut at white space has no spaces to replace.
    if (r->t->n_splits == 0) {
        rill__normal_step *replace = rill__new_normal_step(r, RILL_NORMAL_REPLACE);
        if (!replace) return RILL_EUNSUPPORTED;
        rill_status status = rill__set_replace(r, replace, (rill__text){" ", 1}, mark);
        if (status != RILL_OK) return status;
    } else if (r->t->splits[0].kind != RILL_SPLIT_WHITE_SPACE) {
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "pre_tokenizer",
                                 "Metaspace behind steps that leave white space");
    }
    if (strcmp(scheme, "never") != 0) {
        rill__split_step *prefix = rill__new_split_step(r, RILL_SPLIT_PREFIX, RILL_ISOLATED);
        if (!prefix) return RILL_EUNSUPPORTED;
        prefix->character = character;
        prefix->first_only = strcmp(scheme, "first") == 0;
    }
    if (!rill__json_flag(value, "split", true)) return RILL_OK;
    rill__split_step *split = rill__new_split_step(r, RILL_SPLIT_CHARACTER, RILL_MERGED_WITH_NEXT);
    if (!split) return RILL_EUNSUPPORTED;
    split->character = character;
    return RILL_OK;
}

static rill_status read_split_step(const rill__reader *r, const json_t *value) {
    const char *type = rill__json_type(value);
    rill__behavior behavior = RILL_ISOLATED;
    if (strcmp(type, "Split") == 0) return read_split(r, value);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(r, value);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(r, value);
    if (strcmp(type, "Digits") == 0) {
        if (!rill__json_flag(value, "individual_digits", false)) behavior = RILL_CONTIGUOUS;
        return rill__new_split_step(r, RILL_SPLIT_NUMERIC, behavior) ? RILL_OK : RILL_EUNSUPPORTED;
    }
    if (strcmp(type, "Punctuation") == 0) {
        rill_status status = read_behavior(r, value, "Isolated", &behavior);
        if (status != RILL_OK) return status;
        return rill__new_split_step(r, RILL_SPLIT_PUNCTUATION, behavior) ? RILL_OK
                                                                         : RILL_EUNSUPPORTED;
    }
    if (strcmp(type, "WhitespaceSplit") == 0)
        return rill__new_split_step(r, RILL_SPLIT_WHITE_SPACE, RILL_REMOVED) ? RILL_OK
                                                                             : RILL_EUNSUPPORTED;
    if (strcmp(type, "Whitespace") == 0) {
        // A word of Rust's regular expressions may hold joiners too.
        static const char words[] = "[\\w\\p{Join_Control}]+|[^\\w\\s\\p{Join_Control}]+";
        return rill__add_pattern_step(r, words, sizeof words - 1, RILL_REMOVED, true);
    }
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "pre_tokenizer", "type '%.40s' is not known",
                             type);
}

rill_status rill__read_pre_tokenizer(const rill__reader *r, const json_t *value) {
    rill__tokenizer *t = r->t;
    rill_status status = each(r, value, "pretokenizers", read_split_step);
    // Bytes that nothing cuts any more go to the model as they are.
    if (status == RILL_OK && t->n_splits > 0 &&
        t->splits[t->n_splits - 1].kind == RILL_SPLIT_BYTES) {
        t->n_splits--;
        t->scheme.byte_level = t->scheme.kind == RILL_MODEL_BPE;
        if (!t->scheme.byte_level) t->n_splits++;
    }
    if (status == RILL_OK) rill__find_pre_name(t);
    return status;
}

// ---- Post-processor -------------------------------------------------------------------------

static rill_status put_special(const rill__reader *r, json_int_t id, bool before) {
    rill__tokenizer *t = r->t;
    rill_token *list = before ? t->before : t->after;
    size_t *n = before ? &t->n_before : &t->n_after;
    if (id < 0 || (uint64_t)id >= t->n_tokens)
        return rill__reader_fail(r, RILL_EFORMAT, "post_processor",
                                 "token %" JSON_INTEGER_FORMAT ": outside the vocabulary", id);
    if (*n == RILL_MAX_SPECIALS)
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "post_processor", "more than %d tokens",
                                 RILL_MAX_SPECIALS);
    list[(*n)++] = (rill_token)id;
    return RILL_OK;
}

static rill_status read_template(const rill__reader *r, const json_t *value) {
    const json_t *single = json_object_get(value, "single");
    const json_t *specials = json_object_get(value, "special_tokens");
    rill_status status = RILL_OK;
    bool before = true;
    for (size_t i = 0; status == RILL_OK && i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence")) before = false;
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (!name) continue;
        const json_t *ids = json_object_get(json_object_get(specials, name), "ids");
        for (size_t k = 0; status == RILL_OK && k < json_array_size(ids); k++)
            status = put_special(r, json_integer_value(json_array_get(ids, k)), before);
    }
    return status;
}

static rill_status read_post_step(const rill__reader *r, const json_t *value) {
    const char *type = rill__json_type(value);
    if (strcmp(type, "ByteLevel") == 0) return RILL_OK;
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(r, value);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        const json_t *cls = json_array_get(json_object_get(value, "cls"), 1);
        const json_t *sep = json_array_get(json_object_get(value, "sep"), 1);
        rill_status status = put_special(r, json_integer_value(cls), true);
        return status == RILL_OK ? put_special(r, json_integer_value(sep), false) : status;
    }
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "post_processor", "type '%.40s' is not known",
                             type);
}

rill_status rill__read_post_processor(const rill__reader *r, const json_t *value) {
    return each(r, value, "processors", read_post_step);
}
