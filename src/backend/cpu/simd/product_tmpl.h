// SPDX-License-Identifier: MIT
// Products with float rows, for every tier: include after a vec_*.h.
//
// An element of the result has one vector of sums, which takes LANES columns at a time in rising
// order and is added up at the end. Blocks of MAX_W weight rows and MAX_X activation rows share
// their loads; which block an element falls into changes nothing in its own arithmetic.
#include "backend/cpu/kernels.h"

#define INLINE static inline __attribute__((always_inline))

INLINE size_t float_bytes(rill_type type) {
    return type == RILL_TYPE_F32 ? 4 : 2;
}

INLINE vf load_floats(rill_type type, const uint8_t *p) {
    return type == RILL_TYPE_F32   ? vf_load(p)
           : type == RILL_TYPE_F16 ? vf_load_f16(p)
                                   : vf_load_bf16(p);
}

// The first n < LANES floats, the rest zeros.
INLINE vf load_floats_part(rill_type type, const uint8_t *p, size_t n) {
    if (type == RILL_TYPE_F32) return vf_load_part(p, n);
    uint8_t whole[2 * LANES] = {0};
    memcpy(whole, p, 2 * n);
    return load_floats(type, whole);
}

// nw weight rows with nx activation rows; both constants after inlining.
INLINE void product_block(const rill__tile *t, rill_type type, size_t nw, size_t nx, size_t o,
                          size_t r) {
    const uint8_t *w = t->w + o * t->w_stride, *x = t->x + r * t->x_stride;
    size_t bytes = float_bytes(type), whole = t->k / LANES * LANES, rest = t->k - whole;
    vf sums[MAX_W][MAX_X];
    for (size_t i = 0; i < nw; i++)
        for (size_t j = 0; j < nx; j++) sums[i][j] = vf_set(0);
    for (size_t c = 0; c < whole; c += LANES) {
        vf row[MAX_W];
        for (size_t i = 0; i < nw; i++) {
            const uint8_t *at = w + i * t->w_stride + c * bytes;
            // A single row waits for memory alone: the next block's weights are asked for, as rows
            // are too short for the processor to see a stream.
            if (nx == 1) __builtin_prefetch((const void *)((uintptr_t)at + nw * t->w_stride));
            row[i] = load_floats(type, at);
        }
        for (size_t j = 0; j < nx; j++) {
            vf one = vf_load(x + j * t->x_stride + c * sizeof(float));
            for (size_t i = 0; i < nw; i++) sums[i][j] = vf_fma(row[i], one, sums[i][j]);
        }
    }
    for (size_t i = 0; i < nw && rest; i++) {
        vf row = load_floats_part(type, w + i * t->w_stride + whole * bytes, rest);
        for (size_t j = 0; j < nx; j++) {
            vf one = vf_load_part(x + j * t->x_stride + whole * sizeof(float), rest);
            sums[i][j] = vf_fma(row, one, sums[i][j]);
        }
    }
    for (size_t j = 0; j < nx; j++)
        for (size_t i = 0; i < nw; i++)
            t->out[(r + j) * t->out_stride + o + i] = vf_sum(sums[i][j]);
}

INLINE void product_rows(const rill__tile *t, rill_type type, size_t nx, size_t r) {
    size_t o = 0;
    for (; o + MAX_W <= t->n_out; o += MAX_W) product_block(t, type, MAX_W, nx, o, r);
    for (; o < t->n_out; o++) product_block(t, type, 1, nx, o, r);
}

INLINE void product_any(const rill__tile *t, rill_type type) {
    size_t r = 0;
    for (; r + MAX_X <= t->n_rows; r += MAX_X) product_rows(t, type, MAX_X, r);
    for (; MAX_X > 3 && r + 3 <= t->n_rows; r += 3) product_rows(t, type, 3, r);
    if (t->n_rows - r == 2)
        product_rows(t, type, 2, r);
    else if (t->n_rows - r == 1)
        product_rows(t, type, 1, r);
}

static void NAME(product_f32)(const rill__tile *t) {
    product_any(t, RILL_TYPE_F32);
}
static void NAME(product_f16)(const rill__tile *t) {
    product_any(t, RILL_TYPE_F16);
}
static void NAME(product_bf16)(const rill__tile *t) {
    product_any(t, RILL_TYPE_BF16);
}
