// SPDX-License-Identifier: MIT
// MPT (transformers: configuration_mpt.py, modeling_mpt.py; llm-foundry's for qk_ln, biases, and
// what is refused): ALiBi, layer norms without biases, projections that may be clipped.
#include "model/family.h"

#include <math.h>
#include <string.h>

static void read_sizes(rill__config *c, rill__description *d) {
    d->n_layers = rill__config_u32_needed(c, "n_layers");
    d->hidden_size = rill__config_u32_needed(c, "d_model");
    d->n_heads = rill__config_u32_needed(c, "n_heads");
    d->vocab_size = rill__config_u32_needed(c, "vocab_size");
    d->trained_context = rill__config_u32(c, "max_seq_len", 2048);
    // transformers' MptMLP takes 4 whatever expansion_ratio says.
    uint64_t ffn = 4 * (uint64_t)d->hidden_size;
    d->ffn_size = ffn < UINT32_MAX ? (uint32_t)ffn : 0;
    if (d->n_heads > 0 && d->hidden_size % d->n_heads != 0)
        rill__config_fail(c, RILL_EFORMAT, "n_heads", "%u does not divide d_model %u", d->n_heads,
                          d->hidden_size);
    d->head_dim = d->n_heads ? d->hidden_size / d->n_heads : 0;
}

static const char no_alibi[] = "MPT without ALiBi is not known";

static void read_attention(rill__config *c, rill__description *d) {
    rill__config part = rill__config_part(c, "attn_config");
    const char *type = rill__config_text(&part, "attn_type", "multihead_attention");
    d->n_kv_heads = d->n_heads;
    if (strcmp(type, "multiquery_attention") == 0)
        d->n_kv_heads = 1;
    else if (strcmp(type, "grouped_query_attention") == 0)
        d->n_kv_heads = rill__config_u32_needed(&part, "kv_n_heads");
    else if (strcmp(type, "multihead_attention") != 0)
        rill__config_fail(&part, RILL_EUNSUPPORTED, "attn_type",
                          "'%.60s'; multihead_attention, multiquery_attention and "
                          "grouped_query_attention are known",
                          type);
    if (rill__config_bool(&part, "prefix_lm", false))
        rill__config_fail(&part, RILL_EUNSUPPORTED, "prefix_lm", "a prefix that sees itself whole");
    double scale = d->head_dim ? 1 / sqrt(d->head_dim) : 0;
    d->attention_scale = (float)rill__config_real(&part, "softmax_scale", scale);
    d->clip_qkv = (float)rill__config_real(&part, "clip_qkv", 0);
    if (rill__config_bool(&part, "qk_ln", false)) d->qk_norm = RILL_QK_NORM_WHOLE;
    if (rill__config_bool(&part, "qk_gn", false))
        rill__config_fail(&part, RILL_EUNSUPPORTED, "qk_gn", "group norms are not known");
    double window = rill__config_real(&part, "sliding_window_size", -1);  // -1: none
    if (window > 0)
        rill__config_fail(&part, RILL_EUNSUPPORTED, "sliding_window_size",
                          "%g; windows are not known in this family", window);
    float bias_max = (float)rill__config_real(&part, "alibi_bias_max", 8);
    if (!rill__config_bool(&part, "alibi", true))
        rill__config_fail(&part, RILL_EUNSUPPORTED, "alibi", no_alibi);
    else if (bias_max <= 0)
        rill__config_fail(&part, RILL_EUNSUPPORTED, "alibi_bias_max", no_alibi);
    else if (part.status == RILL_OK)
        part.status = rill__alibi_slopes(d, bias_max, 1, false, c->err);
    rill__config_join(c, &part);
}

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    read_sizes(c, d);
    const char *norm = rill__config_text(c, "norm_type", "low_precision_layernorm");
    if (strcmp(norm, "layernorm") != 0 && strcmp(norm, "low_precision_layernorm") != 0)
        rill__config_fail(c, RILL_EUNSUPPORTED, "norm_type",
                          "'%.60s'; layernorm and low_precision_layernorm are known", norm);
    d->norm = RILL_NORM_LAYER;
    d->norm_eps = (float)rill__config_real(c, "layer_norm_epsilon", 1e-5);
    d->embedding_scale = 1;
    d->tied_embeddings = rill__config_bool(c, "tie_word_embeddings", true);
    d->activation = RILL_ACT_GELU;
    read_attention(c, d);
    if (rill__config_has(c, "logit_scale"))
        rill__config_fail(c, RILL_EUNSUPPORTED, "logit_scale", "scaled logits are not known");
    if (!rill__config_bool(c, "no_bias", true))
        *biases = ~(1u << RILL_WEIGHT_EMBEDDING | 1u << RILL_WEIGHT_OUTPUT);
}

static void read_metadata(rill__metadata *m, rill__description *d) {
    d->clip_qkv = (float)rill__metadata_real(m, "attention.clamp_kqv", 0);
    float bias_max = (float)rill__metadata_real(m, "attention.max_alibi_bias", 8);
    if (rill__gguf_tensor(m->gguf, "blk.0.attn_q_norm.weight")) d->qk_norm = RILL_QK_NORM_WHOLE;
    // 0 is what llama.cpp's converter writes for a model without ALiBi.
    if (bias_max <= 0)
        rill__metadata_fail(m, RILL_EUNSUPPORTED, "attention.max_alibi_bias", no_alibi);
    if (m->status == RILL_OK) m->status = rill__alibi_slopes(d, bias_max, 1, false, m->err);
}

static const rill__weight_name names[] = {
    RILL_TENSOR("transformer.wte", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("lm_head", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("transformer.norm_f", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("transformer.blocks.#.norm_1", RILL_WEIGHT_ATTENTION_NORM),
    {.name = "transformer.blocks.#.attn.Wqkv",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}},
    RILL_TENSOR("transformer.blocks.#.attn.q_ln", RILL_WEIGHT_Q_NORM),
    RILL_TENSOR("transformer.blocks.#.attn.k_ln", RILL_WEIGHT_K_NORM),
    RILL_TENSOR("transformer.blocks.#.attn.out_proj", RILL_WEIGHT_O),
    RILL_TENSOR("transformer.blocks.#.norm_2", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("transformer.blocks.#.ffn.up_proj", RILL_WEIGHT_UP),
    RILL_TENSOR("transformer.blocks.#.ffn.down_proj", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

const rill__family rill__family_mpt = {
    .name = "mpt",
    .architecture = "mpt",
    .names = names,
    .gguf_names = rill__names_gguf_qkv,
    .read_config = read_config,
    .read_metadata = read_metadata,
};
