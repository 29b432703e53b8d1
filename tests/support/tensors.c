// SPDX-License-Identifier: MIT
// Golden files and test folders.
#include "support/tensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_tensors {
    char *bytes;
    uint64_t header;  // bytes of the header
    json_t *json;
};

static void stop(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    abort();
}

test_tensors *test_tensors_open(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) stop(path, "cannot open");
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    test_tensors *t = calloc(1, sizeof *t);
    char *bytes = malloc((size_t)size);
    if (!t || !bytes || size < 8 || fread(bytes, 1, (size_t)size, file) != (size_t)size)
        stop(path, "cannot read");
    fclose(file);
    t->bytes = bytes;
    memcpy(&t->header, bytes, 8);
    t->json = json_loadb(bytes + 8, t->header, 0, NULL);
    if (!t->json) stop(path, "no header");
    json_object_del(t->json, "__metadata__");
    return t;
}

void test_tensors_close(test_tensors *t) {
    json_decref(t->json);
    free(t->bytes);
    free(t);
}

const char *test_tensors_name(const test_tensors *t, size_t i) {
    void *at = json_object_iter(t->json);
    while (at && i-- > 0) at = json_object_iter_next(t->json, at);
    return at ? json_object_iter_key(at) : NULL;
}

const void *test_tensors_get(const test_tensors *t, const char *name, size_t *rows,
                             size_t *columns) {
    json_t *entry = json_object_get(t->json, name);
    if (!entry) return NULL;
    json_t *shape = json_object_get(entry, "shape");
    *rows = (size_t)json_integer_value(json_array_get(shape, 0));
    *columns =
        json_array_size(shape) > 1 ? (size_t)json_integer_value(json_array_get(shape, 1)) : 1;
    json_t *first = json_array_get(json_object_get(entry, "data_offsets"), 0);
    return t->bytes + 8 + t->header + (size_t)json_integer_value(first);
}

const char *test_data(const char *name) {
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    const char *folder = getenv("RILL_TEST_DATA");
    if (!folder) stop("RILL_TEST_DATA", "is not set; run the tests with `meson test`");
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static char directory[256];

const char *test_directory(void) {
    if (!directory[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(directory, sizeof directory, "%s/rill-test-XXXXXX", base ? base : "/tmp");
        if (!mkdtemp(directory)) stop(directory, "cannot make");
    }
    return directory;
}

void test_directory_remove(void) {
    if (!directory[0]) return;
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0) fprintf(stderr, "%s: cannot remove\n", directory);
    directory[0] = '\0';
}
