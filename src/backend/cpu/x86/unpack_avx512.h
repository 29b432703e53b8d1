// SPDX-License-Identifier: MIT
// Types whose values are nibbles, unpacked 64 values at a time; all others stay with AVX2.
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/scales.h"

// The low halves of 16 bytes, then the high ones; of two blocks.
static inline __m512i nibbles_of_2(const uint8_t *first, const uint8_t *second) {
    const __m512i shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)first));
    v = _mm512_mask_broadcast_i32x4(v, 0xff00,
                                    _mm_loadu_si128((const __m128i *)(const void *)second));
    return _mm512_and_si512(_mm512_srlv_epi64(v, shifts), _mm512_set1_epi8(15));
}

// ggml's kvalues_iq4nl, 127 above what they are.
static inline __m512i levels_iq4(__m512i nibbles) {
    const __m128i table =
        _mm_setr_epi8(0, 23, 44, 62, 78, 92, 105, 117, -128, -116, -104, -91, -76, -60, -40, -16);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), nibbles);
}

static inline __m512i as_they_are(__m512i nibbles) {
    return nibbles;
}

// As UNPACK_BLOCKS of unpack_avx2.h; nibbles begin `at` bytes into a block.
#define UNPACK_NIBBLES(type, bytes, at, minima, values)                                            \
    static void unpack_##type##_avx512(const uint8_t *b, size_t n, uint8_t *q, float *d,           \
                                       float *m) {                                                 \
        for (; n >= 256; n -= 256, b += 8 * (bytes), q += 256, d += 8) {                           \
            _mm256_storeu_ps(d, halves_of_8(b, bytes));                                            \
            if (minima) {                                                                          \
                __m256 sign = _mm256_set1_ps(-0.0f);                                               \
                _mm256_storeu_ps(m, _mm256_xor_ps(sign, halves_of_8(b + 2, bytes)));               \
                m += 8;                                                                            \
            }                                                                                      \
            for (size_t i = 0; i < 8; i += 2) {                                                    \
                const uint8_t *from = b + i * (bytes) + (at);                                      \
                _mm512_storeu_si512(q + 32 * i, values(nibbles_of_2(from, from + (bytes))));       \
            }                                                                                      \
        }                                                                                          \
        for (; n > 0; n -= 32, b += (bytes), q += 32) {                                            \
            *d++ = half_number(b);                                                                 \
            if (minima) *m++ = -half_number(b + 2);                                                \
            __m512i v = values(nibbles_of_2(b + (at), b + (at)));                                  \
            _mm256_storeu_si256((__m256i *)(void *)q, _mm512_castsi512_si256(v));                  \
        }                                                                                          \
    }

UNPACK_NIBBLES(q4_0, 18, 2, false, as_they_are)
UNPACK_NIBBLES(q4_1, 20, 4, true, as_they_are)
UNPACK_NIBBLES(iq4_nl, 18, 2, false, levels_iq4)

static void unpack_q4_k_avx512(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    const __m512i shifts = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4), low = _mm512_set1_epi8(15);
    for (size_t i = 0; i < n; i += 256, b += 144, q += 256, d += 8, m += 8) {
        for (int j = 0; j < 4; j++) {
            const __m256i *both = (const __m256i *)(const void *)(b + 16 + 32 * j);
            __m512i v = _mm512_broadcast_i64x4(_mm256_loadu_si256(both));
            _mm512_storeu_si512(q + 64 * j, _mm512_and_si512(_mm512_srlv_epi64(v, shifts), low));
        }
        scales_k(b, d, m);
    }
}
