// SPDX-License-Identifier: MIT
// SentencePiece's normalisation (Normalizer::Normalize in normalizer.cc of google/sentencepiece):
// user defined symbols stay as they are, everything else goes through the charsmap; white space
// becomes U+2581, once if extra white space is removed, with one more in front.
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <string.h>

static const char space_mark[] = "\xe2\x96\x81";

// One step of the text: what it becomes, and how many bytes of it that takes; 0 if it takes more
// text to know.
static size_t take_prefix(const rill__encoder *e, const char *text, size_t length, bool final,
                          const char **to, size_t *n_to) {
    const rill__tokenizer *t = e->tokenizer;
    bool open;
    int32_t value;
    *to = text;
    size_t n = 0;
    if (!(e->flags & RILL_TEXT_PLAIN)) {
        n = rill__trie_longest(&t->scheme.symbols, text, length, &value, &open);
        if (open && !final) return 0;
        *n_to = n;
        if (n) return n;
    }
    n = rill__charsmap_find(&t->charsmap, text, length, false, to, n_to, &open);
    if (open && !final) return 0;
    if (n) return n;
    uint32_t c;
    *to = text;
    return *n_to = rill__utf8_decode(text, length, &c);
}

static rill_status flush_spaces(rill__encoder *e, rill_error *err) {
    rill_status status = RILL_OK;
    for (; status == RILL_OK && e->run.n_pending > 0; e->run.n_pending--)
        status = rill__bytes_append(&e->normal, space_mark, 3, err);
    return status;
}

// Appends what a step became. Spaces at the end of the text may have to go, so they wait.
static rill_status put(rill__encoder *e, const char *text, size_t length, rill_error *err) {
    const rill__piece_rules *rules = &e->tokenizer->pieces;
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < length;) {
        uint32_t c;
        size_t n = rill__utf8_decode(text + i, length - i, &c);
        bool space = c == 0x2581 || (c == ' ' && rules->escape_whitespaces);
        if (space && rules->remove_extra_whitespaces) {
            e->run.n_pending++;
        } else {
            status = flush_spaces(e, err);
            if (status == RILL_OK)
                status = space ? rill__bytes_append(&e->normal, space_mark, 3, err)
                               : rill__bytes_append(&e->normal, text + i, n, err);
        }
        i += n;
    }
    return status;
}

static rill_status begin(rill__encoder *e, rill_error *err) {
    const rill__piece_rules *rules = &e->tokenizer->pieces;
    bool continues = e->flags & RILL_TEXT_CONTINUES && e->run.at_zero;
    e->run.pieces_begun = true;
    e->run.space_before = rules->remove_extra_whitespaces && !continues;
    if (!rules->add_dummy_prefix || rules->space_as_suffix || continues) return RILL_OK;
    return put(e, space_mark, 3, err);
}

rill_status rill__normalize_pieces(rill__encoder *e, const char *text, size_t length, bool final,
                                   size_t *used, rill_error *err) {
    const rill__piece_rules *rules = &e->tokenizer->pieces;
    rill_status status = RILL_OK;
    size_t at = 0;
    while (status == RILL_OK && at < length) {
        const char *to;
        size_t n_to;
        size_t n = take_prefix(e, text + at, length - at, final, &to, &n_to);
        if (n == 0) break;
        at += n;
        if (!e->run.pieces_begun) {
            if (rules->remove_extra_whitespaces && n_to == 1 && *to == ' ' &&
                !(e->flags & RILL_TEXT_CONTINUES && e->run.at_zero))
                continue;
            status = begin(e, err);
            if (status != RILL_OK) break;
        }
        while (e->run.space_before && n_to > 0 && *to == ' ') {
            to++;
            n_to--;
        }
        if (n_to > 0) {
            status = put(e, to, n_to, err);
            e->run.space_before = rules->remove_extra_whitespaces && to[n_to - 1] == ' ';
        }
    }
    *used = at;
    if (status == RILL_OK && final) {
        e->run.n_pending = 0;
        if (e->run.pieces_begun && rules->add_dummy_prefix && rules->space_as_suffix)
            status = rill__bytes_append(&e->normal, space_mark, 3, err);
    }
    return status;
}
