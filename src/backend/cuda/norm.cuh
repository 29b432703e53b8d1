// SPDX-License-Identifier: MIT
// The norm of a row, in an order of sums that follows from the row's width alone: whichever kernel
// and however many threads do it, the bits are the same.
#ifndef RILL_BACKEND_CUDA_NORM_CUH
#define RILL_BACKEND_CUDA_NORM_CUH

#include "backend/cuda/values.cuh"

// out = (x - mean) / sqrt(mean of (x - mean)^2 + eps) * weight + bias, where an RMS norm's mean and
// bias are 0.
struct norm_of_rows {
    const float *weight;
    const float *bias;  // NULL: none
    float eps;
    bool centred;  // the mean is taken off: a layer norm
    uint32_t width;
};

// Lanes that a row's sums are cut into. Short rows (heads) have a warp's, long ones up to 1024.
static __host__ __device__ inline uint32_t norm_lanes(uint32_t width) {
    if (width <= 256) return 32;
    uint32_t warps = (width + 127) / 128;
    return 32 * (warps < 32 ? warps : 32);
}

static __device__ __forceinline__ float plus_square(float sum, float x) {
    return __fmaf_rn(x, x, sum);
}
static __device__ __forceinline__ double plus_square(double sum, double x) {
    return __fma_rn(x, x, sum);
}
static __device__ __forceinline__ float normed(float off, float scale, float weight, float bias) {
    return __fmaf_rn(__fmul_rn(off, scale), weight, bias);
}
static __device__ __forceinline__ double normed(double off, double scale, double weight,
                                                double bias) {
    return __fma_rn(__dmul_rn(off, scale), weight, bias);
}

template <typename real> static __device__ real warp_sum(real x) {
    for (int i = 16; i; i /= 2) x += __shfl_xor_sync(0xffffffff, x, i);
    return x;
}

// The sum over a row of what `part` says of four numbers at a time. A lane takes every so many
// fours, lanes are added within warps by halves, then the warps' sums the same way. `warps` has
// room for 32 and is used once; a row of 32 lanes needs none.
template <typename real, class Part>
static __device__ real row_sum(uint32_t width, real *warps, Part part) {
    uint32_t lanes = norm_lanes(width);
    for (uint32_t lane = threadIdx.x; lane < lanes; lane += blockDim.x) {
        real sum = 0;
        for (uint32_t at = 4 * lane; at < width; at += 4 * lanes) sum = part(sum, at);
        sum = warp_sum(sum);
        if (lanes == 32) return sum;
        if (lane % 32 == 0) warps[lane / 32] = sum;
    }
    __syncthreads();
    uint32_t lane = threadIdx.x % 32;
    return warp_sum(lane < lanes / 32 ? warps[lane] : (real)0);
}

// What a row's numbers are normed with. `warps` has room for 64.
template <typename real> struct norm_state {
    real mean;
    real scale;
};

// The sums that a norm takes, of one four of the row.
template <typename real> static __device__ __forceinline__ real sum_of(const rill__cuda_four &f) {
    return ((real)f.x[0] + (real)f.x[1]) + ((real)f.x[2] + (real)f.x[3]);
}
template <typename real>
static __device__ __forceinline__ real plus_squares(const norm_of_rows &n, real sum,
                                                    const rill__cuda_four &f, uint32_t at,
                                                    real mean) {
    for (uint32_t i = 0; i < 4; i++)
        if (at + i < n.width) sum = plus_square(sum, (real)f.x[i] - mean);
    return sum;
}
template <typename real>
static __device__ __forceinline__ real norm_scale(const norm_of_rows &n, real squares) {
    return 1 / sqrt(squares / (real)n.width + (real)n.eps);
}

template <typename real>
static __device__ norm_state<real> norm_row(const norm_of_rows &n, const float *x, real *warps) {
    norm_state<real> s = {0, 0};
    if (n.centred)
        s.mean = row_sum<real>(n.width, warps,
                               [&](real sum, uint32_t at) {
                                   return sum + sum_of<real>(rill__cuda_load4(x, at, n.width));
                               }) /
                 (real)n.width;
    s.scale =
        norm_scale(n, row_sum<real>(n.width, warps + 32, [&](real sum, uint32_t at) {
                       return plus_squares(n, sum, rill__cuda_load4(x, at, n.width), at, s.mean);
                   }));
    return s;
}

// The same, of a row that a block of FOURS_THREADS has in its registers, so that memory is waited
// for once: a thread's four number k is number threadIdx.x + k FOURS_THREADS of the row. These are
// its lanes' fours, of two lanes in turn.
enum { FOURS_THREADS = 512, MOST_FOURS = 4, MOST_FOURS_WIDTH = 4 * FOURS_THREADS * MOST_FOURS };

static __device__ __forceinline__ uint32_t four_at(int k) {
    return 4 * (threadIdx.x + k * FOURS_THREADS);
}

template <class Part>
static __device__ __forceinline__ float fours_sum(uint32_t width, float *warps, Part part) {
    uint32_t lanes = norm_lanes(width), lane = threadIdx.x % 32;
    float sums[2] = {0, 0};
#pragma unroll
    for (int k = 0; k < MOST_FOURS; k++)
        if (four_at(k) < width) sums[k % 2] = part(sums[k % 2], k);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t own = threadIdx.x + i * FOURS_THREADS;
        float sum = warp_sum(sums[i]);
        if (own < lanes && lane == 0) warps[own / 32] = sum;
    }
    __syncthreads();
    return warp_sum(lane < lanes / 32 ? warps[lane] : 0);
}

static __device__ __forceinline__ norm_state<float>
norm_fours(const norm_of_rows &n, const rill__cuda_four (&x)[MOST_FOURS], float *warps) {
    norm_state<float> s = {0, 0};
    if (n.centred)
        s.mean =
            fours_sum(n.width, warps, [&](float sum, int k) { return sum + sum_of<float>(x[k]); }) /
            (float)n.width;
    s.scale = norm_scale(n, fours_sum(n.width, warps + 32, [&](float sum, int k) {
                             return plus_squares(n, sum, x[k], four_at(k), s.mean);
                         }));
    return s;
}

// Four numbers of the row.
template <typename real>
static __device__ __forceinline__ rill__cuda_four norm_four(const norm_of_rows &n,
                                                            norm_state<real> s, rill__cuda_four f,
                                                            const rill__cuda_four &weight,
                                                            uint32_t at) {
    rill__cuda_four bias = {};
    if (n.bias) bias = rill__cuda_load4(n.bias, at, n.width);
    for (int i = 0; i < 4; i++)
        f.x[i] = (float)normed((real)f.x[i] - s.mean, s.scale, (real)weight.x[i], (real)bias.x[i]);
    return f;
}
template <typename real>
static __device__ rill__cuda_four norm_four(const norm_of_rows &n, norm_state<real> s,
                                            const float *x, uint32_t at) {
    return norm_four(n, s, rill__cuda_load4(x, at, n.width),
                     rill__cuda_load4(n.weight, at, n.width), at);
}

static inline norm_of_rows norm_with(const rill__weight *weight, const rill__weight *bias,
                                     rill__norm_kind kind, float eps, size_t width) {
    norm_of_rows n = {};
    n.weight = weight->vector;
    n.centred = kind == RILL_NORM_LAYER;
    n.bias = bias && n.centred ? bias->vector : nullptr;
    n.eps = eps;
    n.width = (uint32_t)width;
    return n;
}

#endif
