// SPDX-License-Identifier: MIT
// What attend_tmpl.h and encode_tmpl.h ask of vectors of 16 floats: keys in quads of columns, and
// stores of small types.
#ifndef RILL_ATTEND_AVX512_H
#define RILL_ATTEND_AVX512_H

#include "backend/cpu/x86/scales.h"
#include "backend/cpu/x86/vec_avx512.h"

#include <math.h>
#include <stdbool.h>

// Registers hold the sums of QUERIES queries with PANEL vectors.
enum { QUERIES = 6, PANEL = 4, QUADS = LANES / 4 };

static inline vf vf_load_i8(const void *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}
// Whole numbers in [-128, 127] to bytes.
static inline void vf_store_i8(int8_t *p, vf a) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

static inline vf vf_quad(const float *p) {
    return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
}

// Vector i, four quads of row i, becomes quad i of the four rows.
static inline void turn_quads(vf x[QUADS]) {
    vf a = _mm512_shuffle_f32x4(x[0], x[1], 0x44), b = _mm512_shuffle_f32x4(x[0], x[1], 0xee);
    vf c = _mm512_shuffle_f32x4(x[2], x[3], 0x44), d = _mm512_shuffle_f32x4(x[2], x[3], 0xee);
    x[0] = _mm512_shuffle_f32x4(a, c, 0x88);
    x[1] = _mm512_shuffle_f32x4(a, c, 0xdd);
    x[2] = _mm512_shuffle_f32x4(b, d, 0x88);
    x[3] = _mm512_shuffle_f32x4(b, d, 0xdd);
}

// out[PANEL * i + v] = the sum of quad i of vector v, (0 + 2) + (1 + 3)
static inline void sum_quads(const vf x[PANEL], float *out) {
    vf a = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    vf b = _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
    vf_store(out, _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
                                _mm512_castpd_ps(_mm512_unpackhi_pd(c, d))));
}

// 16 bytes of each of four rows.
typedef __m512i vq;

static inline vq vq_load(const uint8_t *const row[QUADS], size_t at) {
    const __m128i *p[QUADS];
    for (size_t i = 0; i < QUADS; i++) p[i] = (const __m128i *)(const void *)(row[i] + at);
    vq x = _mm512_castsi128_si512(_mm_loadu_si128(p[0]));
    x = _mm512_inserti32x4(x, _mm_loadu_si128(p[1]), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128(p[2]), 2);
    return _mm512_inserti32x4(x, _mm_loadu_si128(p[3]), 3);
}
// The low or the high halves, less 8.
static inline vq vq_nibbles(vq x, bool high) {
    if (high) x = _mm512_srli_epi16(x, 4);
    return _mm512_sub_epi8(_mm512_and_si512(x, _mm512_set1_epi8(15)), _mm512_set1_epi8(8));
}
// Four bytes of each row, then the next four.
static inline void vq_store_turned(int8_t *p, vq x) {
    const __m512i by_quad = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_store_si512(p, _mm512_permutexvar_epi32(by_quad, x));
}

static inline int16_t half_at(const uint8_t *p) {
    int16_t half;
    memcpy(&half, p, sizeof half);
    return half;
}
// Quad i: the half that stands at row i + at.
static inline vf vf_scales(const uint8_t *const row[QUADS], size_t at) {
    const __m512i quads = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    __m128i halves = _mm_setr_epi16(half_at(row[0] + at), half_at(row[1] + at),
                                    half_at(row[2] + at), half_at(row[3] + at), 0, 0, 0, 0);
    return _mm512_permutexvar_ps(quads, _mm512_castps128_ps512(_mm_cvtph_ps(halves)));
}

// x in lanes [first, end), -inf in the others
static inline vf vf_within(vf x, size_t first, size_t end) {
    return _mm512_mask_mov_ps(vf_set(-INFINITY), first_lanes(end) & ~first_lanes(first), x);
}

// Values 0 to 15 of a q4_0 block's low halves, or of its high ones.
static inline vf vf_load_nibbles(const uint8_t *p, bool high) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (high) bytes = _mm_srli_epi16(bytes, 4);
    __m512i whole = _mm512_cvtepu8_epi32(_mm_and_si128(bytes, _mm_set1_epi8(15)));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(whole, _mm512_set1_epi32(8)));
}

static inline bool vf_any_above(vf a, float x) {
    return _mm512_cmp_ps_mask(a, vf_set(x), _CMP_GT_OQ) != 0;
}
static inline vf vf_trunc(vf a) {
    return _mm512_roundscale_ps(a, 11);
}
// |a| with the sign of b
static inline vf vf_signed(vf a, vf b) {
    const vf sign = vf_set(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}
// Bit i: lane i equals x.
static inline unsigned vf_equal(vf a, float x) {
    return _mm512_cmp_ps_mask(a, vf_set(x), _CMP_EQ_OQ);
}
static inline void vf_store_f16(void *p, vf a) {
    _mm256_storeu_si256(p, _mm512_cvtps_ph(a, 0));
}
// To nearest even; a NaN keeps its upper bits and becomes quiet.
static inline void vf_store_bf16(void *p, vf a) {
    __m512i bits = _mm512_castps_si512(a), high = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    rounded =
        _mm512_mask_or_epi32(_mm512_srli_epi32(rounded, 16), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q),
                             high, _mm512_set1_epi32(64));
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(rounded));
}

#endif
