// SPDX-License-Identifier: MIT
// Encoding as a stream: text goes in by pieces, each stage takes what more text cannot change and
// keeps the rest. A whole text is one such stream, so both always agree.
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <string.h>

enum { SLICE = 1 << 18 };  // bytes that enter at once

// ---- Memory ---------------------------------------------------------------------------------

void rill__encoder_init(rill__encoder *e, const rill__tokenizer *t, unsigned flags) {
    *e = (rill__encoder){.tokenizer = t, .flags = flags, .run.at_zero = true};
    rill__bytes_init(&e->raw, 0);
    rill__bytes_init(&e->normal, 0);
    for (size_t i = 0; i < RILL_MAX_STEPS; i++) rill__bytes_init(&e->scratch[i], 0);
    for (size_t i = 0; i < 2; i++) rill__bytes_init(&e->forms[i], 0);
}

void rill__encoder_deinit(rill__encoder *e) {
    rill__bytes_deinit(&e->raw);
    rill__bytes_deinit(&e->normal);
    rill__matcher_close(&e->matcher);
    for (size_t i = 0; i < RILL_MAX_STEPS; i++) rill__bytes_deinit(&e->scratch[i]);
    for (size_t i = 0; i < 2; i++) rill__bytes_deinit(&e->forms[i]);
    rill__free(e->code_points);
    rill__free(e->symbols);
    rill__free(e->heap);
    rill__free(e->lattice);
    rill__free(e->unused);
    rill__tokens_deinit(&e->word);
    rill__free(e->cache);
}

rill_status rill__encoder_open(const rill__tokenizer *t, unsigned flags, rill__encoder **out,
                               rill_error *err) {
    rill__encoder *e = rill__malloc(sizeof *e);
    if (!e) return rill__fail_memory(err, "an encoder", sizeof *e);
    rill__encoder_init(e, t, flags);
    *out = e;
    return RILL_OK;
}

void rill__encoder_close(rill__encoder **e) {
    if (!*e) return;
    rill__encoder_deinit(*e);
    rill__free(*e);
    *e = NULL;
}

rill_status rill__work_reserve(void *items, size_t *capacity, size_t n, size_t size,
                               rill_error *err) {
    if (n <= *capacity) return RILL_OK;
    size_t wanted = n + n / 2 + 16, bytes;
    void *old;
    memcpy(&old, items, sizeof old);
    void *grown = rill__mul_size(wanted, size, &bytes) ? rill__realloc(old, bytes) : NULL;
    if (!grown) return rill__fail_memory(err, "encoding", n * size);
    memcpy(items, &grown, sizeof grown);
    *capacity = wanted;
    return RILL_OK;
}

rill_status rill__work_put(rill__bytes *out, uint32_t character, rill_error *err) {
    char bytes[4];
    return rill__bytes_append(out, bytes, rill__utf8_encode(character, bytes), err);
}

void rill__work_drop(rill__bytes *b, size_t n) {
    if (n == 0) return;
    b->length -= n;
    memmove(b->data, b->data + n, b->length);
    b->data[b->length] = '\0';
}

rill_status rill__tokens_push(rill__tokens *list, rill_token id, rill_error *err) {
    rill_status status =
        rill__work_reserve(&list->ids, &list->capacity, list->n + 1, sizeof *list->ids, err);
    if (status == RILL_OK) list->ids[list->n++] = id;
    return status;
}

void rill__tokens_deinit(rill__tokens *list) {
    rill__free(list->ids);
    *list = (rill__tokens){0};
}

// ---- Added tokens ---------------------------------------------------------------------------

typedef struct hit {
    bool found;
    size_t begin;  // without a hit: up to here it is certain that there is none
    size_t end;
    const rill__added *added;
} hit;

// `before`: whether a letter stood before the text.
static bool is_word_before(const char *text, size_t at, bool before) {
    uint32_t c;
    if (at == 0) return before;
    rill__character_before(text, at, &c);
    return rill__is_word(c);
}

static size_t space_before(const char *text, size_t from, size_t at) {
    while (at > from) {
        uint32_t c;
        size_t begin = rill__character_before(text, at, &c);
        if (!rill__is_white_space(c)) break;
        at = begin;
    }
    return at;
}

// Whether a key that was found at [begin, end) counts.
static bool counts(const rill__encoder *e, const rill__added *a, const char *text, size_t length,
                   size_t begin, size_t end, bool before) {
    if (a->special && !(e->flags & RILL_TEXT_PARSE_SPECIAL)) return false;
    if (!a->single_word) return true;
    uint32_t after;
    if (is_word_before(text, begin, before)) return false;
    if (end == length) return true;
    rill__utf8_decode(text + end, length - end, &after);
    return !rill__is_word(after);
}

// The first added token in text[from, length), as AddedVocabulary::find_matches has it
// (added_vocabulary.rs of huggingface/tokenizers): the longest of those that begin first.
static hit find_added(const rill__encoder *e, const rill__trie *trie, const char *text,
                      size_t length, size_t from, bool final) {
    const rill__tokenizer *t = e->tokenizer;
    hit h = {.begin = length, .end = length};
    bool before = trie == &t->added_raw ? e->word_before : e->run.word_before;
    if (trie->n_nodes > 0 && !(e->flags & RILL_TEXT_PLAIN))
        for (size_t at = from; at < length;) {
            bool open = false;
            int32_t index = 0;
            size_t n = trie->first[(uint8_t)text[at]] == 0
                           ? 0
                           : rill__trie_longest(trie, text + at, length - at, &index, &open);
            const rill__added *a = n ? &t->added[index] : NULL;
            // Behind the end there may be more of a longer one, or the letter that a word needs.
            if (!final && (open || (a && a->single_word && at + n == length))) {
                h.begin = at;
                break;
            }
            if (a && counts(e, a, text, length, at, at + n, before)) {
                h = (hit){true, at, at + n, a};
                break;
            }
            at += n ? n : 1;
        }
    if (t->any_left_strip && ((h.found && h.added->left_strip) || (!h.found && !final)))
        h.begin = space_before(text, from, h.begin);
    return h;
}

// ---- Stages ---------------------------------------------------------------------------------

// Words of one part: text between added tokens, in windows, so that what is cut never depends on
// how much of the text was there.
static rill_status take_part(rill__encoder *e, const char *text, size_t length, bool final,
                             size_t *used, rill_error *err) {
    size_t at = 0;
    rill_status status = RILL_OK;
    while (status == RILL_OK && at < length) {
        size_t window = length - at, n;
        bool whole = window < RILL_WORD_CEILING;
        if (!whole) window = RILL_WORD_CEILING;
        while (!whole && window > 1 && ((uint8_t)text[at + window] & 0xc0) == 0x80) window--;
        status = rill__split(e, 0, text + at, window, whole && final, &n, err);
        if (status == RILL_OK && n == 0 && !whole)
            status = rill__split(e, 0, text + at, window, true, &n, err);
        at += n;
        if (whole) break;
    }
    *used = at;
    return status;
}

// Puts the first step's prefix in front of a part. *n: bytes put there.
static rill_status begin_part(rill__encoder *e, size_t at, size_t *n, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    const rill__split_step *s = &t->splits[0];
    bool at_zero = e->run.at_zero && !e->run.part_begun;
    *n = 0;
    e->run.part_begun = true;
    if (t->n_splits == 0 || s->kind != RILL_SPLIT_PREFIX) return RILL_OK;
    if ((s->first_only && !at_zero) || (at_zero && e->flags & RILL_TEXT_CONTINUES)) return RILL_OK;
    uint32_t first;
    rill__utf8_decode(e->normal.data + at, e->normal.length - at, &first);
    if (first == s->character) return RILL_OK;
    char prefix[4];
    size_t length = rill__utf8_encode(s->character, prefix), old = e->normal.length;
    rill_status status = rill__bytes_append(&e->normal, prefix, length, err);
    if (status != RILL_OK) return status;
    memmove(e->normal.data + at + length, e->normal.data + at, old - at);
    memcpy(e->normal.data + at, prefix, length);
    *n = length;
    return RILL_OK;
}

static rill_status put_added(rill__encoder *e, const rill__added *a, rill_error *err) {
    rill_status status = rill__tokens_push(e->out, a->id, err);
    e->run = (rill__run){0};
    return status;
}

// Normalised text of the present run; `final`: the run ends here.
static rill_status take_normal(rill__encoder *e, bool final, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    if (!final && e->normal.length < e->retry_at) return RILL_OK;
    size_t at = 0;
    rill_status status = RILL_OK;
    while (status == RILL_OK && e->normal.length > at) {
        // A prefix from an earlier call, which stands in front of everything, is no text.
        size_t prefix = e->run.prefix, used = 0;
        hit h = find_added(e, &t->added_normal, e->normal.data + prefix, e->normal.length - prefix,
                           at, final);
        if (!e->run.part_begun && h.begin > at) {
            status = begin_part(e, at, &prefix, err);
            e->run.prefix = prefix;
        }
        h.begin += prefix;
        h.end += prefix;
        if (status == RILL_OK)
            status = take_part(e, e->normal.data + at, h.begin - at, h.found || final, &used, err);
        at += used;
        if (used > 0) e->run.prefix = 0;
        if (used > prefix) e->run.word_before = is_word_before(e->normal.data, at, false);
        if (status != RILL_OK || !h.found) break;
        at = h.end;
        rill__run run = e->run;
        status = put_added(e, h.added, err);
        // The normalizer goes on where it was.
        run.at_zero = run.part_begun = run.in_word = run.last_unknown = false;
        run.score = 0;
        e->run = run;
        uint32_t c;
        while (h.added->right_strip && at < e->normal.length) {
            size_t n = rill__utf8_decode(e->normal.data + at, e->normal.length - at, &c);
            if (!rill__is_white_space(c)) break;
            at += n;
        }
        e->run.word_before = is_word_before(e->normal.data, at, false);
    }
    rill__work_drop(&e->normal, at);
    e->retry_at = e->normal.length + e->normal.length / 4;
    return status;
}

static rill_status take_run(rill__encoder *e, const char *text, size_t length, bool final,
                            size_t *used, rill_error *err) {
    *used = 0;
    rill_status status = RILL_OK;
    if (length > 0) {
        status = rill__normalize(e, text, length, final, used, err);
        e->run.begun = e->run.begun || *used > 0;
    } else if (final && e->run.begun) {
        status = rill__normalize(e, "", 0, true, used, err);
    }
    if (status == RILL_OK) status = take_normal(e, final, err);
    if (final) {
        e->retry_at = 0;
        rill__bytes_reset(&e->normal);
    }
    return status;
}

// Everything in `raw` that is certain.
static rill_status take_raw(rill__encoder *e, bool final, rill_error *err) {
    size_t at = 0, length = e->raw.length;
    if (!final && length < e->retry_raw_at) return RILL_OK;
    const char *text = e->raw.data ? e->raw.data : "";
    rill_status status = RILL_OK;
    while (status == RILL_OK) {
        uint32_t c;
        while (e->eat_space && at < length) {
            size_t n = rill__utf8_decode(text + at, length - at, &c);
            e->eat_space = rill__is_white_space(c);
            if (e->eat_space) at += n;
        }
        hit h = find_added(e, &e->tokenizer->added_raw, text, length, at, final);
        size_t used;
        status = take_run(e, text + at, h.begin - at, h.found || final, &used, err);
        at += used;
        if (status != RILL_OK || !h.found) break;
        status = put_added(e, h.added, err);
        e->eat_space = h.added->right_strip;
        at = h.end;
    }
    if (at > 0) e->word_before = is_word_before(text, at, false);
    rill__work_drop(&e->raw, at);
    e->retry_raw_at = final ? 0 : e->raw.length + e->raw.length / 4;
    return status;
}

// ---- Text in --------------------------------------------------------------------------------

static rill_status put_valid(rill__encoder *e, const char *text, size_t length, rill_error *err) {
    if (rill__utf8_valid(text, length)) return rill__bytes_append(&e->raw, text, length, err);
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < length;) {
        uint32_t c;
        i += rill__utf8_decode(text + i, length - i, &c);
        status = rill__work_put(&e->raw, c, err);
    }
    return status;
}

// Text that may begin and end inside a character.
static rill_status put_text(rill__encoder *e, const char *text, size_t length, bool end,
                            rill_error *err) {
    rill_status status = RILL_OK;
    while (status == RILL_OK && e->n_tail > 0 && length > 0) {
        e->tail[e->n_tail++] = *text++;
        length--;
        if (rill__utf8_incomplete_tail(e->tail, e->n_tail) == e->n_tail) continue;
        // The last byte may begin a character of its own.
        size_t kept = rill__utf8_incomplete_tail(e->tail, e->n_tail);
        status = put_valid(e, e->tail, e->n_tail - kept, err);
        memmove(e->tail, e->tail + e->n_tail - kept, kept);
        e->n_tail = kept;
    }
    if (status != RILL_OK) return status;
    size_t kept = length ? rill__utf8_incomplete_tail(text, length) : 0;
    if (length > 0) {
        status = put_valid(e, text, length - kept, err);
        memcpy(e->tail, text + length - kept, kept);
        e->n_tail = kept;
    }
    if (status == RILL_OK && end && e->n_tail > 0) {
        status = put_valid(e, e->tail, e->n_tail, err);
        e->n_tail = 0;
    }
    return status;
}

static rill_status put_specials(rill__encoder *e, const rill_token *ids, size_t n,
                                rill_error *err) {
    rill_status status = RILL_OK;
    if (!(e->flags & RILL_TEXT_ADD_SPECIAL)) return RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < n; i++)
        status = rill__tokens_push(e->out, ids[i], err);
    return status;
}

rill_status rill__encoder_push(rill__encoder *e, const char *text, size_t length, bool end,
                               rill__tokens *out, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    rill_status status = RILL_OK;
    e->out = out;
    if (!e->matcher) status = rill__matcher_open(&e->matcher, err);
    if (status == RILL_OK && !e->begun) status = put_specials(e, t->before, t->n_before, err);
    e->begun = true;
    while (status == RILL_OK) {
        size_t n = length < SLICE ? length : SLICE;
        bool last = end && n == length;
        status = put_text(e, text, n, last, err);
        if (status == RILL_OK) status = take_raw(e, last, err);
        text += n;
        length -= n;
        if (length == 0) break;
    }
    if (status == RILL_OK && end) {
        status = put_specials(e, t->after, t->n_after, err);
        e->begun = e->eat_space = e->word_before = false;
        e->run = (rill__run){.at_zero = true};
    }
    return status;
}

rill_status rill__tokenizer_encode(const rill__tokenizer *t, const char *text, size_t length,
                                   unsigned flags, rill__tokens *out, rill_error *err) {
    rill__encoder e;
    rill__encoder_init(&e, t, flags);
    rill_status status = rill__encoder_push(&e, text, length, true, out, err);
    rill__encoder_deinit(&e);
    return status;
}
