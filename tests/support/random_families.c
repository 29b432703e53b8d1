// SPDX-License-Identifier: MIT
// One function a family. Layouts are written down a second time here, not taken from src/model.
#include "support/random_families.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is(const random_shape *s, const char *family) {
    return strcmp(s->family, family) == 0;
}

static bool coin(test_random *r) {
    return test_random_between(r, 0, 1);
}

static const char *truth(bool value) {
    return value ? "true" : "false";
}

// ---- Tensors by kind ------------------------------------------------------------------------

static void named(random_files *f, const char *prefix, const char *name, const uint32_t shape[4],
                  double middle) {
    char whole[128];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    random_tensor(f, whole, shape, middle);
}

static void matrix(random_files *f, const char *prefix, const char *name, uint32_t rows,
                   uint32_t columns) {
    named(f, prefix, name, (const uint32_t[4]){rows, columns}, 0);
}

static void bias(random_files *f, const char *prefix, const char *name, uint32_t n) {
    named(f, prefix, name, (const uint32_t[4]){n}, 0);
}

static void norm(random_files *f, const char *prefix, const char *name, uint32_t n) {
    named(f, prefix, name, (const uint32_t[4]){n}, 1);
}

// ---- Families of Llama's kind ---------------------------------------------------------------

static void llama_layer(random_files *f, const char *p) {
    const random_shape *s = f->shape;
    uint32_t queries = s->n_heads * s->head_dim, keys = s->n_kv_heads * s->head_dim;
    norm(f, p, "input_layernorm.weight", s->hidden_size);
    matrix(f, p, "self_attn.q_proj.weight", queries, s->hidden_size);
    matrix(f, p, "self_attn.k_proj.weight", keys, s->hidden_size);
    matrix(f, p, "self_attn.v_proj.weight", keys, s->hidden_size);
    bool biased = is(s, "llama") && s->kind == 1;
    if (is(s, "qwen2") || biased) {
        bias(f, p, "self_attn.q_proj.bias", queries);
        bias(f, p, "self_attn.k_proj.bias", keys);
        bias(f, p, "self_attn.v_proj.bias", keys);
    }
    if (biased) {
        bias(f, p, "self_attn.o_proj.bias", s->hidden_size);
        bias(f, p, "mlp.gate_proj.bias", s->ffn_size);
        bias(f, p, "mlp.up_proj.bias", s->ffn_size);
        bias(f, p, "mlp.down_proj.bias", s->hidden_size);
    }
    if (is(s, "qwen3")) {
        norm(f, p, "self_attn.q_norm.weight", s->head_dim);
        norm(f, p, "self_attn.k_norm.weight", s->head_dim);
    }
    matrix(f, p, "self_attn.o_proj.weight", s->hidden_size, queries);
    norm(f, p, "post_attention_layernorm.weight", s->hidden_size);
    matrix(f, p, "mlp.gate_proj.weight", s->ffn_size, s->hidden_size);
    matrix(f, p, "mlp.up_proj.weight", s->ffn_size, s->hidden_size);
    matrix(f, p, "mlp.down_proj.weight", s->hidden_size, s->ffn_size);
}

// What all families with Llama's settings have in config.json.
static void common_settings(random_files *f) {
    const random_shape *s = f->shape;
    random_setting(f,
                   "\"hidden_size\":%u,\"intermediate_size\":%u,\"num_hidden_layers\":%u,"
                   "\"num_attention_heads\":%u,\"num_key_value_heads\":%u,\"head_dim\":%u,"
                   "\"vocab_size\":%u,\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-05,"
                   "\"tie_word_embeddings\":%s",
                   s->hidden_size, s->ffn_size, s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim,
                   s->vocab_size, s->trained_context, truth(s->tied));
    if (s->trained_window)
        random_setting(f, "\"sliding_window\":%u", s->trained_window);
    else
        random_setting(f, "\"sliding_window\":null");
}

// One of the scalings that need nothing but numbers.
static void scaling(random_files *f) {
    static const char *const kinds[] = {
        "\"default\"", "\"linear\",\"factor\":4.0", "\"dynamic\",\"factor\":2.0",
        ("\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
         "\"original_max_position_embeddings\":16"),
        "\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":8"};
    random_setting(f, "\"rope_theta\":10000.0,\"rope_scaling\":{\"rope_type\":%s}",
                   kinds[test_random_between(f->random, 0, 4)]);
}

static void llama(random_files *f, const char *prefix, uint32_t layer) {
    const random_shape *s = f->shape;
    llama_layer(f, prefix);
    if (layer > 0) return;
    common_settings(f);
    random_setting(f, "\"softmax_off_by_one\":%s", truth(s->off_by_one));
    if (is(s, "llama"))
        random_setting(f, "\"attention_bias\":%s,\"mlp_bias\":%s", truth(s->kind == 1),
                       truth(s->kind == 1));
    if (!s->xpos)
        scaling(f);
    else
        random_setting(f,
                       "\"rope_parameters\":{\"rope_type\":\"xpos\",\"rope_theta\":10000.0,"
                       "\"xpos_scale_base\":%u,\"xpos_gamma\":0.4}",
                       test_random_between(f->random, 16, 512));
}

// ---- Phi-3 ----------------------------------------------------------------------------------

static void factors(random_files *f, const char *name, uint32_t n, char *out, size_t capacity) {
    size_t length = (size_t)snprintf(out, capacity, ",\"%s\":[", name);
    for (uint32_t i = 0; i < n; i++)
        length += (size_t)snprintf(out + length, capacity - length, "%s%u.5", i ? "," : "",
                                   test_random_between(f->random, 1, 9));
    snprintf(out + length, capacity - length, "]");
}

static void phi3(random_files *f, const char *p, uint32_t layer) {
    const random_shape *s = f->shape;
    uint32_t queries = s->n_heads * s->head_dim, keys = s->n_kv_heads * s->head_dim;
    norm(f, p, "input_layernorm.weight", s->hidden_size);
    matrix(f, p, "self_attn.qkv_proj.weight", queries + 2 * keys, s->hidden_size);
    matrix(f, p, "self_attn.o_proj.weight", s->hidden_size, queries);
    norm(f, p, "post_attention_layernorm.weight", s->hidden_size);
    matrix(f, p, "mlp.gate_up_proj.weight", 2 * s->ffn_size, s->hidden_size);
    matrix(f, p, "mlp.down_proj.weight", s->hidden_size, s->ffn_size);
    if (layer > 0) return;
    common_settings(f);
    uint32_t pairs = test_random_between(f->random, 1, s->head_dim / 2);
    random_setting(f, "\"partial_rotary_factor\":%.9g", fmin(1, (2 * pairs + 0.25) / s->head_dim));
    if (s->kind == 0) return;
    char small[256], large[256];
    factors(f, "short_factor", pairs, small, sizeof small);
    factors(f, "long_factor", pairs, large, sizeof large);
    random_setting(f,
                   "\"original_max_position_embeddings\":%u,"
                   "\"rope_scaling\":{\"type\":\"longrope\"%s%s}",
                   test_random_between(f->random, 4, 32), small, large);
}

// ---- GPT-NeoX -------------------------------------------------------------------------------

static void gpt_neox(random_files *f, const char *p, uint32_t layer) {
    const random_shape *s = f->shape;
    uint32_t h = s->hidden_size;
    norm(f, p, "input_layernorm.weight", h);
    bias(f, p, "input_layernorm.bias", h);
    matrix(f, p, "attention.query_key_value.weight", 3 * h, h);
    matrix(f, p, "attention.dense.weight", h, h);
    if (s->kind == 0) {
        bias(f, p, "attention.query_key_value.bias", 3 * h);
        bias(f, p, "attention.dense.bias", h);
    }
    norm(f, p, "post_attention_layernorm.weight", h);
    bias(f, p, "post_attention_layernorm.bias", h);
    matrix(f, p, "mlp.dense_h_to_4h.weight", s->ffn_size, h);
    bias(f, p, "mlp.dense_h_to_4h.bias", s->ffn_size);
    matrix(f, p, "mlp.dense_4h_to_h.weight", h, s->ffn_size);
    bias(f, p, "mlp.dense_4h_to_h.bias", h);
    if (layer > 0) return;
    bias(f, "gpt_neox.", "final_layer_norm.bias", h);
    common_settings(f);
    uint32_t rotated = 2 * test_random_between(f->random, 1, s->head_dim / 2);
    random_setting(f,
                   "\"use_parallel_residual\":%s,\"layer_norm_eps\":1e-05,\"rotary_pct\":%.9g,"
                   "\"hidden_act\":\"%s\",\"attention_bias\":%s",
                   truth(coin(f->random)), fmin(1, (rotated + 0.25) / s->head_dim),
                   coin(f->random) ? "gelu" : "gelu_new", truth(s->kind == 0));
}

// ---- Falcon ---------------------------------------------------------------------------------

static void falcon(random_files *f, const char *p, uint32_t layer) {
    const random_shape *s = f->shape;
    uint32_t h = s->hidden_size, fused = (s->n_heads + 2 * s->n_kv_heads) * s->head_dim;
    // RW, 7B, 40B, and Falcon 2's 11B: groups with one norm for both.
    bool rw = s->kind == 0, new_architecture = s->kind >= 2;
    if (s->kind == 2) {
        norm(f, p, "ln_attn.weight", h);
        bias(f, p, "ln_attn.bias", h);
        norm(f, p, "ln_mlp.weight", h);
        bias(f, p, "ln_mlp.bias", h);
    } else {
        norm(f, p, "input_layernorm.weight", h);
        bias(f, p, "input_layernorm.bias", h);
    }
    matrix(f, p, "self_attention.query_key_value.weight", fused, h);
    matrix(f, p, "self_attention.dense.weight", h, h);
    matrix(f, p, "mlp.dense_h_to_4h.weight", s->ffn_size, h);
    matrix(f, p, "mlp.dense_4h_to_h.weight", h, s->ffn_size);
    if (rw) {
        norm(f, p, "post_attention_layernorm.weight", h);
        bias(f, p, "post_attention_layernorm.bias", h);
        bias(f, p, "self_attention.query_key_value.bias", fused);
        bias(f, p, "self_attention.dense.bias", h);
        bias(f, p, "mlp.dense_h_to_4h.bias", s->ffn_size);
        bias(f, p, "mlp.dense_4h_to_h.bias", h);
    }
    if (layer > 0) return;
    bias(f, "transformer.", "ln_f.bias", h);
    common_settings(f);
    random_setting(f,
                   "\"alibi\":%s,\"bias\":%s,\"multi_query\":%s,\"parallel_attn\":%s,"
                   "\"new_decoder_architecture\":%s,\"num_kv_heads\":%u,\"ffn_hidden_size\":%u",
                   truth(rw), truth(rw), truth(!rw), truth(!rw), truth(new_architecture),
                   s->n_kv_heads, s->ffn_size);
    if (s->kind == 3) random_setting(f, "\"num_ln_in_parallel_attn\":1");
}

// ---- MPT ------------------------------------------------------------------------------------

// A layer norm or a matrix, and its bias if there are any.
static void mpt_part(random_files *f, const char *p, const char *name, uint32_t rows,
                     uint32_t columns) {
    char whole[64];
    snprintf(whole, sizeof whole, "%s.weight", name);
    if (columns)
        matrix(f, p, whole, rows, columns);
    else
        norm(f, p, whole, rows);
    snprintf(whole, sizeof whole, "%s.bias", name);
    if (f->shape->kind == 2) bias(f, p, whole, rows);
}

static void mpt(random_files *f, const char *p, uint32_t layer) {
    const random_shape *s = f->shape;
    uint32_t h = s->hidden_size, keys = s->n_kv_heads * s->head_dim;
    bool normed = s->kind > 0, biased = s->kind == 2;
    mpt_part(f, p, "norm_1", h, 0);
    mpt_part(f, p, "attn.Wqkv", h + 2 * keys, h);
    mpt_part(f, p, "attn.out_proj", h, h);
    if (normed) {
        mpt_part(f, p, "attn.q_ln", h, 0);
        mpt_part(f, p, "attn.k_ln", keys, 0);
    }
    mpt_part(f, p, "norm_2", h, 0);
    mpt_part(f, p, "ffn.up_proj", s->ffn_size, h);
    mpt_part(f, p, "ffn.down_proj", h, s->ffn_size);
    if (layer > 0) return;
    if (biased) bias(f, "transformer.", "norm_f.bias", h);
    char clip[32] = "null";
    if (coin(f->random)) snprintf(clip, sizeof clip, "0.%u", test_random_between(f->random, 3, 9));
    random_setting(f,
                   "\"d_model\":%u,\"n_heads\":%u,\"n_layers\":%u,\"vocab_size\":%u,"
                   "\"max_seq_len\":%u,\"tie_word_embeddings\":%s,\"no_bias\":%s,"
                   "\"attn_config\":{\"alibi\":true,\"alibi_bias_max\":%u,\"clip_qkv\":%s,"
                   "\"qk_ln\":%s,\"attn_type\":\"grouped_query_attention\",\"kv_n_heads\":%u}",
                   h, s->n_heads, s->n_layers, s->vocab_size, s->trained_context, truth(s->tied),
                   truth(!biased), test_random_between(f->random, 2, 10), clip, truth(normed),
                   s->n_kv_heads);
}

// ---- Gemma 3 --------------------------------------------------------------------------------

// Norms' weights are less 1.
static void gemma_norm(random_files *f, const char *prefix, const char *name, uint32_t n) {
    named(f, prefix, name, (const uint32_t[4]){n}, 0);
}

static void layer_types(random_files *f) {
    char list[512] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < f->shape->n_layers; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s\"%s_attention\"", i ? "," : "",
                              coin(f->random) ? "sliding" : "full");
    random_setting(f, "\"layer_types\":[%s]", list);
}

static void gemma3(random_files *f, const char *p, uint32_t layer) {
    static const char *const activations[] = {"gelu_pytorch_tanh", "gelu", "silu"};
    const random_shape *s = f->shape;
    uint32_t queries = s->n_heads * s->head_dim, keys = s->n_kv_heads * s->head_dim;
    uint32_t h = s->hidden_size;
    gemma_norm(f, p, "input_layernorm.weight", h);
    matrix(f, p, "self_attn.q_proj.weight", queries, h);
    matrix(f, p, "self_attn.k_proj.weight", keys, h);
    matrix(f, p, "self_attn.v_proj.weight", keys, h);
    gemma_norm(f, p, "self_attn.q_norm.weight", s->head_dim);
    gemma_norm(f, p, "self_attn.k_norm.weight", s->head_dim);
    matrix(f, p, "self_attn.o_proj.weight", h, queries);
    gemma_norm(f, p, "post_attention_layernorm.weight", h);
    gemma_norm(f, p, "pre_feedforward_layernorm.weight", h);
    matrix(f, p, "mlp.gate_proj.weight", s->ffn_size, h);
    matrix(f, p, "mlp.up_proj.weight", s->ffn_size, h);
    matrix(f, p, "mlp.down_proj.weight", h, s->ffn_size);
    gemma_norm(f, p, "post_feedforward_layernorm.weight", h);
    if (layer > 0) return;
    common_settings(f);
    layer_types(f);
    random_setting(f,
                   "\"query_pre_attn_scalar\":%u,\"rope_parameters\":{\"full_attention\":"
                   "{\"rope_type\":\"linear\",\"factor\":8.0,\"rope_theta\":1000000.0},"
                   "\"sliding_attention\":{\"rope_type\":\"%s\",\"factor\":2.0,"
                   "\"rope_theta\":10000.0}},\"hidden_activation\":\"%s\"",
                   s->query_scalar, coin(f->random) ? "default" : "linear",
                   activations[test_random_between(f->random, 0, 2)]);
    if (coin(f->random)) random_setting(f, "\"final_logit_softcapping\":5.0");
}

// ---- gpt-oss --------------------------------------------------------------------------------

// All experts' matrices of [rows, columns]: turned, as floats, or packed as MXFP4.
static void experts(random_files *f, const char *p, const char *name, uint32_t rows,
                    uint32_t columns) {
    uint32_t e = f->shape->n_experts;
    char whole[128];
    if (f->shape->kind == 0) {
        named(f, p, name, (const uint32_t[4]){e, columns, rows}, 0);
        return;
    }
    snprintf(whole, sizeof whole, "%s%s_blocks", p, name);
    random_bytes(f, whole, (const uint32_t[4]){e, rows, columns / 32, 16}, 0, 255);
    // Powers of two from 2^-7 to 2^-4: numbers up to 6 times that.
    snprintf(whole, sizeof whole, "%s%s_scales", p, name);
    random_bytes(f, whole, (const uint32_t[4]){e, rows, columns / 32}, 120, 123);
}

static void gpt_oss(random_files *f, const char *p, uint32_t layer) {
    const random_shape *s = f->shape;
    uint32_t queries = s->n_heads * s->head_dim, keys = s->n_kv_heads * s->head_dim;
    uint32_t h = s->hidden_size, e = s->n_experts;
    norm(f, p, "input_layernorm.weight", h);
    matrix(f, p, "self_attn.q_proj.weight", queries, h);
    matrix(f, p, "self_attn.k_proj.weight", keys, h);
    matrix(f, p, "self_attn.v_proj.weight", keys, h);
    matrix(f, p, "self_attn.o_proj.weight", h, queries);
    bias(f, p, "self_attn.q_proj.bias", queries);
    bias(f, p, "self_attn.k_proj.bias", keys);
    bias(f, p, "self_attn.v_proj.bias", keys);
    bias(f, p, "self_attn.o_proj.bias", h);
    bias(f, p, "self_attn.sinks", s->n_heads);
    norm(f, p, "post_attention_layernorm.weight", h);
    matrix(f, p, "mlp.router.weight", e, h);
    bias(f, p, "mlp.router.bias", e);
    experts(f, p, "mlp.experts.gate_up_proj", 2 * s->ffn_size, h);
    matrix(f, p, "mlp.experts.gate_up_proj_bias", e, 2 * s->ffn_size);
    experts(f, p, "mlp.experts.down_proj", h, s->ffn_size);
    matrix(f, p, "mlp.experts.down_proj_bias", e, h);
    if (layer > 0) return;
    common_settings(f);
    layer_types(f);
    random_setting(f,
                   "\"num_local_experts\":%u,\"num_experts_per_tok\":%u,\"swiglu_limit\":%.9g,"
                   "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"truncate\":%s,"
                   "\"rope_theta\":150000.0,\"original_max_position_embeddings\":16}",
                   e, test_random_between(f->random, 1, e), s->limit, truth(coin(f->random)));
    if (s->kind == 1) random_setting(f, "\"quantization_config\":{\"quant_method\":\"mxfp4\"}");
}

// ---- The table ------------------------------------------------------------------------------

static const struct {
    const char *name;
    const char *layer;  // what a layer's tensors begin with
    const char *embedding, *output, *norm;
    double norm_middle;
    // A layer's tensors, and with the first one the settings.
    void (*fill)(random_files *f, const char *prefix, uint32_t layer);
} families[] = {
    {"llama", "model.layers.", "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
     1, llama},
    {"qwen2", "model.layers.", "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
     1, llama},
    {"qwen3", "model.layers.", "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
     1, llama},
    {"mistral", "model.layers.", "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
     1, llama},
    {"phi3", "model.layers.", "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", 1,
     phi3},
    {"gpt_neox", "gpt_neox.layers.", "gpt_neox.embed_in.weight", "embed_out.weight",
     "gpt_neox.final_layer_norm.weight", 1, gpt_neox},
    {"falcon", "transformer.h.", "transformer.word_embeddings.weight", "lm_head.weight",
     "transformer.ln_f.weight", 1, falcon},
    {"mpt", "transformer.blocks.", "transformer.wte.weight", "lm_head.weight",
     "transformer.norm_f.weight", 1, mpt},
    {"gemma3_text", "model.layers.", "model.embed_tokens.weight", "lm_head.weight",
     "model.norm.weight", 0, gemma3},
    {"gpt_oss", "model.layers.", "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
     1, gpt_oss},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

const char *random_family_name(size_t index) {
    return index < N_FAMILIES ? families[index].name : NULL;
}

void random_family_fit(test_random *r, random_shape *s) {
    bool heads_fill = is(s, "qwen2") || is(s, "gpt_neox") || is(s, "falcon") || is(s, "mpt");
    s->kind = test_random_between(r, 0, is(s, "falcon") ? 3 : is(s, "mpt") ? 2 : 1);
    if (is(s, "falcon") && s->kind == 1) s->n_kv_heads = 1;
    if (is(s, "gpt_neox") || (is(s, "falcon") && s->kind == 0)) s->n_kv_heads = s->n_heads;
    if (heads_fill) s->hidden_size = s->n_heads * s->head_dim;
    if (is(s, "mpt")) s->ffn_size = 4 * s->hidden_size;
    if ((is(s, "mistral") && coin(r)) || is(s, "gemma3_text") || is(s, "gpt_oss"))
        s->trained_window = test_random_between(r, 1, 24);
    s->off_by_one = is(s, "llama") && test_random_between(r, 0, 3) == 0;
    s->xpos = is(s, "llama") && test_random_between(r, 0, 1) == 0;
    s->n_experts = is(s, "gpt_oss") ? test_random_between(r, 1, 5) : 0;
    s->limit = s->n_experts ? test_random_between(r, 1, 56) / 8.0 : 0;
    s->query_scalar = is(s, "gemma3_text") ? test_random_between(r, 4, 40) : 0;
    if (s->query_scalar == s->head_dim) s->query_scalar++;
    // Behind the norm after a block of one number or two, only their signs are left.
    if (is(s, "gemma3_text") && s->ffn_size < 8) s->ffn_size += 8;
    if (s->n_experts && s->kind == 1) {  // MXFP4's blocks are 32 values
        s->hidden_size = 32 * test_random_between(r, 1, 2);
        s->ffn_size = 32 * test_random_between(r, 1, 3);
    }
}

void random_family_fill(random_files *f) {
    const random_shape *s = f->shape;
    size_t i = 0;
    while (!is(s, families[i].name))
        if (++i == N_FAMILIES) abort();
    random_setting(f, "\"model_type\":\"%s\"", s->family);
    matrix(f, "", families[i].embedding, s->vocab_size, s->hidden_size);
    for (uint32_t layer = 0; layer < s->n_layers; layer++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s%u.", families[i].layer, layer);
        families[i].fill(f, prefix, layer);
    }
    named(f, "", families[i].norm, (const uint32_t[4]){s->hidden_size}, families[i].norm_middle);
    if (!s->tied) matrix(f, "", families[i].output, s->vocab_size, s->hidden_size);
}
