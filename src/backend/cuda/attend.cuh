// SPDX-License-Identifier: MIT
// What the kernels of attention share: their arguments, what a row sees, how a softmax is put
// together. See attend.cu.
#ifndef RILL_BACKEND_CUDA_ATTEND_CUH
#define RILL_BACKEND_CUDA_ATTEND_CUH

#include "backend/cuda/cuda.h"

enum { RILL_CUDA_ALIBI_HEADS = 256 };

// One call, as kernels see it. What changes from pass to pass is behind the pointers.
struct attend_args {
    const float *q;           // [n_rows, n_heads, head_dim]
    const float *q_sink;      // the same
    const float *q_previous;  // the same, or NULL: not xPos
    float *out;               // the same
    __half *half;             // the same, or NULL
    float *weights;           // [n_rows, n_heads, weights_stride] or NULL
    size_t weights_stride;
    const rill__row *rows;
    const rill__cuda_run *runs;
    const uint32_t *run_of;
    const rill__cuda_kv *caches;  // [n_runs] of the layer
    const uint64_t *fade_blocks;
    const float *sink_logits;  // [n_heads] or NULL
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t group;  // query heads that share a key-value head
    uint32_t head_dim;
    uint32_t window;
    float scale;
    bool off_by_one;
    bool alibi;
    float slopes[RILL_CUDA_ALIBI_HEADS];
};

struct span {
    uint64_t begin, end;  // tokens
};

// What a row sees: rill__seen_by_row.
static __device__ __forceinline__ span seen_by_row(uint32_t window, const rill__row &row,
                                                   bool sinks) {
    span s = {sinks ? 0 : row.first_recent, sinks ? (uint64_t)row.n_sinks : row.token + 1};
    uint64_t place = sinks ? row.sink_pos : row.token;
    if (window && place >= window && s.begin < place - window + 1) s.begin = place - window + 1;
    if (s.begin > s.end) s.begin = s.end;
    return s;
}

// Keys of tokens before this one meet the queries of q_previous.
static __device__ __forceinline__ uint64_t own_fade_block(const attend_args &a, uint32_t run,
                                                          uint64_t token) {
    if (!a.q_previous) return 0;
    uint64_t length = a.fade_blocks[run];
    return length ? token / length * length : 0;
}

// Rows of one key-value head.
static __device__ __forceinline__ size_t rows_of_head(const rill__cuda_kv &kv) {
    return (size_t)kv.n_sinks + kv.ring_rows;
}

// Attention of rows [first_row, + n_rows) with sums in double, for what attend.cu has no better way
// for. (attend_exact.cu)
void rill__cuda_attend_exact(rill__cuda *cu, const attend_args &args, size_t first_row,
                             size_t n_rows);

#endif
