// SPDX-License-Identifier: MIT
// Pre-tokenizers: text is cut at delimiters, each piece is cut again by the next step, and what
// remains are words for the model.
//
// A text that goes on is cut only where more of it could not change the cut. A pattern's match
// counts then only if PCRE2 did not look at the end of the text; a character's class needs no such
// care, and the last piece, which can only grow, is handed on as a text that goes on itself.
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <string.h>

void rill__split_step_deinit(rill__split_step *s) {
    rill__pattern_close(&s->pattern);
    *s = (rill__split_step){0};
}

// The state of one step on one text. Delimiters and what lies between them come in order; a piece
// that the next one may still join is pending.
typedef struct cutter {
    rill__encoder *e;
    size_t step;
    const char *text;
    size_t pending_at;   // where the pending piece begins
    size_t pending_end;  // its end; equal: none is pending
    bool pending_match;  // it is a delimiter
    size_t done;         // handed on so far
} cutter;

static rill_status hand_on(cutter *c, size_t begin, size_t end, rill_error *err) {
    c->done = end;
    if (begin == end) return RILL_OK;
    size_t used;
    return rill__split(c->e, c->step + 1, c->text + begin, end - begin, true, &used, err);
}

static rill_status flush(cutter *c, rill_error *err) {
    size_t begin = c->pending_at, end = c->pending_end;
    c->pending_at = c->pending_end;
    return begin == end ? RILL_OK : hand_on(c, begin, end, err);
}

// The behaviours are those of SplitDelimiterBehavior (normalizer.rs of huggingface/tokenizers).
static rill_status take_piece(cutter *c, size_t begin, size_t end, bool match, rill_error *err) {
    rill__behavior behavior = c->e->tokenizer->splits[c->step].behavior;
    bool pending = c->pending_at != c->pending_end, joins = false;
    if (behavior == RILL_REMOVED && match) {
        c->done = end;
        return RILL_OK;
    }
    if (behavior == RILL_REMOVED || behavior == RILL_ISOLATED) return hand_on(c, begin, end, err);
    if (behavior == RILL_MERGED_WITH_PREVIOUS) joins = pending && match;
    if (behavior == RILL_MERGED_WITH_NEXT) joins = pending && !match;
    if (behavior == RILL_CONTIGUOUS && pending && c->pending_match == match) {
        c->pending_end = end;
        return RILL_OK;
    }
    rill_status status = RILL_OK;
    if (joins) {
        c->pending_end = end;
        return flush(c, err);
    }
    status = flush(c, err);
    // Only what its neighbour may join waits.
    bool waits = behavior == RILL_CONTIGUOUS || (behavior == RILL_MERGED_WITH_PREVIOUS && !match) ||
                 (behavior == RILL_MERGED_WITH_NEXT && match);
    if (status == RILL_OK && !waits) return hand_on(c, begin, end, err);
    c->pending_at = begin;
    c->pending_end = end;
    c->pending_match = match;
    return status;
}

static bool is_delimiter(const rill__split_step *s, uint32_t c) {
    switch (s->kind) {
    case RILL_SPLIT_CHARACTER: return c == s->character;
    case RILL_SPLIT_NUMERIC: return rill__is_numeric(c);
    case RILL_SPLIT_PUNCTUATION: return rill__is_punctuation(c);
    default: return rill__is_white_space(c);
    }
}

// The next delimiter at or after `at`.
static rill_status next_match(const cutter *c, size_t length, size_t at, bool partial,
                              rill__found *found, size_t *begin, size_t *end, rill_error *err) {
    const rill__split_step *s = &c->e->tokenizer->splits[c->step];
    if (s->kind == RILL_SPLIT_PATTERN)
        return rill__pattern_find(s->pattern, c->e->matcher, c->text, length, at, partial, found,
                                  begin, end, err);
    *found = RILL_FOUND_NONE;
    while (at < length) {
        uint32_t character;
        size_t n = rill__utf8_decode(c->text + at, length - at, &character);
        if (is_delimiter(s, character)) {
            *found = RILL_FOUND_MATCH;
            *begin = at;
            *end = at + n;
            return RILL_OK;
        }
        at += n;
    }
    return RILL_OK;
}

// Takes all pieces whose ends are known. *at: up to where.
static rill_status take_pieces(cutter *c, size_t length, bool final, size_t *at, rill_error *err) {
    const rill__split_step *s = &c->e->tokenizer->splits[c->step];
    size_t from = 0, begin = 0, end = 0;
    *at = 0;
    while (from <= length) {
        rill__found found;
        rill_status status = next_match(c, length, from, !final, &found, &begin, &end, err);
        if (status != RILL_OK) return status;
        if (found != RILL_FOUND_MATCH) break;
        if (begin > *at) status = take_piece(c, *at, begin, s->invert, err);
        if (status == RILL_OK && end > begin) status = take_piece(c, begin, end, !s->invert, err);
        if (status != RILL_OK) return status;
        *at = from = end;
        if (begin == end) {
            // An empty match only cuts; the next one lies behind the next character.
            uint32_t character;
            status = flush(c, err);
            if (status != RILL_OK) return status;
            if (end >= length) break;
            from += rill__utf8_decode(c->text + end, length - end, &character);
        }
    }
    return RILL_OK;
}

static rill_status cut(rill__encoder *e, size_t step, const char *text, size_t length, bool final,
                       size_t *used, rill_error *err) {
    const rill__split_step *s = &e->tokenizer->splits[step];
    cutter c = {.e = e, .step = step, .text = text};
    size_t at;
    *used = 0;
    bool pattern = s->kind == RILL_SPLIT_PATTERN;
    if (!final && pattern && rill__pattern_looks_back(s->pattern)) return RILL_OK;
    rill_status status = take_pieces(&c, length, final, &at, err);
    if (status == RILL_OK && final) {
        if (at < length) status = take_piece(&c, at, length, s->invert, err);
        if (status == RILL_OK) status = flush(&c, err);
        *used = length;
        return status;
    }
    // What follows a contiguous piece and is not of its kind ends it.
    if (status == RILL_OK && s->behavior == RILL_CONTIGUOUS && at < length &&
        c.pending_match != s->invert)
        status = flush(&c, err);
    *used = c.done;
    if (status != RILL_OK || pattern || c.done == length) return status;
    // What is left is one piece that can only grow, unless it is to be dropped.
    if (s->behavior == RILL_REMOVED && s->invert) {
        *used = length;
        return RILL_OK;
    }
    size_t more;
    status = rill__split(e, step + 1, text + c.done, length - c.done, false, &more, err);
    *used = c.done + more;
    return status;
}

static rill_status put_in_front(rill__encoder *e, size_t step, const char *text, size_t length,
                                rill_error *err) {
    const rill__split_step *s = &e->tokenizer->splits[step];
    rill__bytes *scratch = &e->scratch[step];
    uint32_t first;
    rill__utf8_decode(text, length, &first);
    rill__bytes_reset(scratch);
    rill_status status = RILL_OK;
    if (first != s->character && !s->first_only)
        status = rill__work_put(scratch, s->character, err);
    if (status == RILL_OK) status = rill__bytes_append(scratch, text, length, err);
    return status;
}

static rill_status spell_bytes(rill__encoder *e, size_t step, const char *text, size_t length,
                               rill_error *err) {
    rill__bytes *scratch = &e->scratch[step];
    rill__bytes_reset(scratch);
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < length; i++)
        status = rill__work_put(scratch, rill__byte_character((uint8_t)text[i]), err);
    return status;
}

rill_status rill__split(rill__encoder *e, size_t step, const char *text, size_t length, bool final,
                        size_t *used, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    *used = 0;
    if (length == 0) return RILL_OK;
    if (step == t->n_splits) return rill__model_take(e, text, length, final, used, err);
    rill__split_kind kind = t->splits[step].kind;
    if (kind != RILL_SPLIT_PREFIX && kind != RILL_SPLIT_BYTES)
        return cut(e, step, text, length, final, used, err);
    // A prefix in the first step was put there when the text began.
    if (kind == RILL_SPLIT_PREFIX && step == 0)
        return rill__split(e, step + 1, text, length, final, used, err);
    if (!final) return RILL_OK;
    rill_status status = kind == RILL_SPLIT_PREFIX ? put_in_front(e, step, text, length, err)
                                                   : spell_bytes(e, step, text, length, err);
    size_t inner;
    if (status == RILL_OK)
        status = rill__split(e, step + 1, e->scratch[step].data, e->scratch[step].length, true,
                             &inner, err);
    *used = length;
    return status;
}
