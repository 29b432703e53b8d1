// SPDX-License-Identifier: MIT
// Qwen3 (transformers: configuration_qwen3.py): queries and keys normed head by head, a head's size
// of its own, windows as Qwen2 has them.
#include "model/family.h"

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {
        .n_kv_heads = 32, .head_dim = 128, .context = 32768, .norm_eps = 1e-6};
    rill__config_decoder(c, &defaults, d);
    rill__config_rope(c, 0, d);
    d->qk_norm = RILL_QK_NORM_HEAD;
    bool given = json_object_get(c->object, "sliding_window") != NULL;
    uint32_t window = rill__config_u32(c, "sliding_window", given ? 0 : 4096);
    if (!rill__config_bool(c, "use_sliding_window", false)) window = 0;
    rill__config_windows(c, window, rill__config_u32(c, "max_window_layers", 28), d);
    if (rill__config_bool(c, "attention_bias", false))
        *biases |=
            1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V | 1u << RILL_WEIGHT_O;
}

static void read_metadata(rill__metadata *m, rill__description *d) {
    (void)m;
    d->qk_norm = RILL_QK_NORM_HEAD;
}

const rill__family rill__family_qwen3 = {
    .name = "qwen3",
    .architecture = "qwen3",
    .names = rill__names_plain,
    .gguf_names = rill__names_gguf,
    .read_config = read_config,
    .read_metadata = read_metadata,
};
