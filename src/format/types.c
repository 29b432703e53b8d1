// SPDX-License-Identifier: MIT
// The number formats: one row a type. Layouts and rounding are ggml's (ggml-common.h,
// ggml-quants.c), so that a file written here is byte for byte what the field's own tools would
// write.
#include "format/types.h"

#include "format/k_quants.h"
#include "format/quantize.h"

#include <math.h>
#include <string.h>
#include <strings.h>

float rill__f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
    uint32_t bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000 | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {  // zero or denormal: fraction * 2^-24
        float value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t rill__f32_to_f16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
    if (rest >= 0x47800000)  // 65536 and more
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) {  // denormal: the float unit rounds to even at 2^-24
        float magnitude;
        memcpy(&magnitude, &rest, sizeof magnitude);
        return (uint16_t)(sign | (uint32_t)nearbyintf(magnitude * 0x1p24f));
    }
    uint32_t rounded = rest + 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

float rill__bf16_to_f32(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t rill__f32_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void f32_to_float(const void *src, float *dst, size_t n) {
    memcpy(dst, src, n * sizeof *dst);
}

static void f32_from_float(const float *src, void *dst, size_t n) {
    memcpy(dst, src, n * sizeof *src);
}

static void f16_to_float(const void *src, float *dst, size_t n) {
    for (size_t i = 0; i < n; i++) dst[i] = rill__load_half((const uint8_t *)src + 2 * i);
}

static void f16_from_float(const float *src, void *dst, size_t n) {
    for (size_t i = 0; i < n; i++) rill__store16((uint8_t *)dst + 2 * i, rill__f32_to_f16(src[i]));
}

static void bf16_to_float(const void *src, float *dst, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = rill__bf16_to_f32(rill__load16((const uint8_t *)src + 2 * i));
}

static void bf16_from_float(const float *src, void *dst, size_t n) {
    for (size_t i = 0; i < n; i++) rill__store16((uint8_t *)dst + 2 * i, rill__f32_to_bf16(src[i]));
}

enum { BLOCK = 32 };

// q8_0: half d; int8 q[32]. x = d * q.
enum { Q8_0_BYTES = 2 + BLOCK };

static void q8_0_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += BLOCK, b += Q8_0_BYTES)
        for (int j = 0; j < BLOCK; j++) dst[i + j] = rill__load_half(b) * (float)(int8_t)b[2 + j];
}

// q4_0: half d; 16 bytes, low halves the first 16 values. x = d * (q - 8).
enum { Q4_0_BYTES = 2 + BLOCK / 2 };

static void q4_0_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += BLOCK, b += Q4_0_BYTES) {
        float d = rill__load_half(b);
        for (int j = 0; j < BLOCK / 2; j++) {
            dst[i + j] = d * (float)((b[2 + j] & 15) - 8);
            dst[i + j + BLOCK / 2] = d * (float)((b[2 + j] >> 4) - 8);
        }
    }
}

// q4_1: half d, half m; nibbles as q4_0. x = d * q + m.
static void q4_1_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += BLOCK, b += 4 + BLOCK / 2) {
        float d = rill__load_half(b), m = rill__load_half(b + 2);
        for (int j = 0; j < BLOCK / 2; j++) {
            dst[i + j] = d * (float)(b[4 + j] & 15) + m;
            dst[i + j + BLOCK / 2] = d * (float)(b[4 + j] >> 4) + m;
        }
    }
}

// The fifth bits of a block's values, in order.
static uint32_t high_bits(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// q5_0: half d; 32 high bits; nibbles. x = d * (q - 16).
static void q5_0_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += BLOCK, b += 6 + BLOCK / 2) {
        float d = rill__load_half(b);
        uint32_t high = high_bits(b + 2);
        for (int j = 0; j < BLOCK / 2; j++) {
            int low = (b[6 + j] & 15) | (int)(high >> j & 1) << 4;
            int top = (b[6 + j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            dst[i + j] = d * (float)(low - 16);
            dst[i + j + BLOCK / 2] = d * (float)(top - 16);
        }
    }
}

// q5_1: half d, half m; 32 high bits; nibbles. x = d * q + m.
static void q5_1_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += BLOCK, b += 8 + BLOCK / 2) {
        float d = rill__load_half(b), m = rill__load_half(b + 2);
        uint32_t high = high_bits(b + 4);
        for (int j = 0; j < BLOCK / 2; j++) {
            int low = (b[8 + j] & 15) | (int)(high >> j & 1) << 4;
            int top = (b[8 + j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            dst[i + j] = d * (float)low + m;
            dst[i + j + BLOCK / 2] = d * (float)top + m;
        }
    }
}

// mxfp4: an exponent e, scale 2^(e - 127), and 32 nibbles, each a float of 4 bits (OCP Microscaling
// Formats 1.0): a sign, then 0, 0.5, 1, 1.5, 2, 3, 4, 6. ggml_e8m0_to_fp32: e 0 is 2^-127.
static void mxfp4_to_float(const void *src, float *dst, size_t n) {
    static const float values[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                     -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += BLOCK, b += 1 + BLOCK / 2) {
        float scale = b[0] == 255 ? NAN : ldexpf(1, b[0] - 127);
        for (int j = 0; j < BLOCK / 2; j++) {
            dst[i + j] = scale * values[b[1 + j] & 15];
            dst[i + j + BLOCK / 2] = scale * values[b[1 + j] >> 4];
        }
    }
}

static const rill__type_traits table[] = {
    {RILL_TYPE_F32, "f32", 1, 4, f32_to_float, f32_from_float},
    {RILL_TYPE_F16, "f16", 1, 2, f16_to_float, f16_from_float},
    {RILL_TYPE_BF16, "bf16", 1, 2, bf16_to_float, bf16_from_float},
    {RILL_TYPE_Q4_0, "q4_0", BLOCK, Q4_0_BYTES, q4_0_to_float, rill__q4_0_from_float},
    {RILL_TYPE_Q4_1, "q4_1", BLOCK, 4 + BLOCK / 2, q4_1_to_float, rill__q4_1_from_float},
    {RILL_TYPE_Q5_0, "q5_0", BLOCK, 6 + BLOCK / 2, q5_0_to_float, rill__q5_0_from_float},
    {RILL_TYPE_Q5_1, "q5_1", BLOCK, 8 + BLOCK / 2, q5_1_to_float, rill__q5_1_from_float},
    {RILL_TYPE_Q8_0, "q8_0", BLOCK, Q8_0_BYTES, q8_0_to_float, rill__q8_0_from_float},
    {RILL_TYPE_Q2_K, "q2_K", RILL_SUPER_BLOCK, 84, rill__q2_k_to_float, rill__q2_k_from_float},
    {RILL_TYPE_Q3_K, "q3_K", RILL_SUPER_BLOCK, 110, rill__q3_k_to_float, rill__q3_k_from_float},
    {RILL_TYPE_Q4_K, "q4_K", RILL_SUPER_BLOCK, 144, rill__q4_k_to_float, rill__q4_k_from_float},
    {RILL_TYPE_Q5_K, "q5_K", RILL_SUPER_BLOCK, 176, rill__q5_k_to_float, rill__q5_k_from_float},
    {RILL_TYPE_Q6_K, "q6_K", RILL_SUPER_BLOCK, 210, rill__q6_k_to_float, rill__q6_k_from_float},
    {RILL_TYPE_IQ4_NL, "iq4_nl", BLOCK, 2 + BLOCK / 2, rill__iq4_nl_to_float,
     rill__iq4_nl_from_float},
    {RILL_TYPE_IQ4_XS, "iq4_xs", RILL_SUPER_BLOCK, 136, rill__iq4_xs_to_float,
     rill__iq4_xs_from_float},
    {RILL_TYPE_MXFP4, "mxfp4", BLOCK, 1 + BLOCK / 2, mxfp4_to_float, rill__mxfp4_from_float},
};

const rill__type_traits *rill__type_traits_get(rill_type type) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].type == type) return &table[i];
    return NULL;
}

bool rill__type_bytes(rill_type type, uint64_t n, size_t *bytes) {
    const rill__type_traits *t = rill__type_traits_get(type);
    return t && n % t->block == 0 && rill__mul_size(n / t->block, t->block_bytes, bytes);
}

const char *rill_type_name(rill_type type) {
    const rill__type_traits *t = rill__type_traits_get(type);
    return t ? t->name : "unknown";
}

bool rill_type_parse(const char *name, rill_type *out) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcasecmp(name, table[i].name) == 0) {
            *out = table[i].type;
            return true;
        }
    }
    return false;
}
