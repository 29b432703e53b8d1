// SPDX-License-Identifier: MIT
// Where a model's settings and tensors come from: a GGUF file or a Hugging Face directory, mapped.
#ifndef RILL_MODEL_SOURCE_H
#define RILL_MODEL_SOURCE_H

#include "base/json.h"
#include "format/gguf.h"
#include "format/safetensors.h"

typedef struct rill__source {
    char *path;  // leads the messages
    bool is_gguf;
    rill__gguf gguf;
    // Of a directory:
    char *config_path;
    json_t *config;
    rill__safetensors *shards;  // [n_shards], one or more files
    size_t n_shards;
    rill__tensor *tensors;  // [n_tensors], of all shards, sorted by name
    size_t n_tensors;
} rill__source;

// Opens and checks all files of `path` but the tokenizer's. RILL_EIO, RILL_EFORMAT,
// RILL_EUNSUPPORTED, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__source_open(const char *path, rill__source **out, rill_error *err);
// NULL is legal; nulls the pointer.
void rill__source_close(rill__source **source);
// rill__mapping_rest of all its files.
void rill__source_rest(const rill__source *s);
// NULL if there is none. Names of a directory are given in full; the first part ("model.",
// "transformer.") may be missing in files of the bare model, or stand behind "language_model." in
// those of one that sees pictures too.
const rill__tensor *rill__source_tensor(const rill__source *s, const char *name);
// The same for a tensor of bytes (U8) of a directory.
const rill__tensor *rill__source_bytes(const rill__source *s, const char *name);

#endif
