// SPDX-License-Identifier: MIT
// Vectors of 4 floats for the kernel templates: NEON of 64-bit Arm. Loads need no alignment; `part`
// loads and stores the first n of a vector and reads nothing beyond.
#ifndef RILL_VEC_NEON_H
#define RILL_VEC_NEON_H

#include <arm_neon.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#ifndef NAME
#define NAME(f) f##_neon
#endif

enum { LANES = 4, MAX_W = 4, MAX_X = 6, IN_PLACE_ROWS = INT_MAX };

// Of whole numbers that meet: vectors of weights, rows of activations of one byte and of two.
enum { WHOLE_VECTORS = 4, WHOLE_ROWS = 4, WHOLE_FINE_ROWS = 2 };

typedef float32x4_t vf;

static inline vf vf_set(float x) {
    return vdupq_n_f32(x);
}
static inline vf vf_load(const void *p) {
    return vreinterpretq_f32_u8(vld1q_u8(p));
}
static inline vf vf_load_part(const void *p, size_t n) {
    float x[LANES] = {0};
    memcpy(x, p, n * sizeof *x);
    return vld1q_f32(x);
}
static inline void vf_store(float *p, vf x) {
    vst1q_f32(p, x);
}
static inline void vf_store_part(float *p, vf x, size_t n) {
    memcpy(p, &x, n * sizeof *p);
}
static inline vf vf_load_f16(const void *p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
static inline vf vf_load_bf16(const void *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}
static inline vf vf_add(vf a, vf b) {
    return vaddq_f32(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return vdivq_f32(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}
// c - a * b
static inline vf vf_fnma(vf a, vf b, vf c) {
    return vfmsq_f32(c, a, b);
}
// A NaN in b is kept, one in a is not, as the templates expect; vminq_f32 would keep both.
static inline vf vf_min(vf a, vf b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline vf vf_max(vf a, vf b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline vf vf_round(vf a) {
    return vrndnq_f32(a);
}
static inline vf vf_abs(vf a) {
    return vabsq_f32(a);
}
// a * 2^n for whole n in [-126, 127]
static inline vf vf_scale(vf a, vf n) {
    int32x4_t bits = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(bits, 23)));
}
// a where x >= limit, else 0; a where x is NaN
static inline vf vf_from(vf a, vf x, float limit) {
    uint32x4_t below = vcltq_f32(x, vdupq_n_f32(limit));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), below));
}
static inline float vf_sum(vf a) {
    return vaddvq_f32(a);
}
static inline float vf_greatest(vf a) {
    return vmaxvq_f32(a);
}

// ---- Whole numbers: words of 32 bits ----------------------------------------------------------

typedef int32x4_t vi;

static inline vi vi_load(const void *p) {
    return vreinterpretq_s32_u8(vld1q_u8(p));
}
static inline void vi_store(void *p, vi x) {
    vst1q_u8(p, vreinterpretq_u8_s32(x));
}
static inline vi vi_set(int32_t x) {
    return vdupq_n_s32(x);
}
static inline vi vi_add(vi a, vi b) {
    return vaddq_s32(a, b);
}
static inline vi vi_sub(vi a, vi b) {
    return vsubq_s32(a, b);
}
static inline vi vi_max(vi a, vi b) {
    return vmaxq_s32(a, b);
}
static inline vi vi_and(vi a, vi b) {
    return vandq_s32(a, b);
}
static inline vi vi_or(vi a, vi b) {
    return vorrq_s32(a, b);
}
static inline vi vi_xor(vi a, vi b) {
    return veorq_s32(a, b);
}
static inline vi vi_sll(vi a, int n) {
    return vshlq_s32(a, vdupq_n_s32(n));
}
static inline vi vi_srl(vi a, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n)));
}
static inline vi vi_sra(vi a, int n) {
    return vshlq_s32(a, vdupq_n_s32(-n));
}
// Halves of words by themselves.
static inline vi vi_srl16(vi a, int n) {
    return vreinterpretq_s32_u16(vshlq_u16(vreinterpretq_u16_s32(a), vdupq_n_s16((int16_t)-n)));
}
// Byte i is table[byte i of a], which is below 16.
static inline vi vi_look_up(const uint8_t table[16], vi a) {
    return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s32(a)));
}
// sums + the products of the halves of words, pairs of them added.
static inline vi vi_madd(vi sums, vi a, vi b) {
    int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    vi low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(sums, vpaddq_s32(low, vmull_high_s16(x, y)));
}
static inline vf vi_float(vi a) {
    return vcvtq_f32_s32(a);
}
static inline vf vi_as_float(vi a) {
    return vreinterpretq_f32_s32(a);
}
// The half-precision numbers in the low halves of words.
static inline vf vi_half(vi a) {
    return vcvt_f32_f16(vreinterpret_f16_s16(vmovn_s32(a)));
}

#endif
