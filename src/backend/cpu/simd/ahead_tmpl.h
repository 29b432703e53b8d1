// SPDX-License-Identifier: MIT
// Kernels ask for the memory that is read next while they compute, some lines at each step.
#ifndef RILL_CPU_AHEAD_H
#define RILL_CPU_AHEAD_H

#include "backend/cpu/kernels.h"

typedef struct ahead {
    uintptr_t at, end;  // addresses: they may be behind the memory that there is
    size_t step;        // bytes
} ahead;

static inline ahead ahead_of(const rill__ahead *a, size_t n_steps) {
    size_t lines = (a->bytes + 63) / 64;
    uintptr_t at = (uintptr_t)a->at;
    return (ahead){at, at + a->bytes, (lines + n_steps - 1) / n_steps * 64};
}

// The part of it that falls to [from, to) of `all`.
static inline rill__ahead ahead_share(const rill__ahead *a, size_t from, size_t to, size_t all) {
    size_t begin = a->bytes * from / all;
    return (rill__ahead){(const void *)((uintptr_t)a->at + begin), a->bytes * to / all - begin};
}

// The next step's lines, into the first cache (`near`) or the second.
static inline __attribute__((always_inline)) void look_ahead(ahead *a, bool near) {
    uintptr_t end = a->at + a->step;
    for (; a->at < end && a->at < a->end; a->at += 64)
        near ? __builtin_prefetch((const void *)a->at)
             : __builtin_prefetch((const void *)a->at, 0, 2);
}

#endif
