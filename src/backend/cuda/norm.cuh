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
template <typename real>
static __device__ norm_state<real> norm_row(const norm_of_rows &n, const float *x, real *warps) {
    norm_state<real> s = {0, 0};
    if (n.centred)
        s.mean = row_sum<real>(n.width, warps,
                               [&](real sum, uint32_t at) {
                                   rill__cuda_four f = rill__cuda_load4(x, at, n.width);
                                   return sum + (((real)f.x[0] + (real)f.x[1]) +
                                                 ((real)f.x[2] + (real)f.x[3]));
                               }) /
                 (real)n.width;
    real squares = row_sum<real>(n.width, warps + 32, [&](real sum, uint32_t at) {
        rill__cuda_four f = rill__cuda_load4(x, at, n.width);
        for (uint32_t i = 0; i < 4; i++)
            if (at + i < n.width) sum = plus_square(sum, (real)f.x[i] - s.mean);
        return sum;
    });
    s.scale = 1 / sqrt(squares / (real)n.width + (real)n.eps);
    return s;
}

// Four numbers of the row.
template <typename real>
static __device__ rill__cuda_four norm_four(const norm_of_rows &n, norm_state<real> s,
                                            const float *x, uint32_t at) {
    rill__cuda_four f = rill__cuda_load4(x, at, n.width), bias = {};
    rill__cuda_four weight = rill__cuda_load4(n.weight, at, n.width);
    if (n.bias) bias = rill__cuda_load4(n.bias, at, n.width);
    for (int i = 0; i < 4; i++)
        f.x[i] = (float)normed((real)f.x[i] - s.mean, s.scale, (real)weight.x[i], (real)bias.x[i]);
    return f;
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
