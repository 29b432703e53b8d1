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

// ---- Whole numbers: 16 of 16 bits, or sums of pairs in 8 of 32 ---------------------------------

enum { COLUMNS = 16 };

typedef __m256i vi;

static inline vi vi_load(const void *p) {
    return _mm256_loadu_si256(p);
}
static inline vi vi_set(int32_t x) {
    return _mm256_set1_epi32(x);
}
static inline vi vi_load_u8(const void *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(p));
}
// sums + the products of a and b, pairs of them added.
static inline vi vi_madd(vi sums, vi a, vi b) {
#ifdef RILL_AVX_VNNI
    return _mm256_dpwssd_avx_epi32(sums, a, b);
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
#endif
}
static inline vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b) {
    return _mm256_sub_epi32(a, b);
}
static inline vi vi_sub16(vi a, vi b) {
    return _mm256_sub_epi16(a, b);
}
static inline vf vi_float(vi a) {
    return _mm256_cvtepi32_ps(a);
}

#endif
