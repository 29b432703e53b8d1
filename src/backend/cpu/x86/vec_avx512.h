// SPDX-License-Identifier: MIT
// Vectors of 16 floats for the kernel templates: AVX-512 F, BW, DQ, VL. Loads need no alignment;
// `part` loads and stores the first n of a vector and reads nothing beyond.
#ifndef RILL_VEC_AVX512_H
#define RILL_VEC_AVX512_H

#include <immintrin.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#ifndef NAME
#define NAME(f) f##_avx512
#endif

enum { LANES = 16, MAX_W = 4, MAX_X = 6, IN_PLACE_ROWS = INT_MAX };

// Of whole numbers that meet: vectors of weights, rows of activations of one byte and of two.
enum { WHOLE_VECTORS = 2, WHOLE_ROWS = 6, WHOLE_FINE_ROWS = 4 };

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
// c - a * b
static inline vf vf_fnma(vf a, vf b, vf c) {
    return _mm512_fnmadd_ps(a, b, c);
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

// ---- Whole numbers: words of 32 bits ----------------------------------------------------------

typedef __m512i vi;

static inline vi vi_load(const void *p) {
    return _mm512_loadu_si512(p);
}
static inline void vi_store(void *p, vi x) {
    _mm512_storeu_si512(p, x);
}
static inline vi vi_set(int32_t x) {
    return _mm512_set1_epi32(x);
}
static inline vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b) {
    return _mm512_sub_epi32(a, b);
}
static inline vi vi_max(vi a, vi b) {
    return _mm512_max_epi32(a, b);
}
static inline vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}
static inline vi vi_or(vi a, vi b) {
    return _mm512_or_si512(a, b);
}
static inline vi vi_xor(vi a, vi b) {
    return _mm512_xor_si512(a, b);
}
static inline vi vi_sll(vi a, int n) {
    return _mm512_slli_epi32(a, (unsigned)n);
}
static inline vi vi_srl(vi a, int n) {
    return _mm512_srli_epi32(a, (unsigned)n);
}
static inline vi vi_sra(vi a, int n) {
    return _mm512_srai_epi32(a, (unsigned)n);
}
// Halves of words by themselves.
static inline vi vi_srl16(vi a, int n) {
    return _mm512_srli_epi16(a, (unsigned)n);
}
// Byte i is table[byte i of a], which is below 16.
static inline vi vi_look_up(const uint8_t table[16], vi a) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table)), a);
}
#ifdef RILL_VNNI
// sums + the products of a's bytes, unsigned, with b's, signed, four of them added.
static inline vi vi_dot(vi sums, vi a, vi b) {
    return _mm512_dpbusd_epi32(sums, a, b);
}
#else
// sums + the products of the halves of words, pairs of them added.
static inline vi vi_madd(vi sums, vi a, vi b) {
    return _mm512_add_epi32(sums, _mm512_madd_epi16(a, b));
}
#endif
static inline vf vi_float(vi a) {
    return _mm512_cvtepi32_ps(a);
}
static inline vf vi_as_float(vi a) {
    return _mm512_castsi512_ps(a);
}
// The half-precision numbers in the low halves of words.
static inline vf vi_half(vi a) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a));
}

#endif
