// SPDX-License-Identifier: MIT
// The table of named shapes, and what a token costs in a cache.
#include "model/shapes.h"

#include "model/family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Sizes as in the models' own config.json.
static const struct {
    const char *name;
    uint32_t n_layers, hidden_size, n_heads, n_kv_heads, ffn_size, vocab_size, context;
} shapes[] = {
    {"llama-1b", 22, 2048, 32, 4, 5632, 32000, 2048},     // TinyLlama 1.1B
    {"llama-7b", 32, 4096, 32, 32, 11008, 32000, 4096},   // Llama 2 7B
    {"llama-13b", 40, 5120, 40, 40, 13824, 32000, 4096},  // Llama 2 13B
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const char *rill_shape_name(size_t index) {
    return index < N_SHAPES ? shapes[index].name : NULL;
}

void rill__shape_list(char *out, size_t capacity) {
    size_t n = 0;
    for (size_t i = 0; i < N_SHAPES && n < capacity; i++)
        n += (size_t)snprintf(out + n, capacity - n, "%s%s", i ? ", " : "", shapes[i].name);
}

bool rill__shape_describe(const char *name, rill__description *d) {
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (strcmp(name, shapes[i].name) != 0) continue;
        uint32_t head_dim = shapes[i].hidden_size / shapes[i].n_heads;
        *d = (rill__description){
            .family = "llama",
            .n_layers = shapes[i].n_layers,
            .hidden_size = shapes[i].hidden_size,
            .n_heads = shapes[i].n_heads,
            .n_kv_heads = shapes[i].n_kv_heads,
            .head_dim = head_dim,
            .ffn_size = shapes[i].ffn_size,
            .vocab_size = shapes[i].vocab_size,
            .trained_context = shapes[i].context,
            .norm = RILL_NORM_RMS,
            .norm_eps = 1e-5f,
            .attention_scale = (float)(1 / sqrt(head_dim)),
            .rope = {.theta = 10000, .n_dims = head_dim, .scaling = RILL_ROPE_DEFAULT},
            .gated = true,
            .activation = RILL_ACT_SILU,
            .embedding_scale = 1,
        };
        snprintf(d->name, sizeof d->name, "%s", name);
        return true;
    }
    return false;
}

bool rill_shape_get(const char *name, rill_model_info *out) {
    rill__description d;
    if (!rill__shape_describe(name, &d)) return false;
    *out = (rill_model_info){
        .n_layers = d.n_layers,
        .hidden_size = d.hidden_size,
        .n_heads = d.n_heads,
        .n_kv_heads = d.n_kv_heads,
        .head_dim = d.head_dim,
        .ffn_size = d.ffn_size,
        .vocab_size = d.vocab_size,
        .trained_context = d.trained_context,
        .weight_type = RILL_TYPE_F16,
    };
    snprintf(out->family, sizeof out->family, "%s", d.family);
    snprintf(out->name, sizeof out->name, "%s", d.name);
    for (int role = 0; role < RILL_WEIGHTS; role++) {
        uint64_t rows, columns, times = role < RILL_WEIGHTS_GLOBAL ? 1 : d.n_layers;
        if (!rill__weight_needed(&d, (rill__weight_role)role)) continue;
        rill__weight_shape(&d, (rill__weight_role)role, &rows, &columns);
        out->n_parameters += times * rows * (columns ? columns : 1);
    }
    out->weight_bytes = 2 * out->n_parameters;
    return true;
}

// A head's row of keys or values, padded to whole blocks.
static uint64_t row_bytes(rill_type type, uint32_t head_dim) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    if (!traits) return 0;
    return ((uint64_t)head_dim + traits->block - 1) / traits->block * traits->block_bytes;
}

uint64_t rill_token_bytes(const rill_model_info *info, rill_type key_type, rill_type value_type) {
    return (uint64_t)info->n_layers * info->n_kv_heads *
           (row_bytes(key_type, info->head_dim) + row_bytes(value_type, info->head_dim));
}
