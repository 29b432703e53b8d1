// SPDX-License-Identifier: MIT
// Memory that runs out at every allocation of a stream's life: an error each time, nothing leaked,
// and an earlier snapshot left as it was. Reading and writing tokens take none at all.
#include "rill/batch.h"

#include "failing_allocator.h"
#include "support/open.h"
#include "support/snapshot_file.h"
#include "support/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static rill_model *model;

static int open_model(void **state) {
    (void)state;
    failing_allocator_install();
    model = test_model(test_shipped_model(), &(rill_device_options){.threads = 2});
    return 0;
}

static int close_model(void **state) {
    (void)state;
    rill_model_close(&model);
    test_directory_remove();
    uint64_t left = failing_allocator_live_blocks();
    failing_allocator_remove();
    return left != 0;
}

static const char *snapshot_path(void) {
    static char path[300];
    snprintf(path, sizeof path, "%s/stream.rill", test_directory());
    return path;
}

typedef rill_status (*scenario)(rill_error *err);

// Runs the scenario with its first, second ... allocation failing (and, with for_good, all after
// it), until none is left to fail. Returns how many there were.
static uint64_t fail_each(const char *name, scenario run, bool for_good, bool leaks_count) {
    uint64_t alive = failing_allocator_live_blocks(), n = 0;
    for (bool fired = true; fired;) {
        rill_error err;
        failing_allocator_arm(++n, for_good);
        rill_status status = run(&err);
        fired = failing_allocator_disarm();
        if (status != (fired ? RILL_ENOMEM : RILL_OK))
            fail_msg("%s, allocation %llu: status %d, %s", name, (unsigned long long)n, status,
                     status ? err.message : "no error");
        if (leaks_count) assert_int_equal(failing_allocator_live_blocks(), alive);
    }
    return n - 1;
}

static void fail_everywhere(const char *name, scenario run) {
    // The device keeps what its widest stream so far needs: only the second round must be even.
    uint64_t n = fail_each(name, run, false, false);
    assert_true(n > 0);
    print_message("%s: %llu allocations, each failed\n", name, (unsigned long long)n);
    (void)fail_each(name, run, true, true);
}

static rill_stream_options small(rill_method method, rill_evict evict) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.evict = evict;
    o.sinks = method == RILL_METHOD_STREAMING ? 4 : 0;
    o.window = 60;
    return o;
}

static rill_status open_one(rill_method method, rill_evict evict, rill_error *err) {
    rill_stream_options o = small(method, evict);
    rill_stream *s;
    rill_status status = rill_stream_open(model, &o, &s, err);
    if (status == RILL_OK) rill_stream_close(&s);
    return status;
}

static rill_status open_streaming(rill_error *err) {
    return open_one(RILL_METHOD_STREAMING, RILL_EVICT_TOKEN, err);
}

static rill_status open_by_message(rill_error *err) {
    return open_one(RILL_METHOD_STREAMING, RILL_EVICT_MESSAGE, err);
}

static rill_status open_dense(rill_error *err) {
    return open_one(RILL_METHOD_DENSE, RILL_EVICT_TOKEN, err);
}

static rill_status open_recompute(rill_error *err) {
    return open_one(RILL_METHOD_RECOMPUTE, RILL_EVICT_TOKEN, err);
}

static void opening(void **state) {
    (void)state;
    fail_everywhere("open, streaming", open_streaming);
    fail_everywhere("open, by message", open_by_message);
    fail_everywhere("open, dense", open_dense);
    fail_everywhere("open, recompute", open_recompute);
}

static rill_stream *talker;

static rill_status talk(rill_error *err) {
    static const char text[] = "How do you do? I came by the river, and found the gate open.";
    rill_stream_reset(talker);
    return rill_stream_feed_message(talker, RILL_ROLE_USER, text, sizeof text - 1, false, err);
}

// Running out is a reason to stop, not an error: what was written before stays.
static rill_status answer(rill_error *err) {
    rill_generate_result result;
    const rill_generate_options options = {
        .max_tokens = 5, .stops = (const char *[]){"zebra"}, .n_stops = 1, .draft = 3};
    rill_stream_reset(talker);
    rill_status status = rill_stream_begin_answer(talker, err);
    if (status == RILL_OK)
        status = rill_stream_generate(talker, &options, NULL, NULL, &result, err);
    if (status == RILL_OK && result.stop == RILL_STOP_MEMORY) status = RILL_ENOMEM;
    return status;
}

static void talking(void **state) {
    (void)state;
    rill_error err;
    rill_stream_options o = small(RILL_METHOD_STREAMING, RILL_EVICT_MESSAGE);
    assert_int_equal(rill_stream_open(model, &o, &talker, &err), RILL_OK);
    fail_everywhere("a message", talk);
    fail_everywhere("an answer", answer);
    rill_stream_close(&talker);
}

static void count_rows(void *user, const rill_attention_row *row) {
    (void)row;
    ++*(uint64_t *)user;
}

// Another observer is asked for while one looks: where that fails, nobody looks.
static void failing_observers_stop_the_one_before(void **state) {
    (void)state;
    static const rill_token token = 100;
    rill_error err;
    rill_stream_options o = small(RILL_METHOD_STREAMING, RILL_EVICT_TOKEN);
    rill_stream *s;
    assert_int_equal(rill_stream_open(model, &o, &s, &err), RILL_OK);
    uint64_t n = 0;
    for (bool fired = true; fired;) {
        uint64_t first = 0, second = 0;
        assert_int_equal(rill_stream_observe(s, count_rows, &first, &err), RILL_OK);
        failing_allocator_arm(++n, false);
        rill_status status = rill_stream_observe(s, count_rows, &second, &err);
        fired = failing_allocator_disarm();
        assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
        assert_int_equal(rill_stream_feed(s, &token, 1, NULL, &err), RILL_OK);
        assert_int_equal(first, 0);
        assert_int_equal(second > 0, !fired);
    }
    assert_true(n > 2);
    rill_stream_close(&s);
}

static void reading_takes_nothing(void **state) {
    (void)state;
    const rill_method methods[] = {RILL_METHOD_STREAMING, RILL_METHOD_WINDOW,
                                   RILL_METHOD_RECOMPUTE};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        rill_error err;
        rill_stream_options o = small(methods[i], RILL_EVICT_TOKEN);
        rill_stream *s;
        assert_int_equal(rill_stream_open(model, &o, &s, &err), RILL_OK);
        rill_token tokens[150];
        for (int t = 0; t < 150; t++) tokens[t] = 100 + t;
        failing_allocator_arm(1, true);
        rill_status status = rill_stream_feed(s, tokens, 150, NULL, &err);
        for (int t = 0; t < 8 && status == RILL_OK; t++) {
            status = rill_stream_sample(s, tokens, &err);
            if (status == RILL_OK) status = rill_stream_feed(s, tokens, 1, NULL, &err);
        }
        assert_false(failing_allocator_disarm());
        assert_int_equal(status, RILL_OK);
        rill_stream_close(&s);
    }
}

static void batches_take_nothing(void **state) {
    (void)state;
    enum { N = 3, LENGTH = 100 };
    const rill_method methods[N] = {RILL_METHOD_STREAMING, RILL_METHOD_WINDOW,
                                    RILL_METHOD_RECOMPUTE};
    rill_error err;
    rill_token tokens[LENGTH];
    rill_feed feeds[N];
    for (int t = 0; t < LENGTH; t++) tokens[t] = 100 + t;
    for (size_t i = 0; i < N; i++) {
        rill_stream_options o = small(methods[i], RILL_EVICT_TOKEN);
        feeds[i] = (rill_feed){.tokens = tokens, .n_tokens = LENGTH - 40 * i};
        assert_int_equal(rill_stream_open(model, &o, &feeds[i].stream, &err), RILL_OK);
    }
    failing_allocator_arm(1, true);
    rill_status status = rill_streams_feed(feeds, N, &err);
    assert_false(failing_allocator_disarm());
    assert_int_equal(status, RILL_OK);
    for (size_t i = 0; i < N; i++) rill_stream_close(&feeds[i].stream);
}

// The activations are the model's: of equal streams the first takes them, and no other.
static void streams_share_their_activations(void **state) {
    (void)state;
    enum { N = 4 };
    rill_error err;
    rill_stream *streams[N];
    rill_stream_options o = small(RILL_METHOD_STREAMING, RILL_EVICT_TOKEN);
    rill_stream_bytes bytes;
    o.chunk = 700;  // more than any stream had before
    assert_int_equal(rill_stream_estimate(model, &o, NULL, &bytes, &err), RILL_OK);
    uint64_t taken[N];
    for (size_t i = 0; i < N; i++) {
        uint64_t before = failing_allocator_live_bytes();
        assert_int_equal(rill_stream_open(model, &o, &streams[i], &err), RILL_OK);
        taken[i] = failing_allocator_live_bytes() - before;
    }
    for (size_t i = 1; i < N; i++) {
        uint64_t own = bytes.total - bytes.shared;
        assert_true(taken[i] >= own && taken[i] < own + own / 20 + 65536);
        assert_true(taken[i] < taken[0]);
    }
    for (size_t i = 0; i < N; i++) rill_stream_close(&streams[i]);
}

static rill_stream *saved;

static rill_status save(rill_error *err) {
    return rill_stream_save(saved, snapshot_path(), err);
}

static char *bytes_before;
static size_t n_bytes_before;

// A save that fails leaves the snapshot before it, byte for byte.
static rill_status save_again(rill_error *err) {
    rill_status status = save(err);
    size_t n;
    char *bytes = snapshot_read(snapshot_path(), &n);
    bool same = n == n_bytes_before && memcmp(bytes, bytes_before, n) == 0;
    free(bytes);
    assert_int_equal(same, status != RILL_OK);
    if (status == RILL_OK) snapshot_write(snapshot_path(), bytes_before, n_bytes_before);
    return status;
}

static rill_status load(rill_error *err) {
    rill_stream *s;
    rill_status status = rill_stream_load(model, snapshot_path(), &s, err);
    if (status == RILL_OK) rill_stream_close(&s);
    return status;
}

static void saving_and_loading(void **state) {
    (void)state;
    rill_error err;
    rill_stream_options o = small(RILL_METHOD_STREAMING, RILL_EVICT_TOKEN);
    const rill_logit_bias bias = {.token = 5, .bias = -1};
    rill_sampling sampling;
    rill_sampling_default(&sampling);
    sampling.bias = &bias;
    sampling.n_bias = 1;
    assert_int_equal(rill_stream_open(model, &o, &saved, &err), RILL_OK);
    assert_int_equal(rill_stream_set_sampling(saved, &sampling, &err), RILL_OK);
    rill_token tokens[100];
    for (int t = 0; t < 100; t++) tokens[t] = 200 + t;
    assert_int_equal(rill_stream_feed(saved, tokens, 100, NULL, &err), RILL_OK);
    assert_int_equal(save(&err), RILL_OK);
    bytes_before = snapshot_read(snapshot_path(), &n_bytes_before);
    assert_int_equal(rill_stream_feed(saved, tokens, 1, NULL, &err), RILL_OK);
    fail_everywhere("save", save_again);
    fail_everywhere("load", load);
    free(bytes_before);
    rill_stream_close(&saved);
}

// A small file that speaks of a huge window is not believed before all of it was looked at.
static void a_huge_window_in_a_small_file_takes_nothing(void **state) {
    (void)state;
    enum { HUGE_WINDOW = 1 << 16 };
    rill_error err;
    rill_stream_options o = small(RILL_METHOD_STREAMING, RILL_EVICT_TOKEN);
    rill_stream *s;
    rill_token tokens[20] = {0};
    assert_int_equal(rill_stream_open(model, &o, &s, &err), RILL_OK);
    assert_int_equal(rill_stream_feed(s, tokens, 20, NULL, &err), RILL_OK);
    assert_int_equal(rill_stream_save(s, snapshot_path(), &err), RILL_OK);
    rill_stream_close(&s);
    size_t size;
    char *bytes = snapshot_read(snapshot_path(), &size);
    put_u32(bytes, AT_WINDOW, HUGE_WINDOW);
    put_u32(bytes, AT_WINDOW_NOW, HUGE_WINDOW);
    uint64_t peak = failing_allocator_peak_bytes();
    // As many tokens as the window has room for, then those that the file has, with one that does
    // not exist, and a sampling option that does not.
    put_u64(bytes, AT_SEEN, HUGE_WINDOW);
    snapshot_forge(snapshot_path(), bytes, size);
    assert_int_equal(rill_stream_load(model, snapshot_path(), &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "length: the snapshot ends too early"));
    put_u64(bytes, AT_SEEN, 20);
    put_u32(bytes, AT_STARTS + AT_PENALTY_WINDOW, UINT32_MAX);
    snapshot_forge(snapshot_path(), bytes, size);
    assert_int_equal(rill_stream_load(model, snapshot_path(), &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "sampling: penalty_window"));
    put_u32(bytes, AT_STARTS + AT_PENALTY_WINDOW, 64);
    put_u32(bytes, AT_STARTS + AT_BIAS + 4 * 8, UINT32_MAX);
    snapshot_forge(snapshot_path(), bytes, size);
    assert_int_equal(rill_stream_load(model, snapshot_path(), &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "tokens"));
    assert_int_equal(failing_allocator_peak_bytes(), peak);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),
        cmocka_unit_test(talking),
        cmocka_unit_test(failing_observers_stop_the_one_before),
        cmocka_unit_test(reading_takes_nothing),
        cmocka_unit_test(batches_take_nothing),
        cmocka_unit_test(streams_share_their_activations),
        cmocka_unit_test(saving_and_loading),
        cmocka_unit_test(a_huge_window_in_a_small_file_takes_nothing),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
