// SPDX-License-Identifier: MIT
// AVX-512 with BF16: products of pairs of bfloat16, summed in float32.
#include "backend/cpu/kernels.h"

#include <immintrin.h>

// Three chains at a time are written out: an array of sums would live in memory.
#define BURN_3(a, b, c)                                                                            \
    __asm__ volatile("vdpbf16ps %3, %3, %0\n\tvdpbf16ps %3, %3, %1\n\tvdpbf16ps %3, %3, %2"        \
                     : "+v"(a), "+v"(b), "+v"(c)                                                   \
                     : "v"(pairs))

static double burn_bf16_avx512bf16(size_t rounds) {
    __m512i pairs = _mm512_set1_epi16(0x3f40);  // 0.75
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a;
    __m512 j = a, k = a, l = a;
    for (size_t round = 0; round < rounds; round++) {
        BURN_3(a, b, c);
        BURN_3(d, e, f);
        BURN_3(g, h, i);
        BURN_3(j, k, l);
    }
    return 2.0 * 12 * 32 * (double)rounds;
}

void rill__cpu_kernels_avx512bf16(rill__cpu_kernels *k) {
    k->burn_bf16 = burn_bf16_avx512bf16;
}
