// SPDX-License-Identifier: MIT
// The CPU backend's own structures.
#ifndef RILL_CPU_H
#define RILL_CPU_H

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "base/arena.h"
#include "base/pool.h"

#include <pthread.h>

enum {
    RILL_CPU_DECODED = 16,   // weight rows that are decoded to floats at a time
    RILL_CPU_QUERIES = 128,  // queries that meet a key together, at most
    RILL_CPU_CUT_ROWS = 8,   // rows that attention cuts into parts of keys, at most
};

struct rill__buffer {
    uint8_t *data;  // 64-byte aligned
    size_t bytes;
};

struct rill__weight {
    rill_type type;
    size_t rows;
    size_t columns;
    size_t row_bytes;
    const uint8_t *data;  // the tensor's own
    uint8_t *packed;      // the same as tiles (pack.h), of quantised ones that are multiplied
    rill__slab *slab;     // that it lies in
    size_t first;   // row of `packed` that is this weight's first: an expert's are further down
    float *vector;  // one row as float32, when the weight is a vector; else NULL
};

// What a thread needs for itself. All of it taken by `reserve`.
typedef struct rill__cpu_scratch {
    float *rows;            // [RILL_CPU_DECODED, width] weights
    float *queries;         // [tile_floats] of attention, each padded
    float *keys;            // [RILL_CPU_KEYS, width] a block of them
    float *values;          // the same
    float *scores;          // [RILL_CPU_QUERIES, RILL_CPU_KEYS]
    rill__softmax *states;  // [3, RILL_CPU_QUERIES]: of a part, of sinks, of recent tokens
    uint8_t *sums;          // [3, sums_bytes] the same
    size_t tile_floats;
    size_t sums_bytes;  // for tile_floats
    uint8_t *products;  // of whole numbers, or by tiles
} rill__cpu_scratch;

typedef struct rill__cpu {
    rill__backend base;
    rill__pool *pool;
    unsigned flags;
    rill__cpu_kernels kernels;
    char description[160];
    pthread_mutex_t lock;  // guards `activations`, `kept`, the reservation, and `weights`
    rill__arena weights;   // packed ones
    uint8_t *activations;  // quantised rows of the product at hand
    uint8_t *parts;        // in the same mapping: their parts, for products by tiles
    size_t activations_bytes;
    uint8_t *kept;  // of attention: sums and states of the parts of few rows
    size_t kept_bytes;
    rill__cpu_scratch *scratch;  // [threads]
    size_t max_rows;             // reserved: rows of a batch
    size_t width;                // reserved: columns
    size_t visible;              // reserved: keys
    uint8_t *scratch_memory;
    size_t scratch_bytes;
} rill__cpu;

// The CPU backend behind a backend of this folder.
static inline rill__cpu *rill__cpu_of(rill__backend *be) {
    return (rill__cpu *)(void *)be;
}

// The floats of a buffer, which owns them.
static inline float *rill__cpu_floats(const rill__buffer *b) {
    return (float *)(void *)b->data;
}

// Runs pieces whose scratch nobody else has now: a single one on the caller's own thread, without
// waking anybody.
static inline void rill__cpu_run(rill__cpu *cpu, size_t n_pieces, rill__pool_fn fn, void *context) {
    if (n_pieces == 1)
        fn(context, 0, 0);
    else
        rill__pool_run(cpu->pool, n_pieces, fn, context);
}

// Rows of activations of one call of `project`, that all its pieces share.
typedef struct rill__cpu_rows_job {
    rill__cpu *cpu;
    const float *in;  // [n_rows, columns]
    size_t n_rows;
    size_t columns;
    rill__precision precision;
} rill__cpu_rows_job;

// Products of quantised weights as whole numbers (whole.c), which are packed first. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__cpu_whole_pack(rill__cpu *cpu, rill__weight *w, const char *name,
                                                rill_error *err);
// Memory that products want: all rows' quantised activations, and each thread's scratch.
size_t rill__cpu_whole_activation_bytes(size_t n_rows, size_t width);
size_t rill__cpu_whole_scratch_bytes(size_t n_rows);
// Quantises the rows; then, piece by piece, out[r, o] for weight rows o in [first, first + n). Both
// with the backend's lock held.
void rill__cpu_whole_quantize(const rill__cpu_rows_job *job);
void rill__cpu_whole_product(const rill__cpu_rows_job *job, const rill__weight *weight,
                             size_t first, size_t n, float *out, unsigned thread);

// Products by tiles (tiles.c), the same way; rill__cpu_by_tiles: whether a weight's go so.
bool rill__cpu_by_tiles(const rill__cpu *cpu, const rill__weight *w);
size_t rill__cpu_tiles_activation_bytes(const rill__cpu *cpu, size_t n_rows, size_t width);
size_t rill__cpu_tiles_scratch_bytes(const rill__cpu *cpu, size_t n_rows, size_t width);
void rill__cpu_tiles_split(const rill__cpu_rows_job *job);
void rill__cpu_tiles_product(const rill__cpu_rows_job *job, const rill__weight *weight,
                             size_t first, size_t n, float *out, unsigned thread);

// The operations, by file; rill__backend_ops says what each does.
void rill__cpu_project(rill__backend *be, const rill__buffer *in, size_t n_rows,
                       const rill__projection *projections, size_t n_projections,
                       rill__precision precision);
void rill__cpu_attend(rill__backend *be, const rill__attention *a);
void rill__cpu_rotary_table(rill__backend *be, rill__buffer *out, const rill__row *rows,
                            size_t n_rows, const rill__run *runs, size_t n_runs, bool local);
void rill__cpu_rotate_store(rill__backend *be, const rill__buffer *table, rill__buffer *q,
                            rill__buffer *q_sink, rill__buffer *q_previous, rill__buffer *k,
                            const rill__buffer *v, const rill__row *rows, size_t n_rows,
                            const rill__run *runs, size_t n_runs, uint32_t layer, bool local,
                            uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim);
void rill__cpu_embed(rill__backend *be, rill__buffer *out, const rill__weight *weight,
                     const rill_token *tokens, size_t n_rows, float scale);
void rill__cpu_norm(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                    const rill__weight *weight, const rill__weight *bias, rill__norm_kind kind,
                    float eps, size_t n_rows, size_t width);
void rill__cpu_activate(rill__backend *be, rill__buffer *out, const rill__buffer *gate,
                        const rill__buffer *up, rill__activation act, float limit, size_t n_rows,
                        size_t width);
void rill__cpu_clamp(rill__backend *be, rill__buffer *x, float limit, size_t n_rows, size_t width);
void rill__cpu_cap(rill__backend *be, rill__buffer *x, float cap, size_t n_rows, size_t width);
void rill__cpu_experts(rill__backend *be, const rill__experts *e);
void rill__cpu_add(rill__backend *be, rill__buffer *x, const rill__buffer *y, size_t n_rows,
                   size_t width);
void rill__cpu_select_rows(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                           const uint32_t *rows, size_t n_rows, size_t width);
rill_status rill__cpu_measure(rill__backend *be, rill_roof *out, rill_error *err);

#endif
