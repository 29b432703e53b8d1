// SPDX-License-Identifier: MIT
// GGUF files, versions 2 and 3 (ggml's docs/gguf.md): metadata by key, tensors by name.
#ifndef RILL_FORMAT_GGUF_H
#define RILL_FORMAT_GGUF_H

#include "base/file.h"
#include "format/tensor.h"

typedef enum rill__gguf_type {
    RILL_GGUF_U8,
    RILL_GGUF_I8,
    RILL_GGUF_U16,
    RILL_GGUF_I16,
    RILL_GGUF_U32,
    RILL_GGUF_I32,
    RILL_GGUF_F32,
    RILL_GGUF_BOOL,
    RILL_GGUF_STRING,
    RILL_GGUF_ARRAY,
    RILL_GGUF_U64,
    RILL_GGUF_I64,
    RILL_GGUF_F64,
    RILL_GGUF_TYPES,
} rill__gguf_type;

// A string in the file: not terminated.
typedef struct rill__gguf_string {
    const char *data;
    size_t length;
} rill__gguf_string;

// A value of the metadata, left where it lies. Of an array: `type` of the elements, `count`, and
// where they begin; elements that are arrays themselves (RILL_GGUF_ARRAY) are passed over.
typedef struct rill__gguf_value {
    rill__gguf_string key;
    rill__gguf_type type;
    bool is_array;
    uint64_t count;       // 1 unless an array
    const uint8_t *data;  // of any alignment
    size_t bytes;         // all of it, with the lengths of strings and inner arrays
} rill__gguf_value;

typedef struct rill__gguf {
    rill__mapping mapping;
    const char *path;          // borrowed: leads the messages
    rill__gguf_value *values;  // [n_values], sorted by key
    size_t n_values;
    char *names;            // names of the tensors, terminated, one block
    rill__tensor *tensors;  // [n_tensors], sorted by name
    size_t n_tensors;
} rill__gguf;

// Maps a file and checks everything about it: counts, lengths, nesting, offsets, alignment, names
// that occur twice. RILL_EIO, RILL_EFORMAT, RILL_EUNSUPPORTED (a version, a tensor type, by name),
// RILL_ENOMEM. `path` must outlive it.
RILL_NODISCARD rill_status rill__gguf_open(const char *path, rill__gguf *out, rill_error *err);
void rill__gguf_close(rill__gguf *g);

// NULL if there is none.
const rill__tensor *rill__gguf_tensor(const rill__gguf *g, const char *name);
const rill__gguf_value *rill__gguf_find(const rill__gguf *g, const char *key);

// The value of a key as a number or text; false if it is missing or of another kind. Whole numbers
// of every width are read as int64 (false when too large), and as double.
bool rill__gguf_integer(const rill__gguf *g, const char *key, int64_t *out);
bool rill__gguf_real(const rill__gguf *g, const char *key, double *out);
bool rill__gguf_bool(const rill__gguf *g, const char *key, bool *out);
bool rill__gguf_text(const rill__gguf *g, const char *key, rill__gguf_string *out);

// Walks an array's elements in order: begin with at = value->data. Numbers by index.
rill__gguf_string rill__gguf_next_string(const uint8_t **at);
int64_t rill__gguf_array_integer(const rill__gguf_value *value, size_t i);
float rill__gguf_array_f32(const rill__gguf_value *value, size_t i);

#endif
