// SPDX-License-Identifier: MIT
// What the files of the CUDA backend share: the backend, its memory, and how a kernel is started.
//
// Everything runs on one stream of the device, in order. What a pass works on (tokens, rows, runs,
// wanted rows) lies in device memory, at the same place for every pass (`rill__cuda_step`), so that
// a pass of the same shape can be replayed as a graph: nothing that changes from token to token is
// ever an argument of a kernel.
//
// Determinism as backend.h demands: no atomics on floats; sums are cut by the numbers of tokens or
// columns, never by how many rows or threads there are.
#ifndef RILL_BACKEND_CUDA_H
#define RILL_BACKEND_CUDA_H

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdint.h>

extern "C" {
#include "backend/backend.h"
}

// Floats of a buffer that products read, rounded to float16, made by who writes the floats. A
// number is stored as x * half_scale (a power of two), so that none is too large for 16 bits.
struct rill__buffer {
    uint8_t *data;
    size_t bytes;
    __half *half;      // as many numbers as `data` has floats, or NULL: nobody multiplies it
    bool half_fresh;   // `half` is what `data` is
    float half_scale;  // of what is in `half`
    bool in_step;      // kernels find it through `step` alone: no graph has its address
};

// A matrix or a vector on the device. Vectors are float32. A matrix is kept as the file has it
// (`raw`: rows of row_bytes), or packed for products (pack.h).
struct rill__weight {
    rill_type type;
    size_t rows;
    size_t columns;
    float *vector;  // [columns] of a vector
    uint8_t *raw;   // [rows, row_bytes]
    size_t row_bytes;
    struct rill__cuda_packed *packed;  // host memory; NULL where `raw` is multiplied
};

// One stream's cache in one layer, as kernels see it.
struct rill__cuda_kv {
    uint8_t *keys;
    uint8_t *values;
    int key_type;
    int value_type;
    uint32_t key_row_bytes;
    uint32_t value_row_bytes;
    uint32_t n_sinks;
    uint32_t ring_rows;
    float sink_scale;
    float sink_cap;
};

// A run of the pass, as kernels see it.
struct rill__cuda_run {
    uint32_t first_row;
    uint32_t n_rows;
};

// A choice of the pass (backend.h), as kernels see it.
struct rill__cuda_choice {
    float *kept;  // NULL: none is made
    double draw;
    float temperature;
    float top_p;
    float min_p;
    uint32_t top_k;
    uint32_t first_adjustment;
    uint32_t n_biases;
    uint32_t n_adjustments;
};

// Where what a pass works on lies on the device.
struct rill__cuda_step {
    rill_token *tokens;             // [n_rows]
    rill__row *rows;                // [n_rows]
    uint32_t *run_of;               // [n_rows] the run that a row is in
    uint32_t *wanted;               // [n_wanted]
    rill__cuda_choice *choices;     // [n_wanted]
    rill__adjustment *adjustments;  // of all choices
    rill__cuda_run *runs;           // [n_runs]
    rill__cuda_kv *caches;          // [n_layers, n_runs]
    // Of a run's ropes, as rill__rope has them: two are `rope` and `local_rope`.
    uint64_t *phase_steps;  // [2, n_runs, n_pairs]
    float *magnitudes;      // [2, n_runs]
    double *fades;          // [n_runs, n_pairs] of `rope`, xPos alone
    uint64_t *fade_blocks;  // [n_runs]
};

struct rill__cuda {
    rill__backend base;
    int device;
    int processors;       // multiprocessors
    size_t shared_bytes;  // of shared memory that a multiprocessor has
    int architecture;     // 90 for compute capability 9.0
    bool exact;
    cudaStream_t stream;
    uint64_t n_started;      // kernels of rill__cuda_start
    uint64_t large_started;  // the last of them that took more than half of shared memory
    rill__cuda_step step;
    const rill__pass *pass;  // the one that began and has not ended
    rill_token *chosen;      // [logits_rows] of its turn of choices, where both sides see it
    size_t first_choice;     // of that turn
    size_t n_choices;        // 0: nothing was chosen since `synchronize`
    size_t max_rows;         // what was reserved
    size_t max_visible;
    size_t max_width;
    uint8_t *attend_scratch;  // for attend.cu alone, rill__cuda_attend_scratch_bytes
    rill_status failed;       // the first failure since `synchronize`
    rill_error failure;
    struct rill__cuda_host *host;  // backend.cu's own
};

// The backend behind a table.
static inline rill__cuda *rill__cuda_of(rill__backend *be) {
    return (rill__cuda *)be;
}

// What a buffer holds, on the device.
static inline float *rill__cuda_floats(const rill__buffer *b) {
    return (float *)(void *)b->data;
}

// Keeps a failure of the runtime for `synchronize`, with the call and its place. True if it failed.
bool rill__cuda_failed(rill__cuda *cu, cudaError_t error, const char *call, const char *file,
                       int line);
#define RILL_CUDA_TRY(cu, call) rill__cuda_failed(cu, call, #call, __FILE__, __LINE__)
// Behind every start of a kernel.
#define RILL_CUDA_STARTED(cu, name)                                                                \
    rill__cuda_failed(cu, cudaPeekAtLastError(), name, __FILE__, __LINE__)

// Who writes a buffer's floats says what its halves are: not what the floats are any more, or
// written along with them, times `scale`. Writers that are asked for halves (out->half is not NULL)
// and can write them should.
static inline void rill__cuda_wrote(rill__buffer *out) {
    out->half_fresh = false;
}
static inline void rill__cuda_wrote_halves(rill__buffer *out, float scale) {
    out->half_fresh = out->half != nullptr;
    out->half_scale = scale;
}

// Takes a buffer's halves if it has none. Who writes halves that are not simply the floats must
// have them from the first pass on, for products would make others.
bool rill__cuda_take_halves(rill__cuda *cu, rill__buffer *buffer);

// Gated activations grow beyond float16's range in some models; divided by this much they are far
// from both of its ends.
constexpr float RILL_CUDA_GATED_SCALE = 1.0f / 16;

// The row of a token in a cache: rill__kv_row.
__host__ __device__ static inline size_t rill__cuda_kv_row(const rill__cuda_kv *kv,
                                                           uint64_t token) {
    if (token < kv->n_sinks) return (size_t)token;
    return kv->n_sinks + (size_t)((token - kv->n_sinks) % kv->ring_rows);
}

// The operations, as backend.h has them.
void rill__cuda_embed(rill__backend *be, rill__buffer *out, const rill__weight *weight,
                      const rill_token *tokens, size_t n_rows, float scale);
void rill__cuda_norm(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                     const rill__weight *weight, const rill__weight *bias, rill__norm_kind kind,
                     float eps, size_t n_rows, size_t width);
void rill__cuda_project(rill__backend *be, const rill__buffer *in, size_t n_rows,
                        const rill__projection *projections, size_t n_projections,
                        rill__precision precision);
bool rill__cuda_stage(rill__backend *be, const rill__stage *stage);
void rill__cuda_clamp(rill__backend *be, rill__buffer *x, float limit, size_t n_rows, size_t width);
void rill__cuda_cap(rill__backend *be, rill__buffer *x, float cap, size_t n_rows, size_t width);
void rill__cuda_rotary_table(rill__backend *be, rill__buffer *out, const rill__row *rows,
                             size_t n_rows, const rill__run *runs, size_t n_runs, bool local);
void rill__cuda_rotate_store(rill__backend *be, const rill__buffer *table, rill__buffer *q,
                             rill__buffer *q_sink, rill__buffer *q_previous, rill__buffer *k,
                             const rill__buffer *v, const rill__row *rows, size_t n_rows,
                             const rill__run *runs, size_t n_runs, uint32_t layer, bool local,
                             uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim);
bool rill__cuda_attend_step(rill__backend *be, const rill__attention *a);
void rill__cuda_attend(rill__backend *be, const rill__attention *a);
void rill__cuda_activate(rill__backend *be, rill__buffer *out, const rill__buffer *gate,
                         const rill__buffer *up, rill__activation act, float limit, size_t n_rows,
                         size_t width);
void rill__cuda_experts(rill__backend *be, const rill__experts *e);
void rill__cuda_add(rill__backend *be, rill__buffer *x, const rill__buffer *y, size_t n_rows,
                    size_t width);
void rill__cuda_select_rows(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                            const uint32_t *rows, size_t n_rows, size_t width);
void rill__cuda_choose(rill__backend *be, rill__buffer *logits, const rill__choice *const *choices,
                       size_t n_rows, size_t vocab_size);
rill_status rill__cuda_measure(rill__backend *be, rill_roof *out, rill_error *err);

// Exact products: raw weights of any type as floats, sums in double. (product_exact.cu) `weight`
// and `bias` may be parts of a mixture's, from row `first` on.
void rill__cuda_product_exact(rill__cuda *cu, const float *in, size_t n_rows,
                              const rill__weight *weight, size_t first, size_t rows,
                              const float *bias, float *out, size_t out_stride);

// Which expert a row takes, on the device: rows lie as they come, or by expert.
struct rill__cuda_routes {
    size_t n;       // rows times experts of a row
    size_t n_rows;  // the most that an expert may have
    uint32_t n_experts;
    bool by_expert;
    uint32_t *expert_of;  // [n] of rows as they come
    uint32_t *first_of;   // [n_experts + 1] where an expert's rows begin, where they lie by expert
};

// out[i, o] = W[expert * rows + o] . in[i] + bias[expert * rows + o], with row i's expert: of
// packed weights, and of raw ones as rows come (product_exact.cu).
void rill__cuda_product_routed(rill__cuda *cu, const rill__buffer *in, const rill__weight *weight,
                               const rill__weight *bias, rill__buffer *out,
                               const rill__cuda_routes &routes, size_t rows);
void rill__cuda_product_routed_exact(rill__cuda *cu, const rill__buffer *in,
                                     const rill__weight *weight, const rill__weight *bias,
                                     rill__buffer *out, const uint32_t *expert_of, size_t n,
                                     size_t rows);

// A norm for products alone: halves are written, floats are not. (elementwise.cu)
void rill__cuda_norm_halves(rill__cuda *cu, rill__buffer *out, const rill__buffer *in,
                            const rill__weight *weight, const rill__weight *bias,
                            rill__norm_kind kind, float eps, size_t n_rows, size_t width);

// Bytes that attention keeps between its kernels, for so many rows, visible tokens, and a width of
// all heads together. (attend.cu)
size_t rill__cuda_attend_scratch_bytes(size_t max_rows, size_t max_visible, size_t max_width);

#endif
