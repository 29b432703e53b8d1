// SPDX-License-Identifier: MIT
// The CPU's kernels: one slot an operation, filled with the reference and then, tier by tier, with
// what the processor can do better. Callers see the struct only.
//
// Every kernel computes an element of its result in an order that depends on the lengths alone,
// never on how many rows are computed together: that is what makes batches, chunks and threads
// invisible.
#ifndef RILL_CPU_KERNELS_H
#define RILL_CPU_KERNELS_H

#include "format/types.h"

enum {
    RILL_CPU_TYPES = 40,  // indices of rill_type
    RILL_Q16 = 32,        // values of a block of quantised activations
};

// A block of activations whose greatest magnitude is below this is taken for zeros: the inverse of
// its scale would overflow.
#define RILL_Q16_LEAST 0x1p-100f

// A row of activations quantised to 16 bits for the products with quantised weights, in blocks of
// 32: x = d * (128 * coarse + fine), two bytes a value, so that products of bytes are exact and the
// rounding of activations is lost in that of the weights. (8 bits alone cost 1e-3 nats a token.) A
// block that holds an infinity or a NaN has d = NaN, so that its products say so. The three arrays
// lie one behind another (rill__q16_row_bytes).
typedef struct rill__q16_row {
    const float *d;        // [k / 32] scales
    const int8_t *coarse;  // [k] in [-127, 127]
    const int8_t *fine;    // [k] in [-64, 64]
} rill__q16_row;

// Bytes of a quantised row of k values (a multiple of 32), rounded up to a cache line.
size_t rill__q16_row_bytes(size_t k);
// The arrays of row `row` in `rows`, whose rows have k values.
rill__q16_row rill__q16_row_at(const uint8_t *rows, size_t k, size_t row);

// Rows of a matrix product: out[r * out_stride + o] = sum_k w[o][k] * x[r][k].
typedef struct rill__tile {
    const uint8_t *w;  // weight row o begins at w + o * w_stride bytes; any alignment
    size_t w_stride;
    size_t n_out;      // weight rows
    const uint8_t *x;  // float rows (x_stride bytes apart), or quantised rows of k values
    size_t x_stride;
    size_t n_rows;  // activation rows
    size_t k;       // columns
    float *out;
    size_t out_stride;  // floats
} rill__tile;

// Values to mix: see `mix`.
typedef struct rill__values {
    const uint8_t *v;
    size_t v_stride;  // bytes
    size_t n_keys;
    const float *weights;
    size_t weight_stride;  // floats
    size_t n_heads;
    size_t dim;
} rill__values;

typedef struct rill__cpu_kernels {
    // n values of a type to float32. n is a whole number of blocks; src has any alignment. Exact.
    void (*decode[RILL_CPU_TYPES])(const void *src, float *dst, size_t n);
    // Products with float32 rows, by type of weights; f32 always has one, the others where a tier
    // reads them in place: NULL means decode first. k is any number. The reference accumulates in
    // double, tiers in one vector of float32 lanes that takes the columns in turn, so that every
    // blocking of rows gives the same bits.
    void (*product[RILL_CPU_TYPES])(const rill__tile *tile);
    // A row of n values (whole blocks) to 16 bits: d = greatest / (127 * 128), rounded to nearest.
    void (*quantize_q16)(const float *x, uint8_t *row, size_t n);
    // Products with quantised rows, by type of weights; NULL where a type has none: then weights
    // are decoded and product_f32 serves. Products within a block are exact integers.
    void (*product_q16[RILL_CPU_TYPES])(const rill__tile *tile);
    // sums[h * dim + c] += sum over keys i of weights[h * weight_stride + i] * v_i[c], in the order
    // of keys, for h < n_heads, c < dim. v_i begins at v + i * v_stride bytes. By type of values,
    // as `product`. `sums` is double in the reference, float in the tiers: opaque, 8 bytes an
    // element.
    void (*mix[RILL_CPU_TYPES])(void *sums, const rill__values *values);
    // out[c] = scale * sums[h][c] of head `head`.
    void (*mix_end)(const void *sums, size_t head, float scale, float *out, size_t dim);
    // x[i] = exp(x[i] - greatest); returns the sum. -inf gives 0. Tiers round the
    // difference to float32 and are within 2 ulp of its exponential.
    double (*exp_sum)(float *x, size_t n, float greatest);
    // out[i] = x[i] / (1 + exp(-x[i])) * up[i]; up may be NULL for 1. x is finite or NaN.
    void (*silu)(const float *x, const float *up, float *out, size_t n);
    // The same with x[i] * (1 + erf(x[i] / sqrt(2))) / 2.
    void (*gelu)(const float *x, const float *up, float *out, size_t n);
    // The same with x[i] * (1 + tanh(sqrt(2 / pi) * (x[i] + 0.044715 * x[i]^3))) / 2.
    void (*gelu_tanh)(const float *x, const float *up, float *out, size_t n);
    // out[i] = g / (1 + exp(-1.702 g)) * (u + 1), with g = x[i] up to limit and u = up[i] within
    // +-limit (gpt-oss's; transformers: modeling_gpt_oss.py, GptOssExperts). x and up are finite or
    // NaN, which stays NaN.
    void (*clamped_swiglu)(const float *x, const float *up, float *out, size_t n, float limit);
    // out[i] = x[i] * weight[i] / sqrt(mean(x^2) + eps)
    void (*rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n);
    // Nothing but multiplications and additions in registers, by the tier's best way, for the roof:
    // floats, and bytes summed in 32 bits. Each returns the operations done, 2 a multiply-add.
    double (*burn_f32)(size_t rounds);
    double (*burn_int8)(size_t rounds);
} rill__cpu_kernels;

// Fills every slot with the reference, then overrides by tier. `exact`: the reference alone, and
// weights never meet quantised activations.
void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact);

// The tiers, lowest first; each overrides what it has.
void rill__cpu_kernels_ref(rill__cpu_kernels *k);
void rill__cpu_kernels_avx2(rill__cpu_kernels *k);
void rill__cpu_kernels_avx512(rill__cpu_kernels *k);
void rill__cpu_kernels_avx512vnni(rill__cpu_kernels *k);

#endif
