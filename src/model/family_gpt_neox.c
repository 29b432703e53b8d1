// SPDX-License-Identifier: MIT
// GPT-NeoX and Pythia (transformers: configuration_gpt_neox.py, modeling_gpt_neox.py): layer norms
// and biases everywhere, a part of each head rotated, feed-forward beside attention or behind it.
#include "model/family.h"

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {.context = 2048, .norm_eps = 1e-5};
    rill__config_decoder(c, &defaults, d);
    d->norm = RILL_NORM_LAYER;
    d->norm_eps = (float)rill__config_real(c, "layer_norm_eps", 1e-5);
    d->gated = false;
    rill__config_activation(c, "hidden_act", "gelu", d);
    d->residual = rill__config_bool(c, "use_parallel_residual", true)
                      ? RILL_RESIDUAL_PARALLEL_TWO_NORMS
                      : RILL_RESIDUAL_SEQUENTIAL;
    rill__config_rope(c, 0.25, d);
    *biases = 1u << RILL_WEIGHT_OUTPUT_NORM | 1u << RILL_WEIGHT_ATTENTION_NORM |
              1u << RILL_WEIGHT_FFN_NORM | 1u << RILL_WEIGHT_UP | 1u << RILL_WEIGHT_DOWN;
    if (rill__config_bool(c, "attention_bias", true))
        *biases |=
            1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V | 1u << RILL_WEIGHT_O;
}

static void read_metadata(rill__metadata *m, rill__description *d) {
    d->residual = rill__metadata_bool(m, "use_parallel_residual", true)
                      ? RILL_RESIDUAL_PARALLEL_TWO_NORMS
                      : RILL_RESIDUAL_SEQUENTIAL;
}

static const rill__weight_name names[] = {
    RILL_TENSOR("gpt_neox.embed_in", RILL_WEIGHT_EMBEDDING),
    RILL_TENSOR("embed_out", RILL_WEIGHT_OUTPUT),
    RILL_TENSOR("gpt_neox.final_layer_norm", RILL_WEIGHT_OUTPUT_NORM),
    RILL_TENSOR("gpt_neox.layers.#.input_layernorm", RILL_WEIGHT_ATTENTION_NORM),
    {.name = "gpt_neox.layers.#.attention.query_key_value",
     .n_roles = 3,
     .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V},
     .layout = RILL_LAYOUT_GROUPS},
    RILL_TENSOR("gpt_neox.layers.#.attention.dense", RILL_WEIGHT_O),
    RILL_TENSOR("gpt_neox.layers.#.post_attention_layernorm", RILL_WEIGHT_FFN_NORM),
    RILL_TENSOR("gpt_neox.layers.#.mlp.dense_h_to_4h", RILL_WEIGHT_UP),
    RILL_TENSOR("gpt_neox.layers.#.mlp.dense_4h_to_h", RILL_WEIGHT_DOWN),
    {.name = NULL},
};

const rill__family rill__family_gpt_neox = {
    .name = "gpt_neox",
    .architecture = "gptneox",
    .gguf_untied = true,
    .names = names,
    .gguf_names = rill__names_gguf_qkv,
    .read_config = read_config,
    .read_metadata = read_metadata,
};
