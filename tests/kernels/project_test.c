// SPDX-License-Identifier: MIT
// Products of matrices through the backend: near the exact ones, and the same bits whatever the
// threads, the batch, and the row that a weight begins at.
#include "backend/cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends.h"

// Rows that are no whole tiles, and columns that are no whole chunks; once so many rows that they
// meet a tile in two turns.
enum { COLUMNS = RESERVED_WIDTH, OUTS = 300, BATCH = 11, LARGE_BATCH = RESERVED_ROWS };

static size_t columns_of(rill_type type) {
    return rill__type_traits_get(type)->block == 256 ? 512 : COLUMNS;
}

static void multiply(rill__backend *be, const rill__tensor *tensor, const float *x, size_t n_rows,
                     rill__precision precision, float *out) {
    rill_error err;
    rill__weight *w = NULL, *bias = NULL;
    float biases[OUTS];
    for (int i = 0; i < OUTS; i++) biases[i] = (float)i;
    const rill__tensor t = {.name = "bias",
                            .type = RILL_TYPE_F32,
                            .n_dims = 1,
                            .shape = {OUTS, 1, 1, 1},
                            .data = (const uint8_t *)biases,
                            .bytes = sizeof biases};
    assert_int_equal(be->ops->weight_new(be, tensor, RILL_USE_PRODUCTS, &w, &err), RILL_OK);
    assert_int_equal(be->ops->weight_new(be, &t, RILL_USE_PRODUCTS, &bias, &err), RILL_OK);
    rill__buffer *in = buffer_of(be, x, n_rows * tensor->shape[1]);
    rill__buffer *first = buffer_of(be, NULL, n_rows * OUTS);
    rill__buffer *second = buffer_of(be, NULL, n_rows * OUTS);
    const rill__projection both[] = {{w, NULL, first}, {w, bias, second}};
    uint64_t before = rill__allocation_count();
    be->ops->project(be, in, n_rows, both, 2, precision);
    assert_int_equal(rill__allocation_count(), before);
    be->ops->buffer_read(be, first, 0, out, n_rows * OUTS * sizeof *out);
    for (size_t r = 0; r < n_rows; r++) {
        float with[OUTS];
        be->ops->buffer_read(be, second, r * sizeof with, with, sizeof with);
        for (int o = 0; o < OUTS; o++) assert_true(with[o] == out[r * OUTS + o] + biases[o]);
    }
    rill__buffer *const all[] = {in, first, second};
    for (size_t i = 0; i < 3; i++) be->ops->buffer_free(be, all[i]);
    be->ops->weight_free(be, w);
    be->ops->weight_free(be, bias);
}

// Weights at an odd address, as in a mapped file.
static uint8_t *make_weights(rill_type type, rill__tensor *tensor) {
    const rill__type_traits *t = rill__type_traits_get(type);
    size_t columns = columns_of(type), bytes = OUTS * columns / t->block * t->block_bytes;
    uint8_t *memory = calloc(1, bytes + 1);
    float *row = calloc(columns, sizeof *row);
    assert_true(memory && row);
    uint64_t seed = (uint64_t)type + 1;
    for (size_t o = 0; o < OUTS; o++) {
        for (size_t i = 0; i < columns; i++) row[i] = random_float(&seed);
        t->from_float(row, memory + 1 + o * (bytes / OUTS), columns);
    }
    free(row);
    *tensor = (rill__tensor){.name = "weights",
                             .type = type,
                             .n_dims = 2,
                             .shape = {OUTS, columns, 1, 1},
                             .data = memory + 1,
                             .bytes = bytes};
    return memory;
}

static void check_products(const char *tier, rill_type type, rill__precision precision,
                           const float *x) {
    rill__tensor tensor;
    size_t n = type == RILL_TYPE_Q4_0 ? LARGE_BATCH : BATCH, columns = columns_of(type);
    uint8_t *memory = make_weights(type, &tensor);
    float *expected = calloc(n * OUTS, sizeof *expected);
    float *out = calloc(n * OUTS, sizeof *out), *exact = calloc(n * OUTS, sizeof *exact);
    assert_true(expected && out && exact);
    rill__backend *be = open_backend(NULL, 1, true);
    multiply(be, &tensor, x, n, precision, exact);
    be->ops->close(be);
    for (unsigned threads = 1; threads <= 4; threads++) {
        be = open_tier(tier, threads);
        multiply(be, &tensor, x, n, precision, threads == 1 ? expected : out);
        if (threads > 1) assert_memory_equal(out, expected, n * OUTS * sizeof *out);
        for (size_t r = 0; r < n && threads == 2; r += n / BATCH) {
            multiply(be, &tensor, x + r * columns, 1, precision, out);
            assert_memory_equal(out, expected + r * OUTS, OUTS * sizeof *out);
        }
        be->ops->close(be);
    }
    double off = 0, size = 0;  // the share of noise, all rows together
    for (size_t i = 0; i < n * OUTS; i++) {
        off += ((double)expected[i] - exact[i]) * ((double)expected[i] - exact[i]);
        size += (double)exact[i] * exact[i];
    }
    // Numbers within +-127 (fine: 257 times as many) that are rounded to nearest.
    bool quantises = rill__whole_format_of(type).run > 0;
    double noise = !quantises ? 1e-11 : precision == RILL_PRECISION_COARSE ? 3e-5 : 1e-8;
    assert_true(off <= size * noise);
    free(exact);
    free(out);
    free(expected);
    free(memory);
}

static void products_do_not_depend_on_threads_or_batch(void **state) {
    static const rill_type types[] = {RILL_TYPE_F32,  RILL_TYPE_F16,    RILL_TYPE_BF16,
                                      RILL_TYPE_Q8_0, RILL_TYPE_Q4_0,   RILL_TYPE_Q4_1,
                                      RILL_TYPE_Q5_0, RILL_TYPE_Q5_1,   RILL_TYPE_Q2_K,
                                      RILL_TYPE_Q3_K, RILL_TYPE_Q4_K,   RILL_TYPE_Q5_K,
                                      RILL_TYPE_Q6_K, RILL_TYPE_IQ4_NL, RILL_TYPE_IQ4_XS,
                                      RILL_TYPE_MXFP4};
    rill__backend *be = open_tier(*state, 1);
    be->ops->close(be);
    float *x = calloc((size_t)LARGE_BATCH * COLUMNS, sizeof *x);
    assert_non_null(x);
    uint64_t seed = 3;
    for (size_t i = 0; i < (size_t)LARGE_BATCH * COLUMNS; i++) x[i] = random_float(&seed);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        check_products(*state, types[i], RILL_PRECISION_COARSE, x);
        check_products(*state, types[i], RILL_PRECISION_FINE, x);
    }
    free(x);
}

// Experts lie one below the other, so that one may begin in the middle of a tile.
static void products_begin_at_any_row(void **state) {
    enum { FIRST = 20, ROWS = 50 };
    rill__backend *be = open_tier(*state, 2);
    rill__tensor tensor;
    rill_error err;
    uint8_t *memory = make_weights(RILL_TYPE_Q8_0, &tensor);
    float x[2 * COLUMNS], all[2 * OUTS], some[2 * ROWS];
    uint64_t seed = 5;
    for (size_t i = 0; i < 2 * COLUMNS; i++) x[i] = random_float(&seed);
    rill__weight *w = NULL;
    assert_int_equal(be->ops->weight_new(be, &tensor, RILL_USE_PRODUCTS, &w, &err), RILL_OK);
    rill__weight expert = *w;
    expert.first = FIRST;
    expert.rows = ROWS;
    expert.data += FIRST * w->row_bytes;
    rill__buffer *in = buffer_of(be, x, 2 * COLUMNS), *out = buffer_of(be, NULL, 2 * OUTS);
    const rill__projection whole = {w, NULL, out}, part = {&expert, NULL, out};
    be->ops->project(be, in, 2, &whole, 1, RILL_PRECISION_FINE);
    be->ops->buffer_read(be, out, 0, all, sizeof all);
    be->ops->project(be, in, 2, &part, 1, RILL_PRECISION_FINE);
    be->ops->buffer_read(be, out, 0, some, sizeof some);
    for (size_t r = 0; r < 2; r++)
        assert_memory_equal(some + r * ROWS, all + r * OUTS + FIRST, ROWS * sizeof *some);
    be->ops->buffer_free(be, in);
    be->ops->buffer_free(be, out);
    be->ops->weight_free(be, w);
    be->ops->close(be);
    free(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_ON(products_do_not_depend_on_threads_or_batch, "ref"),
        TEST_ON_TIERS(products_do_not_depend_on_threads_or_batch),
        TEST_ON(products_begin_at_any_row, "ref"),
        TEST_ON_TIERS(products_begin_at_any_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
