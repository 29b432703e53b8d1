// SPDX-License-Identifier: MIT
// Phi-3 (transformers: configuration_phi3.py, modeling_phi3.py): fused projections, a part of each
// head rotated, longrope.
#include "model/family.h"

static void read_config(rill__config *c, rill__description *d, uint32_t *biases) {
    static const rill__config_defaults defaults = {.context = 4096, .norm_eps = 1e-5};
    (void)biases;
    rill__config_decoder(c, &defaults, d);
    rill__config_rope(c, 1, d);
    rill__config_windows(c, rill__config_u32(c, "sliding_window", 0), 0, d);
}

const rill__family rill__family_phi3 = {
    .name = "phi3",
    .architecture = "phi3",
    .names = rill__names_fused,
    .gguf_names = rill__names_gguf_fused,
    .read_config = read_config,
};
