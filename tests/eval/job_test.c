// SPDX-License-Identifier: MIT
// The course of a measurement: when it is told to save or to stop, and the time of all processes
// together.
#include "eval/job.h"

#include "base/clock.h"

#include "support/open.h"
#include "unit/scratch.h"

#include <math.h>

enum { RECORD = sizeof(double) };

static rill_model *model;
static double now = 100;

// In the place of the machine's clock.
double rill__seconds(void) {
    return now;
}

static int setup(void **state) {
    if (scratch_make(state) != 0) return -1;
    model = test_model(test_data("golden", "llama"), &(rill_device_options){.threads = 1});
    return 0;
}

static int teardown(void **state) {
    rill_model_close(&model);
    return scratch_remove(state);
}

static bool until_three(void *user, uint64_t done, uint64_t total) {
    *(uint64_t *)user = total;
    return done < 3;
}

static void nothing_kept_nobody_told(void **state) {
    (void)state;
    rill__job job = {0};
    rill_error err;
    assert_true(rill__job_seconds(&job) == 0);
    must(rill__job_begin(&job, NULL, NULL, &err), &err);
    now += 7;
    assert_false(rill__job_tell(&job, 1, 9));
    assert_true(rill__job_seconds(&job) == 7);
    must(rill__job_save(&job, NULL, "tokens", &err), &err);
    must(rill__job_finish(&job, &err), &err);
}

static void one_that_is_told_to_stop(void **state) {
    (void)state;
    uint64_t total = 0;
    rill__job job = {.progress = until_three, .user = &total};
    rill_error err;
    must(rill__job_begin(&job, NULL, NULL, &err), &err);
    assert_false(rill__job_tell(&job, 2, 9));
    assert_int_equal(total, 9);
    assert_true(rill__job_tell(&job, 3, 9));
    assert_int_equal(rill__job_save(&job, NULL, "questions", &err), RILL_EINTERRUPTED);
    assert_non_null(strstr(err.message, "interrupted after 3 of 9 questions"));
    // At the end there is nothing left to stop.
    assert_false(rill__job_tell(&job, 9, 9));
}

static rill__case *open_case(rill__journal **journal, const char *name) {
    rill__case *c;
    rill_error err;
    must(rill__journal_open(scratch_path("journal"), journal, &err), &err);
    must(rill__journal_case(*journal, name, "text\n", RECORD, &c, &err), &err);
    return c;
}

static void close_case(rill__journal **journal, rill__job *job, rill_stream **stream) {
    rill_stream_close(stream);
    rill__case_close(&job->journal);
    rill__journal_close(journal);
}

static void feed(rill_stream *stream, rill__case *c, size_t n) {
    rill_error err;
    for (size_t i = 0; i < n; i++) {
        rill_token token = 1;
        double record = 0.5;
        must(rill_stream_feed(stream, &token, 1, NULL, &err), &err);
        must(rill__case_append(c, &record, 1, &err), &err);
    }
}

// Seconds are those that led to what is loaded, not to what was lost.
static void time_goes_on_from_what_is_loaded(void **state) {
    (void)state;
    rill__journal *journal;
    rill_stream *stream;
    rill_error err;
    rill__job first = {.journal = open_case(&journal, "time")};
    must(rill__job_begin(&first, model, &stream, &err), &err);
    assert_null(stream);
    must(rill_stream_open(model, NULL, &stream, &err), &err);
    feed(stream, first.journal, 3);
    now += 20;
    assert_false(rill__job_tell(&first, 3, 9));
    now += 20;
    assert_true(rill__job_tell(&first, 3, 9));  // half a minute is over
    must(rill__job_save(&first, stream, "tokens", &err), &err);
    feed(stream, first.journal, 2);
    now += 50;
    // A process that ends here has saved its records, and their stream not yet.
    must(rill__case_save(first.journal, NULL, rill__job_seconds(&first), &err), &err);
    close_case(&journal, &first, &stream);

    now += 1000;
    rill__job second = {.journal = open_case(&journal, "time")};
    must(rill__job_begin(&second, model, &stream, &err), &err);
    assert_non_null(stream);
    assert_int_equal(rill__case_count(second.journal), 3);
    now += 5;
    assert_true(fabs(rill__job_seconds(&second) - 45) < 1e-9);
    must(rill__job_finish(&second, &err), &err);
    now += 1000;
    assert_true(fabs(rill__job_seconds(&second) - 45) < 1e-9);
    close_case(&journal, &second, &stream);

    rill__job third = {.journal = open_case(&journal, "time")};
    must(rill__job_begin(&third, model, &stream, &err), &err);
    assert_null(stream);
    assert_int_equal(rill__case_count(third.journal), 3);
    assert_true(fabs(rill__job_seconds(&third) - 45) < 1e-9);
    close_case(&journal, &third, &stream);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_kept_nobody_told),
        cmocka_unit_test(one_that_is_told_to_stop),
        cmocka_unit_test(time_goes_on_from_what_is_loaded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
