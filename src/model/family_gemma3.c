// SPDX-License-Identifier: MIT
// Gemma 3, its text half (transformers: configuration_gemma3.py, modeling_gemma3.py): norms before
// and after each block, queries and keys normed head by head, most layers with a window and a RoPE
// of their own.
#include "model/family.h"

#include <math.h>
#include <string.h>

enum {
    PATTERN = 6,      // every sixth layer sees all, if nothing else is said
    LAYERS_27B = 62,  // what tells 27B from the others
};

// Whether an object has positions of each kind of layer apart: of both kinds, or it is refused.
static bool is_apart(rill__config *part, const char *key) {
    bool full = rill__config_has(part, "full_attention");
    bool local = rill__config_has(part, "sliding_attention");
    if (full != local)
        rill__config_fail(part, RILL_EFORMAT, key,
                          "%s_attention alone; both full_attention and sliding_attention are right",
                          full ? "full" : "sliding");
    return full && local;
}

// Two objects in rope_parameters (transformers 5), or rope_theta and rope_scaling for the layers
// that see all beside rope_local_base_freq for the others. rope_parameters that are one object are
// the former's (so llama.cpp's converter reads them too).
static void read_rope(rill__config *c, rill__description *d) {
    if (c->status != RILL_OK) return;
    d->local_rope = rill__calloc(1, sizeof *d->local_rope);
    if (!d->local_rope) {
        c->status = rill__fail_memory(c->err, c->path, sizeof *d->local_rope);
        return;
    }
    const char *key = rill__config_has(c, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    rill__config part = rill__config_part(c, key);
    if (is_apart(&part, key)) {
        rill__config full = rill__config_part(&part, "full_attention");
        rill__config local = rill__config_part(&part, "sliding_attention");
        rill__config_rope_part(c, &full, 1e6, 0, d, &d->rope);
        rill__config_rope_part(c, &local, 1e4, 0, d, d->local_rope);
        rill__config_join(&part, &full);
        rill__config_join(&part, &local);
    } else {
        rill__config_rope_part(c, &part, rill__config_real(c, "rope_theta", 1e6), 0, d, &d->rope);
        *d->local_rope = (rill__rope_description){
            .theta = rill__config_real(c, "rope_local_base_freq", 1e4),
            .n_dims = d->head_dim,
            .original_context = d->trained_context,
        };
    }
    rill__config_join(c, &part);
}

// The weights' type.
static const char *read_type(rill__config *c, const char *fallback) {
    return rill__config_text(c, "dtype", rill__config_text(c, "torch_dtype", fallback));
}

// The scale of embeddings is a number of the weights' own type in the model that was trained.
static float embedding_scale(const rill__description *d, const char *type) {
    float scale = (float)sqrt(d->hidden_size);
    if (strcmp(type, "bfloat16") == 0) return rill__bf16_to_f32(rill__f32_to_bf16(scale));
    if (strcmp(type, "float16") == 0) return rill__f16_to_f32(rill__f32_to_f16(scale));
    return scale;
}

// `type` is the weights' if nothing else is said here.
static void read_text(rill__config *c, const char *type, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {.n_heads = 8,
                                                   .vocab_size = 262208,
                                                   .n_kv_heads = 4,
                                                   .head_dim = 256,
                                                   .context = 131072,
                                                   .norm_eps = 1e-6};
    rill__config_decoder(c, &defaults, d);
    d->qk_norm = RILL_QK_NORM_HEAD;
    d->post_norms = true;
    d->tied_embeddings = rill__config_bool(c, "tie_word_embeddings", true);
    d->embedding_scale = embedding_scale(d, read_type(c, type));
    if (rill__config_bool(c, "attention_bias", false))
        *biases |=
            1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V | 1u << RILL_WEIGHT_O;
    rill__config_activation(c, "hidden_activation", "gelu_pytorch_tanh", d);
    double scalar = rill__config_real(c, "query_pre_attn_scalar", 256);
    d->attention_scale = scalar > 0 ? (float)(1 / sqrt(scalar)) : 0;
    d->logit_cap = (float)rill__config_real(c, "final_logit_softcapping", 0);
    if (rill__config_has(c, "attn_logit_softcapping"))
        rill__config_fail(c, RILL_EUNSUPPORTED, "attn_logit_softcapping",
                          "capped logits of attention are not known");
    if (rill__config_bool(c, "use_bidirectional_attention", false))
        rill__config_fail(c, RILL_EUNSUPPORTED, "use_bidirectional_attention",
                          "a model that looks ahead does not stream");
    uint32_t period = rill__config_u32(c, "sliding_window_pattern",
                                       rill__config_u32(c, "_sliding_window_pattern", PATTERN));
    uint32_t window = rill__config_u32(c, "sliding_window", 4096);
    rill__config_windows(c, window, 0, d);
    if (!rill__config_has(c, "layer_types") && d->layer_windows && period > 0)
        for (uint32_t i = period - 1; i < d->n_layers; i += period) d->layer_windows[i] = 0;
    read_rope(c, d);
}

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    const char *type = read_type(c, "float32");
    if (!rill__config_has(c, "text_config")) {
        read_text(c, type, d, biases);
        return;
    }
    // A model that sees pictures too: its text half.
    rill__config text = rill__config_part(c, "text_config");
    read_text(&text, type, d, biases);
    rill__config_join(c, &text);
}

// Only 27B has a query_pre_attn_scalar (168) other than its head_dim (128), and llama.cpp's
// converter does not write it: its loader knows the model by its layers (src/llama-model.cpp,
// LLM_ARCH_GEMMA3, LLM_TYPE_27B) and divides whole numbers.
static void read_scale(rill__metadata *m, rill__description *d) {
    if (d->n_layers == LAYERS_27B && d->n_heads > 0 && !rill__metadata_has(m, "attention.scale"))
        d->attention_scale = (float)(1 / sqrt(d->hidden_size / d->n_heads));
}

static void read_metadata(rill__metadata *m, rill__description *d) {
    read_scale(m, d);
    d->qk_norm = RILL_QK_NORM_HEAD;
    d->post_norms = true;
    d->embedding_scale = (float)rill__metadata_real(m, "embedding_scale", sqrt(d->hidden_size));
    if (!rill__metadata_has(m, ".rill.feed_forward.activation")) d->activation = RILL_ACT_GELU_TANH;
    d->logit_cap = (float)rill__metadata_real(m, "final_logit_softcapping", 0);
    if (m->status != RILL_OK) return;
    d->local_rope = rill__calloc(1, sizeof *d->local_rope);
    if (!d->local_rope) {
        m->status = rill__fail_memory(m->err, m->gguf->path, sizeof *d->local_rope);
        return;
    }
    *d->local_rope = (rill__rope_description){
        .theta = rill__metadata_real(m, "rope.freq_base_swa", 1e4),
        .n_dims = d->rope.n_dims,
        .original_context = d->trained_context,
    };
    if (rill__metadata_has(m, ".rill.rope_swa.scaling.factor")) {
        d->local_rope->scaling = RILL_ROPE_LINEAR;
        d->local_rope->factor = rill__metadata_real(m, ".rill.rope_swa.scaling.factor", 1);
    }
    // llama.cpp knows the pattern without being told.
    if (!rill__metadata_has(m, "attention.sliding_window_pattern") && d->layer_windows)
        for (uint32_t i = PATTERN - 1; i < d->n_layers; i += PATTERN) d->layer_windows[i] = 0;
}

#define NORM(name, role)                                                                           \
    { "model.layers.#." name, 1, {role}, .layout = RILL_LAYOUT_OFFSET }
static const rill__weight_name names[] = {
    RILL_TENSOR("model.embed_tokens", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("lm_head", RILL_WEIGHT_OUTPUT),
    {.name = "model.norm",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_OUTPUT_NORM},
     .layout = RILL_LAYOUT_OFFSET},
    NORM("input_layernorm", RILL_WEIGHT_ATTENTION_NORM),
    RILL_TENSOR("model.layers.#.self_attn.q_proj", RILL_WEIGHT_Q),
    RILL_TENSOR("model.layers.#.self_attn.k_proj", RILL_WEIGHT_K),
    RILL_TENSOR("model.layers.#.self_attn.v_proj", RILL_WEIGHT_V),
    NORM("self_attn.q_norm", RILL_WEIGHT_Q_NORM),
    NORM("self_attn.k_norm", RILL_WEIGHT_K_NORM),
    RILL_TENSOR("model.layers.#.self_attn.o_proj", RILL_WEIGHT_O),
    NORM("post_attention_layernorm", RILL_WEIGHT_POST_ATTENTION_NORM),
    NORM("pre_feedforward_layernorm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("model.layers.#.mlp.gate_proj", RILL_WEIGHT_GATE),
    RILL_TENSOR("model.layers.#.mlp.up_proj", RILL_WEIGHT_UP),
    RILL_TENSOR("model.layers.#.mlp.down_proj", RILL_WEIGHT_DOWN),
    NORM("post_feedforward_layernorm", RILL_WEIGHT_POST_FFN_NORM),
    {.name = NULL},
};

// GGUF has the norms' weights with 1 added.
static const rill__weight_name gguf_names[] = {
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
    RILL_TENSOR("blk.#.post_attention_norm", RILL_WEIGHT_POST_ATTENTION_NORM),
    RILL_TENSOR("blk.#.ffn_norm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("blk.#.ffn_gate", RILL_WEIGHT_GATE),
    RILL_TENSOR("blk.#.ffn_up", RILL_WEIGHT_UP),
    RILL_TENSOR("blk.#.ffn_down", RILL_WEIGHT_DOWN),
    RILL_TENSOR("blk.#.post_ffw_norm", RILL_WEIGHT_POST_FFN_NORM),
    {.name = NULL},
};

const rill__family rill__family_gemma3 = {
    .name = "gemma3_text",
    .architecture = "gemma3",
    .names = names,
    .gguf_names = gguf_names,
    .read_config = read_config,
    .read_metadata = read_metadata,
};

const rill__family rill__family_gemma3_pictures = {
    .name = "gemma3",
    .architecture = "gemma3",
    .names = names,
    .gguf_names = gguf_names,
    .read_config = read_config,
    .read_metadata = read_metadata,
};
