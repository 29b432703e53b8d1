// SPDX-License-Identifier: MIT
// Products and sums in registers, for the roof.
#ifndef RILL_BURN_NEON_H
#define RILL_BURN_NEON_H

#include "backend/cpu/arm/vec_neon.h"

// NAME(rounds): nine chains of an instruction that multiplies two vectors of `lanes` and adds to a
// third, `operations` each. Three are written out: an array of sums would live in memory.
#define BURN_3(instruction, lanes, a, b, c)                                                        \
    __asm__ volatile(instruction " %0.4s, %3." lanes ", %3." lanes "\n\t" instruction              \
                                 " %1.4s, %3." lanes ", %3." lanes "\n\t" instruction              \
                                 " %2.4s, %3." lanes ", %3." lanes                                 \
                     : "+w"(a), "+w"(b), "+w"(c)                                                   \
                     : "w"(operand))

#define BURN(name, instruction, lanes, operations)                                                 \
    static double name(size_t rounds) {                                                            \
        uint8x16_t operand = vdupq_n_u8(0x3f);                                                     \
        vi a = vi_set(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a;                  \
        for (size_t round = 0; round < rounds; round++) {                                          \
            BURN_3(instruction, lanes, a, b, c);                                                   \
            BURN_3(instruction, lanes, d, e, f);                                                   \
            BURN_3(instruction, lanes, g, h, i);                                                   \
        }                                                                                          \
        return 9.0 * (operations) * (double)rounds;                                                \
    }

#endif
