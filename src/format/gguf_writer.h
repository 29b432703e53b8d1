// SPDX-License-Identifier: MIT
// Writes GGUF version 3: metadata and a table of tensors first, then the data, in that order.
#ifndef RILL_FORMAT_GGUF_WRITER_H
#define RILL_FORMAT_GGUF_WRITER_H

#include "base/buffer.h"
#include "base/file.h"
#include "format/gguf.h"

// Collects the header in memory. The first failure is kept: later calls do nothing, and
// rill__gguf_writer_begin returns it.
typedef struct rill__gguf_writer {
    rill__bytes values;   // the metadata as it will stand in the file
    rill__bytes tensors;  // the table of tensors
    uint64_t n_values;
    uint64_t n_tensors;
    uint64_t data_bytes;  // offset of the next tensor
    rill__file_writer *file;
    rill_status status;
    rill_error *err;
} rill__gguf_writer;

// An empty writer; what fails later is told in err.
void rill__gguf_writer_init(rill__gguf_writer *w, rill_error *err);
// Frees, and discards a file that was begun and not finished.
void rill__gguf_writer_deinit(rill__gguf_writer *w);

// One entry of metadata each. Once something has failed they do nothing, like all that follows.
void rill__gguf_put_u32(rill__gguf_writer *w, const char *key, uint32_t value);
void rill__gguf_put_f32(rill__gguf_writer *w, const char *key, double value);
void rill__gguf_put_bool(rill__gguf_writer *w, const char *key, bool value);
void rill__gguf_put_text(rill__gguf_writer *w, const char *key, const char *text);
// The head of an array; `count` elements follow through rill__gguf_put_bytes or
// rill__gguf_put_string.
void rill__gguf_put_array(rill__gguf_writer *w, const char *key, rill__gguf_type type,
                          uint64_t count);
void rill__gguf_put_bytes(rill__gguf_writer *w, const void *data, size_t bytes);
// A value of another file as it is.
void rill__gguf_put_value(rill__gguf_writer *w, const rill__gguf_value *value);
void rill__gguf_put_string(rill__gguf_writer *w, const char *text, size_t length);

// Announces a tensor of this shape (slowest dimension first, as everywhere in rill).
void rill__gguf_add_tensor(rill__gguf_writer *w, const char *name, rill_type type, uint32_t n_dims,
                           const uint64_t *shape);

// Opens the file and writes the header. Then the data of every tensor, in order of announcement,
// with rill__gguf_write_data; rill__gguf_end_tensor after each.
RILL_NODISCARD rill_status rill__gguf_writer_begin(rill__gguf_writer *w, const char *path);
RILL_NODISCARD rill_status rill__gguf_write_data(rill__gguf_writer *w, const void *data,
                                                 size_t bytes);
RILL_NODISCARD rill_status rill__gguf_end_tensor(rill__gguf_writer *w);
// The file appears under its name.
RILL_NODISCARD rill_status rill__gguf_writer_finish(rill__gguf_writer *w);

#endif
