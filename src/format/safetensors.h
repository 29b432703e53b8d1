// SPDX-License-Identifier: MIT
// Safetensors files (github.com/huggingface/safetensors): eight bytes of length, a JSON header,
// data.
#ifndef RILL_FORMAT_SAFETENSORS_H
#define RILL_FORMAT_SAFETENSORS_H

#include "base/file.h"
#include "format/tensor.h"

typedef struct rill__safetensors {
    rill__mapping mapping;
    char *names;  // all names, one block
    rill__tensor
        *tensors;  // [n_tensors], sorted by name; those of number formats that rill computes with
    size_t n_tensors;
} rill__safetensors;

// Maps a file and checks its whole header: every tensor lies inside the file and has the bytes that
// its shape needs, and none overlaps another. Tensors of other number formats (I64 ...) are checked
// and left out. RILL_EIO, RILL_EFORMAT, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__safetensors_open(const char *path, rill__safetensors *out,
                                                  rill_error *err);
// Takes an open or zeroed one; leaves it zeroed.
void rill__safetensors_close(rill__safetensors *s);

// Writes one float32 tensor [rows, columns]: rill_write_tensor has the contract.
RILL_NODISCARD rill_status rill__safetensors_write(const char *path, const char *name,
                                                   const float *data, uint64_t rows,
                                                   uint64_t columns, rill_error *err);

#endif
