// SPDX-License-Identifier: MIT
// How near attention comes to what the machine can do: the roof is measured in the same run. One
// line a shape and type of cache, at a window of 4+2044 that has come round: one row against reads
// (caches of so many layers that no processor's cache holds them), and 512 rows together against
// float arithmetic. Usage: attend_throughput [THREADS [SHAPE [TYPE]]].
#include "backend/backend.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SINKS = 4, RECENT = 2044, CHUNK = 512, RING = RECENT + CHUNK - 1, TOKEN = 100000 };

static const size_t pass_bytes = (size_t)384 << 20;

typedef struct shape {
    const char *name;
    uint32_t n_heads, n_kv_heads, head_dim, n_layers;
} shape;

// One cache, whose bytes stand at many places; and the batch that meets it.
typedef struct bench {
    rill__backend *be;
    const shape *shape;
    rill_type type;
    size_t n_caches;
    rill__kv *caches;
    rill__buffer *q, *q_sink, *out;
    rill__row rows[CHUNK];
} bench;

static float number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) * 0x1p-30 - 1);
}

static uint8_t *random_rows(rill_type type, size_t n_rows, size_t dim, size_t *bytes) {
    const rill__type_traits *t = rill__type_traits_get(type);
    size_t row = dim / t->block * t->block_bytes;
    uint8_t *memory = calloc(n_rows, row);
    float values[128];
    uint64_t state = 3;
    for (size_t i = 0; memory && i < n_rows; i++) {
        for (size_t c = 0; c < dim; c++) values[c] = number(&state);
        t->from_float(values, memory + i * row, dim);
    }
    *bytes = n_rows * row;
    return memory;
}

static int open_caches(bench *b) {
    const rill__backend_ops *ops = b->be->ops;
    size_t n_rows = (size_t)b->shape->n_kv_heads * (SINKS + RING), bytes;
    uint8_t *rows = random_rows(b->type, n_rows, b->shape->head_dim, &bytes);
    rill_error err;
    b->n_caches = pass_bytes / (2 * bytes) + 1;
    b->caches = calloc(b->n_caches, sizeof *b->caches);
    if (!rows || !b->caches) return 1;
    for (size_t i = 0; i < b->n_caches; i++) {
        rill__kv *kv = &b->caches[i];
        *kv = (rill__kv){.key_type = b->type,
                         .value_type = b->type,
                         .key_row_bytes = bytes / n_rows,
                         .value_row_bytes = bytes / n_rows,
                         .n_sinks = SINKS,
                         .ring_rows = RING,
                         .sink_scale = 1,
                         .sink_cap = 1};
        if (ops->buffer_new(b->be, bytes, &kv->keys, &err) != RILL_OK ||
            ops->buffer_new(b->be, bytes, &kv->values, &err) != RILL_OK)
            return 1;
        ops->buffer_write(b->be, kv->keys, 0, rows, bytes);
        ops->buffer_write(b->be, kv->values, 0, rows, bytes);
    }
    free(rows);
    return 0;
}

static int open_batch(bench *b) {
    const rill__backend_ops *ops = b->be->ops;
    size_t n = (size_t)CHUNK * b->shape->n_heads * b->shape->head_dim;
    float *q = calloc(n, sizeof *q);
    rill_error err;
    if (!q || ops->buffer_new(b->be, n * sizeof *q, &b->q, &err) != RILL_OK ||
        ops->buffer_new(b->be, n * sizeof *q, &b->q_sink, &err) != RILL_OK ||
        ops->buffer_new(b->be, n * sizeof *q, &b->out, &err) != RILL_OK)
        return 1;
    uint64_t state = 5;
    for (size_t i = 0; i < n; i++) q[i] = number(&state);
    ops->buffer_write(b->be, b->q, 0, q, n * sizeof *q);
    ops->buffer_write(b->be, b->q_sink, 0, q, n * sizeof *q);
    free(q);
    for (size_t i = 0; i < CHUNK; i++)
        b->rows[i] = (rill__row){.n_sinks = SINKS,
                                 .token = TOKEN + i,
                                 .first_recent = TOKEN + i + 1 - RECENT,
                                 .stream_pos = TOKEN + i,
                                 .sink_pos = SINKS + RECENT - 1};
    return 0;
}

static void close_bench(bench *b) {
    const rill__backend_ops *ops = b->be->ops;
    for (size_t i = 0; i < b->n_caches; i++) {
        ops->buffer_free(b->be, b->caches[i].keys);
        ops->buffer_free(b->be, b->caches[i].values);
    }
    free(b->caches);
    ops->buffer_free(b->be, b->q);
    ops->buffer_free(b->be, b->q_sink);
    ops->buffer_free(b->be, b->out);
}

// Seconds of one call, the best of some passes over n_caches.
static double call_seconds(bench *b, size_t n_rows, size_t n_caches) {
    static const rill__rope none = {0};
    double best = 1e9;
    for (int repeat = 0; repeat < 7; repeat++) {
        double start = rill__seconds();
        for (size_t i = 0; i < n_caches; i++) {
            const rill__run run = {.n_rows = n_rows, .kv = &b->caches[i], .rope = &none};
            const rill__attention a = {.q = b->q,
                                       .q_sink = b->q_sink,
                                       .out = b->out,
                                       .rows = b->rows,
                                       .runs = &run,
                                       .n_runs = 1,
                                       .n_rows = n_rows,
                                       .n_heads = b->shape->n_heads,
                                       .n_kv_heads = b->shape->n_kv_heads,
                                       .head_dim = b->shape->head_dim,
                                       .scale = 0.125f};
            b->be->ops->attend(b->be, &a);
        }
        double took = (rill__seconds() - start) / (double)n_caches;
        best = took < best ? took : best;
    }
    return best;
}

static int measure(rill__backend *be, const shape *s, rill_type type, const rill_roof *roof) {
    bench b = {.be = be, .shape = s, .type = type};
    if (open_caches(&b) || open_batch(&b)) return 1;
    double decode = call_seconds(&b, 1, b.n_caches), prefill = call_seconds(&b, CHUNK, 1);
    double bytes = 2.0 * s->n_kv_heads * (SINKS + RECENT) * (double)b.caches[0].key_row_bytes;
    double flops = 4.0 * CHUNK * s->n_heads * s->head_dim * (SINKS + RECENT);
    printf("%-9s %-5s one row %7.3f ms a token, %6.1f GB/s (%3.0f %% of reads), %d rows %7.1f ms, "
           "%6.1f Gflop/s (%3.0f %% of f32)\n",
           s->name, rill_type_name(type), decode * s->n_layers * 1e3, bytes / decode * 1e-9,
           100 * bytes / decode / roof->read_bytes_per_second, CHUNK, prefill * s->n_layers * 1e3,
           flops / prefill * 1e-9, 100 * flops / prefill / roof->f32_flops_per_second);
    close_bench(&b);
    return 0;
}

int main(int argc, char **argv) {
    rill_device_options options = {.threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0};
    rill__backend *be;
    rill_error err;
    rill_roof roof;
    if (rill__cpu_backend_open(&options, &be, &err) != RILL_OK ||
        be->ops->reserve(be, CHUNK, SINKS + RECENT, 4096, &err) != RILL_OK ||
        be->ops->measure(be, &roof, &err) != RILL_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s\nreads %.1f GB/s, f32 %.1f Gflop/s\n", be->ops->describe(be),
           roof.read_bytes_per_second * 1e-9, roof.f32_flops_per_second * 1e-9);
    static const shape shapes[] = {{"llama-1b", 32, 4, 64, 22}, {"llama-7b", 32, 32, 128, 32}};
    static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                      RILL_TYPE_Q4_0};
    int failed = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            if ((argc < 3 || strcmp(argv[2], shapes[s].name) == 0) &&
                (argc < 4 || strcmp(argv[3], rill_type_name(types[i])) == 0))
                failed |= measure(be, &shapes[s], types[i], &roof);
    be->ops->close(be);
    return failed;
}
