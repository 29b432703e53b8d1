// SPDX-License-Identifier: MIT
// Multiplications and additions of floats in registers, for the roof: include after a vec_*.h.
#include "backend/cpu/kernels.h"

// Three chains at a time are written out: an array of sums would live in memory.
#define BURN_3(a, b, c)                                                                            \
    __asm__ volatile("vfmadd132ps %3, %4, %0\n\tvfmadd132ps %3, %4, %1\n\tvfmadd132ps %3, %4, %2"  \
                     : "+v"(a), "+v"(b), "+v"(c)                                                   \
                     : "v"(half), "v"(one))

static double NAME(burn_f32)(size_t rounds) {
    vf half = vf_set(0.5f), one = vf_set(1);
    vf a = one, b = one, c = one, d = one, e = one, f = one, g = one, h = one, i = one;
    for (size_t round = 0; round < rounds; round++) {
        BURN_3(a, b, c);
        BURN_3(d, e, f);
        BURN_3(g, h, i);
    }
    return 2.0 * 9 * LANES * (double)rounds;
}
