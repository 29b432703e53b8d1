// SPDX-License-Identifier: MIT
// Loops of reads, and of tensor cores' products, and nothing else: the roofs that figures are
// shares of.
#ifndef RILL_BACKEND_CUDA_BURN_CUH
#define RILL_BACKEND_CUDA_BURN_CUH

#include "backend/cuda/bulk.cuh"
#include "backend/cuda/mma.cuh"
#include "backend/cuda/wgmma.cuh"

// Two halves of either sign from 1/32 to 1/2, any of their bits as likely set as not. What toggles
// no bits takes less power, so that the card clocks higher than with any real product.
static __device__ __forceinline__ uint32_t any_halves(uint32_t i) {
    uint32_t z = i * 0x9e3779b1u;
    z = (z ^ z >> 15) * 0x85ebca6bu;
    z = (z ^ z >> 13) * 0xc2b2ae35u;
    z ^= z >> 16;
    return (z & 0x83ff83ffu) + 0x28002800u + (z >> 4 & 0x0c000c00u);
}

// Products of tensor cores, m16n8k16 as mma.sync has them.
static __global__ void burn_halves(float *out, int rounds) {
    float c[8][4] = {};
    uint32_t a[4], b[8][2], first = (blockIdx.x * 256 + threadIdx.x) * 20;
    for (uint32_t i = 0; i < 4; i++) a[i] = any_halves(first + i);
    for (uint32_t i = 0; i < 16; i++) b[i / 2][i % 2] = any_halves(first + 4 + i);
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 8; i++) mma(c[i], a, b[i][0], b[i][1]);
    float sum = 0;
    for (int i = 0; i < 32; i++) sum += c[i / 4][i % 4];
    if (sum == 1) *out = sum;
}

// The same with wgmma, which alone reaches what Hopper's tensor cores do: a multiprocessor's two
// warpgroups, products with 192 columns in shared memory.
enum { WGMMA_COLUMNS = 192, WGMMA_BYTES = WGMMA_COLUMNS * 128 };
static __global__ void __launch_bounds__(256, 1) burn_wgmma(float *out, int rounds) {
#ifdef RILL_WGMMA
    extern __shared__ uint8_t unaligned[];
    uint8_t *shared = unaligned + (-shared_address(unaligned) & 1023);
    for (uint32_t i = threadIdx.x; i < WGMMA_BYTES / 4; i += 256)
        ((uint32_t *)shared)[i] = any_halves(blockIdx.x * WGMMA_BYTES + i);
    wgmma_fence_shared();
    __syncthreads();
    float d[WGMMA_COLUMNS / 2] = {};
    uint32_t a[4][4];
    for (uint32_t i = 0; i < 16; i++)
        a[i / 4][i % 4] = any_halves((blockIdx.x * 256 + threadIdx.x) * 16 + i);
    const swizzled rows = swizzled_rows(shared_address(shared));
    for (int r = 0; r < rounds; r++) {
        wgmma_fence();
#pragma unroll
        for (int f = 0; f < 4; f++) wgmma(d, a[f], rows.at(32 * f), r % 16 > 0 || f > 0);
        wgmma_commit();
        wgmma_wait<1>();
    }
    wgmma_wait<0>();
    float sum = 0;
    for (int i = 0; i < WGMMA_COLUMNS / 2; i++) sum += d[i];
    if (sum == 1) *out = sum;
#endif
}

// Operations of `rounds` rounds on so many multiprocessors.
static inline double burnt_by_wgmma(int processors, int rounds) {
    return (double)processors * 2 * rounds * 4 * (64.0 * WGMMA_COLUMNS * 16 * 2);
}

// Reads n pieces of 16 bytes, once.
static __global__ void __launch_bounds__(512) read_all(const uint4 *from, size_t n, uint32_t *out) {
    uint32_t sum = 0;
    size_t step = (size_t)gridDim.x * blockDim.x;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + 7 * step < n; i += 8 * step) {
        uint4 v[8];
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = __ldcs(from + i + j * step);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
    }
    if (sum == 0x12345678) *out = sum;  // so that nothing is left out
}

#endif
