// SPDX-License-Identifier: MIT
// The machine's limits, measured with all threads: streaming reads of memory, and arithmetic that
// stays in registers.
#include "backend/cpu/cpu.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>

enum {
    PIECE_BYTES = 1 << 20,
    AHEAD = 4096,  // asked for before it is read: the processor alone sees less of the stream
    REPEATS = 5,
};
static const size_t read_bytes = (size_t)512 << 20;

typedef struct roof_job {
    rill__cpu *cpu;
    const uint8_t *memory;
    uint64_t *sinks;  // [pieces] results, so that reading cannot be left out
    double (*burn)(size_t rounds);
    size_t rounds;
} roof_job;

static void read_piece(void *context, size_t piece, unsigned thread) {
    (void)thread;
    const roof_job *job = context;
    const uint64_t *p = (const uint64_t *)(const void *)(job->memory + piece * PIECE_BYTES);
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < PIECE_BYTES / sizeof *p; i += 8) {
        __builtin_prefetch(p + i + AHEAD / sizeof *p);
        for (int j = 0; j < 8; j++) sums[j] += p[i + j];
    }
    for (int j = 1; j < 8; j++) sums[0] += sums[j];
    job->sinks[piece] = sums[0];
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
        out->read_bytes_per_second = (double)read_bytes / best_time(&job, n_pieces, read_piece);
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
