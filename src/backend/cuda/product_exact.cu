// SPDX-License-Identifier: MIT
// Exact products: the CPU's reference on the device. Weights of any type are read as floats where
// the file has them, and sums are made in double: what other products are tested against, and all
// there is for types that nothing faster multiplies.
//
// A warp has one number of the result: lanes take every 32nd column, and their sums are added by
// halves, an order that follows from the width alone.
#include "backend/cuda/cuda.h"
#include "backend/cuda/values.cuh"

enum {
    WARPS = 8,  // of a block, a row of weights each
    ROWS = 4,   // of the batch that a warp takes through its row of weights
};

struct exact_job {
    const float *in;  // [n_rows, columns]
    float *out;
    size_t out_stride;
    size_t n_rows;
    size_t rows;  // of weights
    size_t columns;
    rill_type type;
    const uint8_t *raw;  // from the first row on
    size_t row_bytes;
    const float *bias;          // the same, NULL: none
    const uint32_t *expert_of;  // routed alone: [n_rows]
};

// sum_i w[i] * x[i] of up to ROWS rows x, columns apart; every lane has the sums.
static __device__ void dots(const exact_job *job, const uint8_t *w, const float *x, size_t n,
                            double *sums) {
    for (size_t i = threadIdx.x; i < job->columns; i += 32) {
        double weight = rill__cuda_value(job->type, w, i);
        for (int r = 0; r < ROWS; r++)
            if (r < n) sums[r] += weight * x[r * job->columns + i];
    }
    for (int r = 0; r < ROWS; r++)
        for (int i = 16; i; i /= 2) sums[r] += __shfl_xor_sync(0xffffffff, sums[r], i);
}

// As the CPU: the sum is rounded to float before the bias is added.
static __device__ float biased(double sum, const float *bias, size_t o) {
    return bias ? __fadd_rn((float)sum, bias[o]) : (float)sum;
}

static __global__ void product_rows(exact_job job) {
    size_t o = (size_t)blockIdx.x * WARPS + threadIdx.y, first = (size_t)blockIdx.y * ROWS;
    if (o >= job.rows) return;
    double sums[ROWS] = {};
    size_t n = job.n_rows - first;
    dots(&job, job.raw + o * job.row_bytes, job.in + first * job.columns, n, sums);
    for (int r = 0; r < ROWS; r++)
        if (r < n && threadIdx.x == 0)
            job.out[(first + r) * job.out_stride + o] = biased(sums[r], job.bias, o);
}

void rill__cuda_product_exact(rill__cuda *cu, const float *in, size_t n_rows,
                              const rill__weight *weight, size_t first, size_t rows,
                              const float *bias, float *out, size_t out_stride) {
    exact_job job = {};
    job.in = in;
    job.out = out;
    job.out_stride = out_stride;
    job.n_rows = n_rows;
    job.rows = rows;
    job.columns = weight->columns;
    job.type = weight->type;
    job.raw = weight->raw + first * weight->row_bytes;
    job.row_bytes = weight->row_bytes;
    job.bias = bias ? bias + first : nullptr;
    dim3 grid((unsigned)((rows + WARPS - 1) / WARPS), (unsigned)((n_rows + ROWS - 1) / ROWS));
    product_rows<<<grid, dim3(32, WARPS), 0, cu->stream>>>(job);
    RILL_CUDA_STARTED(cu, "product_exact");
}

// Each row of `in` meets the weights of its own expert.
static __global__ void product_routed(exact_job job) {
    size_t i = blockIdx.x, o = (size_t)blockIdx.y * WARPS + threadIdx.y;
    if (o >= job.rows) return;
    double sums[ROWS] = {};
    size_t at = job.expert_of[i] * job.rows + o;
    dots(&job, job.raw + at * job.row_bytes, job.in + i * job.columns, 1, sums);
    if (threadIdx.x == 0) job.out[i * job.rows + o] = biased(sums[0], job.bias, at);
}

// out[i, o] = W[expert_of[i] * rows + o] . in[i] + bias[expert_of[i] * rows + o], [n, rows]
void rill__cuda_product_routed_exact(rill__cuda *cu, const rill__buffer *in,
                                     const rill__weight *weight, const rill__weight *bias,
                                     rill__buffer *out, const uint32_t *expert_of, size_t n,
                                     size_t rows) {
    exact_job job = {};
    job.in = rill__cuda_floats(in);
    job.out = rill__cuda_floats(out);
    job.n_rows = n;
    job.rows = rows;
    job.columns = weight->columns;
    job.type = weight->type;
    job.raw = weight->raw;
    job.row_bytes = weight->row_bytes;
    job.bias = bias ? bias->vector : nullptr;
    job.expert_of = expert_of;
    dim3 grid((unsigned)n, (unsigned)((rows + WARPS - 1) / WARPS));
    product_routed<<<grid, dim3(32, WARPS), 0, cu->stream>>>(job);
    RILL_CUDA_STARTED(cu, "product_routed_exact");
    rill__cuda_wrote(out);
}
