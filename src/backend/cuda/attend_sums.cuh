// SPDX-License-Identifier: MIT
// Sums of values of 16 queries in a warp's registers: what the kernels of many rows share.
#ifndef RILL_BACKEND_CUDA_ATTEND_SUMS_CUH
#define RILL_BACKEND_CUDA_ATTEND_SUMS_CUH

#include "backend/cuda/attend_tile.cuh"

// Sums of values of a warp's queries, and their softmax.
template <int W> struct sums {
    two_states states;
    float values[W / 8][4];
};

template <int W> static __device__ __forceinline__ void clear(sums<W> &s) {
    s.states = no_states();
#pragma unroll
    for (int n = 0; n < W / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) s.values[n][i] = 0;
}

static __device__ __forceinline__ void join_two(two_states &s, const two_states &more, joint j[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) j[r] = join(s.greatest[r], s.sum[r], more.greatest[r], more.sum[r]);
}

// Whether any query of the warp sees anything of a block.
static __device__ __forceinline__ bool sees(const sight *sights, int first) {
    const sight &v = sights[threadIdx.x % WARP_QUERIES];
    return __any_sync(~0u, v.begin < first + BLOCK_KEYS && v.end > first);
}

// The results of a warp's queries: `sinks` joins the recent tokens, whose sums recent_value(n, i)
// has.
template <int W, class Value>
static __device__ __forceinline__ void write(const attend_args &a, const tile &t, float cap,
                                             uint32_t first_column, const sums<W> &sinks,
                                             const two_states &recent, Value recent_value) {
    uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        uint32_t q = threadIdx.x / 32 * WARP_QUERIES + lane / 4 + 8 * r;
        if (q >= t.n) continue;
        uint32_t head = head_of_query(a, t, q);
        joint j = last_shares(a, head, cap, sinks.states.greatest[r], sinks.states.sum[r],
                              recent.greatest[r], recent.sum[r]);
        size_t at = ((size_t)row_of_query(a, t, q) * a.n_heads + head) * a.head_dim + first_column +
                    lane % 4 * 2;
        float *out = a.out + at;
        __half *half = a.half ? a.half + at : nullptr;
#pragma unroll
        for (int n = 0; n < W / 8; n++) {
            if (first_column + n * 8 >= a.head_dim) break;
            float2 x = {last_value(sinks.values[n][2 * r], recent_value(n, 2 * r), j),
                        last_value(sinks.values[n][2 * r + 1], recent_value(n, 2 * r + 1), j)};
            *(float2 *)(out + n * 8) = x;
            if (half) *(__half2 *)(half + n * 8) = __floats2half2_rn(x.x, x.y);
        }
    }
}

#endif
