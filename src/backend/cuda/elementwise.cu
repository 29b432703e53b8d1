// SPDX-License-Identifier: MIT
// What works on rows one by one: embeddings, norms, activations, sums.
//
// All of it is bound by memory, or at one row by how long a kernel takes to begin: numbers are read
// four at a time, and what a product reads next is written as float16 on the way.
#include "backend/cuda/cuda.h"
#include "backend/cuda/values.cuh"

enum { THREADS = 256 };

static unsigned pieces(size_t n, size_t piece) {
    return (unsigned)((n + piece - 1) / piece);
}

// Numbers of a thread's four, counted through a whole buffer.
static __device__ size_t my_four() {
    return 4 * ((size_t)blockIdx.x * blockDim.x + threadIdx.x);
}

// ---- Embedding ----------------------------------------------------------------------------------

static __global__ void embed_rows(float *out, rill_type type, const uint8_t *raw, size_t row_bytes,
                                  size_t columns, const rill_token *tokens, float scale) {
    size_t row = blockIdx.x, column = (size_t)blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const uint8_t *from = raw + (size_t)tokens[row] * row_bytes;
    out[row * columns + column] = __fmul_rn(rill__cuda_value(type, from, column), scale);
}

void rill__cuda_embed(rill__backend *be, rill__buffer *out, const rill__weight *weight,
                      const rill_token *tokens, size_t n_rows, float scale) {
    (void)tokens;  // the pass's, which the device has
    rill__cuda *cu = rill__cuda_of(be);
    dim3 grid((unsigned)n_rows, pieces(weight->columns, THREADS));
    embed_rows<<<grid, THREADS, 0, cu->stream>>>(rill__cuda_floats(out), weight->type, weight->raw,
                                                 weight->row_bytes, weight->columns,
                                                 cu->step.tokens, scale);
    RILL_CUDA_STARTED(cu, "embed");
    rill__cuda_wrote(out);
}

// ---- Norms --------------------------------------------------------------------------------------

struct norm_job {
    float *out;
    __half *half;  // NULL if nobody wants it
    const float *in;
    const float *weight;
    const float *bias;  // NULL: none
    float eps;
    bool centred;  // the mean is taken off: a layer norm
    size_t n_rows;
    size_t width;
};

template <typename real> static __device__ real warp_sum(real x) {
    for (int i = 16; i; i /= 2) x += __shfl_xor_sync(0xffffffff, x, i);
    return x;
}

// The sum over a row's threads: within warps by halves, then the warps' sums the same way, an order
// that follows from the number of threads. `warps` has room for 32 and is used once.
template <typename real> static __device__ real row_sum(real part, real *warps) {
    part = warp_sum(part);
    if (blockDim.x == 32) return part;
    unsigned lane = threadIdx.x % 32;
    if (lane == 0) warps[threadIdx.x / 32] = part;
    __syncthreads();
    return warp_sum(lane < blockDim.x / 32 ? warps[lane] : (real)0);
}

template <typename real> static __device__ real sum_of(const rill__cuda_four &f) {
    return ((real)f.x[0] + (real)f.x[1]) + ((real)f.x[2] + (real)f.x[3]);
}

// sum (x - mean)^2 of the first n
template <typename real>
static __device__ real squares_of(const rill__cuda_four &f, real mean, size_t n) {
    real sum = 0;
    for (int i = 0; i < 4; i++) {
        real off = (real)f.x[i] - mean;
        if (i < n) sum += off * off;
    }
    return sum;
}

// out = (x - mean) / sqrt(mean of (x - mean)^2 + eps) * weight + bias, where an RMS norm's mean and
// bias are 0. A row has the threads that blockDim.x says, and a block blockDim.y rows.
template <typename real> static __global__ void __launch_bounds__(1024) norm_rows(norm_job job) {
    __shared__ real warps[2][32];
    size_t row = (size_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= job.n_rows) return;
    const size_t width = job.width, first = 4 * threadIdx.x, step = 4 * blockDim.x;
    const float *x = job.in + row * width;
    // Read now: it is on its way while the sums are made.
    rill__cuda_four weight = rill__cuda_load4(job.weight, first, width);
    real mean = 0, squares = 0;
    if (job.centred) {
        for (size_t at = first; at < width; at += step)
            mean += sum_of<real>(rill__cuda_load4(x, at, width));
        mean = row_sum(mean, warps[0]) / (real)width;
    }
    for (size_t at = first; at < width; at += step)
        squares += squares_of(rill__cuda_load4(x, at, width), mean, width - at);
    real scale = 1 / sqrt(row_sum(squares, warps[1]) / (real)width + (real)job.eps);
    for (size_t at = first; at < width; at += step) {
        if (at != first) weight = rill__cuda_load4(job.weight, at, width);
        rill__cuda_four f = rill__cuda_load4(x, at, width), bias = {};
        if (job.bias) bias = rill__cuda_load4(job.bias, at, width);
        for (int i = 0; i < 4; i++)
            f.x[i] = (float)(((real)f.x[i] - mean) * scale * (real)weight.x[i] + (real)bias.x[i]);
        rill__cuda_store4(job.out + row * width, at, width, f);
        rill__cuda_store4_halves(job.half ? job.half + row * width : nullptr, at, width, f, 1);
    }
}

// Threads of a row: they follow from the width alone, as the order of the sums does. Short rows
// (heads) have a warp each, long ones up to 1024 threads.
static dim3 norm_threads(size_t width) {
    if (width <= 256) return dim3(32, 8);
    size_t warps = (width + 127) / 128;
    return dim3(32 * (unsigned)(warps < 32 ? warps : 32), 1);
}

void rill__cuda_norm(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                     const rill__weight *weight, const rill__weight *bias, rill__norm_kind kind,
                     float eps, size_t n_rows, size_t width) {
    rill__cuda *cu = rill__cuda_of(be);
    norm_job job = {};
    job.out = rill__cuda_floats(out);
    job.half = out->half;
    job.in = rill__cuda_floats(in);
    job.weight = weight->vector;
    job.centred = kind == RILL_NORM_LAYER;
    job.bias = bias && job.centred ? bias->vector : nullptr;
    job.eps = eps;
    job.n_rows = n_rows;
    job.width = width;
    dim3 threads = norm_threads(width);
    if (cu->exact)
        norm_rows<double><<<pieces(n_rows, threads.y), threads, 0, cu->stream>>>(job);
    else
        norm_rows<float><<<pieces(n_rows, threads.y), threads, 0, cu->stream>>>(job);
    RILL_CUDA_STARTED(cu, "norm");
    rill__cuda_wrote_halves(out, 1);
}

// ---- Numbers one by one -------------------------------------------------------------------------

// Comparisons let a NaN through.
static __global__ void clamp_all(float *x, float limit, size_t n) {
    size_t at = my_four();
    if (at >= n) return;
    rill__cuda_four f = rill__cuda_load4(x, at, n);
    for (int i = 0; i < 4; i++) f.x[i] = f.x[i] > limit ? limit : f.x[i] < -limit ? -limit : f.x[i];
    rill__cuda_store4(x, at, n, f);
}

void rill__cuda_clamp(rill__backend *be, rill__buffer *x, float limit, size_t n_rows,
                      size_t width) {
    rill__cuda *cu = rill__cuda_of(be);
    size_t n = n_rows * width;
    clamp_all<<<pieces(n, 4 * THREADS), THREADS, 0, cu->stream>>>(rill__cuda_floats(x), limit, n);
    RILL_CUDA_STARTED(cu, "clamp");
    rill__cuda_wrote(x);
}

template <typename real> static __global__ void cap_all(float *x, float cap, size_t n) {
    size_t at = my_four();
    if (at >= n) return;
    rill__cuda_four f = rill__cuda_load4(x, at, n);
    for (int i = 0; i < 4; i++) f.x[i] = (float)((real)cap * tanh((real)f.x[i] / (real)cap));
    rill__cuda_store4(x, at, n, f);
}

void rill__cuda_cap(rill__backend *be, rill__buffer *x, float cap, size_t n_rows, size_t width) {
    rill__cuda *cu = rill__cuda_of(be);
    size_t n = n_rows * width;
    unsigned blocks = pieces(n, 4 * THREADS);
    if (cu->exact)
        cap_all<double><<<blocks, THREADS, 0, cu->stream>>>(rill__cuda_floats(x), cap, n);
    else
        cap_all<float><<<blocks, THREADS, 0, cu->stream>>>(rill__cuda_floats(x), cap, n);
    RILL_CUDA_STARTED(cu, "cap");
    rill__cuda_wrote(x);
}

static __global__ void add_all(float *x, const float *y, size_t n) {
    size_t at = my_four();
    if (at >= n) return;
    rill__cuda_four f = rill__cuda_load4(x, at, n), g = rill__cuda_load4(y, at, n);
    for (int i = 0; i < 4; i++) f.x[i] += g.x[i];
    rill__cuda_store4(x, at, n, f);
}

void rill__cuda_add(rill__backend *be, rill__buffer *x, const rill__buffer *y, size_t n_rows,
                    size_t width) {
    rill__cuda *cu = rill__cuda_of(be);
    size_t n = n_rows * width;
    add_all<<<pieces(n, 4 * THREADS), THREADS, 0, cu->stream>>>(rill__cuda_floats(x),
                                                                rill__cuda_floats(y), n);
    RILL_CUDA_STARTED(cu, "add");
    rill__cuda_wrote(x);
}

// ---- Activations --------------------------------------------------------------------------------

// act(x) * up; see rill__activation. (1 + erf(y)) is written erfc(-y), and (1 + tanh(y)) / 2 as
// 1 / (1 + exp(-2 y)), for in float the sums lose what a negative x leaves of them.
template <typename real>
static __device__ real activated(rill__activation act, real x, real up, real limit) {
    switch (act) {
    case RILL_ACT_SILU: return x / (1 + exp(-x)) * up;
    case RILL_ACT_GELU: return (real)0.5 * x * erfc(x * (real)-0.70710678118654752440) * up;
    case RILL_ACT_GELU_TANH: {
        real inner = (real)0.79788456080286535588 * (x + (real)0.044715 * x * x * x);
        return x / (1 + exp(-2 * inner)) * up;
    }
    default: {  // clamped SwiGLU; comparisons let a NaN through
        x = x > limit ? limit : x;
        up = up > limit ? limit : up < -limit ? -limit : up;
        return x / (1 + exp((real)-1.702 * x)) * (up + 1);
    }
    }
}

template <typename real>
static __global__ void activate_all(float *out, __half *half, const float *gate, const float *up,
                                    rill__activation act, float limit, size_t n) {
    size_t at = my_four();
    if (at >= n) return;
    rill__cuda_four g = rill__cuda_load4(gate, at, n), u = {{1, 1, 1, 1}};
    if (up) u = rill__cuda_load4(up, at, n);
    for (int i = 0; i < 4; i++)
        g.x[i] = (float)activated(act, (real)g.x[i], (real)u.x[i], (real)limit);
    rill__cuda_store4(out, at, n, g);
    rill__cuda_store4_halves(half, at, n, g, RILL_CUDA_GATED_SCALE);
}

void rill__cuda_activate(rill__backend *be, rill__buffer *out, const rill__buffer *gate,
                         const rill__buffer *up, rill__activation act, float limit, size_t n_rows,
                         size_t width) {
    rill__cuda *cu = rill__cuda_of(be);
    size_t n = n_rows * width;
    unsigned blocks = pieces(n, 4 * THREADS);
    float *to = rill__cuda_floats(out);
    const float *g = rill__cuda_floats(gate), *u = up ? rill__cuda_floats(up) : nullptr;
    if (cu->exact)
        activate_all<double>
            <<<blocks, THREADS, 0, cu->stream>>>(to, out->half, g, u, act, limit, n);
    else
        activate_all<float><<<blocks, THREADS, 0, cu->stream>>>(to, out->half, g, u, act, limit, n);
    RILL_CUDA_STARTED(cu, "activate");
    rill__cuda_wrote_halves(out, RILL_CUDA_GATED_SCALE);
}

// ---- Rows ---------------------------------------------------------------------------------------

static __global__ void copy_rows(float *out, __half *half, const float *in, const uint32_t *rows,
                                 size_t width) {
    size_t to = blockIdx.x * width, from = rows[blockIdx.x] * width;
    size_t at = 4 * ((size_t)blockIdx.y * blockDim.x + threadIdx.x);
    if (at >= width) return;
    rill__cuda_four f = rill__cuda_load4(in + from, at, width);
    rill__cuda_store4(out + to, at, width, f);
    rill__cuda_store4_halves(half ? half + to : nullptr, at, width, f, 1);
}

void rill__cuda_select_rows(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                            const uint32_t *rows, size_t n_rows, size_t width) {
    rill__cuda *cu = rill__cuda_of(be);
    // Where the device has these row numbers, which are some of the pass's.
    const uint32_t *wanted = cu->step.wanted + (rows - cu->pass->wanted);
    dim3 grid((unsigned)n_rows, pieces(width, 4 * THREADS));
    copy_rows<<<grid, THREADS, 0, cu->stream>>>(rill__cuda_floats(out), out->half,
                                                rill__cuda_floats(in), wanted, width);
    RILL_CUDA_STARTED(cu, "select_rows");
    rill__cuda_wrote_halves(out, 1);
}
