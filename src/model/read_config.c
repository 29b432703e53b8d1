// SPDX-License-Identifier: MIT
// What families of the Llama kind have in common in config.json: sizes, positions, windows. Keys of
// both generations are read: rope_theta and rope_scaling, or rope_parameters (transformers 5).
#include "model/family.h"

#include <math.h>
#include <string.h>

enum { MAX_FACTORS = RILL_MAX_HIDDEN };

void rill__config_activation(rill__config *c, const char *key, const char *fallback,
                             rill__description *d) {
    static const struct {
        const char *name;
        rill__activation activation;
    } known[] = {{"silu", RILL_ACT_SILU},           {"swish", RILL_ACT_SILU},
                 {"gelu", RILL_ACT_GELU},           {"gelu_new", RILL_ACT_GELU_TANH},
                 {"gelu_fast", RILL_ACT_GELU_TANH}, {"gelu_pytorch_tanh", RILL_ACT_GELU_TANH}};
    const char *name = rill__config_text(c, key, fallback);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            d->activation = known[i].activation;
            return;
        }
    }
    rill__config_fail(c, RILL_EUNSUPPORTED, key,
                      "'%.60s'; silu, gelu and gelu_pytorch_tanh are known", name);
}

// A size that only some families have a default for.
static uint32_t size_or(rill__config *c, const char *key, uint32_t fallback) {
    return fallback ? rill__config_u32(c, key, fallback) : rill__config_u32_needed(c, key);
}

void rill__config_decoder(rill__config *c, const rill__config_defaults *defaults,
                          rill__description *d) {
    rill__config packing = rill__config_part(c, "quantization_config");
    const char *method = rill__config_text(&packing, "quant_method", "");
    if (packing.object && (!defaults->packing || strcmp(method, defaults->packing) != 0))
        rill__config_fail(c, RILL_EUNSUPPORTED, "quantization_config",
                          "quantised weights in a directory are not known; F32, F16 and BF16 are, "
                          "or a GGUF file");
    d->n_layers = rill__config_u32_needed(c, "num_hidden_layers");
    d->hidden_size = rill__config_u32_needed(c, "hidden_size");
    d->n_heads = size_or(c, "num_attention_heads", defaults->n_heads);
    d->ffn_size = rill__config_u32_needed(c, "intermediate_size");
    d->vocab_size = size_or(c, "vocab_size", defaults->vocab_size);
    uint32_t kv_heads = defaults->n_kv_heads ? defaults->n_kv_heads : d->n_heads;
    // In this one an explicit null means as many as heads.
    if (json_is_null(json_object_get(c->object, "num_key_value_heads"))) kv_heads = d->n_heads;
    d->n_kv_heads = rill__config_u32(c, "num_key_value_heads", kv_heads);
    uint32_t head_dim = defaults->head_dim;
    if (!head_dim && d->n_heads > 0) head_dim = d->hidden_size / d->n_heads;
    d->head_dim = rill__config_u32(c, "head_dim", head_dim);
    if (!defaults->head_dim && !rill__config_has(c, "head_dim") && d->n_heads > 0 &&
        d->hidden_size % d->n_heads != 0)
        rill__config_fail(c, RILL_EFORMAT, "num_attention_heads",
                          "%u does not divide hidden_size %u", d->n_heads, d->hidden_size);
    d->trained_context = rill__config_u32(c, "max_position_embeddings", defaults->context);
    d->norm = RILL_NORM_RMS;
    d->norm_eps = (float)rill__config_real(c, "rms_norm_eps", defaults->norm_eps);
    d->attention_scale = d->head_dim ? (float)(1 / sqrt(d->head_dim)) : 0;
    d->softmax_off_by_one = rill__config_bool(c, "softmax_off_by_one", false);
    d->gated = true;
    d->tied_embeddings = rill__config_bool(c, "tie_word_embeddings", false);
    d->embedding_scale = 1;
    rill__config_activation(c, "hidden_act", "silu", d);
}

// A list of factors, one a rotated pair. Owned by the caller; NULL after a failure.
static double *read_factors(rill__config *part, const char *key, uint32_t n) {
    const json_t *list = json_object_get(part->object, key);
    if (!json_is_array(list) || json_array_size(list) != n || n > MAX_FACTORS) {
        rill__config_fail(part, RILL_EFORMAT, key, "%zu numbers; a list of %u is right",
                          json_array_size(list), n);
        return NULL;
    }
    double *out = rill__calloc(n, sizeof *out);
    if (!out) {
        if (part->status == RILL_OK)
            part->status = rill__fail_memory(part->err, part->path, n * sizeof *out);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (double)(float)json_number_value(json_array_get(list, i));  // as torch has them
        if (!(out[i] > 0) || !isfinite(out[i]))
            rill__config_fail(part, RILL_EFORMAT, key, "entry %u: a number above 0 is right", i);
    }
    return out;
}

static double factor_needed(rill__config *part) {
    if (!rill__config_has(part, "factor"))
        rill__config_fail(part, RILL_EFORMAT, "factor", "it is missing");
    return rill__config_real(part, "factor", 1);
}

// transformers' modeling_rope_utils.py: what each kind needs, and what it takes for missing keys.
static void read_scaling(rill__config *part, const rill__description *d,
                         rill__rope_description *r) {
    double stretch = r->original_context ? (double)d->trained_context / r->original_context : 1;
    switch (r->scaling) {
    case RILL_ROPE_LINEAR:
    case RILL_ROPE_NTK: r->factor = factor_needed(part); break;
    case RILL_ROPE_LLAMA3:
        r->factor = factor_needed(part);
        r->low_freq_factor = rill__config_real(part, "low_freq_factor", 1);
        r->high_freq_factor = rill__config_real(part, "high_freq_factor", 4);
        break;
    case RILL_ROPE_YARN:
        r->factor = rill__config_real(part, "factor", stretch);
        r->beta_fast = rill__config_real(part, "beta_fast", 32);
        r->beta_slow = rill__config_real(part, "beta_slow", 1);
        r->truncate = rill__config_bool(part, "truncate", true);
        r->attention_factor = rill__config_real(part, "attention_factor", 0);
        r->mscale = rill__config_real(part, "mscale", 0);
        r->mscale_all_dim = rill__config_real(part, "mscale_all_dim", 0);
        break;
    case RILL_ROPE_LONGROPE:
        r->factor = rill__config_real(part, "factor", stretch);
        r->attention_factor = rill__config_real(part, "attention_factor", 0);
        r->short_factors = read_factors(part, "short_factor", r->n_dims / 2);
        r->long_factors = read_factors(part, "long_factor", r->n_dims / 2);
        break;
    case RILL_ROPE_DEFAULT:
    case RILL_ROPE_FACTORS: break;
    }
}

static rill__rope_scaling read_kind(rill__config *part, bool *xpos) {
    static const struct {
        const char *name;
        rill__rope_scaling scaling;
    } known[] = {{"default", RILL_ROPE_DEFAULT}, {"linear", RILL_ROPE_LINEAR},
                 {"dynamic", RILL_ROPE_NTK},     {"llama3", RILL_ROPE_LLAMA3},
                 {"yarn", RILL_ROPE_YARN},       {"longrope", RILL_ROPE_LONGROPE},
                 {"su", RILL_ROPE_LONGROPE},  // longrope's first name
                 {"xpos", RILL_ROPE_DEFAULT}};
    const char *name =
        rill__config_text(part, "rope_type", rill__config_text(part, "type", "default"));
    *xpos = strcmp(name, "xpos") == 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) return known[i].scaling;
    rill__config_fail(
        part, RILL_EUNSUPPORTED, "rope_type",
        "'%.60s'; default, linear, dynamic, llama3, yarn, longrope and xpos are known", name);
    return RILL_ROPE_DEFAULT;
}

static void read_share(rill__config *c, rill__config *part, double share,
                       const rill__description *d, rill__rope_description *r) {
    bool partial = share > 0;
    if (!partial) share = 1;
    // rotary_pct: GPT-NeoX's own name.
    share =
        rill__config_real(c, "partial_rotary_factor", rill__config_real(c, "rotary_pct", share));
    share = rill__config_real(part, "partial_rotary_factor", share);
    if (!(share > 0 && share <= 1))
        rill__config_fail(part, RILL_EFORMAT, "partial_rotary_factor",
                          "%g; above 0 and at most 1 is right", share);
    else if (share != 1 && !partial)
        rill__config_fail(part, RILL_EUNSUPPORTED, "partial_rotary_factor",
                          "%g; in this family only 1 is known", share);
    else
        r->n_dims = (uint32_t)(d->head_dim * share);
}

void rill__config_rope_part(rill__config *c, rill__config *part, double theta, double share,
                            rill__description *d, rill__rope_description *r) {
    bool xpos;
    r->theta = rill__config_real(part, "rope_theta", theta);
    read_share(c, part, share, d, r);
    r->scaling = read_kind(part, &xpos);
    if (xpos) {
        d->position = RILL_POSITION_XPOS;
        r->xpos_base = rill__config_real(part, "xpos_scale_base", 512);
        r->xpos_gamma = rill__config_real(part, "xpos_gamma", 0.4);
    }
    // Phi-3 and a few others keep this one outside, and there it counts.
    r->original_context = rill__config_u32(
        c, "original_max_position_embeddings",
        rill__config_u32(part, "original_max_position_embeddings", d->trained_context));
    if (part->status == RILL_OK) read_scaling(part, d, r);
}

void rill__config_rope(rill__config *c, double share, rill__description *d) {
    const char *key = rill__config_has(c, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    rill__config part = rill__config_part(c, key);
    if (rill__config_has(&part, "full_attention"))
        rill__config_fail(&part, RILL_EUNSUPPORTED, key,
                          "positions of each kind of layer apart are not known in this family");
    // rotary_emb_base: GPT-NeoX's own name.
    double theta =
        rill__config_real(c, "rope_theta", rill__config_real(c, "rotary_emb_base", 10000));
    rill__config_rope_part(c, &part, theta, share, d, &d->rope);
    rill__config_join(c, &part);
}

// The window of every layer that layer_types names.
static void read_layer_types(rill__config *c, uint32_t window, rill__description *d) {
    const json_t *types = json_object_get(c->object, "layer_types");
    if (!json_is_array(types) || json_array_size(types) != d->n_layers) {
        rill__config_fail(c, RILL_EFORMAT, "layer_types", "%zu entries; a list of %u is right",
                          json_array_size(types), d->n_layers);
        return;
    }
    for (uint32_t i = 0; i < d->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (type && strcmp(type, "sliding_attention") == 0)
            d->layer_windows[i] = window;
        else if (!type || strcmp(type, "full_attention") != 0)
            rill__config_fail(c, RILL_EUNSUPPORTED, "layer_types",
                              "'%.60s'; full_attention and sliding_attention are known",
                              type ? type : "(not a text)");
    }
}

void rill__config_windows(rill__config *c, uint32_t window, uint32_t first, rill__description *d) {
    if (c->status != RILL_OK || d->n_layers == 0 || d->n_layers > RILL_MAX_LAYERS) return;
    d->layer_windows = rill__calloc(d->n_layers, sizeof *d->layer_windows);
    if (!d->layer_windows) {
        c->status = rill__fail_memory(c->err, c->path, d->n_layers * sizeof *d->layer_windows);
        return;
    }
    if (rill__config_has(c, "layer_types")) {
        read_layer_types(c, window, d);
    } else {
        for (uint32_t i = first; i < d->n_layers; i++) d->layer_windows[i] = window;
    }
    uint32_t widest = 0;
    for (uint32_t i = 0; i < d->n_layers; i++)
        if (d->layer_windows[i] > widest) widest = d->layer_windows[i];
    if (widest == 0) {
        rill__free(d->layer_windows);
        d->layer_windows = NULL;
    }
}
