// SPDX-License-Identifier: MIT
// Files: mapping and reading, also what is no plain file.
#include "base/file.h"

#include "file_folder.h"

#include <errno.h>
#include <fcntl.h>

static void mapping_gives_the_bytes(void **state) {
    (void)state;
    rill__mapping m;
    put(in("a"), "hello");
    assert_int_equal(rill__mapping_open(in("a"), &m, NULL), RILL_OK);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    rill__mapping_close(&m);
    assert_null(m.data);
    rill__mapping_close(&m);
    put(in("empty"), "");
    assert_int_equal(rill__mapping_open(in("empty"), &m, NULL), RILL_OK);
    assert_null(m.data);
    assert_int_equal(m.size, 0);
    rill__mapping_close(&m);
}

static void mapping_refuses_what_is_no_file(void **state) {
    (void)state;
    rill__mapping m = {.size = 9};
    rill_error err;
    assert_int_equal(rill__mapping_open(directory, &m, &err), RILL_EIO);
    assert_non_null(strstr(err.message, "directory"));
    assert_null(m.data);
    assert_int_equal(mkfifo(in("fifo"), 0600), 0);
    assert_int_equal(rill__mapping_open(in("fifo"), &m, &err), RILL_EIO);
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_int_equal(rill__mapping_open("/dev/zero", &m, &err), RILL_EIO);
    assert_int_equal(rill__mapping_open(in("none"), &m, &err), RILL_EIO);
    assert_non_null(strstr(err.message, "No such file"));
    assert_non_null(strstr(err.message, in("none")));
}

static bool unreadable_is_said(void) {
    rill_error err;
    rill__mapping m;
    char *text;
    size_t length;
    return rill__mapping_open(in("secret"), &m, &err) == RILL_EIO &&
           strstr(err.message, "Permission denied") &&
           rill__file_read(in("secret"), 99, &text, &length, &err) == RILL_EIO &&
           strstr(err.message, "Permission denied");
}

static void unreadable_file_is_named(void **state) {
    (void)state;
    put(in("secret"), "x");
    assert_int_equal(chmod(in("secret"), 0), 0);
    assert_true(as_nobody(unreadable_is_said));
}

static void read_stops_at_the_ceiling(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    rill_error err;
    char *long_text = malloc(10001);
    memset(long_text, 'x', 10000);
    long_text[10000] = '\0';
    put(in("long"), long_text);
    assert_int_equal(rill__file_read(in("long"), 9999, &text, &length, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "9999"));
    assert_null(text);
    assert_int_equal(rill__file_read(in("long"), 10000, &text, &length, &err), RILL_OK);
    assert_int_equal(length, 10000);
    assert_string_equal(text, long_text);
    rill__free(text);
    free(long_text);
    put(in("empty"), "");
    assert_int_equal(rill__file_read(in("empty"), 0, &text, &length, &err), RILL_OK);
    assert_string_equal(text, "");
    rill__free(text);
    assert_int_equal(rill__file_read(directory, 10, &text, &length, &err), RILL_EIO);
}

// A pipe whose writer sends 30,000 bytes in small portions; `ceiling` is what the reader allows.
static rill_status read_pipe(size_t ceiling, size_t *length) {
    enum { PORTION = 300, PORTIONS = 100 };
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char portion[PORTION];
        memset(portion, 'p', sizeof portion);
        close(ends[0]);
        signal(SIGPIPE, SIG_DFL);
        for (int i = 0; i < PORTIONS; i++)
            if (write(ends[1], portion, PORTION) != PORTION) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    char path[32], *text;
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    rill_status status = rill__file_read(path, ceiling, &text, length, NULL);
    if (status == RILL_OK) rill__free(text);
    close(ends[0]);
    waitpid(child, NULL, 0);
    return status;
}

static void pipes_are_read_up_to_a_ceiling(void **state) {
    (void)state;
    size_t length = 0;
    assert_int_equal(read_pipe(30000, &length), RILL_OK);
    assert_int_equal(length, 30000);
    assert_int_equal(read_pipe(29999, &length), RILL_EFORMAT);
}

static void kinds_of_paths_are_told_apart(void **state) {
    (void)state;
    put(in("a"), "x");
    assert_true(rill__file_exists(in("a")));
    assert_true(rill__file_exists(directory));
    assert_false(rill__file_exists(in("b")));
    assert_true(rill__directory_exists(directory));
    assert_false(rill__directory_exists(in("a")));
    char *joined = rill__path_join("a", "b"), *root = rill__path_join("/", "b");
    assert_string_equal(joined, "a/b");
    assert_string_equal(root, "/b");
    rill__free(joined);
    rill__free(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(mapping_gives_the_bytes),        IN_DIRECTORY(mapping_refuses_what_is_no_file),
        IN_DIRECTORY(unreadable_file_is_named),       IN_DIRECTORY(read_stops_at_the_ceiling),
        IN_DIRECTORY(pipes_are_read_up_to_a_ceiling), IN_DIRECTORY(kinds_of_paths_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
