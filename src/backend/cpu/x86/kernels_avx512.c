// SPDX-License-Identifier: MIT
// The AVX-512 tier: F, BW, DQ and VL.
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/x86/attend_avx512.h"
#include "backend/cpu/x86/burn_tmpl.h"

#include "backend/cpu/simd/product_tmpl.h"
#include "backend/cpu/simd/rows_tmpl.h"
#include "backend/cpu/simd/words_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/expand_tmpl.h"
#include "backend/cpu/simd/row_tmpl.h"

#include "backend/cpu/simd/attend_tmpl.h"
#include "backend/cpu/simd/encode_tmpl.h"

static double burn_int8_avx512(size_t rounds) {
    __m512i a[6], ones = _mm512_set1_epi16(1), bytes = _mm512_set1_epi8(3);
    for (int j = 0; j < 6; j++) a[j] = _mm512_setzero_si512();
    for (size_t i = 0; i < rounds; i++)
        for (int j = 0; j < 6; j++) {
            __m512i words;
            __asm__ volatile("vpmaddubsw %1, %1, %0" : "=v"(words) : "v"(bytes));
            __asm__ volatile("vpmaddwd %1, %0, %0" : "+v"(words) : "v"(ones));
            __asm__ volatile("vpaddd %1, %0, %0" : "+v"(a[j]) : "v"(words));
        }
    return 2.0 * 6 * 64 * (double)rounds;
}

void rill__cpu_kernels_avx512(rill__cpu_kernels *k) {
#include "backend/cpu/simd/slots_tmpl.h"
    expand_slots_avx512(k);
    row_slots_avx512(k);
    k->burn_int8 = burn_int8_avx512;
}
