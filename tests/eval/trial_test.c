// SPDX-License-Identifier: MIT
// Perplexity after other tokens were fed: against losses summed here, and in two halves.
#include "eval/trial.h"

#include "support/open.h"
#include "support/random_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { TOKENS = 200, FED = 3, SINKS = 2, WINDOW = 14 };

typedef struct fixture {
    rill_model *model;
    rill_model_info info;
    rill_token fed[FED], tokens[TOKENS];
    char folder[32];
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    char path[512];
    rill_device_options one = {.threads = 1};
    test_random random = {.state = test_seed()};
    assert_non_null(f);
    snprintf(path, sizeof path, "%s/golden/llama", getenv("RILL_TEST_DATA"));
    f->model = test_model(path, &one);
    rill_model_get_info(f->model, &f->info);
    for (int i = 0; i < FED; i++)
        f->fed[i] = (rill_token)test_random_between(&random, 0, f->info.vocab_size - 1);
    for (int i = 0; i < TOKENS; i++)
        f->tokens[i] = (rill_token)test_random_between(&random, 0, f->info.vocab_size - 1);
    snprintf(f->folder, sizeof f->folder, "/tmp/rill-trial-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    static const char *const files[] = {"trial.case", "trial.records", "trial.stream"};
    char path[64];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0);
    rill_model_close(&f->model);
    free(f);
    return 0;
}

static rill__trial make_trial(const fixture *f) {
    rill__trial t = {.fed = f->fed, .n_fed = FED, .tokens = f->tokens, .n_tokens = TOKENS};
    rill_stream_options_default(&t.stream);
    t.stream.sinks = SINKS;
    t.stream.window = WINDOW;
    return t;
}

// exp of the mean of -log softmax, token after token.
static double expected(const fixture *f, const rill__trial *t) {
    rill_stream *stream;
    rill_error err;
    const float *logits;
    double sum = 0;
    must(rill_stream_open(f->model, &t->stream, &stream, &err), &err);
    if (t->n_fed) must(rill_stream_feed(stream, t->fed, t->n_fed, NULL, &err), &err);
    for (size_t i = 0; i + 1 < t->n_tokens; i++) {
        double total = 0;
        must(rill_stream_feed(stream, &t->tokens[i], 1, NULL, &err), &err);
        must(rill_stream_logits(stream, &logits, &err), &err);
        for (uint32_t j = 0; j < f->info.vocab_size; j++) total += exp((double)logits[j]);
        sum += log(total) - (double)logits[t->tokens[i + 1]];
    }
    rill_stream_close(&stream);
    return exp(sum / (double)(t->n_tokens - 1));
}

static void test_perplexity(void **state) {
    const fixture *f = *state;
    for (size_t n_fed = 0; n_fed <= FED; n_fed += FED) {
        rill__trial t = make_trial(f);
        double perplexity;
        uint64_t bytes;
        rill_error err;
        t.n_fed = n_fed;
        must(rill__trial_measure(f->model, &t, NULL, NULL, NULL, &perplexity, &bytes, &err), &err);
        double right = expected(f, &t);
        if (fabs(perplexity - right) > 1e-6 * right) fail_msg("%.9g, not %.9g", perplexity, right);
        assert_true(bytes >=
                    (SINKS + WINDOW) * rill_token_bytes(&f->info, RILL_TYPE_F16, RILL_TYPE_F16));
    }
}

typedef struct stop {
    uint64_t at, first;  // interrupts there; the first number seen
} stop;

static bool stop_at(void *user, uint64_t done, uint64_t total) {
    stop *s = user;
    assert_int_equal(total, TOKENS - 1);
    if (!s->first) s->first = done;
    return done < s->at;
}

static rill_status measure(const fixture *f, stop *s, double *perplexity, rill_error *err) {
    rill__trial t = make_trial(f);
    rill__journal *journal = NULL;
    rill__case *c = NULL;
    uint64_t bytes;
    must(rill__journal_open(f->folder, &journal, err), err);
    must(rill__journal_case(journal, "trial", "test\n", RILL_TRIAL_RECORD, &c, err), err);
    rill_status status = rill__trial_measure(f->model, &t, c, stop_at, s, perplexity, &bytes, err);
    rill__case_close(&c);
    rill__journal_close(&journal);
    return status;
}

// Interrupted, gone on with, and asked for once more: the same number, and nothing twice.
static void test_resumed(void **state) {
    const fixture *f = *state;
    rill__trial t = make_trial(f);
    rill_error err;
    double whole, resumed = 0, again = 0;
    uint64_t bytes;
    must(rill__trial_measure(f->model, &t, NULL, NULL, NULL, &whole, &bytes, &err), &err);
    stop first = {.at = 100}, second = {.at = UINT64_MAX}, third = {.at = UINT64_MAX};
    assert_int_equal(measure(f, &first, &resumed, &err), RILL_EINTERRUPTED);
    must(measure(f, &second, &resumed, &err), &err);
    assert_true(second.first > first.at);
    assert_true(resumed == whole);
    must(measure(f, &third, &again, &err), &err);
    assert_int_equal(third.first, 0);
    assert_true(again == whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_perplexity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_resumed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
