// SPDX-License-Identifier: MIT
// Words to tokens, whatever the model: a long word is cut where no token can cross, short ones are
// remembered.
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <string.h>
#include <xxhash.h>

enum { CACHE_PAYS = 64 };  // words after which the cache is made

rill_status rill__model_unknown(rill__encoder *e, const char *text, size_t length,
                                rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    rill_status status = RILL_OK;
    bool known = s->byte_fallback;
    for (size_t i = 0; known && i < length; i++) known = s->bytes[(uint8_t)text[i]] >= 0;
    for (size_t i = 0; known && status == RILL_OK && i < length; i++)
        status = rill__tokens_push(&e->word, s->bytes[(uint8_t)text[i]], err);
    if (known || s->unknown < 0) return status;
    return rill__tokens_push(&e->word, s->unknown, err);
}

// Hands the word's tokens out. Unknown ones become one where that is the rule.
static rill_status put_word(rill__encoder *e, const uint32_t *tokens, size_t n, rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < n; i++) {
        bool unknown = s->fuse_unknown && (int32_t)tokens[i] == s->unknown;
        if (!unknown || !e->run.last_unknown)
            status = rill__tokens_push(e->out, (rill_token)tokens[i], err);
        e->run.last_unknown = unknown;
    }
    return status;
}

static rill__cached_word *cache_slot(rill__encoder *e, const char *text, size_t length) {
    if (length > RILL_CACHE_WORD || e->flags & RILL_TEXT_PLAIN ||
        e->tokenizer->scheme.kind == RILL_MODEL_UNIGRAM)
        return NULL;
    // Without memory for a cache all works as well, only slower.
    if (!e->cache && e->n_words++ == CACHE_PAYS)
        e->cache = rill__calloc(RILL_CACHE_SLOTS, sizeof *e->cache);
    return e->cache ? &e->cache[XXH3_64bits(text, length) & (RILL_CACHE_SLOTS - 1)] : NULL;
}

// A stretch of a word that no token crosses the ends of; first and last: of its word.
static rill_status take_stretch(rill__encoder *e, const char *text, size_t length, bool first,
                                bool last, rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    // A part of a word and a word of the same text may differ.
    bool plain = (!s->word_prefix && !s->word_suffix && !s->ignore_merges) || (first && last);
    rill__cached_word *slot = plain ? cache_slot(e, text, length) : NULL;
    if (slot && slot->length == length && memcmp(slot->text, text, length) == 0)
        return put_word(e, slot->tokens, slot->n_tokens, err);
    e->word.n = 0;
    rill_status status = s->kind == RILL_MODEL_BPE ? rill__bpe(e, text, length, first, last, err)
                                                   : rill__unigram(e, text, length, err);
    if (status != RILL_OK) return status;
    const uint32_t *tokens = (const uint32_t *)e->word.ids;
    if (slot && e->word.n <= RILL_CACHE_TOKENS) {
        slot->length = (uint8_t)length;
        slot->n_tokens = (uint8_t)e->word.n;
        memcpy(slot->text, text, length);
        if (e->word.n) memcpy(slot->tokens, tokens, e->word.n * sizeof *tokens);
    }
    return e->word.n ? put_word(e, tokens, e->word.n, err) : RILL_OK;
}

// The first cut behind `at`, `length` if there is none.
static size_t next_cut(const rill__scheme *s, const char *text, size_t length, size_t at) {
    uint32_t before, after;
    if (!s->joints) return length;
    if (s->byte_level) {
        for (at++; at < length; at++) {
            size_t joint = rill__joint((uint8_t)text[at - 1], (uint8_t)text[at]);
            if (!(s->joints[joint / 64] >> joint % 64 & 1)) break;
        }
        return at;
    }
    at += rill__utf8_decode(text + at, length - at, &before);
    while (at < length) {
        size_t n = rill__utf8_decode(text + at, length - at, &after);
        size_t joint = rill__joint(before, after);
        if (!(s->joints[joint / 64] >> joint % 64 & 1)) break;
        before = after;
        at += n;
    }
    return at;
}

// Unigram needs no cuts of its own: its best way through a whole text is found in one pass.
static rill_status take_unigram(rill__encoder *e, const char *text, size_t length, bool final,
                                size_t *used, rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    size_t end = length;
    if (!final) {
        end = 0;
        for (size_t at = 0; s->joints;) {
            at = next_cut(s, text, length, at);
            if (at >= length) break;
            end = at;
        }
    }
    *used = end;
    if (end == 0) return RILL_OK;
    e->run.in_word = true;
    return take_stretch(e, text, end, false, false, err);
}

static rill_status take_bpe(rill__encoder *e, const char *text, size_t length, bool final,
                            size_t *used, rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    rill_status status = RILL_OK;
    bool first = !e->run.in_word;
    if (s->ignore_merges && !final) return RILL_OK;
    size_t at = 0;
    while (status == RILL_OK && at < length) {
        // A word of usual length is remembered as it is.
        size_t end = final && first && at == 0 && length <= RILL_CACHE_WORD && s->byte_level
                         ? length
                         : next_cut(s, text, length, at);
        if (end == length && !final) break;
        status = take_stretch(e, text + at, end - at, first, end == length, err);
        first = false;
        at = end;
    }
    e->run.in_word = e->run.in_word || at > 0;
    *used = at;
    return status;
}

rill_status rill__model_take(rill__encoder *e, const char *text, size_t length, bool final,
                             size_t *used, rill_error *err) {
    *used = 0;
    rill_status status = e->tokenizer->scheme.kind == RILL_MODEL_BPE
                             ? take_bpe(e, text, length, final, used, err)
                             : take_unigram(e, text, length, final, used, err);
    if (final) {
        e->run.in_word = false;
        e->run.last_unknown = false;
        e->run.score = 0;
    }
    return status;
}
