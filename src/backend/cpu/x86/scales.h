// SPDX-License-Identifier: MIT
// Scales of blocks, as unpacking reads them: needs AVX2 and F16C.
#ifndef RILL_CPU_X86_SCALES_H
#define RILL_CPU_X86_SCALES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static inline float half_number(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

// The halves that stand at b, b + stride, ... of eight blocks.
static inline __m256 halves_of_8(const uint8_t *b, size_t stride) {
    uint16_t h[8];
    for (size_t i = 0; i < 8; i++) memcpy(&h[i], b + i * stride, sizeof h[i]);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)h));
}

#endif
