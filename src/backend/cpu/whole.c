// SPDX-License-Identifier: MIT
// Products of quantised weights: weights are packed when a model is opened (pack.h), activations
// quantised once for all projections, and both multiplied as whole numbers, chunk by chunk
// (kernels.h). One row meets weights as they are unpacked; more share a chunk that was expanded.
// Both give the same bits.
#include "backend/cpu/cpu.h"

#include "backend/cpu/pack.h"

#include <string.h>

enum {
    ROWS_BYTES =
        1 << 20,  // about, of activations that meet a tile at a time: they stay in the cache
    RUNS = RILL_CPU_CHUNK / 16,
    // Weights are asked for about so many bytes before they are read, evenly while others are
    // multiplied: memory has nothing to do meanwhile.
    AHEAD = 4096,
    Q_BYTES = RILL_CPU_CHUNK * RILL_CPU_TILE,
    SCALES_BYTES = RUNS * RILL_CPU_TILE * sizeof(float),
};

// ---- Weights

typedef struct packing {
    const rill__weight *w;
    size_t tile_bytes;
} packing;

static void pack_piece(void *context, size_t tile, unsigned thread) {
    (void)thread;
    const packing *job = context;
    const rill__weight *w = job->w;
    size_t first = tile * RILL_CPU_TILE, left = w->rows - first;
    rill__pack_tile(w->type, w->data + first * w->row_bytes, w->row_bytes,
                    left < RILL_CPU_TILE ? left : RILL_CPU_TILE, w->columns,
                    w->packed + tile * job->tile_bytes);
}

rill_status rill__cpu_whole_pack(rill__cpu *cpu, rill__weight *w, const char *name,
                                 rill_error *err) {
    if (!cpu->kernels.expand[w->type]) return RILL_OK;
    size_t tiles = (w->rows + RILL_CPU_TILE - 1) / RILL_CPU_TILE, bytes;
    packing job = {.w = w, .tile_bytes = rill__packed_tile_bytes(w->type, w->columns)};
    if (!rill__mul_size(tiles, job.tile_bytes, &bytes))
        return rill__fail_memory(err, name, SIZE_MAX);
    pthread_mutex_lock(&cpu->lock);
    w->packed = rill__arena_take(&cpu->weights, bytes, &w->slab);
    pthread_mutex_unlock(&cpu->lock);
    if (!w->packed) return rill__fail_memory(err, name, bytes);
    rill__pool_run(cpu->pool, tiles, pack_piece, &job);
    return RILL_OK;
}

// ---- Activations

size_t rill__cpu_whole_activation_bytes(size_t n_rows, size_t width) {
    return n_rows * rill__whole_row_bytes(width, 2);
}

// The job's rows from `first` on.
static rill__whole_rows quantized_rows(const rill__cpu_rows_job *job, size_t first, size_t n_rows) {
    int parts = job->precision == RILL_PRECISION_FINE ? 2 : 1;
    size_t offset = first * rill__whole_row_bytes(job->columns, parts);
    return (rill__whole_rows){.memory = job->cpu->activations + offset,
                              .columns = job->columns,
                              .n_rows = n_rows,
                              .parts = parts};
}

static void quantize_piece(void *context, size_t r, unsigned thread) {
    (void)thread;
    const rill__cpu_rows_job *job = context;
    const rill__whole_rows rows = quantized_rows(job, 0, job->n_rows);
    job->cpu->kernels.quantize_whole(job->in + r * job->columns, &rows, r);
}

void rill__cpu_whole_quantize(const rill__cpu_rows_job *job) {
    rill__cpu_run(job->cpu, job->n_rows, quantize_piece, (void *)(uintptr_t)job);
}

// ---- Products

// A thread's: a chunk, and the sums of a tile.
size_t rill__cpu_whole_scratch_bytes(size_t n_rows) {
    return Q_BYTES + 2 * SCALES_BYTES + n_rows * RILL_CPU_TILE * sizeof(float);
}

// A tile with rows of activations, into sums [n_rows, RILL_CPU_TILE].
static void tile_product(const rill__cpu_kernels *kernels, rill_type type, const uint8_t *tile,
                         const rill__whole_rows *rows, uint8_t *scratch, float *sums) {
    rill__whole w = {.format = rill__whole_format_of(type),
                     .q = scratch,
                     .d = (float *)(void *)(scratch + Q_BYTES),
                     .m = (float *)(void *)(scratch + Q_BYTES + SCALES_BYTES)};
    size_t row_bytes = rill__packed_row_bytes(type, RILL_CPU_CHUNK);
    memset(sums, 0, rows->n_rows * RILL_CPU_TILE * sizeof *sums);
    for (; w.first < rows->columns; w.first += w.k) {
        size_t left = rows->columns - w.first;
        w.k = left < RILL_CPU_CHUNK ? left : RILL_CPU_CHUNK;
        w.row_bytes = left < RILL_CPU_CHUNK ? rill__packed_row_bytes(type, w.k) : row_bytes;
        size_t bytes = RILL_CPU_TILE * w.row_bytes;
        w.ahead = (rill__ahead){(const void *)((uintptr_t)tile + bytes + AHEAD),
                                RILL_CPU_TILE * row_bytes};
        if (rows->n_rows == 1 && w.k == RILL_CPU_CHUNK) {
            kernels->product_row[type](tile, &w, rows, sums);
        } else {
            kernels->expand[type](tile, &w);
            kernels->product_whole(&w, rows, sums);
        }
        tile += bytes;
    }
}

void rill__cpu_whole_product(const rill__cpu_rows_job *job, const rill__weight *weight,
                             size_t first, size_t n, float *out, unsigned thread) {
    uint8_t *scratch = job->cpu->scratch[thread].products;
    float *sums = (float *)(void *)(scratch + Q_BYTES + 2 * SCALES_BYTES);
    size_t read_bytes = job->columns * (size_t)quantized_rows(job, 0, 0).parts;  // of a row
    size_t at_once = ROWS_BYTES / read_bytes + 1;
    size_t tile_bytes = rill__packed_tile_bytes(weight->type, job->columns);
    size_t begin = weight->first + first, end = begin + n;
    for (size_t r = 0; r < job->n_rows; r += at_once) {
        size_t left = job->n_rows - r, n_rows = left < at_once ? left : at_once;
        const rill__whole_rows rows = quantized_rows(job, r, n_rows);
        for (size_t tile = begin / RILL_CPU_TILE; tile * RILL_CPU_TILE < end; tile++) {
            tile_product(&job->cpu->kernels, weight->type, weight->packed + tile * tile_bytes,
                         &rows, scratch, sums);
            // An expert's first row may be in the middle of a tile.
            size_t row = tile * RILL_CPU_TILE, from = row < begin ? begin - row : 0;
            size_t to = end - row < RILL_CPU_TILE ? end - row : RILL_CPU_TILE;
            float *at = out + r * weight->rows + (row + from - weight->first);
            for (size_t i = 0; i < n_rows; i++)
                memcpy(at + i * weight->rows, sums + i * RILL_CPU_TILE + from,
                       (to - from) * sizeof *sums);
        }
    }
}
