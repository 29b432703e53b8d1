// SPDX-License-Identifier: MIT
// Perplexity: against losses summed here, after other tokens were fed, in two halves, and killed
// before its end.
#include "eval/perplexity.h"

#include "base/clock.h"

#include "support/open.h"
#include "support/random_model.h"
#include "unit/scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOKENS = 200, PREFIX = 3, SINKS = 2, WINDOW = 14, TIMED = 8 };

static rill_model *model;
static rill_model_info info;
static rill_token prefix[PREFIX], tokens[TOKENS];

// In the place of the machine's clock: a minute a look, so that it is always time to save.
double rill__seconds(void) {
    static double now;
    return now += 60;
}

static int setup(void **state) {
    test_random random = {.state = test_seed()};
    if (scratch_make(state) != 0) return -1;
    model = test_model(test_data("golden", "llama"), &(rill_device_options){.threads = 1});
    rill_model_get_info(model, &info);
    for (int i = 0; i < PREFIX; i++)
        prefix[i] = (rill_token)test_random_between(&random, 0, info.vocab_size - 1);
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = (rill_token)test_random_between(&random, 0, info.vocab_size - 1);
    return 0;
}

static int teardown(void **state) {
    rill_model_close(&model);
    return scratch_remove(state);
}

static rill_stream_options stream_options(rill_method method) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.window = WINDOW;
    if (method == RILL_METHOD_STREAMING) o.sinks = SINKS;
    return o;
}

static rill__perplexity_options options(size_t n_prefix) {
    return (rill__perplexity_options){
        .every = 1, .bucket = TOKENS, .prefix = prefix, .n_prefix = n_prefix};
}

// Measures with a case of that name; NULL: without a journal.
static rill_status measure(const char *name, rill_method method, const rill__perplexity_options *o,
                           rill_progress_fn progress, void *user, rill__perplexity *out) {
    rill_stream_options stream = stream_options(method);
    rill__journal *journal = NULL;
    rill__job job = {.progress = progress, .user = user};
    rill__text *text = NULL;
    rill_error err;
    must(rill__text_of_tokens(tokens, TOKENS, &text, &err), &err);
    if (name) must(rill__journal_open(scratch_path("journal"), &journal, &err), &err);
    must(rill__journal_case(journal, name ? name : "", "test\n", RILL_PERPLEXITY_RECORD,
                            &job.journal, &err),
         &err);
    rill_status status = rill__perplexity_measure(model, &stream, text, o, &job, out, &err);
    rill__case_close(&job.journal);
    rill__journal_close(&journal);
    rill__text_close(&text);
    return status;
}

// The sum of -log softmax, token after token.
static double expected(rill_method method, size_t n_prefix) {
    rill_stream_options o = stream_options(method);
    rill_stream *stream;
    rill_error err;
    const float *logits;
    double sum = 0;
    must(rill_stream_open(model, &o, &stream, &err), &err);
    if (n_prefix) must(rill_stream_feed(stream, prefix, n_prefix, NULL, &err), &err);
    for (size_t i = 0; i + 1 < TOKENS; i++) {
        double total = 0;
        must(rill_stream_feed(stream, &tokens[i], 1, NULL, &err), &err);
        must(rill_stream_logits(stream, &logits, &err), &err);
        for (uint32_t j = 0; j < info.vocab_size; j++) total += exp((double)logits[j]);
        sum += log(total) - (double)logits[tokens[i + 1]];
    }
    rill_stream_close(&stream);
    return sum;
}

static void losses_are_those_of_the_text(void **state) {
    (void)state;
    static const rill_method methods[] = {RILL_METHOD_STREAMING, RILL_METHOD_WINDOW,
                                          RILL_METHOD_RECOMPUTE};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        for (size_t n_prefix = 0; n_prefix <= PREFIX; n_prefix += PREFIX) {
            rill__perplexity_options o = options(n_prefix);
            rill__perplexity result;
            assert_int_equal(measure(NULL, methods[i], &o, NULL, NULL, &result), RILL_OK);
            assert_int_equal(result.all.n, TOKENS - 1);
            assert_int_equal(result.n_computed, TOKENS - 1);
            double wanted = expected(methods[i], n_prefix);
            if (fabs(result.all.sum - wanted) > 1e-3)
                fail_msg("%zu: %g, not %g", i, result.all.sum, wanted);
            assert_true(result.cache_bytes > 0);
            rill__perplexity_deinit(&result);
        }
}

// What is fed in front takes room: a dense stream is full so much earlier.
static void a_full_stream_has_room_for_the_prefix(void **state) {
    (void)state;
    for (size_t n_prefix = 0; n_prefix <= PREFIX; n_prefix += PREFIX) {
        rill__perplexity_options o = options(n_prefix);
        rill__perplexity result;
        assert_int_equal(measure(NULL, RILL_METHOD_DENSE, &o, NULL, NULL, &result), RILL_ECONTEXT);
        assert_int_equal(result.all.n, WINDOW - n_prefix);
        rill__perplexity_deinit(&result);
    }
}

typedef struct stop {
    uint64_t at, first;  // interrupts there; the first number told
    bool told;
} stop;

static bool stop_at(void *user, uint64_t done, uint64_t total) {
    stop *s = user;
    assert_int_equal(total, TOKENS - 1);
    if (!s->told) s->first = done;
    s->told = true;
    return done < s->at;
}

// Interrupted, gone on with, and asked for once more: the same number, and nothing twice.
static void an_interrupted_one_goes_on(void **state) {
    (void)state;
    const rill__perplexity_options o = options(PREFIX);
    rill__perplexity whole, half, resumed, again;
    stop first = {.at = 100}, second = {.at = UINT64_MAX}, third = {.at = UINT64_MAX};
    assert_int_equal(measure(NULL, RILL_METHOD_STREAMING, &o, NULL, NULL, &whole), RILL_OK);
    assert_int_equal(measure("halves", RILL_METHOD_STREAMING, &o, stop_at, &first, &half),
                     RILL_EINTERRUPTED);
    assert_int_equal(measure("halves", RILL_METHOD_STREAMING, &o, stop_at, &second, &resumed),
                     RILL_OK);
    assert_true(second.first >= first.at);
    assert_true(resumed.all.sum == whole.all.sum && resumed.all.n == whole.all.n);
    assert_int_equal(resumed.cache_bytes, whole.cache_bytes);
    assert_int_equal(measure("halves", RILL_METHOD_STREAMING, &o, stop_at, &third, &again),
                     RILL_OK);
    assert_false(third.told);
    assert_true(again.all.sum == whole.all.sum);
    assert_int_equal(again.cache_bytes, whole.cache_bytes);
    rill__perplexity_deinit(&whole);
    rill__perplexity_deinit(&half);
    rill__perplexity_deinit(&resumed);
    rill__perplexity_deinit(&again);
}

static bool die_at_the_end(void *user, uint64_t done, uint64_t total) {
    (void)user;
    if (done == total) kill(getpid(), SIGKILL);
    return true;
}

// All tokens are read, and the case is not finished yet: there must be a step left to time.
static void killed_before_it_finished(void **state) {
    (void)state;
    rill__perplexity_options o = options(0);
    rill__perplexity result;
    o.timed = TIMED;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit((int)measure("killed", RILL_METHOD_STREAMING, &o, die_at_the_end, NULL, &result));
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(measure("killed", RILL_METHOD_STREAMING, &o, NULL, NULL, &result),
                         RILL_OK);
        assert_int_equal(result.tokens, TOKENS - 1);
        assert_true(isfinite(result.step_seconds) && result.step_seconds > 0);
        rill__perplexity_deinit(&result);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_text),
        cmocka_unit_test(a_full_stream_has_room_for_the_prefix),
        cmocka_unit_test(an_interrupted_one_goes_on),
        cmocka_unit_test(killed_before_it_finished),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
