// SPDX-License-Identifier: MIT
// Products of quantised weights: activations are quantised once for all projections, weights are
// unpacked a tile at a time, and both multiplied as whole numbers (kernels.h).
//
// Few rows of activations go one by one, columns in the lanes of a vector; many go in groups, a row
// a lane. The bits are the same.
#include "backend/cpu/cpu.h"

#include <string.h>

enum {
    // Columns of one row that are unpacked at a time: long enough that memory sees a stream.
    ONE_COLUMNS = 2048,
    // Reading and computing take turns so many times a tile, so that memory never waits.
    TURNS = 4,
    TURN_ROWS = RILL_CPU_TILE / TURNS,
    TURN_COLUMNS = ONE_COLUMNS / TURNS,
    GROUP_COLUMNS = 1024,  // so that a tile and two groups of activations stay in the cache
    GROUPS_BYTES = 1 << 20,
    AHEAD = 16384,  // bytes asked for before they are unpacked: rows are too short for the
                    // processor to see the stream by itself
    // An unpacked row, a cache line longer, so that rows do not meet in one set of the cache.
    Q_STRIDE = ONE_COLUMNS + 64,
    RUNS = ONE_COLUMNS / 16 + 16,
    SCALES_BYTES = RILL_CPU_TILE * RUNS * 4,
    WHOLE_BYTES = RILL_CPU_TILE * Q_STRIDE + 2 * SCALES_BYTES,
};

_Static_assert(TURN_COLUMNS % 256 == 0 && GROUP_COLUMNS % 256 == 0 && GROUP_COLUMNS <= ONE_COLUMNS,
               "whole blocks of all types");

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
    return rill__q16_row_bytes(width) + 2 * WHOLE_BYTES +
           RILL_CPU_TILE * GROUP_COLUMNS * sizeof(int16_t) + (sums + 63) / 64 * 64;
}

// A thread's memory, carved.
typedef struct whole_scratch {
    rill__whole w[2];  // a tile that is computed, and the next one
    int16_t *wide;
    float *sums;
    uint8_t *row;  // one quantised row
} whole_scratch;

static rill__whole whole_at(uint8_t *at, rill_type type) {
    uint8_t *d = at + RILL_CPU_TILE * Q_STRIDE;
    return (rill__whole){.format = rill__whole_format_of(type),
                         .stride = Q_STRIDE,
                         .runs = RUNS,
                         .q = at,
                         .d = (float *)(void *)d,
                         .m = (float *)(void *)(d + SCALES_BYTES)};
}

static whole_scratch scratch_of(const rill__cpu *cpu, unsigned thread, rill_type type) {
    uint8_t *at = cpu->scratch[thread].products;
    whole_scratch s = {.w = {whole_at(at, type), whole_at(at + WHOLE_BYTES, type)}};
    s.wide = (int16_t *)(void *)(at += 2 * WHOLE_BYTES);
    s.row = at += RILL_CPU_TILE * GROUP_COLUMNS * sizeof(int16_t);
    s.sums = (float *)(void *)(at + rill__q16_row_bytes(cpu->width));
    return s;
}

// Columns [first, first + k) of weight rows [row, row + n).
typedef struct part {
    size_t row, n, first, k;
} part;

// Unpacks rows [from, to) of a part that it has, and asks for those some way behind them that are
// before `end`. Rows that are missing keep what was there: what
// comes of them is not looked at.
static void unpack(const rill__cpu *cpu, const rill__weight *weight, part p, size_t from, size_t to,
                   size_t end, rill__whole *w) {
    const rill__type_traits *traits = rill__type_traits_get(weight->type);
    size_t bytes = p.k / traits->block * traits->block_bytes;
    const uint8_t *at = weight->data + (p.row + from) * weight->row_bytes +
                        p.first / traits->block * traits->block_bytes;
    size_t ahead = AHEAD / weight->row_bytes + 1;
    w->k = p.k;
    for (size_t o = from; o < to && o < p.n; o++, at += weight->row_bytes) {
        const uint8_t *next = at + ahead * weight->row_bytes;
        for (size_t i = 0; i < bytes && p.row + o + ahead < end; i += 64)
            __builtin_prefetch(next + i, 0, 2);
        cpu->kernels.unpack[weight->type](at, p.k, w->q + o * w->stride, w->d + o * w->runs,
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

// The part of up to `columns` columns from there on.
static part part_at(const rill__cpu_rows_job *job, size_t row, size_t end, size_t first,
                    size_t columns) {
    size_t rows = end - row, k = job->columns - first;
    return (part){.row = row,
                  .n = rows < RILL_CPU_TILE ? rows : RILL_CPU_TILE,
                  .first = first,
                  .k = k < columns ? k : columns};
}

// The sums of n_rows rows of activations from `out` on.
static void write_out(const rill__weight *weight, part p, size_t n_rows, size_t lanes,
                      const float *sums, float *out) {
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = sums + r / lanes * lanes * RILL_CPU_TILE + r % lanes;
        for (size_t o = 0; o < p.n; o++) out[r * weight->rows + p.row + o] = row[o * lanes];
    }
}

// Columns [c, c + TURN_COLUMNS) of a part with all rows of activations.
static void multiply_turn(const rill__cpu_rows_job *job, part p, const rill__whole *w, size_t c,
                          float *sums) {
    rill__cpu *cpu = job->cpu;
    size_t row_bytes = rill__q16_row_bytes(job->columns), left = p.k - c;
    rill__whole turn = *w;
    turn.k = left < TURN_COLUMNS ? left : TURN_COLUMNS;
    turn.q += c;
    turn.d += c / w->format.run;
    turn.m += c / w->format.run;
    for (size_t r = 0; r < job->n_rows; r++) {
        rill__q16_row x = rill__q16_row_at(cpu->activations + r * row_bytes, job->columns);
        cpu->kernels.product_one(&turn, &x, p.first + c, sums + r * RILL_CPU_TILE);
    }
}

// Weight rows [row, end), each row of activations alone.
static void rows_one_by_one(const rill__cpu_rows_job *job, const rill__weight *weight, size_t row,
                            size_t end, float *out, whole_scratch *s) {
    rill__cpu *cpu = job->cpu;
    part now = part_at(job, row, end, 0, ONE_COLUMNS);
    unpack(cpu, weight, now, 0, RILL_CPU_TILE, end, &s->w[0]);
    for (size_t i = 0; now.row < end; i ^= 1) {
        bool last = now.first + now.k == job->columns;
        part next = last ? part_at(job, now.row + now.n, end, 0, ONE_COLUMNS)
                         : part_at(job, now.row, end, now.first + now.k, ONE_COLUMNS);
        if (now.first == 0) memset(s->sums, 0, job->n_rows * RILL_CPU_TILE * sizeof *s->sums);
        for (size_t turn = 0; turn < TURNS; turn++) {
            if (next.row < end)
                unpack(cpu, weight, next, turn * TURN_ROWS, (turn + 1) * TURN_ROWS, end,
                       &s->w[i ^ 1]);
            if (turn * TURN_COLUMNS < now.k)
                multiply_turn(job, now, &s->w[i], turn * TURN_COLUMNS, s->sums);
        }
        if (last) write_out(weight, now, job->n_rows, 1, s->sums, out);
        now = next;
    }
}

// Weight rows [row, end), rows of activations in groups; so many groups at a time that they stay in
// the second cache while all those weights pass.
static void rows_in_groups(const rill__cpu_rows_job *job, const rill__weight *weight, size_t row,
                           size_t end, float *out, whole_scratch *s) {
    rill__cpu *cpu = job->cpu;
    size_t lanes = cpu->kernels.lanes, group_bytes = rill__q16_group_bytes(job->columns, lanes);
    size_t at_once = GROUPS_BYTES / group_bytes / 2 * 2 + 2;
    size_t n_groups = (job->n_rows + lanes - 1) / lanes;
    rill__whole_product product = {
        .w = &s->w[0], .wide = s->wide, .x_columns = job->columns, .sums = s->sums};
    for (size_t g = 0; g < n_groups; g += at_once) {
        size_t left = n_groups - g, rows = job->n_rows - g * lanes;
        product.n_groups = left < at_once ? left : at_once;
        product.x = cpu->activations + g * group_bytes;
        if (rows > at_once * lanes) rows = at_once * lanes;
        for (size_t o = row; o < end; o += RILL_CPU_TILE) {
            part p = part_at(job, o, end, 0, GROUP_COLUMNS);
            memset(s->sums, 0, product.n_groups * lanes * RILL_CPU_TILE * sizeof *s->sums);
            for (; p.first < job->columns; p = part_at(job, o, end, p.first + p.k, GROUP_COLUMNS)) {
                unpack(cpu, weight, p, 0, RILL_CPU_TILE, end, &s->w[0]);
                product.first = p.first;
                cpu->kernels.product_groups(&product);
            }
            write_out(weight, p, rows, lanes, s->sums, out + g * lanes * weight->rows);
        }
    }
}

void rill__cpu_whole_product(const rill__cpu_rows_job *job, const rill__weight *weight,
                             size_t first, size_t n, float *out, unsigned thread) {
    whole_scratch s = scratch_of(job->cpu, thread, weight->type);
    (in_groups(job->cpu, job->n_rows) ? rows_in_groups : rows_one_by_one)(job, weight, first,
                                                                          first + n, out, &s);
}
