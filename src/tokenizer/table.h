// SPDX-License-Identifier: MIT
// The look-up tables of a tokenizer: texts by id, ids by text, merges by pair, and a trie of bytes.
// Each is filled while a tokenizer opens and only read afterwards.
#ifndef RILL_TOKENIZER_TABLE_H
#define RILL_TOKENIZER_TABLE_H

#include "base/buffer.h"
#include "tokenizer/vocabulary.h"

enum {
    RILL_MAX_TOKENS = 1 << 22,      // ids are below it
    RILL_MAX_TOKEN_BYTES = 2048,    // of the text of one token
    RILL_MAX_TEXT_BYTES = 1 << 30,  // of all texts together
};

// ---- Texts by id ----------------------------------------------------------------------------

typedef struct rill__span {
    uint32_t at;  // offset in the arena
    uint32_t length;
} rill__span;

// Invariant: every span lies in the arena; an id that was never set has length 0.
typedef struct rill__strings {
    rill__bytes arena;
    rill__span *spans;  // [n]
    size_t n;
    size_t capacity;
} rill__strings;

// An empty list; deinit frees what it holds.
void rill__strings_init(rill__strings *s);
void rill__strings_deinit(rill__strings *s);
// Sets the text of an id, growing the list as needed. RILL_EFORMAT if id or length are past the
// limits above; RILL_ENOMEM.
RILL_NODISCARD rill_status rill__strings_set(rill__strings *s, size_t id, const char *text,
                                             size_t length, rill_error *err);
// Borrowed; moves when a text is set. id < n.
static inline rill__text rill__strings_get(const rill__strings *s, size_t id) {
    rill__span span = s->spans[id];
    return (rill__text){s->arena.data + span.at, span.length};
}

// ---- Ids by text ----------------------------------------------------------------------------

// Open addressing with linear probing; at most half of the slots are taken.
typedef struct rill__index {
    uint32_t *slots;  // id + 1, 0 where free
    size_t mask;      // slots - 1
} rill__index;

// Makes room for n ids. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__index_init(rill__index *x, size_t n, rill_error *err);
void rill__index_deinit(rill__index *x);
// Adds an id of s; a text that is there already keeps its first id. At most n calls.
void rill__index_add(rill__index *x, const rill__strings *s, uint32_t id);
// -1 if there is none.
int32_t rill__index_find(const rill__index *x, const rill__strings *s, const char *text,
                         size_t length);

// ---- Merges ---------------------------------------------------------------------------------

typedef struct rill__merge {
    uint32_t left, right;  // UINT32_MAX in left where free
    uint32_t rank;         // the lowest goes first
    uint32_t id;           // what it becomes
} rill__merge;

typedef struct rill__merges {
    rill__merge *slots;
    size_t mask;
    size_t n;
} rill__merges;

// Frees the table, not the struct.
void rill__merges_deinit(rill__merges *m);
// Adds a pair; one that is there already keeps what it has if `keep`, else is overwritten.
RILL_NODISCARD rill_status rill__merges_add(rill__merges *m, rill__merge merge, bool keep,
                                            rill_error *err);

// A hash of a pair: where looking for it begins, before the mask.
static inline size_t rill__merges_home(uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 29);
}

// NULL if the pair does not merge.
static inline const rill__merge *rill__merges_find(const rill__merges *m, uint32_t left,
                                                   uint32_t right) {
    if (!m->slots) return NULL;
    for (size_t i = rill__merges_home(left, right);; i++) {
        const rill__merge *slot = &m->slots[i & m->mask];
        if (slot->left == left && slot->right == right) return slot;
        if (slot->left == UINT32_MAX) return NULL;
    }
}

// ---- Trie -----------------------------------------------------------------------------------

// A tree of bytes; edges in one hash table. Node 0 is the root.
typedef struct rill__trie {
    uint64_t *edges;  // (parent << 8 | byte) << 32 | child, 0 where free
    size_t mask;
    size_t n_edges;
    int32_t *values;  // [n_nodes] -1 where nothing ends
    uint8_t *inner;   // [n_nodes] whether anything goes on from here
    size_t n_nodes;   // 0 for an empty trie
    size_t capacity;
    uint32_t first[256];
} rill__trie;

// Frees the nodes, not the struct.
void rill__trie_deinit(rill__trie *t);
// Adds a key (not empty); a key that is there already keeps its value. RILL_ENOMEM, RILL_EFORMAT
// (more than 2^24 nodes).
RILL_NODISCARD rill_status rill__trie_add(rill__trie *t, const char *key, size_t length,
                                          int32_t value, rill_error *err);
// The child of a node, 0 if there is none.
static inline uint32_t rill__trie_step(const rill__trie *t, uint32_t node, uint8_t byte) {
    if (node == 0) return t->first[byte];
    uint32_t key = node << 8 | byte;
    for (size_t i = (size_t)(key * 0x9e3779b1u);; i++) {
        uint64_t edge = t->edges[i & t->mask];
        if (edge >> 32 == key) return (uint32_t)edge;
        if (edge == 0) return 0;
    }
}
// The longest key that text begins with: its length, 0 for none, and its value. *open (NULL if not
// wanted) says that more text could make another answer.
size_t rill__trie_longest(const rill__trie *t, const char *text, size_t length, int32_t *value,
                          bool *open);

#endif
