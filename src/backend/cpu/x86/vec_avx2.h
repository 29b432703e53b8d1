// SPDX-License-Identifier: MIT
// Vectors of 8 floats for the kernel templates: AVX2, FMA, F16C. Loads need no alignment; `part`
// loads and stores the first n of a vector and reads nothing beyond.
#ifndef RILL_VEC_AVX2_H
#define RILL_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#ifndef NAME
#define NAME(f) f##_avx2
#endif

enum { LANES = 8, MAX_W = 4, MAX_X = 3, IN_PLACE_ROWS = 8 };

// Of whole numbers that meet: vectors of weights, rows of activations of one byte and of two.
#ifdef RILL_AVX_VNNI
enum { WHOLE_VECTORS = 2, WHOLE_ROWS = 6, WHOLE_FINE_ROWS = 3 };
#else
enum { WHOLE_VECTORS = 2, WHOLE_ROWS = 4, WHOLE_FINE_ROWS = 4 };
#endif

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
// c - a * b
static inline vf vf_fnma(vf a, vf b, vf c) {
    return _mm256_fnmadd_ps(a, b, c);
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

// ---- Whole numbers: words of 32 bits ----------------------------------------------------------

typedef __m256i vi;

static inline vi vi_load(const void *p) {
    return _mm256_loadu_si256(p);
}
static inline void vi_store(void *p, vi x) {
    _mm256_storeu_si256(p, x);
}
static inline vi vi_set(int32_t x) {
    return _mm256_set1_epi32(x);
}
static inline vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b) {
    return _mm256_sub_epi32(a, b);
}
static inline vi vi_max(vi a, vi b) {
    return _mm256_max_epi32(a, b);
}
static inline vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}
static inline vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}
static inline vi vi_xor(vi a, vi b) {
    return _mm256_xor_si256(a, b);
}
static inline vi vi_sll(vi a, int n) {
    return _mm256_slli_epi32(a, n);
}
static inline vi vi_srl(vi a, int n) {
    return _mm256_srli_epi32(a, n);
}
static inline vi vi_sra(vi a, int n) {
    return _mm256_srai_epi32(a, n);
}
// Halves of words by themselves.
static inline vi vi_srl16(vi a, int n) {
    return _mm256_srli_epi16(a, n);
}
// Byte i is table[byte i of a], which is below 16.
static inline vi vi_look_up(const uint8_t table[16], vi a) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table)),
                               a);
}
#ifdef RILL_AVX_VNNI
// sums + the products of a's bytes, unsigned, with b's, signed, four of them added.
static inline vi vi_dot(vi sums, vi a, vi b) {
    return _mm256_dpbusd_avx_epi32(sums, a, b);
}
#else
// sums + the products of the halves of words, pairs of them added.
static inline vi vi_madd(vi sums, vi a, vi b) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}
#endif
static inline vf vi_float(vi a) {
    return _mm256_cvtepi32_ps(a);
}
static inline vf vi_as_float(vi a) {
    return _mm256_castsi256_ps(a);
}
// The half-precision numbers in the low halves of words.
static inline vf vi_half(vi a) {
    vi low = vi_and(a, vi_set(0xffff)), both = _mm256_packus_epi32(low, low);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(both, 0x08)));
}

#endif
