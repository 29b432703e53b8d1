// SPDX-License-Identifier: MIT
// The roof of products of bytes, four an instruction. Three chains at a time are written out: an
// array of sums would live in memory.
#ifndef RILL_BURN_DOT_H
#define RILL_BURN_DOT_H

#include <immintrin.h>

#define BURN_3(dot, a, b, c)                                                                       \
    __asm__ volatile(dot " %3, %3, %0\n\t" dot " %3, %3, %1\n\t" dot " %3, %3, %2"                 \
                     : "+v"(a), "+v"(b), "+v"(c)                                                   \
                     : "v"(bytes))

// Twelve chains hide the latency of an instruction, 4 or 5 cycles, on two units.
#define BURN_DOT(name, vector, threes, dot)                                                        \
    static double name(size_t rounds) {                                                            \
        vector bytes = threes, a = bytes, b = bytes, c = bytes, d = bytes, e = bytes, f = bytes;   \
        vector g = bytes, h = bytes, i = bytes, j = bytes, k = bytes, l = bytes;                   \
        for (size_t round = 0; round < rounds; round++) {                                          \
            BURN_3(dot, a, b, c);                                                                  \
            BURN_3(dot, d, e, f);                                                                  \
            BURN_3(dot, g, h, i);                                                                  \
            BURN_3(dot, j, k, l);                                                                  \
        }                                                                                          \
        return 2.0 * 12 * sizeof bytes * (double)rounds;                                           \
    }

#endif
