// SPDX-License-Identifier: MIT
// What tests of files share: each has a directory of its own.
#ifndef RILL_TESTS_FILE_FOLDER_H
#define RILL_TESTS_FILE_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

static char directory[] = "/tmp/rill-file-XXXXXX";
static const unsigned nobody = 65534;

static inline int make_directory(void **state) {
    (void)state;
    umask(022);
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    return mkdtemp(directory) ? chmod(directory, 0777) : -1;
}

static inline int remove_directory(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

// A path in the test's directory, in one of four static buffers.
static inline const char *in(const char *name) {
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static inline void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// Runs `check` in a child without the rights of root; true if it returned true there.
static inline bool as_nobody(bool (*check)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (geteuid() == 0 && (setgid(nobody) != 0 || setuid(nobody) != 0)) _exit(2);
        _exit(check() ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#endif
