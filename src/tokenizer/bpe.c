// SPDX-License-Identifier: MIT
// Byte-pair merges: of all neighbours that merge, those of the lowest rank go first, the leftmost
// of equals. A short stretch looks at all its pairs each time; a longer one keeps them in a heap,
// so that n symbols take O(n log n).
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <string.h>

enum {
    SHORT = 24,        // symbols up to which looking at all pairs is faster (measured)
    FROZEN = 1 << 30,  // flag of a symbol that merges with nothing
};

// ---- Symbols --------------------------------------------------------------------------------

static rill_status add_symbol(rill__encoder *e, uint32_t id, rill_error *err) {
    rill_status status = rill__work_reserve(&e->symbols, &e->symbol_capacity, e->n_symbols + 1,
                                            sizeof *e->symbols, err);
    if (status != RILL_OK) return status;
    e->symbols[e->n_symbols++] = (rill__symbol){.id = id};
    return RILL_OK;
}

static rill_status add_unknown(rill__encoder *e, const char *text, size_t length, rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    bool known = s->byte_fallback;
    rill_status status = RILL_OK;
    for (size_t i = 0; known && i < length; i++) known = s->bytes[(uint8_t)text[i]] >= 0;
    for (size_t i = 0; known && status == RILL_OK && i < length; i++)
        status = add_symbol(e, (uint32_t)s->bytes[(uint8_t)text[i]], err);
    if (known || s->unknown < 0) return status;
    if (s->fuse_unknown && e->n_symbols > 0 &&
        e->symbols[e->n_symbols - 1].id == (uint32_t)s->unknown)
        return RILL_OK;
    return add_symbol(e, (uint32_t)s->unknown, err);
}

static rill_status byte_symbols(rill__encoder *e, const char *text, size_t length,
                                rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < length; i++) {
        int32_t id = s->alphabet[(uint8_t)text[i]];
        status = id >= 0 ? add_symbol(e, (uint32_t)id, err) : add_unknown(e, text + i, 1, err);
    }
    return status;
}

// The id of a character with the marks that its place in the word gives it.
static int32_t marked_character(rill__encoder *e, const char *text, size_t n, bool inner,
                                bool closing) {
    const rill__tokenizer *t = e->tokenizer;
    const char *prefix = inner && t->scheme.word_prefix ? t->scheme.word_prefix : "";
    const char *suffix = closing && t->scheme.word_suffix ? t->scheme.word_suffix : "";
    if (!*prefix && !*suffix) return rill__index_find(&t->model, &t->texts, text, n);
    char marked[2 * RILL_MAX_STEP_BYTES + 4];
    size_t n_prefix = strlen(prefix), n_suffix = strlen(suffix);
    memcpy(marked, prefix, n_prefix);
    memcpy(marked + n_prefix, text, n);
    memcpy(marked + n_prefix + n, suffix, n_suffix);
    return rill__index_find(&t->model, &t->texts, marked, n_prefix + n + n_suffix);
}

static rill_status character_symbols(rill__encoder *e, const char *text, size_t length, bool first,
                                     bool last, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    rill_status status = RILL_OK;
    for (size_t i = 0, n; status == RILL_OK && i < length; i += n) {
        int32_t id;
        n = e->flags & RILL_TEXT_PLAIN
                ? 0
                : rill__trie_longest(&t->scheme.symbols, text + i, length - i, &id, NULL);
        if (n > 0) {
            status = add_symbol(e, (uint32_t)id | FROZEN, err);
            continue;
        }
        uint32_t c;
        n = rill__utf8_decode(text + i, length - i, &c);
        id = marked_character(e, text + i, n, !first || i > 0, last && i + n == length);
        status = id >= 0 ? add_symbol(e, (uint32_t)id, err) : add_unknown(e, text + i, n, err);
    }
    return status;
}

// ---- Merging --------------------------------------------------------------------------------

// NULL if the two do not merge, or must not because nobody may write that token as text.
static const rill__merge *find_merge(rill__encoder *e, uint32_t left, uint32_t right) {
    const rill__tokenizer *t = e->tokenizer;
    const rill__merge *m = rill__merges_find(&t->scheme.merges, left, right);
    if (m && e->flags & RILL_TEXT_PLAIN && m->id < t->n_tokens &&
        (t->kinds[m->id] == RILL_TOKEN_USER_DEFINED || t->kinds[m->id] == RILL_TOKEN_CONTROL))
        return NULL;
    return m;
}

// What became an unused token is taken apart again later, the way it was seen last.
static rill_status note_unused(rill__encoder *e, const rill__merge *m, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    if (!t->scheme.has_unused || m->id >= t->n_tokens || t->kinds[m->id] != RILL_TOKEN_UNUSED)
        return RILL_OK;
    for (size_t i = 0; i < e->n_unused; i++)
        if (e->unused[i].id == m->id) {
            e->unused[i] = *m;
            return RILL_OK;
        }
    rill_status status = rill__work_reserve(&e->unused, &e->unused_capacity, e->n_unused + 1,
                                            sizeof *e->unused, err);
    if (status == RILL_OK) e->unused[e->n_unused++] = *m;
    return status;
}

static rill_status merge_short(rill__encoder *e, rill_error *err) {
    const rill__merge *pairs[SHORT];
    rill__symbol *s = e->symbols;
    size_t n = e->n_symbols;
    rill_status status = RILL_OK;
    for (size_t i = 0; i + 1 < n; i++) {
        pairs[i] = find_merge(e, s[i].id, s[i + 1].id);
        if (pairs[i]) status = note_unused(e, pairs[i], err);
        if (status != RILL_OK) return status;
    }
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (pairs[i] && (best == n || pairs[i]->rank < pairs[best]->rank)) best = i;
        if (best == n) break;
        s[best].id = pairs[best]->id;
        n--;
        for (size_t i = best + 1; i < n; i++) s[i] = s[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) pairs[i] = pairs[i + 1];
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            pairs[i] = find_merge(e, s[i].id, s[i + 1].id);
            if (pairs[i]) status = note_unused(e, pairs[i], err);
            if (status != RILL_OK) return status;
        }
    }
    e->n_symbols = n;
    return RILL_OK;
}

static void sift_up(rill__candidate *heap, size_t i) {
    rill__candidate c = heap[i];
    for (; i > 0 && heap[(i - 1) / 2].order > c.order; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = c;
}

static void sift_down(rill__candidate *heap, size_t n, size_t i) {
    rill__candidate c = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1].order < heap[child].order) child++;
        if (heap[child].order >= c.order) break;
        heap[i] = heap[child];
    }
    heap[i] = c;
}

static rill_status add_candidate(rill__encoder *e, size_t at, bool sift, rill_error *err) {
    const rill__symbol *s = e->symbols;
    uint32_t left = s[at].id, right = s[s[at].next].id;
    const rill__merge *m = find_merge(e, left, right);
    if (!m) return RILL_OK;
    rill_status status = note_unused(e, m, err);
    if (status == RILL_OK)
        status =
            rill__work_reserve(&e->heap, &e->heap_capacity, e->n_heap + 1, sizeof *e->heap, err);
    if (status != RILL_OK) return status;
    e->heap[e->n_heap] = (rill__candidate){(uint64_t)m->rank << 32 | at, left, right};
    if (sift) sift_up(e->heap, e->n_heap);
    e->n_heap++;
    return RILL_OK;
}

// A candidate is stale when one of its two symbols has merged otherwise meanwhile.
static rill_status merge_candidate(rill__encoder *e, rill__candidate c, rill_error *err) {
    rill__symbol *s = e->symbols;
    size_t at = (size_t)(c.order & UINT32_MAX);
    int32_t next = s[at].next;
    if (s[at].id != c.left || next < 0 || s[next].id != c.right) return RILL_OK;
    s[at].id = rill__merges_find(&e->tokenizer->scheme.merges, c.left, c.right)->id;
    s[at].next = s[next].next;
    s[next].id = UINT32_MAX;
    if (s[at].next >= 0) s[s[at].next].previous = (int32_t)at;
    rill_status status = RILL_OK;
    if (s[at].previous >= 0) status = add_candidate(e, (size_t)s[at].previous, true, err);
    if (status == RILL_OK && s[at].next >= 0) status = add_candidate(e, at, true, err);
    return status;
}

static rill_status merge_long(rill__encoder *e, rill_error *err) {
    rill__symbol *s = e->symbols;
    size_t n = e->n_symbols;
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n; i++) {
        s[i].previous = (int32_t)i - 1;
        s[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    e->n_heap = 0;
    for (size_t i = 0; status == RILL_OK && i + 1 < n; i++)
        status = add_candidate(e, i, false, err);
    for (size_t i = e->n_heap / 2; i-- > 0;) sift_down(e->heap, e->n_heap, i);
    while (status == RILL_OK && e->n_heap > 0) {
        rill__candidate c = e->heap[0];
        e->heap[0] = e->heap[--e->n_heap];
        if (e->n_heap > 0) sift_down(e->heap, e->n_heap, 0);
        status = merge_candidate(e, c, err);
    }
    size_t kept = 0;
    for (int32_t i = 0; i >= 0; i = s[i].next) s[kept++].id = s[i].id;
    e->n_symbols = kept;
    return status;
}

// ---- Out ------------------------------------------------------------------------------------

// An unused token becomes the two that made it, and so on down; what was waiting comes from a stack
// that holds right halves only, so it is as deep as the merges.
static rill_status put_symbol(rill__encoder *e, uint32_t id, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    uint32_t stack[64];
    size_t n = 0;
    stack[n++] = id & ~(uint32_t)FROZEN;
    while (n > 0) {
        id = stack[--n];
        const rill__merge *m = NULL;
        if (id < t->n_tokens && t->kinds[id] == RILL_TOKEN_UNUSED)
            for (size_t i = 0; i < e->n_unused; i++)
                if (e->unused[i].id == id) m = &e->unused[i];
        if (m && n + 2 <= sizeof stack / sizeof *stack) {
            stack[n++] = m->right;
            stack[n++] = m->left;
            continue;
        }
        rill_status status;
        if (id < t->n_tokens) {
            status = rill__tokens_push(&e->word, (rill_token)id, err);
        } else {
            rill__text text = rill__strings_get(&t->texts, id);
            status = rill__model_unknown(e, text.data, text.length, err);
        }
        if (status != RILL_OK) return status;
    }
    return RILL_OK;
}

// The whole word as a token, -1 if it is none, -2 when memory is out.
static int32_t whole_token(rill__encoder *e, const char *text, size_t length, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    if (length > RILL_MAX_TOKEN_BYTES) return -1;
    if (t->scheme.byte_level) {
        rill__bytes_reset(&e->forms[0]);
        for (size_t i = 0; i < length; i++)
            if (rill__work_put(&e->forms[0], rill__byte_character((uint8_t)text[i]), err) !=
                RILL_OK)
                return -2;
        text = e->forms[0].data;
        length = e->forms[0].length;
    }
    int32_t id = rill__index_find(&t->model, &t->texts, text, length);
    // What nobody may write as text is no word either.
    bool hidden = id >= 0 && e->flags & RILL_TEXT_PLAIN && t->kinds[id] != RILL_TOKEN_NORMAL;
    return hidden ? -1 : id;
}

rill_status rill__bpe(rill__encoder *e, const char *text, size_t length, bool first, bool last,
                      rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    if (s->ignore_merges && first && last) {
        int32_t id = whole_token(e, text, length, err);
        if (id < -1) return RILL_ENOMEM;
        if (id >= 0) return rill__tokens_push(&e->word, id, err);
    }
    e->n_symbols = 0;
    e->n_unused = 0;
    rill_status status = s->byte_level ? byte_symbols(e, text, length, err)
                                       : character_symbols(e, text, length, first, last, err);
    if (status == RILL_OK && e->n_symbols > 1)
        status = e->n_symbols <= SHORT ? merge_short(e, err) : merge_long(e, err);
    for (size_t i = 0; status == RILL_OK && i < e->n_symbols; i++)
        status = put_symbol(e, e->symbols[i].id, err);
    return status;
}
