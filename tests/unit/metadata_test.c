// SPDX-License-Identifier: MIT
// GGUF metadata as llama.cpp's converter writes them (gguf-py/gguf/constants.py, conversion/*.py),
// with no key of rill's own: what they leave out is what llama.cpp's loader takes for it
// (src/llama-model.cpp).
#include "model/family.h"
#include "model/source.h"

#include "model_files.h"

#include <math.h>

typedef enum kind { END, U32, F32, TRUTH, YARN } kind;

// An entry of the metadata; kind END ends a list, and YARN is that word. The architecture stands
// before a key.
typedef struct entry {
    kind kind;
    const char *key;
    double value;
} entry;

// A tensor of every layer, or of the whole model if there is no '#' in its name; a NULL one ends a
// list. Slowest dimension first, 0 after the last.
typedef struct tensor {
    const char *name;
    uint64_t shape[3];
} tensor;

static void put_entries(rill__gguf_writer *w, const char *architecture, uint32_t layers,
                        const entry *entries) {
    char key[96];
    rill__gguf_put_text(w, "general.architecture", architecture);
    snprintf(key, sizeof key, "%s.block_count", architecture);
    rill__gguf_put_u32(w, key, layers);
    for (const entry *e = entries; e->kind != END; e++) {
        snprintf(key, sizeof key, "%s%s", architecture, e->key);
        if (e->kind == U32)
            rill__gguf_put_u32(w, key, (uint32_t)e->value);
        else if (e->kind == F32)
            rill__gguf_put_f32(w, key, e->value);
        else if (e->kind == TRUTH)
            rill__gguf_put_bool(w, key, e->value != 0);
        else
            rill__gguf_put_text(w, key, "yarn");
    }
}

// Announces the tensors, or (with `data`) writes zeros for each.
static void put_tensors(rill__gguf_writer *w, const tensor *tensors, uint32_t layers, bool data) {
    for (const tensor *t = tensors; t->name; t++) {
        uint32_t times = strchr(t->name, '#') ? layers : 1, n_dims = 0;
        size_t n = 1;
        while (n_dims < 3 && t->shape[n_dims]) n *= t->shape[n_dims++];
        for (uint32_t layer = 0; layer < times; layer++) {
            char name[64];
            assert_true(rill__weight_name_make(t->name, layer, "", name, sizeof name));
            if (!data) {
                rill__gguf_add_tensor(w, name, RILL_TYPE_F32, n_dims, t->shape);
                continue;
            }
            float *zeros = calloc(n, sizeof *zeros);
            assert_non_null(zeros);
            assert_int_equal(rill__gguf_write_data(w, zeros, n * sizeof *zeros), RILL_OK);
            assert_int_equal(rill__gguf_end_tensor(w), RILL_OK);
            free(zeros);
        }
    }
}

static const char *write_gguf(const char *architecture, uint32_t layers, const entry *entries,
                              const tensor *tensors) {
    const char *path = scratch_path("metadata.gguf");
    rill__gguf_writer w;
    rill_error err;
    rill__gguf_writer_init(&w, &err);
    put_entries(&w, architecture, layers, entries);
    put_tensors(&w, tensors, layers, false);
    assert_int_equal(rill__gguf_writer_begin(&w, path), RILL_OK);
    put_tensors(&w, tensors, layers, true);
    assert_int_equal(rill__gguf_writer_finish(&w), RILL_OK);
    rill__gguf_writer_deinit(&w);
    return path;
}

// What a family makes of the metadata of such a file. To be freed.
static void describe(const char *architecture, uint32_t layers, const entry *entries,
                     const tensor *tensors, rill__description *out) {
    const char *path = write_gguf(architecture, layers, entries, tensors);
    rill__gguf g;
    rill_error err;
    *out = (rill__description){0};
    assert_int_equal(rill__gguf_open(path, &g, &err), RILL_OK);
    rill__metadata m = {.gguf = &g, .architecture = architecture, .err = &err};
    rill__metadata_describe(&m, rill__family_find_gguf(architecture), out);
    if (m.status != RILL_OK) fail_msg("%s", err.message);
    rill__gguf_close(&g);
}

// ---- Gemma 3 --------------------------------------------------------------------------------

// The sizes of 12B and 27B: only the latter's heads are scaled by something else than their size.
static void gemma3_is_scaled_as_llama_cpp_does(void **state) {
    (void)state;
    static const struct {
        uint32_t layers, hidden, heads, head_dim;
        double said;   // attention.scale, 0: not at all
        double right;  // 1 / scale^2
    } models[] = {
        {48, 3840, 16, 256, 0, 256},
        {62, 5376, 32, 128, 0, 168},
        {62, 5376, 32, 128, 0.125, 64},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const entry entries[] = {
            {U32, ".context_length", 131072},
            {U32, ".embedding_length", models[i].hidden},
            {U32, ".feed_forward_length", 21504},
            {U32, ".attention.head_count", models[i].heads},
            {U32, ".attention.head_count_kv", 16},
            {F32, ".attention.layer_norm_rms_epsilon", 1e-6},
            {U32, ".attention.key_length", models[i].head_dim},
            {U32, ".attention.value_length", models[i].head_dim},
            {F32, ".rope.freq_base", 1e6},
            {U32, ".attention.sliding_window", 1024},
            {models[i].said != 0 ? F32 : END, ".attention.scale", models[i].said},
            {END, NULL, 0},
        };
        const tensor embedding[] = {{"token_embd.weight", {2, models[i].hidden}}, {NULL, {0}}};
        rill__description d;
        describe("gemma3", models[i].layers, entries, embedding, &d);
        assert_true(d.attention_scale == (float)(1 / sqrt(models[i].right)));
        rill__description_deinit(&d);
    }
}

static const tensor gemma3_tensors[] = {
    {"token_embd.weight", {2, 24}},         {"output_norm.weight", {24}},
    {"blk.#.attn_norm.weight", {24}},       {"blk.#.attn_q.weight", {32, 24}},
    {"blk.#.attn_q_norm.weight", {8}},      {"blk.#.attn_k.weight", {16, 24}},
    {"blk.#.attn_k_norm.weight", {8}},      {"blk.#.attn_v.weight", {16, 24}},
    {"blk.#.attn_output.weight", {24, 32}}, {"blk.#.post_attention_norm.weight", {24}},
    {"blk.#.ffn_norm.weight", {24}},        {"blk.#.ffn_gate.weight", {12, 24}},
    {"blk.#.ffn_up.weight", {12, 24}},      {"blk.#.ffn_down.weight", {24, 12}},
    {"blk.#.post_ffw_norm.weight", {24}},   {NULL, {0}},
};

enum { GEMMA3_SCALE = 10 };

static const entry gemma3_keys[] = {
    {U32, ".context_length", 512},
    {U32, ".embedding_length", 24},
    {U32, ".feed_forward_length", 12},
    {U32, ".attention.head_count", 4},
    {F32, ".attention.layer_norm_rms_epsilon", 1e-6},
    {U32, ".attention.key_length", 8},
    {U32, ".attention.value_length", 8},
    {F32, ".rope.freq_base", 1e6},
    {U32, ".attention.sliding_window", 32},
    {U32, ".attention.head_count_kv", 2},
    [GEMMA3_SCALE] = {END, ".attention.scale", 0.35355338},  // not written as a rule
    {END, NULL, 0},
};

// Every sixth layer sees all, and the others have a RoPE of their own.
static void gemma3_needs_no_pattern(void **state) {
    (void)state;
    rill__model *m = open_model(write_gguf("gemma3", 7, gemma3_keys, gemma3_tensors));
    const rill__description *d = &m->description;
    for (uint32_t i = 0; i < 7; i++)
        assert_int_equal(rill__description_window(d, i), i == 5 ? 0 : 32);
    assert_int_equal(d->qk_norm, RILL_QK_NORM_HEAD);
    assert_int_equal(d->activation, RILL_ACT_GELU_TANH);
    assert_true(d->post_norms && d->tied_embeddings && d->logit_cap == 0);
    assert_true(d->attention_scale == (float)(1 / sqrt(8)));
    assert_true(d->embedding_scale == (float)sqrt(24));
    assert_true(d->rope.theta == 1e6 && d->rope.n_dims == 8 && !d->rope.interleaved);
    assert_int_equal(d->rope.scaling, RILL_ROPE_DEFAULT);
    assert_true(d->local_rope->theta == 1e4 && d->local_rope->n_dims == 8);
    assert_int_equal(d->local_rope->scaling, RILL_ROPE_DEFAULT);
    rill__model_close(&m);
}

// A model of as many layers as 27B whose scale is plain says so when it is converted again.
static void plain_scale_of_gemma3_survives(void **state) {
    (void)state;
    entry entries[sizeof gemma3_keys / sizeof *gemma3_keys];
    memcpy(entries, gemma3_keys, sizeof entries);
    entries[GEMMA3_SCALE].kind = F32;
    const float plain = (float)(1 / sqrt(8));
    const char *from = write_gguf("gemma3", 62, entries, gemma3_tensors);
    const char *to = scratch_path("again.gguf");
    rill__model *m = open_model(from);
    assert_true(m->description.attention_scale == plain);
    rill__model_close(&m);
    rill_error err;
    if (rill_convert(from, to, &(rill_convert_options){.type = RILL_TYPE_F32}, NULL, NULL, &err) !=
        RILL_OK)
        fail_msg("%s", err.message);
    m = open_model(to);
    assert_true(m->description.attention_scale == plain);
    rill__model_close(&m);
}

// ---- MPT ------------------------------------------------------------------------------------

static const tensor mpt_tensors[] = {
    {"token_embd.weight", {2, 24}},
    {"output_norm.weight", {24}},
    {"blk.#.attn_norm.weight", {24}},
    {"blk.#.attn_qkv.weight", {72, 24}},
    {"blk.#.attn_output.weight", {24, 24}},
    {"blk.#.ffn_norm.weight", {24}},
    {"blk.#.ffn_up.weight", {96, 24}},
    {"blk.#.ffn_down.weight", {24, 96}},
    {NULL, {0}},
};

// A greatest bias of 0 stands for positions of another kind.
static void mpt_has_alibi_or_is_refused(void **state) {
    (void)state;
    entry entries[] = {
        {U32, ".context_length", 2048},
        {U32, ".embedding_length", 24},
        {U32, ".feed_forward_length", 96},
        {U32, ".attention.head_count", 2},
        {F32, ".attention.layer_norm_epsilon", 1e-5},
        {F32, ".attention.max_alibi_bias", 8},
        {END, NULL, 0},
    };
    rill__model *m = open_model(write_gguf("mpt", 2, entries, mpt_tensors));
    assert_int_equal(m->description.position, RILL_POSITION_ALIBI);
    assert_int_equal(m->description.n_kv_heads, 2);
    assert_true(m->description.tied_embeddings && m->description.clip_qkv == 0);
    assert_true(m->description.alibi_slopes[0] == 0x1p-4f);
    assert_true(m->description.alibi_slopes[1] == 0x1p-8f);
    rill__model_close(&m);
    for (double none = 0; none > -2; none--) {
        entries[5].value = none;
        check_refused(write_gguf("mpt", 2, entries, mpt_tensors), RILL_EUNSUPPORTED,
                      "mpt.attention.max_alibi_bias: ", "MPT without ALiBi is not known");
    }
}

// ---- GPT-NeoX -------------------------------------------------------------------------------

static const tensor gptneox_tensors[] = {
    {"token_embd.weight", {2, 24}},
    {"output.weight", {2, 24}},
    {"output_norm.weight", {24}},
    {"output_norm.bias", {24}},
    {"blk.#.attn_norm.weight", {24}},
    {"blk.#.attn_norm.bias", {24}},
    {"blk.#.attn_qkv.weight", {72, 24}},
    {"blk.#.attn_qkv.bias", {72}},
    {"blk.#.attn_output.weight", {24, 24}},
    {"blk.#.attn_output.bias", {24}},
    {"blk.#.ffn_norm.weight", {24}},
    {"blk.#.ffn_norm.bias", {24}},
    {"blk.#.ffn_up.weight", {96, 24}},
    {"blk.#.ffn_up.bias", {96}},
    {"blk.#.ffn_down.weight", {24, 96}},
    {"blk.#.ffn_down.bias", {24}},
    {NULL, {0}},
};

// The base of the positions is not written, nor the number of key-value heads.
static void gptneox_needs_no_base(void **state) {
    (void)state;
    for (int parallel = 0; parallel < 2; parallel++) {
        const entry entries[] = {
            {U32, ".context_length", 2048},
            {U32, ".embedding_length", 24},
            {U32, ".feed_forward_length", 96},
            {U32, ".rope.dimension_count", 2},
            {U32, ".attention.head_count", 3},
            {TRUTH, ".use_parallel_residual", parallel},
            {F32, ".attention.layer_norm_epsilon", 1e-5},
            {END, NULL, 0},
        };
        rill__model *m = open_model(write_gguf("gptneox", 2, entries, gptneox_tensors));
        const rill__description *d = &m->description;
        assert_true(d->rope.theta == 1e4 && d->rope.n_dims == 2 && !d->rope.interleaved);
        assert_int_equal(d->n_kv_heads, 3);
        assert_int_equal(d->head_dim, 8);
        assert_int_equal(d->norm, RILL_NORM_LAYER);
        assert_int_equal(d->activation, RILL_ACT_GELU);
        assert_true(!d->gated && !d->tied_embeddings);
        assert_int_equal(d->residual,
                         parallel ? RILL_RESIDUAL_PARALLEL_TWO_NORMS : RILL_RESIDUAL_SEQUENTIAL);
        for (int role = RILL_WEIGHT_Q; role <= RILL_WEIGHT_V; role++) {
            const rill__parameter *p = rill__model_parameter(m, (rill__weight_role)role, 1);
            assert_int_equal(p->weight.shape[0], 24);
            assert_int_equal(p->bias.shape[0], 24);
            assert_non_null(p->bias.data);
        }
        rill__model_close(&m);
    }
}

// ---- Falcon ---------------------------------------------------------------------------------

// 7B's tensors, and with the last one 40B's.
static const tensor falcon_tensors[] = {
    {"token_embd.weight", {2, 24}},
    {"output_norm.weight", {24}},
    {"output_norm.bias", {24}},
    {"output.weight", {2, 24}},
    {"blk.#.attn_norm.weight", {24}},
    {"blk.#.attn_norm.bias", {24}},
    {"blk.#.attn_qkv.weight", {40, 24}},
    {"blk.#.attn_output.weight", {24, 24}},
    {"blk.#.ffn_up.weight", {96, 24}},
    {"blk.#.ffn_down.weight", {24, 96}},
    {"blk.#.attn_norm_2.weight", {24}},
    {"blk.#.attn_norm_2.bias", {24}},
    {NULL, {0}},
};

// What is said of positions is nothing, and of the norms only that they are there: with two of them
// the second is attention's.
static void falcon_is_known_by_its_norms(void **state) {
    (void)state;
    static const entry entries[] = {
        {U32, ".context_length", 2048},
        {U32, ".embedding_length", 24},
        {U32, ".feed_forward_length", 96},
        {U32, ".attention.head_count", 3},
        {U32, ".attention.head_count_kv", 1},
        {F32, ".attention.layer_norm_epsilon", 1e-5},
        {END, NULL, 0},
    };
    enum { ONE_NORM = sizeof falcon_tensors / sizeof *falcon_tensors - 3 };
    for (int two = 0; two < 2; two++) {
        tensor tensors[sizeof falcon_tensors / sizeof *falcon_tensors];
        memcpy(tensors, falcon_tensors, sizeof tensors);
        if (!two) tensors[ONE_NORM].name = NULL;
        rill__model *m = open_model(write_gguf("falcon", 2, entries, tensors));
        const rill__description *d = &m->description;
        assert_int_equal(d->position, RILL_POSITION_ROPE);
        assert_true(d->rope.theta == 1e4 && d->rope.n_dims == 8 && !d->rope.interleaved);
        assert_true(!d->gated && !d->tied_embeddings && d->activation == RILL_ACT_GELU);
        assert_int_equal(d->residual,
                         two ? RILL_RESIDUAL_PARALLEL_TWO_NORMS : RILL_RESIDUAL_PARALLEL);
        const rill__source *s = m->file.source;
        const rill__parameter *a = rill__model_parameter(m, RILL_WEIGHT_ATTENTION_NORM, 1);
        const rill__parameter *f = rill__model_parameter(m, RILL_WEIGHT_FFN_NORM, 1);
        const char *attention = two ? "blk.1.attn_norm_2.weight" : "blk.1.attn_norm.weight";
        assert_ptr_equal(a->weight.data, rill__source_tensor(s, attention)->data);
        assert_non_null(a->bias.data);
        if (two) {
            assert_ptr_equal(f->weight.data,
                             rill__source_tensor(s, "blk.1.attn_norm.weight")->data);
            assert_non_null(f->bias.data);
        }
        rill__model_close(&m);
    }
}

// ---- gpt-oss --------------------------------------------------------------------------------

static const tensor gpt_oss_tensors[] = {
    {"token_embd.weight", {2, 24}},
    {"output.weight", {2, 24}},
    {"output_norm.weight", {24}},
    {"blk.#.attn_norm.weight", {24}},
    {"blk.#.attn_q.weight", {32, 24}},
    {"blk.#.attn_q.bias", {32}},
    {"blk.#.attn_k.weight", {16, 24}},
    {"blk.#.attn_k.bias", {16}},
    {"blk.#.attn_v.weight", {16, 24}},
    {"blk.#.attn_v.bias", {16}},
    {"blk.#.attn_output.weight", {24, 32}},
    {"blk.#.attn_output.bias", {24}},
    {"blk.#.attn_sinks.weight", {4}},
    {"blk.#.post_attention_norm.weight", {24}},
    {"blk.#.ffn_gate_inp.weight", {3, 24}},
    {"blk.#.ffn_gate_inp.bias", {3}},
    {"blk.#.ffn_gate_exps.weight", {3, 12, 24}},
    {"blk.#.ffn_gate_exps.bias", {3, 12}},
    {"blk.#.ffn_up_exps.weight", {3, 12, 24}},
    {"blk.#.ffn_up_exps.bias", {3, 12}},
    {"blk.#.ffn_down_exps.weight", {3, 24, 12}},
    {"blk.#.ffn_down_exps.bias", {3, 24}},
    {NULL, {0}},
};

// Every other layer sees all, the first one does not; YaRN's ramp is not rounded; the limit is 7.
static void gpt_oss_needs_no_pattern(void **state) {
    (void)state;
    static const entry entries[] = {
        {U32, ".context_length", 131072},
        {U32, ".embedding_length", 24},
        {U32, ".feed_forward_length", 12},
        {U32, ".attention.head_count", 4},
        {U32, ".attention.head_count_kv", 2},
        {F32, ".rope.freq_base", 150000},
        {F32, ".attention.layer_norm_rms_epsilon", 1e-5},
        {U32, ".expert_count", 3},
        {U32, ".expert_used_count", 2},
        {U32, ".attention.key_length", 8},
        {U32, ".attention.value_length", 8},
        {U32, ".attention.sliding_window", 128},
        {U32, ".expert_feed_forward_length", 12},
        {YARN, ".rope.scaling.type", 0},
        {F32, ".rope.scaling.factor", 32},
        {U32, ".rope.scaling.original_context_length", 4096},
        {END, NULL, 0},
    };
    rill__model *m = open_model(write_gguf("gpt-oss", 3, entries, gpt_oss_tensors));
    const rill__description *d = &m->description;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(rill__description_window(d, i), i % 2 ? 0 : 128);
    assert_true(d->sink_logits && d->gated && !d->tied_embeddings);
    assert_int_equal(d->activation, RILL_ACT_CLAMPED_SWIGLU);
    assert_true(d->activation_limit == 7);
    assert_int_equal(d->n_experts, 3);
    assert_int_equal(d->n_experts_used, 2);
    assert_int_equal(d->ffn_size, 12);
    assert_int_equal(d->rope.scaling, RILL_ROPE_YARN);
    assert_true(d->rope.theta == 150000 && d->rope.factor == 32 && !d->rope.truncate);
    assert_true(d->rope.beta_fast == 32 && d->rope.beta_slow == 1);
    assert_int_equal(d->rope.original_context, 4096);
    assert_true(fabs(rill__rope_magnitude(&d->rope) - (0.1 * log(32) + 1)) < 1e-12);
    const rill__parameter *gate = rill__model_parameter(m, RILL_WEIGHT_GATE, 2);
    assert_int_equal(gate->weight.shape[0], 36);
    assert_int_equal(gate->bias.shape[0], 36);
    assert_non_null(rill__model_parameter(m, RILL_WEIGHT_ROUTER, 2)->bias.data);
    rill__model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemma3_is_scaled_as_llama_cpp_does),
        cmocka_unit_test(gemma3_needs_no_pattern),
        cmocka_unit_test(plain_scale_of_gemma3_survives),
        cmocka_unit_test(mpt_has_alibi_or_is_refused),
        cmocka_unit_test(gptneox_needs_no_base),
        cmocka_unit_test(falcon_is_known_by_its_norms),
        cmocka_unit_test(gpt_oss_needs_no_pattern),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
