// SPDX-License-Identifier: MIT
// Falcon (transformers: configuration_falcon.py, modeling_falcon.py): 7B with one key-value head
// and one norm for attention and feed-forward side by side, 40B with groups and a norm each ("new
// decoder architecture"), RW with ALiBi, biases, and one after the other.
#include "model/family.h"

#include <math.h>

enum {
    SEQUENTIAL = 1 << RILL_RESIDUAL_SEQUENTIAL,
    PARALLEL = 1 << RILL_RESIDUAL_PARALLEL,
    TWO_NORMS = 1 << RILL_RESIDUAL_PARALLEL_TWO_NORMS,
};

// Falcon rounds its slopes to bfloat16, and scales them as it scales its logits. transformers'
// build_alibi_tensor rounds slope times position too, which depends on the place in the text and
// not on the distance: a stream cannot keep it. In RW-1B (slope 0.8398) keys 1000 to 1002 get 840.0
// there and 1003 gets 844.0; below 2048 tokens that is up to 4.0 off the line, 0.5 in a logit after
// the scale of 1/8. docs/positions.md has more.
static rill_status slopes(rill__description *d, float bias_max, rill_error *err) {
    return rill__alibi_slopes(d, bias_max, d->attention_scale, true, err);
}

static void read_heads(rill__config *c, bool new_architecture, rill__description *d) {
    // A name of the first releases.
    d->n_heads = rill__config_u32(c, "n_head", 0);
    if (!d->n_heads) d->n_heads = rill__config_u32_needed(c, "num_attention_heads");
    bool multi_query = rill__config_bool(c, "multi_query", true);
    uint32_t kv_heads = rill__config_u32(c, "num_kv_heads", d->n_heads);
    if (rill__config_has(c, "n_head_kv")) kv_heads = rill__config_u32(c, "n_head_kv", 0);
    d->n_kv_heads = new_architecture ? kv_heads : multi_query ? 1 : d->n_heads;
    if (d->n_heads > 0 && d->hidden_size % d->n_heads != 0)
        rill__config_fail(c, RILL_EFORMAT, "num_attention_heads",
                          "%u does not divide hidden_size %u", d->n_heads, d->hidden_size);
    d->head_dim = d->n_heads ? d->hidden_size / d->n_heads : 0;
}

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    bool new_architecture = rill__config_bool(c, "new_decoder_architecture", false);
    bool parallel = rill__config_bool(c, "parallel_attn", true) || new_architecture;
    d->n_layers = rill__config_u32(c, "n_layer", 0);
    if (!d->n_layers) d->n_layers = rill__config_u32_needed(c, "num_hidden_layers");
    d->hidden_size = rill__config_u32_needed(c, "hidden_size");
    d->vocab_size = rill__config_u32_needed(c, "vocab_size");
    read_heads(c, new_architecture, d);
    uint64_t ffn = 4 * (uint64_t)d->hidden_size;
    d->ffn_size = rill__config_u32(c, "ffn_hidden_size", ffn < UINT32_MAX ? (uint32_t)ffn : 0);
    d->trained_context = rill__config_u32(c, "max_position_embeddings", 2048);
    d->norm = RILL_NORM_LAYER;
    d->norm_eps = (float)rill__config_real(c, "layer_norm_epsilon", 1e-5);
    d->attention_scale = d->head_dim ? (float)(1 / sqrt(d->head_dim)) : 0;
    d->embedding_scale = 1;
    d->tied_embeddings = rill__config_bool(c, "tie_word_embeddings", true);
    rill__config_activation(c, "activation", "gelu", d);
    uint32_t n_norms = rill__config_u32(c, "num_ln_in_parallel_attn", new_architecture ? 2 : 1);
    d->residual = !parallel                          ? RILL_RESIDUAL_SEQUENTIAL
                  : new_architecture && n_norms == 2 ? RILL_RESIDUAL_PARALLEL_TWO_NORMS
                                                     : RILL_RESIDUAL_PARALLEL;
    *biases = 1u << RILL_WEIGHT_OUTPUT_NORM | 1u << RILL_WEIGHT_ATTENTION_NORM |
              1u << RILL_WEIGHT_FFN_NORM;
    if (rill__config_bool(c, "bias", false))
        *biases |= 1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V |
                   1u << RILL_WEIGHT_O | 1u << RILL_WEIGHT_UP | 1u << RILL_WEIGHT_DOWN;
    if (!rill__config_bool(c, "alibi", false))
        rill__config_rope(c, 0, d);
    else if (c->status == RILL_OK)
        c->status = slopes(d, 8, c->err);
}

static void read_metadata(rill__metadata *m, rill__description *d) {
    d->residual = rill__gguf_tensor(m->gguf, "blk.0.attn_norm_2.weight")
                      ? RILL_RESIDUAL_PARALLEL_TWO_NORMS
                  : rill__gguf_tensor(m->gguf, "blk.0.ffn_norm.weight") ? RILL_RESIDUAL_SEQUENTIAL
                                                                        : RILL_RESIDUAL_PARALLEL;
    float bias_max = (float)rill__metadata_real(m, "attention.max_alibi_bias", 0);
    if (bias_max > 0 && m->status == RILL_OK) m->status = slopes(d, bias_max, m->err);
}

static const rill__weight_name names[] = {
    RILL_TENSOR("transformer.word_embeddings", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("lm_head", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("transformer.ln_f", RILL_WEIGHT_OUTPUT_NORM),
    {.name = "transformer.h.#.input_layernorm",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_ATTENTION_NORM},
     .residuals = SEQUENTIAL | PARALLEL},
    {.name = "transformer.h.#.ln_attn",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_ATTENTION_NORM},
     .residuals = TWO_NORMS},
    {.name = "transformer.h.#.self_attention.query_key_value",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V},
     .layout = RILL_LAYOUT_GROUPS},
    RILL_TENSOR("transformer.h.#.self_attention.dense", RILL_WEIGHT_O),
    {.name = "transformer.h.#.post_attention_layernorm",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_FFN_NORM},
     .residuals = SEQUENTIAL},
    {.name = "transformer.h.#.ln_mlp",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_FFN_NORM},
     .residuals = TWO_NORMS},
    RILL_TENSOR("transformer.h.#.mlp.dense_h_to_4h", RILL_WEIGHT_UP),
    RILL_TENSOR("transformer.h.#.mlp.dense_4h_to_h", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

// With two norms attn_norm is the feed-forward's (llama.cpp's falcon).
static const rill__weight_name gguf_names[] = {
    RILL_TENSOR("token_embd", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("output", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("output_norm", RILL_WEIGHT_OUTPUT_NORM),
    {.name = "blk.#.attn_norm",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_ATTENTION_NORM},
     .residuals = SEQUENTIAL | PARALLEL},
    {.name = "blk.#.attn_norm",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_FFN_NORM},
     .residuals = TWO_NORMS},
    {.name = "blk.#.attn_norm_2",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_ATTENTION_NORM},
     .residuals = TWO_NORMS},
    {.name = "blk.#.attn_qkv",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    RILL_TENSOR("blk.#.attn_output", RILL_WEIGHT_O),
    {.name = "blk.#.ffn_norm",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_FFN_NORM},
     .residuals = SEQUENTIAL},
    RILL_TENSOR("blk.#.ffn_up", RILL_WEIGHT_UP),
    RILL_TENSOR("blk.#.ffn_down", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

const rill__family rill__family_falcon = {
    .name = "falcon",
    .architecture = "falcon",
    .names = names,
    .gguf_names = gguf_names,
    .read_config = read_config,
    .read_metadata = read_metadata,
};
