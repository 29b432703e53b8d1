// SPDX-License-Identifier: MIT
// How attention's kernels run in kernels_test.c.
#ifndef RILL_TESTS_ATTEND_CASES_H
#define RILL_TESTS_ATTEND_CASES_H

#include "operands.h"

#include <stdlib.h>
#include <string.h>

static size_t run_encode(const rill__cpu_kernels *k, operands *in, float *out) {
    static uint8_t bytes[4 * 4096];
    const rill__type_traits *t = rill__type_traits_get(in->type);
    k->encode[in->type](in->y, bytes, in->n);
    size_t n = in->n / t->block * t->block_bytes;
    for (size_t i = 0; i < n; i++) out[i] = bytes[i];
    return n;
}

// Keys at some positions of a block, packed and multiplied: the packed order is the tier's own.
static size_t run_score(const rill__cpu_kernels *k, operands *in, float *out) {
    enum { FIRST = 3 };
    static float keys[RILL_CPU_KEYS * 4096], queries[ROWS * 4096];
    static float scores[ROWS * RILL_CPU_KEYS];
    const rill__type_traits *t = rill__type_traits_get(in->type);
    const uint8_t *rows[RILL_CPU_KEYS] = {NULL};
    size_t width = (in->n + 3) / 4 * 4, end = FIRST + in->n_outs;
    for (size_t i = FIRST; i < end; i++)
        rows[i] = in->bytes + (i - FIRST) * (in->n / t->block * t->block_bytes);
    memset(queries, 0, sizeof queries);
    for (size_t i = 0; i < in->n_rows; i++)
        memcpy(queries + i * width, in->x + i * in->n, in->n * sizeof *queries);
    k->pack_keys(&(rill__keys){
        .type = in->type, .rows = rows, .first = FIRST, .end = end, .dim = in->n, .out = keys});
    const rill__scores s = {.q = queries,
                            .n_queries = in->n_rows,
                            .keys = keys,
                            .first = FIRST,
                            .end = end,
                            .dim = in->n,
                            .out = scores};
    k->score(&s);
    for (size_t i = 0; i < in->n_rows; i++)
        memcpy(out + i * in->n_outs, scores + i * RILL_CPU_KEYS + FIRST, in->n_outs * sizeof *out);
    if (!in->timing)
        in->scale = largest_norm(in->x, in->n_rows, in->n) * largest_norm(in->y, in->n_outs, in->n);
    return in->n_rows * in->n_outs;
}

// Two blocks one behind the other: weights, what is kept of the first, and the state.
static size_t run_soften(const rill__cpu_kernels *k, operands *in, float *out) {
    size_t first = in->n % 7, end = first + 1 + in->n % (RILL_CPU_KEYS - first), written = 0;
    rill__softmax states[ROWS];
    for (size_t i = 0; i < in->n_rows; i++) states[i] = (rill__softmax){-INFINITY, 0};
    for (int block = 0; block < 2; block++) {
        float scores[ROWS * RILL_CPU_KEYS], keep[ROWS];
        const float *from = block ? in->y : in->x;
        for (size_t i = 0; i < in->n_rows * RILL_CPU_KEYS; i++) scores[i] = 20 * from[i % 63];
        if (end - first > 2) scores[first] = -INFINITY;
        k->soften(scores, in->n_rows, first, end, states, keep);
        for (size_t i = 0; i < in->n_rows; i++) {
            memcpy(out + written, scores + i * RILL_CPU_KEYS + first, (end - first) * sizeof *out);
            written += end - first;
            out[written++] = keep[i];
            out[written++] = states[i].greatest;
            out[written++] = (float)states[i].sum;
        }
    }
    return written;
}

// Values of a block but its first position, twice: sums go on.
static size_t run_mix(const rill__cpu_kernels *k, operands *in, float *out) {
    double *sums = calloc(in->n_rows * in->n, sizeof *sums);
    float weights[ROWS * RILL_CPU_KEYS], keep[ROWS];
    for (size_t i = 0; i < in->n_rows; i++) {
        keep[i] = (float)i / 8;
        for (size_t j = 0; j < RILL_CPU_KEYS; j++)
            weights[i * RILL_CPU_KEYS + j] = in->x[i * OUTS + j % OUTS];
    }
    const rill__mixture m = {.values = in->y,
                             .stride = in->n,
                             .first = 1,
                             .end = in->n_outs,
                             .weights = weights,
                             .keep = keep,
                             .n_queries = in->n_rows,
                             .dim = in->n};
    k->mix(sums, &m);
    k->mix(sums, &m);
    for (size_t i = 0; i < in->n_rows; i++) {
        const void *one = (const uint8_t *)sums + i * in->n * k->sum_bytes;
        k->mix_end(one, 0.5, one, 0.25, out + i * in->n, in->n);
    }
    free(sums);
    if (!in->timing) in->scale = norm_of(in->x, ROWS * OUTS) * norm_of(in->y, in->n_outs * in->n);
    return in->n_rows * in->n;
}

static size_t run_fold(const rill__cpu_kernels *k, operands *in, float *out) {
    static double total[4096], part[4096];
    for (size_t i = 0; i < in->n; i++) {
        if (k->sum_bytes == sizeof(double)) {
            total[i] = (double)in->x[i];
            part[i] = (double)in->y[i];
        } else {
            ((float *)(void *)total)[i] = in->x[i];
            ((float *)(void *)part)[i] = in->y[i];
        }
    }
    k->fold(total, part, 0.75, 0.3, in->n);
    k->mix_end(total, 1, part, 0, out, in->n);
    if (!in->timing) in->scale = largest_norm(in->x, 1, in->n) + largest_norm(in->y, 1, in->n);
    return in->n;
}

#endif
