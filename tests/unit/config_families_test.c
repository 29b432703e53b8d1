// SPDX-License-Identifier: MIT
// config.json of GPT-NeoX, Falcon, MPT, Gemma 3 and gpt-oss: the files of well-known models, what a
// key that is left out means (transformers' configuration classes), older names.
#include "config_keys.h"

#include <math.h>
#include <stdio.h>

enum {
    QKV = 1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V,
    ATTENTION = QKV | 1u << RILL_WEIGHT_O,
    UP_DOWN = 1u << RILL_WEIGHT_UP | 1u << RILL_WEIGHT_DOWN,
    NORMS = 1u << RILL_WEIGHT_OUTPUT_NORM | 1u << RILL_WEIGHT_ATTENTION_NORM |
            1u << RILL_WEIGHT_FFN_NORM,
};
static const uint32_t all_but_ends = ~(1u << RILL_WEIGHT_EMBEDDING | 1u << RILL_WEIGHT_OUTPUT);

static void must_read(const char *family, const char *text, reading *out) {
    if (read_text(family, text, out) != RILL_OK) fail_msg("%s: %s", text, out->err.message);
}

// ---- Files of well-known models -------------------------------------------------------------

// Keys that no family reads are left out.
static const char pythia_410m[] =
    "{\"hidden_act\": \"gelu\", \"hidden_size\": 1024, \"intermediate_size\": 4096, "
    "\"layer_norm_eps\": 1e-05, \"max_position_embeddings\": 2048, \"model_type\": \"gpt_neox\", "
    "\"num_attention_heads\": 16, \"num_hidden_layers\": 24, \"rotary_emb_base\": 10000, "
    "\"rotary_pct\": 0.25, \"tie_word_embeddings\": false, \"use_parallel_residual\": true, "
    "\"vocab_size\": 50304}";
static const char falcon_7b[] =
    "{\"alibi\": false, \"bias\": false, \"hidden_size\": 4544, \"layer_norm_epsilon\": 1e-05, "
    "\"model_type\": \"falcon\", \"multi_query\": true, \"new_decoder_architecture\": false, "
    "\"num_attention_heads\": 71, \"num_hidden_layers\": 32, \"parallel_attn\": true, "
    "\"vocab_size\": 65024}";
static const char falcon_40b[] =
    "{\"alibi\": false, \"bias\": false, \"hidden_size\": 8192, \"layer_norm_epsilon\": 1e-05, "
    "\"model_type\": \"falcon\", \"new_decoder_architecture\": true, \"num_attention_heads\": 128, "
    "\"num_hidden_layers\": 60, \"num_kv_heads\": 8, \"parallel_attn\": true, \"vocab_size\": "
    "65024}";
static const char falcon_rw_1b[] =
    "{\"alibi\": true, \"bias\": true, \"hidden_size\": 2048, \"layer_norm_epsilon\": 1e-05, "
    "\"model_type\": \"falcon\", \"multi_query\": false, \"new_decoder_architecture\": false, "
    "\"num_attention_heads\": 32, \"num_hidden_layers\": 24, \"parallel_attn\": false, "
    "\"vocab_size\": 50304}";
static const char falcon_11b[] =
    "{\"alibi\": false, \"bias\": false, \"ff_factor\": 4, \"ffn_hidden_size\": 16384, "
    "\"hidden_size\": 4096, \"max_position_embeddings\": 8192, \"model_type\": \"falcon\", "
    "\"multi_query\": true, \"new_decoder_architecture\": true, \"num_attention_heads\": 32, "
    "\"num_hidden_layers\": 60, \"num_kv_heads\": 8, \"num_ln_in_parallel_attn\": 1, "
    "\"parallel_attn\": true, \"rope_scaling\": null, \"rope_theta\": 500042.0, "
    "\"tie_word_embeddings\": false, \"vocab_size\": 65024}";
static const char mpt_7b[] =
    "{\"attn_config\": {\"alibi\": true, \"alibi_bias_max\": 8, \"attn_impl\": \"torch\", "
    "\"attn_type\": \"multihead_attention\", \"clip_qkv\": null, \"prefix_lm\": false, "
    "\"qk_ln\": false, \"softmax_scale\": null}, \"d_model\": 4096, \"expansion_ratio\": 4, "
    "\"learned_pos_emb\": true, \"logit_scale\": null, \"max_seq_len\": 2048, "
    "\"model_type\": \"mpt\", \"n_heads\": 32, \"n_layers\": 32, \"no_bias\": true, "
    "\"norm_type\": \"low_precision_layernorm\", \"vocab_size\": 50432}";
static const char gemma3_1b[] =
    "{\"attn_logit_softcapping\": null, \"final_logit_softcapping\": null, \"head_dim\": 256, "
    "\"hidden_activation\": \"gelu_pytorch_tanh\", \"hidden_size\": 1152, \"intermediate_size\": "
    "6912, \"max_position_embeddings\": 32768, \"model_type\": \"gemma3_text\", "
    "\"num_attention_heads\": 4, \"num_hidden_layers\": 26, \"num_key_value_heads\": 1, "
    "\"query_pre_attn_scalar\": 256, \"rms_norm_eps\": 1e-06, \"rope_local_base_freq\": 10000, "
    "\"rope_scaling\": null, \"rope_theta\": 1000000, \"sliding_window\": 512, "
    "\"sliding_window_pattern\": 6, \"torch_dtype\": \"bfloat16\", \"vocab_size\": 262144}";
// The type of the weights is said outside, and heads and vocabulary nowhere.
static const char gemma3_4b[] =
    "{\"mm_tokens_per_image\": 256, \"model_type\": \"gemma3\", \"text_config\": {\"hidden_size\": "
    "2560, \"intermediate_size\": 10240, \"model_type\": \"gemma3_text\", \"num_hidden_layers\": "
    "34, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, \"sliding_window\": "
    "1024}, \"torch_dtype\": \"bfloat16\", \"vision_config\": {\"hidden_size\": 1152}}";
static const char gpt_oss_20b[] =
    "{\"attention_bias\": true, \"experts_per_token\": 4, \"head_dim\": 64, \"hidden_act\": "
    "\"silu\", \"hidden_size\": 2880, \"initial_context_length\": 4096, \"intermediate_size\": "
    "2880, \"max_position_embeddings\": 131072, \"model_type\": \"gpt_oss\", "
    "\"num_attention_heads\": 64, \"num_experts_per_tok\": 4, \"num_hidden_layers\": 24, "
    "\"num_key_value_heads\": 8, \"num_local_experts\": 32, \"quantization_config\": "
    "{\"modules_to_not_convert\": [\"lm_head\"], \"quant_method\": \"mxfp4\"}, \"rms_norm_eps\": "
    "1e-05, \"rope_scaling\": {\"beta_fast\": 32.0, \"beta_slow\": 1.0, \"factor\": 32.0, "
    "\"original_max_position_embeddings\": 4096, \"rope_type\": \"yarn\", \"truncate\": false}, "
    "\"rope_theta\": 150000, \"sliding_window\": 128, \"swiglu_limit\": 7.0, "
    "\"tie_word_embeddings\": false, \"vocab_size\": 201088}";

static const struct {
    const char *family, *text;
    uint32_t layers, hidden, heads, kv_heads, head_dim, ffn, vocabulary, context;
    rill__residual residual;
    uint32_t biases;
    bool tied;
    double theta;  // 0: ALiBi
    uint32_t rotated;
} models[] = {
    {"gpt_neox", pythia_410m, 24, 1024, 16, 16, 64, 4096, 50304, 2048,
     RILL_RESIDUAL_PARALLEL_TWO_NORMS, ATTENTION | UP_DOWN | NORMS, false, 10000, 16},
    {"falcon", falcon_7b, 32, 4544, 71, 1, 64, 18176, 65024, 2048, RILL_RESIDUAL_PARALLEL, NORMS,
     true, 10000, 64},
    {"falcon", falcon_40b, 60, 8192, 128, 8, 64, 32768, 65024, 2048,
     RILL_RESIDUAL_PARALLEL_TWO_NORMS, NORMS, true, 10000, 64},
    {"falcon", falcon_rw_1b, 24, 2048, 32, 32, 64, 8192, 50304, 2048, RILL_RESIDUAL_SEQUENTIAL,
     ATTENTION | UP_DOWN | NORMS, true, 0, 0},
    {"falcon", falcon_11b, 60, 4096, 32, 8, 128, 16384, 65024, 8192, RILL_RESIDUAL_PARALLEL, NORMS,
     false, 500042, 128},
    {"mpt", mpt_7b, 32, 4096, 32, 32, 128, 16384, 50432, 2048, RILL_RESIDUAL_SEQUENTIAL, 0, true, 0,
     0},
    {"gemma3_text", gemma3_1b, 26, 1152, 4, 1, 256, 6912, 262144, 32768, RILL_RESIDUAL_SEQUENTIAL,
     0, true, 1e6, 256},
    {"gemma3", gemma3_4b, 34, 2560, 8, 4, 256, 10240, 262208, 131072, RILL_RESIDUAL_SEQUENTIAL, 0,
     true, 1e6, 256},
    {"gpt_oss", gpt_oss_20b, 24, 2880, 64, 8, 64, 2880, 201088, 131072, RILL_RESIDUAL_SEQUENTIAL,
     ATTENTION | 1u << RILL_WEIGHT_ROUTER, false, 150000, 64},
};

static void known_models_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        reading r;
        must_read(models[i].family, models[i].text, &r);
        assert_int_equal(r.d.n_layers, models[i].layers);
        assert_int_equal(r.d.hidden_size, models[i].hidden);
        assert_int_equal(r.d.n_heads, models[i].heads);
        assert_int_equal(r.d.n_kv_heads, models[i].kv_heads);
        assert_int_equal(r.d.head_dim, models[i].head_dim);
        assert_int_equal(r.d.ffn_size, models[i].ffn);
        assert_int_equal(r.d.vocab_size, models[i].vocabulary);
        assert_int_equal(r.d.trained_context, models[i].context);
        assert_int_equal(r.d.residual, models[i].residual);
        assert_int_equal(r.biases, models[i].biases);
        assert_int_equal(r.d.tied_embeddings, models[i].tied);
        bool alibi = models[i].theta == 0;
        assert_int_equal(r.d.position, alibi ? RILL_POSITION_ALIBI : RILL_POSITION_ROPE);
        assert_int_equal(r.d.rope.n_dims, models[i].rotated);
        if (!alibi) assert_true(r.d.rope.theta == models[i].theta);
        bool layer = strncmp(models[i].family, "g", 1) != 0 || models[i].text == pythia_410m;
        assert_int_equal(r.d.norm, layer ? RILL_NORM_LAYER : RILL_NORM_RMS);
        assert_int_equal(r.d.gated, !layer);
        assert_true(r.d.attention_scale == (float)(1 / sqrt(models[i].head_dim)));
        rill__description_deinit(&r.d);
    }
}

// Layers with a window and the others.
static void check_windows(const rill__description *d, uint32_t window, uint32_t period,
                          bool last_is_whole) {
    for (uint32_t i = 0; i < d->n_layers; i++) {
        bool whole = i % period == (last_is_whole ? period - 1 : 0);
        assert_int_equal(rill__description_window(d, i), whole ? 0 : window);
    }
}

static void gemma_has_what_others_lack(void **state) {
    (void)state;
    reading r;
    must_read("gemma3_text", gemma3_1b, &r);
    assert_int_equal(r.d.qk_norm, RILL_QK_NORM_HEAD);
    assert_true(r.d.post_norms);
    assert_int_equal(r.d.activation, RILL_ACT_GELU_TANH);
    assert_true(r.d.embedding_scale == 34);  // 33.94 in bfloat16
    assert_true(r.d.logit_cap == 0);
    check_windows(&r.d, 512, 6, true);
    assert_non_null(r.d.local_rope);
    assert_true(r.d.local_rope->theta == 10000);
    assert_int_equal(r.d.local_rope->n_dims, 256);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_DEFAULT);
    rill__description_deinit(&r.d);
    must_read("gemma3", gemma3_4b, &r);
    assert_true(r.d.embedding_scale == 50.5f);  // 50.596
    check_windows(&r.d, 1024, 6, true);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_LINEAR);
    assert_true(r.d.rope.factor == 8);
    assert_int_equal(r.d.local_rope->scaling, RILL_ROPE_DEFAULT);
    rill__description_deinit(&r.d);
}

static void gpt_oss_has_what_others_lack(void **state) {
    (void)state;
    reading r;
    must_read("gpt_oss", gpt_oss_20b, &r);
    assert_true(r.d.sink_logits);
    assert_int_equal(r.d.n_experts, 32);
    assert_int_equal(r.d.n_experts_used, 4);
    assert_int_equal(r.d.activation, RILL_ACT_CLAMPED_SWIGLU);
    assert_true(r.d.activation_limit == 7);
    check_windows(&r.d, 128, 2, true);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_YARN);
    assert_true(r.d.rope.factor == 32);
    assert_int_equal(r.d.rope.original_context, 4096);
    assert_false(r.d.rope.truncate);
    rill__description_deinit(&r.d);
}

// Slopes of Press et al.: 8 heads have 1/2 ... 1/256; 12 go on with every other one of 16. Falcon
// rounds them to bfloat16 and multiplies by the scale of its logits, 1/8 for heads of 64.
static void slopes_are_those_of_the_paper(void **state) {
    (void)state;
    static const double eight[] = {1, 2, 3, 4, 5, 6, 7, 8}, four[] = {0.5, 1.5, 2.5, 3.5};
    reading r;
    must_read("mpt", "{\"d_model\": 96, \"n_heads\": 12, \"n_layers\": 1, \"vocab_size\": 9}", &r);
    for (int i = 0; i < 12; i++) {
        double slope = exp2(-(i < 8 ? eight[i] : four[i - 8]));
        assert_true(fabs((double)r.d.alibi_slopes[i] / slope - 1) < 1e-7);
    }
    rill__description_deinit(&r.d);
    must_read("mpt",
              "{\"d_model\": 8, \"n_heads\": 2, \"n_layers\": 1, \"vocab_size\": 9, "
              "\"attn_config\": {\"alibi_bias_max\": 6}}",
              &r);
    assert_true(r.d.alibi_slopes[0] == 0.125f && r.d.alibi_slopes[1] == 0x1p-6f);
    rill__description_deinit(&r.d);
    must_read("falcon", falcon_rw_1b, &r);
    assert_true(r.d.alibi_slopes[31] == 0x1p-8f / 8);
    assert_true(r.d.alibi_slopes[1] == 0.70703125f / 8);  // 0.70710678 in bfloat16
    rill__description_deinit(&r.d);
}

// ---- What is left out -----------------------------------------------------------------------

static void defaults_of_gpt_neox(void **state) {
    (void)state;
    reading r;
    must_read("gpt_neox", "{" NEOX "}", &r);
    assert_int_equal(r.d.residual, RILL_RESIDUAL_PARALLEL_TWO_NORMS);
    assert_int_equal(r.d.activation, RILL_ACT_GELU);
    assert_int_equal(r.d.rope.n_dims, 4);
    assert_int_equal(r.d.trained_context, 2048);
    assert_true(r.d.norm_eps == 1e-5f && r.d.rope.theta == 10000 && r.d.embedding_scale == 1);
    assert_int_equal(r.biases, ATTENTION | UP_DOWN | NORMS);
    must_read("gpt_neox",
              "{" NEOX ", \"rotary_pct\": 1.0, \"rotary_emb_base\": 25000, \"attention_bias\": "
              "false, \"use_parallel_residual\": false, \"hidden_act\": \"gelu_new\", "
              "\"layer_norm_eps\": 0.001, \"tie_word_embeddings\": true}",
              &r);
    assert_int_equal(r.d.residual, RILL_RESIDUAL_SEQUENTIAL);
    assert_int_equal(r.d.activation, RILL_ACT_GELU_TANH);
    assert_int_equal(r.d.rope.n_dims, 16);
    assert_true(r.d.norm_eps == 0.001f && r.d.rope.theta == 25000 && r.d.tied_embeddings);
    assert_int_equal(r.biases, UP_DOWN | NORMS);
    // transformers 5 writes the same so.
    must_read("gpt_neox",
              "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 25000, "
              "\"partial_rotary_factor\": 0.5}}",
              &r);
    assert_true(r.d.rope.n_dims == 8 && r.d.rope.theta == 25000);
}

static void defaults_of_falcon(void **state) {
    (void)state;
    reading r;
    must_read("falcon", "{" FALCON "}", &r);
    assert_int_equal(r.d.residual, RILL_RESIDUAL_PARALLEL);
    assert_int_equal(r.d.n_kv_heads, 1);
    assert_int_equal(r.d.ffn_size, 256);
    assert_int_equal(r.d.activation, RILL_ACT_GELU);
    assert_true(r.d.norm_eps == 1e-5f && r.d.tied_embeddings && !r.d.gated);
    assert_int_equal(r.biases, NORMS);
    // Groups: as many as heads if nothing is said, and two norms.
    must_read("falcon", "{" FALCON ", \"new_decoder_architecture\": true}", &r);
    assert_int_equal(r.d.n_kv_heads, 4);
    assert_int_equal(r.d.residual, RILL_RESIDUAL_PARALLEL_TWO_NORMS);
    // Names of the first releases.
    must_read("falcon",
              "{\"n_layer\": 3, \"n_head\": 8, \"n_head_kv\": 2, \"hidden_size\": 64, "
              "\"vocab_size\": 160, \"new_decoder_architecture\": true}",
              &r);
    assert_int_equal(r.d.n_layers, 3);
    assert_int_equal(r.d.n_heads, 8);
    assert_int_equal(r.d.n_kv_heads, 2);
    must_read("falcon", "{" FALCON ", \"multi_query\": false, \"parallel_attn\": false}", &r);
    assert_int_equal(r.d.n_kv_heads, 4);
    assert_int_equal(r.d.residual, RILL_RESIDUAL_SEQUENTIAL);
}

static void defaults_of_mpt(void **state) {
    (void)state;
    reading r;
    must_read("mpt", "{" MPT "}", &r);
    assert_int_equal(r.d.n_kv_heads, 4);
    assert_int_equal(r.d.ffn_size, 256);
    assert_int_equal(r.d.trained_context, 2048);
    assert_int_equal(r.d.qk_norm, RILL_QK_NORM_NONE);
    assert_int_equal(r.biases, 0);
    assert_true(r.d.clip_qkv == 0 && r.d.alibi_bias_max == 8 && r.d.tied_embeddings);
    rill__description_deinit(&r.d);
    must_read("mpt",
              "{" MPT ", \"no_bias\": false, \"attn_config\": {\"attn_type\": "
              "\"grouped_query_attention\", \"kv_n_heads\": 2, \"clip_qkv\": 6, \"qk_ln\": true, "
              "\"softmax_scale\": 0.5}}",
              &r);
    assert_int_equal(r.d.n_kv_heads, 2);
    assert_int_equal(r.d.qk_norm, RILL_QK_NORM_WHOLE);
    assert_int_equal(r.biases, all_but_ends);
    assert_true(r.d.clip_qkv == 6 && r.d.attention_scale == 0.5f);
    rill__description_deinit(&r.d);
    // What llm-foundry writes beside it, at the values that change nothing.
    must_read("mpt",
              "{" MPT ", \"norm_type\": \"layernorm\", \"attn_config\": {\"attn_type\": "
              "\"multiquery_attention\", \"qk_gn\": false, \"sliding_window_size\": -1}}",
              &r);
    assert_int_equal(r.d.n_kv_heads, 1);
    rill__description_deinit(&r.d);
}

static void defaults_of_gemma(void **state) {
    (void)state;
    static const char sizes[] = "{\"num_hidden_layers\": 7, \"hidden_size\": 64, "
                                "\"intermediate_size\": 96%s}";
    char text[512];
    reading r;
    snprintf(text, sizeof text, sizes, "");
    must_read("gemma3_text", text, &r);
    assert_int_equal(r.d.n_heads, 8);
    assert_int_equal(r.d.n_kv_heads, 4);
    assert_int_equal(r.d.head_dim, 256);
    assert_int_equal(r.d.vocab_size, 262208);
    assert_int_equal(r.d.trained_context, 131072);
    assert_int_equal(r.d.activation, RILL_ACT_GELU_TANH);
    assert_int_equal(r.biases, 0);
    assert_true(r.d.attention_scale == 0.0625f && r.d.embedding_scale == 8 && r.d.tied_embeddings);
    assert_true(r.d.rope.theta == 1e6 && r.d.local_rope->theta == 1e4);
    check_windows(&r.d, 4096, 6, true);
    rill__description_deinit(&r.d);
    snprintf(text, sizeof text, sizes,
             ", \"sliding_window_pattern\": 3, \"sliding_window\": 9, \"attention_bias\": true, "
             "\"rope_theta\": 5000, \"rope_local_base_freq\": 700, \"final_logit_softcapping\": "
             "30, \"query_pre_attn_scalar\": 4");
    must_read("gemma3_text", text, &r);
    check_windows(&r.d, 9, 3, true);
    assert_int_equal(r.biases, ATTENTION);
    assert_true(r.d.rope.theta == 5000 && r.d.local_rope->theta == 700);
    assert_true(r.d.logit_cap == 30 && r.d.attention_scale == 0.5f);
    rill__description_deinit(&r.d);
}

// One object for all is that of the layers that see all, wherever it stands.
static void positions_of_gemma_said_once(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 8, "
        "\"rope_theta\": 500000}}",
        "{" NEOX ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}, "
        "\"rope_theta\": 500000}",
        "{" NEOX ", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", "
        "\"factor\": 8, \"rope_theta\": 500000}, \"sliding_attention\": {\"rope_type\": "
        "\"default\"}}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        reading r;
        must_read("gemma3_text", texts[i], &r);
        assert_int_equal(r.d.rope.scaling, RILL_ROPE_LINEAR);
        assert_true(r.d.rope.factor == 8 && r.d.rope.theta == 5e5);
        assert_int_equal(r.d.local_rope->scaling, RILL_ROPE_DEFAULT);
        assert_true(r.d.local_rope->theta == 1e4);
        rill__description_deinit(&r.d);
    }
}

static void defaults_of_gpt_oss(void **state) {
    (void)state;
    reading r;
    must_read("gpt_oss", "{" NEOX ", \"num_key_value_heads\": 2}", &r);
    assert_int_equal(r.d.head_dim, 64);
    assert_int_equal(r.d.n_experts, 128);
    assert_int_equal(r.d.n_experts_used, 4);
    assert_int_equal(r.d.trained_context, 131072);
    assert_true(r.d.norm_eps == 1e-5f && r.d.activation_limit == 7 && !r.d.tied_embeddings);
    assert_int_equal(r.biases, ATTENTION | 1u << RILL_WEIGHT_ROUTER);
    check_windows(&r.d, 128, 2, true);
    assert_true(r.d.rope.theta == 150000 && r.d.rope.factor == 32);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_YARN);
    assert_int_equal(r.d.rope.original_context, 4096);
    assert_false(r.d.rope.truncate);
    rill__description_deinit(&r.d);
    must_read("gpt_oss",
              "{" NEOX ", \"num_key_value_heads\": 2, \"experts_per_token\": 3, "
              "\"num_local_experts\": 8, \"swiglu_limit\": 5.5, \"attention_bias\": false, "
              "\"sliding_window\": null, \"rope_parameters\": {\"rope_type\": \"yarn\", "
              "\"rope_theta\": 700, \"factor\": 2}}",
              &r);
    assert_int_equal(r.d.n_experts_used, 3);
    assert_true(r.d.activation_limit == 5.5f && r.d.rope.truncate && r.d.rope.theta == 700);
    assert_int_equal(r.biases, 1u << RILL_WEIGHT_ROUTER);
    rill__description_deinit(&r.d);
}

// xPos is Llama's with another kind of position.
static void xpos_is_read(void **state) {
    (void)state;
    reading r;
    must_read("llama", "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"xpos\"}}", &r);
    assert_int_equal(r.d.position, RILL_POSITION_XPOS);
    assert_true(r.d.rope.xpos_base == 512 && r.d.rope.xpos_gamma == 0.4);
    must_read("llama",
              "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"xpos\", \"xpos_scale_base\": 100, "
              "\"xpos_gamma\": 0.5, \"rope_theta\": 700}}",
              &r);
    assert_true(r.d.rope.xpos_base == 100 && r.d.rope.xpos_gamma == 0.5 && r.d.rope.theta == 700);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_models_are_read),
        cmocka_unit_test(gemma_has_what_others_lack),
        cmocka_unit_test(gpt_oss_has_what_others_lack),
        cmocka_unit_test(slopes_are_those_of_the_paper),
        cmocka_unit_test(defaults_of_gpt_neox),
        cmocka_unit_test(defaults_of_falcon),
        cmocka_unit_test(defaults_of_mpt),
        cmocka_unit_test(defaults_of_gemma),
        cmocka_unit_test(positions_of_gemma_said_once),
        cmocka_unit_test(defaults_of_gpt_oss),
        cmocka_unit_test(xpos_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
