// SPDX-License-Identifier: MIT
// gpt-oss (transformers: configuration_gpt_oss.py, modeling_gpt_oss.py): a mixture of experts with
// a clamped activation, a learned sink logit a head, windows in every other layer, YaRN.
#include "model/family.h"

// YaRN from 4096 tokens to 32 times as many if nothing is said.
static void read_rope(rill__config *c, rill__description *d) {
    const char *key = rill__config_has(c, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    rill__config part = rill__config_part(c, key);
    double theta = rill__config_real(c, "rope_theta", 150000);
    rill__config_rope_part(c, &part, theta, 0, d, &d->rope);
    rill__config_join(c, &part);
    if (part.object) return;
    d->rope.scaling = RILL_ROPE_YARN;
    d->rope.factor = 32;
    d->rope.original_context = 4096;
    d->rope.beta_fast = 32;
    d->rope.beta_slow = 1;
}

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {
        .n_kv_heads = 8, .head_dim = 64, .context = 131072, .norm_eps = 1e-5, .packing = "mxfp4"};
    rill__config_decoder(c, &defaults, d);
    read_rope(c, d);
    d->sink_logits = true;
    d->activation = RILL_ACT_CLAMPED_SWIGLU;
    d->activation_limit = (float)rill__config_real(c, "swiglu_limit", 7);
    d->n_experts = rill__config_u32(c, "num_local_experts", 128);
    if (d->n_experts == 0)
        rill__config_fail(c, RILL_EFORMAT, "num_local_experts", "0; at least 1 is right");
    d->n_experts_used =
        rill__config_u32(c, "num_experts_per_tok", rill__config_u32(c, "experts_per_token", 4));
    uint32_t window = rill__config_u32(c, "sliding_window", 128);
    rill__config_windows(c, window, 0, d);
    if (!rill__config_has(c, "layer_types") && d->layer_windows)
        for (uint32_t i = 1; i < d->n_layers; i += 2) d->layer_windows[i] = 0;
    *biases = 1u << RILL_WEIGHT_ROUTER;
    if (rill__config_bool(c, "attention_bias", true))
        *biases |=
            1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V | 1u << RILL_WEIGHT_O;
}

static void read_metadata(rill__metadata *m, rill__description *d) {
    if (d->n_experts == 0)
        rill__metadata_fail(m, RILL_EFORMAT, "expert_count",
                            "it is missing, or 0; at least 1 is right");
    d->sink_logits = true;
    d->activation = RILL_ACT_CLAMPED_SWIGLU;
    // GGUF has no key for this one: it is the family's.
    d->activation_limit = (float)rill__metadata_real(m, ".rill.feed_forward.limit", 7);
    d->rope.truncate = rill__metadata_bool(m, ".rill.rope.scaling.yarn_truncate", false);
    if (!rill__metadata_has(m, "attention.sliding_window_pattern") && d->layer_windows)
        for (uint32_t i = 1; i < d->n_layers; i += 2) d->layer_windows[i] = 0;
}

static const rill__weight_name names[] = {
    RILL_TENSOR("model.embed_tokens", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("lm_head", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("model.norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("model.layers.#.input_layernorm", RILL_WEIGHT_ATTENTION_NORM),
    RILL_TENSOR("model.layers.#.self_attn.q_proj", RILL_WEIGHT_Q),
    RILL_TENSOR("model.layers.#.self_attn.k_proj", RILL_WEIGHT_K),
    RILL_TENSOR("model.layers.#.self_attn.v_proj", RILL_WEIGHT_V),
    {.name = "model.layers.#.self_attn.sinks",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_SINK_LOGITS},
     .whole_name = true},
    RILL_TENSOR("model.layers.#.self_attn.o_proj", RILL_WEIGHT_O),
    RILL_TENSOR("model.layers.#.post_attention_layernorm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("model.layers.#.mlp.router", RILL_WEIGHT_ROUTER),
    {.name = "model.layers.#.mlp.experts.gate_up_proj",
     .n_roles = 2,
     .roles = {RILL_WEIGHT_GATE, RILL_WEIGHT_UP},
     .layout = RILL_LAYOUT_EXPERTS},
    {.name = "model.layers.#.mlp.experts.down_proj",
     .n_roles = 1,
     .roles = {RILL_WEIGHT_DOWN},
     .layout = RILL_LAYOUT_EXPERTS},
    {.name = NULL},
};

static const rill__weight_name gguf_names[] = {
    RILL_TENSOR("token_embd", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("output", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("output_norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("blk.#.attn_norm", RILL_WEIGHT_ATTENTION_NORM),
    RILL_TENSOR("blk.#.attn_q", RILL_WEIGHT_Q),
    RILL_TENSOR("blk.#.attn_k", RILL_WEIGHT_K),
    RILL_TENSOR("blk.#.attn_v", RILL_WEIGHT_V),
    RILL_TENSOR("blk.#.attn_sinks", RILL_WEIGHT_SINK_LOGITS),
    RILL_TENSOR("blk.#.attn_output", RILL_WEIGHT_O),
    RILL_TENSOR("blk.#.post_attention_norm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("blk.#.ffn_gate_inp", RILL_WEIGHT_ROUTER),
    RILL_TENSOR("blk.#.ffn_gate_exps", RILL_WEIGHT_GATE),
    RILL_TENSOR("blk.#.ffn_up_exps", RILL_WEIGHT_UP),
    RILL_TENSOR("blk.#.ffn_down_exps", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

const rill__family rill__family_gpt_oss = {
    .name = "gpt_oss",
    .architecture = "gpt-oss",
    .gguf_untied = true,
    .names = names,
    .gguf_names = gguf_names,
    .read_config = read_config,
    .read_metadata = read_metadata,
};
