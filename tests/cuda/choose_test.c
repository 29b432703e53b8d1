// SPDX-License-Identifier: MIT
// Tokens that the device in $RILL_TEST_DEVICE chooses are those of the host's sampler, with random
// logits and options: flat and steep, with ties, biases and penalties; and a stream that leaves its
// choices to the device writes what the host would write from the same logits.
//
//   RILL_TEST_DEVICE=cuda choose_test [SEED]
#include "rill/rill.h"

#include "stream/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/open.h"
#include "base/random.h"
#include "support/golden.h"
#include "support/open.h"

static uint64_t random_state[4];
static uint64_t seed = 1;

static size_t below(size_t n) {
    return (size_t)(rill__random_next(random_state) % n);
}

static float random_float(void) {
    return (float)(rill__random_next(random_state) >> 40) * 0x1p-24f;
}

enum { ROWS = 3 };

// What one of a pass's rows is chosen from, and how.
typedef struct case_row {
    float *logits;
    rill__buffer *kept;
    rill__sampler sampler;
    rill__history history;
} case_row;

static rill_sampling random_sampling(rill_logit_bias *bias, size_t vocab_size) {
    rill_sampling o;
    rill_sampling_default(&o);
    o.temperature = below(4) ? 0.05f + 2 * random_float() : 0;
    o.top_p = below(2) ? 1 : 0.05f + 0.95f * random_float();
    o.min_p = below(2) ? 0 : 0.3f * random_float();
    o.top_k = below(2) ? 0 : (uint32_t)below(2 * vocab_size);
    o.seed = rill__random_next(random_state);
    if (below(2)) {
        o.repetition_penalty = 0.7f + random_float();
        o.frequency_penalty = 0.2f * random_float();
    }
    o.bias = bias;
    o.n_bias = below(4);
    for (size_t i = 0; i < o.n_bias; i++)
        bias[i] = (rill_logit_bias){(rill_token)below(vocab_size),
                                    below(3) ? 4 * random_float() - 2 : -INFINITY};
    return o;
}

static void make_row(rill__backend *be, case_row *row, size_t vocab_size) {
    rill_logit_bias bias[4];
    rill_error err;
    float spread = below(3) == 0 ? 0 : 20 * random_float();
    row->logits = calloc(vocab_size, sizeof *row->logits);
    assert_non_null(row->logits);
    for (size_t i = 0; i < vocab_size; i++) {
        row->logits[i] = spread * random_float();
        if (below(4) == 0) row->logits[i] = floorf(row->logits[i]);  // of many the same
    }
    if (below(8) == 0) row->logits[below(vocab_size)] = NAN;
    if (below(8) == 0) row->logits[below(vocab_size)] = INFINITY;
    assert_int_equal(be->ops->buffer_new(be, vocab_size * sizeof *row->logits, &row->kept, &err),
                     RILL_OK);
    assert_int_equal(rill__sampler_init(&row->sampler, vocab_size, row->kept, &err), RILL_OK);
    rill_sampling o = random_sampling(bias, vocab_size);
    assert_int_equal(rill__sampler_set(&row->sampler, &o, &err), RILL_OK);
    assert_int_equal(rill__history_init(&row->history, 16, 64, &err), RILL_OK);
    for (size_t i = below(60); i > 0; i--)
        rill__history_push(&row->history, (rill_token)below(vocab_size < 40 ? vocab_size : 40));
}

static void free_row(rill__backend *be, case_row *row) {
    be->ops->buffer_free(be, row->kept);
    rill__sampler_deinit(&row->sampler);
    rill__history_deinit(&row->history);
    free(row->logits);
}

// The host draws as many as the device did before it.
static void expect_host(case_row *row, size_t vocab_size) {
    rill_error err;
    rill_token chosen = -2, host = -2;
    bool taken = rill__sampler_take(&row->sampler, &chosen);
    rill__sampler other;
    assert_int_equal(rill__sampler_init(&other, vocab_size, NULL, &err), RILL_OK);
    assert_int_equal(rill__sampler_set(&other, &row->sampler.options, &err), RILL_OK);
    rill_status status = rill__sampler_choose(&other, row->logits, &row->history, &host, &err);
    if (taken != (status == RILL_OK) || chosen != host)
        fail_msg("%zu tokens, temperature %g, top_k %u, top_p %g, min_p %g, %zu biases: device %d, "
                 "host %d",
                 vocab_size, (double)other.options.temperature, other.options.top_k,
                 (double)other.options.top_p, (double)other.options.min_p, other.options.n_bias,
                 chosen, host);
    assert_memory_equal(other.random, row->sampler.random, sizeof other.random);
    rill__sampler_deinit(&other);
}

static void one_pass(rill__backend *be, size_t vocab_size) {
    static const rill__row rows[ROWS];
    static const rill_token tokens[ROWS];
    static const uint32_t wanted[ROWS] = {0, 1, 2};
    static const rill__kv kv;
    const rill__run run = {.n_rows = ROWS, .kv = &kv};
    case_row made[ROWS];
    const rill__choice *choices[ROWS];
    rill__buffer *logits = NULL;
    rill_error err;
    size_t bytes = vocab_size * sizeof(float);
    assert_int_equal(be->ops->buffer_new(be, ROWS * bytes, &logits, &err), RILL_OK);
    size_t without = below(2 * ROWS);  // that row, if there is one, is not chosen from
    for (size_t i = 0; i < ROWS; i++) {
        make_row(be, &made[i], vocab_size);
        be->ops->buffer_write(be, logits, i * bytes, made[i].logits, bytes);
        choices[i] =
            i == without ? NULL : rill__sampler_prepare(&made[i].sampler, &made[i].history);
    }
    const rill__pass pass = {.tokens = tokens,
                             .rows = rows,
                             .runs = &run,
                             .wanted = wanted,
                             .choices = choices,
                             .n_rows = ROWS,
                             .n_runs = 1,
                             .n_wanted = ROWS,
                             .observed = true};
    assert_false(be->ops->begin(be, &pass));
    be->ops->choose(be, logits, choices, ROWS, vocab_size);
    must(be->ops->synchronize(be, &err), &err);
    be->ops->end(be);
    float *kept = calloc(vocab_size, sizeof *kept);
    assert_non_null(kept);
    for (size_t i = 0; i < ROWS; i++) {
        if (choices[i]) {
            expect_host(&made[i], vocab_size);
            be->ops->buffer_read(be, made[i].kept, 0, kept, bytes);
            assert_memory_equal(kept, made[i].logits, bytes);
        }
        free_row(be, &made[i]);
    }
    free(kept);
    be->ops->buffer_free(be, logits);
}

static void tokens_are_the_hosts(void **state) {
    (void)state;
    if (!test_device()) skip();
    rill_error err;
    rill__backend *be;
    const rill_device_options options = {.device = test_device()};
    must(rill__backend_open(&options, &be, &err), &err);
    if (!be->ops->choose) fail_msg("%s leaves choices to the host", test_device());
    const size_t sizes[] = {1, 2, 31, 1024, 1025, 4097, 32000, 151936};
    for (size_t round = 0; round < 12; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) one_pass(be, sizes[i]);
    be->ops->close(be);
}

// What the host's sampler makes of the stream's logits, its generator being where the stream's is.
static rill_token host_token(rill__sampler *host, rill_stream *s, const rill__history *said) {
    const float *logits;
    rill_token token;
    rill_error err;
    must(rill_stream_logits(s, &logits, &err), &err);
    must(rill__sampler_choose(host, logits, said, &token, &err), &err);
    return token;
}

// Logits that are asked for, and tokens that are asked for twice, disturb nothing.
static void a_stream_writes_what_the_host_would(void **state) {
    (void)state;
    if (!test_device()) skip();
    rill_error err;
    const rill_device_options device = {.device = test_device()};
    rill_model *model = test_model(golden_directory("llama"), &device);
    rill_model_info info;
    rill_model_get_info(model, &info);
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.window = 20;
    o.chunk = 4;
    for (int method = RILL_METHOD_STREAMING; method <= RILL_METHOD_RECOMPUTE; method++) {
        if (method == RILL_METHOD_DENSE) continue;
        o.method = (rill_method)method;
        rill_stream *s;
        rill__sampler host;
        rill__history said;
        rill_token token = 1;
        rill_sampling sampling;
        rill_sampling_default(&sampling);
        sampling.seed = seed;
        sampling.repetition_penalty = 1.1f;
        must(rill_stream_open(model, &o, &s, &err), &err);
        must(rill_stream_set_sampling(s, &sampling, &err), &err);
        must(rill__sampler_init(&host, info.vocab_size, NULL, &err), &err);
        must(rill__sampler_set(&host, &sampling, &err), &err);
        must(rill__history_init(&said, 32, 512, &err), &err);
        for (int i = 0; i < 60; i++) {
            rill__history_push(&said, token);
            must(rill_stream_feed(s, &token, 1, NULL, &err), &err);
            for (int again = 0; again <= (i % 7 == 3); again++) {
                rill_token expected = host_token(&host, s, &said);
                must(rill_stream_sample(s, &token, &err), &err);
                assert_int_equal(token, expected);
            }
        }
        rill__history_deinit(&said);
        rill__sampler_deinit(&host);
        rill_stream_close(&s);
    }
    rill_model_close(&model);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tokens_are_the_hosts),
                                       cmocka_unit_test(a_stream_writes_what_the_host_would)};
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    rill__random_seed(random_state, seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
