// SPDX-License-Identifier: MIT
// Perplexity: a measurement that is killed goes on with what it still has to do.
#include "eval/perplexity.h"

#include "base/clock.h"

#include "support/open.h"
#include "unit/scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOKENS = 200, SINKS = 2, WINDOW = 14, TIMED = 8 };

static rill_model *model;

// In the place of the machine's clock: a minute a look, so that it is always time to save.
double rill__seconds(void) {
    static double now;
    return now += 60;
}

static int setup(void **state) {
    char letters[TOKENS];
    if (scratch_make(state) != 0) return -1;
    model = test_model(test_data("golden", "llama"), &(rill_device_options){.threads = 1});
    for (int i = 0; i < TOKENS; i++) letters[i] = (char)('a' + i * i % 26);
    scratch_file("text", letters, TOKENS);
    return 0;
}

static int teardown(void **state) {
    rill_model_close(&model);
    return scratch_remove(state);
}

static rill_stream_options stream_options(void) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.sinks = SINKS;
    o.window = WINDOW;
    return o;
}

static rill_status measure(const rill__perplexity_options *options, rill_progress_fn progress,
                           rill__perplexity *out, rill_error *err) {
    rill_stream_options o = stream_options();
    rill__journal *journal = NULL;
    rill__job job = {.progress = progress};
    rill__text *text = NULL;  // a process has a place of its own in it
    must(rill__text_open(model, scratch_path("text"), RILL__TEXT_BYTES, 0, NULL, &text, err), err);
    must(rill__journal_open(scratch_path("journal"), &journal, err), err);
    must(rill__journal_case(journal, "case", "test\n", RILL_PERPLEXITY_RECORD, &job.journal, err),
         err);
    rill_status status = rill__perplexity_measure(model, &o, text, options, &job, out, err);
    rill__case_close(&job.journal);
    rill__journal_close(&journal);
    rill__text_close(&text);
    return status;
}

static bool die_at_the_end(void *user, uint64_t done, uint64_t total) {
    (void)user;
    if (done == total) kill(getpid(), SIGKILL);
    return true;
}

// All tokens are read, and the case is not finished yet: there must be a step left to time.
static void killed_before_it_finished(void **state) {
    (void)state;
    const rill__perplexity_options options = {.every = 1, .bucket = TOKENS, .timed = TIMED};
    rill__perplexity result;
    rill_error err;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit((int)measure(&options, die_at_the_end, &result, &err));
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    for (int again = 0; again < 2; again++) {
        must(measure(&options, NULL, &result, &err), &err);
        assert_int_equal(result.tokens, TOKENS - 1);
        assert_true(isfinite(result.step_seconds) && result.step_seconds > 0);
        rill__perplexity_deinit(&result);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_it_finished),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
