// SPDX-License-Identifier: MIT
// The machine's limits, measured with all threads: streaming reads of memory, and arithmetic that
// stays in registers.
#include "backend/cpu/cpu.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>

enum {
    PIECE_BYTES = 1 << 20,
    REPEATS = 5,
    LINE = 64,
};
static const size_t read_bytes = (size_t)512 << 20;

typedef struct roof_job {
    rill__cpu *cpu;
    const uint8_t *memory;
    uint64_t *sinks;  // [pieces] results, so that reading cannot be left out
    size_t ahead;     // bytes that are asked for before they are read
    double (*burn)(size_t rounds);
    size_t rounds;
} roof_job;

// As wide as every processor has them: narrower loads than these are a limit of their own.
typedef uint64_t pair __attribute__((vector_size(16)));

static void read_piece(void *context, size_t piece, unsigned thread) {
    (void)thread;
    const roof_job *job = context;
    const uint8_t *p = job->memory + piece * PIECE_BYTES;
    pair a = {0}, b = {0}, c = {0}, d = {0};  // an array would live in memory
    for (size_t i = 0; i < PIECE_BYTES; i += LINE) {
        const pair *line = (const pair *)(const void *)(p + i);
        if (job->ahead) __builtin_prefetch(p + i + job->ahead);
        a ^= line[0];
        b ^= line[1];
        c ^= line[2];
        d ^= line[3];
    }
    pair all = a ^ b ^ c ^ d;
    job->sinks[piece] = all[0] ^ all[1];
}

static void burn_piece(void *context, size_t piece, unsigned thread) {
    (void)piece;
    (void)thread;
    const roof_job *job = context;
    (void)job->burn(job->rounds);
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

// Asking ahead helps some processors and hinders others: the better of both.
static double bytes_per_second(roof_job *job) {
    size_t n_pieces = read_bytes / PIECE_BYTES;
    double alone = best_time(job, n_pieces, read_piece);
    job->ahead = 4096;
    return (double)read_bytes / fmin(alone, best_time(job, n_pieces, read_piece));
}

static double operations_per_second(roof_job *job, double (*burn)(size_t rounds)) {
    size_t n_pieces = 4 * rill__pool_threads(job->cpu->pool);
    job->burn = burn;
    job->rounds = 1000;
    double once = best_time(job, n_pieces, burn_piece);
    job->rounds = (size_t)(1000 * 0.02 / once) + 1000;  // about 20 ms a run
    double took = best_time(job, n_pieces, burn_piece);
    return burn(1) * (double)job->rounds * (double)n_pieces / took;
}

rill_status rill__cpu_measure(rill__backend *be, rill_roof *out, rill_error *err) {
    rill__cpu *cpu = rill__cpu_of(be);
    size_t n_pieces = read_bytes / PIECE_BYTES;
    roof_job job = {.cpu = cpu};
    uint8_t *memory = rill__map_memory(read_bytes);
    job.sinks = rill__calloc(n_pieces, sizeof *job.sinks);
    rill_status status = RILL_OK;
    if (!memory || !job.sinks) {
        status = rill__fail_memory(err, "measuring the machine", read_bytes);
    } else {
        memset(memory, 1, read_bytes);  // pages of its own, not the shared zero page
        job.memory = memory;
        out->read_bytes_per_second = bytes_per_second(&job);
        out->f32_flops_per_second = operations_per_second(&job, cpu->kernels.burn_f32);
        // Widened to floats where that is faster than the processor's own way (vdpbf16ps, on some).
        out->bf16_flops_per_second =
            fmax(operations_per_second(&job, cpu->kernels.burn_bf16), out->f32_flops_per_second);
        out->int8_ops_per_second = operations_per_second(&job, cpu->kernels.burn_int8);
    }
    rill__free(job.sinks);
    rill__unmap_memory(memory, read_bytes);
    return status;
}
