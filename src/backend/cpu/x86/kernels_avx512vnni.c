// SPDX-License-Identifier: MIT
// AVX-512 with VNNI: products of bytes in one instruction.
#define RILL_VNNI
#define NAME(f) f##_avx512vnni
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/simd/bytes_tmpl.h"

#include "backend/cpu/simd/whole_tmpl.h"

// Three chains at a time are written out: an array of sums would live in memory.
#define BURN_3(a, b, c)                                                                            \
    __asm__ volatile("vpdpbusd %3, %3, %0\n\tvpdpbusd %3, %3, %1\n\tvpdpbusd %3, %3, %2"           \
                     : "+v"(a), "+v"(b), "+v"(c)                                                   \
                     : "v"(bytes))

static double burn_int8_avx512vnni(size_t rounds) {
    __m512i bytes = _mm512_set1_epi8(3), a = bytes, b = bytes, c = bytes, d = bytes, e = bytes;
    __m512i f = bytes, g = bytes, h = bytes, i = bytes;
    for (size_t round = 0; round < rounds; round++) {
        BURN_3(a, b, c);
        BURN_3(d, e, f);
        BURN_3(g, h, i);
    }
    return 2.0 * 9 * 64 * (double)rounds;
}

void rill__cpu_kernels_avx512vnni(rill__cpu_kernels *k) {
    k->product_whole = product_whole_avx512vnni;
    k->burn_int8 = burn_int8_avx512vnni;
}
