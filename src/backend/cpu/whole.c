// SPDX-License-Identifier: MIT
// Products of quantised weights: activations are quantised once for all projections, weights are
// unpacked a tile at a time, and both multiplied as whole numbers (kernels.h).
//
// Few rows of activations go one by one, columns in the lanes of a vector; many go in groups, a row
// a lane. The bits are the same.
#include "backend/cpu/cpu.h"

#include <string.h>

enum {
    ONE_COLUMNS = 512,     // unpacked at a time
    GROUP_COLUMNS = 1024,  // so that a tile and two groups of activations stay in the cache
    AHEAD = 16384,         // bytes asked for before they are unpacked: rows are too short for the
                           // processor to see the stream by itself
    // An unpacked row, a cache line longer, so that rows do not meet in one set of the cache.
    Q_STRIDE = GROUP_COLUMNS + 64,
    RUNS = GROUP_COLUMNS / 16 + 16,
    SCALES_BYTES = RILL_CPU_TILE * RUNS * 4,
};

_Static_assert(ONE_COLUMNS % 256 == 0 && GROUP_COLUMNS % 256 == 0, "whole blocks of all types");

static bool in_groups(const rill__cpu *cpu, size_t n_rows) {
    return cpu->kernels.lanes > 0 && n_rows >= cpu->kernels.groups_from;
}

size_t rill__cpu_whole_activation_bytes(const rill__cpu *cpu, size_t n_rows, size_t width) {
    size_t lanes = cpu->kernels.lanes;
    size_t one = n_rows * rill__q16_row_bytes(width);
    size_t groups = lanes ? (n_rows + lanes - 1) / lanes * rill__q16_group_bytes(width, lanes) : 0;
    return one > groups ? one : groups;
}

size_t rill__cpu_whole_scratch_bytes(const rill__cpu *cpu, size_t n_rows, size_t width) {
    size_t lanes = cpu->kernels.lanes ? cpu->kernels.lanes : 1;
    size_t sums = (n_rows + lanes) * RILL_CPU_TILE * sizeof(float);
    return rill__q16_row_bytes(width) + RILL_CPU_TILE * Q_STRIDE + 2 * SCALES_BYTES +
           RILL_CPU_TILE * GROUP_COLUMNS * sizeof(int16_t) + (sums + 63) / 64 * 64;
}

// A thread's memory, carved.
typedef struct whole_scratch {
    rill__whole w;
    int16_t *wide;
    float *sums;
    uint8_t *row;  // one quantised row
} whole_scratch;

static whole_scratch scratch_of(const rill__cpu *cpu, unsigned thread, rill_type type) {
    uint8_t *at = cpu->scratch[thread].products;
    whole_scratch s = {
        .w = {.format = rill__whole_format_of(type), .stride = Q_STRIDE, .runs = RUNS, .q = at}};
    s.w.d = (float *)(void *)(at += RILL_CPU_TILE * Q_STRIDE);
    s.w.m = (float *)(void *)(at += SCALES_BYTES);
    s.wide = (int16_t *)(void *)(at += SCALES_BYTES);
    s.row = at += RILL_CPU_TILE * GROUP_COLUMNS * sizeof(int16_t);
    s.sums = (float *)(void *)(at + rill__q16_row_bytes(cpu->width));
    return s;
}

// Unpacks columns [first, first + w->k) of n_rows weight rows from `row` on. Rows that are missing
// keep what was there: what comes of them is not looked at.
static void unpack(const rill__cpu *cpu, const rill__weight *weight, size_t row, size_t n_rows,
                   size_t first, rill__whole *w) {
    const rill__type_traits *traits = rill__type_traits_get(weight->type);
    size_t bytes = w->k / traits->block * traits->block_bytes;
    const uint8_t *from =
        weight->data + row * weight->row_bytes + first / traits->block * traits->block_bytes;
    for (size_t o = 0; o < n_rows; o++, from += weight->row_bytes) {
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + AHEAD + i);
        cpu->kernels.unpack[weight->type](from, w->k, w->q + o * w->stride, w->d + o * w->runs,
                                          w->m + o * w->runs);
    }
}

// One row, or a group of rows, of activations.
static void quantize_piece(void *context, size_t piece, unsigned thread) {
    const rill__cpu_rows_job *job = context;
    rill__cpu *cpu = job->cpu;
    size_t k = job->columns, lanes = cpu->kernels.lanes;
    if (!in_groups(cpu, job->n_rows)) {
        rill__q16_row row = rill__q16_row_at(cpu->activations + piece * rill__q16_row_bytes(k), k);
        cpu->kernels.quantize_q16(job->in + piece * k, k, &row);
        return;
    }
    rill__q16_row row = rill__q16_row_at(scratch_of(cpu, thread, RILL_TYPE_Q8_0).row, k);
    uint8_t *memory = cpu->activations + piece * rill__q16_group_bytes(k, lanes);
    rill__q16_group group = rill__q16_group_at(memory, k, lanes);
    size_t left = job->n_rows - piece * lanes, n = left < lanes ? left : lanes;
    if (n < lanes) memset(memory, 0, rill__q16_group_bytes(k, lanes));
    for (size_t lane = 0; lane < n; lane++) {
        cpu->kernels.quantize_q16(job->in + (piece * lanes + lane) * k, k, &row);
        cpu->kernels.put_lane(&row, k, lane, &group);
    }
}

void rill__cpu_whole_quantize(const rill__cpu_rows_job *job) {
    size_t lanes = job->cpu->kernels.lanes;
    size_t n = in_groups(job->cpu, job->n_rows) ? (job->n_rows + lanes - 1) / lanes : job->n_rows;
    rill__cpu_run(job->cpu, n, quantize_piece, (void *)(uintptr_t)job);
}

static void rows_one_by_one(const rill__cpu_rows_job *job, const rill__weight *weight, size_t row,
                            size_t n, whole_scratch *s) {
    rill__cpu *cpu = job->cpu;
    size_t row_bytes = rill__q16_row_bytes(job->columns);
    memset(s->sums, 0, job->n_rows * RILL_CPU_TILE * sizeof *s->sums);
    for (size_t first = 0; first < job->columns; first += ONE_COLUMNS) {
        size_t left = job->columns - first;
        s->w.k = left < ONE_COLUMNS ? left : ONE_COLUMNS;
        unpack(cpu, weight, row, n, first, &s->w);
        for (size_t r = 0; r < job->n_rows; r++) {
            rill__q16_row x = rill__q16_row_at(cpu->activations + r * row_bytes, job->columns);
            cpu->kernels.product_one(&s->w, &x, first, s->sums + r * RILL_CPU_TILE);
        }
    }
}

static void rows_in_groups(const rill__cpu_rows_job *job, const rill__weight *weight, size_t row,
                           size_t n, whole_scratch *s) {
    rill__cpu *cpu = job->cpu;
    size_t lanes = cpu->kernels.lanes;
    rill__whole_product p = {.w = &s->w,
                             .wide = s->wide,
                             .x = cpu->activations,
                             .x_columns = job->columns,
                             .n_groups = (job->n_rows + lanes - 1) / lanes,
                             .sums = s->sums};
    memset(s->sums, 0, p.n_groups * lanes * RILL_CPU_TILE * sizeof *s->sums);
    for (; p.first < job->columns; p.first += GROUP_COLUMNS) {
        size_t left = job->columns - p.first;
        s->w.k = left < GROUP_COLUMNS ? left : GROUP_COLUMNS;
        unpack(cpu, weight, row, n, p.first, &s->w);
        cpu->kernels.product_groups(&p);
    }
}

void rill__cpu_whole_product(const rill__cpu_rows_job *job, const rill__weight *weight,
                             size_t first, size_t n, float *out, unsigned thread) {
    whole_scratch s = scratch_of(job->cpu, thread, weight->type);
    bool groups = in_groups(job->cpu, job->n_rows);
    size_t lanes = groups ? job->cpu->kernels.lanes : 1;
    for (size_t row = first; row < first + n; row += RILL_CPU_TILE) {
        size_t left = first + n - row, rows = left < RILL_CPU_TILE ? left : RILL_CPU_TILE;
        (groups ? rows_in_groups : rows_one_by_one)(job, weight, row, rows, &s);
        for (size_t r = 0; r < job->n_rows; r++) {
            const float *sums = s.sums + r / lanes * lanes * RILL_CPU_TILE + r % lanes;
            for (size_t o = 0; o < rows; o++) out[r * weight->rows + row + o] = sums[o * lanes];
        }
    }
}
