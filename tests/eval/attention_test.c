// SPDX-License-Identifier: MIT
// Attention by position, against sums worked out by hand.
#include "eval/attention.h"

#include "support/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 2, HEADS = 2 };

static rill__attention *make(void) {
    rill__attention *a;
    rill_error err;
    must(rill__attention_new(LAYERS, HEADS, &a, &err), &err);
    return a;
}

static void near(double found, double right) {
    if (!(found > right - 1e-9 && found < right + 1e-9)) fail_msg("%.12g, not %.12g", found, right);
}

// Two tokens of a text, both heads: 1, then (0.75, 0.25) and (0.5, 0.5).
static void test_positions(void **state) {
    (void)state;
    rill__attention *a = make();
    static const float first[] = {1, 1}, second[] = {0.75f, 0.25f, 0.5f, 0.5f};
    rill__attention_add(a, &(rill_attention_row){.n_heads = HEADS,
                                                 .n_visible = 1,
                                                 .n_sinks = 1,
                                                 .first_recent = 1,
                                                 .weights = first,
                                                 .stride = 1});
    rill__attention_add(a, &(rill_attention_row){.token = 1,
                                                 .n_heads = HEADS,
                                                 .n_visible = 2,
                                                 .n_sinks = 1,
                                                 .first_recent = 1,
                                                 .weights = second,
                                                 .stride = 2});
    assert_int_equal(rill__attention_rows(a, 0), 2);
    assert_int_equal(rill__attention_rows(a, 1), 0);
    near(rill__attention_mean(a, 0, 0, 0), 1.75 / 2);
    near(rill__attention_mean(a, 0, 1, 0), 1.5 / 2);
    near(rill__attention_mean(a, 0, 0, 1), 0.25);  // over the one token that sees it
    near(rill__attention_mean(a, 0, 1, 1), 0.5);
    near(rill__attention_mean(a, 0, 1, 2), 0);
    near(rill__attention_mean(a, 1, 0, 0), 0);
    near(rill__attention_mean_of_all(a, 0), (1.75 / 2 + 1.5 / 2) / 4);
    // Above 0.3: both heads of layer 0 for the first token, the second head for the second.
    near(rill__attention_sink_share(a, 0), 0.5);
    near(rill__attention_sink_share(a, 1), 0.25);
    near(rill__attention_sink_share(a, 2), 0);
    rill__attention_free(&a);
    assert_null(a);
}

// Far into a text: columns are sinks 0 to 2, then tokens 14 to 17; a quarter goes to nobody.
static void test_far_tokens(void **state) {
    (void)state;
    rill__attention *a = make();
    static const float weights[] = {
        0.25f, 0.0625f, 0, 0.125f, 0.0625f, 0.125f, 0.125f, 9,  // head 0: the row's end is nobody's
        0,     0,       0, 0,      0,       0.5f,   0.5f,   9,  // head 1
    };
    rill__attention_add(a, &(rill_attention_row){.layer = 1,
                                                 .token = 17,
                                                 .n_heads = HEADS,
                                                 .n_visible = 7,
                                                 .n_sinks = 3,
                                                 .first_recent = 14,
                                                 .weights = weights,
                                                 .stride = 8});
    static const double positions[RILL_ATTENTION_POSITIONS] = {
        [0] = 0.25, [1] = 0.0625, [14] = 0.125, [15] = 0.0625};
    for (uint32_t i = 0; i < RILL_ATTENTION_POSITIONS; i++)
        near(rill__attention_mean(a, 1, 0, i), positions[i]);
    near(rill__attention_mean(a, 1, 0, RILL_ATTENTION_REST), 0.25);
    near(rill__attention_mean(a, 1, 0, RILL_ATTENTION_NOBODY), 0.25);
    near(rill__attention_mean(a, 1, 1, RILL_ATTENTION_REST), 1);
    near(rill__attention_mean(a, 1, 1, RILL_ATTENTION_NOBODY), 0);
    near(rill__attention_mean_of_all(a, RILL_ATTENTION_REST), 1.25 / 4);
    // Kept and put back, it is the same.
    rill__attention *again = make();
    size_t n, n_again;
    const double *values = rill__attention_values(a, &n);
    memcpy(rill__attention_values(again, &n_again), values, n * sizeof *values);
    assert_int_equal(n, n_again);
    assert_int_equal(n, LAYERS * (HEADS + 1) * RILL_ATTENTION_PARTS);
    assert_int_equal(rill__attention_rows(again, 1), 1);
    near(rill__attention_mean(again, 1, 0, 1), 0.0625);
    near(rill__attention_mean(again, 1, 1, RILL_ATTENTION_REST), 1);
    rill__attention_free(&again);
    rill__attention_free(&a);
}

// A mean of exactly the threshold is no sink: "exceeds".
static void test_threshold(void **state) {
    (void)state;
    rill__attention *a;
    rill_error err;
    must(rill__attention_new(1, 1, &a, &err), &err);
    for (int i = 0; i < 10; i++) {
        const float weights[] = {i < 3, i >= 3};
        rill__attention_add(a, &(rill_attention_row){.token = 1,
                                                     .n_heads = 1,
                                                     .n_visible = 2,
                                                     .n_sinks = 2,
                                                     .first_recent = 2,
                                                     .weights = weights,
                                                     .stride = 2});
    }
    near(rill__attention_mean(a, 0, 0, 0), 0.3);
    assert_true(rill__attention_sink_share(a, 0) == 0);
    assert_true(rill__attention_sink_share(a, 1) == 1);
    rill__attention_free(&a);
}

// A stream's own rows: each head gives away 1 for each token, however far the text has gone.
static void test_of_a_stream(void **state) {
    (void)state;
    enum { TOKENS = 60, SINKS = RILL_ATTENTION_POSITIONS };
    char path[512];
    rill_device_options one = {.threads = 1};
    snprintf(path, sizeof path, "%s/golden/llama", getenv("RILL_TEST_DATA"));
    rill_model *model = test_model(path, &one);
    rill_model_info info;
    rill_model_get_info(model, &info);
    rill_stream *stream;
    rill_stream_options o;
    rill__attention *a;
    rill_error err;
    size_t n;
    rill_stream_options_default(&o);
    o.sinks = SINKS;
    o.window = 8;
    must(rill__attention_new(info.n_layers, info.n_heads, &a, &err), &err);
    must(rill_stream_open(model, &o, &stream, &err), &err);
    must(rill_stream_observe(stream, rill__attention_add, a, &err), &err);
    for (rill_token i = 0; i < TOKENS; i++) must(rill_stream_feed(stream, &i, 1, NULL, &err), &err);
    const double *sums = rill__attention_values(a, &n);
    for (uint32_t layer = 0; layer < info.n_layers; layer++) {
        assert_int_equal(rill__attention_rows(a, layer), TOKENS);
        for (uint32_t head = 0; head < info.n_heads; head++) {
            double given = 0;
            for (int part = 0; part < RILL_ATTENTION_PARTS; part++) given += *sums++;
            assert_true(given > TOKENS - 1e-3 && given < TOKENS + 1e-3);
            // The first token sees itself alone, so its mean is at least that share.
            assert_true(rill__attention_mean(a, layer, head, 0) >= 1.0 / TOKENS - 1e-6);
        }
    }
    rill_stream_close(&stream);
    rill__attention_free(&a);
    rill_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_far_tokens),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_of_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
