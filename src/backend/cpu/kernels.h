// SPDX-License-Identifier: MIT
// The CPU's kernels: one slot an operation, filled with the reference and then, tier by tier, with what
// the processor can do better. Callers see the struct only.
//
// Every kernel computes an element of its result in an order that depends on the lengths alone, never on
// how many rows are computed together: that is what makes batches, chunks and threads invisible.
#ifndef RILL_CPU_KERNELS_H
#define RILL_CPU_KERNELS_H

#include "format/types.h"

enum {
    RILL_CPU_TYPES = 31,  // indices of rill_type
    RILL_Q8 = 32,         // values of a block of quantised activations
};

// A row of activations quantised for the products with quantised weights: x = d * q in blocks of 32.
// The three arrays lie one behind another (rill__q8_row_bytes).
typedef struct rill__q8_row {
    const float *d;       // [k / 32] scales
    const int32_t *sums;  // [k / 32] sum of a block's q: products of unsigned bytes need it
    const int8_t *q;      // [k]
} rill__q8_row;

// Bytes of a quantised row of k values (a multiple of 32), rounded up to a cache line.
size_t rill__q8_row_bytes(size_t k);
// The arrays of row `row` in `rows`, whose rows have k values.
rill__q8_row rill__q8_row_at(const uint8_t *rows, size_t k, size_t row);

// Rows of a matrix product: out[r * out_stride + o] = sum_k w[o][k] * x[r][k].
typedef struct rill__tile {
    const uint8_t *w;  // weight row o begins at w + o * w_stride bytes; any alignment
    size_t w_stride;
    size_t n_out;      // weight rows
    const uint8_t *x;  // float rows (x_stride bytes apart), or quantised rows of k values
    size_t x_stride;
    size_t n_rows;     // activation rows
    size_t k;          // columns
    float *out;
    size_t out_stride;  // floats
} rill__tile;

typedef struct rill__cpu_kernels {
    // n values of a type to float32. n is a whole number of blocks; src has any alignment. Exact.
    void (*decode[RILL_CPU_TYPES])(const void *src, float *dst, size_t n);
    // w: float rows. The reference accumulates in double, tiers in float32 with fused additions.
    void (*product_f32)(const rill__tile *tile);
    // A row of n values (whole blocks) to q8: d = greatest / 127, q rounded to nearest.
    void (*quantize_q8)(const float *x, uint8_t *row, size_t n);
    // Products with quantised rows, by type of weights; NULL where a type has none: then weights are
    // decoded and product_f32 serves. Products within a block are exact integers.
    void (*product_q8[RILL_CPU_TYPES])(const rill__tile *tile);
    // sums[h][c] += weights[h * weight_stride] * v[c] for h < n_heads, c < dim. `sums` is double in the
    // reference, float in the tiers: opaque to the caller, 8 bytes an element.
    void (*mix)(void *sums, const float *v, const float *weights, size_t weight_stride,
                size_t n_heads, size_t dim);
    // out[c] = scale * sums[h][c] of head `head`.
    void (*mix_end)(const void *sums, size_t head, float scale, float *out, size_t dim);
    // x[i] = exp(x[i] - greatest); returns the sum. -inf gives 0. Within 2 ulp of the reference.
    double (*exp_sum)(float *x, size_t n, float greatest);
    // out[i] = x[i] / (1 + exp(-x[i])) * up[i]; up may be NULL for 1.
    void (*silu)(const float *x, const float *up, float *out, size_t n);
    // out[i] = x[i] * weight[i] / sqrt(mean(x^2) + eps)
    void (*rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n);
} rill__cpu_kernels;

// Fills every slot with the reference, then overrides by tier. `exact`: the reference alone, and
// weights never meet quantised activations.
void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact);

// The tiers, lowest first; each overrides what it has.
void rill__cpu_kernels_ref(rill__cpu_kernels *k);
void rill__cpu_kernels_avx2(rill__cpu_kernels *k, unsigned cpu_flags);
void rill__cpu_kernels_avx512(rill__cpu_kernels *k, unsigned cpu_flags);

#endif
