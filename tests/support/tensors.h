// SPDX-License-Identifier: MIT
// Reads the tensors of a golden file, independently of the library's own reader.
#ifndef RILL_TESTS_TENSORS_H
#define RILL_TESTS_TENSORS_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_tensors test_tensors;

// Ends the program if the file is not there or is not safetensors.
test_tensors *test_tensors_open(const char *path);
void test_tensors_close(test_tensors *t);
// The i-th name, NULL past the last.
const char *test_tensors_name(const test_tensors *t, size_t i);
// The numbers of a tensor (float32 or int32, as the file has it) and its shape; a missing second
// dimension is 1. NULL if there is none of that name.
const void *test_tensors_get(const test_tensors *t, const char *name, size_t *rows,
                             size_t *columns);

// tests/data/NAME as a path, in one of a few static buffers.
const char *test_data(const char *name);
// An empty temporary directory of this process's own, removed by test_directory_remove.
const char *test_directory(void);
void test_directory_remove(void);

#endif
