// SPDX-License-Identifier: MIT
// How the kernels of whole numbers run on operands: packed weights expanded, activations quantised,
// and their product, chunk by chunk.
#ifndef RILL_TESTS_WHOLE_RUNS_H
#define RILL_TESTS_WHOLE_RUNS_H

#include "operands.h"

#include "backend/cpu/pack.h"

#include <string.h>

enum { K_MOST = 4096 };

static _Alignas(64) uint8_t whole_q[RILL_CPU_TILE * RILL_CPU_CHUNK];
static _Alignas(64) float whole_d[RILL_CPU_TILE * RILL_CPU_CHUNK / 16];
static _Alignas(64) float whole_m[RILL_CPU_TILE * RILL_CPU_CHUNK / 16];
static _Alignas(64) uint8_t packed[RILL_CPU_TILE * sizeof(float) * K_MOST];
static _Alignas(64) uint8_t all_rows[ROWS * 5 * K_MOST];

// Packs the rows; those that are missing are zeros.
static void pack(const operands *in) {
    const rill__type_traits *t = rill__type_traits_get(in->type);
    rill__pack_tile(in->type, in->bytes, in->n / t->block * t->block_bytes, in->n_outs, in->n,
                    packed);
}

static const uint8_t *packed_from(const operands *in, size_t first) {
    size_t chunk = RILL_CPU_TILE * rill__packed_row_bytes(in->type, RILL_CPU_CHUNK);
    return packed + first / RILL_CPU_CHUNK * chunk;
}

// Columns [first, first + k) of all rows, before they are expanded.
static rill__whole columns_from(const operands *in, size_t first) {
    size_t left = in->n - first;
    rill__whole w = {.format = rill__whole_format_of(in->type),
                     .first = first,
                     .k = left < RILL_CPU_CHUNK ? left : RILL_CPU_CHUNK,
                     .q = whole_q,
                     .d = whole_d,
                     .m = whole_m};
    w.row_bytes = rill__packed_row_bytes(in->type, w.k);
    w.ahead = (rill__ahead){packed_from(in, first), RILL_CPU_TILE * w.row_bytes};
    return w;
}

// What is expanded, as floats; of the reference, what the format says.
static size_t run_expand(const rill__cpu_kernels *k, operands *in, float *out) {
    rill__cpu_kernels reference;
    rill__cpu_kernels_init(&reference, 0, false);
    if (k->expand[in->type] == reference.expand[in->type]) {
        rill__type_traits_get(in->type)->to_float(in->bytes, out, in->n_outs * in->n);
        return in->n_outs * in->n;
    }
    pack(in);
    for (size_t first = 0; first < in->n; first += RILL_CPU_CHUNK) {
        rill__whole w = columns_from(in, first);
        k->expand[in->type](packed_from(in, first), &w);
        for (size_t i = 0; i < w.k * in->n_outs; i++) {
            size_t c = i % w.k, o = i / w.k, scale = c / w.format.run * RILL_CPU_TILE + o;
            int q = w.q[(c / 4 * RILL_CPU_TILE + o) * 4 + c % 4] - w.format.zero;
            float x = w.d[scale] * (float)q;
            out[o * in->n + first + c] = w.format.zero ? x : x - w.m[scale];
        }
    }
    return in->n_outs * in->n;
}

static size_t run_quantize_in(const rill__cpu_kernels *k, const operands *in, int parts,
                              float *out) {
    const rill__whole_rows rows = {all_rows, in->n, 1, parts};
    const rill__whole_row row = rill__whole_row_at(&rows, 0);
    k->quantize_whole(in->x, &rows, 0);
    size_t n = 0;
    for (size_t i = 0; i < in->n / 32; i++) out[n++] = row.d[i];
    for (size_t i = 0; i < in->n / 16; i++) out[n++] = (float)row.sums[0][i];
    for (size_t i = 0; i < in->n / 32; i++) out[n++] = (float)row.sums[1][i];
    for (size_t i = 0; i < in->n; i++) out[n++] = row.x[i];
    for (size_t i = 0; i < (size_t)parts * in->n; i++) out[n++] = row.bytes[i];
    return n;
}

static size_t run_quantize(const rill__cpu_kernels *k, operands *in, float *out) {
    return run_quantize_in(k, in, 1, out);
}

static size_t run_quantize_fine(const rill__cpu_kernels *k, operands *in, float *out) {
    return run_quantize_in(k, in, 2, out);
}

static size_t run_whole_in(const rill__cpu_kernels *k, const operands *in, int parts, bool one_row,
                           float *out) {
    rill__cpu_kernels reference;
    rill__cpu_kernels_init(&reference, 0, false);
    static float sums[ROWS * RILL_CPU_TILE];
    memset(sums, 0, sizeof sums);
    const rill__whole_rows rows = {all_rows, in->n, one_row ? 1 : in->n_rows, parts};
    for (size_t r = 0; r < rows.n_rows; r++) reference.quantize_whole(in->x + r * in->n, &rows, r);
    pack(in);
    for (size_t first = 0; first < in->n; first += RILL_CPU_CHUNK) {
        rill__whole w = columns_from(in, first);
        if (one_row && w.k == RILL_CPU_CHUNK) {
            k->product_row[in->type](packed_from(in, first), &w, &rows, sums);
        } else {
            k->expand[in->type](packed_from(in, first), &w);
            k->product_whole(&w, &rows, sums);
        }
    }
    for (size_t r = 0; r < rows.n_rows; r++)
        memcpy(out + r * in->n_outs, sums + r * RILL_CPU_TILE, in->n_outs * sizeof *sums);
    float *behind = out + rows.n_rows * in->n_outs;  // whether anybody wrote behind the rows
    *behind = 0;
    for (size_t i = rows.n_rows * RILL_CPU_TILE; i < ROWS * RILL_CPU_TILE; i++)
        if (sums[i] != 0) *behind = 1;
    return rows.n_rows * in->n_outs + 1;
}

static size_t run_whole(const rill__cpu_kernels *k, operands *in, float *out) {
    return run_whole_in(k, in, 1, false, out);
}

static size_t run_whole_fine(const rill__cpu_kernels *k, operands *in, float *out) {
    return run_whole_in(k, in, 2, false, out);
}

static size_t run_row(const rill__cpu_kernels *k, operands *in, float *out) {
    return run_whole_in(k, in, 1, true, out);
}

static size_t run_row_fine(const rill__cpu_kernels *k, operands *in, float *out) {
    return run_whole_in(k, in, 2, true, out);
}

#endif
