// SPDX-License-Identifier: MIT
// A model as a GGUF file: what rill_convert is made of.
#ifndef RILL_MODEL_CONVERT_H
#define RILL_MODEL_CONVERT_H

#include "format/gguf_writer.h"
#include "model/family.h"

// Writes the metadata of a model whose matrices will be of that type and mix: description and
// tokenizer. A GGUF source's own words about itself and its tokenizer are carried over.
// RILL_EUNSUPPORTED if GGUF has no way to say something; RILL_ENOMEM. (Failures of the writer are
// kept in it.)
RILL_NODISCARD rill_status rill__convert_metadata(rill__gguf_writer *w, const rill__model *m,
                                                  const rill__family *family, rill_type type,
                                                  rill_mix mix, rill_error *err);

// A table of divisors of frequencies that goes along as a tensor.
typedef struct rill__rope_tensor {
    const char *name;  // "rope_freqs.weight"
    float *values;     // [n]
    uint64_t n;
} rill__rope_tensor;

// The tables that this model's RoPE needs in GGUF, at most two; returns how many, the values to be
// freed by the caller. *n is also set after a failure.
RILL_NODISCARD rill_status rill__convert_rope(const rill__description *d,
                                              rill__rope_tensor tensors[2], size_t *n,
                                              rill_error *err);

#endif
