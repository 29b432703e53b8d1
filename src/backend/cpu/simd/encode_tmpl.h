// SPDX-License-Identifier: MIT
// Floats to the types of a cache, with the bits of src/format/types.c, for every tier: include
// after attend_*.h and rows_tmpl.h.
#include "backend/cpu/kernels.h"

static void NAME(encode_f16)(const float *src, void *dst, size_t n) {
    uint8_t *p = dst;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store_f16(p + 2 * i, vf_load(src + i));
    rill__type_traits_get(RILL_TYPE_F16)->from_float(src + i, p + 2 * i, n - i);
}

static void NAME(encode_bf16)(const float *src, void *dst, size_t n) {
    uint8_t *p = dst;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store_bf16(p + 2 * i, vf_load(src + i));
    rill__type_traits_get(RILL_TYPE_BF16)->from_float(src + i, p + 2 * i, n - i);
}

// The greatest magnitude of a block of 32; a NaN is left out.
static inline float greatest_of_32(const float *x) {
    vf most = vf_set(0);
    for (int j = 0; j < 32; j += LANES) most = vf_max(vf_abs(vf_load(x + j)), most);
    return vf_greatest(most);
}

// The block's scale, a half, to p; returns what values are multiplied by.
static inline vf store_scale(float d, uint8_t *p) {
    uint16_t half = rill__f32_to_f16(d);
    memcpy(p, &half, sizeof half);
    return vf_set(fabsf(d) > 0x1p-126f ? 1 / d : 0);
}

static void NAME(encode_q8_0)(const float *src, void *dst, size_t n) {
    uint8_t *b = dst;
    for (size_t i = 0; i < n; i += 32, b += 34) {
        vf inverse = store_scale(greatest_of_32(src + i) / 127, b);
        for (int j = 0; j < 32; j += LANES) {
            vf x = vf_mul(vf_load(src + i + j), inverse), size = vf_abs(x), whole = vf_trunc(size);
            whole = vf_add(whole, vf_from(vf_set(1), vf_sub(size, whole), 0.5f));
            vf_store_i8((int8_t *)b + 2 + j, vf_signed(vf_max(whole, vf_set(0)), x));  // 0 for NaN
        }
    }
}

// x + 8 to the nearest of 0 to 15; 0 for NaN
static inline vf nibbles_of(const float *x, vf inverse) {
    vf whole = vf_trunc(vf_add(vf_mul(vf_load(x), inverse), vf_set(8.5f)));
    return vf_min(vf_max(whole, vf_set(0)), vf_set(15));
}

static void NAME(encode_q4_0)(const float *src, void *dst, size_t n) {
    uint8_t *b = dst;
    for (size_t i = 0; i < n; i += 32, b += 18) {
        float greatest = greatest_of_32(src + i);
        uint32_t at = 0;  // where it stands: the first such value gives the sign
        for (int j = 0; j < 32; j += LANES)
            at |= (uint32_t)vf_equal(vf_abs(vf_load(src + i + j)), greatest) << j;
        vf inverse = store_scale((greatest > 0 ? src[i + (size_t)__builtin_ctz(at)] : 0) / -8, b);
        for (int j = 0; j < 16; j += LANES) {
            vf low = nibbles_of(src + i + j, inverse), high = nibbles_of(src + i + 16 + j, inverse);
            high = vf_sub(high, vf_from(vf_set(16), high, 8));  // a signed byte's upper half
            vf_store_i8((int8_t *)b + 2 + j, vf_fma(high, vf_set(16), low));
        }
    }
}
