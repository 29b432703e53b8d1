// SPDX-License-Identifier: MIT
// Vectors of 8 floats for the kernel templates: AVX2, FMA, F16C. Loads need no alignment; `part`
// loads and stores the first n of a vector and reads nothing beyond.
#ifndef RILL_VEC_AVX2_H
#define RILL_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define NAME(f) f##_avx2

enum { LANES = 8, MAX_W = 4, MAX_X = 3 };

// A single row waits for memory alone, and asks for weights so many bytes before it works on them,
// in the order of addresses: rows are too short for the processor to see the stream by itself.
enum { AHEAD = 16384 };

typedef __m256 vf;

static inline __m256i first_lanes(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vf vf_set(float x) {
    return _mm256_set1_ps(x);
}
static inline vf vf_load(const void *p) {
    return _mm256_loadu_ps(p);
}
static inline vf vf_load_part(const void *p, size_t n) {
    return _mm256_maskload_ps(p, first_lanes(n));
}
static inline void vf_store(float *p, vf x) {
    _mm256_storeu_ps(p, x);
}
static inline void vf_store_part(float *p, vf x, size_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), x);
}
static inline vf vf_load_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
static inline vf vf_load_bf16(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
static inline vf vf_load_i8(const void *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}
static inline vf vf_load_u8(const void *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p)));
}
static inline vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
// A NaN in b is kept: the instructions return their second operand.
static inline vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
static inline vf vf_round(vf a) {
    return _mm256_round_ps(a, 8);
}
static inline vf vf_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
// a * 2^n for whole n in [-126, 127]
static inline vf vf_scale(vf a, vf n) {
    __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23)));
}
// a where x >= limit, else 0; a where x is NaN
static inline vf vf_from(vf a, vf x, float limit) {
    return _mm256_and_ps(a, _mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_NLT_UQ));
}
static inline float vf_sum(vf a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_greatest(vf a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
// Whole numbers in [-128, 127] to bytes; returns their sum.
static inline void vf_store_i8(int8_t *p, vf a) {
    __m256i i = _mm256_cvtps_epi32(a);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(words, words));
}

// ---- Bytes: one block of 32 a vector --------------------------------------------------------

enum { BLOCKS = 1 };

typedef __m256i vb;

static inline vb vb_x(const int8_t *q, size_t n_blocks) {
    (void)n_blocks;
    return _mm256_loadu_si256((const __m256i *)(const void *)q);
}
static inline vf vb_x_scale(const float *d, size_t n_blocks) {
    (void)n_blocks;
    return _mm256_broadcast_ss(d);
}
static inline vf vb_w_scale(const uint8_t *w, size_t stride, size_t n_blocks) {
    (void)stride;
    (void)n_blocks;
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return _mm256_set1_ps(_cvtsh_ss(h));
}
// 128 * coarse + fine, of sums of pairs: those stay below 2^15, as one operand is at most 128 and
// the other 127 in magnitude.
static inline __m256i both_levels(__m256i coarse, __m256i fine) {
    const __m256i ones = _mm256_set1_epi16(1);
    return _mm256_add_epi32(_mm256_slli_epi32(_mm256_madd_epi16(coarse, ones), 7),
                            _mm256_madd_epi16(fine, ones));
}

// q8_0: signed with signed, as |w| * (x with the sign of w).
static inline vb q8_0_w(const uint8_t *w, size_t n_blocks) {
    (void)n_blocks;
    return _mm256_loadu_si256((const __m256i *)(const void *)(w + 2));
}
static inline vb q8_0_start(vb coarse, vb fine) {
    (void)coarse;
    (void)fine;
    return _mm256_setzero_si256();
}
static inline vf q8_0_dot(vb start, vb w, vb coarse, vb fine) {
    (void)start;
    __m256i size = _mm256_sign_epi8(w, w);
    return _mm256_cvtepi32_ps(both_levels(_mm256_maddubs_epi16(size, _mm256_sign_epi8(coarse, w)),
                                          _mm256_maddubs_epi16(size, _mm256_sign_epi8(fine, w))));
}

// q4_0: unsigned nibbles; start = -8 * the sums of x.
static inline vb q4_0_w(const uint8_t *w, size_t n_blocks) {
    (void)n_blocks;
    __m128i q = _mm_loadu_si128((const __m128i *)(const void *)(w + 2));
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(q), _mm_srli_epi16(q, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
static inline vb q4_0_start(vb coarse, vb fine) {
    const __m256i eight = _mm256_set1_epi8(8);
    return _mm256_sub_epi32(_mm256_setzero_si256(), both_levels(_mm256_maddubs_epi16(eight, coarse),
                                                                _mm256_maddubs_epi16(eight, fine)));
}
static inline vf q4_0_dot(vb start, vb w, vb coarse, vb fine) {
    return _mm256_cvtepi32_ps(_mm256_add_epi32(start, both_levels(_mm256_maddubs_epi16(w, coarse),
                                                                  _mm256_maddubs_epi16(w, fine))));
}

#endif
