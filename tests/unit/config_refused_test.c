// SPDX-License-Identifier: MIT
// config.json of GPT-NeoX, Falcon, MPT, Gemma 3, gpt-oss and xPos: values that make no sense, and
// what changes a model in ways that are not known, are refused by name.
#include "config_keys.h"

static const struct {
    const char *family, *text;
    rill_status status;
    const char *message;
} wrong[] = {
    {"gpt_neox", "{" NEOX ", \"rotary_pct\": 0}", RILL_EFORMAT,
     "keys: partial_rotary_factor: 0; above 0 and at most 1 is right"},
    {"gpt_neox", "{" NEOX ", \"rotary_pct\": 0.2}", RILL_EFORMAT,
     "keys: rope: 3 rotated dimensions; an even number up to the head's 16 is right"},
    {"gpt_neox", "{" NEOX ", \"use_parallel_residual\": \"yes\"}", RILL_EFORMAT,
     "keys: use_parallel_residual: 'yes'; true or false is right"},
    {"gpt_neox", "{" NEOX ", \"hidden_act\": \"relu\"}", RILL_EUNSUPPORTED,
     "keys: hidden_act: 'relu'; silu, gelu and gelu_pytorch_tanh are known"},
    {"falcon", "{\"num_hidden_layers\": 2, \"hidden_size\": 64, \"vocab_size\": 160}", RILL_EFORMAT,
     "keys: num_attention_heads: it is missing"},
    {"falcon", "{" FALCON ", \"num_attention_heads\": 7}", RILL_EFORMAT,
     "keys: num_attention_heads: 7 does not divide hidden_size 64"},
    {"falcon", "{" FALCON ", \"new_decoder_architecture\": true, \"num_kv_heads\": 3}",
     RILL_EFORMAT, "keys: key-value heads: 3; a number that divides the 4 heads is right"},
    {"falcon", "{" FALCON ", \"alibi\": 1}", RILL_EFORMAT,
     "keys: alibi: 1; true or false is right"},
    {"falcon", "{" FALCON ", \"activation\": \"mish\"}", RILL_EUNSUPPORTED,
     "keys: activation: 'mish'; silu, gelu and gelu_pytorch_tanh are known"},
    {"mpt", "{\"n_layers\": 2, \"n_heads\": 4, \"vocab_size\": 160}", RILL_EFORMAT,
     "keys: d_model: it is missing"},
    {"mpt", "{" MPT ", \"n_heads\": 5}", RILL_EFORMAT,
     "keys: n_heads: 5 does not divide d_model 64"},
    {"mpt", "{" MPT ", \"attn_config\": 3}", RILL_EFORMAT,
     "keys: attn_config: 3; an object is right"},
    {"mpt", "{" MPT ", \"attn_config\": {\"alibi\": false}}", RILL_EUNSUPPORTED,
     "keys: alibi: MPT without ALiBi is not known"},
    {"mpt", "{" MPT ", \"attn_config\": {\"alibi_bias_max\": 0}}", RILL_EUNSUPPORTED,
     "keys: alibi_bias_max: MPT without ALiBi is not known"},
    {"mpt", "{" MPT ", \"attn_config\": {\"alibi_bias_max\": -8}}", RILL_EUNSUPPORTED,
     "keys: alibi_bias_max: MPT without ALiBi is not known"},
    {"mpt", "{" MPT ", \"attn_config\": {\"prefix_lm\": true}}", RILL_EUNSUPPORTED,
     "keys: prefix_lm: a prefix that sees itself whole"},
    {"mpt", "{" MPT ", \"attn_config\": {\"attn_type\": \"none\"}}", RILL_EUNSUPPORTED,
     "keys: attn_type: 'none'; multihead_attention, multiquery_attention and "
     "grouped_query_attention are known"},
    {"mpt", "{" MPT ", \"attn_config\": {\"attn_type\": \"grouped_query_attention\"}}",
     RILL_EFORMAT, "keys: kv_n_heads: it is missing"},
    {"mpt", "{" MPT ", \"attn_config\": {\"clip_qkv\": -6}}", RILL_EFORMAT,
     "keys: bound of projections -6, of logits 0; 0 (none) to 1000000 is right"},
    {"mpt", "{" MPT ", \"norm_type\": \"rmsnorm\"}", RILL_EUNSUPPORTED,
     "keys: norm_type: 'rmsnorm'; layernorm and low_precision_layernorm are known"},
    {"mpt", "{" MPT ", \"norm_type\": \"low_precision_rmsnorm\"}", RILL_EUNSUPPORTED,
     "keys: norm_type: 'low_precision_rmsnorm'; layernorm and low_precision_layernorm are known"},
    {"mpt", "{" MPT ", \"attn_config\": {\"sliding_window_size\": 1024}}", RILL_EUNSUPPORTED,
     "keys: sliding_window_size: 1024; windows are not known in this family"},
    {"mpt", "{" MPT ", \"attn_config\": {\"qk_gn\": true}}", RILL_EUNSUPPORTED,
     "keys: qk_gn: group norms are not known"},
    {"mpt", "{" MPT ", \"logit_scale\": \"inv_sqrt_d_model\"}", RILL_EUNSUPPORTED,
     "keys: logit_scale: scaled logits are not known"},
    {"gemma3_text", "{" NEOX ", \"attn_logit_softcapping\": 50}", RILL_EUNSUPPORTED,
     "keys: attn_logit_softcapping: capped logits of attention are not known"},
    {"gemma3_text", "{" NEOX ", \"use_bidirectional_attention\": true}", RILL_EUNSUPPORTED,
     "keys: use_bidirectional_attention: a model that looks ahead does not stream"},
    {"gemma3_text", "{" NEOX ", \"query_pre_attn_scalar\": 0}", RILL_EFORMAT,
     "keys: scale of attention 0, of embeddings 8: that makes no sense"},
    {"gemma3_text", "{" NEOX ", \"final_logit_softcapping\": -3}", RILL_EFORMAT,
     "keys: bound of projections 0, of logits -3; 0 (none) to 1000000 is right"},
    {"gemma3_text", "{" NEOX ", \"rope_local_base_freq\": 0.5}", RILL_EFORMAT,
     "keys: rope: theta: 0.5; 1.001 to 1e+15 is right"},
    {"gemma3_text", "{" NEOX ", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5e5}}}",
     RILL_EFORMAT,
     "keys: rope_parameters: full_attention alone; both full_attention and sliding_attention are "
     "right"},
    {"gemma3_text", "{" NEOX ", \"rope_parameters\": {\"sliding_attention\": {}}}", RILL_EFORMAT,
     "keys: rope_parameters: sliding_attention alone; both full_attention and sliding_attention "
     "are right"},
    {"gemma3_text", "{" NEOX ", \"rope_scaling\": {\"full_attention\": {}}}", RILL_EFORMAT,
     "keys: rope_scaling: full_attention alone; both full_attention and sliding_attention are "
     "right"},
    {"gemma3_text", "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"spiral\"}}",
     RILL_EUNSUPPORTED,
     "keys: rope_type: 'spiral'; default, linear, dynamic, llama3, yarn, longrope and xpos are "
     "known"},
    {"gemma3", "{\"text_config\": {\"hidden_size\": 64}}", RILL_EFORMAT,
     "keys: num_hidden_layers: it is missing"},
    {"gemma3", "{\"text_config\": [1]}", RILL_EFORMAT,
     "keys: text_config: a list; an object is right"},
    {"gpt_oss", "{" NEOX ", \"num_key_value_heads\": 2, \"num_experts_per_tok\": 129}",
     RILL_EFORMAT, "keys: experts used: 129; 1 to the 128 there are is right"},
    {"gpt_oss", "{" NEOX ", \"num_key_value_heads\": 2, \"num_local_experts\": 0}", RILL_EFORMAT,
     "keys: num_local_experts: 0; at least 1 is right"},
    {"gpt_oss", "{" NEOX ", \"num_key_value_heads\": 2, \"num_local_experts\": 2000}", RILL_EFORMAT,
     "keys: experts: 2000; at most 1024 is right"},
    {"gpt_oss", "{" NEOX ", \"num_key_value_heads\": 2, \"swiglu_limit\": 0}", RILL_EFORMAT,
     "keys: limit of the activation: 0; above 0 is right"},
    {"gpt_oss",
     "{" NEOX ", \"num_key_value_heads\": 2, \"quantization_config\": {\"quant_method\": \"awq\"}}",
     RILL_EUNSUPPORTED,
     "keys: quantization_config: quantised weights in a directory are not known; F32, F16 and BF16 "
     "are, or a GGUF file"},
    {"llama", "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"xpos\", \"xpos_scale_base\": 0}}",
     RILL_EFORMAT, "keys: xPos: scale base: 0; 1 to 1000000 is right"},
    {"llama", "{" NEOX ", \"rope_parameters\": {\"rope_type\": \"xpos\", \"xpos_gamma\": -1}}",
     RILL_EFORMAT, "keys: xPos: gamma: -1; 0.001 to 1000 is right"},
};

static void wrong_values_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        reading r;
        rill_status status = read_text(wrong[i].family, wrong[i].text, &r);
        if (status != wrong[i].status || strcmp(r.err.message, wrong[i].message) != 0)
            fail_msg("%s: status %d: %s", wrong[i].text, (int)status, r.err.message);
        rill__description_deinit(&r.d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_values_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
