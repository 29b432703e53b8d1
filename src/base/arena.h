// SPDX-License-Identifier: MIT
// Memory for many pieces that live long: they lie side by side in slabs that grow, so that huge
// pages hold them.
#ifndef RILL_BASE_ARENA_H
#define RILL_BASE_ARENA_H

#include <stddef.h>

typedef struct rill__slab rill__slab;

// All zeros is an empty arena. Threads: one at a time.
typedef struct rill__arena {
    rill__slab *last;
    size_t bytes;  // of all slabs
} rill__arena;

// Zeroed memory, 64-byte aligned, and the slab it lies in; NULL on failure.
void *rill__arena_take(rill__arena *arena, size_t bytes, rill__slab **slab);
// Gives one piece back; a slab goes with its last piece. NULL is taken.
void rill__arena_give(rill__arena *arena, rill__slab *slab);

#endif
