// SPDX-License-Identifier: MIT
// Products of activations with packed weights, on tensor cores.
//
// out[r, o] = row_scale[o] / half_scale * sum_c W[o, c] x[r, c] + bias[o], W and x in float16, sums
// in float32. Weights are the M side of mma.m16n8k16, rows of the batch its N side. The columns are
// cut into segments of 512; a segment's sum goes through the fragments in the order of columns,
// from zero; segments are added in their order. Every kernel here keeps to that, so a row has the
// same bits whatever is computed beside it, and few rows can spread a sum over many warps.
#ifndef RILL_BACKEND_CUDA_PRODUCT_CUH
#define RILL_BACKEND_CUDA_PRODUCT_CUH

#include "backend/cuda/activation.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/mma.cuh"
#include "backend/cuda/norm.cuh"
#include "backend/cuda/weights.cuh"

// Matrices of a product begin at multiples of MATRIX_TILES: no block has row tiles of two.
enum { MATRIX_TILES = 8 };
enum { SEGMENT_TILES = 8, MOST_WARPS = 16, MOST_MATRICES = 3, MOST_FEW_ROWS = 32 };

// What becomes of a product: it is stored; gate and up (or up alone) are activated; or it is added
// to what is there.
enum after_products { AFTER_STORE, AFTER_ACTIVATE, AFTER_ADD };

// Matrices that meet the same rows, one below the other.
struct product_args {
    const __half *x;  // [n_rows, columns]
    uint32_t n_rows;
    uint32_t columns;
    float inverse;  // 1 / half_scale
    uint32_t n_matrices;
    rill__cuda_packed weights[MOST_MATRICES];
    const float *bias[MOST_MATRICES];
    float *out[MOST_MATRICES];               // [n_rows, weights.rows]
    uint32_t first_tile[MOST_MATRICES + 1];  // of rows
    // Of a mixture: row i of x meets rows [expert * part_rows, + part_rows) of the matrix, where
    // expert_of tells expert_of[i]; or rows of x lie by expert, those of the first from
    // first_of[0] = 0 on, then those of the next.
    const uint32_t *expert_of;
    const uint32_t *first_of;
    uint32_t part_rows;
    // What a stage (backend.h) has before and behind.
    const float
        *normed;  // [columns] of few rows: the only row, which is normed before; NULL: x is there
    norm_of_rows norm;
    after_products after;
    rill__activation activation;
    float limit;
    __half *half;  // of out[0], activated; of many rows out[0] may then be NULL
};

// The last step of every product, never contracted.
static __device__ __forceinline__ float finished(float sum, float row_scale, float inverse,
                                                 const float *bias, uint32_t row) {
    float y = __fmul_rn(__fmul_rn(sum, row_scale), inverse);
    return bias ? __fadd_rn(y, bias[row]) : y;
}

static __device__ __forceinline__ uint32_t matrix_of(const product_args &a, uint32_t tile) {
    uint32_t m = 0;
    while (m + 1 < a.n_matrices && tile >= a.first_tile[m + 1]) m++;
    return m;
}

static __device__ __forceinline__ uint32_t segment_tiles(const rill__cuda_packed &w, uint32_t s) {
    return min((uint32_t)SEGMENT_TILES, w.column_tiles - s * SEGMENT_TILES);
}

// A row's scale and what is to be added to its number, where somebody has them already.
struct finish_operands {
    float row_scales[2];  // with a gate: the gate's, up's
    float before;
};

// One number of a product: its segments' sums, `stride` apart, and what comes after it. With a gate
// they are the gate's, and up's follow.
static __device__ __forceinline__ void finish_product(const product_args &a, uint32_t matrix,
                                                      uint32_t row, size_t at, const float *parts,
                                                      uint32_t stride, uint32_t n_segments,
                                                      const finish_operands &o) {
    auto sum = [&](uint32_t m, const float *from, float row_scale) {
        float s = 0;
#pragma unroll 8
        for (uint32_t i = 0; i < n_segments; i++) s += from[i * stride];
        return finished(s, row_scale, a.inverse, a.bias[m], row);
    };
    if (a.after == AFTER_ACTIVATE) {
        float gate = sum(0, parts, o.row_scales[0]), up = 1;
        if (a.n_matrices > 1) up = sum(1, parts + n_segments * stride, o.row_scales[1]);
        float y = activated(a.activation, gate, up, a.limit);
        a.out[0][at] = y;
        if (a.half) a.half[at] = __float2half_rn(y * RILL_CUDA_GATED_SCALE);
        return;
    }
    float y = sum(matrix, parts, o.row_scales[0]);
    a.out[matrix][at] = a.after == AFTER_ADD ? __fadd_rn(o.before, y) : y;
}

static __device__ __forceinline__ finish_operands scales_of(const product_args &a, uint32_t matrix,
                                                            uint32_t row) {
    finish_operands o = {};
    o.row_scales[0] = a.weights[matrix].row_scales[row];
    if (a.after == AFTER_ACTIVATE && a.n_matrices > 1)
        o.row_scales[1] = a.weights[1].row_scales[row];
    return o;
}

// Many rows on Hopper, see product_wide.cuh; not of a mixture.
void rill__cuda_product_wide(rill__cuda *cu, const product_args *a);

#endif
