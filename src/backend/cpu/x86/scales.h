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

// Eight scales and minima of 6 bits in 12 bytes, by three words.
static inline void scales_k(const uint8_t *b, float *d, float *m) {
    uint32_t w[3], parts[4];
    memcpy(w, b + 4, sizeof w);
    parts[0] = w[0] & 0x3f3f3f3f;
    parts[1] = (w[2] & 0x0f0f0f0f) | (w[0] >> 6 & 0x03030303) << 4;
    parts[2] = w[1] & 0x3f3f3f3f;
    parts[3] = (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 6 & 0x03030303) << 4;
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)parts);
    __m256 scale = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v));
    __m256 minimum = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(v, 8)));
    _mm256_storeu_ps(d, _mm256_mul_ps(scale, _mm256_set1_ps(half_number(b))));
    _mm256_storeu_ps(m, _mm256_mul_ps(minimum, _mm256_set1_ps(half_number(b + 2))));
}

#endif
