// SPDX-License-Identifier: MIT
// Operations of the device in $RILL_TEST_DEVICE against the exact kernels of the CPU, at random
// shapes, and bit for bit the same for a row alone and among others. Attention, experts and
// rotation have oracles of their own: tests/kernels, with the same variable.
//
//   RILL_TEST_DEVICE=cuda agreement_test [SEED] [small]     small: for compute-sanitizer
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

// Relative to the norm of what is compared. Exact kernels sum in double and round once; default
// ones round activations, and some weights' scales, to float16 (2^-11 each), which adds up like a
// random walk. Cosines and such are the device's own.
static const double exact_bound = 1e-5, default_bound = 2e-3;

// ---- Products

typedef struct product {
    rill_type type;
    size_t columns;
    size_t outs[2];  // of two projections of the same rows; the second has a bias
} product;

// [n_rows, outs[0]] and behind it [n_rows, outs[1]]
static float *multiply(rill__backend *be, rill__weight *const *w, const product *p, const float *x,
                       size_t n_rows, rill__precision precision) {
    float *out = calloc(n_rows * (p->outs[0] + p->outs[1]), sizeof *out);
    assert_non_null(out);
    rill__buffer *in = buffer_of(be, x, n_rows * p->columns);
    rill__buffer *to[] = {buffer_of(be, NULL, n_rows * p->outs[0]),
                          buffer_of(be, NULL, n_rows * p->outs[1])};
    const rill__projection both[] = {{w[0], NULL, to[0]}, {w[1], w[2], to[1]}};
    rill__pass pass;
    begin_free_rows(be, &pass, n_rows);
    be->ops->project(be, in, n_rows, both, 2, precision);
    end_pass(be);
    size_t first = n_rows * p->outs[0];
    be->ops->buffer_read(be, to[0], 0, out, first * sizeof *out);
    be->ops->buffer_read(be, to[1], 0, out + first, n_rows * p->outs[1] * sizeof *out);
    be->ops->buffer_free(be, in);
    for (int i = 0; i < 2; i++) be->ops->buffer_free(be, to[i]);
    return out;
}

// A row among n_rows others against the same alone, both projections.
static void compare_alone(rill__backend *be, rill__weight *const *w, const product *p,
                          const float *x, size_t n_rows, size_t row, const float *all) {
    float *one = multiply(be, w, p, x + row * p->columns, 1, RILL_PRECISION_FINE);
    const float *second = all + n_rows * p->outs[0];
    if (memcmp(one, all + row * p->outs[0], p->outs[0] * sizeof *one) != 0 ||
        memcmp(one + p->outs[0], second + row * p->outs[1], p->outs[1] * sizeof *one) != 0)
        fail_msg("%s, %zu columns: row %zu of %zu has other bits than alone",
                 rill_type_name(p->type), p->columns, row, n_rows);
    free(one);
}

static void check_product(rill__backend *be, rill__backend *cpu, const product *p, double bound) {
    static const size_t batches[] = {1, 2, 7, 12, 32, 33, 200};
    size_t n_batches = small ? 6 : 7, most = batches[n_batches - 1];
    float *x = random_floats(most * p->columns);
    const rill__tensor t[] = {random_tensor(p->type, p->outs[0], p->columns),
                              random_tensor(p->type, p->outs[1], p->columns),
                              random_tensor(RILL_TYPE_F32, p->outs[1], 0)};
    rill__weight *w[3], *right[3];
    for (int i = 0; i < 3; i++) {
        w[i] = weight_of(be, &t[i], RILL_USE_PRODUCTS);
        right[i] = weight_of(cpu, &t[i], RILL_USE_PRODUCTS);
    }
    char what[80];
    snprintf(what, sizeof what, "project %s, %zu columns, %zu and %zu rows",
             rill_type_name(p->type), p->columns, p->outs[0], p->outs[1]);
    for (size_t b = 0; b < n_batches; b++) {
        size_t n = batches[b], looked_at = n < 7 ? n : 7;
        float *got = multiply(be, w, p, x, n, RILL_PRECISION_FINE);
        float *expected = multiply(cpu, right, p, x, looked_at, RILL_PRECISION_FINE);
        check(what, got, expected, looked_at, p->outs[0], bound);
        check(what, got + n * p->outs[0], expected + looked_at * p->outs[0], looked_at, p->outs[1],
              bound);
        for (size_t row = 0; row < n; row += 1 + n / 5) compare_alone(be, w, p, x, n, row, got);
        free(expected);
        free(got);
    }
    for (int i = 0; i < 3; i++) {
        be->ops->weight_free(be, w[i]);
        cpu->ops->weight_free(cpu, right[i]);
        free((void *)(uintptr_t)t[i].data);
    }
    free(x);
}

static void products_agree_and_do_not_depend_on_the_batch(void **state) {
    static const size_t columns[] = {64, 96, 512, 4096, 11008};
    rill__backend *be = open_test_backend(*state), *cpu = open_test_backend("exact");
    double bound = strcmp(*state, DEVICE_EXACT) == 0 ? exact_bound : default_bound;
    for (size_t i = 0; i < N_TYPES; i++)
        for (size_t c = 0; c < (small ? 3 : 5); c++) {
            if (columns[c] % rill__type_traits_get(types[i])->block) continue;
            const product p = {
                types[i], columns[c], {15 + 2 * random_size(40), 15 + random_size(130)}};
            check_product(be, cpu, &p, bound);
        }
    cpu->ops->close(cpu);
    be->ops->close(be);
}

// ---- Everything that works number by number, or row by row

// Rows of the operations below. `at` are theirs: x, y, and where rows are read and written.
typedef struct rows {
    const char *name;
    size_t n_rows, width;
    const float *x, *y;
    const rill__tensor *weight, *bias, *table;
    rill_token *tokens;
    uint32_t *chosen;
} rows;

enum { TABLE_ROWS = 50 };

typedef void operation(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                       rill__weight *const *w);

static void run_rms(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                    rill__weight *const *w) {
    be->ops->norm(be, x, y, w[0], NULL, RILL_NORM_RMS, 1e-5f, r->n_rows, r->width);
}
static void run_layer_norm(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                           rill__weight *const *w) {
    be->ops->norm(be, x, y, w[0], w[1], RILL_NORM_LAYER, 1e-5f, r->n_rows, r->width);
}
static void run_norm_in_place(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                              rill__weight *const *w) {
    (void)y;
    be->ops->norm(be, x, x, w[0], NULL, RILL_NORM_LAYER, 1e-6f, r->n_rows, r->width);
}
static void run_clamp(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                      rill__weight *const *w) {
    (void)y;
    (void)w;
    be->ops->clamp(be, x, 0.5f, r->n_rows, r->width);
}
static void run_cap(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                    rill__weight *const *w) {
    (void)y;
    (void)w;
    be->ops->cap(be, x, 0.7f, r->n_rows, r->width);
}
static void run_add(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                    rill__weight *const *w) {
    (void)w;
    be->ops->add(be, x, y, r->n_rows, r->width);
}
static void run_silu(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                     rill__weight *const *w) {
    (void)w;
    be->ops->activate(be, x, x, y, RILL_ACT_SILU, 0, r->n_rows, r->width);
}
static void run_gelu(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                     rill__weight *const *w) {
    (void)w;
    be->ops->activate(be, x, y, NULL, RILL_ACT_GELU, 0, r->n_rows, r->width);
}
static void run_gelu_tanh(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                          rill__weight *const *w) {
    (void)w;
    be->ops->activate(be, x, x, y, RILL_ACT_GELU_TANH, 0, r->n_rows, r->width);
}
static void run_clamped(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                        rill__weight *const *w) {
    (void)w;
    be->ops->activate(be, x, x, y, RILL_ACT_CLAMPED_SWIGLU, 0.6f, r->n_rows, r->width);
}
static void run_embed(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                      rill__weight *const *w) {
    (void)y;
    be->ops->embed(be, x, w[2], r->tokens, r->n_rows, 3);
}
static void run_select(rill__backend *be, const rows *r, rill__buffer *x, rill__buffer *y,
                       rill__weight *const *w) {
    (void)w;
    be->ops->select_rows(be, x, y, r->chosen, r->n_rows, r->width);
}

static float *run_rows(rill__backend *be, const rows *r, operation *op) {
    size_t n = r->n_rows * r->width;
    float *out = calloc(n, sizeof *out);
    assert_non_null(out);
    rill__buffer *x = buffer_of(be, r->x, n), *y = buffer_of(be, r->y, n);
    rill__weight *w[] = {weight_of(be, r->weight, RILL_USE_PRODUCTS),
                         weight_of(be, r->bias, RILL_USE_PRODUCTS),
                         weight_of(be, r->table, RILL_USE_ROWS)};
    rill__pass pass;
    // The pass's own tokens and wanted rows are those that operations are given.
    begin_rows_of(be, &pass, r->tokens, r->chosen, r->n_rows);
    op(be, r, x, y, w);
    end_pass(be);
    be->ops->buffer_read(be, x, 0, out, n * sizeof *out);
    be->ops->buffer_free(be, x);
    be->ops->buffer_free(be, y);
    for (int i = 0; i < 3; i++) be->ops->weight_free(be, w[i]);
    return out;
}

static rows random_rows(size_t n_rows, size_t width, rill__tensor tensors[3], rill_type type) {
    rows r = {.n_rows = n_rows, .width = width};
    r.x = random_floats(n_rows * width);
    r.y = random_floats(n_rows * width);
    tensors[0] = random_tensor(RILL_TYPE_F32, width, 0);
    tensors[1] = random_tensor(RILL_TYPE_F32, width, 0);
    tensors[2] = random_tensor(type, TABLE_ROWS, width);
    r.weight = &tensors[0];
    r.bias = &tensors[1];
    r.table = &tensors[2];
    r.tokens = calloc(n_rows, sizeof *r.tokens);
    r.chosen = calloc(n_rows, sizeof *r.chosen);
    assert_true(r.tokens && r.chosen);
    for (size_t i = 0; i < n_rows; i++) {
        r.tokens[i] = (rill_token)(random_size(TABLE_ROWS) - 1);
        r.chosen[i] = (uint32_t)(random_size(n_rows) - 1);
    }
    return r;
}

static void free_rows(rows *r, const rill__tensor tensors[3]) {
    for (int i = 0; i < 3; i++) free((void *)(uintptr_t)tensors[i].data);
    free((void *)(uintptr_t)r->x);
    free((void *)(uintptr_t)r->y);
    free(r->tokens);
    free(r->chosen);
}

static const struct {
    const char *name;
    operation *run;
    bool local;  // a row of the result is of the same row of what is given
} operations[] = {
    {"rms norm", run_rms, true},
    {"layer norm", run_layer_norm, true},
    {"norm in place", run_norm_in_place, true},
    {"clamp", run_clamp, true},
    {"cap", run_cap, true},
    {"add", run_add, true},
    {"silu", run_silu, true},
    {"gelu", run_gelu, true},
    {"gelu tanh", run_gelu_tanh, true},
    {"clamped swiglu", run_clamped, true},
    {"embed", run_embed, true},
    {"select rows", run_select, false},
};

static void check_rows(rill__backend *be, rill__backend *cpu, const rows *r) {
    for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
        char what[100];
        snprintf(what, sizeof what, "%s, %zu rows of %zu (%s)", operations[o].name, r->n_rows,
                 r->width, rill_type_name(r->table->type));
        float *got = run_rows(be, r, operations[o].run);
        float *right = run_rows(cpu, r, operations[o].run);
        check(what, got, right, r->n_rows, r->width, exact_bound);
        for (size_t row = 0; operations[o].local && row < r->n_rows; row += 1 + r->n_rows / 4) {
            rows one = *r;
            one.n_rows = 1;
            one.x += row * r->width;
            one.y += row * r->width;
            one.tokens += row;
            float *alone = run_rows(be, &one, operations[o].run);
            if (memcmp(alone, got + row * r->width, r->width * sizeof *alone) != 0)
                fail_msg("%s: row %zu has other bits than alone", what, row);
            free(alone);
        }
        free(got);
        free(right);
    }
}

static void rows_agree_and_do_not_depend_on_the_batch(void **state) {
    static const size_t widths[] = {64, 96, 128, 512, 2048, 4096, 11008};
    rill__backend *be = open_test_backend(*state), *cpu = open_test_backend("exact");
    for (size_t i = 0; i < N_TYPES; i++)
        for (size_t k = 0; k < (small ? 1 : 3); k++) {
            size_t width = widths[random_size(small ? 4 : 7) - 1];
            if (width % rill__type_traits_get(types[i])->block) width = 512;
            rill__tensor tensors[3];
            rows r = random_rows(random_size(small ? 9 : 300), width, tensors, types[i]);
            check_rows(be, cpu, &r);
            free_rows(&r, tensors);
        }
    cpu->ops->close(cpu);
    be->ops->close(be);
}

// What a product reads was written by an operation that makes float16 along with floats, or by one
// that does not: both must come out the same.
static void products_read_what_was_written_last(void **state) {
    enum { ROWS = 9, WIDTH = 256, OUTS = 40 };
    rill__backend *be = open_test_backend(*state);
    const rill__tensor t[] = {random_tensor(RILL_TYPE_Q8_0, OUTS, WIDTH),
                              random_tensor(RILL_TYPE_F32, WIDTH, 0)};
    rill__weight *w = weight_of(be, &t[0], RILL_USE_PRODUCTS);
    rill__weight *scale = weight_of(be, &t[1], RILL_USE_PRODUCTS);
    float *x = random_floats(ROWS * WIDTH), first[ROWS * OUTS], again[ROWS * OUTS];
    rill__buffer *in = buffer_of(be, x, ROWS * WIDTH), *out = buffer_of(be, NULL, ROWS * OUTS);
    rill__buffer *other = buffer_of(be, NULL, ROWS * WIDTH);
    const rill__projection p = {w, NULL, out};
    for (int turn = 0; turn < 3; turn++) {
        float *normed = calloc(ROWS * WIDTH, sizeof *normed);
        rill__pass pass;
        begin_free_rows(be, &pass, ROWS);
        be->ops->norm(be, other, in, scale, NULL, RILL_NORM_RMS, 1e-5f, ROWS, WIDTH);
        be->ops->add(be, other, in, ROWS, WIDTH);
        be->ops->project(be, other, ROWS, &p, 1, RILL_PRECISION_FINE);
        end_pass(be);
        be->ops->buffer_read(be, out, 0, first, sizeof first);
        be->ops->buffer_read(be, other, 0, normed, ROWS * WIDTH * sizeof *normed);
        be->ops->buffer_write(be, other, 0, normed, ROWS * WIDTH * sizeof *normed);
        begin_free_rows(be, &pass, ROWS);
        be->ops->project(be, other, ROWS, &p, 1, RILL_PRECISION_FINE);
        end_pass(be);
        be->ops->buffer_read(be, out, 0, again, sizeof again);
        assert_memory_equal(first, again, sizeof first);
        free(normed);
    }
    rill__buffer *const all[] = {in, out, other};
    for (int i = 0; i < 3; i++) be->ops->buffer_free(be, all[i]);
    be->ops->weight_free(be, w);
    be->ops->weight_free(be, scale);
    for (int i = 0; i < 2; i++) free((void *)(uintptr_t)t[i].data);
    free(x);
    be->ops->close(be);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        ON_DEVICE(products_agree_and_do_not_depend_on_the_batch),
        ON_DEVICE(rows_agree_and_do_not_depend_on_the_batch),
        ON_DEVICE(products_read_what_was_written_last),
    };
    if (!begin_device_tests(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
