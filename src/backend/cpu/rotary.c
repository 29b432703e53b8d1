// SPDX-License-Identifier: MIT
// Rotary positions (RoFormer, Su et al., 2021) in integer phases, and the way of keys and values
// into the cache.
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

typedef struct table_job {
    const rill__row *rows;
    const rill__run *runs;
    size_t n_runs;
    bool local;
    float *out;
} table_job;

// cos and sin of pair i at `position`: position * step wraps modulo one turn, exactly.
static void rotation(const rill__rope *rope, uint32_t i, uint64_t position, float *out) {
    // Signed: half a turn to either side, where a double has the most to say about small angles.
    int64_t turns = (int64_t)(position * rope->phase_step[i]);
    double angle = (double)turns * (0x1p-63 * 3.14159265358979323846);
    out[0] = (float)(cos(angle) * rope->magnitude);
    out[1] = (float)(sin(angle) * rope->magnitude);
}

// xPos: every pair of a frame times zeta^(offset), offset positions from where its factor is 1.
static void fade(const rill__rope *rope, double offset, float *frame) {
    for (uint32_t i = 0; i < rope->n_pairs; i++) {
        double factor = exp(rope->fade[i] * offset);
        frame[2 * i] = (float)(frame[2 * i] * factor);
        frame[2 * i + 1] = (float)(frame[2 * i + 1] * factor);
    }
}

// The frames of xPos from the two that are filled: see rill__rope.
static void fade_frames(const rill__rope *rope, const rill__row *row, float *sink, float *stream) {
    size_t size = 2 * (size_t)rope->n_pairs;
    float *previous = stream + size, *key = previous + size;
    double block = (double)rope->fade_block;
    double offset = (double)(row->token % rope->fade_block) - block / 2;
    memcpy(previous, stream, size * sizeof *previous);
    memcpy(key, stream, size * sizeof *key);
    fade(rope, (double)row->sink_pos - block / 2, sink);
    fade(rope, offset, stream);
    fade(rope, offset + block, previous);
    fade(rope, -offset, key);
}

static void table_piece(void *context, size_t piece, unsigned thread) {
    (void)thread;
    const table_job *job = context;
    const rill__row *row = &job->rows[piece];
    const rill__rope *rope =
        rill__run_rope(rill__run_of(job->runs, job->n_runs, piece), job->local);
    uint32_t n = rope->n_pairs;
    float *sink = job->out + piece * rill__rope_frames(rope) * 2 * n, *stream = sink + 2 * n;
    uint64_t sink_frame = row->stream_pos - row->token + row->sink_pos;
    for (uint32_t i = 0; i < n; i++) rotation(rope, i, row->stream_pos, stream + 2 * i);
    if (sink_frame == row->stream_pos)
        memcpy(sink, stream, 2 * n * sizeof *sink);
    else
        for (uint32_t i = 0; i < n; i++) rotation(rope, i, sink_frame, sink + 2 * i);
    if (rope->fade) fade_frames(rope, row, sink, stream);
}

void rill__cpu_rotary_table(rill__backend *be, rill__buffer *out, const rill__row *rows,
                            size_t n_rows, const rill__run *runs, size_t n_runs, bool local) {
    table_job job = {
        .rows = rows, .runs = runs, .n_runs = n_runs, .local = local, .out = rill__cpu_floats(out)};
    rill__cpu_run(rill__cpu_of(be), n_rows, table_piece, &job);
}

typedef struct rotate_job {
    const rill__cpu_kernels *kernels;
    const float *table;
    float *q;
    float *q_sink;
    float *q_previous;  // NULL without xPos
    float *k;
    const float *v;
    const rill__row *rows;
    const rill__run *runs;
    size_t n_runs;
    uint32_t layer;
    bool local;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
} rotate_job;

static void rotate(const rill__rope *rope, const float *table, float *x) {
    uint32_t n = rope->n_pairs;
    for (uint32_t i = 0; i < n; i++) {
        float *a = rope->interleaved ? x + 2 * i : x + i;
        float *b = rope->interleaved ? x + 2 * i + 1 : x + i + n;
        float c = table[2 * i], s = table[2 * i + 1];
        float first = *a * c - *b * s;
        *b = *b * c + *a * s;
        *a = first;
    }
}

// Stores a head's row; the last block is padded with zeros.
static void store(const rill__cpu_kernels *kernels, rill_type type, const float *x, uint32_t dim,
                  uint8_t *to) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    size_t whole = dim / traits->block * traits->block;
    kernels->encode[type](x, to, whole);
    if (whole < dim) {
        float padded[32] = {0};
        memcpy(padded, x + whole, (dim - whole) * sizeof *x);
        kernels->encode[type](padded, to + whole / traits->block * traits->block_bytes,
                              traits->block);
    }
}

static void rotate_piece(void *context, size_t piece, unsigned thread) {
    (void)thread;
    const rotate_job *job = context;
    const rill__cpu_kernels *kernels = job->kernels;
    const rill__row *row = &job->rows[piece];
    const rill__run *run = rill__run_of(job->runs, job->n_runs, piece);
    const rill__rope *rope = rill__run_rope(run, job->local);
    const rill__kv *kv = &run->kv[job->layer];
    uint32_t dim = job->head_dim;
    size_t frame = 2 * (size_t)rope->n_pairs;
    const float *frames = job->table + piece * rill__rope_frames(rope) * frame;
    const float *sink = frames + RILL_FRAME_SINK * frame;
    const float *stream = frames + RILL_FRAME_STREAM * frame;
    const float *key = rope->fade ? frames + RILL_FRAME_KEY * frame : stream;

    size_t queries = (size_t)job->n_heads * dim;
    float *q = job->q + piece * queries, *q_sink = job->q_sink + piece * queries;
    memcpy(q_sink, q, queries * sizeof *q);
    if (job->q_previous) memcpy(job->q_previous + piece * queries, q, queries * sizeof *q);
    for (uint32_t h = 0; h < job->n_heads; h++) {
        rotate(rope, stream, q + (size_t)h * dim);
        rotate(rope, sink, q_sink + (size_t)h * dim);
        if (job->q_previous)
            rotate(rope, frames + RILL_FRAME_PREVIOUS * frame,
                   job->q_previous + piece * queries + (size_t)h * dim);
    }
    size_t rows = (size_t)kv->n_sinks + kv->ring_rows;
    size_t at = rill__kv_row(kv, row->token);
    for (uint32_t h = 0; h < job->n_kv_heads; h++) {
        float *k = job->k + (piece * job->n_kv_heads + h) * dim;
        const float *v = job->v + (piece * job->n_kv_heads + h) * dim;
        rotate(rope, key, k);
        store(kernels, kv->key_type, k, dim, kv->keys->data + (h * rows + at) * kv->key_row_bytes);
        store(kernels, kv->value_type, v, dim,
              kv->values->data + (h * rows + at) * kv->value_row_bytes);
    }
}

void rill__cpu_rotate_store(rill__backend *be, const rill__buffer *table, rill__buffer *q,
                            rill__buffer *q_sink, rill__buffer *q_previous, rill__buffer *k,
                            const rill__buffer *v, const rill__row *rows, size_t n_rows,
                            const rill__run *runs, size_t n_runs, uint32_t layer, bool local,
                            uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim) {
    rotate_job job = {
        .kernels = &rill__cpu_of(be)->kernels,
        .table = rill__cpu_floats(table),
        .q = rill__cpu_floats(q),
        .q_sink = rill__cpu_floats(q_sink),
        .q_previous = q_previous ? rill__cpu_floats(q_previous) : NULL,
        .k = rill__cpu_floats(k),
        .v = rill__cpu_floats(v),
        .rows = rows,
        .runs = runs,
        .n_runs = n_runs,
        .layer = layer,
        .local = local,
        .n_heads = n_heads,
        .n_kv_heads = n_kv_heads,
        .head_dim = head_dim,
    };
    rill__cpu_run(rill__cpu_of(be), n_rows, rotate_piece, &job);
}
