// SPDX-License-Identifier: MIT
// Stages of the device in $RILL_TEST_DEVICE have the bits of their steps one by one, for few rows
// and many.
//
//   RILL_TEST_DEVICE=cuda stage_test [SEED] [small]     small: for compute-sanitizer
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

// x += down(act(gate(norm(x))) * up(norm(x))), as two stages or step by step.
typedef struct feed_forward {
    rill_type type;
    size_t n_rows, width, inner;
    bool gated;
    rill__weight *norm, *gate, *up, *down, *bias;
} feed_forward;

static void run_stages(rill__backend *be, const feed_forward *f, rill__buffer *x,
                       rill__buffer *const to[4]) {
    const rill__projection up = {f->up, f->bias, to[f->gated ? 2 : 1]};
    const rill__projection both[] = {f->gated ? (rill__projection){f->gate, NULL, to[1]} : up, up};
    const rill__projection down = {f->down, NULL, to[3]};
    const rill__stage first = {.in = x,
                               .n_rows = f->n_rows,
                               .width = f->width,
                               .normed = to[0],
                               .norm_weight = f->norm,
                               .norm_eps = 1e-5f,
                               .projections = both,
                               .n_projections = f->gated ? 2 : 1,
                               .precision = RILL_PRECISION_FINE,
                               .activates = true,
                               .activation = RILL_ACT_SILU,
                               .out_width = f->inner,
                               .reader = f->down};
    const rill__stage second = {.in = to[1],
                                .n_rows = f->n_rows,
                                .width = f->inner,
                                .projections = &down,
                                .n_projections = 1,
                                .precision = RILL_PRECISION_FINE,
                                .sum = x,
                                .out_width = f->width};
    rill__run_stage(be, &first);
    rill__run_stage(be, &second);
}

static void run_steps(rill__backend *be, const feed_forward *f, rill__buffer *x,
                      rill__buffer *const to[4]) {
    const rill__projection gate = {f->gate, NULL, to[1]}, down = {f->down, NULL, to[3]};
    const rill__projection up = {f->up, f->bias, to[f->gated ? 2 : 1]};
    be->ops->norm(be, to[0], x, f->norm, NULL, RILL_NORM_RMS, 1e-5f, f->n_rows, f->width);
    if (f->gated) be->ops->project(be, to[0], f->n_rows, &gate, 1, RILL_PRECISION_FINE);
    be->ops->project(be, to[0], f->n_rows, &up, 1, RILL_PRECISION_FINE);
    be->ops->activate(be, to[1], to[1], f->gated ? to[2] : NULL, RILL_ACT_SILU, 0, f->n_rows,
                      f->inner);
    be->ops->project(be, to[1], f->n_rows, &down, 1, RILL_PRECISION_FINE);
    be->ops->add(be, x, to[3], f->n_rows, f->width);
}

static float *run_feed_forward(rill__backend *be, const feed_forward *f, const float *x,
                               void (*run)(rill__backend *, const feed_forward *, rill__buffer *,
                                           rill__buffer *const[4])) {
    size_t n = f->n_rows * f->width, inner = f->n_rows * f->inner;
    float *out = calloc(n, sizeof *out);
    assert_non_null(out);
    rill__buffer *sum = buffer_of(be, x, n);
    rill__buffer *to[] = {buffer_of(be, NULL, n), buffer_of(be, NULL, inner),
                          buffer_of(be, NULL, inner), buffer_of(be, NULL, n)};
    rill__pass pass;
    begin_free_rows(be, &pass, f->n_rows);
    run(be, f, sum, to);
    end_pass(be);
    be->ops->buffer_read(be, sum, 0, out, n * sizeof *out);
    be->ops->buffer_free(be, sum);
    for (int i = 0; i < 4; i++) be->ops->buffer_free(be, to[i]);
    return out;
}

static void check_stages(rill__backend *be, feed_forward f) {
    const rill__tensor t[] = {random_tensor(RILL_TYPE_F32, f.width, 0),
                              random_tensor(f.type, f.inner, f.width),
                              random_tensor(f.type, f.inner, f.width),
                              random_tensor(f.type, f.width, f.inner),
                              random_tensor(RILL_TYPE_F32, f.inner, 0)};
    rill__weight **const w[] = {&f.norm, &f.gate, &f.up, &f.down, &f.bias};
    for (int i = 0; i < 5; i++) *w[i] = weight_of(be, &t[i], RILL_USE_PRODUCTS);
    float *x = random_floats(f.n_rows * f.width);
    float *stages = run_feed_forward(be, &f, x, run_stages);
    float *steps = run_feed_forward(be, &f, x, run_steps);
    if (memcmp(stages, steps, f.n_rows * f.width * sizeof *x) != 0)
        fail_msg("%s, %zu rows, %zu inside: stages have other bits than their steps",
                 rill_type_name(f.type), f.n_rows, f.inner);
    free(stages);
    free(steps);
    free(x);
    for (int i = 0; i < 5; i++) {
        be->ops->weight_free(be, *w[i]);
        free((void *)(uintptr_t)t[i].data);
    }
}

static void stages_have_the_bits_of_their_steps(void **state) {
    static const size_t batches[] = {1, 5, 20, 32, 33, 70, 200, 400};
    rill__backend *be = open_test_backend(*state);
    for (size_t i = 0; i < N_TYPES; i++)
        for (size_t b = 0; b < (small ? 5 : 8); b++)
            check_stages(be, (feed_forward){.type = types[i],
                                            .n_rows = batches[b],
                                            .width = 512,
                                            .inner = 256 * random_size(5),
                                            .gated = b % 2 == 0});
    // Matrices of many rows, which a GPU may cut into larger pieces.
    for (int i = 0; i < 2 && !small; i++) {
        rill_type type = i ? RILL_TYPE_Q4_K : RILL_TYPE_F16;
        check_stages(be, (feed_forward){type, 400, 256, 16384, .gated = true});
        check_stages(be, (feed_forward){type, 400, 16384, 256, .gated = true});
    }
    be->ops->close(be);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        ON_DEVICE(stages_have_the_bits_of_their_steps),
    };
    if (!begin_device_tests(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
