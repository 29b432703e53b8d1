// SPDX-License-Identifier: MIT
// The machine's limits, measured with all threads: streaming reads, and arithmetic by the tier's own
// inner loops on data that stays in the first cache.
#include "backend/cpu/cpu.h"

#include "base/clock.h"

#include <string.h>

enum {
    PIECE_BYTES = 1 << 20,
    REPEATS = 5,
    K = 1024,   // columns of the arithmetic tile: 16 KiB of weights and 16 KiB of rows
    ROWS = 4,
};
static const size_t read_bytes = (size_t)512 << 20;

typedef struct roof_job {
    rill__cpu *cpu;
    const uint8_t *memory;
    uint64_t *sinks;  // [pieces] results, so that reading cannot be left out
    uint8_t *arena;   // [threads] operands
    size_t arena_bytes;
    rill_type type;   // of the product measured: f32, or q8_0
    size_t repeats;
} roof_job;

static void read_piece(void *context, size_t piece, unsigned thread) {
    (void)thread;
    const roof_job *job = context;
    const uint64_t *p = (const uint64_t *)(const void *)(job->memory + piece * PIECE_BYTES);
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < PIECE_BYTES / sizeof *p; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += p[i + j];
    for (int j = 1; j < 8; j++)
        sums[0] += sums[j];
    job->sinks[piece] = sums[0];
}

static void product_piece(void *context, size_t piece, unsigned thread) {
    (void)piece;
    const roof_job *job = context;
    const rill__cpu_kernels *kernels = &job->cpu->kernels;
    uint8_t *arena = job->arena + thread * job->arena_bytes;
    bool quantised = job->type == RILL_TYPE_Q8_0;
    size_t w_stride = quantised ? K / 32 * 34 : K * sizeof(float);
    size_t x_stride = quantised ? rill__q8_row_bytes(K) : K * sizeof(float);
    float *out = (float *)(void *)(arena + ROWS * (w_stride + x_stride));
    const rill__tile tile = {
        .w = arena + ROWS * x_stride,
        .w_stride = w_stride,
        .n_out = ROWS,
        .x = arena,
        .x_stride = x_stride,
        .n_rows = ROWS,
        .k = K,
        .out = out,
        .out_stride = ROWS,
    };
    for (size_t i = 0; i < job->repeats; i++) {
        if (quantised)
            kernels->product_q8[job->type](&tile);
        else
            kernels->product_f32(&tile);
    }
}

// The best of some runs, in seconds: what the machine can do when nobody disturbs it.
static double best_time(roof_job *job, size_t n_pieces, rill__pool_fn fn) {
    double best = 1e300;
    for (int i = 0; i < REPEATS; i++) {
        double start = rill__seconds();
        rill__pool_run(job->cpu->pool, n_pieces, fn, job);
        double took = rill__seconds() - start;
        best = took < best ? took : best;
    }
    return best;
}

static double operations_per_second(roof_job *job, rill_type type) {
    size_t n_pieces = 16 * rill__pool_threads(job->cpu->pool);
    job->type = type;
    job->repeats = 8;
    double once = best_time(job, n_pieces, product_piece);
    job->repeats = (size_t)(8 * 0.02 / once) + 8;  // about 20 ms a run
    double took = best_time(job, n_pieces, product_piece);
    return 2.0 * K * ROWS * ROWS * (double)(n_pieces * job->repeats) / took;
}

rill_status rill__cpu_measure(rill__backend *be, rill_roof *out, rill_error *err) {
    rill__cpu *cpu = rill__cpu_of(be);
    size_t n_threads = rill__pool_threads(cpu->pool);
    size_t n_pieces = read_bytes / PIECE_BYTES;
    roof_job job = {.cpu = cpu, .arena_bytes = 2 * ROWS * (K + 64) * sizeof(float)};
    uint8_t *memory = rill__map_memory(read_bytes);
    job.sinks = rill__calloc(n_pieces, sizeof *job.sinks);
    job.arena = rill__map_memory(n_threads * job.arena_bytes);
    rill_status status = RILL_OK;
    if (!memory || !job.sinks || !job.arena) {
        status = rill__fail_memory(err, "measuring the machine", read_bytes);
    } else {
        memset(memory, 1, read_bytes);  // pages of its own, not the shared zero page
        job.memory = memory;
        out->read_bytes_per_second = (double)read_bytes / best_time(&job, n_pieces, read_piece);
        out->f32_flops_per_second = operations_per_second(&job, RILL_TYPE_F32);
        out->int8_ops_per_second = cpu->kernels.product_q8[RILL_TYPE_Q8_0]
                                       ? operations_per_second(&job, RILL_TYPE_Q8_0)
                                       : out->f32_flops_per_second;
    }
    rill__unmap_memory(job.arena, n_threads * job.arena_bytes);
    rill__free(job.sinks);
    rill__unmap_memory(memory, read_bytes);
    return status;
}
