// SPDX-License-Identifier: MIT
// NEON with products of unsigned bytes and signed ones (Armv8.6, FEAT_I8MM).
#define NAME(f) f##_neoni8mm
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/arm/burn_neon.h"

// sums + the products of a's bytes, unsigned, with b's, signed, four of them added.
static inline vi vi_dot(vi sums, vi a, vi b) {
    return vusdotq_s32(sums, vreinterpretq_u8_s32(a), vreinterpretq_s8_s32(b));
}

#include "backend/cpu/simd/bytes_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/row_tmpl.h"

BURN(burn_int8_neoni8mm, "smmla", "16b", 2 * 32)

void rill__cpu_kernels_neoni8mm(rill__cpu_kernels *k) {
    k->product_whole = product_whole_neoni8mm;
    row_slots_neoni8mm(k);
    k->burn_int8 = burn_int8_neoni8mm;
}
