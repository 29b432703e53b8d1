// SPDX-License-Identifier: MIT
// Llama 1, 2, 3 (transformers: configuration_llama.py, modeling_llama.py).
#include "model/family.h"

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {.context = 2048, .norm_eps = 1e-6};
    rill__config_decoder(c, &defaults, d);
    rill__config_rope(c, 0, d);
    if (rill__config_bool(c, "attention_bias", false))
        *biases |=
            1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V | 1u << RILL_WEIGHT_O;
    if (rill__config_bool(c, "mlp_bias", false))
        *biases |= 1u << RILL_WEIGHT_GATE | 1u << RILL_WEIGHT_UP | 1u << RILL_WEIGHT_DOWN;
}

const rill__family rill__family_llama = {
    .name = "llama",
    .architecture = "llama",
    .gguf_interleaved = true,
    .names = rill__names_plain,
    .gguf_names = rill__names_gguf,
    .read_config = read_config,
};
