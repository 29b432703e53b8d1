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
    RILL_CPU_TYPES = 40,    // indices of rill_type
    RILL_CPU_TILE = 32,     // weight rows that are worked on together
    RILL_CPU_CHUNK = 256,   // columns that are: a block of any type, or eight
    RILL_WHOLE_BLOCK = 32,  // values of a block of quantised activations
    RILL_CPU_KEYS = 64,     // keys of a block of attention
    RILL_CPU_SLACK = 16,    // floats that a kernel may read behind a block of values
};

// A block of activations whose greatest magnitude is below this is taken for zeros: the inverse of
// its scale would overflow.
#define RILL_WHOLE_LEAST 0x1p-100f

// Products of quantised weights with activations are products of whole numbers, exact in 32 bits,
// so that their order is nobody's business: one row alone, hundreds together, and every tier
// compute the same bits. A weight is d * (q - zero), or d * q - m, q a byte, d and m constant over
// a run of columns; an activation is dx * x, x of one byte or two, dx constant over a block of 32.
// An element of the result takes the runs in order, in float32:
//
//     s   = sum of (q - zero) * x over the run
//     out = fma(s, d * dx, out); with minima then out = fma(-m, dx * sum of x, out)

// Quantised rows of activations, one behind another.
typedef struct rill__whole_rows {
    uint8_t *memory;  // 64-byte aligned
    size_t columns;   // k of a row, a multiple of 32
    size_t n_rows;
    int parts;  // bytes of a number: 1, or 2 where precision matters more
} rill__whole_rows;

// One of them. A block that holds an infinity or a NaN has d = NaN, so that its products say so.
typedef struct rill__whole_row {
    float *d;          // [k / 32] scales
    int32_t *sums[2];  // of x: [k / 16] by runs of 16, [k / 32] by runs of 32
    int16_t *x;        // [k] within +-rill__whole_most; of every four columns 0, 2, 1, 3
    int8_t *bytes;     // [k / 32, parts, 32] x, or x = 256 * the first + the second; in order
} rill__whole_row;

// The greatest number: 127, or 127 * 256 + 127, so that each byte is signed.
static inline int rill__whole_most(int parts) {
    return parts == 2 ? 32639 : 127;
}

// Filled up to whole cache lines.
static inline size_t rill__whole_lines(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

// Bytes of a row, whole cache lines.
static inline size_t rill__whole_row_bytes(size_t k, int parts) {
    return 2 * rill__whole_lines(k / 8) + rill__whole_lines(k / 4) + rill__whole_lines(2 * k) +
           rill__whole_lines((size_t)parts * k);
}

// Where row r lies; the arrays belong to `rows`.
static inline rill__whole_row rill__whole_row_at(const rill__whole_rows *rows, size_t r) {
    size_t k = rows->columns;
    uint8_t *at = rows->memory + r * rill__whole_row_bytes(k, rows->parts);
    rill__whole_row row = {.d = (float *)(void *)at};
    row.sums[0] = (int32_t *)(void *)(at += rill__whole_lines(k / 8));
    row.sums[1] = (int32_t *)(void *)(at += rill__whole_lines(k / 4));
    row.x = (int16_t *)(void *)(at += rill__whole_lines(k / 8));
    row.bytes = (int8_t *)at + rill__whole_lines(2 * k);
    return row;
}

// Where the bytes from column c on lie, up to the end of its block, in a row of so many parts; with
// two, the second ones are RILL_WHOLE_BLOCK behind.
static inline size_t rill__whole_byte_at(size_t c, int parts) {
    return parts == 2 ? 2 * c - c % RILL_WHOLE_BLOCK : c;
}

// All types that are multiplied so, for lists that name them: X(name, TYPE, run, zero). run:
// columns that share a scale, 16 or 32; zero: the q of nought, a power of two; 0: the type has
// minima.
#define RILL_WHOLE_TYPES(X)                                                                        \
    X(q4_0, Q4_0, 32, 8)                                                                           \
    X(q4_1, Q4_1, 32, 0)                                                                           \
    X(q5_0, Q5_0, 32, 16)                                                                          \
    X(q5_1, Q5_1, 32, 0)                                                                           \
    X(q8_0, Q8_0, 32, 128)                                                                         \
    X(q2_k, Q2_K, 16, 0)                                                                           \
    X(q3_k, Q3_K, 16, 4)                                                                           \
    X(q4_k, Q4_K, 32, 0)                                                                           \
    X(q5_k, Q5_K, 32, 0)                                                                           \
    X(q6_k, Q6_K, 16, 32)                                                                          \
    X(iq4_nl, IQ4_NL, 32, 128)                                                                     \
    X(iq4_xs, IQ4_XS, 32, 128)                                                                     \
    X(mxfp4, MXFP4, 32, 16)

// How a type's values are whole numbers.
typedef struct rill__whole_format {
    uint8_t run;  // 0: the type is not of this kind
    uint8_t zero;
} rill__whole_format;

// run is 0 for floats and types that nobody knows.
rill__whole_format rill__whole_format_of(rill_type type);

// Calls fn(..., run, minima, parts) with all three constant, so that inlining unfolds their loops.
#define RILL_WITH_FORMAT(format, parts, fn, ...)                                                   \
    ((parts) == 2 ? RILL_WITH_RUN(format, 2, fn, __VA_ARGS__)                                      \
                  : RILL_WITH_RUN(format, 1, fn, __VA_ARGS__))
#define RILL_WITH_RUN(format, parts, fn, ...)                                                      \
    ((format).run == 32                                                                            \
         ? ((format).zero ? fn(__VA_ARGS__, 32, false, parts) : fn(__VA_ARGS__, 32, true, parts))  \
     : (format).zero ? fn(__VA_ARGS__, 16, false, parts)                                           \
                     : fn(__VA_ARGS__, 16, true, parts))

// Memory that is read next: a kernel may ask for it while it computes.
typedef struct rill__ahead {
    const uint8_t *at;
    size_t bytes;
} rill__ahead;

// Up to RILL_CPU_CHUNK columns of RILL_CPU_TILE rows of weights, a row to a lane.
typedef struct rill__whole {
    rill__whole_format format;
    size_t first;       // column
    size_t k;           // columns, a multiple of 32
    size_t row_bytes;   // of a packed row of them
    uint8_t *q;         // [k / 4, RILL_CPU_TILE, 4]
    float *d;           // [k / run, RILL_CPU_TILE]
    float *m;           // the same
    rill__ahead ahead;  // packed weights
} rill__whole;

// ---- Tiles: matrices of bfloat16 multiplied by the processor, where it can. Activations are taken
// in two parts, a high one and what it leaves, so that products are those of floats. An element of
// the result takes 32 columns at a time, in order, high parts before low ones.

enum {
    RILL_TILE_OUTS = 32,  // weight rows of a pass
    RILL_TILE_ROWS = 16,  // rows of activations of a group
};

typedef struct rill__tiles {
    const uint8_t *w;  // [RILL_TILE_OUTS] rows of k bfloat16, w_stride bytes apart, any alignment
    size_t w_stride;
    const uint8_t *next;  // rows to ask for meanwhile, NULL for none, next_stride apart
    size_t next_stride;
    size_t k;                    // a multiple of 32
    const uint16_t *high, *low;  // [n_rows * k] in groups of `lanes` = min(RILL_TILE_ROWS, what is
                                 // left) rows: [k / 2, lanes, 2]
    size_t n_rows;
    float *sums;  // [groups, RILL_TILE_OUTS, RILL_TILE_ROWS]
} rill__tiles;

// ---- Floats

// Rows of a matrix product: out[r * out_stride + o] = sum_k w[o][k] * x[r][k].
typedef struct rill__tile {
    const uint8_t *w;  // weight row o begins at w + o * w_stride bytes; any alignment
    size_t w_stride;
    size_t n_out;      // weight rows
    const uint8_t *x;  // float rows, x_stride bytes apart
    size_t x_stride;
    size_t n_rows;  // activation rows
    size_t k;       // columns
    float *out;
    size_t out_stride;  // floats
} rill__tile;

// A block of keys for attention, as it lies in the cache: position i of [first, end) at rows[i].
typedef struct rill__keys {
    rill_type type;
    const uint8_t *const *rows;
    size_t first;
    size_t end;
    size_t dim;
    float *out;  // from `first`, rounded down to 16, on: rows of dim rounded up to 32
    rill__ahead ahead;
} rill__keys;

// Queries meet a block of keys: positions [first, end) of RILL_CPU_KEYS, the others are not there.
typedef struct rill__scores {
    const float *q;  // [n_queries, dim rounded up to 4], zeros behind dim
    size_t n_queries;
    const float *keys;  // from pack_keys with the same positions
    size_t first;
    size_t end;
    size_t dim;
    float *out;  // [n_queries, RILL_CPU_KEYS]; positions that are not there get anything
    rill__ahead ahead;
} rill__scores;

// How far the softmax of one query has come.
typedef struct rill__softmax {
    float greatest;  // logit so far; -inf at first
    double sum;      // of exp(logit - greatest); 0 at first
} rill__softmax;

// A block of values, weighted: see `mix`.
typedef struct rill__mixture {
    const float *values;  // [end - first, stride]
    size_t stride;        // floats; RILL_CPU_SLACK readable ones follow the last row
    size_t first;
    size_t end;
    const float *weights;  // [n_queries, RILL_CPU_KEYS]
    const float *keep;     // [n_queries]
    size_t n_queries;
    size_t dim;
    rill__ahead ahead;
} rill__mixture;

typedef struct rill__cpu_kernels {
    // n values of a type to float32. n is a whole number of blocks; src has any alignment. Exact.
    void (*decode[RILL_CPU_TYPES])(const void *src, float *dst, size_t n);
    // Products with float32 rows, by type of weights; f32 always has one, the others where a tier
    // reads them in place: NULL means decode first. k is any number. The reference accumulates in
    // double, tiers in one vector of float32 lanes that takes the columns in turn, so that every
    // blocking of rows gives the same bits.
    void (*product[RILL_CPU_TYPES])(const rill__tile *tile);
    // More rows than these meet weights of f16 and bf16 that were decoded to float32 first, where
    // converting them anew for each few rows would take longer. The bits are the same.
    size_t in_place_rows;
    // Row r's values: d = greatest / rill__whole_most, rounded to nearest.
    void (*quantize_whole)(const float *x, const rill__whole_rows *rows, size_t r);
    // A chunk of packed weights (pack.h), columns [first, first + k) of w, to whole numbers. By
    // type; NULL in all tables for types that are not of this kind.
    void (*expand[RILL_CPU_TYPES])(const uint8_t *packed, rill__whole *w);
    // sums[r, o] += the products of weight row o with row r of activations, in w's columns; sums
    // are [n_rows, RILL_CPU_TILE].
    void (*product_whole)(const rill__whole *w, const rill__whole_rows *rows, float *sums);
    // The same from packed weights, as expand reads them, for one row (n_rows is 1) and a
    // whole chunk (k is RILL_CPU_CHUNK); by type, NULL with expand. w's q, d and m are scratch of a
    // chunk; what they hold afterwards is anything.
    void (*product_row[RILL_CPU_TYPES])(const uint8_t *packed, rill__whole *w,
                                        const rill__whole_rows *rows, float *sums);
    // Products by tiles, NULL where the processor has none.
    void (*product_tiles)(const rill__tiles *t);
    // n numbers, a multiple of 32, to their high and low parts.
    void (*split_bf16)(const float *x, size_t n, uint16_t *high, uint16_t *low);
    // Values to a type of the cache, with the bits of rill__type_traits.from_float. n is a whole
    // number of blocks.
    void (*encode[RILL_CPU_TYPES])(const float *src, void *dst, size_t n);
    // Attention (attend.c), block by block. Nothing about one query depends on the others, nor on
    // keys outside its own [first, end), be they infinite.
    //
    // Keys to float32, in the tier's own order.
    void (*pack_keys)(const rill__keys *k);
    // out[i][j] = q_i . k_j
    void (*score)(const rill__scores *s);
    // The block's logits become weights, exp(logit - the greatest so far), and go into the state;
    // keep[i] is what older sums of query i are to be multiplied by. n_queries share the range.
    void (*soften)(float *scores, size_t n_queries, size_t first, size_t end, rill__softmax *state,
                   float *keep);
    // sums[i][c] = keep[i] * sums[i][c] + sum over positions j of weights[i][j] * values[j][c], in
    // their order. Sums are opaque, sum_bytes an element: double in the reference, float in tiers.
    void (*mix)(void *sums, const rill__mixture *m);
    size_t sum_bytes;
    // total[c] = keep * total[c] + gain * part[c]
    void (*fold)(void *total, const void *part, double keep, double gain, size_t dim);
    // out[c] = a * x[c] + b * y[c]; never -0
    void (*mix_end)(const void *x, double a, const void *y, double b, float *out, size_t dim);
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
    // floats, bfloat16 summed in floats (as floats where the tier has no such products), and
    // bytes summed in 32 bits. Each returns the operations done, 2 a multiply-add.
    double (*burn_f32)(size_t rounds);
    double (*burn_bf16)(size_t rounds);
    double (*burn_int8)(size_t rounds);
} rill__cpu_kernels;

// Fills every slot with the reference, then overrides by tier. `exact`: the reference alone, and
// weights never meet quantised activations (`expand` and `product_row` are empty).
void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact);

// The tiers, lowest first; each overrides what it has.
void rill__cpu_kernels_ref(rill__cpu_kernels *k);
void rill__cpu_whole_ref(rill__cpu_kernels *k);  // of them, those of whole numbers
void rill__cpu_attend_ref(rill__cpu_kernels *k);
void rill__cpu_kernels_avx2(rill__cpu_kernels *k);
void rill__cpu_kernels_avxvnni(rill__cpu_kernels *k);
void rill__cpu_kernels_avx512(rill__cpu_kernels *k);
void rill__cpu_kernels_avx512vnni(rill__cpu_kernels *k);
void rill__cpu_kernels_avx512bf16(rill__cpu_kernels *k);
void rill__cpu_kernels_amx(rill__cpu_kernels *k);
void rill__cpu_kernels_neon(rill__cpu_kernels *k);
void rill__cpu_kernels_neondot(rill__cpu_kernels *k);
void rill__cpu_kernels_neoni8mm(rill__cpu_kernels *k);

#endif
