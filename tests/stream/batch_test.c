// SPDX-License-Identifier: MIT
// Batches over many streams: each stream gets, bit for bit, the logits that it gets alone, whatever
// the others are and do; a feed that cannot be read harms no other. Run it under the thread
// sanitizer.
#include "rill/batch.h"

#include "support/golden.h"
#include "support/open.h"
#include "support/random_model.h"
#include "support/tensors.h"
#include "support/tiers.h"

#include <pthread.h>
#include <stdio.h>

enum { VOCAB = GOLDEN_VOCABULARY, STREAMS = 7, LENGTH = 45, MAX_CHUNK = 20 };

// A stream of some kind, what it reads, and what it says when it reads alone.
typedef struct voice {
    rill_stream_options options;
    rill_token tokens[LENGTH];
    bool begins[LENGTH];  // a message
    float alone[LENGTH * VOCAB];
    float together[LENGTH * VOCAB];
    rill_stream *stream;
    size_t n_read;
} voice;

static rill_type random_type(test_random *r) {
    static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                      RILL_TYPE_Q4_0};
    return types[test_random_between(r, 0, 4)];
}

static void make_voice(test_random *r, rill_method method, voice *v) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    bool sinks = method == RILL_METHOD_STREAMING || method == RILL_METHOD_RECOMPUTE;
    o.sinks = sinks ? test_random_between(r, 0, 5) : 0;
    o.window = method == RILL_METHOD_DENSE ? LENGTH : test_random_between(r, 1, 40);
    o.evict = test_random_between(r, 0, 1) ? RILL_EVICT_MESSAGE : RILL_EVICT_TOKEN;
    o.default_types = false;
    o.key_type = random_type(r);
    o.value_type = random_type(r);
    o.sink_scale = test_random_between(r, 0, 1) ? 1 : 1.5f;
    o.sink_cap = test_random_between(r, 0, 1) ? 1 : 0.2f;
    o.chunk = test_random_between(r, 1, MAX_CHUNK);
    o.start = test_random_between(r, 0, 1) ? 0 : test_random_next(r) >> 3;
    *v = (voice){.options = o};
    for (size_t i = 0; i < LENGTH; i++) {
        v->tokens[i] = (rill_token)test_random_between(r, 0, VOCAB - 1);
        v->begins[i] = test_random_between(r, 0, 9) == 0;
    }
}

// One token after the other, by itself.
static void speak_alone(rill_model *model, voice *v) {
    rill_error err;
    rill_stream *s;
    must(rill_stream_open(model, &v->options, &s, &err), &err);
    for (size_t i = 0; i < LENGTH; i++) {
        if (v->begins[i]) rill_stream_begin_message(s);
        must(rill_stream_feed(s, &v->tokens[i], 1, v->alone + i * VOCAB, &err), &err);
    }
    rill_stream_close(&s);
}

// As many tokens as a random number says, but none past the beginning of a message.
static size_t next_piece(test_random *r, const voice *v) {
    size_t most = LENGTH - v->n_read;
    if (most == 0) return 0;
    size_t n = test_random_between(r, 0, 1) ? 1 : test_random_between(r, 0, 2 * MAX_CHUNK);
    if (n > most) n = most;
    for (size_t i = 1; i < n; i++)
        if (v->begins[v->n_read + i]) return i;
    return n;
}

// Some of the streams read some tokens each, in any order.
static void speak_together(test_random *r, voice *voices) {
    rill_error err;
    rill_feed feeds[STREAMS];
    size_t left = STREAMS;
    while (left > 0) {
        size_t n_feeds = 0, first = test_random_between(r, 0, STREAMS - 1);
        left = 0;
        for (size_t i = 0; i < STREAMS; i++) {
            voice *v = &voices[(first + i) % STREAMS];
            left += v->n_read < LENGTH;
            if (test_random_between(r, 0, 3) == 0) continue;
            size_t n = next_piece(r, v);
            if (n > 0 && v->begins[v->n_read]) rill_stream_begin_message(v->stream);
            feeds[n_feeds++] = (rill_feed){.stream = v->stream,
                                           .tokens = v->tokens + v->n_read,
                                           .n_tokens = n,
                                           .logits = v->together + v->n_read * VOCAB};
            v->n_read += n;
        }
        must(rill_streams_feed(feeds, n_feeds, &err), &err);
        for (size_t i = 0; i < n_feeds; i++) {
            assert_int_equal(feeds[i].status, RILL_OK);
            assert_int_equal(feeds[i].n_read, feeds[i].n_tokens);
        }
    }
}

static void expect_same(const voice *v, size_t number) {
    for (size_t i = 0; i < LENGTH; i++)
        if (memcmp(v->together + i * VOCAB, v->alone + i * VOCAB, VOCAB * sizeof(float)) != 0)
            fail_msg("stream %zu, token %zu: other logits than alone", number, i);
    const float *last;
    rill_error err;
    must(rill_stream_logits(v->stream, &last, &err), &err);
    assert_memory_equal(last, v->alone + (LENGTH - 1) * VOCAB, VOCAB * sizeof *last);
}

static rill_model *open_tier(const char *family, const char *tier, unsigned threads) {
    const rill_device_options options = {
        .exact = tier == NULL, .cpu = test_device() ? NULL : tier, .threads = threads};
    return test_model(golden_directory(family), &options);
}

static void check_tier(test_random *r, const char *family, const char *tier, voice *voices) {
    rill_error err;
    rill_model *model = open_tier(family, tier, 1);
    for (size_t i = 0; i < STREAMS; i++) {
        make_voice(r, (rill_method)(i % (RILL_METHOD_RECOMPUTE + 1)), &voices[i]);
        speak_alone(model, &voices[i]);
    }
    rill_model_close(&model);
    static const unsigned threads[] = {1, 2, 5};
    for (size_t t = 0; t < 3; t++) {
        model = open_tier(family, tier, threads[t]);
        // Fewer rows than a batch asks for, or more than any stream's chunk.
        if (test_random_between(r, 0, 1)) must(rill_model_reserve(model, 100, &err), &err);
        for (size_t i = 0; i < STREAMS; i++) {
            voices[i].n_read = 0;
            memset(voices[i].together, 0, sizeof voices[i].together);
            must(rill_stream_open(model, &voices[i].options, &voices[i].stream, &err), &err);
        }
        speak_together(r, voices);
        for (size_t i = 0; i < STREAMS; i++) {
            expect_same(&voices[i], i);
            rill_stream_close(&voices[i].stream);
        }
        rill_model_close(&model);
    }
}

static void each_stream_hears_what_it_hears_alone(void **state) {
    test_random r = {test_seed()};
    voice *voices = calloc(STREAMS, sizeof *voices);
    assert_non_null(voices);
    static const char *const tiers[] = {NULL, "ref", TEST_TIERS};
    size_t n_tiers = test_device() ? 2 : sizeof tiers / sizeof *tiers;  // of it exact and default
    for (size_t i = 0; i < n_tiers; i++) check_tier(&r, *state, tiers[i], voices);
    free(voices);
}

static rill_stream *open_small(rill_model *model, rill_method method) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.window = 20;
    o.chunk = 4;
    rill_error err;
    rill_stream *s;
    must(rill_stream_open(model, &o, &s, &err), &err);
    return s;
}

static uint64_t seen(const rill_stream *s) {
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    return report.seen;
}

static void a_feed_that_cannot_be_read_harms_no_other(void **state) {
    (void)state;
    rill_model *model = open_tier("llama", NULL, 2), *another = open_tier("llama", NULL, 1);
    rill_stream *good = open_small(model, RILL_METHOD_STREAMING);
    rill_stream *alone = open_small(model, RILL_METHOD_STREAMING);
    rill_stream *wrong = open_small(model, RILL_METHOD_WINDOW);
    rill_stream *dense = open_small(model, RILL_METHOD_DENSE);
    rill_stream *foreign = open_small(another, RILL_METHOD_STREAMING);
    rill_token tokens[21] = {3, 1, 4, 1, 5, 9, 2, 6}, unknown[] = {1, VOCAB};
    rill_feed feeds[] = {
        {.stream = wrong, .tokens = unknown, .n_tokens = 2},
        {.stream = good, .tokens = tokens, .n_tokens = 8},
        {.stream = dense, .tokens = tokens, .n_tokens = 21},
        {.stream = good, .tokens = tokens, .n_tokens = 1},
        {.stream = foreign, .tokens = tokens, .n_tokens = 1},
    };
    static const rill_status expected[] = {RILL_EINVAL, RILL_OK, RILL_ECONTEXT, RILL_EINVAL,
                                           RILL_EINVAL};
    static const char *const messages[] = {"token 160 (number 1)", "", "room for 20 tokens",
                                           "in it already", "of another model"};
    rill_error err;
    assert_int_equal(rill_streams_feed(feeds, 5, &err), RILL_EINVAL);
    assert_string_equal(err.message, feeds[0].error.message);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(feeds[i].status, expected[i]);
        assert_int_equal(feeds[i].n_read, expected[i] == RILL_OK ? feeds[i].n_tokens : 0);
        if (expected[i] != RILL_OK) assert_non_null(strstr(feeds[i].error.message, messages[i]));
    }
    assert_int_equal(seen(wrong) + seen(dense) + seen(foreign), 0);
    const float *a, *b;
    must(rill_stream_feed(alone, tokens, 8, NULL, &err), &err);
    must(rill_stream_logits(good, &a, &err), &err);
    must(rill_stream_logits(alone, &b, &err), &err);
    assert_memory_equal(a, b, VOCAB * sizeof *a);
    // All of them can be in a batch again, and a batch may be empty.
    feeds[0].n_tokens = 1;
    feeds[2].n_tokens = 20;
    must(rill_streams_feed(feeds, 3, &err), &err);
    must(rill_streams_feed(feeds, 0, &err), &err);
    assert_int_equal(seen(wrong), 1);
    assert_int_equal(seen(good), 16);
    assert_int_equal(seen(dense), 20);
    rill_stream *all[] = {good, alone, wrong, dense, foreign};
    for (size_t i = 0; i < 5; i++) rill_stream_close(&all[i]);
    rill_model_close(&model);
    rill_model_close(&another);
}

static void count_rows(void *user, const rill_attention_row *row) {
    (void)row;
    ++*(size_t *)user;
}

static void observed_streams_are_seen_in_a_batch(void **state) {
    (void)state;
    rill_model *model = open_tier("llama", NULL, 2);
    rill_model_info info;
    rill_model_get_info(model, &info);
    rill_stream *a = open_small(model, RILL_METHOD_STREAMING);
    rill_stream *b = open_small(model, RILL_METHOD_STREAMING);
    static const rill_token tokens[] = {1, 2, 3, 4, 5, 6};
    rill_feed feeds[] = {{.stream = a, .tokens = tokens, .n_tokens = 6},
                         {.stream = b, .tokens = tokens, .n_tokens = 6}};
    rill_error err;
    size_t rows = 0;
    must(rill_stream_observe(b, count_rows, &rows, &err), &err);
    must(rill_streams_feed(feeds, 2, &err), &err);
    assert_int_equal(rows, 6 * info.n_layers);
    const float *x, *y;
    must(rill_stream_logits(a, &x, &err), &err);
    must(rill_stream_logits(b, &y, &err), &err);
    assert_memory_equal(x, y, VOCAB * sizeof *x);
    rill_stream_close(&a);
    rill_stream_close(&b);
    rill_model_close(&model);
}

static void rows_to_reserve_have_bounds(void **state) {
    (void)state;
    rill_error err;
    rill_model *model = open_tier("llama", NULL, 1);
    assert_int_equal(rill_model_reserve(model, 0, &err), RILL_EINVAL);
    assert_int_equal(rill_model_reserve(model, 65537, &err), RILL_EINVAL);
    assert_string_equal(err.message, "max_rows: 65537; 1 to 65536 is right");
    must(rill_model_reserve(model, 1, &err), &err);
    rill_stream_bytes bytes;
    must(rill_stream_estimate(model, NULL, NULL, &bytes, &err), &err);
    assert_true(bytes.shared > 0 && bytes.shared < bytes.work);
    assert_int_equal(bytes.total, bytes.cache + bytes.work);
    rill_model_close(&model);
}

// ---- Threads ----------------------------------------------------------------------------------

enum { CALLERS = 3, EACH = 4, WRITTEN = 25 };

typedef struct caller {
    rill_model *model;
    uint64_t seed;
    rill_token written[EACH][WRITTEN];
} caller;

static void *write_in_batches(void *argument) {
    caller *c = argument;
    rill_error err;
    rill_feed feeds[EACH];
    rill_token tokens[EACH] = {1, 2, 3, 4};
    for (size_t i = 0; i < EACH; i++) {
        feeds[i] = (rill_feed){.tokens = &tokens[i], .n_tokens = 1};
        feeds[i].stream = open_small(c->model, RILL_METHOD_STREAMING);
        rill_sampling sampling;
        rill_sampling_default(&sampling);
        sampling.seed = c->seed + i;
        must(rill_stream_set_sampling(feeds[i].stream, &sampling, &err), &err);
    }
    for (size_t t = 0; t < WRITTEN; t++) {
        must(rill_streams_feed(feeds, EACH, &err), &err);
        for (size_t i = 0; i < EACH; i++) {
            must(rill_stream_sample(feeds[i].stream, &tokens[i], &err), &err);
            c->written[i][t] = tokens[i];
        }
    }
    for (size_t i = 0; i < EACH; i++) rill_stream_close(&feeds[i].stream);
    return NULL;
}

static void callers_in_threads_write_what_they_write_alone(void **state) {
    (void)state;
    static caller alone[CALLERS], together[CALLERS];
    pthread_t threads[CALLERS];
    rill_model *model = open_tier("qwen3", "ref", 3);
    for (size_t i = 0; i < CALLERS; i++) {
        alone[i] = together[i] = (caller){.model = model, .seed = 100 * i};
        write_in_batches(&alone[i]);
    }
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_in_batches, &together[i]), 0);
    // A wider batch is made room for in the meantime.
    rill_error err;
    for (uint32_t rows = 5; rows < 200; rows += 15)
        must(rill_model_reserve(model, rows, &err), &err);
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_memory_equal(together[i].written, alone[i].written, sizeof alone[i].written);
    }
    rill_model_close(&model);
}

static int remove_directory(void **state) {
    (void)state;
    test_directory_remove();
    return 0;
}

int main(void) {
    enum { FIXED = 4 };
    static char names[GOLDEN_FAMILIES][80];
    struct CMUnitTest tests[FIXED + GOLDEN_FAMILIES] = {
        cmocka_unit_test(a_feed_that_cannot_be_read_harms_no_other),
        cmocka_unit_test(observed_streams_are_seen_in_a_batch),
        cmocka_unit_test(rows_to_reserve_have_bounds),
        cmocka_unit_test(callers_in_threads_write_what_they_write_alone),
    };
    for (size_t i = 0; i < GOLDEN_FAMILIES; i++) {
        snprintf(names[i], sizeof names[i], "each_stream_hears_what_it_hears_alone_in_%s",
                 golden_families[i]);
        tests[FIXED + i] = (struct CMUnitTest){names[i], each_stream_hears_what_it_hears_alone,
                                               NULL, NULL, (void *)(uintptr_t)golden_families[i]};
    }
    return cmocka_run_group_tests(tests, NULL, remove_directory);
}
