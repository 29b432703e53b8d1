// SPDX-License-Identifier: MIT
// The look-up tables of a tokenizer.
#include "tokenizer/table.h"

#include <string.h>
#include <xxhash.h>

// ---- Texts by id ----------------------------------------------------------------------------

void rill__strings_init(rill__strings *s) {
    *s = (rill__strings){0};
    rill__bytes_init(&s->arena, RILL_MAX_TEXT_BYTES);
}

void rill__strings_deinit(rill__strings *s) {
    rill__bytes_deinit(&s->arena);
    rill__free(s->spans);
    *s = (rill__strings){0};
}

static rill_status strings_grow(rill__strings *s, size_t n, rill_error *err) {
    if (n > s->capacity) {
        size_t capacity = n + n / 2 + 64;
        rill__span *spans = rill__realloc(s->spans, capacity * sizeof *spans);
        if (!spans) return rill__fail_memory(err, "a vocabulary", capacity * sizeof *spans);
        s->spans = spans;
        s->capacity = capacity;
    }
    for (; s->n < n; s->n++) s->spans[s->n] = (rill__span){0};
    return RILL_OK;
}

rill_status rill__strings_set(rill__strings *s, size_t id, const char *text, size_t length,
                              rill_error *err) {
    if (id >= RILL_MAX_TOKENS)
        return rill__fail(err, RILL_EFORMAT, "token id %zu: ids must be below %d", id,
                          RILL_MAX_TOKENS);
    if (length > RILL_MAX_TOKEN_BYTES)
        return rill__fail(err, RILL_EFORMAT, "token %zu: %zu bytes long, at most %d are allowed",
                          id, length, RILL_MAX_TOKEN_BYTES);
    rill_status status = RILL_OK;
    if (id >= s->n) status = strings_grow(s, id + 1, err);
    size_t at = s->arena.length;
    if (status == RILL_OK) status = rill__bytes_append(&s->arena, text, length, err);
    if (status == RILL_OK) s->spans[id] = (rill__span){(uint32_t)at, (uint32_t)length};
    return status;
}

// ---- Ids by text ----------------------------------------------------------------------------

// The power of two that leaves half of the slots free.
static size_t slots_for(size_t n) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    return slots;
}

rill_status rill__index_init(rill__index *x, size_t n, rill_error *err) {
    size_t slots = slots_for(n + 1);
    x->slots = rill__calloc(slots, sizeof *x->slots);
    x->mask = slots - 1;
    return x->slots ? RILL_OK : rill__fail_memory(err, "an index", slots * sizeof *x->slots);
}

void rill__index_deinit(rill__index *x) {
    rill__free(x->slots);
    *x = (rill__index){0};
}

static size_t find_slot(const rill__index *x, const rill__strings *s, const char *text,
                        size_t length) {
    for (size_t i = (size_t)XXH3_64bits(text, length);; i++) {
        uint32_t slot = x->slots[i & x->mask];
        if (slot == 0) return i & x->mask;
        rill__span span = s->spans[slot - 1];
        if (span.length == length && memcmp(s->arena.data + span.at, text, length) == 0)
            return i & x->mask;
    }
}

void rill__index_add(rill__index *x, const rill__strings *s, uint32_t id) {
    rill__text text = rill__strings_get(s, id);
    if (text.length == 0) return;
    size_t slot = find_slot(x, s, text.data, text.length);
    if (x->slots[slot] == 0) x->slots[slot] = id + 1;
}

int32_t rill__index_find(const rill__index *x, const rill__strings *s, const char *text,
                         size_t length) {
    if (length == 0 || !x->slots) return -1;
    return (int32_t)x->slots[find_slot(x, s, text, length)] - 1;
}

// ---- Merges ---------------------------------------------------------------------------------

void rill__merges_deinit(rill__merges *m) {
    rill__free(m->slots);
    *m = (rill__merges){0};
}

static rill__merge *merge_slot(const rill__merges *m, uint32_t left, uint32_t right) {
    for (size_t i = rill__merges_home(left, right);; i++) {
        rill__merge *slot = &m->slots[i & m->mask];
        if (slot->left == UINT32_MAX || (slot->left == left && slot->right == right)) return slot;
    }
}

static rill_status merges_grow(rill__merges *m, rill_error *err) {
    size_t slots = slots_for(2 * m->n + 512);
    rill__merges larger = {.mask = slots - 1, .n = m->n};
    larger.slots = rill__malloc(slots * sizeof *larger.slots);
    if (!larger.slots) return rill__fail_memory(err, "merges", slots * sizeof *larger.slots);
    memset(larger.slots, 0xff, slots * sizeof *larger.slots);
    for (size_t i = 0; m->slots && i <= m->mask; i++)
        if (m->slots[i].left != UINT32_MAX)
            *merge_slot(&larger, m->slots[i].left, m->slots[i].right) = m->slots[i];
    rill__free(m->slots);
    *m = larger;
    return RILL_OK;
}

rill_status rill__merges_add(rill__merges *m, rill__merge merge, bool keep, rill_error *err) {
    if (!m->slots || 2 * (m->n + 1) > m->mask + 1) {
        rill_status status = merges_grow(m, err);
        if (status != RILL_OK) return status;
    }
    rill__merge *slot = merge_slot(m, merge.left, merge.right);
    bool taken = slot->left != UINT32_MAX;
    if (!taken) m->n++;
    if (!taken || !keep) *slot = merge;
    return RILL_OK;
}

// ---- Trie -----------------------------------------------------------------------------------

enum { TRIE_MAX_NODES = 1 << 24 };

void rill__trie_deinit(rill__trie *t) {
    rill__free(t->edges);
    rill__free(t->values);
    rill__free(t->inner);
    *t = (rill__trie){0};
}

static rill_status trie_grow_nodes(rill__trie *t, rill_error *err) {
    if (t->n_nodes >= TRIE_MAX_NODES)
        return rill__fail(err, RILL_EFORMAT, "vocabulary: its texts are too long for a trie");
    if (t->n_nodes < t->capacity) return RILL_OK;
    size_t capacity = 2 * t->capacity + 64;
    int32_t *values = rill__realloc(t->values, capacity * sizeof *values);
    if (values) t->values = values;
    uint8_t *inner = values ? rill__realloc(t->inner, capacity) : NULL;
    if (!inner) return rill__fail_memory(err, "a trie", capacity * sizeof *values);
    t->inner = inner;
    t->capacity = capacity;
    return RILL_OK;
}

static uint64_t *edge_slot(const rill__trie *t, uint32_t key) {
    for (size_t i = (size_t)(key * 0x9e3779b1u);; i++) {
        uint64_t *edge = &t->edges[i & t->mask];
        if (*edge == 0 || *edge >> 32 == key) return edge;
    }
}

static rill_status trie_grow_edges(rill__trie *t, rill_error *err) {
    if (t->edges && 2 * (t->n_edges + 1) <= t->mask + 1) return RILL_OK;
    size_t slots = slots_for(2 * t->n_edges + 128);
    rill__trie larger = {.mask = slots - 1};
    larger.edges = rill__calloc(slots, sizeof *larger.edges);
    if (!larger.edges) return rill__fail_memory(err, "a trie", slots * sizeof *larger.edges);
    for (size_t i = 0; t->edges && i <= t->mask; i++)
        if (t->edges[i]) *edge_slot(&larger, (uint32_t)(t->edges[i] >> 32)) = t->edges[i];
    rill__free(t->edges);
    t->edges = larger.edges;
    t->mask = larger.mask;
    return RILL_OK;
}

static rill_status trie_new_node(rill__trie *t, uint32_t *node, rill_error *err) {
    rill_status status = trie_grow_nodes(t, err);
    if (status != RILL_OK) return status;
    t->values[t->n_nodes] = -1;
    t->inner[t->n_nodes] = 0;
    *node = (uint32_t)t->n_nodes++;
    return RILL_OK;
}

rill_status rill__trie_add(rill__trie *t, const char *key, size_t length, int32_t value,
                           rill_error *err) {
    uint32_t node = 0;
    rill_status status = RILL_OK;
    if (t->n_nodes == 0) status = trie_new_node(t, &node, err);
    for (size_t i = 0; status == RILL_OK && i < length; i++) {
        uint8_t byte = (uint8_t)key[i];
        status = trie_grow_edges(t, err);
        if (status != RILL_OK) break;
        uint32_t child = rill__trie_step(t, node, byte);
        if (child == 0) {
            status = trie_new_node(t, &child, err);
            if (status != RILL_OK) break;
            t->inner[node] = 1;
            if (node == 0) {
                t->first[byte] = child;
            } else {
                *edge_slot(t, node << 8 | byte) = (uint64_t)(node << 8 | byte) << 32 | child;
                t->n_edges++;
            }
        }
        node = child;
    }
    if (status == RILL_OK && t->values[node] < 0) t->values[node] = value;
    return status;
}

size_t rill__trie_longest(const rill__trie *t, const char *text, size_t length, int32_t *value,
                          bool *open) {
    size_t best = 0, i = 0;
    uint32_t node = 0;
    if (open) *open = false;
    if (t->n_nodes == 0) return 0;
    for (; i < length; i++) {
        node = rill__trie_step(t, node, (uint8_t)text[i]);
        if (node == 0) return best;
        if (t->values[node] < 0) continue;
        best = i + 1;
        *value = t->values[node];
    }
    if (open) *open = t->inner[node] != 0;
    return best;
}
