// SPDX-License-Identifier: MIT
// A description from GGUF metadata (ggml's docs/gguf.md, "Standardized key-value pairs"; keys of
// scaled RoPE and of windows as llama.cpp writes them). What GGUF has no key for is under "rill.".
#include "model/family.h"

#include <math.h>
#include <string.h>

static void read_sizes(rill__metadata *m, rill__description *d) {
    const rill__tensor *embedding = rill__gguf_tensor(m->gguf, "token_embd.weight");
    d->n_layers = rill__metadata_u32_needed(m, "block_count");
    d->hidden_size = rill__metadata_u32_needed(m, "embedding_length");
    d->ffn_size = rill__metadata_u32_needed(m, "feed_forward_length");
    d->n_heads = rill__metadata_u32_needed(m, "attention.head_count");
    d->n_kv_heads = rill__metadata_u32(m, "attention.head_count_kv", d->n_heads);
    d->trained_context = rill__metadata_u32_needed(m, "context_length");
    uint32_t head_dim = d->n_heads ? d->hidden_size / d->n_heads : 0;
    d->head_dim = rill__metadata_u32(m, "attention.key_length", head_dim);
    uint32_t value_dim = rill__metadata_u32(m, "attention.value_length", d->head_dim);
    if (value_dim != d->head_dim)
        rill__metadata_fail(m, RILL_EUNSUPPORTED, "attention.value_length",
                            "%u; the same as attention.key_length, %u, is known", value_dim,
                            d->head_dim);
    // The table of embeddings says how many tokens there are; the key is younger than the format.
    uint64_t rows = embedding && embedding->n_dims == 2 ? embedding->shape[0] : 0;
    if (m->status == RILL_OK && (rows == 0 || rows > RILL_MAX_VOCABULARY))
        m->status = rill__fail(m->err, RILL_EFORMAT,
                               "%s: tensor 'token_embd.weight': it is missing, or of a shape that "
                               "makes no sense",
                               m->gguf->path);
    d->vocab_size = (uint32_t)rows;
    uint32_t said = rill__metadata_u32(m, "vocab_size", d->vocab_size);
    if (said != d->vocab_size)
        rill__metadata_fail(m, RILL_EFORMAT, "vocab_size",
                            "%u; %u, the rows of token_embd.weight, is right", said, d->vocab_size);
}

// The factors of a tensor of that name as a list, NULL if there is none.
static double *read_factors(rill__metadata *m, const char *name, uint32_t n) {
    const rill__tensor *t = rill__gguf_tensor(m->gguf, name);
    if (!t || m->status != RILL_OK) return NULL;
    if (t->type != RILL_TYPE_F32 || t->n_dims != 1 || t->shape[0] != n) {
        m->status = rill__fail(m->err, RILL_EFORMAT,
                               "%s: tensor '%s': one f32 number for each of the %u rotated pairs "
                               "is right",
                               m->gguf->path, name, n);
        return NULL;
    }
    double *out = rill__calloc(n, sizeof *out);
    if (!out) m->status = rill__fail_memory(m->err, name, n * sizeof *out);
    for (uint32_t i = 0; out && i < n; i++) {
        float factor;
        memcpy(&factor, t->data + i * sizeof factor, sizeof factor);
        out[i] = (double)factor;
    }
    return out;
}

static void read_xpos(rill__metadata *m, rill__description *d) {
    if (!rill__metadata_has(m, ".rill.xpos.scale_base")) return;
    d->position = RILL_POSITION_XPOS;
    d->rope.xpos_base = rill__metadata_real(m, ".rill.xpos.scale_base", 512);
    d->rope.xpos_gamma = rill__metadata_real(m, ".rill.xpos.gamma", 0.4);
}

// GGUF has no word for dynamic NTK: it is said under a key of rill's own, as its factor is.
static rill__rope_scaling read_kind(rill__metadata *m) {
    static const char key[] = "rope.scaling.type", own[] = ".rill.rope.scaling.type";
    static const struct {
        const char *name;
        rill__rope_scaling scaling;
    } known[] = {{"", RILL_ROPE_DEFAULT},
                 {"none", RILL_ROPE_DEFAULT},
                 {"linear", RILL_ROPE_LINEAR},
                 {"yarn", RILL_ROPE_YARN},
                 {"longrope", RILL_ROPE_LONGROPE}};
    char name[32];
    if (rill__metadata_has(m, own)) {
        rill__metadata_text(m, own, name, sizeof name);
        if (strcmp(name, "dynamic") != 0)
            rill__metadata_fail(m, RILL_EUNSUPPORTED, own, "'%s'; dynamic is known", name);
        return RILL_ROPE_NTK;
    }
    rill__metadata_text(m, key, name, sizeof name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) return known[i].scaling;
    rill__metadata_fail(m, RILL_EUNSUPPORTED, key,
                        "'%s'; none, linear, yarn and longrope are known", name);
    return RILL_ROPE_DEFAULT;
}

static void read_rope(rill__metadata *m, rill__description *d) {
    rill__rope_description *r = &d->rope;
    r->n_dims = rill__metadata_u32(m, "rope.dimension_count", d->head_dim);
    r->theta = rill__metadata_real(m, "rope.freq_base", 10000);
    r->scaling = read_kind(m);
    r->factor = rill__metadata_real(
        m, r->scaling == RILL_ROPE_NTK ? ".rill.rope.scaling.factor" : "rope.scaling.factor",
        rill__metadata_real(m, "rope.scale_linear", 1));
    if (r->scaling == RILL_ROPE_DEFAULT && r->factor != 1 && r->factor > 0)
        r->scaling = RILL_ROPE_LINEAR;  // files from before rope.scaling.type
    r->original_context =
        rill__metadata_u32(m, "rope.scaling.original_context_length", d->trained_context);
    r->attention_factor = rill__metadata_real(m, "rope.scaling.attn_factor", 0);
    if (r->scaling == RILL_ROPE_YARN) {
        r->beta_fast = rill__metadata_real(m, "rope.scaling.yarn_beta_fast", 32);
        r->beta_slow = rill__metadata_real(m, "rope.scaling.yarn_beta_slow", 1);
        r->truncate = rill__metadata_bool(m, ".rill.rope.scaling.yarn_truncate", true);
        // Here the factor stands beside YaRN's own magnitude: ggml's rope_yarn.
        if (r->attention_factor != 0 && r->factor > 1)
            r->attention_factor *= 0.1 * log(r->factor) + 1;
    }
    if (r->n_dims > RILL_MAX_HIDDEN) return;  // refused later
    uint32_t pairs = r->n_dims / 2;
    double *factors = read_factors(m, "rope_freqs.weight", pairs);
    if (factors) {
        if (r->scaling != RILL_ROPE_DEFAULT)
            rill__metadata_fail(m, RILL_EUNSUPPORTED, "rope.scaling.type",
                                "a scaling beside the tensor rope_freqs.weight is not known");
        r->scaling = RILL_ROPE_FACTORS;
        r->short_factors = factors;
        return;
    }
    r->short_factors = read_factors(m, "rope_factors_short.weight", pairs);
    r->long_factors = read_factors(m, "rope_factors_long.weight", pairs);
    if (m->status != RILL_OK) return;
    if (!r->short_factors != !r->long_factors ||
        (r->scaling == RILL_ROPE_LONGROPE && !r->long_factors))
        m->status = rill__fail(m->err, RILL_EFORMAT,
                               "%s: tensors 'rope_factors_long.weight' and "
                               "'rope_factors_short.weight': both are right",
                               m->gguf->path);
    else if (r->long_factors)
        r->scaling = RILL_ROPE_LONGROPE;
    if (r->scaling == RILL_ROPE_LONGROPE) r->factor = 1;  // attn_factor says it all
}

// Which layers a window holds in: all, or those that sliding_window_pattern marks (a list of truth
// values, or every n-th layer sees all).
static void read_windows(rill__metadata *m, rill__description *d) {
    uint32_t window = rill__metadata_u32(m, "attention.sliding_window", 0);
    if (window == 0 || m->status != RILL_OK || d->n_layers > RILL_MAX_LAYERS) return;
    d->layer_windows = rill__calloc(d->n_layers, sizeof *d->layer_windows);
    if (!d->layer_windows) {
        m->status =
            rill__fail_memory(m->err, m->gguf->path, d->n_layers * sizeof *d->layer_windows);
        return;
    }
    const rill__gguf_value *pattern = rill__metadata_value(m, "attention.sliding_window_pattern");
    uint32_t period = 0;
    if (pattern && !pattern->is_array)
        period = rill__metadata_u32(m, "attention.sliding_window_pattern", 0);
    else if (pattern && (pattern->type != RILL_GGUF_BOOL || pattern->count != d->n_layers))
        rill__metadata_fail(m, RILL_EFORMAT, "attention.sliding_window_pattern",
                            "a list of %u truth values is right", d->n_layers);
    if (m->status != RILL_OK) return;
    for (uint32_t i = 0; i < d->n_layers; i++) {
        bool windowed = period == 0 || i % period < period - 1;
        if (pattern && pattern->is_array) windowed = pattern->data[i] != 0;
        d->layer_windows[i] = windowed ? window : 0;
    }
}

// GGUF has no key for it: silu behind a gate, gelu without one, if rill's own says nothing.
static void read_activation(rill__metadata *m, rill__description *d) {
    char name[32];
    rill__metadata_text(m, ".rill.feed_forward.activation", name, sizeof name);
    if (strcmp(name, "gelu") == 0)
        d->activation = RILL_ACT_GELU;
    else if (strcmp(name, "gelu_tanh") == 0)
        d->activation = RILL_ACT_GELU_TANH;
    else if (name[0] == '\0')
        d->activation = d->gated ? RILL_ACT_SILU : RILL_ACT_GELU;
    else if (strcmp(name, "silu") == 0)
        d->activation = RILL_ACT_SILU;
    else
        rill__metadata_fail(m, RILL_EUNSUPPORTED, ".rill.feed_forward.activation",
                            "'%s'; silu, gelu and gelu_tanh are known", name);
}

// The norm is the one that has an epsilon.
static void read_norm(rill__metadata *m, rill__description *d) {
    bool layer = rill__metadata_has(m, "attention.layer_norm_epsilon");
    const char *key = layer ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    d->norm = layer ? RILL_NORM_LAYER : RILL_NORM_RMS;
    d->norm_eps = (float)rill__metadata_real(m, key, -1);
    if (d->norm_eps < 0)
        rill__metadata_fail(m, RILL_EFORMAT, key, "a small number, 0.00001 as a rule, is right");
}

// A family has a gate if its tensors have.
static bool has_gate(const rill__family *family) {
    for (const rill__weight_name *name = family->gguf_names; name->name; name++)
        for (uint32_t i = 0; i < name->n_roles; i++)
            if (name->roles[i] == RILL_WEIGHT_GATE) return true;
    return false;
}

void rill__metadata_describe(rill__metadata *m, const rill__family *family, rill__description *d) {
    uint32_t files = rill__metadata_u32(m, ".split.count", 1);
    if (files > 1)
        rill__metadata_fail(m, RILL_EUNSUPPORTED, ".split.count",
                            "one of %u files; all in one (llama-gguf-split --merge) is known",
                            files);
    read_sizes(m, d);
    if (m->status != RILL_OK) return;
    read_norm(m, d);
    double scale = d->head_dim ? 1 / sqrt(d->head_dim) : 0;
    d->attention_scale = (float)rill__metadata_real(m, "attention.scale", scale);
    d->softmax_off_by_one = rill__metadata_bool(m, ".rill.attention.softmax_off_by_one", false);
    d->gated = has_gate(family);
    d->n_experts = rill__metadata_u32(m, "expert_count", 0);
    d->n_experts_used = rill__metadata_u32(m, "expert_used_count", 0);
    if (d->n_experts)
        d->ffn_size = rill__metadata_u32(m, "expert_feed_forward_length", d->ffn_size);
    d->embedding_scale = (float)rill__metadata_real(m, "embedding_scale", 1);
    d->tied_embeddings = rill__gguf_tensor(m->gguf, "output.weight") == NULL;
    read_activation(m, d);
    read_rope(m, d);
    read_xpos(m, d);
    d->rope.interleaved = family->gguf_interleaved;
    read_windows(m, d);
    if (family->read_metadata && m->status == RILL_OK) family->read_metadata(m, d);
}
