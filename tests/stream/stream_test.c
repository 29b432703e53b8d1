// SPDX-License-Identifier: MIT
// The public stream on small golden models: options, reports, pinning and methods on one; what each
// family must keep (bits at any chunk, with any neighbours and threads; far positions; cache types)
// on one a family.
#include "rill/rill.h"

#include "support/compare.h"
#include "support/golden.h"
#include "support/open.h"
#include "support/random_model.h"
#include "support/tensors.h"
#include "support/tiers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = GOLDEN_VOCABULARY, N = 300 };

static rill_model *model;  // of the test that runs, whose state is its name

static int open_model(void **state) {
    model =
        test_model(golden_directory(*state), &(rill_device_options){.exact = true, .threads = 2});
    return 0;
}

static int close_model(void **state) {
    (void)state;
    rill_model_close(&model);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    test_directory_remove();
    return 0;
}

static rill_stream_options options_of(uint32_t sinks, uint32_t window) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.sinks = sinks;
    o.window = window;
    return o;
}

static rill_stream *open_stream(const rill_stream_options *o) {
    rill_error err;
    rill_stream *s;
    must(rill_stream_open(model, o, &s, &err), &err);
    return s;
}

static void random_tokens(test_random *r, rill_token *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) tokens[i] = (rill_token)test_random_between(r, 0, VOCAB - 1);
}

static void feed(rill_stream *s, const rill_token *tokens, size_t n, float *logits) {
    rill_error err;
    must(rill_stream_feed(s, tokens, n, logits, &err), &err);
}

static void report_counts_seen_held_and_evicted(void **state) {
    (void)state;
    test_random r = {1};
    rill_token tokens[N];
    random_tokens(&r, tokens, N);
    rill_stream_options o = options_of(4, 28);
    rill_stream *s = open_stream(&o);
    feed(s, tokens, 20, NULL);
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    assert_int_equal(report.seen, 20);
    assert_int_equal(report.held, 20);
    assert_int_equal(report.evicted, 0);
    feed(s, tokens + 20, N - 20, NULL);
    rill_stream_get_report(s, &report);
    assert_int_equal(report.seen, N);
    assert_int_equal(report.held, 32);
    assert_int_equal(report.evicted, N - 32);
    assert_int_equal(report.capacity, 32);
    rill_token visible[40];
    assert_int_equal(rill_stream_visible(s, visible, 40), 32);
    assert_memory_equal(visible, tokens, 4 * sizeof *tokens);
    assert_memory_equal(visible + 4, tokens + N - 28, 28 * sizeof *tokens);
    rill_stream_close(&s);
}

static void reset_equals_a_new_stream(void **state) {
    (void)state;
    test_random r = {2};
    rill_token tokens[N];
    random_tokens(&r, tokens, N);
    rill_stream_options o = options_of(2, 30);
    rill_stream *used = open_stream(&o), *fresh = open_stream(&o);
    feed(used, tokens, 25, NULL);
    rill_error err;
    assert_int_equal(rill_stream_pin(used, &err), RILL_EINVAL);  // fewer than 16 would remain
    rill_stream_reset(used);
    feed(used, tokens, 10, NULL);
    assert_int_equal(rill_stream_pin(used, &err), RILL_OK);
    feed(used, tokens + 10, N - 10, NULL);
    rill_stream_reset(used);
    float *a = calloc((size_t)N * VOCAB, sizeof *a), *b = calloc((size_t)N * VOCAB, sizeof *b);
    feed(used, tokens, N, a);
    feed(fresh, tokens, N, b);
    assert_memory_equal(a, b, (size_t)N * VOCAB * sizeof *a);
    free(a);
    free(b);
    rill_stream_close(&used);
    rill_stream_close(&fresh);
}

static void dense_ends_at_its_capacity_and_reads_nothing_more(void **state) {
    (void)state;
    rill_stream_options o = options_of(0, 40);
    o.method = RILL_METHOD_DENSE;
    rill_stream *s = open_stream(&o);
    rill_token tokens[41] = {0};
    rill_error err;
    assert_int_equal(rill_stream_feed(s, tokens, 41, NULL, &err), RILL_ECONTEXT);
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    assert_int_equal(report.seen, 0);
    feed(s, tokens, 40, NULL);
    rill_generate_result result;
    assert_int_equal(rill_stream_generate(s, NULL, NULL, NULL, &result, &err), RILL_OK);
    assert_int_equal(result.stop, RILL_STOP_MEMORY);
    rill_stream_close(&s);
}

// Before the first eviction all methods are the same; recompute at any time equals a new dense
// stream over the tokens that it can see.
static void recompute_equals_dense_over_the_visible(void **state) {
    (void)state;
    test_random r = {3};
    rill_token tokens[80];
    random_tokens(&r, tokens, 80);
    for (uint32_t sinks = 0; sinks <= 4; sinks += 4) {
        rill_stream_options o = options_of(sinks, 24);
        o.method = RILL_METHOD_RECOMPUTE;
        rill_stream *s = open_stream(&o);
        feed(s, tokens, 80, NULL);
        const float *got;
        rill_error err;
        assert_int_equal(rill_stream_logits(s, &got, &err), RILL_OK);
        rill_token visible[32];
        size_t held = rill_stream_visible(s, visible, 32);
        assert_int_equal(held, sinks + 24);
        o = options_of(0, (uint32_t)held);
        o.method = RILL_METHOD_DENSE;
        rill_stream *dense = open_stream(&o);
        feed(dense, visible, held, NULL);
        const float *expected;
        assert_int_equal(rill_stream_logits(dense, &expected, &err), RILL_OK);
        assert_memory_equal(got, expected, VOCAB * sizeof *got);
        rill_stream_close(&dense);
        rill_stream_close(&s);
    }
}

static void far_positions_give_the_same_logits(void **state) {
    (void)state;
    test_random r = {4};
    rill_token tokens[N];
    random_tokens(&r, tokens, N);
    float *near = calloc((size_t)N * VOCAB, sizeof *near);
    float *far = calloc((size_t)N * VOCAB, sizeof *far);
    rill_stream_options o = options_of(4, 28);
    rill_stream *s = open_stream(&o);
    feed(s, tokens, N, near);
    rill_stream_close(&s);
    static const uint64_t starts[] = {(uint64_t)1 << 31, 1000000000000u, (uint64_t)1 << 62};
    for (size_t i = 0; i < 3; i++) {
        o.start = starts[i];
        s = open_stream(&o);
        feed(s, tokens, N, far);
        rill_stream_close(&s);
        assert_true(worst_of_bound(far, near, (size_t)N * VOCAB) <= 1.0);
    }
    free(near);
    free(far);
}

static void cache_types_stay_close(void **state) {
    (void)state;
    test_random r = {5};
    rill_token tokens[N];
    random_tokens(&r, tokens, N);
    static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                      RILL_TYPE_Q4_0};
    // As for default kernels: bf16 has the 8 bits of q8_0. 4 bits have a step 16 times as wide, and
    // divergence goes with its square.
    static const double bound[] = {0, 1e-4, 1e-3, 1e-3, 256e-3};
    enum { TYPES = sizeof types / sizeof *types };
    float *exact = calloc((size_t)N * VOCAB, sizeof *exact);
    float *other = calloc((size_t)N * VOCAB, sizeof *other);
    for (size_t k = 0; k < TYPES; k++) {
        for (size_t v = 0; v < TYPES; v++) {
            rill_stream_options o = options_of(4, 28);
            o.default_types = false;
            o.key_type = types[k];
            o.value_type = types[v];
            rill_stream *s = open_stream(&o);
            feed(s, tokens, N, k + v == 0 ? exact : other);
            rill_stream_close(&s);
            double kl = 0;
            for (size_t i = 0; k + v > 0 && i < N; i++)
                kl += kl_divergence(exact + i * VOCAB, other + i * VOCAB, VOCAB) / N;
            print_message("keys %s, values %s: KL %.1e\n", rill_type_name(types[k]),
                          rill_type_name(types[v]), kl);
            assert_true(kl <= bound[k] + bound[v]);
        }
    }
    free(exact);
    free(other);
}

static void impossible_options_name_what_is_right(void **state) {
    (void)state;
    rill_error err;
    rill_stream_bytes bytes;
    rill_stream_options wrong[8];
    for (int i = 0; i < 8; i++) wrong[i] = options_of(4, 28);
    wrong[0] = options_of(100000, 0);
    wrong[1].method = RILL_METHOD_WINDOW;
    wrong[2] = options_of(0, 100000);
    wrong[2].method = RILL_METHOD_DENSE;
    wrong[3].sink_scale = -1;
    wrong[4].sink_cap = 0;
    wrong[5].default_types = false;
    wrong[5].key_type = RILL_TYPE_Q4_K;
    wrong[6].chunk = 1 << 20;
    wrong[7] = options_of(4, 1u << 31);
    static const char *const fields[] = {"sinks",    "sinks",    "window", "sink_scale",
                                         "sink_cap", "key_type", "chunk",  "window"};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(rill_stream_estimate(model, &wrong[i], NULL, &bytes, &err), RILL_EINVAL);
        assert_non_null(strstr(err.message, fields[i]));
    }
}

static void tokens_outside_the_vocabulary_are_refused(void **state) {
    (void)state;
    rill_stream_options o = options_of(4, 28);
    rill_stream *s = open_stream(&o);
    rill_error err;
    const rill_token tokens[] = {1, VOCAB, -1};
    assert_int_equal(rill_stream_feed(s, tokens, 2, NULL, &err), RILL_EINVAL);
    assert_int_equal(rill_stream_feed(s, tokens + 2, 1, NULL, &err), RILL_EINVAL);
    const float *logits;
    assert_int_equal(rill_stream_logits(s, &logits, &err), RILL_EINVAL);
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    assert_int_equal(report.seen, 0);
    rill_stream_close(&s);
}

// Eight times the trained context would pass 32 bits, and come round to a window of nothing.
static void a_huge_trained_context_leaves_no_default_window(void **state) {
    (void)state;
    test_random r = {test_seed()};
    random_shape shape;
    random_shape_make(&r, "llama", &shape);
    shape.xpos = false;
    for (uint32_t bits = 27; bits <= 29; bits++) {
        shape.trained_context = 1u << bits;
        random_model_write(&r, &shape, test_directory());
        rill_model *huge =
            test_model(test_directory(), &(rill_device_options){.exact = true, .threads = 1});
        rill_stream_options o = options_of(0, 0), resolved;
        o.method = RILL_METHOD_DENSE;
        o.over_context = true;
        rill_stream_bytes bytes;
        rill_error err;
        rill_status status = rill_stream_estimate(huge, &o, &resolved, &bytes, &err);
        if (bits == 27) {  // 2^30 tokens are the most that a stream can hold
            must(status, &err);
            assert_int_equal(resolved.window, 1u << 30);
        } else {
            assert_int_equal(status, RILL_EINVAL);
            assert_non_null(
                strstr(err.message, bits == 28 ? "window: 2147483648" : "window: 4294967296"));
        }
        rill_model_close(&huge);
    }
}

// ---- What each family must keep ---------------------------------------------------------------

// All tokens in chunks of at most this size by a stream of a tier's own.
static float *logits_in_chunks(rill_device *device, const char *family, uint32_t chunk,
                               const rill_token *tokens, size_t n) {
    rill_error err;
    rill_model *m;
    rill_stream *s;
    rill_stream_options o = options_of(3, 21);
    o.chunk = chunk;
    must(rill_model_open(device, golden_directory(family), &m, &err), &err);
    must(rill_stream_open(m, &o, &s, &err), &err);
    float *logits = calloc(n * VOCAB, sizeof *logits);
    assert_non_null(logits);
    feed(s, tokens, n, logits);
    rill_stream_close(&s);
    rill_model_close(&m);
    return logits;
}

static void expect_rows(const float *got, const float *expected, size_t n) {
    assert_memory_equal(got, expected, n * VOCAB * sizeof *got);
}

// Neither the size of a chunk, nor other tokens in it, nor threads change a bit, on any tier.
static void company_changes_no_bit(void **state) {
    static const char *const tiers[] = {"exact", "ref", TEST_TIERS};
    enum { LENGTH = 90, SAME = 70 };
    test_random r = {test_seed()};
    rill_token tokens[LENGTH], other[LENGTH];
    random_tokens(&r, tokens, LENGTH);
    random_tokens(&r, other, LENGTH);
    memcpy(other, tokens, SAME * sizeof *tokens);
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        rill_device_options options = {.exact = i == 0, .cpu = i ? tiers[i] : NULL, .threads = 1};
        rill_device *one, *four;
        rill_error err;
        must(rill_device_open(&options, &one, &err), &err);
        options.threads = 4;
        must(rill_device_open(&options, &four, &err), &err);
        float *expected = logits_in_chunks(one, *state, 1, tokens, LENGTH);
        const uint32_t chunks[] = {7, 64, test_random_between(&r, 2, 90)};
        for (size_t k = 0; k < 3; k++) {
            float *got = logits_in_chunks(four, *state, chunks[k], tokens, LENGTH);
            expect_rows(got, expected, LENGTH);
            free(got);
            got = logits_in_chunks(one, *state, chunks[k], other, LENGTH);
            expect_rows(got, expected, SAME);
            free(got);
        }
        free(expected);
        rill_device_close(&one);
        rill_device_close(&four);
    }
}

// As long as all is seen, sinks or none, streaming or dense, are the same: both frames agree.
static void before_the_first_eviction_all_are_dense(void **state) {
    (void)state;
    enum { FULL = 48 };
    test_random r = {test_seed()};
    rill_token tokens[FULL];
    random_tokens(&r, tokens, FULL);
    rill_stream_options options[3] = {options_of(0, FULL), options_of(4, FULL - 4),
                                      options_of(17, FULL - 17)};
    options[0].method = RILL_METHOD_DENSE;
    options[1].start = (uint64_t)1 << 40;
    float *dense = calloc(FULL * VOCAB, sizeof *dense), *got = calloc(FULL * VOCAB, sizeof *got);
    for (int i = 0; i < 3; i++) {
        rill_stream *s = open_stream(&options[i]);
        feed(s, tokens, FULL, i == 0 ? dense : got);
        if (i > 0) assert_true(worst_of_bound(got, dense, FULL * VOCAB) <= 1.0);
        rill_stream_close(&s);
    }
    free(dense);
    free(got);
}

// Nothing is rotated: where the stream begins changes no bit.
static void alibi_knows_distances_only(void **state) {
    (void)state;
    test_random r = {test_seed()};
    rill_token tokens[N];
    random_tokens(&r, tokens, N);
    float *near = calloc((size_t)N * VOCAB, sizeof *near);
    float *far = calloc((size_t)N * VOCAB, sizeof *far);
    rill_stream_options o = options_of(4, 28);
    rill_stream *s = open_stream(&o);
    feed(s, tokens, N, near);
    rill_stream_close(&s);
    o.start = (uint64_t)1 << 40;
    s = open_stream(&o);
    feed(s, tokens, N, far);
    rill_stream_close(&s);
    assert_memory_equal(far, near, (size_t)N * VOCAB * sizeof *near);
    free(near);
    free(far);
}

// The scale base is 20: 40 / log2(3.5) tokens a power of two, 7 of them in 16 bits, 60 in 32.
static void xpos_fades_no_further_than_the_cache_can_hold(void **state) {
    (void)state;
    static const struct {
        rill_type type;
        uint32_t window;
        rill_status status;
    } cases[] = {{RILL_TYPE_F16, 150, RILL_OK},   {RILL_TYPE_F16, 151, RILL_EINVAL},
                 {RILL_TYPE_Q8_0, 150, RILL_OK},  {RILL_TYPE_Q8_0, 151, RILL_EINVAL},
                 {RILL_TYPE_Q4_0, 150, RILL_OK},  {RILL_TYPE_Q4_0, 151, RILL_EINVAL},
                 {RILL_TYPE_F32, 1323, RILL_OK},  {RILL_TYPE_F32, 1324, RILL_EINVAL},
                 {RILL_TYPE_BF16, 1323, RILL_OK}, {RILL_TYPE_BF16, 1324, RILL_EINVAL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill_stream_options o = options_of(4, cases[i].window);
        o.default_types = false;
        o.key_type = o.value_type = cases[i].type;
        rill_stream_bytes bytes;
        rill_error err;
        assert_int_equal(rill_stream_estimate(model, &o, NULL, &bytes, &err), cases[i].status);
        if (cases[i].status != RILL_OK) assert_non_null(strstr(err.message, "window: "));
    }
}

// A test on a family.
#define ON(test, family)                                                                           \
    { #test, test, open_model, close_model, family }
#define ON_LLAMA(test) ON(test, llama)

int main(void) {
    static char llama[] = "llama", xpos[] = "llama-xpos";
    static char mpt[] = "mpt-clip", falcon[] = "falcon-rw";
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } each[] = {
        {"company_changes_no_bit", company_changes_no_bit},
        {"reset_equals_a_new_stream", reset_equals_a_new_stream},
        {"recompute_equals_dense_over_the_visible", recompute_equals_dense_over_the_visible},
        {"before_the_first_eviction_all_are_dense", before_the_first_eviction_all_are_dense},
        {"far_positions_give_the_same_logits", far_positions_give_the_same_logits},
        {"cache_types_stay_close", cache_types_stay_close},
    };
    enum { EACH = sizeof each / sizeof *each, FIXED = 8 };
    static char names[EACH * GOLDEN_FAMILIES][80];
    struct CMUnitTest tests[FIXED + EACH * GOLDEN_FAMILIES] = {
        ON_LLAMA(report_counts_seen_held_and_evicted),
        ON_LLAMA(dense_ends_at_its_capacity_and_reads_nothing_more),
        ON_LLAMA(impossible_options_name_what_is_right),
        ON_LLAMA(tokens_outside_the_vocabulary_are_refused),
        ON_LLAMA(a_huge_trained_context_leaves_no_default_window),
        ON(alibi_knows_distances_only, mpt),
        ON(alibi_knows_distances_only, falcon),
        ON(xpos_fades_no_further_than_the_cache_can_hold, xpos),
    };
    for (size_t i = 0; i < EACH * GOLDEN_FAMILIES; i++) {
        const char *family = golden_families[i % GOLDEN_FAMILIES];
        CMUnitTestFunction test = each[i / GOLDEN_FAMILIES].test;
        if (test == cache_types_stay_close && strcmp(family, "gpt-oss") == 0)
            family = "gpt-oss-all";
        snprintf(names[i], sizeof names[i], "%s_of_%s", each[i / GOLDEN_FAMILIES].name, family);
        tests[FIXED + i] =
            (struct CMUnitTest){names[i], test, open_model, close_model, (void *)(uintptr_t)family};
    }
    return cmocka_run_group_tests(tests, NULL, remove_directory);
}
