// SPDX-License-Identifier: MIT
// GGUF metadata as llama.cpp's converter writes them (gguf-py/gguf/constants.py, conversion/*.py),
// with no key of rill's own: what they leave out is what llama.cpp's loader takes for it
// (src/llama-model.cpp).
#include "model/family.h"

#include "model_files.h"

#include <math.h>

typedef enum kind { END, U32, F32 } kind;

// An entry of the metadata; kind END ends a list. The architecture stands before a key.
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
        else
            rill__gguf_put_f32(w, key, e->value);
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
    if (rill_convert(from, to, RILL_TYPE_F32, NULL, NULL, &err) != RILL_OK)
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemma3_is_scaled_as_llama_cpp_does),
        cmocka_unit_test(plain_scale_of_gemma3_survives),
        cmocka_unit_test(mpt_has_alibi_or_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
