// SPDX-License-Identifier: MIT
// Endless streams: nothing is allocated and nothing grows while a model writes, and far into the
// text, or from position 10^12 on, the logits are still those of the oracle that forgets nothing.
//
// RILL_ENDLESS_TOKENS=200000 makes it as long as docs/results.md reports; by default it is short
// enough for every run of the tests.
#include "rill/rill.h"

#include "base/base.h"
#include "stream/handles.h"
#include "support/compare.h"
#include "support/open.h"
#include "support/oracle.h"
#include "support/random_model.h"
#include "support/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ROWS: the last tokens whose logits are compared.
enum { SINKS = 4, WINDOW = 252, FIRST_WINDOWS = 2 * (SINKS + WINDOW), ROWS = 64 };
static const uint64_t far_start = 1000000000000;
// The bound of default kernels against exact ones, in nats a token in the mean
// (docs/architecture.md).
static const double DEFAULT_KL = 1e-4;

static uint64_t n_endless(uint64_t by_default) {
    const char *wanted = getenv("RILL_ENDLESS_TOKENS");
    return wanted ? strtoull(wanted, NULL, 10) : by_default;
}

static rill_model *open_model(const char *path, bool exact) {
    return test_model(path, &(rill_device_options){.exact = exact, .threads = 2});
}

static rill_stream *open_stream(rill_model *model, uint64_t start, uint32_t chunk) {
    rill_error err;
    rill_stream *s;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.sinks = SINKS;
    o.window = WINDOW;
    o.start = start;
    o.chunk = chunk;
    must(rill_stream_open(model, &o, &s, &err), &err);
    return s;
}

// Bytes of this process that are in memory: all, and its own, which no file stands behind. Pages of
// files (the weights, the program) come and go as the kernel likes, 64 KiB at a time.
typedef struct memory {
    unsigned long all, own;
} memory;

// statm is off by up to 32 pages a processor: the kernel counts in batches; smaps_rollup walks the
// pages.
static memory resident(void) {
    memory m = {0};
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file)) {
        (void)sscanf(line, "Rss: %lu", &m.all);
        (void)sscanf(line, "Anonymous: %lu", &m.own);
    }
    if (file) fclose(file);
    return (memory){m.all * 1024, m.own * 1024};
}

// Sanitizers have pages of their own, which come as memory is touched.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const uint64_t foreign_bytes = 1 << 20;
#else
static const uint64_t foreign_bytes = 0;
#endif

// What was written while the guard stood.
typedef struct guard {
    uint64_t written;
    uint64_t allocations;  // after the first windows
    memory memory;         // the same
    memory last;           // with the last token, when all that writing needs is still there
    uint64_t wanted;       // tokens that will have been written
    rill_token *tokens;    // all that was written
} guard;

static bool watch(void *user, rill_token token, const char *text, size_t length) {
    guard *g = user;
    (void)text;
    (void)length;
    if (token >= 0) g->tokens[g->written++] = token;
    if (g->written == FIRST_WINDOWS) {
        g->memory = resident();
        g->allocations = rill__allocation_count();
    }
    if (g->written == g->wanted) g->last = resident();
    return true;
}

// The logits after each of the last ROWS of n tokens, read in chunks by a new stream.
static float *logits_after(rill_model *model, uint64_t start, const rill_token *tokens, size_t n) {
    rill_error err;
    rill_model_info info;
    rill_model_get_info(model, &info);
    float *logits = calloc((size_t)ROWS * info.vocab_size, sizeof *logits);
    rill_stream *s = open_stream(model, start, 64);
    must(rill_stream_feed(s, tokens, n - ROWS, NULL, &err), &err);
    must(rill_stream_feed(s, tokens + n - ROWS, ROWS, logits, &err), &err);
    rill_stream_close(&s);
    return logits;
}

// The same by the oracle, which keeps every key of those tokens.
static float *oracle_logits_after(const rill_model *model, const rill_token *tokens, size_t n) {
    const oracle_options options = {.n_sinks = SINKS,
                                    .window = WINDOW,
                                    .capacity = SINKS + WINDOW,
                                    .sink_scale = 1,
                                    .sink_cap = 1};
    rill_model_info info;
    rill_model_get_info(model, &info);
    oracle *o = oracle_new(model->model, &options);
    double *row = calloc(info.vocab_size, sizeof *row);
    float *logits = calloc((size_t)ROWS * info.vocab_size, sizeof *logits);
    for (size_t t = 0; t < n; t++) {
        oracle_step(o, tokens[t], row);
        float *out = logits + (t + ROWS - n) * info.vocab_size;
        for (size_t i = 0; t + ROWS >= n && i < info.vocab_size; i++) out[i] = (float)row[i];
    }
    free(row);
    oracle_free(o);
    return logits;
}

// Exact kernels, from position 0 and from 10^12, within the bound of the oracle.
static void expect_oracle(rill_model *exact, const rill_token *tokens, size_t n,
                          const float *expected) {
    rill_model_info info;
    rill_model_get_info(exact, &info);
    const uint64_t starts[] = {0, far_start};
    for (int i = 0; i < 2; i++) {
        float *got = logits_after(exact, starts[i], tokens, n);
        double worst = worst_of_bound(got, expected, (size_t)ROWS * info.vocab_size);
        print_message("exact, %zu tokens from position %llu: %.3f of the bound\n", n,
                      (unsigned long long)starts[i], worst);
        assert_true(worst <= 1.0);
        free(got);
    }
}

static void expect_divergence(const char *what, const float *expected, const float *got,
                              size_t vocab) {
    double sum = 0;
    for (size_t i = 0; i < ROWS; i++)
        sum += kl_divergence(expected + i * vocab, got + i * vocab, vocab);
    print_message("%s: KL divergence %.2e in the mean of %d tokens\n", what, sum / ROWS, ROWS);
    assert_true(sum / ROWS <= DEFAULT_KL);
}

// The tail of the text: a token's logits depend on the sinks and, through every layer, on WINDOW
// tokens more; older ones change nothing.
static size_t make_tail(const guard *g, uint64_t length, rill_token *tail) {
    if (length + SINKS > g->written) length = g->written - SINKS;
    memcpy(tail, g->tokens, SINKS * sizeof *tail);
    memcpy(tail + SINKS, g->tokens + g->written - length, length * sizeof *tail);
    return SINKS + length;
}

static void check_tail(const guard *g, const float *read, rill_model *model) {
    rill_model_info info;
    rill_model_get_info(model, &info);
    bool whole = getenv("RILL_ENDLESS_TOKENS") != NULL;
    uint64_t length = ROWS + (whole ? (uint64_t)info.n_layers * WINDOW : WINDOW);
    rill_token *tail = calloc(SINKS + length, sizeof *tail);
    size_t n = make_tail(g, length, tail);
    float *expected = oracle_logits_after(model, tail, n);
    if (whole) expect_divergence("oracle and default kernels", expected, read, info.vocab_size);
    rill_model *exact = open_model(test_shipped_model(), true);
    expect_oracle(exact, tail, n, expected);
    rill_model_close(&exact);
    free(expected);
    free(tail);
}

static void write_guarded(rill_stream *s, guard *g, uint64_t n) {
    rill_error err;
    const rill_token first = 0;
    g->tokens = calloc(n + 1, sizeof *g->tokens);
    memset(g->tokens, 1, (n + 1) * sizeof *g->tokens);  // resident from now on
    g->tokens[g->written++] = first;
    g->wanted = n + 1;
    must(rill_stream_feed(s, &first, 1, NULL, &err), &err);
    rill_generate_options options;
    rill_generate_options_default(&options);
    options.until_end = false;
    options.max_tokens = n;
    rill_generate_result result;
    must(rill_stream_generate(s, &options, watch, g, &result, &err), &err);
    uint64_t allocations = rill__allocation_count();
    memory now = g->last;
    assert_int_equal(result.stop, RILL_STOP_LENGTH);
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    print_message(
        "%llu tokens: %lu bytes resident after %d, %lu at the end; %lu and %lu of them no "
        "file's; cache %llu bytes\n",
        (unsigned long long)report.seen, g->memory.all, FIRST_WINDOWS, now.all, g->memory.own,
        now.own, (unsigned long long)report.bytes.cache);
    assert_int_equal(allocations, g->allocations);
    assert_true(g->memory.own > 0 && now.own > 0);
    assert_true(now.own <= g->memory.own + foreign_bytes);
    assert_true(now.all <= g->memory.all + (1 << 20));
}

static void writing_allocates_and_grows_nothing(void **state) {
    (void)state;
    rill_error err;
    rill_model_info info;
    rill_model *model = open_model(test_shipped_model(), false);
    rill_model_get_info(model, &info);
    rill_stream *s = open_stream(model, 0, 64);
    guard g = {0};
    write_guarded(s, &g, n_endless(2000));

    const float *last;
    must(rill_stream_logits(s, &last, &err), &err);
    // Reading in chunks what was written one by one: bit for bit the same.
    float *read = logits_after(model, 0, g.tokens, g.written);
    assert_memory_equal(read + (size_t)(ROWS - 1) * info.vocab_size, last,
                        info.vocab_size * sizeof *last);
    float *far = logits_after(model, far_start, g.tokens, g.written);
    expect_divergence("from position 0 and from 10^12", read, far, info.vocab_size);
    free(far);
    check_tail(&g, read, model);
    free(read);
    free(g.tokens);
    rill_stream_close(&s);
    rill_model_close(&model);
}

// No key of the whole text is forgotten by the oracle.
static void tail_equals_the_oracle(void **state) {
    (void)state;
    enum { VOCAB = 160 };
    rill_model *model = open_model(test_data("golden/llama"), true);
    uint64_t n = n_endless(10000);
    rill_token *tokens = calloc(n, sizeof *tokens);
    test_random r = {test_seed()};
    for (uint64_t i = 0; i < n; i++) tokens[i] = (rill_token)test_random_between(&r, 0, VOCAB - 1);
    float *expected = oracle_logits_after(model, tokens, n);
    expect_oracle(model, tokens, n, expected);
    free(expected);
    free(tokens);
    rill_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writing_allocates_and_grows_nothing),
        cmocka_unit_test(tail_equals_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
