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

static __device__ __forceinline__ uint32_t shifted(uint32_t x, int left) {
    return left < 0 ? x >> -left : x << left;
}

// The two codes of register j of fragment f, as the lowest bits of float16 numbers: those are as
// many steps of 2^-24, below which float16 has none. Of odd registers 2^4 steps each, where a code
// does not end at the lowest bit, so that two registers take one shift; L::low moves both up.
template <int KIND>
static __device__ __forceinline__ uint32_t codes_of(const tile_words<KIND> &t, int f, int j) {
    using L = rill__cuda_layout<KIND>;
    if constexpr (KIND == RILL_KIND_8)
        return __byte_perm(t.codes[2 * f + j / 2], 0, j % 2 ? 0x4342 : 0x4140);
    uint32_t word = t.codes[f], q;
    if (j / 2) word = __funnelshift_r(word, word, 8);
    q = word & (j % 2 ? 0x00f000f0u : 0x000f000fu) << L::low;
    // The bits above a nibble come to its upper end.
    int to = j % 2 ? 8 : 4;
    if constexpr (KIND == RILL_KIND_6)
        q |= shifted(t.high[f / 2], to - 2 * (f % 2 * 4 + j)) & 0x00030003u << to;
    if constexpr (KIND == RILL_KIND_5 || KIND == RILL_KIND_5_MIN)
        q |= shifted(t.high[0], to - 4 * f - j) & 0x00010001u << to;
    return q;
}

// e2m1 as float16: its exponent and mantissa in the same places, 2^14 too small.
static __device__ __forceinline__ uint32_t bits_of_e2m1(uint32_t codes) {
    return (codes & 0x00080008u) << 12 | (codes & 0x00070007u) << 9;
}

// Fragment f of a tile: a code times its block's scale, plus its block's min, rounded once.
template <int KIND>
static __device__ __forceinline__ void unpack(const tile_words<KIND> &t, int f, uint32_t a[4]) {
    using L = rill__cuda_layout<KIND>;
    if constexpr (L::half) {
#pragma unroll
        for (int j = 0; j < 4; j++) a[j] = t.codes[4 * f + j];
    } else {
        int block = f * L::blocks / 4;
        __half2 scales = as_half2(t.scales[block]), mins = {};
        if constexpr (L::min)
            mins = as_half2(t.scales[L::blocks + block]);
        else if constexpr (L::bias != 0)
            mins = __hmul2(scales, __floats2half2_rn(-L::bias / L::unit(0), -L::bias / L::unit(8)));
#pragma unroll
        for (int j = 0; j < 4; j++) {
            __half2 scale = j % 2 ? __high2half2(scales) : __low2half2(scales);
            __half2 min = j % 2 ? __high2half2(mins) : __low2half2(mins);
            if constexpr (KIND == RILL_KIND_FP4) {
                uint32_t q = bits_of_e2m1(t.codes[f] >> (4 * j));
                a[j] = as_bits(__hmul2(as_half2(q), scale));
            } else {
                a[j] = as_bits(__hfma2(as_half2(codes_of<KIND>(t, f, j)), scale, min));
            }
        }
    }
}

#endif
