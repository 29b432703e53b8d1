// SPDX-License-Identifier: MIT
// Percentiles against ranks counted by hand, and what is inside a token's time: with a clock that
// the test winds, so that a slow token must come out as one.
#include "eval/latency.h"

#include "support/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { CAPACITY = 24, SINKS = 4, TOKENS = 20 };

static void test_percentiles(void **state) {
    (void)state;
    double values[200];
    for (size_t i = 0; i < 200; i++) values[i] = (double)(i + 1);
    const struct {
        size_t n;
        unsigned thousandths;
        double value;
    } rows[] = {
        {1, 500, 1},    {1, 990, 1},      {1, 1000, 1},     // one value is all of them
        {2, 500, 1},    {2, 501, 2},                        // half of two is the first
        {3, 500, 2},    {4, 500, 2},      {5, 500, 3},      // the middle, the lower of two
        {10, 990, 10},  {99, 990, 99},                      // 9.9 and 98.01 are rounded up
        {100, 990, 99}, {101, 990, 100},  {200, 990, 198},  // exactly 99, past 99, 198
        {100, 0, 1},    {100, 1000, 100}, {200, 1000, 200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(rill__percentile(values, rows[i].n, rows[i].thousandths) == rows[i].value);
}

// Two runs of ten: every number follows from the figures below by counting.
static void test_summary(void **state) {
    (void)state;
    static const double seconds[2][10] = {{5, 1, 2, 3, 4, 6, 7, 8, 9, 100},
                                          {50, 11, 12, 13, 14, 16, 17, 18, 19, 20}};
    rill__latency_summary s;
    rill_error err;
    must(rill__latency_summarize(seconds[0], 2, 10, &s, &err), &err);
    assert_int_equal(s.n, 20);
    assert_true(s.p50 == 11);   // 1 ... 9, 11: the tenth of twenty
    assert_true(s.p99 == 100);  // 19.8 rounded up: the last
    assert_true(s.worst == 100);
    assert_true(s.mean > 16.74 && s.mean < 16.76);  // 335 / 20
    assert_true(s.low == 5 && s.high == 16);
    assert_true(s.first == 5 && s.last == 20);  // lower of 5 and 50, of 100 and 20
}

// A clock that moves by 1 each time it is read, and by `pause` more at one reading.
typedef struct wound {
    double time, pause;
    size_t readings, slow;
} wound;

static double read_wound(void *user) {
    wound *w = user;
    w->time += w->readings++ == w->slow ? 1 + w->pause : 1;
    return w->time;
}

static rill_model *open_small(void) {
    char path[512];
    rill_device_options one = {.threads = 1};
    snprintf(path, sizeof path, "%s/golden/llama", getenv("RILL_TEST_DATA"));
    return test_model(path, &one);
}

static rill__latency_case raw_case(rill__latency_kind kind, size_t n) {
    rill__latency_case c = {.kind = kind, .n = n, .seed = 1};
    rill_stream_options_default(&c.stream);
    if (kind == RILL_LATENCY_STREAMING) c.stream.sinks = SINKS;
    c.stream.window = CAPACITY - (kind == RILL_LATENCY_STREAMING ? SINKS : 0);
    return c;
}

static rill__latency_case make_case(const rill_model *model, rill__latency_kind kind, size_t n) {
    rill__latency_case c = raw_case(kind, n);
    rill_error err;
    must(rill__latency_resolve(model, &c, &err), &err);
    return c;
}

// The pause at the end of the last token timed is in the worst, and in p99.
static void test_nothing_is_left_out(void **state) {
    (void)state;
    rill_model *model = open_small();
    wound clock = {.pause = 1000, .slow = 2 * TOKENS - 1};
    double seconds[TOKENS];
    rill__latency_case c = make_case(model, RILL_LATENCY_STREAMING, TOKENS);
    rill__latency_run run;
    rill__latency_summary s;
    rill_error err;
    c.clock = read_wound;
    c.clock_user = &clock;
    must(rill__latency_measure(model, &c, seconds, &run, NULL, NULL, &err), &err);
    assert_int_equal(clock.readings, 2 * TOKENS);  // filling is off the clock
    for (size_t i = 0; i + 1 < TOKENS; i++) assert_true(seconds[i] == 1);
    assert_true(seconds[TOKENS - 1] == 1001);
    // The first token is timed like all others: none is there to warm up.
    clock = (wound){.pause = 500, .slow = 1};
    must(rill__latency_measure(model, &c, seconds, &run, NULL, NULL, &err), &err);
    assert_true(seconds[0] == 501 && seconds[1] == 1);
    must(rill__latency_summarize(seconds, 1, TOKENS, &s, &err), &err);
    assert_true(s.p50 == 1 && s.p99 == 501 && s.worst == 501);
    rill_model_close(&model);
}

typedef struct seen {
    uint64_t done, total;
} seen;

static bool see(void *user, uint64_t done, uint64_t total) {
    seen *s = user;
    assert_true(done > s->done && done <= total);
    *s = (seen){done, total};
    return true;
}

// What each kind holds while it is timed, what it evicts, and how much it computes in all.
static void test_kinds(void **state) {
    (void)state;
    static const struct {
        rill__latency_kind kind;
        uint64_t evictions, first, last, computed;
    } rows[] = {
        {RILL_LATENCY_STREAMING, TOKENS, CAPACITY, CAPACITY, CAPACITY + TOKENS},
        {RILL_LATENCY_WINDOW, TOKENS, CAPACITY, CAPACITY, CAPACITY + TOKENS},
        {RILL_LATENCY_DENSE, 0, CAPACITY - TOKENS + 1, CAPACITY, CAPACITY},
        {RILL_LATENCY_RECOMPUTE, TOKENS, CAPACITY, CAPACITY, CAPACITY + TOKENS * CAPACITY},
        {RILL_LATENCY_PREFILL, 0, CAPACITY, CAPACITY, (TOKENS + 1) * CAPACITY},
    };
    rill_model *model = open_small();
    rill_model_info info;
    rill_model_get_info(model, &info);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wound clock = {.slow = SIZE_MAX};
        double seconds[TOKENS] = {0};
        seen progress = {0};
        rill__latency_case c = make_case(model, rows[i].kind, TOKENS);
        rill__latency_run run;
        rill_error err;
        c.clock = read_wound;
        c.clock_user = &clock;
        must(rill__latency_measure(model, &c, seconds, &run, see, &progress, &err), &err);
        for (size_t j = 0; j < TOKENS; j++) assert_true(seconds[j] == 1);
        assert_int_equal(run.evictions, rows[i].evictions);
        assert_int_equal(run.held_first, rows[i].first);
        assert_int_equal(run.held_last, rows[i].last);
        assert_int_equal(progress.done, rows[i].computed);
        assert_int_equal(progress.total, rows[i].computed);
        assert_int_equal(rill__latency_work(&c), rows[i].computed);
        uint64_t rows_held = CAPACITY + (rows[i].kind <= RILL_LATENCY_WINDOW ? run.chunk - 1 : 0);
        assert_int_equal(run.cache_bytes,
                         rows_held * rill_token_bytes(&info, run.key_type, run.value_type));
        assert_true(run.resident_bytes > run.stream_bytes);
        assert_true(run.stream_bytes > run.cache_bytes);
    }
    rill_model_close(&model);
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total) {
    (void)user, (void)done, (void)total;
    return false;
}

static void test_refused(void **state) {
    (void)state;
    rill_model *model = open_small();
    double seconds[1];
    rill__latency_run run;
    rill_error err;
    rill__latency_case c = raw_case(RILL_LATENCY_STREAMING, 0);
    assert_int_equal(rill__latency_resolve(model, &c, &err), RILL_EINVAL);
    c = raw_case(RILL_LATENCY_DENSE, CAPACITY + 1);
    assert_int_equal(rill__latency_resolve(model, &c, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "25 to time: 1 to 24"));
    c = raw_case(RILL_LATENCY_WINDOW, 1);
    c.stream.window = 1;
    assert_int_equal(rill__latency_resolve(model, &c, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "at least 2"));
    c = make_case(model, RILL_LATENCY_STREAMING, 1);
    assert_int_equal(rill__latency_measure(model, &c, seconds, &run, stop_at_once, NULL, &err),
                     RILL_EINTERRUPTED);
    rill_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_nothing_is_left_out),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
