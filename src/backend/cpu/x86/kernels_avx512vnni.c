// SPDX-License-Identifier: MIT
// AVX-512 with VNNI: products of bytes in one instruction.
#define RILL_VNNI
#define NAME(f) f##_avx512vnni
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/x86/quant_tmpl.h"

static double burn_int8_avx512vnni(size_t rounds) {
    __m512i a[12], bytes = _mm512_set1_epi8(3);
    for (int j = 0; j < 12; j++) a[j] = _mm512_setzero_si512();
    for (size_t i = 0; i < rounds; i++)
        for (int j = 0; j < 12; j++)
            __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(a[j]) : "v"(bytes));
    return 2.0 * 12 * 64 * (double)rounds;
}

void rill__cpu_kernels_avx512vnni(rill__cpu_kernels *k, unsigned cpu_flags) {
    (void)cpu_flags;
    k->product_q8[RILL_TYPE_Q8_0] = product_q8_0_avx512vnni;
    k->product_q8[RILL_TYPE_Q4_0] = product_q4_0_avx512vnni;
    k->burn_int8 = burn_int8_avx512vnni;
}
