// SPDX-License-Identifier: MIT
// A model as it lies in files: its description, and each weight by its role.
#ifndef RILL_MODEL_MODEL_H
#define RILL_MODEL_MODEL_H

#include "format/tensor.h"
#include "model/description.h"
#include "tokenizer/tokenizer.h"

// Roles of weights. Those of the first group exist once, the others once a layer.
typedef enum rill__weight_role {
    RILL_WEIGHT_EMBEDDING,    // [vocab, hidden]
    RILL_WEIGHT_OUTPUT,       // [vocab, hidden]; absent when tied
    RILL_WEIGHT_OUTPUT_NORM,  // [hidden]
    RILL_WEIGHTS_GLOBAL,
    RILL_WEIGHT_ATTENTION_NORM = RILL_WEIGHTS_GLOBAL,  // [hidden]
    RILL_WEIGHT_Q,                                     // [n_heads * head_dim, hidden]
    RILL_WEIGHT_K,                                     // [n_kv_heads * head_dim, hidden]
    RILL_WEIGHT_V,                                     // the same
    RILL_WEIGHT_Q_NORM,                                // [head_dim], or of all heads
    RILL_WEIGHT_K_NORM,                                // the same
    RILL_WEIGHT_SINK_LOGITS,                           // [n_heads]
    RILL_WEIGHT_O,                                     // [hidden, n_heads * head_dim]
    RILL_WEIGHT_POST_ATTENTION_NORM,                   // [hidden]
    RILL_WEIGHT_FFN_NORM,                              // [hidden]
    RILL_WEIGHT_ROUTER,                                // [n_experts, hidden]
    // With experts these have one matrix an expert, one below the other, and so their biases.
    RILL_WEIGHT_GATE,           // [ffn, hidden]
    RILL_WEIGHT_UP,             // [ffn, hidden]
    RILL_WEIGHT_DOWN,           // [hidden, ffn]
    RILL_WEIGHT_POST_FFN_NORM,  // [hidden]
    RILL_WEIGHTS,
} rill__weight_role;

// Entries of a table with one for every weight, and the place of one: global roles first, then
// layer by layer. `layer` is ignored for global roles.
size_t rill__parameters_count(uint32_t n_layers);
size_t rill__parameter_index(rill__weight_role role, uint32_t layer);

// A weight and its bias; data is NULL where the model has none. It lies in the file as it is, or in
// memory of its own where a file has another order of rows.
typedef struct rill__parameter {
    rill__tensor weight;
    rill__tensor bias;
    void *weight_memory;  // owned, NULL if the data is the file's
    void *bias_memory;
} rill__parameter;

// What a family offers: where its description and its weights come from. Data and two functions.
struct rill__source;  // model/source.h: an open GGUF file or Hugging Face directory
typedef struct rill__family rill__family;

typedef struct rill__weights_file {
    struct rill__source *source;  // keeps the mappings; NULL for a synthetic model
    void *memory;                 // of a synthetic model
    size_t memory_bytes;
} rill__weights_file;

// Immutable after open.
typedef struct rill__model {
    rill__description description;
    rill__parameter *parameters;  // [rill__parameters_count]
    rill__tokenizer *tokenizer;   // NULL if there is none
    rill__weights_file file;
    uint64_t fingerprint[2];  // of the description and the weights: what binds a snapshot
    uint64_t n_parameters;
    uint64_t weight_bytes;
    rill_type weight_type;  // of the most bytes
} rill__model;

// Opens a .gguf file or a Hugging Face directory: rill_model_open has the failures.
RILL_NODISCARD rill_status rill__model_open(const char *path, rill__model **out, rill_error *err);
// A named shape with seeded random weights (normal, scaled by 1 / sqrt(columns)) of a type or mix.
// RILL_EINVAL: there is no such shape, type or mix.
RILL_NODISCARD rill_status rill__model_synthesize(const char *shape, rill_type type, rill_mix mix,
                                                  uint64_t seed, rill__model **out,
                                                  rill_error *err);
// Only the tokenizer of `path` (see rill_tokenizer_open); description is zeroed.
RILL_NODISCARD rill_status rill__model_open_tokenizer(const char *path, rill__model **out,
                                                      rill_error *err);
void rill__model_close(rill__model **model);
// After weights were copied: the files' pages leave this process until they are read again, but
// those of the embedding, whose rows are read as tokens come: memory would grow with every new
// word.
void rill__model_rest(const rill__model *m);

// The parameter of a role; layer is ignored for global roles. Never NULL.
const rill__parameter *rill__model_parameter(const rill__model *m, rill__weight_role role,
                                             uint32_t layer);

#endif
