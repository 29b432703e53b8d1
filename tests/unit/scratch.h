// SPDX-License-Identifier: MIT
// A directory of a test program's own, gone when its tests are done, and files in it.
#ifndef RILL_TESTS_SCRATCH_H
#define RILL_TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char scratch_directory[] = "/tmp/rill-test-XXXXXX";

static inline int scratch_make(void **state) {
    (void)state;
    return mkdtemp(scratch_directory) ? 0 : -1;
}

static inline int scratch_remove(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", scratch_directory);
    return system(command);
}

// A path in the directory, in one of eight static buffers.
static inline const char *scratch_path(const char *name) {
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_directory, name);
    return path;
}

// Writes a file there and returns its path.
static inline const char *scratch_file(const char *name, const void *data, size_t bytes) {
    const char *path = scratch_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline const char *scratch_text(const char *name, const char *text) {
    return scratch_file(name, text, strlen(text));
}

// A path below the tests' data, in one of eight static buffers.
static inline const char *test_data(const char *folder, const char *name) {
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s/%s", getenv("RILL_TEST_DATA"), folder, name);
    return path;
}

#endif
