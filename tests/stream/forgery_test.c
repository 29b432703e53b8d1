// SPDX-License-Identifier: MIT
// Forged snapshots: whatever a file says wrongly is refused by name, though its checksum fits.
#include "rill/rill.h"

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

enum { VOCAB = 160 };

static rill_model *model;

static int open_model(void **state) {
    (void)state;
    model = test_model(test_data("golden/llama"), &(rill_device_options){.threads = 1});
    return 0;
}

static int close_model(void **state) {
    (void)state;
    rill_model_close(&model);
    test_directory_remove();
    return 0;
}

static const char *snapshot_path(void) {
    static char path[300];
    snprintf(path, sizeof path, "%s/stream.rill", test_directory());
    return path;
}

// Loads a file with these bytes but for its checksum, which is made to fit.
static rill_status load_forged(char *bytes, size_t size, rill_stream **out, rill_error *err) {
    snapshot_forge(snapshot_path(), bytes, size);
    return rill_stream_load(model, snapshot_path(), out, err);
}

// One change to a good snapshot, and a part of the message that refuses it.
typedef struct forgery {
    size_t at;       // see snapshot_file.h
    size_t bytes;    // 4 or 8
    uint64_t value;  // a float by its bits
    const char *why;
} forgery;

enum {
    CAPACITY = 16,
    N_READ = 40,
    N_STARTS = 2,  // of messages of five tokens, in a window of twelve
    AT_REST = AT_STARTS + 8 * N_STARTS,
    AT_RANDOM = AT_REST + AT_BIAS + 8,  // one bias
    AT_TOKENS = AT_RANDOM + 32,
    AT_LOGITS_VALID = AT_TOKENS + 4 * (CAPACITY + N_READ),
};

// A snapshot of a stream of that capacity that has read n tokens, in messages of `length` each.
static void save_messages(rill_method method, uint32_t capacity, int length, int n) {
    rill_error err;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.sinks = method == RILL_METHOD_STREAMING ? 4 : 0;
    o.window = capacity - o.sinks;
    rill_stream *s;
    must(rill_stream_open(model, &o, &s, &err), &err);
    rill_sampling sampling;
    rill_sampling_default(&sampling);
    const rill_logit_bias bias = {5, 1.0f};
    sampling.bias = &bias;
    sampling.n_bias = 1;
    must(rill_stream_set_sampling(s, &sampling, &err), &err);
    for (rill_token token = 0; token < n; token++) {
        if (token % length == 0) rill_stream_begin_message(s);
        must(rill_stream_feed(s, &token, 1, NULL, &err), &err);
    }
    must(rill_stream_save(s, snapshot_path(), &err), &err);
    rill_stream_close(&s);
}

static void expect_refused(char *bytes, size_t size, const forgery *f) {
    char before[8];
    memcpy(before, bytes + f->at, f->bytes);
    memcpy(bytes + f->at, &f->value, f->bytes);
    rill_error err = {0};
    rill_stream *s = NULL;
    rill_status status = load_forged(bytes, size, &s, &err);
    if (status == RILL_OK || s || !strstr(err.message, f->why))
        fail_msg("%zu set to %llu: status %d, '%s', but '%s' is right", f->at,
                 (unsigned long long)f->value, status, err.message, f->why);
    memcpy(bytes + f->at, before, f->bytes);
}

// Floats as they lie in a file.
#define NAN_BITS       0x7fc00000
#define HALF_BITS      0x3f000000
#define TWO_BITS       0x40000000
#define BILLION_BITS   0x4e6e6b28
#define MINUS_ONE_BITS 0xbf800000

// A row for each thing that a file could say wrongly, though its checksum fits.
static const forgery forgeries[] = {
    {AT_VERSION, 4, 3, "version 3"},
    {AT_VERSION, 4, 0, "version 0"},
    {AT_FINGERPRINT, 8, 7, "another model"},
    {AT_METHOD, 4, 4, "options: an unknown method"},
    {AT_EVICT, 4, 2, "options: an unknown method or eviction"},
    {AT_SINKS, 4, RILL_SINKS_AUTO, "options: a size is missing"},
    {AT_WINDOW, 4, 0, "options: a size is missing"},
    {AT_CHUNK, 4, 0, "options: a size is missing"},
    {AT_WINDOW, 4, 1u << 31, "window: "},
    {AT_CHUNK, 4, 1u << 31, "chunk: "},
    {AT_KEY_TYPE, 4, 12345, "key_type: "},
    {AT_VALUE_TYPE, 4, UINT32_MAX, "value_type: "},
    {AT_SINK_SCALE, 4, NAN_BITS, "sink_scale: "},
    {AT_SINK_CAP, 4, TWO_BITS, "sink_cap: "},
    {AT_START, 8, UINT64_MAX, "start: "},
    {AT_OVER_CONTEXT, 4, 2, "flag: 0 or 1 is right"},
    {AT_ROPE_SCALING, 4, 3, "unknown scaling of RoPE"},
    {AT_ROPE_FACTOR, 4, TWO_BITS, "rope_factor: 2, but nothing is stretched"},
    {AT_METHOD, 4, RILL_METHOD_WINDOW, "sinks: "},
    {AT_SINKS_NOW, 4, CAPACITY + 1, "visible tokens"},
    {AT_SINKS_NOW, 4, 3, "visible tokens"},
    {AT_WINDOW_NOW, 4, 11, "visible tokens"},
    {AT_WINDOW_NOW, 4, 13, "visible tokens"},
    {AT_WINDOW_NOW, 4, UINT32_MAX, "visible tokens"},
    {AT_SEEN, 8, N_READ + 1, "visible tokens"},
    {AT_SEEN, 8, 28, "visible tokens"},
    {AT_SEEN, 8, 3, "visible tokens"},
    {AT_SEEN, 8, UINT64_MAX, "visible tokens"},
    {AT_FIRST_RECENT, 8, 3, "visible tokens"},
    {AT_FIRST_RECENT, 8, 4, "visible tokens"},
    {AT_FIRST_RECENT, 8, 27, "visible tokens"},
    {AT_FIRST_RECENT, 8, N_READ, "visible tokens"},
    {AT_EVICTIONS, 8, 0, "visible tokens"},
    {AT_EVICTIONS, 8, N_READ + 1, "visible tokens"},
    {AT_MESSAGES_SEEN, 8, 1, "messages: impossible"},
    {AT_MESSAGES_SEEN, 8, N_READ + 2, "messages: impossible"},
    {AT_MESSAGES_KEPT, 8, 6, "messages: impossible"},
    {AT_MESSAGES_KEPT, 8, UINT64_MAX, "messages: impossible"},
    {AT_N_STARTS, 4, 9, "messages: impossible"},
    {AT_N_STARTS, 4, UINT32_MAX, "messages: impossible"},
    {AT_STARTS, 8, 27, "messages: out of order, or evicted"},
    {AT_STARTS + 8, 8, 30, "messages: out of order, or evicted"},
    {AT_STARTS + 8, 8, N_READ + 1, "messages: out of order, or evicted"},
    {AT_REST + AT_IN_ANSWER, 4, 2, "flag: 0 or 1 is right"},
    {AT_REST + AT_SYSTEM_END, 8, N_READ + 1, "system message"},
    {AT_REST + AT_TEMPERATURE, 4, MINUS_ONE_BITS, "sampling: temperature"},
    {AT_REST + AT_TOP_P, 4, NAN_BITS, "sampling: top_p"},
    {AT_REST + AT_MIN_P, 4, TWO_BITS, "sampling: min_p"},
    {AT_REST + AT_REPETITION_PENALTY, 4, 0, "sampling: repetition_penalty"},
    {AT_REST + AT_PENALTY_WINDOW, 4, 65537, "sampling: penalty_window"},
    {AT_REST + AT_N_BIAS, 4, 1025, "sampling: too many biases"},
    {AT_REST + AT_BIAS, 4, VOCAB, "sampling: logit_bias"},
    {AT_REST + AT_BIAS + 4, 4, NAN_BITS, "sampling: logit_bias"},
    {AT_TOKENS, 4, VOCAB, "tokens: one is outside"},
    {AT_LOGITS_VALID - 4, 4, UINT32_MAX, "tokens: one is outside"},
    {AT_LOGITS_VALID, 4, 0, "logits: "},
    {AT_LOGITS_VALID, 4, 2, "flag: 0 or 1 is right"},
};

static void forged_fields_are_refused_by_name(void **state) {
    (void)state;
    save_messages(RILL_METHOD_STREAMING, CAPACITY, 5, N_READ);
    size_t size;
    char *bytes = snapshot_read(snapshot_path(), &size);
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++)
        expect_refused(bytes, size, &forgeries[i]);
    rill_error err;
    rill_stream *s = NULL;
    memset(bytes + AT_RANDOM, 0, 32);
    assert_int_equal(load_forged(bytes, size, &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "sampling: a dead generator"));
    free(bytes);
}

// Numbers that are wrong only together.
static void forged_pairs_are_refused(void **state) {
    (void)state;
    static const char why[] = "visible tokens";
    size_t size;
    save_messages(RILL_METHOD_STREAMING, CAPACITY, 5, N_READ);
    char *bytes = snapshot_read(snapshot_path(), &size);
    const forgery fewer_sinks = {AT_SINKS_NOW, 4, 3, why};
    put_u32(bytes, AT_WINDOW_NOW, CAPACITY - 3);
    expect_refused(bytes, size, &fewer_sinks);
    const forgery more_than_all = {AT_SINKS_NOW, 4, CAPACITY + 4, why};
    put_u32(bytes, AT_WINDOW_NOW, UINT32_MAX - 3);  // the sum fits
    expect_refused(bytes, size, &more_than_all);
    put_u32(bytes, AT_WINDOW_NOW, CAPACITY - 4);
    const forgery factors[] = {
        {AT_ROPE_FACTOR, 4, NAN_BITS, "rope_factor: nan; "},
        {AT_ROPE_FACTOR, 4, HALF_BITS, "rope_factor: 0.5; "},
        {AT_ROPE_FACTOR, 4, BILLION_BITS, "rope_factor: 1e+09; "},
    };
    put_u32(bytes, AT_ROPE_SCALING, RILL_ROPE_SCALING_LINEAR);
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
        expect_refused(bytes, size, &factors[i]);
    put_u32(bytes, AT_ROPE_SCALING, RILL_ROPE_SCALING_MODEL);
    const forgery too_late = {AT_SEEN, 8, ((uint64_t)1 << 62) + 1, why};
    put_u64(bytes, AT_FIRST_RECENT, too_late.value - (CAPACITY - 4));
    expect_refused(bytes, size, &too_late);
    free(bytes);

    save_messages(RILL_METHOD_DENSE, CAPACITY, 5, 10);
    bytes = snapshot_read(snapshot_path(), &size);
    const forgery pinned_unread = {AT_SINKS_NOW, 4, 12, why};
    put_u32(bytes, AT_WINDOW_NOW, CAPACITY - 12);
    put_u64(bytes, AT_FIRST_RECENT, 12);
    expect_refused(bytes, size, &pinned_unread);
    free(bytes);
}

static void forged_beginnings_are_refused(void **state) {
    (void)state;
    // Dense never evicts; nothing was evicted, so every message's start is there; an empty stream
    // has no logits.
    const forgery dense[] = {
        {AT_EVICTIONS, 8, 1, "visible tokens"},
        {AT_FIRST_RECENT, 8, 1, "visible tokens"},
        {AT_SEEN, 8, CAPACITY + 1, "visible tokens"},
        {AT_MESSAGES_SEEN, 8, 3, "messages: impossible"},
        {AT_MESSAGES_KEPT, 8, 1, "messages: impossible"},
        {AT_N_STARTS, 4, 1, "messages: impossible"},
    };
    const forgery empty = {AT_STARTS + AT_BIAS + 8 + 32, 4, 1, "logits: "};
    size_t size;
    save_messages(RILL_METHOD_DENSE, CAPACITY, 5, 10);
    char *bytes = snapshot_read(snapshot_path(), &size);
    for (size_t i = 0; i < sizeof dense / sizeof *dense; i++)
        expect_refused(bytes, size, &dense[i]);
    // A stream of these numbers would be one that dense attention cannot have.
    put_u64(bytes, AT_FIRST_RECENT, 1);
    expect_refused(bytes, size, &dense[0]);
    free(bytes);
    save_messages(RILL_METHOD_STREAMING, CAPACITY, 5, 0);
    bytes = snapshot_read(snapshot_path(), &size);
    expect_refused(bytes, size, &empty);
    free(bytes);
}

// Whole parts cut off or added before the checksum.
static void forged_lengths_are_refused(void **state) {
    (void)state;
    save_messages(RILL_METHOD_STREAMING, CAPACITY, 5, N_READ);
    size_t size;
    char *bytes = snapshot_read(snapshot_path(), &size);
    char *longer = calloc(1, size + 4);
    rill_error err;
    rill_stream *s = NULL;
    memcpy(longer, bytes, size - 8);
    assert_int_equal(load_forged(longer, size + 4, &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "length: bytes are left over"));
    for (size_t cut = 16; cut < size; cut += cut < 500 ? 4 : 97) {
        memcpy(longer, bytes, cut);
        assert_int_equal(load_forged(longer, cut, &s, &err), RILL_EFORMAT);
        assert_non_null(strstr(err.message, "length: the snapshot ends too early"));
    }
    assert_null(s);
    free(longer);
    free(bytes);
}

// Starts of messages that were evicted long ago would take room that a message to come needs.
static void starts_of_evicted_messages_are_refused(void **state) {
    (void)state;
    save_messages(RILL_METHOD_WINDOW, 8, 1, 20);
    size_t size;
    char *bytes = snapshot_read(snapshot_path(), &size);
    uint64_t first_recent;
    memcpy(&first_recent, bytes + AT_FIRST_RECENT, sizeof first_recent);
    assert_int_equal(first_recent, 12);
    for (uint64_t i = 0; i < 8; i++) put_u64(bytes, AT_STARTS + 8 * i, i);
    rill_error err;
    rill_stream *s = NULL;
    assert_int_equal(load_forged(bytes, size, &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "messages"));
    assert_null(s);
    free(bytes);
}

// Version 1 had neither a scaling of RoPE nor its factor.
static void snapshots_of_version_1_are_read(void **state) {
    (void)state;
    save_messages(RILL_METHOD_STREAMING, CAPACITY, 3, N_READ);
    size_t size;
    char *bytes = snapshot_read(snapshot_path(), &size);
    memmove(bytes + AT_ROPE_SCALING, bytes + AT_SINKS_NOW, size - AT_SINKS_NOW);
    put_u32(bytes, AT_VERSION, 1);
    rill_error err = {0};
    rill_stream *s = NULL;
    must(load_forged(bytes, size - 8, &s, &err), &err);
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    assert_int_equal(report.seen, N_READ);
    assert_int_equal(rill_stream_get_options(s)->rope_scaling, RILL_ROPE_SCALING_MODEL);
    rill_stream_close(&s);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forged_fields_are_refused_by_name),
        cmocka_unit_test(snapshots_of_version_1_are_read),
        cmocka_unit_test(forged_pairs_are_refused),
        cmocka_unit_test(forged_beginnings_are_refused),
        cmocka_unit_test(forged_lengths_are_refused),
        cmocka_unit_test(starts_of_evicted_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
