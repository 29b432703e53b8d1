// SPDX-License-Identifier: MIT
// What attend_tmpl.h and encode_tmpl.h ask of vectors of 4 floats: a vector is one quad of columns
// of one key; and stores of small types.
#ifndef RILL_ATTEND_NEON_H
#define RILL_ATTEND_NEON_H

#include "backend/cpu/arm/vec_neon.h"

#include <math.h>
#include <stdbool.h>

// Registers hold the sums of QUERIES queries with PANEL vectors.
enum { QUERIES = 6, PANEL = 4, QUADS = LANES / 4 };

static inline float half_number(const uint8_t *p) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vld1_dup_u16((const void *)p))), 0);
}

// Four signed bytes of a word.
static inline vf float_bytes_of(uint32_t word) {
    int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(word)));
    return vi_float(vmovl_s16(vget_low_s16(wide)));
}

static inline vf vf_load_i8(const void *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return float_bytes_of(word);
}
// Whole numbers in [-128, 127] to bytes.
static inline void vf_store_i8(int8_t *p, vf a) {
    int16x4_t half = vmovn_s32(vcvtnq_s32_f32(a));
    int8x8_t bytes = vmovn_s16(vcombine_s16(half, half));
    memcpy(p, &bytes, LANES);
}

static inline vf vf_quad(const float *p) {
    return vf_load(p);
}

static inline void turn_quads(vf x[QUADS]) {
    (void)x;  // one is as it should be
}

// out[v] = the sum of vector v, (0 + 1) + (2 + 3)
static inline void sum_quads(const vf x[PANEL], float *out) {
    vf_store(out, vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])));
}

// 16 bytes of a row.
typedef uint8x16_t vq;

static inline vq vq_load(const uint8_t *const row[QUADS], size_t at) {
    return vld1q_u8(row[0] + at);
}
// The low or the high halves, less 8.
static inline vq vq_nibbles(vq x, bool high) {
    x = high ? vshrq_n_u8(x, 4) : vandq_u8(x, vdupq_n_u8(15));
    return vsubq_u8(x, vdupq_n_u8(8));
}
static inline void vq_store_turned(int8_t *p, vq x) {
    vst1q_s8(p, vreinterpretq_s8_u8(x));
}

// The half that stands at row + at.
static inline vf vf_scales(const uint8_t *const row[QUADS], size_t at) {
    return vf_set(half_number(row[0] + at));
}

// x in lanes [first, end), -inf in the others
static inline vf vf_within(vf x, size_t first, size_t end) {
    const uint32x4_t lane = {0, 1, 2, 3};
    uint32x4_t inside = vandq_u32(vcgeq_u32(lane, vdupq_n_u32((uint32_t)first)),
                                  vcltq_u32(lane, vdupq_n_u32((uint32_t)end)));
    return vbslq_f32(inside, x, vf_set(-INFINITY));
}

// 4 values of a q4_0 block's low halves, or of its high ones.
static inline vf vf_load_nibbles(const uint8_t *p, bool high) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    if (high) word >>= 4;
    return vf_sub(float_bytes_of(word & 0x0f0f0f0f), vf_set(8));
}

static inline bool vf_any_above(vf a, float x) {
    return vmaxvq_u32(vcgtq_f32(a, vf_set(x))) != 0;
}
static inline vf vf_trunc(vf a) {
    return vrndq_f32(a);
}
// |a| with the sign of b
static inline vf vf_signed(vf a, vf b) {
    return vbslq_f32(vdupq_n_u32(0x80000000), b, a);
}
// Bit i: lane i equals x.
static inline unsigned vf_equal(vf a, float x) {
    const uint32x4_t bit = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, vf_set(x)), bit));
}
static inline void vf_store_f16(void *p, vf a) {
    vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(a)));
}
// To nearest even; a NaN keeps its upper bits and becomes quiet.
static inline void vf_store_bf16(void *p, vf a) {
    uint32x4_t bits = vreinterpretq_u32_f32(a), high = vshrq_n_u32(bits, 16);
    uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    uint32x4_t quiet = vorrq_u32(high, vdupq_n_u32(64));
    rounded = vbslq_u32(vceqq_f32(a, a), vshrq_n_u32(rounded, 16), quiet);
    vst1_u8(p, vreinterpret_u8_u16(vmovn_u32(rounded)));
}

#endif
