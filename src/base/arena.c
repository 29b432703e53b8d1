// SPDX-License-Identifier: MIT
// Slabs, each as large as all before it together, within limits.
#include "base/arena.h"

#include "base/base.h"

#include <stdint.h>

enum { HEAD = 64, LEAST_SLAB = 64 << 10, MOST_SLAB = 64 << 20 };

struct rill__slab {
    rill__slab *before;
    size_t bytes;  // this head's included
    size_t used;
    size_t pieces;
};
_Static_assert(sizeof(rill__slab) <= HEAD, "pieces begin at a cache line");

static rill__slab *take_slab(rill__arena *arena, size_t least) {
    size_t bytes = arena->bytes < MOST_SLAB ? arena->bytes : MOST_SLAB;
    if (bytes < LEAST_SLAB) bytes = LEAST_SLAB;
    // Another allocator's memory is taken as it is asked for.
    if (bytes < least || rill__allocator_is_replaced()) bytes = least;
    rill__slab *slab = rill__map_memory(bytes);
    if (!slab) return NULL;
    *slab = (rill__slab){.before = arena->last, .bytes = bytes, .used = HEAD};
    arena->last = slab;
    arena->bytes += bytes;
    return slab;
}

void *rill__arena_take(rill__arena *arena, size_t bytes, rill__slab **slab) {
    size_t least;
    if (!rill__add_size(bytes, HEAD + 63, &least)) return NULL;
    bytes = (bytes + 63) & ~(size_t)63;
    *slab = arena->last;
    if (!*slab || (*slab)->bytes - (*slab)->used < bytes) *slab = take_slab(arena, least);
    if (!*slab) return NULL;
    void *piece = (uint8_t *)*slab + (*slab)->used;
    (*slab)->used += bytes;
    (*slab)->pieces++;
    return piece;
}

void rill__arena_give(rill__arena *arena, rill__slab *slab) {
    if (!slab || --slab->pieces > 0) return;
    rill__slab **at = &arena->last;
    while (*at != slab) at = &(*at)->before;
    *at = slab->before;
    arena->bytes -= slab->bytes;
    rill__unmap_memory(slab, slab->bytes);
}
