// SPDX-License-Identifier: MIT
// From packed weights to operands of tensor cores, in registers.
#ifndef RILL_BACKEND_CUDA_WEIGHTS_CUH
#define RILL_BACKEND_CUDA_WEIGHTS_CUH

#include "backend/cuda/pack.h"

// What a lane has of a tile.
template <int KIND> struct tile_words {
    using L = rill__cuda_layout<KIND>;
    uint32_t codes[L::code_words];
    uint32_t high[L::high_words ? L::high_words : 1];
    uint32_t scales[L::scale_words ? L::scale_words : 1];
};

// Weights are read once: past the first-level cache, and out of the second soon.
static __device__ __forceinline__ uint4 read_once(const uint32_t *p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

template <int N>
static __device__ __forceinline__ void take_words(uint32_t *to, const uint32_t *from) {
    if constexpr (N == 4) {
        uint4 v = *(const uint4 *)from;
        to[0] = v.x;
        to[1] = v.y;
        to[2] = v.z;
        to[3] = v.w;
    } else if constexpr (N == 2) {
        uint2 v = *(const uint2 *)from;
        to[0] = v.x;
        to[1] = v.y;
    } else if constexpr (N == 1) {
        to[0] = *from;
    }
}

// A lane's words of the tile at `from`, in shared memory.
template <int KIND>
static __device__ __forceinline__ tile_words<KIND> tile_at(const uint8_t *from, int lane) {
    using L = rill__cuda_layout<KIND>;
    tile_words<KIND> t;
#pragma unroll
    for (int i = 0; i < L::code_words / 4; i++)
        take_words<4>(t.codes + 4 * i, (const uint32_t *)from + (i * 32 + lane) * 4);
    take_words<L::high_words>(t.high, (const uint32_t *)(from + L::high_at) + lane * L::high_words);
    take_words<L::scale_words>(t.scales,
                               (const uint32_t *)(from + L::scales_at) + lane / 4 * L::scale_words);
    return t;
}

// The same of tile number `tile` of a matrix.
template <int KIND>
static __device__ __forceinline__ void load_tile(const rill__cuda_packed &w, size_t tile, int lane,
                                                 tile_words<KIND> *t) {
    using L = rill__cuda_layout<KIND>;
    const uint8_t *from = w.tiles + tile * L::bytes;
#pragma unroll
    for (int i = 0; i < L::code_words / 4; i++) {
        uint4 v = read_once((const uint32_t *)from + (i * 32 + lane) * 4);
        t->codes[4 * i] = v.x;
        t->codes[4 * i + 1] = v.y;
        t->codes[4 * i + 2] = v.z;
        t->codes[4 * i + 3] = v.w;
    }
    if constexpr (L::high_words > 0)
        take_words<L::high_words>(t->high,
                                  (const uint32_t *)(from + L::high_at) + lane * L::high_words);
    if constexpr (L::scale_words > 0)
        take_words<L::scale_words>(t->scales, (const uint32_t *)(from + L::scales_at) +
                                                  lane / 4 * L::scale_words);
}

static __device__ __forceinline__ __half2 as_half2(uint32_t bits) {
    return *reinterpret_cast<__half2 *>(&bits);
}
static __device__ __forceinline__ uint32_t as_bits(__half2 h) {
    return *reinterpret_cast<uint32_t *>(&h);
}

// x & mask | bits, as one instruction: of two constants the compiler makes two.
static __device__ __forceinline__ uint32_t with_bits(uint32_t x, uint32_t mask, uint32_t bits) {
    uint32_t y;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(y) : "r"(x), "r"(mask), "r"(bits));
    return y;
}

static __device__ __forceinline__ uint32_t shifted(uint32_t x, int right) {
    return right < 0 ? x << -right : x >> right;
}

// The two codes of register j of fragment f inside of float16 numbers whose last ten bits are a
// whole number: 1024 + code, or for nibbles of odd registers 1024 + 16 code, so that two registers
// take one shift.
template <int KIND>
static __device__ __forceinline__ uint32_t codes_of(const tile_words<KIND> &t, int f, int j) {
    if constexpr (KIND == RILL_KIND_8)
        return __byte_perm(t.codes[2 * f + j / 2], 0x64646464u, j % 2 ? 0x4342 : 0x4140);
    uint32_t q =
        with_bits(t.codes[f] >> (j / 2 * 8), j % 2 ? 0x00f000f0u : 0x000f000fu, 0x64006400u);
    // The bits above a nibble come to its upper end.
    int to = j % 2 ? 8 : 4;
    if constexpr (KIND == RILL_KIND_6)
        q |= shifted(t.high[f / 2], 2 * (f % 2 * 4 + j) - to) & 0x00030003u << to;
    if constexpr (KIND == RILL_KIND_5 || KIND == RILL_KIND_5_MIN)
        q |= shifted(t.high[0], 4 * f + j - to) & 0x00010001u << to;
    return q;
}

// code - bias of both, exactly.
template <int KIND>
static __device__ __forceinline__ __half2 numbers_of(const tile_words<KIND> &t, int f, int j) {
    using L = rill__cuda_layout<KIND>;
    __half2 h = as_half2(codes_of(t, f, j));
    // h / 16 - (64 + bias), or h - (1024 + bias)
    if (L::four && j % 2)
        return __hfma2(h, as_half2(0x2c002c00u), as_half2((0xd400u + 16 * L::bias) * 0x10001u));
    return __hsub2(h, as_half2((0x6400u + L::bias) * 0x10001u));
}

// e2m1 as float16: its exponent and mantissa in the same places, 2^14 too small.
static __device__ __forceinline__ __half2 from_e2m1(uint32_t codes) {
    uint32_t bits = (codes & 0x00080008u) << 12 | (codes & 0x00070007u) << 9;
    return __hmul2(as_half2(bits), __float2half2_rn(16384));
}

// Fragment f of a tile.
template <int KIND>
static __device__ __forceinline__ void unpack(const tile_words<KIND> &t, int f, uint32_t a[4]) {
    using L = rill__cuda_layout<KIND>;
    if constexpr (L::half) {
#pragma unroll
        for (int j = 0; j < 4; j++) a[j] = t.codes[4 * f + j];
    } else {
        int block = f * L::blocks / 4;
        __half2 scales = as_half2(t.scales[block]);
        __half2 of_row[2] = {__low2half2(scales), __high2half2(scales)}, mins[2];
        if constexpr (L::min) {
            __half2 m = as_half2(t.scales[L::blocks + block]);
            mins[0] = __low2half2(m);
            mins[1] = __high2half2(m);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            __half2 q;
            if constexpr (KIND == RILL_KIND_FP4)
                q = from_e2m1(t.codes[f] >> (4 * j) & 0x000f000fu);
            else
                q = numbers_of(t, f, j);
            if constexpr (L::min)
                a[j] = as_bits(__hfma2(q, of_row[j % 2], mins[j % 2]));
            else
                a[j] = as_bits(__hmul2(q, of_row[j % 2]));
        }
    }
}

#endif
