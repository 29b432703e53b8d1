// SPDX-License-Identifier: MIT
// SentencePiece's precompiled_charsmap: a double-array trie (darts-clone's format) from character
// sequences to what they are normalised to.
#ifndef RILL_TOKENIZER_CHARSMAP_H
#define RILL_TOKENIZER_CHARSMAP_H

#include "base/base.h"

typedef struct rill__charsmap {
    uint32_t *units;  // [n_units] the trie; NULL for an empty map
    size_t n_units;
    char *texts;     // replacements, each ended by NUL
    size_t n_texts;  // bytes
} rill__charsmap;

// Reads a blob: four bytes of length, the trie, the replacements. An empty blob is an empty map.
// `name` leads the messages. RILL_EFORMAT, RILL_ENOMEM. A hostile trie is harmless: every step of a
// search checks its bounds.
RILL_NODISCARD rill_status rill__charsmap_read(rill__charsmap *m, const char *name,
                                               const uint8_t *blob, size_t length, rill_error *err);
void rill__charsmap_deinit(rill__charsmap *m);

// The longest (or shortest) sequence that text begins with: its length, 0 for none, and what it
// becomes, borrowed. *open (NULL if not wanted): more text could make another answer.
size_t rill__charsmap_find(const rill__charsmap *m, const char *text, size_t length, bool shortest,
                           const char **to, size_t *n_to, bool *open);

#endif
