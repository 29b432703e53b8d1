// SPDX-License-Identifier: MIT
// The AVX2 tier: AVX2, FMA and F16C.
#include "backend/cpu/x86/vec_avx2.h"

#include "backend/cpu/x86/attend_avx2.h"
#include "backend/cpu/x86/burn_tmpl.h"
#include "backend/cpu/x86/quantize_avx2.h"

#include "backend/cpu/simd/product_tmpl.h"
#include "backend/cpu/simd/rows_tmpl.h"
#include "backend/cpu/simd/words_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/expand_tmpl.h"
#include "backend/cpu/simd/row_tmpl.h"

#include "backend/cpu/simd/attend_tmpl.h"
#include "backend/cpu/simd/encode_tmpl.h"

static double burn_int8_avx2(size_t rounds) {
    __m256i a[6], ones = _mm256_set1_epi16(1), bytes = _mm256_set1_epi8(3);
    for (int j = 0; j < 6; j++) a[j] = _mm256_setzero_si256();
    for (size_t i = 0; i < rounds; i++)
        for (int j = 0; j < 6; j++) {
            __m256i words;
            __asm__ volatile("vpmaddubsw %1, %1, %0" : "=x"(words) : "x"(bytes));
            __asm__ volatile("vpmaddwd %1, %0, %0" : "+x"(words) : "x"(ones));
            __asm__ volatile("vpaddd %1, %0, %0" : "+x"(a[j]) : "x"(words));
        }
    return 2.0 * 6 * 32 * (double)rounds;
}

void rill__cpu_kernels_avx2(rill__cpu_kernels *k) {
#include "backend/cpu/simd/slots_tmpl.h"
    expand_slots_avx2(k);
    row_slots_avx2(k);
    k->quantize_whole = quantize_whole_avx2;
    k->burn_int8 = burn_int8_avx2;
}
