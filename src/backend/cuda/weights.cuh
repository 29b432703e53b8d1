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

template <int KIND>
static __device__ __forceinline__ void load_tile(const rill__cuda_packed &w, size_t tile, int lane,
                                                 tile_words<KIND> *t) {
    using L = rill__cuda_layout<KIND>;
#pragma unroll
    for (int i = 0; i < L::code_words / 4; i++) {
        uint4 v = read_once(w.codes + ((tile * (L::code_words / 4) + i) * 32 + lane) * 4);
        t->codes[4 * i] = v.x;
        t->codes[4 * i + 1] = v.y;
        t->codes[4 * i + 2] = v.z;
        t->codes[4 * i + 3] = v.w;
    }
    if constexpr (L::high_words == 1) t->high[0] = __ldg(w.high + tile * 32 + lane);
    if constexpr (L::high_words == 2) {
        uint2 v = __ldg((const uint2 *)(w.high + (tile * 32 + lane) * 2));
        t->high[0] = v.x;
        t->high[1] = v.y;
    }
    const uint32_t *s = w.scales + (tile * 8 + lane / 4) * L::scale_words;
    if constexpr (L::scale_words == 2) {
        uint2 v = __ldg((const uint2 *)s);
        t->scales[0] = v.x;
        t->scales[1] = v.y;
    }
    if constexpr (L::scale_words == 4) {
        uint4 v = __ldg((const uint4 *)s);
        t->scales[0] = v.x;
        t->scales[1] = v.y;
        t->scales[2] = v.z;
        t->scales[3] = v.w;
    }
}

static __device__ __forceinline__ __half2 as_half2(uint32_t bits) {
    return *reinterpret_cast<__half2 *>(&bits);
}
static __device__ __forceinline__ uint32_t as_bits(__half2 h) {
    return *reinterpret_cast<uint32_t *>(&h);
}

// The two codes of register j of fragment f, as 1024 + code: a float16 whose last ten bits are a
// whole number.
template <int KIND>
static __device__ __forceinline__ uint32_t codes_of(const tile_words<KIND> &t, int f, int j) {
    if constexpr (KIND == RILL_KIND_8)
        return __byte_perm(t.codes[2 * f + j / 2], 0x64646464u, j % 2 ? 0x4342 : 0x4140);
    uint32_t q = t.codes[f] >> (4 * j) & 0x000f000fu;
    if constexpr (KIND == RILL_KIND_6)
        q |= (t.high[f / 2] >> (2 * (f % 2 * 4 + j)) & 0x00030003u) << 4;
    if constexpr (KIND == RILL_KIND_5 || KIND == RILL_KIND_5_MIN)
        q |= (t.high[0] >> (4 * f + j) & 0x00010001u) << 4;
    return q | 0x64006400u;
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
                q = __hsub2(as_half2(codes_of(t, f, j)), __float2half2_rn(1024 + L::bias));
            if constexpr (L::min)
                a[j] = as_bits(__hfma2(q, of_row[j % 2], mins[j % 2]));
            else
                a[j] = as_bits(__hmul2(q, of_row[j % 2]));
        }
    }
}

#endif
