// SPDX-License-Identifier: MIT
// What becomes of the sums of a piece: see product_wide.cuh.
#ifndef RILL_BACKEND_CUDA_PRODUCT_SUMS_CUH
#define RILL_BACKEND_CUDA_PRODUCT_SUMS_CUH

#include "backend/cuda/product_pieces.cuh"

#ifdef RILL_WGMMA

// What a thread's sums become: number i is of row `row` + 8 (i % 4 / 2) of the matrix and row
// `x_row` + 8 (i / 4) + i % 2 of x.
struct wide_sums {
    uint32_t matrix;
    uint32_t rows;  // of the matrix
    uint32_t row;
    uint32_t x_row;
    uint32_t n_rows;  // of x

    __device__ __forceinline__ size_t at(uint32_t i) const {
        return (size_t)(x_row + 8 * (i / 4) + i % 2) * rows + row + 8 * (i % 4 / 2);
    }
    __device__ __forceinline__ bool inside(uint32_t i) const {
        return x_row + 8 * (i / 4) + i % 2 < n_rows && row + 8 * (i % 4 / 2) < rows;
    }
};

template <int N>
static __device__ __forceinline__ void finish_sums(const product_args &a, const wide_sums &s,
                                                   float (&y)[N]) {
    const rill__cuda_packed &w = a.weights[s.matrix];
    const float *bias = a.bias[s.matrix];
    float scales[2], biases[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        bool inside = s.row + 8 * i < s.rows;
        scales[i] = inside ? w.row_scales[s.row + 8 * i] : 0;
        biases[i] = inside && bias ? bias[s.row + 8 * i] : 0;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        y[i] = finished(y[i], scales[i % 4 / 2], a.inverse, nullptr, 0);
        if (bias) y[i] = __fadd_rn(y[i], biases[i % 4 / 2]);
    }
}

// Stored, or added to what is there, which is read many numbers at a time.
template <int N>
static __device__ __forceinline__ void store_sums(const product_args &a, const wide_sums &s,
                                                  const float (&y)[N]) {
    float *out = a.out[s.matrix];
#pragma unroll
    for (int part = 0; part < N; part += 32) {
        float z[32];
#pragma unroll
        for (int i = 0; i < 32; i++)
            z[i] = a.after == AFTER_ADD && part + i < N && s.inside(part + i) ? out[s.at(part + i)]
                                                                              : 0;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            if (part + i >= N) break;
            float value = y[part + i];
            if (a.after == AFTER_ADD) value = __fadd_rn(z[i], value);
            if (s.inside(part + i)) out[s.at(part + i)] = value;
        }
    }
}

// A thread leaves its sums: number i is of row lane / 4 + 8 (i % 4 / 2) of the warp's and row
// 2 (lane % 4) + 8 (i / 4) + i % 2 of x.
template <class S>
static __device__ __forceinline__ void leave_sums(float *sums, int lane,
                                                  const float (&total)[S::rows / 2]) {
    float *to = sums + lane % 4 * 2 * S::sums_columns + threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < S::rows / 2; i++)
        to[(i / 4 * 8 + i % 2) * S::sums_columns + i % 4 / 2 * 8] = total[i];
}

// Four of a thread's sums, of rows from `row` on of the matrix.
static __device__ __forceinline__ rill__cuda_four finish_four(const product_args &a,
                                                              uint32_t matrix, uint32_t row,
                                                              const rill__cuda_four &scales,
                                                              const float *sums) {
    rill__cuda_four y = *(const rill__cuda_four *)sums;
#pragma unroll
    for (int i = 0; i < 4; i++) y.x[i] = finished(y.x[i], scales.x[i], a.inverse, nullptr, 0);
    const float *bias = a.bias[matrix];
    if (!bias) return y;
    rill__cuda_four b = rill__cuda_load4(bias, row, a.weights[matrix].rows);
#pragma unroll
    for (int i = 0; i < 4; i++) y.x[i] = __fadd_rn(y.x[i], b.x[i]);
    return y;
}

// Threads, number `thread` of n, activate a piece's sums. Where gate and up meet, gate's rows lie
// before up's.
template <class S>
static __device__ __forceinline__ void activate_sums(const product_args &a, const wide_place &at,
                                                     uint32_t x_row0, const float *sums,
                                                     uint32_t thread, uint32_t n) {
    bool paired = is_paired(a);
    uint32_t fours = paired ? 16 : 32, first = thread % fours * 4;
    uint32_t width = a.weights[0].rows, column = at.tile * RILL_TILE_ROWS + first;
    uint32_t n_rows = min((uint32_t)S::rows, a.n_rows - x_row0);
    if (column >= width) return;
    const rill__cuda_four gate_scales = rill__cuda_load4(a.weights[0].row_scales, column, width);
    const rill__cuda_four up_scales = rill__cuda_load4(a.weights[paired].row_scales, column, width);
#pragma unroll 1
    for (uint32_t r = thread / fours; r < n_rows; r += n / fours) {
        const float *from = sums + r * S::sums_columns + first;
        rill__cuda_four y = finish_four(a, 0, column, gate_scales, from), up = {1, 1, 1, 1};
        if (paired) up = finish_four(a, 1, column, up_scales, from + 64);
#pragma unroll
        for (int j = 0; j < 4; j++) y.x[j] = activated(a.activation, y.x[j], up.x[j], a.limit);
        size_t row = (size_t)(x_row0 + r) * width;
        if (a.out[0]) rill__cuda_store4(a.out[0] + row, column, width, y);
        rill__cuda_store4_halves(a.half ? a.half + row : nullptr, column, width, y,
                                 RILL_CUDA_GATED_SCALE);
    }
}
#endif

#endif
