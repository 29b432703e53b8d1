// SPDX-License-Identifier: MIT
// Products of many rows with mma.sync: for GPUs that have no wgmma, and for mixtures, whose experts
// get a part of the rows each. See product.cuh.
#ifndef RILL_BACKEND_CUDA_PRODUCT_MANY_CUH
#define RILL_BACKEND_CUDA_PRODUCT_MANY_CUH

#include "backend/cuda/product.cuh"

// Many rows: a block has 64 rows of weights, 16 a warp, and 64 rows of x, which pass through shared
// memory 64 columns at a time, the next ones on their way meanwhile.
enum { MANY_ROWS = 64, STRIDE = RILL_TILE_COLUMNS + 8 };

// What a block works on: 64 rows of one matrix or expert, and rows [x_row, x_end) of x.
struct many_place {
    uint32_t matrix;
    uint32_t tile;       // of the matrix
    uint32_t first_out;  // the row of the matrix that is row 0 of out
    uint32_t rows;       // of out
    uint32_t x_row;
    uint32_t x_end;
};

static __device__ __forceinline__ many_place many_place_of(const product_args &a) {
    uint32_t x_row = blockIdx.y * MANY_ROWS, tile = 4 * blockIdx.x;
    if (a.first_of) {
        uint32_t first_out = blockIdx.z * a.part_rows;
        return {0,           tile + first_out / RILL_TILE_ROWS, first_out,
                a.part_rows, x_row + a.first_of[blockIdx.z],    a.first_of[blockIdx.z + 1]};
    }
    uint32_t m = matrix_of(a, tile);
    return {m, tile - a.first_tile[m], 0, a.weights[m].rows, x_row, a.n_rows};
}

static __device__ __forceinline__ void fetch_rows(const product_args &a, const many_place &p,
                                                  uint32_t column0, __half *to) {
    for (uint32_t i = threadIdx.x; i < MANY_ROWS * 8; i += blockDim.x) {
        uint32_t row = p.x_row + i / 8, column = column0 + i % 8 * 8;
        bool inside = row < p.x_end && column < a.columns;
        const __half *from = inside ? a.x + (size_t)row * a.columns + column : a.x;
        unsigned at = (unsigned)__cvta_generic_to_shared(to + i / 8 * STRIDE + i % 8 * 8);
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                     "r"(inside ? 16 : 0));
    }
    asm volatile("cp.async.commit_group;");
}

template <int KIND>
static __global__ void __launch_bounds__(128) product_many(const __grid_constant__ product_args a) {
    __shared__ __align__(16) __half x[2][MANY_ROWS * STRIDE];
    let_next_begin();
    wait_for_previous();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const many_place p = many_place_of(a);
    if (p.x_row >= p.x_end) return;
    const rill__cuda_packed &w = a.weights[p.matrix];
    uint32_t tile = p.tile + warp;
    bool inside = tile * RILL_TILE_ROWS < w.rows;
    size_t at = (size_t)tile * w.column_tiles;
    float total[8][4] = {}, c[8][4] = {};
    tile_words<KIND> words, next;
    if (inside) load_tile<KIND>(w, at, lane, &next);
    fetch_rows(a, p, 0, x[0]);
    for (uint32_t t = 0; t < w.column_tiles; t++) {
        words = next;
        asm volatile("cp.async.wait_group 0;");
        __syncthreads();
        if (t + 1 < w.column_tiles) {
            fetch_rows(a, p, (t + 1) * RILL_TILE_COLUMNS, x[(t + 1) % 2]);
            if (inside) load_tile<KIND>(w, at + t + 1, lane, &next);
        }
        const uint32_t *b = (const uint32_t *)x[t % 2] + lane / 4 * (STRIDE / 2) + lane % 4;
#pragma unroll
        for (int f = 0; f < 4; f++) {
            uint32_t v[4] = {};
            if (inside) unpack<KIND>(words, f, v);
#pragma unroll
            for (int n = 0; n < 8; n++)
                mma(c[n], v, b[n * 8 * (STRIDE / 2) + 8 * f], b[n * 8 * (STRIDE / 2) + 8 * f + 4]);
        }
        if (t % SEGMENT_TILES != SEGMENT_TILES - 1 && t + 1 < w.column_tiles) continue;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            total[i / 4][i % 4] += c[i / 4][i % 4];
            c[i / 4][i % 4] = 0;
        }
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
        uint32_t row = tile * RILL_TILE_ROWS + lane / 4 + 8 * (i % 4 / 2);
        uint32_t x_row = p.x_row + 8 * (i / 4) + 2 * (lane % 4) + i % 2;
        if (row >= p.first_out && row - p.first_out < p.rows && x_row < p.x_end)
            a.out[p.matrix][(size_t)x_row * p.rows + row - p.first_out] =
                finished(total[i / 4][i % 4], w.row_scales[row], a.inverse, a.bias[p.matrix], row);
    }
}

#endif
