// SPDX-License-Identifier: MIT
// What attend_tmpl.h and encode_tmpl.h ask of vectors of 8 floats: keys in quads of columns, and
// stores of small types.
#ifndef RILL_ATTEND_AVX2_H
#define RILL_ATTEND_AVX2_H

#include "backend/cpu/x86/scales.h"
#include "backend/cpu/x86/vec_avx2.h"

#include <math.h>
#include <stdbool.h>

// Registers hold the sums of QUERIES queries with PANEL vectors.
enum { QUERIES = 6, PANEL = 2, QUADS = LANES / 4 };

static inline vf vf_load_i8(const void *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}
// Whole numbers in [-128, 127] to bytes.
static inline void vf_store_i8(int8_t *p, vf a) {
    __m256i i = _mm256_cvtps_epi32(a);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(words, words));
}

static inline vf vf_quad(const float *p) {
    return _mm256_broadcast_ps((const __m128 *)(const void *)p);
}

// Vector i, two quads of row i, becomes quad i of the two rows.
static inline void turn_quads(vf x[QUADS]) {
    vf low = _mm256_permute2f128_ps(x[0], x[1], 0x20);
    x[1] = _mm256_permute2f128_ps(x[0], x[1], 0x31);
    x[0] = low;
}

// out[PANEL * i + v] = the sum of quad i of vector v, (0 + 1) + (2 + 3)
static inline void sum_quads(const vf x[PANEL], float *out) {
    vf pairs = _mm256_hadd_ps(x[0], x[1]);
    _mm_storeu_ps(out, _mm_hadd_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}

// 16 bytes of each of two rows.
typedef __m256i vq;

static inline vq vq_load(const uint8_t *const row[QUADS], size_t at) {
    const __m128i *first = (const __m128i *)(const void *)(row[0] + at);
    const __m128i *second = (const __m128i *)(const void *)(row[1] + at);
    return _mm256_loadu2_m128i(second, first);
}
// The low or the high halves, less 8.
static inline vq vq_nibbles(vq x, bool high) {
    if (high) x = _mm256_srli_epi16(x, 4);
    return _mm256_sub_epi8(_mm256_and_si256(x, _mm256_set1_epi8(15)), _mm256_set1_epi8(8));
}
// Four bytes of each row, then the next four.
static inline void vq_store_turned(int8_t *p, vq x) {
    const __m256i by_quad = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_store_si256((__m256i *)(void *)p, _mm256_permutevar8x32_epi32(x, by_quad));
}

static inline int16_t half_at(const uint8_t *p) {
    int16_t half;
    memcpy(&half, p, sizeof half);
    return half;
}
// Quad i: the half that stands at row i + at.
static inline vf vf_scales(const uint8_t *const row[QUADS], size_t at) {
    const __m256i quads = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m128i halves = _mm_setr_epi16(half_at(row[0] + at), half_at(row[1] + at), 0, 0, 0, 0, 0, 0);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_cvtph_ps(halves)), quads);
}

// x in lanes [first, end), -inf in the others
static inline vf vf_within(vf x, size_t first, size_t end) {
    __m256i inside = _mm256_andnot_si256(first_lanes(first), first_lanes(end));
    return _mm256_blendv_ps(vf_set(-INFINITY), x, _mm256_castsi256_ps(inside));
}

// 8 values of a q4_0 block's low halves, or of its high ones.
static inline vf vf_load_nibbles(const uint8_t *p, bool high) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    if (high) bytes = _mm_srli_epi16(bytes, 4);
    __m256i whole = _mm256_cvtepu8_epi32(_mm_and_si128(bytes, _mm_set1_epi8(15)));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(whole, _mm256_set1_epi32(8)));
}

static inline bool vf_any_above(vf a, float x) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, vf_set(x), _CMP_GT_OQ)) != 0;
}
static inline vf vf_trunc(vf a) {
    return _mm256_round_ps(a, 11);
}
// |a| with the sign of b
static inline vf vf_signed(vf a, vf b) {
    const vf sign = vf_set(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
// Bit i: lane i equals x.
static inline unsigned vf_equal(vf a, float x) {
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, vf_set(x), _CMP_EQ_OQ));
}
static inline void vf_store_f16(void *p, vf a) {
    _mm_storeu_si128(p, _mm256_cvtps_ph(a, 0));
}
// To nearest even; a NaN keeps its upper bits and becomes quiet.
static inline void vf_store_bf16(void *p, vf a) {
    __m256i bits = _mm256_castps_si256(a), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(64));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    rounded = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), quiet, nan);
    _mm_storeu_si128(p, _mm_packus_epi32(_mm256_castsi256_si128(rounded),
                                         _mm256_extracti128_si256(rounded, 1)));
}

#endif
