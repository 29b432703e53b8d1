// SPDX-License-Identifier: MIT
// The journal: what was saved survives a kill at any step, what was not is computed again, and
// nothing foreign is taken for one's own.
#include "eval/journal.h"

#include "base/file.h"

#include "open.h"
#include "random_model.h"
#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 12, HEAD = 64 };

static rill_model *model;
static const char *directory;

static int setup(void **state) {
    if (scratch_make(state) != 0) return -1;
    test_random r = {7};
    const random_shape shape = {.family = "llama",
                                .n_layers = 1,
                                .n_heads = 2,
                                .n_kv_heads = 1,
                                .head_dim = 4,
                                .hidden_size = 8,
                                .ffn_size = 8,
                                .vocab_size = 32,
                                .trained_context = 64};
    const char *path = scratch_path("model");
    mkdir(path, 0777);
    random_model_write(&r, &shape, path);
    model = test_model(path, &(rill_device_options){.threads = 1});
    return 0;
}

static int teardown(void **state) {
    rill_model_close(&model);
    return scratch_remove(state);
}

// Every test has a directory of its own.
static rill__journal *open_journal(const char *name) {
    static char path[256];
    rill__journal *j;
    rill_error err;
    snprintf(path, sizeof path, "%s", scratch_path(name));
    directory = path;
    must(rill__journal_open(path, &j, &err), &err);
    return j;
}

static rill__case *open_case(rill__journal *j, const char *description) {
    rill__case *c;
    rill_error err;
    must(rill__journal_case(j, "a case/1", description, RECORD, &c, &err), &err);
    return c;
}

static const char *file_of_case(const char *ending) {
    static char path[512];
    snprintf(path, sizeof path, "%s/a_case_1.%s", directory, ending);
    return path;
}

static rill_stream *open_stream(void) {
    rill_stream_options options;
    rill_stream *stream;
    rill_error err;
    rill_stream_options_default(&options);
    options.window = 8;
    must(rill_stream_open(model, &options, &stream, &err), &err);
    return stream;
}

// Reads n tokens and appends two records for each: numbers that say where they stand.
static void work(rill_stream *stream, rill__case *c, int n) {
    rill_error err;
    for (int i = 0; i < n; i++) {
        rill_token token = i % 32;
        must(rill_stream_feed(stream, &token, 1, NULL, &err), &err);
        for (int k = 0; k < 2; k++) {
            char record[RECORD] = {0};
            snprintf(record, sizeof record, "%u", (unsigned)rill__case_count(c));
            must(rill__case_append(c, record, 1, &err), &err);
        }
    }
}

static void check_records(rill__case *c, uint64_t n) {
    rill_error err;
    assert_int_equal(rill__case_count(c), n);
    for (uint64_t i = 0; i < n; i++) {
        char record[RECORD], wanted[RECORD] = {0};
        snprintf(wanted, sizeof wanted, "%u", (unsigned)i);
        must(rill__case_read(c, i, 1, record, &err), &err);
        assert_memory_equal(record, wanted, RECORD);
    }
    char past[RECORD];
    assert_int_equal(rill__case_read(c, n, 1, past, &err), RILL_EINVAL);
}

// Runs `step` in a process that is killed at its end.
static void in_killed_process(void (*step)(rill__journal *), const char *name) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        step(open_journal(name));
        kill(getpid(), SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void killed_after_a_save(rill__journal *j) {
    rill_error err;
    rill__case *c = open_case(j, "d\n");
    rill_stream *s = open_stream();
    work(s, c, 5);
    must(rill__case_save(c, s, 1, &err), &err);
    work(s, c, 3);
    must(rill__case_save(c, s, 2.5, &err), &err);
    work(s, c, 4);  // is lost
}

static void a_kill_between_two_appends(void **state) {
    (void)state;
    in_killed_process(killed_after_a_save, "killed");
    rill_error err;
    rill_stream *s;
    rill_stream_report report;
    rill__journal *j = open_journal("killed");
    rill__case *c = open_case(j, "d\n");
    must(rill__case_load(c, model, &s, &err), &err);
    assert_non_null(s);
    rill_stream_get_report(s, &report);
    assert_int_equal(report.seen, 8);
    assert_true(rill__case_seconds(c) == 2.5);
    check_records(c, 16);
    work(s, c, 2);
    check_records(c, 20);
    must(rill__case_finish(c, 4, &err), &err);
    rill_stream_close(&s);
    rill__case_close(&c);
    assert_false(rill__file_exists(file_of_case("stream")));

    c = open_case(j, "d\n");
    assert_true(rill__case_finished(c));
    assert_true(rill__case_seconds(c) == 4);
    check_records(c, 20);
    rill__case_close(&c);
    rill__journal_close(&j);
}

// ---- Killed at every step -------------------------------------------------------------------

// Calls that change what is on disk, counted. At number `at` the process is killed: in front of it,
// or, if `torn`, with half of what it writes written.
static struct {
    uint64_t at, done;  // at: 0: never
    bool torn;
} steps;

static void die(void) {
    kill(getpid(), SIGKILL);
}

static bool is_the_last(void) {
    return steps.at && ++steps.done == steps.at;
}

// These stand in front of the C library's, for the library under test as well. A kill loses nothing
// of what was written, so nothing need be synced.
int open(const char *path, int flags, ...) {
    if (flags & O_CREAT && is_the_last()) die();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}

ssize_t write(int file, const void *data, size_t bytes) {
    if (is_the_last()) {
        if (steps.torn) (void)syscall(SYS_write, file, data, bytes / 2);
        die();
    }
    return syscall(SYS_write, file, data, bytes);
}

// What is at the beginning, a journal's head, is a part of one sector: all of it or nothing.
ssize_t pwrite(int file, const void *data, size_t bytes, off_t at) {
    if (is_the_last()) {
        if (steps.torn && at) (void)syscall(SYS_pwrite64, file, data, bytes / 2, at);
        die();
    }
    return syscall(SYS_pwrite64, file, data, bytes, at);
}

int fsync(int file) {
    (void)file;
    if (is_the_last()) die();
    return 0;
}

int fdatasync(int file) {
    return fsync(file);
}

int ftruncate(int file, off_t length) {
    if (is_the_last()) die();
    return (int)syscall(SYS_ftruncate, file, length);
}

int rename(const char *from, const char *to) {
    if (is_the_last()) die();
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path) {
    if (is_the_last()) die();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

enum { TOKENS = 11, EACH = 4 };

// What a measure does: takes up the case, saves after every few tokens, and finishes it.
static void measure(const char *name) {
    rill_error err;
    rill_stream *s = NULL;
    rill_stream_report report;
    rill__journal *j = open_journal(name);
    rill__case *c = open_case(j, "d\n");
    if (!rill__case_finished(c)) {
        must(rill__case_load(c, model, &s, &err), &err);
        if (!s) s = open_stream();
        for (;;) {
            rill_stream_get_report(s, &report);
            if (report.seen == TOKENS) break;
            if (report.seen % EACH == 0) must(rill__case_save(c, s, 1, &err), &err);
            work(s, c, 1);
        }
        must(rill__case_finish(c, 2, &err), &err);
    }
    rill_stream_close(&s);
    rill__case_close(&c);
    rill__journal_close(&j);
}

// Measures in a process of its own that is killed at step n. False if it ended before.
static bool killed_at(const char *name, uint64_t n, bool torn) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        steps.at = n;
        steps.torn = torn;
        measure(name);
        _exit(0);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    if (WIFEXITED(how)) assert_int_equal(WEXITSTATUS(how), 0);
    return WIFSIGNALED(how);
}

// However often it was killed, and where: in the end the records are those of a run that was not.
static void a_kill_at_any_step(void **state) {
    (void)state;
    bool killed = true;
    uint64_t n = 1;
    for (; killed; n++) {
        for (int torn = 0; torn < 2; torn++) {
            char name[32];
            snprintf(name, sizeof name, "steps-%d-%d", (int)n, torn);
            killed = killed_at(name, n, torn);
            killed_at(name, n, torn);
            measure(name);
            rill__journal *j = open_journal(name);
            rill__case *c = open_case(j, "d\n");
            assert_true(rill__case_finished(c));
            assert_true(rill__case_seconds(c) == 2);
            check_records(c, 2 * TOKENS);
            if (rill__file_exists(file_of_case("stream"))) fail_msg("step %d: a stream", (int)n);
            rill__case_close(&c);
            rill__journal_close(&j);
        }
    }
    assert_true(n > 30);  // all of them were counted
}

// ---- Journals that are not as they were left ------------------------------------------------

static void without_a_snapshot_it_begins_anew(void **state) {
    (void)state;
    rill_error err;
    rill_stream *s = open_stream();
    rill__journal *j = open_journal("anew");
    rill__case *c = open_case(j, "d\n");
    work(s, c, 2);
    must(rill__case_save(c, NULL, 1, &err), &err);
    rill_stream_close(&s);
    rill__case_close(&c);
    c = open_case(j, "d\n");
    check_records(c, 4);  // for a measure that needs no stream
    must(rill__case_load(c, model, &s, &err), &err);
    assert_null(s);
    assert_int_equal(rill__case_count(c), 0);
    assert_true(rill__case_seconds(c) == 0);
    rill__case_close(&c);
    rill__journal_close(&j);
}

// A file that grew before its data was written: zeros behind what a save made safe.
static void what_no_save_made_safe_is_no_record(void **state) {
    (void)state;
    rill_error err;
    rill_stream *s = open_stream();
    rill__journal *j = open_journal("grown");
    for (int finished = 0; finished < 2; finished++) {
        rill__case *c = open_case(j, "d\n");
        work(s, c, 2);
        must(finished ? rill__case_finish(c, 1, &err) : rill__case_save(c, NULL, 1, &err), &err);
        uint64_t n = rill__case_count(c);
        rill__case_close(&c);
        assert_int_equal(truncate(file_of_case("records"), (off_t)(HEAD + (n + 3) * RECORD)), 0);
        c = open_case(j, "d\n");
        check_records(c, n);
        rill__case_close(&c);
    }
    rill_stream_close(&s);
    rill__journal_close(&j);
}

static void a_file_cut_short(void **state) {
    (void)state;
    in_killed_process(killed_after_a_save, "cut");
    rill_error err;
    rill_stream *s;
    rill__journal *j = open_journal("cut");
    // Half a record at the end is none; the save had 16, so one is missing.
    assert_int_equal(truncate(file_of_case("records"), HEAD + 15 * RECORD + RECORD / 2), 0);
    rill__case *c = open_case(j, "d\n");
    assert_int_equal(rill__case_load(c, model, &s, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "a_case_1.records"));
    rill__case_close(&c);
    for (int length = 1; length < HEAD; length += 31) {
        assert_int_equal(truncate(file_of_case("records"), length), 0);
        assert_int_equal(rill__journal_case(j, "a case/1", "d\n", RECORD, &c, &err), RILL_EFORMAT);
        assert_null(c);
    }
    rill__journal_close(&j);
}

static void a_finished_case_cut_short(void **state) {
    (void)state;
    rill_error err;
    rill_stream *s = open_stream();
    rill__journal *j = open_journal("finished");
    rill__case *c = open_case(j, "d\n");
    work(s, c, 2);
    must(rill__case_finish(c, 1, &err), &err);
    rill_stream_close(&s);
    rill__case_close(&c);
    assert_int_equal(truncate(file_of_case("records"), HEAD + 3 * RECORD), 0);
    assert_int_equal(rill__journal_case(j, "a case/1", "d\n", RECORD, &c, &err), RILL_EFORMAT);
    rill__journal_close(&j);
}

static void what_is_foreign_is_refused(void **state) {
    (void)state;
    rill_error err;
    rill__journal *j = open_journal("foreign");
    rill__case *c = open_case(j, "model: a\ntokens: 5\n");
    rill__case *other;
    // By two at once ...
    assert_int_equal(
        rill__journal_case(j, "a case/1", "model: a\ntokens: 5\n", RECORD, &other, &err), RILL_EIO);
    rill__case_close(&c);
    // ... with another description, where the message has what differs ...
    assert_int_equal(rill__journal_case(j, "a case/1", "model: a\ntokens: 6\n", RECORD, &c, &err),
                     RILL_EMISMATCH);
    assert_non_null(strstr(err.message, "'tokens: 5', now it is 'tokens: 6'"));
    assert_int_equal(rill__journal_case(j, "a case/1", "model: a\n", RECORD, &c, &err),
                     RILL_EMISMATCH);
    // ... with records of another size, or none at all.
    assert_int_equal(rill__journal_case(j, "a case/1", "model: a\ntokens: 5\n", RECORD + 4, &c,
                                        &err),
                     RILL_EFORMAT);
    FILE *file = fopen(file_of_case("records"), "w");
    for (int i = 0; i < 100; i++) fputs("no records", file);
    fclose(file);
    assert_int_equal(rill__journal_case(j, "a case/1", "model: a\ntokens: 5\n", RECORD, &c, &err),
                     RILL_EFORMAT);
    rill__journal_close(&j);
    // A file is no directory.
    assert_int_equal(rill__journal_open(scratch_text("file", "text"), &j, &err), RILL_EIO);
}

static rill_status count_up(void *user, void *records, size_t n, rill_error *err) {
    (void)err;
    for (size_t i = 0; i < n; i++) {
        char record[RECORD] = {0};
        snprintf(record, sizeof record, "%u", (unsigned)i);
        memcpy((char *)records + i * RECORD, record, RECORD);
    }
    return *(int *)user ? RILL_OK : RILL_EIO;
}

// What is done in one go: half of it counts for nothing, and all of it is not done twice.
static void a_case_of_one_go(void **state) {
    (void)state;
    rill_error err;
    char records[3 * RECORD], again[3 * RECORD];
    int succeeds = 0;
    rill__journal *j = open_journal("once");
    rill__case *c = open_case(j, "d\n");
    must(rill__case_append(c, "half a line", 1, &err), &err);
    must(rill__case_save(c, NULL, 1, &err), &err);
    assert_int_equal(rill__case_once(c, records, 3, count_up, &succeeds, &err), RILL_EIO);
    assert_false(rill__case_finished(c));
    rill__case_close(&c);
    c = open_case(j, "d\n");
    succeeds = 1;
    must(rill__case_once(c, records, 3, count_up, &succeeds, &err), &err);
    rill__case_close(&c);
    c = open_case(j, "d\n");
    assert_true(rill__case_finished(c));
    check_records(c, 3);
    succeeds = 0;  // it is not asked
    must(rill__case_once(c, again, 3, count_up, &succeeds, &err), &err);
    assert_memory_equal(again, records, sizeof records);
    rill__case_close(&c);
    rill__journal_close(&j);
}

static void no_journal_does_nothing(void **state) {
    (void)state;
    rill__case *c;
    rill_stream *s;
    assert_int_equal(rill__journal_case(NULL, "a", "d", RECORD, &c, NULL), RILL_OK);
    assert_null(c);
    assert_int_equal(rill__case_append(c, "x", 1, NULL), RILL_OK);
    assert_int_equal(rill__case_load(c, model, &s, NULL), RILL_OK);
    assert_null(s);
    assert_int_equal(rill__case_save(c, NULL, 1, NULL), RILL_OK);
    assert_int_equal(rill__case_finish(c, 1, NULL), RILL_OK);
    assert_false(rill__case_due(c) || rill__case_finished(c));
    assert_int_equal(rill__case_count(c), 0);
    char record[RECORD] = {0};
    int succeeds = 1;
    assert_int_equal(rill__case_once(c, record, 1, count_up, &succeeds, NULL), RILL_OK);
    assert_string_equal(record, "0");
    rill__case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_between_two_appends),
        cmocka_unit_test(a_kill_at_any_step),
        cmocka_unit_test(without_a_snapshot_it_begins_anew),
        cmocka_unit_test(what_no_save_made_safe_is_no_record),
        cmocka_unit_test(a_file_cut_short),
        cmocka_unit_test(a_finished_case_cut_short),
        cmocka_unit_test(what_is_foreign_is_refused),
        cmocka_unit_test(a_case_of_one_go),
        cmocka_unit_test(no_journal_does_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
