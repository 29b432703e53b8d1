// SPDX-License-Identifier: MIT
// The table of families, and the names of weights.
#include "model/family.h"

#include <stdio.h>
#include <string.h>

const rill__family *const rill__families[] = {
    &rill__family_llama, &rill__family_mistral, &rill__family_phi3,
    &rill__family_qwen2, &rill__family_qwen3,   NULL,
};

// transformers: modeling_llama.py; modeling_qwen3.py has the norms of queries and keys.
const rill__weight_name rill__names_plain[] = {
    {"model.embed_tokens", 1, {RILL_WEIGHT_EMBEDDING}},
    {"lm_head", 1, {RILL_WEIGHT_OUTPUT}},
    {"model.norm", 1, {RILL_WEIGHT_OUTPUT_NORM}},
    {"model.layers.#.input_layernorm", 1, {RILL_WEIGHT_ATTENTION_NORM}},
    {"model.layers.#.self_attn.q_proj", 1, {RILL_WEIGHT_Q}},
    {"model.layers.#.self_attn.k_proj", 1, {RILL_WEIGHT_K}},
    {"model.layers.#.self_attn.v_proj", 1, {RILL_WEIGHT_V}},
    {"model.layers.#.self_attn.q_norm", 1, {RILL_WEIGHT_Q_NORM}},
    {"model.layers.#.self_attn.k_norm", 1, {RILL_WEIGHT_K_NORM}},
    {"model.layers.#.self_attn.o_proj", 1, {RILL_WEIGHT_O}},
    {"model.layers.#.post_attention_layernorm", 1, {RILL_WEIGHT_FFN_NORM}},
    {"model.layers.#.mlp.gate_proj", 1, {RILL_WEIGHT_GATE}},
    {"model.layers.#.mlp.up_proj", 1, {RILL_WEIGHT_UP}},
    {"model.layers.#.mlp.down_proj", 1, {RILL_WEIGHT_DOWN}},
    {NULL, 0, {0}},
};

// transformers: modeling_phi3.py.
const rill__weight_name rill__names_fused[] = {
    {"model.embed_tokens", 1, {RILL_WEIGHT_EMBEDDING}},
    {"lm_head", 1, {RILL_WEIGHT_OUTPUT}},
    {"model.norm", 1, {RILL_WEIGHT_OUTPUT_NORM}},
    {"model.layers.#.input_layernorm", 1, {RILL_WEIGHT_ATTENTION_NORM}},
    {"model.layers.#.self_attn.qkv_proj", 3, {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    {"model.layers.#.self_attn.o_proj", 1, {RILL_WEIGHT_O}},
    {"model.layers.#.post_attention_layernorm", 1, {RILL_WEIGHT_FFN_NORM}},
    {"model.layers.#.mlp.gate_up_proj", 2, {RILL_WEIGHT_GATE, RILL_WEIGHT_UP}},
    {"model.layers.#.mlp.down_proj", 1, {RILL_WEIGHT_DOWN}},
    {NULL, 0, {0}},
};

// ggml's docs/gguf.md, "Standardized tensor names".
const rill__weight_name rill__names_gguf[] = {
    {"token_embd", 1, {RILL_WEIGHT_EMBEDDING}},
    {"output", 1, {RILL_WEIGHT_OUTPUT}},
    {"output_norm", 1, {RILL_WEIGHT_OUTPUT_NORM}},
    {"blk.#.attn_norm", 1, {RILL_WEIGHT_ATTENTION_NORM}},
    {"blk.#.attn_q", 1, {RILL_WEIGHT_Q}},
    {"blk.#.attn_k", 1, {RILL_WEIGHT_K}},
    {"blk.#.attn_v", 1, {RILL_WEIGHT_V}},
    {"blk.#.attn_q_norm", 1, {RILL_WEIGHT_Q_NORM}},
    {"blk.#.attn_k_norm", 1, {RILL_WEIGHT_K_NORM}},
    {"blk.#.attn_output", 1, {RILL_WEIGHT_O}},
    {"blk.#.ffn_norm", 1, {RILL_WEIGHT_FFN_NORM}},
    {"blk.#.ffn_gate", 1, {RILL_WEIGHT_GATE}},
    {"blk.#.ffn_up", 1, {RILL_WEIGHT_UP}},
    {"blk.#.ffn_down", 1, {RILL_WEIGHT_DOWN}},
    {NULL, 0, {0}},
};

const rill__weight_name rill__names_gguf_fused[] = {
    {"token_embd", 1, {RILL_WEIGHT_EMBEDDING}},
    {"output", 1, {RILL_WEIGHT_OUTPUT}},
    {"output_norm", 1, {RILL_WEIGHT_OUTPUT_NORM}},
    {"blk.#.attn_norm", 1, {RILL_WEIGHT_ATTENTION_NORM}},
    {"blk.#.attn_qkv", 3, {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    {"blk.#.attn_output", 1, {RILL_WEIGHT_O}},
    {"blk.#.ffn_norm", 1, {RILL_WEIGHT_FFN_NORM}},
    {"blk.#.ffn_up", 2, {RILL_WEIGHT_GATE, RILL_WEIGHT_UP}},
    {"blk.#.ffn_down", 1, {RILL_WEIGHT_DOWN}},
    {NULL, 0, {0}},
};

const rill__family *rill__family_find(const char *model_type) {
    for (size_t i = 0; rill__families[i]; i++)
        if (strcmp(rill__families[i]->name, model_type) == 0) return rill__families[i];
    return NULL;
}

const rill__family *rill__family_find_gguf(const char *architecture) {
    for (size_t i = 0; rill__families[i]; i++)
        if (strcmp(rill__families[i]->architecture, architecture) == 0) return rill__families[i];
    return NULL;
}

void rill__family_list(bool gguf, char *out, size_t capacity) {
    size_t n = 0;
    for (size_t i = 0; rill__families[i] && n < capacity; i++) {
        const rill__family *f = rill__families[i];
        // Families may share an architecture: the first one stands for it.
        if (gguf && rill__family_find_gguf(f->architecture) != f) continue;
        n += (size_t)snprintf(out + n, capacity - n, "%s%s", n ? ", " : "",
                              gguf ? f->architecture : f->name);
    }
}

bool rill__weight_name_make(const char *name, uint32_t layer, const char *suffix, char *out,
                            size_t capacity) {
    const char *mark = strchr(name, '#');
    int n = mark ? snprintf(out, capacity, "%.*s%u%s%s", (int)(mark - name), name, layer, mark + 1,
                            suffix)
                 : snprintf(out, capacity, "%s%s", name, suffix);
    return n >= 0 && (size_t)n < capacity;
}

void rill__weight_shape(const rill__description *d, rill__weight_role role, uint64_t *rows,
                        uint64_t *columns) {
    uint64_t queries = (uint64_t)d->n_heads * d->head_dim;
    uint64_t keys = (uint64_t)d->n_kv_heads * d->head_dim;
    const uint64_t shapes[RILL_WEIGHTS][2] = {
        [RILL_WEIGHT_EMBEDDING] = {d->vocab_size, d->hidden_size},
        [RILL_WEIGHT_OUTPUT] = {d->vocab_size, d->hidden_size},
        [RILL_WEIGHT_OUTPUT_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_ATTENTION_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_Q] = {queries, d->hidden_size},
        [RILL_WEIGHT_K] = {keys, d->hidden_size},
        [RILL_WEIGHT_V] = {keys, d->hidden_size},
        [RILL_WEIGHT_Q_NORM] = {d->head_dim, 0},
        [RILL_WEIGHT_K_NORM] = {d->head_dim, 0},
        [RILL_WEIGHT_O] = {d->hidden_size, queries},
        [RILL_WEIGHT_FFN_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_GATE] = {d->ffn_size, d->hidden_size},
        [RILL_WEIGHT_UP] = {d->ffn_size, d->hidden_size},
        [RILL_WEIGHT_DOWN] = {d->hidden_size, d->ffn_size},
    };
    *rows = shapes[role][0];
    *columns = shapes[role][1];
}

bool rill__weight_needed(const rill__description *d, rill__weight_role role) {
    switch (role) {
    case RILL_WEIGHT_OUTPUT: return !d->tied_embeddings;
    case RILL_WEIGHT_Q_NORM:
    case RILL_WEIGHT_K_NORM: return d->head_norms;
    case RILL_WEIGHT_GATE: return d->gated;
    default: return true;
    }
}
