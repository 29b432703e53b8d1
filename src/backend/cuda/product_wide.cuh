// SPDX-License-Identifier: MIT
// Products of many rows with Hopper's wgmma, whose sums are the same bits as mma.sync's (both add
// 16 products and what is there in one step; tests/cuda/agreement_test.c holds it). See
// product.cuh.
#ifndef RILL_BACKEND_CUDA_PRODUCT_WIDE_CUH
#define RILL_BACKEND_CUDA_PRODUCT_WIDE_CUH

#include "backend/cuda/product.cuh"
#include "backend/cuda/wgmma.cuh"

// A block has 128 rows of weights, 64 a warpgroup, and 128 rows of x. Weights go from memory to
// registers as they lie; rows of x through shared memory, 64 columns at a time, three such stages
// ahead of the one that is multiplied.
enum { WIDE_ROWS = 128, WIDE_TILES = 8, WIDE_STAGES = 4, WIDE_THREADS = 256 };

static constexpr size_t wide_stage_bytes = WIDE_ROWS * RILL_TILE_COLUMNS * sizeof(__half);
static constexpr size_t wide_shared_bytes = WIDE_STAGES * wide_stage_bytes + 1024;

#ifdef RILL_WGMMA
// Pieces of 16 bytes go where the 128-byte swizzle has them.
static __device__ __forceinline__ void fetch_wide(const product_args &a, uint32_t row0, uint32_t t,
                                                  uint32_t stages) {
    uint32_t to = stages + t % WIDE_STAGES * (uint32_t)wide_stage_bytes;
#pragma unroll
    for (uint32_t n = 0; n < WIDE_ROWS * 8 / WIDE_THREADS; n++) {
        uint32_t i = threadIdx.x + n * WIDE_THREADS, r = i / 8, piece = i % 8;
        uint32_t row = row0 + r, column = t * RILL_TILE_COLUMNS + piece * 8;
        bool inside = row < a.n_rows && column < a.columns;
        const __half *from = inside ? a.x + (size_t)row * a.columns + column : a.x;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                         to + r * 128 + ((piece ^ (r % 8)) * 16)),
                     "l"(from), "r"(inside ? 16 : 0));
    }
}

static __device__ __forceinline__ void add_segment(float (&total)[64], const float (&sum)[64]) {
#pragma unroll
    for (int i = 0; i < 64; i++) total[i] = __fadd_rn(total[i], sum[i]);
}
#endif

template <int KIND>
static __global__ void __launch_bounds__(WIDE_THREADS, 1)
    product_wide(const __grid_constant__ product_args a) {
#ifdef RILL_WGMMA
    extern __shared__ uint8_t shared[];
    uint32_t stages = ((uint32_t)__cvta_generic_to_shared(shared) + 1023) & ~1023u;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    uint32_t m = matrix_of(a, WIDE_TILES * blockIdx.y), row0 = blockIdx.x * WIDE_ROWS;
    const rill__cuda_packed &w = a.weights[m];
    uint32_t tile = WIDE_TILES * blockIdx.y - a.first_tile[m] + warp, n_tiles = w.column_tiles;
    bool inside = tile * RILL_TILE_ROWS < w.rows;
    size_t at = (size_t)tile * n_tiles;
    tile_words<KIND> next = {};
    if (inside) load_tile<KIND>(w, at, lane, &next);
    let_next_begin();
    wait_for_previous();
    for (uint32_t t = 0; t < WIDE_STAGES - 1; t++) {
        if (t < n_tiles) fetch_wide(a, row0, t, stages);
        asm volatile("cp.async.commit_group;");
    }
    float total[64] = {}, sum[64] = {};
    for (uint32_t t = 0; t < n_tiles; t++) {
        uint32_t v[4][4];
#pragma unroll
        for (int f = 0; f < 4; f++) unpack<KIND>(next, f, v[f]);
        if (t + 1 < n_tiles && inside) load_tile<KIND>(w, at + t + 1, lane, &next);
        asm volatile("cp.async.wait_group %0;" ::"n"(WIDE_STAGES - 2));
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();  // stage t is there, and nobody reads stage t - 1 any more
        if (t + WIDE_STAGES - 1 < n_tiles) fetch_wide(a, row0, t + WIDE_STAGES - 1, stages);
        asm volatile("cp.async.commit_group;");
        uint32_t stage = stages + t % WIDE_STAGES * (uint32_t)wide_stage_bytes;
        wgmma_fence();
#pragma unroll
        for (int f = 0; f < 4; f++)
            wgmma_n128(sum, v[f], swizzled_rows(stage + 32 * f), f > 0 || t % SEGMENT_TILES > 0);
        wgmma_commit();
        wgmma_wait<0>();  // the other warpgroup's products go on meanwhile
        if (t % SEGMENT_TILES == SEGMENT_TILES - 1 || t + 1 == n_tiles) add_segment(total, sum);
    }
#pragma unroll
    for (int i = 0; i < 64; i++) {
        uint32_t row = tile * RILL_TILE_ROWS + lane / 4 + 8 * (i % 4 / 2);
        uint32_t x_row = row0 + 8 * (i / 4) + 2 * (lane % 4) + i % 2;
        if (row < w.rows && x_row < a.n_rows)
            a.out[m][(size_t)x_row * w.rows + row] =
                finished(total[i], w.row_scales[row], a.inverse, a.bias[m], row);
    }
#endif
}

#endif
