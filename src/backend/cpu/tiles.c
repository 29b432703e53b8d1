// SPDX-License-Identifier: MIT
// Products by tiles with weights of bfloat16, which are read where they lie (kernels.h).
#include "backend/cpu/cpu.h"

#include <string.h>

bool rill__cpu_by_tiles(const rill__cpu *cpu, const rill__weight *w) {
    return cpu->kernels.product_tiles && w->type == RILL_TYPE_BF16 && w->columns % 32 == 0;
}

// Of one part of some rows.
static size_t part_bytes(size_t n_rows, size_t columns) {
    return (n_rows * columns * sizeof(uint16_t) + 63) & ~(size_t)63;
}

size_t rill__cpu_tiles_activation_bytes(const rill__cpu *cpu, size_t n_rows, size_t width) {
    return cpu->kernels.product_tiles ? 2 * part_bytes(n_rows, width) : 0;
}

static size_t sums_bytes(size_t n_rows) {
    size_t groups = (n_rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
    return groups * RILL_TILE_OUTS * RILL_TILE_ROWS * sizeof(float);
}

// Bytes from row to row of copied weights, so that rows do not meet in one set of the cache.
static size_t copy_stride(size_t columns) {
    return part_bytes(1, columns) + 64;
}

// A thread's: sums; weights of a pass; both parts of a row of
// activations.
size_t rill__cpu_tiles_scratch_bytes(const rill__cpu *cpu, size_t n_rows, size_t width) {
    if (!cpu->kernels.product_tiles) return 0;
    return sums_bytes(n_rows) + RILL_TILE_OUTS * copy_stride(width) + 2 * part_bytes(1, width);
}

// Splits a row of activations and puts its parts into its lane of its group.
static void split_row(void *context, size_t r, unsigned thread) {
    const rill__cpu_rows_job *job = context;
    uint8_t *scratch = job->cpu->scratch[thread].products;
    uint16_t *parts[2] = {(uint16_t *)(void *)scratch,
                          (uint16_t *)(void *)(scratch + part_bytes(1, job->columns))};
    size_t group = r / RILL_TILE_ROWS, left = job->n_rows - group * RILL_TILE_ROWS;
    size_t lanes = left < RILL_TILE_ROWS ? left : RILL_TILE_ROWS;
    job->cpu->kernels.split_bf16(job->in + r * job->columns, job->columns, parts[0], parts[1]);
    for (size_t part = 0; part < 2; part++) {
        uint8_t *all = job->cpu->parts + part * part_bytes(job->n_rows, job->columns);
        uint16_t *to = (uint16_t *)(void *)all + group * RILL_TILE_ROWS * job->columns +
                       2 * (r % RILL_TILE_ROWS);
        for (size_t i = 0; i < job->columns / 2; i++)
            memcpy(to + 2 * i * lanes, parts[part] + 2 * i, 2 * sizeof *to);
    }
}

void rill__cpu_tiles_split(const rill__cpu_rows_job *job) {
    rill__cpu_run(job->cpu, job->n_rows, split_row, (void *)(uintptr_t)job);
}

// Weight rows [row, row + rows) with all rows of activations of t.
static void pass(const rill__cpu_rows_job *job, const rill__weight *weight, size_t row, size_t rows,
                 rill__tiles *t, uint8_t *copy, float *out) {
    t->w = weight->data + row * weight->row_bytes;
    t->w_stride = weight->row_bytes;
    // Read where they lie, unless they are too few, or read again for another group.
    if (rows < RILL_TILE_OUTS || t->n_rows > RILL_TILE_ROWS) {
        t->w_stride = copy_stride(job->columns);
        for (size_t o = 0; o < rows; o++)
            memcpy(copy + o * t->w_stride, t->w + o * weight->row_bytes, weight->row_bytes);
        t->w = copy;
    }
    job->cpu->kernels.product_tiles(t);
    for (size_t r = 0; r < t->n_rows; r++) {
        const float *sums =
            t->sums + r / RILL_TILE_ROWS * RILL_TILE_OUTS * RILL_TILE_ROWS + r % RILL_TILE_ROWS;
        for (size_t o = 0; o < rows; o++)
            out[r * weight->rows + row + o] = sums[o * RILL_TILE_ROWS];
    }
}

void rill__cpu_tiles_product(const rill__cpu_rows_job *job, const rill__weight *weight,
                             size_t first, size_t n, float *out, unsigned thread) {
    enum { AT_ONCE = 1 << 20 };  // bytes of activations: they stay in the second cache meanwhile
    uint8_t *scratch = job->cpu->scratch[thread].products, *all = job->cpu->parts;
    size_t group_bytes = RILL_TILE_ROWS * job->columns * 2 * sizeof(uint16_t);
    size_t at_once = (AT_ONCE / group_bytes / 2 * 2 + 2) * RILL_TILE_ROWS;
    const uint16_t *high = (const uint16_t *)(void *)all;
    const uint16_t *low = (const uint16_t *)(void *)(all + part_bytes(job->n_rows, job->columns));
    for (size_t r = 0; r < job->n_rows; r += at_once) {
        size_t left = job->n_rows - r;
        rill__tiles t = {.k = job->columns,
                         .high = high + r * job->columns,
                         .low = low + r * job->columns,
                         .n_rows = left < at_once ? left : at_once,
                         .sums = (float *)(void *)scratch};
        for (size_t row = first; row < first + n; row += RILL_TILE_OUTS) {
            size_t rows = first + n - row;
            bool more = rows >= 2 * RILL_TILE_OUTS;
            t.next = more ? weight->data + (row + RILL_TILE_OUTS) * weight->row_bytes : NULL;
            t.next_stride = weight->row_bytes;
            pass(job, weight, row, rows < RILL_TILE_OUTS ? rows : RILL_TILE_OUTS, &t,
                 scratch + sums_bytes(job->n_rows), out + r * weight->rows);
        }
    }
}
