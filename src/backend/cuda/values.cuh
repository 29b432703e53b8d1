// SPDX-License-Identifier: MIT
// Numbers as they lie in memory, for kernels: one number of a raw row of any type, four floats at
// once, and the way of a head's row into the cache.
//
// What is read and written is bit for bit what format/types.c, k_quants.c and quantize_blocks.c
// make of it, their specification, but for the payload of a NaN that is read: a snapshot may be
// written by one backend and read by another. So products and sums are rounded one by one
// (__fmul_rn and its like), where the compiler would fuse them.
//
// Rows begin at even addresses, as do then the blocks of every type that has a half in them.
#ifndef RILL_BACKEND_CUDA_VALUES_CUH
#define RILL_BACKEND_CUDA_VALUES_CUH

#include "backend/cuda/cuda.h"

// ---- Reading one number -------------------------------------------------------------------------

static __device__ inline float rill__cuda_half_at(const uint8_t *p) {
    return __half2float(*(const __half *)p);
}

static __device__ inline float rill__cuda_float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static __device__ inline uint32_t rill__cuda_bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// The 4 low bits of value j of 32: the first 16 values are in low halves of bytes.
static __device__ inline int rill__cuda_nibble(const uint8_t *nibbles, uint32_t j) {
    return j < 16 ? nibbles[j] & 15 : nibbles[j - 16] >> 4;
}

// Bit j of a string of bits.
static __device__ inline int rill__cuda_bit(const uint8_t *bits, uint32_t j) {
    return bits[j / 8] >> (j % 8) & 1;
}

// d * q + m, rounded twice
static __device__ inline float rill__cuda_line(float d, int q, float m) {
    return __fadd_rn(__fmul_rn(d, (float)q), m);
}

// d * scale * q, rounded after each
static __device__ inline float rill__cuda_scaled(float d, int scale, int q) {
    return __fmul_rn(__fmul_rn(d, (float)scale), (float)q);
}

// An exponent, scale 2^(e - 127), and floats of 4 bits: a sign, then 0, 0.5, 1, 1.5, 2, 3, 4, 6.
// The table has their doubles.
static __device__ inline float rill__cuda_mxfp4(const uint8_t *b, uint32_t j) {
    uint32_t e = b[0];
    uint32_t bits = e == 255 ? 0x7fc00000 : e == 0 ? 0x00400000 : e << 23;
    int q = rill__cuda_nibble(b + 1, j);
    float value = 0.5f * (float)(0xc8643210u >> (4 * (q & 7)) & 15);
    return __fmul_rn(rill__cuda_float_of(bits), q & 8 ? -value : value);
}

// Sixteen levels, closer together near zero: ggml's kvalues_iq4nl, a byte each.
static __device__ inline int rill__cuda_level(int q) {
    uint64_t levels = q < 8 ? 0xf6eaddcfbfad9881u : 0x7159453526190d01u;
    return (int8_t)(levels >> (8 * (q & 7)));
}

static __device__ inline float rill__cuda_iq4_xs(const uint8_t *b, uint32_t k) {
    uint32_t j = k / 32;
    int high = b[2] | b[3] << 8;
    int scale = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (high >> (2 * j) & 3) << 4;
    int q = rill__cuda_nibble(b + 8 + 16 * j, k % 32);
    return rill__cuda_scaled(rill__cuda_half_at(b), scale - 32, rill__cuda_level(q));
}

// Bits of value k of a super-block: pairs of bits, 128 values to 32 bytes.
static __device__ inline int rill__cuda_pair(const uint8_t *pairs, uint32_t k) {
    return pairs[k / 128 * 32 + k % 32] >> (2 * (k % 128 / 32)) & 3;
}

static __device__ inline float rill__cuda_q2_k(const uint8_t *b, uint32_t k) {
    int scale = b[k / 16];
    float x = rill__cuda_scaled(rill__cuda_half_at(b + 80), scale & 15, rill__cuda_pair(b + 16, k));
    return __fsub_rn(x, __fmul_rn(rill__cuda_half_at(b + 82), (float)(scale >> 4)));
}

static __device__ inline float rill__cuda_q3_k(const uint8_t *b, uint32_t k) {
    const uint8_t *s = b + 96;
    uint32_t j = k / 16;
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    int scale = (low | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
    int q = rill__cuda_pair(b + 32, k);
    if (!(b[k % 32] >> (k / 32) & 1)) q -= 4;
    return rill__cuda_scaled(rill__cuda_half_at(b + 108), scale, q);
}

// q4_K and q5_K: d * scale * q - dmin * minimum, scales and minima of 6 bits in 12 bytes.
static __device__ inline float rill__cuda_q45_k(const uint8_t *b, uint32_t j, int q) {
    const uint8_t *s = b + 4;
    int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int minimum = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    float x = rill__cuda_scaled(rill__cuda_half_at(b), scale, q);
    return __fsub_rn(x, __fmul_rn(rill__cuda_half_at(b + 2), (float)minimum));
}

// Their nibbles: 64 values to 32 bytes.
static __device__ inline int rill__cuda_nibble_k(const uint8_t *nibbles, uint32_t k) {
    return nibbles[k / 64 * 32 + k % 32] >> (4 * (k / 32 % 2)) & 15;
}

static __device__ inline float rill__cuda_q4_k(const uint8_t *b, uint32_t k) {
    return rill__cuda_q45_k(b, k / 32, rill__cuda_nibble_k(b + 16, k));
}

static __device__ inline float rill__cuda_q5_k(const uint8_t *b, uint32_t k) {
    int fifth = b[16 + k % 32] >> (k / 32) & 1;
    return rill__cuda_q45_k(b, k / 32, rill__cuda_nibble_k(b + 48, k) | fifth << 4);
}

static __device__ inline float rill__cuda_q6_k(const uint8_t *b, uint32_t k) {
    uint32_t half = k / 128, column = k % 32, group = k % 128 / 32;
    int low = b[64 * half + column + 32 * (group & 1)] >> (4 * (group >> 1)) & 15;
    int q = low | (b[128 + 32 * half + column] >> (2 * group) & 3) << 4;
    int scale = (int8_t)b[192 + 8 * half + column / 16 + 2 * group];
    return rill__cuda_scaled(rill__cuda_half_at(b + 208), scale, q - 32);
}

// The types with 32 values to a block, value j of the block at b.
static __device__ inline float rill__cuda_block_value(rill_type type, const uint8_t *b,
                                                      uint32_t j) {
    if (type == RILL_TYPE_MXFP4) return rill__cuda_mxfp4(b, j);
    float d = rill__cuda_half_at(b);
    switch (type) {
    case RILL_TYPE_Q4_0: return __fmul_rn(d, (float)(rill__cuda_nibble(b + 2, j) - 8));
    case RILL_TYPE_Q4_1:
        return rill__cuda_line(d, rill__cuda_nibble(b + 4, j), rill__cuda_half_at(b + 2));
    case RILL_TYPE_Q5_0: {
        int q = rill__cuda_nibble(b + 6, j) | rill__cuda_bit(b + 2, j) << 4;
        return __fmul_rn(d, (float)(q - 16));
    }
    case RILL_TYPE_Q5_1: {
        int q = rill__cuda_nibble(b + 8, j) | rill__cuda_bit(b + 4, j) << 4;
        return rill__cuda_line(d, q, rill__cuda_half_at(b + 2));
    }
    case RILL_TYPE_IQ4_NL:
        return __fmul_rn(d, (float)rill__cuda_level(rill__cuda_nibble(b + 2, j)));
    default:  // q8_0
        return __fmul_rn(d, (float)(int8_t)b[2 + j]);
    }
}

// Number `column` of a row, as the type's to_float gives it.
static __device__ inline float rill__cuda_value(rill_type type, const uint8_t *row, size_t column) {
    size_t block = column / 32, super = column / 256;
    uint32_t j = column % 32, k = column % 256;
    switch (type) {
    case RILL_TYPE_F32: return ((const float *)row)[column];
    case RILL_TYPE_F16: return rill__cuda_half_at(row + 2 * column);
    case RILL_TYPE_BF16:
        return rill__cuda_float_of((uint32_t)((const uint16_t *)row)[column] << 16);
    case RILL_TYPE_Q4_0: return rill__cuda_block_value(type, row + block * 18, j);
    case RILL_TYPE_Q4_1: return rill__cuda_block_value(type, row + block * 20, j);
    case RILL_TYPE_Q5_0: return rill__cuda_block_value(type, row + block * 22, j);
    case RILL_TYPE_Q5_1: return rill__cuda_block_value(type, row + block * 24, j);
    case RILL_TYPE_Q8_0: return rill__cuda_block_value(type, row + block * 34, j);
    case RILL_TYPE_IQ4_NL: return rill__cuda_block_value(type, row + block * 18, j);
    case RILL_TYPE_MXFP4: return rill__cuda_block_value(type, row + block * 17, j);
    case RILL_TYPE_Q2_K: return rill__cuda_q2_k(row + super * 84, k);
    case RILL_TYPE_Q3_K: return rill__cuda_q3_k(row + super * 110, k);
    case RILL_TYPE_Q4_K: return rill__cuda_q4_k(row + super * 144, k);
    case RILL_TYPE_Q5_K: return rill__cuda_q5_k(row + super * 176, k);
    case RILL_TYPE_Q6_K: return rill__cuda_q6_k(row + super * 210, k);
    case RILL_TYPE_IQ4_XS: return rill__cuda_iq4_xs(row + super * 136, k);
    default: return 0;  // no weight has another type
    }
}

// ---- Four floats at once ------------------------------------------------------------------------

struct alignas(16) rill__cuda_four {
    float x[4];
};

// Four numbers of a row from `at` on, a multiple of 4; zeros behind its end. Where the width is no
// multiple of 4, rows do not begin where 16 bytes can be read at once.
static __device__ inline rill__cuda_four rill__cuda_load4(const float *row, size_t at,
                                                          size_t width) {
    if (width % 4 == 0 && at < width) return *(const rill__cuda_four *)(row + at);
    rill__cuda_four f;
    for (int i = 0; i < 4; i++) f.x[i] = at + i < width ? row[at + i] : 0;
    return f;
}

// The reverse; what is behind the end goes nowhere.
static __device__ inline void rill__cuda_store4(float *row, size_t at, size_t width,
                                                const rill__cuda_four &f) {
    if (width % 4 == 0 && at < width) {
        *(rill__cuda_four *)(row + at) = f;
        return;
    }
    for (int i = 0; i < 4; i++)
        if (at + i < width) row[at + i] = f.x[i];
}

struct alignas(8) rill__cuda_four_halves {
    __half x[4];
};

// The halves of the same, times `scale`; nothing if `row` is NULL.
static __device__ inline void rill__cuda_store4_halves(__half *row, size_t at, size_t width,
                                                       const rill__cuda_four &f, float scale) {
    if (!row) return;
    rill__cuda_four_halves h;
    for (int i = 0; i < 4; i++) h.x[i] = __float2half_rn(f.x[i] * scale);
    if (width % 4 == 0 && at < width) {
        *(rill__cuda_four_halves *)(row + at) = h;
        return;
    }
    for (int i = 0; i < 4; i++)
        if (at + i < width) row[at + i] = h.x[i];
}

// ---- Writing a head's row into a cache ----------------------------------------------------------

// rill__f32_to_f16: the device's rounding, but a NaN keeps its sign and payload.
static __device__ inline uint16_t rill__cuda_f16_bits(float f) {
    uint32_t bits = rill__cuda_bits_of(f), rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return (uint16_t)((bits >> 16 & 0x8000) | 0x7e00 | (rest >> 13 & 0x3ff));
    return __half_as_ushort(__float2half_rn(f));
}

// rill__f32_to_bf16
static __device__ inline uint16_t rill__cuda_bf16_bits(float f) {
    uint32_t bits = rill__cuda_bits_of(f);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// 1 / d; 0 where that is no number.
static __device__ inline float rill__cuda_inverse(float d) {
    float inverse = d != 0 ? __fdiv_rn(1, d) : 0;
    return isinf(inverse) ? 0 : inverse;
}

// The greatest magnitude of a warp's numbers; a NaN has none.
static __device__ inline float rill__cuda_greatest(float x) {
    float greatest = fmaxf(fabsf(x), 0);
    for (int i = 16; i; i /= 2)
        greatest = fmaxf(greatest, __shfl_xor_sync(0xffffffff, greatest, i));
    return greatest;
}

// A block of q8_0, a number a lane: d = greatest magnitude / 127, each the nearest multiple of it,
// halves away from zero.
static __device__ inline void rill__cuda_store_q8_0(uint8_t *b, uint32_t lane, float x) {
    float d = __fdiv_rn(rill__cuda_greatest(x), 127);
    float y = __fmul_rn(x, rill__cuda_inverse(d));
    y = fabsf(y) < 127.5f ? y : 0;
    int whole = (int)y;
    float rest = y - (float)whole;
    b[2 + lane] = (uint8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
    if (lane == 0) *(uint16_t *)b = rill__cuda_f16_bits(d);
}

// A block of q4_0: the first value of greatest magnitude becomes -8 times d, and codes are 8 more.
static __device__ inline void rill__cuda_store_q4_0(uint8_t *b, uint32_t lane, float x) {
    float greatest = rill__cuda_greatest(x);
    unsigned such = __ballot_sync(0xffffffff, fabsf(x) == greatest);
    float extreme = __shfl_sync(0xffffffff, x, such ? __ffs((int)such) - 1 : 0);
    float d = __fdiv_rn(greatest > 0 ? extreme : 0, -8);
    float y = __fadd_rn(__fmul_rn(x, rill__cuda_inverse(d)), 8.5f);
    unsigned code = y > 0 ? (unsigned)(y < 15 ? y : 15) : 0;  // 0 for NaN
    unsigned upper = __shfl_down_sync(0xffffffff, code, 16);
    if (lane < 16) b[2 + lane] = (uint8_t)(code | upper << 4);
    if (lane == 0) *(uint16_t *)b = rill__cuda_f16_bits(d);
}

// Stores numbers 32 * block and following of a head's row of n, one a lane (zeros behind the end,
// where blocks are whole), as the cache type's from_float does. All lanes of a warp together.
static __device__ inline void rill__cuda_store_block(int type, uint8_t *row, uint32_t block,
                                                     uint32_t lane, uint32_t n, float x) {
    uint32_t column = 32 * block + lane;
    if (type == RILL_TYPE_Q8_0)
        rill__cuda_store_q8_0(row + (size_t)block * 34, lane, x);
    else if (type == RILL_TYPE_Q4_0)
        rill__cuda_store_q4_0(row + (size_t)block * 18, lane, x);
    else if (column >= n)
        return;
    else if (type == RILL_TYPE_F32)
        ((float *)row)[column] = x;
    else if (type == RILL_TYPE_F16)
        ((uint16_t *)row)[column] = rill__cuda_f16_bits(x);
    else
        ((uint16_t *)row)[column] = rill__cuda_bf16_bits(x);
}

#endif
