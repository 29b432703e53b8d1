// SPDX-License-Identifier: MIT
// The table of named shapes, and what a token costs in a cache.
#include "model/shapes.h"

#include "model/family.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Sizes as in the models' own config.json; what follows from the family is describe's.
typedef struct shape {
    const char *name, *family;
    uint32_t n_layers, hidden_size, n_heads, n_kv_heads, ffn_size, vocab_size, context;
} shape;

static const shape shapes[] = {
    {"llama-1b", "llama", 22, 2048, 32, 4, 5632, 32000, 2048},     // TinyLlama 1.1B
    {"llama-7b", "llama", 32, 4096, 32, 32, 11008, 32000, 4096},   // Llama 2 7B
    {"llama-13b", "llama", 40, 5120, 40, 40, 13824, 32000, 4096},  // Llama 2 13B
    {"pythia-2.8b", "gpt_neox", 32, 2560, 32, 32, 10240, 50304, 2048},
    {"falcon-7b", "falcon", 32, 4544, 71, 1, 18176, 65024, 2048},
    {"mpt-7b", "mpt", 32, 4096, 32, 32, 16384, 50432, 2048},
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

// What makes the paper's other families themselves.
static void describe_family(rill__description *d) {
    if (strcmp(d->family, "llama") == 0) return;
    d->norm = RILL_NORM_LAYER;
    d->gated = false;
    d->activation = RILL_ACT_GELU;
    if (strcmp(d->family, "gpt_neox") == 0) {
        d->residual = RILL_RESIDUAL_PARALLEL_TWO_NORMS;
        d->rope.n_dims = d->head_dim / 4;
    } else if (strcmp(d->family, "falcon") == 0) {
        d->residual = RILL_RESIDUAL_PARALLEL;
        d->tied_embeddings = true;
    } else if (strcmp(d->family, "mpt") == 0) {
        d->tied_embeddings = true;
        d->position = RILL_POSITION_ALIBI;
        d->alibi_bias_max = 8;
        d->rope.n_dims = 0;
    } else {
        assert(false);  // a shape of a family that is not described here
    }
}

// The shape that a name begins with, and the layers that may stand behind a colon.
static const shape *find_shape(const char *name, uint32_t *n_layers) {
    size_t length = strcspn(name, ":");
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (strlen(shapes[i].name) != length || memcmp(name, shapes[i].name, length) != 0) continue;
        *n_layers = shapes[i].n_layers;
        if (!name[length]) return &shapes[i];
        char *end;
        unsigned long n = strtoul(name + length + 1, &end, 10);
        if (*end || name[length + 1] < '0' || name[length + 1] > '9' || n < 1 || n > *n_layers)
            return NULL;
        *n_layers = (uint32_t)n;
        return &shapes[i];
    }
    return NULL;
}

bool rill__shape_describe(const char *name, rill__description *d) {
    uint32_t n_layers;
    const shape *s = find_shape(name, &n_layers);
    if (!s) return false;
    uint32_t head_dim = s->hidden_size / s->n_heads;
    *d = (rill__description){
        .n_layers = n_layers,
        .hidden_size = s->hidden_size,
        .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads,
        .head_dim = head_dim,
        .ffn_size = s->ffn_size,
        .vocab_size = s->vocab_size,
        .trained_context = s->context,
        .norm = RILL_NORM_RMS,
        .norm_eps = 1e-5f,
        .attention_scale = (float)(1 / sqrt(head_dim)),
        .rope = {.theta = 10000, .n_dims = head_dim, .scaling = RILL_ROPE_DEFAULT},
        .gated = true,
        .activation = RILL_ACT_SILU,
        .embedding_scale = 1,
    };
    snprintf(d->name, sizeof d->name, "%s", name);
    snprintf(d->family, sizeof d->family, "%s", s->family);
    describe_family(d);
    return true;
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
