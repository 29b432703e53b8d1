// SPDX-License-Identifier: MIT
// AVX-512 with VNNI: products of bytes in one instruction.
#define RILL_VNNI
#define NAME(f) f##_avx512vnni
#include "backend/cpu/x86/burn_dot.h"
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/simd/bytes_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/row_tmpl.h"

BURN_DOT(burn_int8_avx512vnni, __m512i, _mm512_set1_epi8(3), "vpdpbusd")

void rill__cpu_kernels_avx512vnni(rill__cpu_kernels *k) {
    k->product_whole = product_whole_avx512vnni;
    row_slots_avx512vnni(k);
    k->burn_int8 = burn_int8_avx512vnni;
}
