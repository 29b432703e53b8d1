// SPDX-License-Identifier: MIT
// AVX2 with AVX-VNNI: products of whole numbers and their sum in one instruction.
#define RILL_AVX_VNNI
#define NAME(f) f##_avxvnni
#include "backend/cpu/x86/burn_dot.h"
#include "backend/cpu/x86/vec_avx2.h"

#include "backend/cpu/simd/bytes_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/row_tmpl.h"

BURN_DOT(burn_int8_avxvnni, __m256i, _mm256_set1_epi8(3), "%{vex%} vpdpbusd")

void rill__cpu_kernels_avxvnni(rill__cpu_kernels *k) {
    k->product_whole = product_whole_avxvnni;
    row_slots_avxvnni(k);
    k->burn_int8 = burn_int8_avxvnni;
}
