// SPDX-License-Identifier: MIT
// What a model's weights amount to: counts, bytes, and the fingerprint that binds a snapshot.
#include "model/weights.h"

#include <string.h>
#include <xxhash.h>

enum { SAMPLE = 4096, SAMPLES = 6 };

typedef struct summary {
    uint64_t bytes_by_type[64];
    rill__model *m;
} summary;

// hash = XXH3(hash, XXH3(data), length): in steps, without a state that would have to be allocated.
static void hash_bytes(uint64_t hash[2], const void *data, size_t bytes) {
    XXH128_hash_t more = XXH3_128bits(data, bytes);
    const uint64_t both[5] = {hash[0], hash[1], more.low64, more.high64, bytes};
    XXH128_hash_t next = XXH3_128bits(both, sizeof both);
    hash[0] = next.low64;
    hash[1] = next.high64;
}

static void hash_number(uint64_t hash[2], uint64_t value) {
    hash_bytes(hash, &value, sizeof value);
}

static void hash_real(uint64_t hash[2], double value) {
    hash_bytes(hash, &value, sizeof value);
}

static void hash_rope(uint64_t hash[2], const rill__rope_description *r) {
    hash_real(hash, r->theta);
    hash_number(hash, r->n_dims);
    hash_number(hash, r->interleaved);
    hash_number(hash, r->scaling);
    const double reals[] = {r->factor,    r->low_freq_factor, r->high_freq_factor,
                            r->beta_fast, r->beta_slow,       r->attention_factor,
                            r->mscale,    r->mscale_all_dim};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) hash_real(hash, reals[i]);
    hash_number(hash, r->original_context);
    hash_number(hash, r->truncate);
    for (uint32_t i = 0; i < r->n_dims / 2; i++) {
        hash_real(hash, r->short_factors ? r->short_factors[i] : 0);
        hash_real(hash, r->long_factors ? r->long_factors[i] : 0);
    }
}

// Everything that changes what is computed, field by field; the model's name does not.
static void hash_description(uint64_t hash[2], const rill__description *d) {
    hash_bytes(hash, d->family, strlen(d->family));
    const uint64_t whole[] = {
        d->n_layers,    d->hidden_size,        d->n_heads,        d->n_kv_heads,
        d->head_dim,    d->ffn_size,           d->vocab_size,     d->trained_context,
        d->norm,        d->residual,           d->post_norms,     d->qk_norm,
        d->sink_logits, d->softmax_off_by_one, d->position,       d->gated,
        d->activation,  d->n_experts,          d->n_experts_used, d->tied_embeddings,
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) hash_number(hash, whole[i]);
    const float reals[] = {d->norm_eps,       d->attention_scale, d->clip_qkv,
                           d->alibi_bias_max, d->embedding_scale, d->logit_cap};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) hash_real(hash, (double)reals[i]);
    for (uint32_t i = 0; i < d->n_layers; i++) hash_number(hash, rill__description_window(d, i));
    hash_rope(hash, &d->rope);
    // What only some models have: nothing here changes the fingerprint of those without.
    if (d->activation == RILL_ACT_CLAMPED_SWIGLU) hash_real(hash, (double)d->activation_limit);
    for (uint32_t i = 0; d->alibi_slopes && i < d->n_heads; i++)
        hash_real(hash, (double)d->alibi_slopes[i]);
    if (d->position == RILL_POSITION_XPOS) hash_real(hash, d->rope.xpos_base);
    if (d->position == RILL_POSITION_XPOS) hash_real(hash, d->rope.xpos_gamma);
    if (d->local_rope) hash_rope(hash, d->local_rope);
}

// The first and the last page, and a few between, so that opening stays fast.
static void hash_data(uint64_t hash[2], const rill__tensor *t) {
    if (t->bytes <= (size_t)SAMPLE * SAMPLES) {
        hash_bytes(hash, t->data, t->bytes);
        return;
    }
    size_t last = t->bytes - SAMPLE;
    for (size_t i = 0; i < SAMPLES; i++)
        hash_bytes(hash, t->data + last / (SAMPLES - 1) * i, SAMPLE);
    hash_bytes(hash, t->data + last, SAMPLE);
}

static void add_tensor(summary *s, const rill__tensor *t) {
    hash_number(s->m->fingerprint, t->data != NULL);
    if (!t->data) return;
    uint64_t count = 1;
    hash_number(s->m->fingerprint, t->type);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        hash_number(s->m->fingerprint, t->shape[i]);
        count *= t->shape[i];
    }
    hash_data(s->m->fingerprint, t);
    s->m->n_parameters += count;
    s->m->weight_bytes += t->bytes;
    s->bytes_by_type[(unsigned)t->type % 64] += t->bytes;
}

void rill__weights_summarise(rill__model *m) {
    summary s = {.m = m};
    m->fingerprint[0] = m->fingerprint[1] = 0;
    hash_description(m->fingerprint, &m->description);
    m->n_parameters = m->weight_bytes = 0;
    size_t n = rill__parameters_count(m->description.n_layers);
    for (size_t i = 0; i < n; i++) {
        add_tensor(&s, &m->parameters[i].weight);
        add_tensor(&s, &m->parameters[i].bias);
    }
    for (unsigned i = 0; i < 64; i++)
        if (s.bytes_by_type[i] > s.bytes_by_type[m->weight_type]) m->weight_type = (rill_type)i;
}
