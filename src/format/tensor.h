// SPDX-License-Identifier: MIT
// A named tensor in a file, and a file (or directory) full of them.
#ifndef RILL_FORMAT_TENSOR_H
#define RILL_FORMAT_TENSOR_H

#include "format/types.h"

enum { RILL_TENSOR_MAX_DIMS = 4 };

// The type of a tensor of bytes, whose meaning is its family's to know.
#define RILL_TENSOR_BYTES ((rill_type)255)

// Row-major: shape[n_dims - 1] is the fastest dimension, and the one that is cut into blocks. (GGUF
// lists dimensions the other way round; its reader turns them.) A projection is [out, in].
typedef struct rill__tensor {
    const char *name;                      // borrowed from the source
    rill_type type;                        // one that rill computes with, or RILL_TENSOR_BYTES
    uint32_t n_dims;                       // 1 to 4
    uint64_t shape[RILL_TENSOR_MAX_DIMS];  // unused entries are 1
    const uint8_t *data;                   // borrowed from the mapping; any alignment
    size_t bytes;                          // exactly what type and shape need
} rill__tensor;

// Sorts by name.
void rill__tensors_sort(rill__tensor *tensors, size_t n);
// Checks the tensors of one file, whose data are in one mapping: none overlaps another, no name
// occurs twice (RILL_EFORMAT, `path` leads the message). Leaves them sorted by name.
RILL_NODISCARD rill_status rill__tensors_check(const char *path, rill__tensor *tensors, size_t n,
                                               rill_error *err);
// One of those that are sorted by name; NULL if there is none of that name.
const rill__tensor *rill__tensors_find(const rill__tensor *tensors, size_t n, const char *name);

#endif
