// SPDX-License-Identifier: MIT
// Qwen2 and Qwen2.5 (transformers: configuration_qwen2.py): Llama with biases on queries, keys and
// values, and a window in the upper layers if use_sliding_window says so.
#include "model/family.h"

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {
        .n_kv_heads = 32, .context = 32768, .norm_eps = 1e-6};
    rill__config_decoder(c, &defaults, d);
    rill__config_rope(c, 0, d);
    bool given = json_object_get(c->object, "sliding_window") != NULL;
    uint32_t window = rill__config_u32(c, "sliding_window", given ? 0 : 4096);
    if (!rill__config_bool(c, "use_sliding_window", false)) window = 0;
    rill__config_windows(c, window, rill__config_u32(c, "max_window_layers", 28), d);
    *biases |= 1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V;
}

const rill__family rill__family_qwen2 = {
    .name = "qwen2",
    .architecture = "qwen2",
    .names = rill__names_plain,
    .gguf_names = rill__names_gguf,
    .read_config = read_config,
};
