// SPDX-License-Identifier: MIT
// The table of families, and the names of weights.
#include "model/family.h"

#include <stdio.h>
#include <string.h>

const rill__family *const rill__families[] = {
    &rill__family_llama,  &rill__family_mistral,         &rill__family_phi3,    &rill__family_qwen2,
    &rill__family_qwen3,  &rill__family_gpt_neox,        &rill__family_falcon,  &rill__family_mpt,
    &rill__family_gemma3, &rill__family_gemma3_pictures, &rill__family_gpt_oss, NULL,
};

// transformers: modeling_llama.py; modeling_qwen3.py has the norms of queries and keys.
const rill__weight_name rill__names_plain[] = {
    RILL_TENSOR("model.embed_tokens", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("lm_head", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("model.norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("model.layers.#.input_layernorm", RILL_WEIGHT_ATTENTION_NORM),
    RILL_TENSOR("model.layers.#.self_attn.q_proj", RILL_WEIGHT_Q),
    RILL_TENSOR("model.layers.#.self_attn.k_proj", RILL_WEIGHT_K),
    RILL_TENSOR("model.layers.#.self_attn.v_proj", RILL_WEIGHT_V),
    RILL_TENSOR("model.layers.#.self_attn.q_norm", RILL_WEIGHT_Q_NORM),
    RILL_TENSOR("model.layers.#.self_attn.k_norm", RILL_WEIGHT_K_NORM),
    RILL_TENSOR("model.layers.#.self_attn.o_proj", RILL_WEIGHT_O),
    RILL_TENSOR("model.layers.#.post_attention_layernorm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("model.layers.#.mlp.gate_proj", RILL_WEIGHT_GATE),
    RILL_TENSOR("model.layers.#.mlp.up_proj", RILL_WEIGHT_UP),
    RILL_TENSOR("model.layers.#.mlp.down_proj", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

// transformers: modeling_phi3.py.
const rill__weight_name rill__names_fused[] = {
    RILL_TENSOR("model.embed_tokens", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("lm_head", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("model.norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("model.layers.#.input_layernorm", RILL_WEIGHT_ATTENTION_NORM),
    {.name = "model.layers.#.self_attn.qkv_proj",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    RILL_TENSOR("model.layers.#.self_attn.o_proj", RILL_WEIGHT_O),
    RILL_TENSOR("model.layers.#.post_attention_layernorm", RILL_WEIGHT_FFN_NORM),
    {.name = "model.layers.#.mlp.gate_up_proj",
     .n_roles = 2,
     .roles = {RILL_WEIGHT_GATE, RILL_WEIGHT_UP}},
    RILL_TENSOR("model.layers.#.mlp.down_proj", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

// ggml's docs/gguf.md, "Standardized tensor names".
const rill__weight_name rill__names_gguf[] = {
    RILL_TENSOR("token_embd", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("output", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("output_norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("blk.#.attn_norm", RILL_WEIGHT_ATTENTION_NORM),
    RILL_TENSOR("blk.#.attn_q", RILL_WEIGHT_Q),
    RILL_TENSOR("blk.#.attn_k", RILL_WEIGHT_K),
    RILL_TENSOR("blk.#.attn_v", RILL_WEIGHT_V),
    RILL_TENSOR("blk.#.attn_q_norm", RILL_WEIGHT_Q_NORM),
    RILL_TENSOR("blk.#.attn_k_norm", RILL_WEIGHT_K_NORM),
    RILL_TENSOR("blk.#.attn_output", RILL_WEIGHT_O),
    RILL_TENSOR("blk.#.ffn_norm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("blk.#.ffn_gate", RILL_WEIGHT_GATE),
    RILL_TENSOR("blk.#.ffn_up", RILL_WEIGHT_UP),
    RILL_TENSOR("blk.#.ffn_down", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

const rill__weight_name rill__names_gguf_fused[] = {
    RILL_TENSOR("token_embd", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("output", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("output_norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("blk.#.attn_norm", RILL_WEIGHT_ATTENTION_NORM),
    {.name = "blk.#.attn_qkv",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    RILL_TENSOR("blk.#.attn_output", RILL_WEIGHT_O),
    RILL_TENSOR("blk.#.ffn_norm", RILL_WEIGHT_FFN_NORM),
    {.name = "blk.#.ffn_up", .n_roles = 2, .roles = {RILL_WEIGHT_GATE, RILL_WEIGHT_UP}},
    RILL_TENSOR("blk.#.ffn_down", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

const rill__weight_name rill__names_gguf_qkv[] = {
    RILL_TENSOR("token_embd", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("output", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("output_norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("blk.#.attn_norm", RILL_WEIGHT_ATTENTION_NORM),
    {.name = "blk.#.attn_qkv",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    RILL_TENSOR("blk.#.attn_q_norm", RILL_WEIGHT_Q_NORM),
    RILL_TENSOR("blk.#.attn_k_norm", RILL_WEIGHT_K_NORM),
    RILL_TENSOR("blk.#.attn_output", RILL_WEIGHT_O),
    RILL_TENSOR("blk.#.ffn_norm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("blk.#.ffn_up", RILL_WEIGHT_UP),
    RILL_TENSOR("blk.#.ffn_down", RILL_WEIGHT_DOWN),
    {.name = NULL},
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
    uint64_t experts = d->n_experts ? d->n_experts : 1;
    bool whole = d->qk_norm == RILL_QK_NORM_WHOLE;
    const uint64_t shapes[RILL_WEIGHTS][2] = {
        [RILL_WEIGHT_EMBEDDING] = {d->vocab_size, d->hidden_size},
        [RILL_WEIGHT_OUTPUT] = {d->vocab_size, d->hidden_size},
        [RILL_WEIGHT_OUTPUT_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_ATTENTION_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_Q] = {queries, d->hidden_size},
        [RILL_WEIGHT_K] = {keys, d->hidden_size},
        [RILL_WEIGHT_V] = {keys, d->hidden_size},
        [RILL_WEIGHT_Q_NORM] = {whole ? queries : d->head_dim, 0},
        [RILL_WEIGHT_K_NORM] = {whole ? keys : d->head_dim, 0},
        [RILL_WEIGHT_SINK_LOGITS] = {d->n_heads, 0},
        [RILL_WEIGHT_O] = {d->hidden_size, queries},
        [RILL_WEIGHT_POST_ATTENTION_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_FFN_NORM] = {d->hidden_size, 0},
        [RILL_WEIGHT_ROUTER] = {d->n_experts, d->hidden_size},
        [RILL_WEIGHT_GATE] = {experts * d->ffn_size, d->hidden_size},
        [RILL_WEIGHT_UP] = {experts * d->ffn_size, d->hidden_size},
        [RILL_WEIGHT_DOWN] = {experts * d->hidden_size, d->ffn_size},
        [RILL_WEIGHT_POST_FFN_NORM] = {d->hidden_size, 0},
    };
    *rows = shapes[role][0];
    *columns = shapes[role][1];
}

const char *rill__weight_role_name(rill__weight_role role) {
    static const char *const names[RILL_WEIGHTS] = {
        [RILL_WEIGHT_EMBEDDING] = "embedding",
        [RILL_WEIGHT_OUTPUT] = "output",
        [RILL_WEIGHT_OUTPUT_NORM] = "output norm",
        [RILL_WEIGHT_ATTENTION_NORM] = "attention norm",
        [RILL_WEIGHT_Q] = "query projection",
        [RILL_WEIGHT_K] = "key projection",
        [RILL_WEIGHT_V] = "value projection",
        [RILL_WEIGHT_Q_NORM] = "query norm",
        [RILL_WEIGHT_K_NORM] = "key norm",
        [RILL_WEIGHT_SINK_LOGITS] = "sink logits",
        [RILL_WEIGHT_O] = "attention output",
        [RILL_WEIGHT_POST_ATTENTION_NORM] = "norm after attention",
        [RILL_WEIGHT_FFN_NORM] = "feed-forward norm",
        [RILL_WEIGHT_ROUTER] = "router",
        [RILL_WEIGHT_GATE] = "gate projection",
        [RILL_WEIGHT_UP] = "up projection",
        [RILL_WEIGHT_DOWN] = "down projection",
        [RILL_WEIGHT_POST_FFN_NORM] = "norm after the feed-forward",
    };
    return names[role];
}

bool rill__weight_needed(const rill__description *d, rill__weight_role role) {
    switch (role) {
    case RILL_WEIGHT_OUTPUT: return !d->tied_embeddings;
    case RILL_WEIGHT_Q_NORM:
    case RILL_WEIGHT_K_NORM: return d->qk_norm != RILL_QK_NORM_NONE;
    case RILL_WEIGHT_SINK_LOGITS: return d->sink_logits;
    case RILL_WEIGHT_POST_ATTENTION_NORM:
    case RILL_WEIGHT_POST_FFN_NORM: return d->post_norms;
    case RILL_WEIGHT_FFN_NORM: return d->residual != RILL_RESIDUAL_PARALLEL;
    case RILL_WEIGHT_ROUTER: return d->n_experts > 0;
    case RILL_WEIGHT_GATE: return d->gated;
    default: return true;
    }
}
