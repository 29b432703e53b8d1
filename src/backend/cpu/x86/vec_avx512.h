// SPDX-License-Identifier: MIT
// Vectors of 16 floats for the kernel templates: AVX-512 F, BW, DQ, VL. Loads need no alignment;
// `part` loads and stores the first n of a vector and reads nothing beyond.
#ifndef RILL_VEC_AVX512_H
#define RILL_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#ifndef NAME
#define NAME(f) f##_avx512
#endif

enum { LANES = 16, MAX_W = 4, MAX_X = 6 };

// A single row waits for memory alone, and asks for weights so many bytes before it works on them,
// in the order of addresses: rows are too short for the processor to see the stream by itself.
enum { AHEAD = 16384 };

typedef __m512 vf;

static inline __mmask16 first_lanes(size_t n) {
    return (__mmask16)((1u << n) - 1);
}

static inline vf vf_set(float x) {
    return _mm512_set1_ps(x);
}
static inline vf vf_load(const void *p) {
    return _mm512_loadu_ps(p);
}
static inline vf vf_load_part(const void *p, size_t n) {
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
static inline void vf_store(float *p, vf x) {
    _mm512_storeu_ps(p, x);
}
static inline void vf_store_part(float *p, vf x, size_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), x);
}
static inline vf vf_load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline vf vf_load_bf16(const void *p) {
    __m256i halves = _mm256_loadu_si256((const __m256i *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
static inline vf vf_load_i8(const void *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}
static inline vf vf_load_u8(const void *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p)));
}
static inline vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
// A NaN in b is kept: the instructions return their second operand.
static inline vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf vf_round(vf a) {
    return _mm512_roundscale_ps(a, 8);
}
static inline vf vf_abs(vf a) {
    return _mm512_abs_ps(a);
}
// a * 2^n for whole n
static inline vf vf_scale(vf a, vf n) {
    return _mm512_scalef_ps(a, n);
}
// a where x >= limit, else 0; a where x is NaN
static inline vf vf_from(vf a, vf x, float limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_NLT_UQ), a);
}
static inline float vf_sum(vf a) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_greatest(vf a) {
    return _mm512_reduce_max_ps(a);
}
// Whole numbers in [-128, 127] to bytes.
static inline void vf_store_i8(int8_t *p, vf a) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

// ---- Bytes: two blocks of 32 a vector; a missing second one is zeros ------------------------

enum { BLOCKS = 2 };

typedef __m512i vb;

static inline vb vb_x(const int8_t *q, size_t n_blocks) {
    return _mm512_maskz_loadu_epi8(n_blocks == 2 ? ~(__mmask64)0 : 0xffffffff, q);
}
static inline vf vb_x_scale(const float *d, size_t n_blocks) {
    __m512 second = _mm512_set1_ps(d[n_blocks - 1]);
    return _mm512_mask_mov_ps(second, 0x00ff, _mm512_set1_ps(d[0]));
}
static inline vf vb_w_scale(const uint8_t *w, size_t stride, size_t n_blocks) {
    int16_t a, b;
    memcpy(&a, w, sizeof a);
    memcpy(&b, w + (n_blocks - 1) * stride, sizeof b);
    return _mm512_cvtph_ps(
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16(a)), _mm_set1_epi16(b), 1));
}
static inline vb vb_join(__m256i first, __m256i second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}
static inline vb q8_0_bytes(const uint8_t *w, size_t n_blocks) {
    __m256i first = _mm256_loadu_si256((const __m256i *)(const void *)(w + 2));
    if (n_blocks == 1) return _mm512_zextsi256_si512(first);
    return vb_join(first, _mm256_loadu_si256((const __m256i *)(const void *)(w + 34 + 2)));
}
static inline __m256i nibbles(const uint8_t *p) {
    __m128i q = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(q), _mm_srli_epi16(q, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
static inline vb q4_0_w(const uint8_t *w, size_t n_blocks) {
    __m256i first = nibbles(w + 2);
    return n_blocks == 1 ? _mm512_zextsi256_si512(first) : vb_join(first, nibbles(w + 18 + 2));
}

#ifdef RILL_VNNI
static inline __m512i sum_products(__m512i sums, __m512i u, __m512i s) {
    return _mm512_dpbusd_epi32(sums, u, s);
}
#else
// Sums of pairs stay below 2^15: one operand is at most 128 and the other 127 in magnitude.
static inline __m512i sum_products(__m512i sums, __m512i u, __m512i s) {
    __m512i words = _mm512_maddubs_epi16(u, s);
    return _mm512_add_epi32(sums, _mm512_madd_epi16(words, _mm512_set1_epi16(1)));
}
#endif

// start + the products of unsigned bytes with 128 * coarse + fine.
static inline __m512i both_levels(__m512i start, __m512i u, __m512i coarse, __m512i fine) {
    __m512i high = _mm512_slli_epi32(sum_products(_mm512_setzero_si512(), u, coarse), 7);
    return sum_products(_mm512_add_epi32(start, high), u, fine);
}
// What an unsigned weight is too large by, taken off every product.
static inline __m512i take_off(__m512i excess, __m512i coarse, __m512i fine) {
    const __m512i zero = _mm512_setzero_si512();
    return _mm512_sub_epi32(zero, both_levels(zero, excess, coarse, fine));
}

#ifdef RILL_VNNI
// q8_0: w + 128 is unsigned.
static inline vb q8_0_w(const uint8_t *w, size_t n_blocks) {
    return _mm512_xor_si512(q8_0_bytes(w, n_blocks), _mm512_set1_epi8(-128));
}
static inline vb q8_0_start(vb coarse, vb fine) {
    return take_off(_mm512_set1_epi8(-128), coarse, fine);
}
static inline vf q8_0_dot(vb start, vb w, vb coarse, vb fine) {
    return _mm512_cvtepi32_ps(both_levels(start, w, coarse, fine));
}
#else
// q8_0: signed with signed, as |w| * (x with the sign of w).
static inline vb q8_0_w(const uint8_t *w, size_t n_blocks) {
    return q8_0_bytes(w, n_blocks);
}
static inline vb q8_0_start(vb coarse, vb fine) {
    (void)coarse;
    (void)fine;
    return _mm512_setzero_si512();
}
static inline vf q8_0_dot(vb start, vb w, vb coarse, vb fine) {
    const __m512i zero = _mm512_setzero_si512();
    __mmask64 negative = _mm512_movepi8_mask(w);
    coarse = _mm512_mask_sub_epi8(coarse, negative, zero, coarse);
    fine = _mm512_mask_sub_epi8(fine, negative, zero, fine);
    return _mm512_cvtepi32_ps(both_levels(start, _mm512_abs_epi8(w), coarse, fine));
}
#endif

// q4_0: nibbles, 8 too large.
static inline vb q4_0_start(vb coarse, vb fine) {
    return take_off(_mm512_set1_epi8(8), coarse, fine);
}
static inline vf q4_0_dot(vb start, vb w, vb coarse, vb fine) {
    return _mm512_cvtepi32_ps(both_levels(start, w, coarse, fine));
}

#endif
