// SPDX-License-Identifier: MIT
// How near the backend's products come to what the machine can do: the roof is measured in the same
// run. One line a type and batch; shapes are those of a feed-forward layer of a 1.1B model, and
// there are enough layers that no cache holds them. Usage: throughput [THREADS [fine]].
#include "backend/backend.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 2048, OUTS = 5632, LAYERS = 24 };

typedef struct layers {
    rill__backend *be;
    uint8_t *memory;
    size_t bytes;  // of one layer
    rill__weight *weights[LAYERS];
} layers;

static int open_layers(layers *l, rill_type type) {
    rill_error err;
    size_t row;
    if (!rill__type_bytes(type, WIDTH, &row)) return 1;
    l->bytes = row * OUTS;
    l->memory = rill__map_memory(l->bytes * LAYERS);
    if (!l->memory) return 1;
    const rill__type_traits *traits = rill__type_traits_get(type);
    float values[256];
    for (size_t i = 0; i < 256; i++) values[i] = (float)(i * 37 % 61) - 30;
    for (size_t i = 0; i < l->bytes * LAYERS; i += traits->block_bytes) {
        if (traits->from_float)
            traits->from_float(values, l->memory + i, traits->block);
        else  // every scale is small and finite
            for (size_t j = 0; j < traits->block_bytes; j++)
                l->memory[i + j] = (uint8_t)(i * 37 % 61);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        rill__tensor t = {.name = "layer",
                          .type = type,
                          .n_dims = 2,
                          .shape = {OUTS, WIDTH, 1, 1},
                          .data = l->memory + i * l->bytes,
                          .bytes = l->bytes};
        if (l->be->ops->weight_new(l->be, &t, RILL_USE_PRODUCTS, &l->weights[i], &err) != RILL_OK)
            return 1;
    }
    return 0;
}

static void close_layers(layers *l) {
    for (size_t i = 0; i < LAYERS; i++) l->be->ops->weight_free(l->be, l->weights[i]);
    rill__unmap_memory(l->memory, l->bytes * LAYERS);
}

// Seconds of one pass over all layers, the best of some.
static double pass_seconds(layers *l, rill__buffer *in, rill__buffer *out, size_t n_rows,
                           rill__precision precision) {
    double best = 1e9;
    for (int repeat = 0; repeat < 5; repeat++) {
        double start = rill__seconds();
        size_t n = n_rows > 1 ? 4 : LAYERS;
        for (size_t i = 0; i < n; i++) {
            const rill__projection p = {.weight = l->weights[i], .out = out};
            l->be->ops->project(l->be, in, n_rows, &p, 1, precision);
        }
        double took = (rill__seconds() - start) * LAYERS / (double)n;
        best = took < best ? took : best;
    }
    return best;
}

static int measure(rill__backend *be, rill_type type, rill__precision precision,
                   const rill_roof *roof) {
    enum { CHUNK = 256 };
    rill_error err;
    layers l = {.be = be};
    rill__buffer *in = NULL, *out = NULL;
    float *x = calloc(CHUNK * WIDTH, sizeof *x);
    if (!x || open_layers(&l, type) ||
        be->ops->buffer_new(be, CHUNK * WIDTH * sizeof *x, &in, &err) != RILL_OK ||
        be->ops->buffer_new(be, CHUNK * OUTS * sizeof *x, &out, &err) != RILL_OK)
        return 1;
    for (size_t i = 0; i < CHUNK * WIDTH; i++) x[i] = (float)(i % 17) - 8;
    be->ops->buffer_write(be, in, 0, x, CHUNK * WIDTH * sizeof *x);
    double decode = pass_seconds(&l, in, out, 1, precision);
    double prefill = pass_seconds(&l, in, out, CHUNK, precision);
    double bytes = (double)l.bytes * LAYERS / decode;
    double ops = 2.0 * WIDTH * OUTS * LAYERS * CHUNK / prefill;
    printf("%-5s decode %6.1f GB/s (%3.0f %% of reads), prefill %7.1f Gop/s (%3.0f %% of f32, "
           "%3.0f %% "
           "of int8)\n",
           rill_type_name(type), bytes * 1e-9, 100 * bytes / roof->read_bytes_per_second,
           ops * 1e-9, 100 * ops / roof->f32_flops_per_second,
           100 * ops / roof->int8_ops_per_second);
    free(x);
    be->ops->buffer_free(be, in);
    be->ops->buffer_free(be, out);
    close_layers(&l);
    return 0;
}

int main(int argc, char **argv) {
    rill_device_options options = {.threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0};
    const rill__precision precision =
        argc > 2 && strcmp(argv[2], "fine") == 0 ? RILL_PRECISION_FINE : RILL_PRECISION_COARSE;
    rill__backend *be;
    rill_error err;
    rill_roof roof;
    if (rill__cpu_backend_open(&options, &be, &err) != RILL_OK ||
        be->ops->reserve(be, 256, 16, OUTS, &err) != RILL_OK ||
        be->ops->measure(be, &roof, &err) != RILL_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s\nreads %.1f GB/s, f32 %.1f Gflop/s, bf16 %.1f Gflop/s, int8 %.1f Gop/s\n",
           be->ops->describe(be), roof.read_bytes_per_second * 1e-9,
           roof.f32_flops_per_second * 1e-9, roof.bf16_flops_per_second * 1e-9,
           roof.int8_ops_per_second * 1e-9);
    static const rill_type types[] = {RILL_TYPE_F32,  RILL_TYPE_F16,  RILL_TYPE_BF16,
                                      RILL_TYPE_Q8_0, RILL_TYPE_Q4_0, RILL_TYPE_Q5_1,
                                      RILL_TYPE_Q4_K, RILL_TYPE_Q6_K, RILL_TYPE_MXFP4};
    int failed = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        failed |= measure(be, types[i], precision, &roof);
    be->ops->close(be);
    return failed;
}
