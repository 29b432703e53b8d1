// SPDX-License-Identifier: MIT
// Tokens to text. What a token stands for is worked out when a tokenizer opens; a stream of them
// only joins bytes into characters and drops what the tokenizer had put in front.
#include "tokenizer/parts.h"

#include "base/utf8.h"

#include <string.h>

static const char replacement[] = "\xef\xbf\xbd";

// ---- What a token stands for ----------------------------------------------------------------

static rill_status reserve_flags(rill__tokenizer *t, rill_error *err) {
    rill__strings_init(&t->decoding.outputs);
    t->decoding.flags = rill__calloc(t->n_tokens + 1, 1);
    return t->decoding.flags ? RILL_OK : rill__fail_memory(err, "a vocabulary", t->n_tokens);
}

// Bytes to U+FFFD where they are no UTF-8, so that only byte tokens can break a character.
static rill_status put_output(rill__tokenizer *t, size_t id, const char *text, size_t length,
                              rill_error *err) {
    rill__bytes valid;
    rill__bytes_init(&valid, 0);
    rill_status status = RILL_OK;
    bool as_is = t->decoding.flags[id] & RILL_OUTPUT_BYTES || rill__utf8_valid(text, length);
    for (size_t i = 0; !as_is && status == RILL_OK && i < length;) {
        char bytes[4];
        uint32_t c;
        i += rill__utf8_decode(text + i, length - i, &c);
        status = rill__bytes_append(&valid, bytes, rill__utf8_encode(c, bytes), err);
    }
    if (status == RILL_OK)
        status = rill__strings_set(&t->decoding.outputs, id, as_is ? text : valid.data,
                                   as_is ? length : valid.length, err);
    rill__bytes_deinit(&valid);
    return status;
}

rill_status rill__decoding_from_bytes(rill__tokenizer *t, rill_error *err) {
    rill__decoding *d = &t->decoding;
    rill_status status = reserve_flags(t, err);
    char bytes[RILL_MAX_TOKEN_BYTES];
    d->byte_level = true;
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        rill__text text = rill__strings_get(&t->texts, id);
        size_t n = 0, i = 0;
        while (i < text.length) {
            uint32_t c;
            i += rill__utf8_decode(text.data + i, text.length - i, &c);
            int byte = rill__character_byte(c);
            if (byte < 0) break;
            bytes[n++] = (char)byte;
        }
        // A text with other characters in it, an added token's, is what it is.
        d->flags[id] = RILL_OUTPUT_BYTES;
        status = i == text.length ? put_output(t, id, bytes, n, err)
                                  : put_output(t, id, text.data, text.length, err);
    }
    return status;
}

rill_status rill__decoding_from_pieces(rill__tokenizer *t, rill_error *err) {
    rill__decoding *d = &t->decoding;
    rill_status status = reserve_flags(t, err);
    rill__bytes plain;
    rill__bytes_init(&plain, 0);
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        rill__text text = rill__strings_get(&t->texts, id);
        int byte = t->kinds[id] == RILL_TOKEN_BYTE ? rill__byte_token(text.data, text.length) : -1;
        if (byte >= 0) {
            d->flags[id] = RILL_OUTPUT_BYTES;
            status = put_output(t, id, &(char){(char)byte}, 1, err);
            continue;
        }
        // SentencePiece's default unk_surface.
        if (t->kinds[id] == RILL_TOKEN_UNKNOWN && !d->name_unknown) {
            status = put_output(t, id, " \xe2\x81\x87 ", 5, err);
            continue;
        }
        rill__bytes_reset(&plain);
        for (size_t i = 0; status == RILL_OK && i < text.length;) {
            bool space = text.length - i >= 3 && memcmp(text.data + i, "\xe2\x96\x81", 3) == 0;
            if (space && i == 0) d->flags[id] |= RILL_OUTPUT_SPACE;
            status = space ? rill__bytes_append(&plain, " ", 1, err)
                           : rill__bytes_append(&plain, text.data + i, 1, err);
            i += space ? 3 : 1;
        }
        if (status == RILL_OK) status = put_output(t, id, plain.data, plain.length, err);
    }
    rill__bytes_deinit(&plain);
    return status;
}

// ---- Streaming ------------------------------------------------------------------------------

void rill__decoder_init(rill__decoder *d, const rill__tokenizer *t) {
    *d = (rill__decoder){.tokenizer = t, .at_start = true};
}

static rill_status flush_broken(rill__decoder *d, rill__bytes *out, rill_error *err) {
    if (d->n_held == 0) return RILL_OK;
    size_t n = d->tokenizer->decoding.byte_level ? 1 : d->n_held;
    rill_status status = rill__bytes_reserve(out, 3 * n, err);
    for (size_t i = 0; status == RILL_OK && i < n; i++)
        status = rill__bytes_append(out, replacement, 3, err);
    if (status == RILL_OK) d->n_held = 0;
    return status;
}

// Joins one more byte to those that are held; out comes a character, or U+FFFD for what can be
// none.
static rill_status push_byte(rill__decoder *d, char byte, rill__bytes *out, rill_error *err) {
    char held[5];
    memcpy(held, d->held, sizeof d->held);
    held[d->n_held] = byte;
    size_t n = d->n_held + 1;
    if (rill__utf8_incomplete_tail(held, n) == n) {
        memcpy(d->held, held, n);
        d->n_held = n;
        return RILL_OK;
    }
    uint32_t c;
    if (rill__utf8_decode(held, n, &c) == n && !(n == 1 && (uint8_t)byte >= 0x80)) {
        d->n_held = 0;
        return rill__bytes_append(out, held, n, err);
    }
    if (d->n_held > 0) {
        // This byte does not go on with what is held, and may begin something itself.
        rill_status status = flush_broken(d, out, err);
        if (status != RILL_OK) return status;
        d->held[0] = byte;
        if (rill__utf8_incomplete_tail(&byte, 1) == 1) d->n_held = 1;
        if (d->n_held == 1) return RILL_OK;
        if ((uint8_t)byte < 0x80) return rill__bytes_append(out, &byte, 1, err);
    }
    return rill__bytes_append(out, replacement, 3, err);
}

// Drops what goes at the start of a text. The output's text from here on remains.
static void drop_lead(rill__decoder *d, rill__text *text, uint8_t flags) {
    const rill__decoding *how = &d->tokenizer->decoding;
    if (!d->at_start) return;
    bool space = text->length > 0 && *text->data == ' ';
    switch (how->lead) {
    case RILL_LEAD_KEEP: d->at_start = false; break;
    case RILL_LEAD_CHARACTERS:
        while (text->length > 0 && d->n_stripped < how->lead_count) {
            uint32_t c;
            size_t n = rill__utf8_decode(text->data, text->length, &c);
            if (c != how->lead_character) break;
            text->data += n;
            text->length -= n;
            d->n_stripped++;
        }
        if (text->length > 0 || d->n_stripped == how->lead_count) d->at_start = false;
        break;
    case RILL_LEAD_ONE_SPACE:
    case RILL_LEAD_ALL_SPACES:
        if (space && flags & RILL_OUTPUT_SPACE) {
            text->data++;
            text->length--;
            if (how->lead == RILL_LEAD_ONE_SPACE) d->at_start = false;
        }
        if (text->length > 0) d->at_start = false;
        break;
    case RILL_LEAD_FIRST_TOKEN: break;
    }
}

static rill_status push_first_token(rill__decoder *d, rill__text text, rill__bytes *out,
                                    rill_error *err) {
    rill_status status = RILL_OK;
    d->at_start = false;
    for (size_t i = 0; status == RILL_OK && i < text.length; i++)
        if (text.data[i] != ' ') status = rill__bytes_append(out, text.data + i, 1, err);
    return status;
}

rill_status rill__decoder_push(rill__decoder *d, rill_token token, rill__bytes *out,
                               rill_error *err) {
    const rill__tokenizer *t = d->tokenizer;
    const rill__decoding *how = &t->decoding;
    if (token < 0 || (size_t)token >= t->n_tokens)
        return rill__fail(err, RILL_EINVAL, "token %d: ids of this tokenizer are 0 to %zu", token,
                          t->n_tokens ? t->n_tokens - 1 : 0);
    if ((size_t)token >= how->outputs.n) return RILL_OK;
    rill__text text = rill__strings_get(&how->outputs, (size_t)token);
    uint8_t flags = how->flags[token];
    bool bytes = flags & RILL_OUTPUT_BYTES;
    rill_status status = RILL_OK;
    if (!bytes) status = flush_broken(d, out, err);
    if (status != RILL_OK) return status;
    if (d->at_start && how->lead == RILL_LEAD_FIRST_TOKEN && flags & RILL_OUTPUT_SPACE)
        return push_first_token(d, text, out, err);
    if (how->lead == RILL_LEAD_FIRST_TOKEN) d->at_start = false;
    drop_lead(d, &text, flags);
    if (text.length == 0) return RILL_OK;
    if (!bytes) return rill__bytes_append(out, text.data, text.length, err);
    for (size_t i = 0; status == RILL_OK && i < text.length; i++)
        status = push_byte(d, text.data[i], out, err);
    return status;
}

rill_status rill__decoder_end(rill__decoder *d, rill__bytes *out, rill_error *err) {
    return flush_broken(d, out, err);
}

size_t rill__tokenizer_max_text(const rill__tokenizer *t) {
    // Each byte may become U+FFFD, those that were held before it too.
    return 3 * (t->decoding.longest + 4);
}
