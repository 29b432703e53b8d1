// SPDX-License-Identifier: MIT
// Checks a description before anything is computed from it.
#include "model/description.h"

#include "format/types.h"

#include <math.h>
#include <string.h>

enum {
    MAX_HEADS = 4096,
    MAX_HEAD_DIM = 4096,
    MAX_FFN = 1 << 20,
    MAX_CONTEXT = 1 << 30,
    MAX_EXPERTS = 1024,
};

void rill__description_deinit(rill__description *d) {
    rill__free(d->layer_windows);
    rill__free(d->alibi_slopes);
    rill__free(d->rope.short_factors);
    rill__free(d->rope.long_factors);
    if (d->local_rope) {
        rill__free(d->local_rope->short_factors);
        rill__free(d->local_rope->long_factors);
    }
    rill__free(d->local_rope);
    memset(d, 0, sizeof *d);
}

uint32_t rill__description_window(const rill__description *d, uint32_t layer) {
    return d->layer_windows ? d->layer_windows[layer] : 0;
}

rill_status rill__alibi_slopes(rill__description *d, float bias_max, float scale, bool rounded,
                               rill_error *err) {
    if (d->n_heads < 1 || d->n_heads > MAX_HEADS) return RILL_OK;  // refused later
    d->alibi_slopes = rill__calloc(d->n_heads, sizeof *d->alibi_slopes);
    if (!d->alibi_slopes)
        return rill__fail_memory(err, "slopes", d->n_heads * sizeof *d->alibi_slopes);
    d->position = RILL_POSITION_ALIBI;
    d->rope.n_dims = 0;
    d->alibi_bias_max = bias_max;
    uint32_t power = 1;
    while (power * 2 <= d->n_heads) power *= 2;
    for (uint32_t i = 0; i < d->n_heads; i++) {
        double step = i < power ? (i + 1.0) / power : (2 * (i - power) + 1.0) / (2 * power);
        float slope = (float)exp2(-(double)bias_max * step);
        if (rounded) slope = rill__bf16_to_f32(rill__f32_to_bf16(slope));
        d->alibi_slopes[i] = slope * scale;
    }
    return RILL_OK;
}

static rill_status check_sizes(const rill__description *d, const char *source, rill_error *err) {
    const struct {
        const char *name;
        uint32_t value, most;
    } sizes[] = {
        {"layers", d->n_layers, RILL_MAX_LAYERS},
        {"hidden size", d->hidden_size, RILL_MAX_HIDDEN},
        {"heads", d->n_heads, MAX_HEADS},
        {"key-value heads", d->n_kv_heads, d->n_heads < MAX_HEADS ? d->n_heads : MAX_HEADS},
        {"head size", d->head_dim, MAX_HEAD_DIM},
        {"feed-forward size", d->ffn_size, MAX_FFN},
        {"vocabulary", d->vocab_size, RILL_MAX_VOCABULARY},
        {"trained context", d->trained_context, MAX_CONTEXT},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].most)
            return rill__fail(err, RILL_EFORMAT, "%s: %s: %u; 1 to %u is right", source,
                              sizes[i].name, sizes[i].value, sizes[i].most);
    if (d->n_heads % d->n_kv_heads != 0)
        return rill__fail(err, RILL_EFORMAT,
                          "%s: key-value heads: %u; a number that divides the %u heads is right",
                          source, d->n_kv_heads, d->n_heads);
    return RILL_OK;
}

static bool within(double value, double low, double high) {
    return value >= low && value <= high;
}

static rill_status check_factors(const double *factors, uint32_t n, const char *source,
                                 rill_error *err) {
    for (uint32_t i = 0; i < n; i++)
        if (!factors || !within(factors[i], 1e-6, 1e6))
            return rill__fail(err, RILL_EFORMAT,
                              "%s: rope: factor of pair %u: 0.000001 to 1000000 is right", source,
                              i);
    return RILL_OK;
}

// The bounds keep every quotient, logarithm and power of rope.c finite.
static rill_status check_rope(const rill__rope_description *r, uint32_t head_dim,
                              const char *source, rill_error *err) {
    if (r->n_dims < 2 || r->n_dims > head_dim || r->n_dims % 2 != 0)
        return rill__fail(err, RILL_EFORMAT,
                          "%s: rope: %u rotated dimensions; an even number up to the head's %u is "
                          "right",
                          source, r->n_dims, head_dim);
    bool scaled = r->scaling != RILL_ROPE_DEFAULT && r->scaling != RILL_ROPE_FACTORS;
    bool trained = r->scaling == RILL_ROPE_LLAMA3 || r->scaling == RILL_ROPE_YARN ||
                   r->scaling == RILL_ROPE_LONGROPE;
    const struct {
        const char *name;
        double value, low, high;
        bool used;
    } numbers[] = {
        {"theta", r->theta, 1.001, 1e15, true},
        {"factor", r->factor, r->scaling == RILL_ROPE_NTK ? 1 : 1e-3, 1e6, scaled},
        {"original context", r->original_context, 2, MAX_CONTEXT, trained},
        {"low_freq_factor", r->low_freq_factor, 1e-6, 1e6, r->scaling == RILL_ROPE_LLAMA3},
        {"high_freq_factor", r->high_freq_factor, r->low_freq_factor * 1.000001, 1e6,
         r->scaling == RILL_ROPE_LLAMA3},
        {"beta_slow", r->beta_slow, 1e-6, 1e6, r->scaling == RILL_ROPE_YARN},
        {"beta_fast", r->beta_fast, r->beta_slow, 1e6, r->scaling == RILL_ROPE_YARN},
        {"attention_factor", r->attention_factor, 0, 1e3, true},
        {"mscale", r->mscale, 0, 1e3, true},
        {"mscale_all_dim", r->mscale_all_dim, 0, 1e3, true},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].used && !within(numbers[i].value, numbers[i].low, numbers[i].high))
            return rill__fail(err, RILL_EFORMAT, "%s: rope: %s: %g; %g to %g is right", source,
                              numbers[i].name, numbers[i].value, numbers[i].low, numbers[i].high);
    rill_status status = RILL_OK;
    if (r->scaling == RILL_ROPE_LONGROPE || r->scaling == RILL_ROPE_FACTORS)
        status = check_factors(r->short_factors, r->n_dims / 2, source, err);
    if (status == RILL_OK && r->scaling == RILL_ROPE_LONGROPE)
        status = check_factors(r->long_factors, r->n_dims / 2, source, err);
    return status;
}

static rill_status check_xpos(const rill__rope_description *r, const char *source,
                              rill_error *err) {
    if (!within(r->xpos_base, 1, 1e6))
        return rill__fail(err, RILL_EFORMAT, "%s: xPos: scale base: %g; 1 to 1000000 is right",
                          source, r->xpos_base);
    if (!within(r->xpos_gamma, 1e-3, 1e3))
        return rill__fail(err, RILL_EFORMAT, "%s: xPos: gamma: %g; 0.001 to 1000 is right", source,
                          r->xpos_gamma);
    return RILL_OK;
}

static rill_status check_positions(const rill__description *d, const char *source,
                                   rill_error *err) {
    if (d->position == RILL_POSITION_ALIBI) {
        for (uint32_t i = 0; i < d->n_heads; i++)
            if (!d->alibi_slopes || !within(d->alibi_slopes[i], 0, 1e3))
                return rill__fail(err, RILL_EFORMAT,
                                  "%s: ALiBi: slope of head %u: 0 to 1000 is right", source, i);
        return RILL_OK;
    }
    rill_status status = check_rope(&d->rope, d->head_dim, source, err);
    if (status == RILL_OK && d->local_rope)
        status = check_rope(d->local_rope, d->head_dim, source, err);
    if (status == RILL_OK && d->local_rope &&
        (d->local_rope->n_dims != d->rope.n_dims ||
         d->local_rope->interleaved != d->rope.interleaved))
        status = rill__fail(err, RILL_EUNSUPPORTED,
                            "%s: rope: layers with a window that rotate other dimensions", source);
    if (status == RILL_OK && d->local_rope && d->position == RILL_POSITION_XPOS)
        status = rill__fail(err, RILL_EUNSUPPORTED,
                            "%s: xPos: layers with a RoPE of their own are not known", source);
    if (status == RILL_OK && d->position == RILL_POSITION_XPOS)
        status = check_xpos(&d->rope, source, err);
    return status;
}

static rill_status check_experts(const rill__description *d, const char *source, rill_error *err) {
    if (d->n_experts > MAX_EXPERTS)
        return rill__fail(err, RILL_EFORMAT, "%s: experts: %u; at most %d is right", source,
                          d->n_experts, MAX_EXPERTS);
    if (d->n_experts > 0 && (d->n_experts_used < 1 || d->n_experts_used > d->n_experts))
        return rill__fail(err, RILL_EFORMAT, "%s: experts used: %u; 1 to the %u there are is right",
                          source, d->n_experts_used, d->n_experts);
    if (d->n_experts > 0 && !d->gated)
        return rill__fail(err, RILL_EUNSUPPORTED, "%s: experts without a gate", source);
    if (d->activation == RILL_ACT_CLAMPED_SWIGLU &&
        !(d->gated && within(d->activation_limit, 1e-3, 1e6)))
        return rill__fail(err, RILL_EFORMAT, "%s: limit of the activation: %g; above 0 is right",
                          source, (double)d->activation_limit);
    return RILL_OK;
}

rill_status rill__description_check(const rill__description *d, const char *source,
                                    rill_error *err) {
    rill_status status = check_sizes(d, source, err);
    if (status == RILL_OK) status = check_positions(d, source, err);
    if (status == RILL_OK) status = check_experts(d, source, err);
    if (status != RILL_OK) return status;
    if (!within(d->norm_eps, 0, 1))
        return rill__fail(err, RILL_EFORMAT, "%s: epsilon of the norms: %g; 0 to 1 is right",
                          source, (double)d->norm_eps);
    if (!within(d->attention_scale, 1e-6, 1e3) || !within(d->embedding_scale, 1e-6, 1e6))
        return rill__fail(err, RILL_EFORMAT,
                          "%s: scale of attention %g, of embeddings %g: that makes no sense",
                          source, (double)d->attention_scale, (double)d->embedding_scale);
    if (!within(d->clip_qkv, 0, 1e6) || !within(d->logit_cap, 0, 1e6))
        return rill__fail(err, RILL_EFORMAT,
                          "%s: bound of projections %g, of logits %g; 0 (none) to 1000000 is right",
                          source, (double)d->clip_qkv, (double)d->logit_cap);
    return RILL_OK;
}
