// SPDX-License-Identifier: MIT
// Metadata of a GGUF file (ggml's docs/gguf.md; keys beyond it as llama.cpp's gguf-py names them).
// What no such key can say goes under "rill.", where rill reads it back.
#include "model/convert.h"
#include "model/mix.h"
#include "model/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// A writer and the prefix of the keys.
typedef struct target {
    rill__gguf_writer *w;
    const char *architecture;
    char key[128];
} target;

static const char *key_of(target *t, const char *name) {
    snprintf(t->key, sizeof t->key, "%s.%s", t->architecture, name);
    return t->key;
}

static void put_u32(target *t, const char *name, uint32_t value) {
    rill__gguf_put_u32(t->w, key_of(t, name), value);
}

static void put_f32(target *t, const char *name, double value) {
    rill__gguf_put_f32(t->w, key_of(t, name), value);
}

static bool begins(const rill__gguf_value *v, const char *prefix) {
    size_t n = strlen(prefix);
    return v->key.length >= n && memcmp(v->key.data, prefix, n) == 0;
}

static bool is_key(const rill__gguf_value *v, const char *key) {
    return v->key.length == strlen(key) && begins(v, key);
}

// What a GGUF source says about itself: author, licence ...; not what the conversion changes.
static void copy_general(rill__gguf_writer *w, const rill__gguf *from) {
    static const char *const own[] = {
        "general.architecture",         "general.name",     "general.type", "general.file_type",
        "general.quantization_version", "general.alignment"};
    for (size_t i = 0; i < from->n_values; i++) {
        bool ours = !begins(&from->values[i], "general.");
        for (size_t j = 0; j < sizeof own / sizeof *own; j++)
            ours = ours || is_key(&from->values[i], own[j]);
        if (!ours) rill__gguf_put_value(w, &from->values[i]);
    }
}

// GGUF has no key for it; what a reader takes without one is its family's.
static void put_activation(target *t, const rill__description *d) {
    static const char *const names[] = {
        [RILL_ACT_SILU] = "silu", [RILL_ACT_GELU] = "gelu", [RILL_ACT_GELU_TANH] = "gelu_tanh"};
    if (d->activation == RILL_ACT_CLAMPED_SWIGLU) return;  // its family's own
    rill__gguf_put_text(t->w, "rill.feed_forward.activation", names[d->activation]);
}

static void put_sizes(target *t, const rill__description *d) {
    put_u32(t, "context_length", d->trained_context);
    put_u32(t, "embedding_length", d->hidden_size);
    put_u32(t, "block_count", d->n_layers);
    put_u32(t, "feed_forward_length", d->ffn_size);
    put_u32(t, "vocab_size", d->vocab_size);
    put_u32(t, "attention.head_count", d->n_heads);
    put_u32(t, "attention.head_count_kv", d->n_kv_heads);
    put_u32(t, "attention.key_length", d->head_dim);
    put_u32(t, "attention.value_length", d->head_dim);
    put_f32(t,
            d->norm == RILL_NORM_LAYER ? "attention.layer_norm_epsilon"
                                       : "attention.layer_norm_rms_epsilon",
            (double)d->norm_eps);
    // Even the plain one: some families have another where nothing is said.
    put_f32(t, "attention.scale", (double)d->attention_scale);
    if (d->softmax_off_by_one) rill__gguf_put_bool(t->w, "rill.attention.softmax_off_by_one", true);
    put_activation(t, d);
}

// What some families have beyond sizes.
static void put_blocks(target *t, const rill__description *d) {
    if (d->residual != RILL_RESIDUAL_SEQUENTIAL)
        rill__gguf_put_bool(t->w, key_of(t, "use_parallel_residual"), true);
    else if (d->norm == RILL_NORM_LAYER)
        rill__gguf_put_bool(t->w, key_of(t, "use_parallel_residual"), false);
    if (d->clip_qkv != 0) put_f32(t, "attention.clamp_kqv", (double)d->clip_qkv);
    if (d->alibi_slopes) put_f32(t, "attention.max_alibi_bias", (double)d->alibi_bias_max);
    if (d->n_experts) {
        put_u32(t, "expert_count", d->n_experts);
        put_u32(t, "expert_used_count", d->n_experts_used);
        put_u32(t, "expert_feed_forward_length", d->ffn_size);
    }
    if (d->embedding_scale != 1) put_f32(t, "embedding_scale", (double)d->embedding_scale);
    if (d->logit_cap != 0) put_f32(t, "final_logit_softcapping", (double)d->logit_cap);
    if (d->activation == RILL_ACT_CLAMPED_SWIGLU)
        rill__gguf_put_f32(t->w, "rill.feed_forward.limit", (double)d->activation_limit);
}

static void put_yarn(target *t, const rill__rope_description *r) {
    double own = r->factor > 1 ? 0.1 * log(r->factor) + 1 : 1;
    double beside = rill__rope_magnitude(r) / own;
    // ggml multiplies this with YaRN's own magnitude.
    if (fabs(beside - 1) > 1e-7) put_f32(t, "rope.scaling.attn_factor", beside);
    put_f32(t, "rope.scaling.yarn_beta_fast", r->beta_fast);
    put_f32(t, "rope.scaling.yarn_beta_slow", r->beta_slow);
    rill__gguf_put_bool(t->w, "rill.rope.scaling.yarn_truncate", r->truncate);
}

static void put_rope(target *t, const rill__description *d) {
    const rill__rope_description *r = &d->rope;
    if (d->position == RILL_POSITION_ALIBI) return;
    if (d->position == RILL_POSITION_XPOS) {
        rill__gguf_put_f32(t->w, "rill.xpos.scale_base", r->xpos_base);
        rill__gguf_put_f32(t->w, "rill.xpos.gamma", r->xpos_gamma);
    }
    if (d->local_rope) put_f32(t, "rope.freq_base_swa", d->local_rope->theta);
    if (d->local_rope && d->local_rope->scaling == RILL_ROPE_LINEAR)
        rill__gguf_put_f32(t->w, "rill.rope_swa.scaling.factor", d->local_rope->factor);
    put_u32(t, "rope.dimension_count", r->n_dims);
    put_f32(t, "rope.freq_base", r->theta);
    switch (r->scaling) {
    case RILL_ROPE_LINEAR:
        rill__gguf_put_text(t->w, key_of(t, "rope.scaling.type"), "linear");
        put_f32(t, "rope.scaling.factor", r->factor);
        break;
    case RILL_ROPE_YARN:
        rill__gguf_put_text(t->w, key_of(t, "rope.scaling.type"), "yarn");
        put_f32(t, "rope.scaling.factor", r->factor);
        put_u32(t, "rope.scaling.original_context_length", r->original_context);
        put_yarn(t, r);
        break;
    case RILL_ROPE_LONGROPE:
        rill__gguf_put_text(t->w, key_of(t, "rope.scaling.type"), "longrope");
        put_u32(t, "rope.scaling.original_context_length", r->original_context);
        put_f32(t, "rope.scaling.attn_factor", rill__rope_magnitude(r));
        break;
    case RILL_ROPE_NTK:
        rill__gguf_put_text(t->w, "rill.rope.scaling.type", "dynamic");
        rill__gguf_put_f32(t->w, "rill.rope.scaling.factor", r->factor);
        break;
    case RILL_ROPE_LLAMA3:   // the tensor rope_freqs says it
    case RILL_ROPE_FACTORS:  // the same
    case RILL_ROPE_DEFAULT: break;
    }
}

// The pattern is said even if all layers have the window: some families have one of their own where
// nothing is said.
static void put_windows(target *t, const rill__description *d) {
    uint32_t window = 0;
    for (uint32_t i = 0; i < d->n_layers; i++) {
        uint32_t w = rill__description_window(d, i);
        if (w) window = w;
    }
    if (window == 0) return;
    put_u32(t, "attention.sliding_window", window);
    rill__gguf_put_array(t->w, key_of(t, "attention.sliding_window_pattern"), RILL_GGUF_BOOL,
                         d->n_layers);
    for (uint32_t i = 0; i < d->n_layers; i++) {
        uint8_t windowed = rill__description_window(d, i) != 0;
        rill__gguf_put_bytes(t->w, &windowed, 1);
    }
}

static void put_id(rill__gguf_writer *w, const char *key, int32_t id) {
    if (id >= 0) rill__gguf_put_u32(w, key, (uint32_t)id);
}

static void put_texts(rill__gguf_writer *w, const char *key, const rill__text *texts, size_t n) {
    rill__gguf_put_array(w, key, RILL_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) rill__gguf_put_string(w, texts[i].data, texts[i].length);
}

static void put_vocabulary(rill__gguf_writer *w, const rill__vocabulary *v) {
    rill__gguf_put_text(w, "tokenizer.ggml.model", v->model);
    rill__gguf_put_text(w, "tokenizer.ggml.pre", v->pre[0] ? v->pre : "default");
    put_texts(w, "tokenizer.ggml.tokens", v->tokens, v->n_tokens);
    if (v->scores && strcmp(v->model, "gpt2") != 0) {
        rill__gguf_put_array(w, "tokenizer.ggml.scores", RILL_GGUF_F32, v->n_tokens);
        rill__gguf_put_bytes(w, v->scores, v->n_tokens * sizeof *v->scores);
    }
    rill__gguf_put_array(w, "tokenizer.ggml.token_type", RILL_GGUF_I32, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++) {
        int32_t kind = v->kinds[i];
        rill__gguf_put_bytes(w, &kind, sizeof kind);
    }
    if (v->n_merges) put_texts(w, "tokenizer.ggml.merges", v->merges, v->n_merges);
    put_id(w, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", v->eos);
    put_id(w, "tokenizer.ggml.unknown_token_id", v->unk);
    put_id(w, "tokenizer.ggml.padding_token_id", v->pad);
    put_id(w, "tokenizer.ggml.eot_token_id", v->eot);
    rill__gguf_put_bool(w, "tokenizer.ggml.add_bos_token", v->add_bos);
    rill__gguf_put_bool(w, "tokenizer.ggml.add_eos_token", v->add_eos);
    if (strcmp(v->model, "gpt2") != 0) {
        rill__gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
        rill__gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces",
                            v->remove_extra_whitespaces);
    }
    if (v->charsmap) {
        rill__gguf_put_array(w, "tokenizer.ggml.precompiled_charsmap", RILL_GGUF_U8,
                             v->charsmap_length);
        rill__gguf_put_bytes(w, v->charsmap, v->charsmap_length);
    }
    if (v->chat_template) rill__gguf_put_text(w, "tokenizer.chat_template", v->chat_template);
}

static rill_status put_tokenizer(rill__gguf_writer *w, const rill__model *m, rill_error *err) {
    const rill__source *s = m->file.source;
    if (!m->tokenizer) {
        rill__gguf_put_text(w, "tokenizer.ggml.model", "none");
        return RILL_OK;
    }
    if (s->is_gguf) {
        for (size_t i = 0; i < s->gguf.n_values; i++)
            if (begins(&s->gguf.values[i], "tokenizer."))
                rill__gguf_put_value(w, &s->gguf.values[i]);
        return RILL_OK;
    }
    rill__vocabulary v;
    rill_status status = rill__tokenizer_export(m->tokenizer, m->description.vocab_size, &v, err);
    if (status != RILL_OK) return status;
    put_vocabulary(w, &v);
    rill__vocabulary_deinit(&v);
    return RILL_OK;
}

rill_status rill__convert_metadata(rill__gguf_writer *w, const rill__model *m,
                                   const rill__family *family, rill_type type, rill_mix mix,
                                   rill_error *err) {
    target t = {.w = w, .architecture = family->architecture};
    const rill__description *d = &m->description;
    if (d->local_rope && d->local_rope->scaling != RILL_ROPE_DEFAULT &&
        d->local_rope->scaling != RILL_ROPE_LINEAR)
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "%s: rope: layers with a window whose positions are scaled other than "
                          "linearly; GGUF has no way to say it",
                          m->file.source->path);
    rill__gguf_put_text(w, "general.architecture", family->architecture);
    rill__gguf_put_text(w, "general.type", "model");
    rill__gguf_put_text(w, "general.name", d->name);
    if (m->file.source->is_gguf) copy_general(w, &m->file.source->gguf);
    rill__gguf_put_u32(w, "general.file_type", rill__mix_file_type(type, mix));
    if (rill__type_traits_get(type)->block > 1)
        rill__gguf_put_u32(w, "general.quantization_version", 2);
    put_sizes(&t, d);
    put_blocks(&t, d);
    put_rope(&t, d);
    put_windows(&t, d);
    return put_tokenizer(w, m, err);
}

// The divisors that turn the plain frequencies into these.
static void find_factors(const rill__description *d, uint64_t capacity, float *out) {
    rill__rope_description plain = {.theta = d->rope.theta, .n_dims = d->rope.n_dims};
    for (uint32_t i = 0; i < d->rope.n_dims / 2; i++)
        out[i] = (float)(rill__rope_frequency(&plain, d->trained_context, capacity, i) /
                         rill__rope_frequency(&d->rope, d->trained_context, capacity, i));
}

rill_status rill__convert_rope(const rill__description *d, rill__rope_tensor tensors[2], size_t *n,
                               rill_error *err) {
    const rill__rope_description *r = &d->rope;
    *n = 0;
    if (r->scaling == RILL_ROPE_LLAMA3 || r->scaling == RILL_ROPE_FACTORS) {
        tensors[(*n)++] = (rill__rope_tensor){.name = "rope_freqs.weight"};
    } else if (r->scaling == RILL_ROPE_LONGROPE) {
        tensors[(*n)++] = (rill__rope_tensor){.name = "rope_factors_short.weight"};
        tensors[(*n)++] = (rill__rope_tensor){.name = "rope_factors_long.weight"};
    }
    for (size_t i = 0; i < *n; i++) {
        tensors[i].n = r->n_dims / 2;
        tensors[i].values = rill__calloc(tensors[i].n, sizeof *tensors[i].values);
        if (!tensors[i].values) {
            return rill__fail_memory(err, tensors[i].name, tensors[i].n * sizeof(float));
        }
        // Up to the original context short, past it long.
        find_factors(d, i == 0 ? 1 : (uint64_t)r->original_context + 1, tensors[i].values);
    }
    return RILL_OK;
}
