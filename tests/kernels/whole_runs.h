// SPDX-License-Identifier: MIT
// How the kernels of whole numbers run on operands: unpacking, quantising, and products with one
// row of activations and with a group of them, PART columns at a time.
#ifndef RILL_TESTS_WHOLE_RUNS_H
#define RILL_TESTS_WHOLE_RUNS_H

#include "operands.h"

#include <string.h>

enum { K_MOST = 4096, PART = 256 };  // columns; unpacked at a time

static _Alignas(64) uint8_t whole_q[RILL_CPU_TILE * (PART + 64)];
static _Alignas(64) float whole_d[RILL_CPU_TILE * RILL_CPU_TILE];
static _Alignas(64) float whole_m[RILL_CPU_TILE * RILL_CPU_TILE];
static _Alignas(64) int16_t whole_wide[RILL_CPU_TILE * PART];
static _Alignas(64) uint8_t one_row[5 * K_MOST];
static _Alignas(64) uint8_t all_rows[16 * 3 * K_MOST];  // groups of up to 16 rows together

// Weights [first, first + w.k) of all rows; rows that are missing are zeros.
static rill__whole unpacked(const rill__cpu_kernels *k, const operands *in, size_t first) {
    const rill__type_traits *t = rill__type_traits_get(in->type);
    size_t left = in->n - first, row = in->n / t->block * t->block_bytes;
    rill__whole w = {.format = rill__whole_format_of(in->type),
                     .k = left < PART ? left : PART,
                     .stride = PART + 64,
                     .runs = RILL_CPU_TILE,
                     .q = whole_q,
                     .d = whole_d,
                     .m = whole_m};
    memset(whole_d, 0, sizeof whole_d);
    memset(whole_m, 0, sizeof whole_m);
    for (size_t o = 0; o < in->n_outs; o++)
        k->unpack[in->type](in->bytes + o * row + first / t->block * t->block_bytes, w.k,
                            w.q + o * w.stride, w.d + o * w.runs, w.m + o * w.runs);
    return w;
}

// What is unpacked, as floats; of the reference, what the format says.
static size_t run_unpack(const rill__cpu_kernels *k, operands *in, float *out) {
    const rill__type_traits *t = rill__type_traits_get(in->type);
    in->n_outs = 1;
    if (!k->product_groups) {
        t->to_float(in->bytes, out, in->n);
        return in->n;
    }
    for (size_t first = 0; first < in->n; first += PART) {
        rill__whole w = unpacked(k, in, first);
        for (size_t c = 0; c < w.k; c++) {
            size_t r = c / w.format.run;
            float x = w.d[r] * (float)(w.q[c] - w.format.zero);
            out[first + c] = w.format.minima ? x - w.m[r] : x;
        }
    }
    return in->n;
}

static size_t run_quantize(const rill__cpu_kernels *k, operands *in, float *out) {
    rill__q16_row row = rill__q16_row_at(one_row, in->n);
    k->quantize_q16(in->x, in->n, &row);
    size_t n = 0;
    for (size_t i = 0; i < in->n / RILL_Q16; i++) out[n++] = row.d[i];
    for (size_t i = 0; i < in->n / RILL_Q16_RUN; i++) out[n++] = (float)row.sums[i];
    for (size_t i = 0; i < in->n; i++) out[n++] = row.x[i];
    for (size_t i = 0; i < in->n; i++) out[n++] = (float)(256 * row.coarse[i] + row.fine[i]);
    return n;
}

static size_t run_product_one(const rill__cpu_kernels *k, operands *in, float *out) {
    rill__cpu_kernels reference;
    rill__cpu_kernels_init(&reference, 0, false);
    rill__q16_row row = rill__q16_row_at(one_row, in->n);
    for (size_t r = 0; r < in->n_rows; r++) {
        float sums[RILL_CPU_TILE] = {0};
        reference.quantize_q16(in->x + r * in->n, in->n, &row);
        for (size_t first = 0; first < in->n; first += PART) {
            rill__whole w = unpacked(k, in, first);
            k->product_one(&w, &row, first, sums);
        }
        memcpy(out + r * in->n_outs, sums, in->n_outs * sizeof *sums);
    }
    return in->n_rows * in->n_outs;
}

static size_t run_product_groups(const rill__cpu_kernels *k, operands *in, float *out) {
    if (!k->product_groups) return run_product_one(k, in, out);
    rill__cpu_kernels reference;
    rill__cpu_kernels_init(&reference, 0, false);
    static float sums[RILL_CPU_TILE * 16];
    size_t lanes = k->lanes, n_groups = (in->n_rows + lanes - 1) / lanes;
    size_t bytes = rill__q16_group_bytes(in->n, lanes);
    rill__q16_row row = rill__q16_row_at(one_row, in->n);
    memset(all_rows, 0, n_groups * bytes);
    memset(sums, 0, sizeof sums);
    for (size_t r = 0; r < in->n_rows; r++) {
        rill__q16_group group = rill__q16_group_at(all_rows + r / lanes * bytes, in->n, lanes);
        reference.quantize_q16(in->x + r * in->n, in->n, &row);
        k->put_lane(&row, in->n, r % lanes, &group);
    }
    for (size_t first = 0; first < in->n; first += PART) {
        rill__whole w = unpacked(k, in, first);
        rill__whole_product p = {.w = &w,
                                 .wide = whole_wide,
                                 .x = all_rows,
                                 .x_columns = in->n,
                                 .first = first,
                                 .n_groups = n_groups,
                                 .sums = sums};
        k->product_groups(&p);
    }
    for (size_t r = 0; r < in->n_rows; r++) {
        const float *group = sums + r / lanes * lanes * RILL_CPU_TILE;
        for (size_t o = 0; o < in->n_outs; o++)
            out[r * in->n_outs + o] = group[o * lanes + r % lanes];
    }
    return in->n_rows * in->n_outs;
}

#endif
