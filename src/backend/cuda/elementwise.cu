// SPDX-License-Identifier: MIT
// What works on rows one by one: embeddings, norms, activations, sums.
//
// All of it is bound by memory, or at one row by how long a kernel takes to begin: numbers are read
// four at a time, and what a product reads next is written as float16 on the way.
#include "backend/cuda/activation.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/norm.cuh"

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
    let_next_begin();
    wait_for_previous();
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
    rill__cuda_start(cu, "embed", embed_rows, grid, THREADS, 0, rill__cuda_floats(out),
                     weight->type, weight->raw, weight->row_bytes, weight->columns, cu->step.tokens,
                     scale);
    rill__cuda_wrote(out);
}

// ---- Norms --------------------------------------------------------------------------------------

// A row has the threads that blockDim.x says, and a block blockDim.y rows.
template <typename real>
static __global__ void __launch_bounds__(1024)
    norm_rows(norm_of_rows n, float *out, __half *half, const float *in, size_t n_rows) {
    __shared__ real warps[64];
    let_next_begin();
    wait_for_previous();
    size_t row = (size_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= n_rows) return;
    const float *x = in + row * n.width;
    norm_state<real> s = norm_row(n, x, warps);
    for (uint32_t at = 4 * threadIdx.x; at < n.width; at += 4 * blockDim.x) {
        rill__cuda_four f = norm_four(n, s, x, at);
        if (out) rill__cuda_store4(out + row * n.width, at, n.width, f);
        rill__cuda_store4_halves(half ? half + row * n.width : nullptr, at, n.width, f, 1);
    }
}

static void start_norm(rill__cuda *cu, const norm_of_rows &n, float *floats, rill__buffer *out,
                       const rill__buffer *in, size_t n_rows) {
    dim3 block(norm_lanes(n.width), n.width <= 256 ? 8 : 1);
    rill__cuda_start(cu, "norm", cu->exact ? norm_rows<double> : norm_rows<float>,
                     pieces(n_rows, block.y), block, 0, n, floats, out->half, rill__cuda_floats(in),
                     n_rows);
    rill__cuda_wrote_halves(out, 1);
}

void rill__cuda_norm(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                     const rill__weight *weight, const rill__weight *bias, rill__norm_kind kind,
                     float eps, size_t n_rows, size_t width) {
    start_norm(rill__cuda_of(be), norm_with(weight, bias, kind, eps, width), rill__cuda_floats(out),
               out, in, n_rows);
}

void rill__cuda_norm_halves(rill__cuda *cu, rill__buffer *out, const rill__buffer *in,
                            const rill__weight *weight, const rill__weight *bias,
                            rill__norm_kind kind, float eps, size_t n_rows, size_t width) {
    start_norm(cu, norm_with(weight, bias, kind, eps, width), nullptr, out, in, n_rows);
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
    let_next_begin();
    wait_for_previous();
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
    rill__cuda_start(cu, "add", add_all, pieces(n, 4 * THREADS), THREADS, 0, rill__cuda_floats(x),
                     rill__cuda_floats(y), n);
    rill__cuda_wrote(x);
}

// ---- Activations --------------------------------------------------------------------------------

template <typename real>
static __global__ void activate_all(float *out, __half *half, const float *gate, const float *up,
                                    rill__activation act, float limit, size_t n) {
    let_next_begin();
    wait_for_previous();
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
    if (!rill__cuda_take_halves(cu, out)) return;
    size_t n = n_rows * width;
    unsigned blocks = pieces(n, 4 * THREADS);
    float *to = rill__cuda_floats(out);
    const float *g = rill__cuda_floats(gate), *u = up ? rill__cuda_floats(up) : nullptr;
    rill__cuda_start(cu, "activate", cu->exact ? activate_all<double> : activate_all<float>, blocks,
                     THREADS, 0, to, out->half, g, u, act, limit, n);
    rill__cuda_wrote_halves(out, RILL_CUDA_GATED_SCALE);
}

// ---- Rows ---------------------------------------------------------------------------------------

static __global__ void copy_rows(float *out, __half *half, const float *in, const uint32_t *rows,
                                 size_t width) {
    let_next_begin();
    size_t to = blockIdx.x * width, from = rows[blockIdx.x] * width;
    wait_for_previous();
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
    rill__cuda_start(cu, "select_rows", copy_rows, grid, THREADS, 0, rill__cuda_floats(out),
                     out->half, rill__cuda_floats(in), wanted, width);
    rill__cuda_wrote_halves(out, 1);
}
