// SPDX-License-Identifier: MIT
// Mistral (transformers: configuration_mistral.py): Llama with a window in every layer. In GGUF it
// is a "llama".
#include "model/family.h"

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {
        .n_kv_heads = 8, .context = 4096 * 32, .norm_eps = 1e-6};
    (void)biases;
    rill__config_decoder(c, &defaults, d);
    rill__config_rope(c, 0, d);
    // A key that is left out means 4096, null means none.
    bool given = json_object_get(c->object, "sliding_window") != NULL;
    rill__config_windows(c, rill__config_u32(c, "sliding_window", given ? 0 : 4096), 0, d);
}

const rill__family rill__family_mistral = {
    .name = "mistral",
    .architecture = "llama",
    .gguf_interleaved = true,
    .names = rill__names_plain,
    .gguf_names = rill__names_gguf,
    .read_config = read_config,
};
