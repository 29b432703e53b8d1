// SPDX-License-Identifier: MIT
// Which sinks are tried, and what is recommended from perplexities that the test makes up.
#include "eval/sinks.h"

#include "support/open.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const rill_token head[] = {1}, newline = 7;
static const rill_token body[] = {100, 101, 102, 103, 104, 105, 106, 107, 108, 109,
                                  110, 111, 112, 113, 114, 115, 116, 117, 118, 119};

static const rill__sinks_choice *find(const rill__sinks_choice *choices, size_t n,
                                      const char *key) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(choices[i].key, key)) return &choices[i];
    return NULL;
}

static void check_fed(const rill__sinks_choice *c, uint32_t n, const rill_token *fed,
                      size_t n_fed) {
    assert_non_null(c);
    assert_int_equal(c->n, n);
    assert_int_equal(c->n_fed, n_fed);
    if (n_fed) assert_memory_equal(c->fed, fed, n_fed * sizeof *fed);
}

// With a begin token in front, positions count from it.
static void test_choices(void **state) {
    (void)state;
    rill__sinks_choice c[RILL_SINKS_MOST_CHOICES];
    const rill__sinks_text text = {head, 1, body, 20};
    const uint32_t by_attention[2] = {3, 0};
    size_t n = rill__sinks_choices(&text, by_attention, &newline, c);
    assert_int_equal(n, 7);
    check_fed(find(c, n, "first_4"), 4, head, 1);
    check_fed(find(c, n, "first_1"), 1, head, 1);
    check_fed(find(c, n, "most_3"), 1, (const rill_token[]){102}, 1);
    check_fed(find(c, n, "most_3_0"), 2, (const rill_token[]){102, 1}, 2);
    check_fed(find(c, n, "no_begin"), 4, NULL, 0);
    check_fed(find(c, n, "newline_4"), 4, (const rill_token[]){7, 7, 7, 7}, 4);
    check_fed(find(c, n, "middle_4"), 4, (const rill_token[]){110, 111, 112, 113}, 4);
    assert_string_equal(find(c, n, "most_3")->name, "token 3 alone: most attention");
}

// Without one, and where the first token gets most: what would be measured twice is left out.
static void test_fewer_choices(void **state) {
    (void)state;
    rill__sinks_choice c[RILL_SINKS_MOST_CHOICES];
    const rill__sinks_text text = {NULL, 0, body, 20};
    const uint32_t by_attention[2] = {0, 5};
    size_t n = rill__sinks_choices(&text, by_attention, NULL, c);
    assert_int_equal(n, 4);
    check_fed(find(c, n, "first_4"), 4, NULL, 0);
    check_fed(find(c, n, "first_1"), 1, NULL, 0);
    check_fed(find(c, n, "most_0_5"), 2, (const rill_token[]){100, 105}, 2);
    assert_null(find(c, n, "most_0"));
    assert_null(find(c, n, "no_begin"));
    assert_null(find(c, n, "newline_4"));
    // Nobody looked where attention goes.
    n = rill__sinks_choices(&text, NULL, NULL, c);
    assert_int_equal(n, 3);
    assert_null(find(c, n, "most_0_5"));
}

static size_t best(const rill__sinks_trial *trials, size_t n) {
    size_t found = n;
    assert_true(rill__sinks_best(trials, n, &found));
    return found;
}

static size_t fewest(const rill__sinks_trial *trials, size_t n) {
    size_t found = n;
    assert_true(rill__sinks_fewest(trials, n, &found));
    return found;
}

static void test_recommendation(void **state) {
    (void)state;
    // The table of Llama-2-7B in the paper (0+4096 and so on): 8 are best, 4 are within 0.53%.
    rill__sinks_trial llama[] = {{.sinks = 0, .perplexity = 3359.95},
                                 {.sinks = 1, .perplexity = 11.88},
                                 {.sinks = 2, .perplexity = 10.51},
                                 {.sinks = 4, .perplexity = 9.59},
                                 {.sinks = 8, .perplexity = 9.54}};
    assert_int_equal(best(llama, 5), 4);
    assert_int_equal(fewest(llama, 5), 4);  // 9.59 > 9.54 * 1.005 = 9.5877
    llama[3].perplexity = 9.5877 - 1e-9;
    assert_int_equal(fewest(llama, 5), 3);
    // Falcon-7B: one is as good as any.
    const rill__sinks_trial falcon[] = {{.sinks = 8, .perplexity = 12.12},
                                        {.sinks = 4, .perplexity = 12.12},
                                        {.sinks = 0, .perplexity = 17.90},
                                        {.sinks = 1, .perplexity = 12.12},
                                        {.sinks = 2, .perplexity = 12.12}};
    assert_int_equal(best(falcon, 5), 0);
    assert_int_equal(fewest(falcon, 5), 3);
}

// What is no number is never best, wherever it stands; where nothing else is, nothing is best.
static void test_numbers_that_are_none(void **state) {
    (void)state;
    const rill__sinks_trial trials[] = {{.sinks = 0, .perplexity = NAN},
                                        {.sinks = 1, .perplexity = INFINITY},
                                        {.sinks = 4, .perplexity = 10.01},
                                        {.sinks = 8, .perplexity = 10},
                                        {.sinks = 2, .perplexity = NAN}};
    size_t found;
    assert_int_equal(best(trials, 5), 3);
    assert_int_equal(fewest(trials, 5), 2);
    assert_false(rill__sinks_best(trials, 2, &found));
    assert_false(rill__sinks_fewest(trials, 2, &found));
    assert_false(rill__sinks_best(trials, 0, &found));
}

// The widest window fits, and one token more does not.
static void test_widest(void **state) {
    (void)state;
    rill_device_options one = {.threads = 1};
    rill_model *model = test_model(test_shipped_model(), &one);
    rill_stream_options o;
    rill_stream_bytes bytes;
    rill_error err;
    uint32_t window;
    rill_stream_options_default(&o);
    o.sinks = 4;
    for (uint64_t memory = 1 << 20; memory <= 4 << 20; memory += 123457) {
        must(rill__sinks_widest(model, &o, memory, 4096, &window, &err), &err);
        o.window = window;
        must(rill_stream_estimate(model, &o, NULL, &bytes, &err), &err);
        assert_true(bytes.cache <= memory);
        o.window = window + 1;
        must(rill_stream_estimate(model, &o, NULL, &bytes, &err), &err);
        assert_true(bytes.cache > memory);
    }
    must(rill__sinks_widest(model, &o, (uint64_t)1 << 40, 512, &window, &err), &err);
    assert_int_equal(window, 508);
    assert_int_equal(rill__sinks_widest(model, &o, 1000, 512, &window, &err), RILL_EINVAL);
    rill_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices),        cmocka_unit_test(test_fewer_choices),
        cmocka_unit_test(test_recommendation), cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test(test_widest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
