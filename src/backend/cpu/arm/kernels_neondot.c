// SPDX-License-Identifier: MIT
// NEON with products of bytes (Armv8.2, FEAT_DotProd).
#define NAME(f) f##_neondot
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/arm/burn_neon.h"

// sums + the products of a's bytes, taken 128 lower and so signed, with b's, four of them added.
static inline vi vi_dot(vi sums, vi a, vi b) {
    int8x16_t lower = veorq_s8(vreinterpretq_s8_s32(a), vdupq_n_s8(-128));
    return vdotq_s32(sums, lower, vreinterpretq_s8_s32(b));
}
#define DOT_LOWER true

#include "backend/cpu/simd/bytes_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/row_tmpl.h"

BURN(burn_int8_neondot, "sdot", "16b", 2 * 16)

void rill__cpu_kernels_neondot(rill__cpu_kernels *k) {
    k->product_whole = product_whole_neondot;
    row_slots_neondot(k);
    k->burn_int8 = burn_int8_neondot;
}
