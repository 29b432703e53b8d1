// SPDX-License-Identifier: MIT
// Speculation changes nothing but the time: the same tokens, text, reasons to stop, and the same
// snapshot, byte for byte, whatever is guessed, on every method and across evictions.
#include "rill/rill.h"

#include "support/golden.h"
#include "support/open.h"
#include "support/random_model.h"
#include "support/snapshot_file.h"
#include "support/tensors.h"
#include "support/tiers.h"

enum { VOCAB = GOLDEN_VOCABULARY, PROMPT = 40, WRITTEN = 200 };

// What was written, and what the stream was then.
typedef struct record {
    rill_token tokens[2 * WRITTEN];
    size_t n;
    char text[64 * WRITTEN];
    size_t length;
    size_t interrupt_at;  // tokens; 0: never
    rill_generate_result result;
    char *snapshot;
    size_t snapshot_bytes;
} record;

static bool note(void *user, rill_token token, const char *text, size_t length) {
    record *r = user;
    if (token >= 0) r->tokens[r->n++] = token;
    assert_true(r->length + length < sizeof r->text);
    memcpy(r->text + r->length, text, length);
    r->length += length;
    return r->n != r->interrupt_at;
}

static const char *path_of(const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", test_directory(), name);
    return path;
}

static void take_snapshot(const rill_stream *s, record *r) {
    rill_error err;
    must(rill_stream_save(s, path_of("draft.rill"), &err), &err);
    free(r->snapshot);
    r->snapshot = snapshot_read(path_of("draft.rill"), &r->snapshot_bytes);
}

// How a text is written.
typedef struct setting {
    rill_stream_options stream;
    rill_sampling sampling;
    rill_generate_options writing;
    rill_token prompt[PROMPT];
    size_t interrupt_at;
    bool reload;  // the stream is saved and loaded in the middle
} setting;

static rill_stream *begin(rill_model *model, const setting *how) {
    rill_error err;
    rill_stream *s;
    must(rill_stream_open(model, &how->stream, &s, &err), &err);
    must(rill_stream_set_sampling(s, &how->sampling, &err), &err);
    must(rill_stream_feed(s, how->prompt, PROMPT, NULL, &err), &err);
    return s;
}

static record *write_with(rill_model *model, const setting *how, uint32_t draft) {
    rill_error err;
    record *r = calloc(1, sizeof *r);
    assert_non_null(r);
    rill_generate_options o = how->writing;
    o.draft = draft;
    r->interrupt_at = how->interrupt_at;
    rill_stream *s = begin(model, how);
    if (how->reload) {
        rill_generate_options half = o;
        half.max_tokens = o.max_tokens / 2;
        must(rill_stream_generate(s, &half, note, r, &r->result, &err), &err);
        take_snapshot(s, r);
        rill_stream_close(&s);
        must(rill_stream_load(model, path_of("draft.rill"), &s, &err), &err);
        o.max_tokens -= half.max_tokens;
    }
    rill_stream_begin_message(s);
    must(rill_stream_generate(s, &o, note, r, &r->result, &err), &err);
    take_snapshot(s, r);
    rill_stream_close(&s);
    return r;
}

static void record_free(record *r) {
    free(r->snapshot);
    free(r);
}

static void expect_same(const record *got, const record *expected) {
    assert_int_equal(got->n, expected->n);
    assert_memory_equal(got->tokens, expected->tokens, got->n * sizeof *got->tokens);
    assert_int_equal(got->length, expected->length);
    assert_memory_equal(got->text, expected->text, got->length);
    assert_int_equal(got->result.stop, expected->result.stop);
    assert_int_equal(got->result.n_tokens, expected->result.n_tokens);
    assert_int_equal(got->snapshot_bytes, expected->snapshot_bytes);
    assert_memory_equal(got->snapshot, expected->snapshot, got->snapshot_bytes);
}

static uint64_t right, wrong;  // guesses, in all tests so far

// With guesses of some lengths, and without.
static void compare_all(rill_model *model, const setting *how) {
    static const uint32_t drafts[] = {1, 4, 15, RILL_DRAFT_AUTO};
    record *expected = write_with(model, how, 0);
    assert_int_equal(expected->result.n_drafted, 0);
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++) {
        record *got = write_with(model, how, drafts[i]);
        expect_same(got, expected);
        assert_true(got->result.n_accepted <= got->result.n_drafted);
        right += got->result.n_accepted;
        wrong += got->result.n_drafted - got->result.n_accepted;
        record_free(got);
    }
    record_free(expected);
}

static void random_setting_of(test_random *r, rill_method method, setting *out) {
    static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                      RILL_TYPE_Q4_0};
    *out = (setting){.reload = test_random_between(r, 0, 1)};
    rill_stream_options *o = &out->stream;
    rill_stream_options_default(o);
    o->method = method;
    o->sinks = method == RILL_METHOD_STREAMING ? test_random_between(r, 0, 5) : 0;
    bool dense = method == RILL_METHOD_DENSE;
    o->over_context = dense;
    o->window = dense ? test_random_between(r, PROMPT, 150) : test_random_between(r, 2, 60);
    o->evict = test_random_between(r, 0, 1) ? RILL_EVICT_MESSAGE : RILL_EVICT_TOKEN;
    o->default_types = false;
    o->key_type = types[test_random_between(r, 0, 4)];
    o->value_type = types[test_random_between(r, 0, 4)];
    o->chunk = test_random_between(r, 3, 24);
    rill_sampling *p = &out->sampling;
    rill_sampling_default(p);
    p->temperature = test_random_between(r, 0, 1) ? 0 : 0.5f;
    p->seed = test_random_next(r);
    if (test_random_between(r, 0, 2) == 0) {
        p->repetition_penalty = 1.05f;
        p->frequency_penalty = 0.01f;
        p->penalty_window = test_random_between(r, 1, 100);
    }
    rill_generate_options_default(&out->writing);
    out->writing.max_tokens = test_random_between(r, 100, WRITTEN);
    // A text that repeats itself now and then.
    uint32_t period = test_random_between(r, 4, 12);
    for (size_t i = 0; i < PROMPT; i++)
        out->prompt[i] = i < period || test_random_between(r, 0, 9) == 0
                             ? (rill_token)test_random_between(r, 0, VOCAB - 1)
                             : out->prompt[i - period];
}

static void guesses_change_no_bit(void **state) {
    test_random r = {test_seed()};
    static const char *const tiers[] = {NULL, TEST_TIERS};
    for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
        const rill_device_options device = {
            .exact = tiers[t] == NULL, .cpu = tiers[t], .threads = 1 + t % 2};
        rill_model *model = test_model(golden_directory(*state), &device);
        for (int method = RILL_METHOD_STREAMING; method <= RILL_METHOD_DENSE; method++) {
            setting how;
            random_setting_of(&r, (rill_method)method, &how);
            compare_all(model, &how);
        }
        rill_model_close(&model);
    }
}

// ---- The shipped model, which writes text ------------------------------------------------------

static setting of_text(rill_model *model, const char *text) {
    setting how = {0};
    rill_error err;
    rill_token *tokens;
    size_t n;
    must(rill_encode(model, text, strlen(text), 0, &tokens, &n, &err), &err);
    assert_true(n > 0 && n <= PROMPT);
    for (size_t i = 0; i < PROMPT; i++) how.prompt[i] = tokens[i % n];
    rill_tokens_free(tokens);
    rill_stream_options_default(&how.stream);
    rill_sampling_default(&how.sampling);
    rill_generate_options_default(&how.writing);
    how.stream.window = 60;
    how.writing.max_tokens = WRITTEN;
    return how;
}

static void text_and_reasons_to_stop_are_the_same(void **state) {
    (void)state;
    test_random r = {test_seed()};
    rill_model *model = test_model(test_shipped_model(), &(rill_device_options){.threads = 2});
    for (int i = 0; i < 6; i++) {
        setting how = of_text(model, "The cat sat on the mat and ate the fish. ");
        how.sampling.temperature = i % 2 ? 0.6f : 0;
        how.sampling.seed = test_random_next(&r);
        how.writing.until_end = i % 3 == 0;
        record *whole = write_with(model, &how, 0);
        // It stops at a piece of what it wrote, of up to several tokens, or when somebody says so.
        char stop[24];
        size_t n = test_random_between(&r, 1, sizeof stop - 1);
        size_t at = test_random_between(&r, 0, (uint32_t)whole->length / 2);
        while (at + n < whole->length && (whole->text[at + n] & 0xc0) == 0x80) n--;
        while (at < whole->length && (whole->text[at] & 0xc0) == 0x80) at++, n--;
        snprintf(stop, sizeof stop, "%.*s", (int)n, whole->text + at);
        const char *const stops[] = {stop};
        how.writing.stops = stops;
        how.writing.n_stops = *stop != 0;
        if (i == 5) how.interrupt_at = 1 + whole->n / 2;
        if (i == 5) how.writing.n_stops = 0;
        compare_all(model, &how);
        record_free(whole);
    }
    rill_model_close(&model);
}

// Thousands of tokens, far past the window.
static void a_long_text_is_the_same(void **state) {
    (void)state;
    enum { LONG = 3000 };
    rill_error err;
    rill_model *model = test_model(test_shipped_model(), &(rill_device_options){.threads = 2});
    setting how = of_text(model, "One two three four five six seven. ");
    how.stream.window = 100;
    rill_token visible[2][104];
    uint64_t accepted = 0;
    for (uint32_t i = 0; i < 2; i++) {
        how.writing.max_tokens = LONG;
        how.writing.until_end = false;
        how.writing.draft = 7 * i;
        how.sampling.temperature = 0.5f;
        rill_stream *s = begin(model, &how);
        rill_generate_result result;
        must(rill_stream_generate(s, &how.writing, NULL, NULL, &result, &err), &err);
        assert_int_equal(result.n_tokens, LONG);
        assert_int_equal(rill_stream_visible(s, visible[i], 104), 104);
        accepted += result.n_accepted;
        rill_stream_close(&s);
    }
    assert_memory_equal(visible[0], visible[1], sizeof visible[0]);
    print_message("%llu of %d tokens were guessed\n", (unsigned long long)accepted, LONG);
    assert_true(accepted > 0);
    rill_model_close(&model);
}

static void ignore_row(void *user, const rill_attention_row *row) {
    (void)user;
    (void)row;
}

// Recompute has no lasting cache, whoever looks at attention sees what is read and nothing else,
// and a chunk of two has no row to spare.
static void some_streams_are_not_guessed(void **state) {
    (void)state;
    rill_error err;
    rill_model *model = test_model(golden_directory("llama"), &(rill_device_options){.threads = 1});
    for (int i = 0; i < 4; i++) {
        setting how = {0};
        rill_stream_options_default(&how.stream);
        rill_sampling_default(&how.sampling);
        how.sampling.temperature = 0;
        how.stream.window = 20;
        if (i == 1) how.stream.method = RILL_METHOD_RECOMPUTE;
        if (i == 2) how.stream.chunk = 2;
        rill_stream *s = begin(model, &how);
        if (i == 3) must(rill_stream_observe(s, ignore_row, NULL, &err), &err);
        const rill_generate_options o = {.max_tokens = 30, .draft = 4};
        rill_generate_result result;
        must(rill_stream_generate(s, &o, NULL, NULL, &result, &err), &err);
        assert_int_equal(result.n_tokens, 30);
        assert_int_equal(result.n_drafted > 0, i == 0);
        rill_stream_close(&s);
    }
    setting how = {0};
    rill_stream_options_default(&how.stream);
    rill_sampling_default(&how.sampling);
    rill_stream *s = begin(model, &how);
    const rill_generate_options o = {.max_tokens = 30, .draft = 16};
    assert_int_equal(rill_stream_generate(s, &o, NULL, NULL, NULL, &err), RILL_EINVAL);
    assert_string_equal(err.message, "draft: 16 tokens; at most 15 is right");
    rill_stream_close(&s);
    rill_model_close(&model);
}

static void many_guesses_were_right_and_many_wrong(void **state) {
    (void)state;
    print_message("guesses right %llu, wrong %llu\n", (unsigned long long)right,
                  (unsigned long long)wrong);
    assert_true(right > 100 && wrong > 100);
}

static int remove_directory(void **state) {
    (void)state;
    test_directory_remove();
    return 0;
}

int main(void) {
    static char llama[] = "llama", xpos[] = "llama-xpos", window[] = "mistral-swa",
                alibi[] = "mpt-clip", experts[] = "gpt-oss", local[] = "gemma3";
    const struct CMUnitTest tests[] = {
        {"guesses_change_no_bit_of_llama", guesses_change_no_bit, NULL, NULL, llama},
        {"guesses_change_no_bit_of_llama-xpos", guesses_change_no_bit, NULL, NULL, xpos},
        {"guesses_change_no_bit_of_mistral-swa", guesses_change_no_bit, NULL, NULL, window},
        {"guesses_change_no_bit_of_mpt-clip", guesses_change_no_bit, NULL, NULL, alibi},
        {"guesses_change_no_bit_of_gpt-oss", guesses_change_no_bit, NULL, NULL, experts},
        {"guesses_change_no_bit_of_gemma3", guesses_change_no_bit, NULL, NULL, local},
        cmocka_unit_test(text_and_reasons_to_stop_are_the_same),
        cmocka_unit_test(a_long_text_is_the_same),
        cmocka_unit_test(some_streams_are_not_guessed),
        cmocka_unit_test(many_guesses_were_right_and_many_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, remove_directory);
}
