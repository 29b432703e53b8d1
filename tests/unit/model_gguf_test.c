// SPDX-License-Identifier: MIT
// Models in GGUF files: everything that may be wrong with one is said in one line.
#include "model_files.h"

#include <math.h>

static void put_mamba(rill__gguf_writer *w) {
    rill__gguf_put_text(w, "general.architecture", "mamba");
}

static void put_number_name(rill__gguf_writer *w) {
    rill__gguf_put_u32(w, "general.architecture", 3);
}

static void put_text_layers(rill__gguf_writer *w) {
    rill__gguf_put_text(w, "qwen3.block_count", "three");
}

static void put_no_layers(rill__gguf_writer *w) {
    rill__gguf_put_u32(w, "qwen3.block_count", 0);
}

static void put_wide_heads(rill__gguf_writer *w) {
    rill__gguf_put_u32(w, "qwen3.attention.key_length", 32);
}

static void put_half_layers(rill__gguf_writer *w) {
    rill__gguf_put_f32(w, "qwen3.block_count", 1.5);
}

static void put_files(rill__gguf_writer *w) {
    rill__gguf_put_u32(w, "split.count", 3);
}

static void put_experts(rill__gguf_writer *w) {
    rill__gguf_put_u32(w, "qwen3.expert_count", 8);
}

static void put_used_experts(rill__gguf_writer *w) {
    put_experts(w);
    rill__gguf_put_u32(w, "qwen3.expert_used_count", 2);
}

static void put_scaling(rill__gguf_writer *w) {
    rill__gguf_put_text(w, "qwen3.rope.scaling.type", "spiral");
}

static void put_dynamic(rill__gguf_writer *w) {
    rill__gguf_put_text(w, "qwen3.rope.scaling.type", "dynamic");
    rill__gguf_put_f32(w, "qwen3.rope.scaling.factor", 4);
}

static void put_own_scaling(rill__gguf_writer *w) {
    rill__gguf_put_text(w, "rill.rope.scaling.type", "linear");
}

static void put_infinite(rill__gguf_writer *w) {
    rill__gguf_put_f32(w, "qwen3.rope.freq_base", HUGE_VAL);
}

static const struct {
    gguf_edit edit;
    rill_status status;
    const char *first, *second;
} wrong_metadata[] = {
    {{.key = "general.architecture"}, RILL_EFORMAT, "general.architecture: ", "missing"},
    {{.key = "general.architecture", .more = put_mamba},
     RILL_EUNSUPPORTED,
     "general.architecture: 'mamba'",
     "llama, phi3, qwen2, qwen3, gptneox, falcon, mpt, gemma3, gpt-oss are known"},
    {{.key = "general.architecture", .more = put_number_name},
     RILL_EFORMAT,
     "general.architecture: 3; ",
     "a text is right"},
    {{.key = "qwen3.block_count"}, RILL_EFORMAT, "qwen3.block_count: ", "missing"},
    {{.key = "qwen3.block_count", .more = put_text_layers},
     RILL_EFORMAT,
     "qwen3.block_count: a text; ",
     "a whole number"},
    {{.key = "qwen3.block_count", .more = put_half_layers},
     RILL_EFORMAT,
     "qwen3.block_count: 1.5; ",
     "a whole number"},
    {{.key = "qwen3.block_count", .more = put_no_layers}, RILL_EFORMAT, "layers: 0; ", "1 to"},
    {{.key = "qwen3.embedding_length"}, RILL_EFORMAT, "qwen3.embedding_length: ", "missing"},
    {{.key = "qwen3.feed_forward_length"}, RILL_EFORMAT, "qwen3.feed_forward_length: ", "missing"},
    {{.key = "qwen3.attention.head_count"},
     RILL_EFORMAT,
     "qwen3.attention.head_count: ",
     "missing"},
    {{.key = "qwen3.context_length"}, RILL_EFORMAT, "qwen3.context_length: ", "missing"},
    {{.key = "qwen3.attention.layer_norm_rms_epsilon"},
     RILL_EFORMAT,
     "layer_norm_rms_epsilon: ",
     "a small number"},
    {{.key = "qwen3.attention.key_length", .more = put_wide_heads},
     RILL_EUNSUPPORTED,
     "qwen3.attention.value_length: 24; ",
     "32"},
    {{.more = put_files}, RILL_EUNSUPPORTED, "split.count: one of 3 files", "all in one"},
    {{.more = put_experts}, RILL_EFORMAT, "experts used: 0", "1 to the 8"},
    {{.more = put_used_experts},
     RILL_EFORMAT,
     "'blk.0.ffn_gate.weight': shape [96, 64]; ",
     "[768, 64] is right"},
    {{.more = put_scaling}, RILL_EUNSUPPORTED, "rope.scaling.type: 'spiral'", "are known"},
    {{.more = put_dynamic},
     RILL_EUNSUPPORTED,
     "qwen3.rope.scaling.type: 'dynamic'; ",
     "none, linear, yarn and longrope are known"},
    {{.more = put_own_scaling},
     RILL_EUNSUPPORTED,
     ": rill.rope.scaling.type: 'linear'; ",
     "dynamic is known"},
    {{.key = "qwen3.rope.freq_base", .more = put_infinite},
     RILL_EFORMAT,
     "qwen3.rope.freq_base: inf; ",
     "a number is right"},
};

static void wrong_metadata_is_named(void **state) {
    (void)state;
    const char *right = gguf_of("qwen3", RILL_TYPE_F32);
    for (size_t i = 0; i < sizeof wrong_metadata / sizeof *wrong_metadata; i++)
        check_refused(edited_gguf(right, "edited.gguf", &wrong_metadata[i].edit),
                      wrong_metadata[i].status, wrong_metadata[i].first, wrong_metadata[i].second);
}

static void wrong_tensors_of_gguf_are_named(void **state) {
    (void)state;
    static const struct {
        gguf_edit edit;
        const char *first, *second;
    } cases[] = {
        {{.tensor = "blk.1.ffn_up.weight", .drop = true}, "'blk.1.ffn_up.weight': ", "missing"},
        {{.tensor = "output_norm.weight", .drop = true}, "'output_norm.weight': ", "missing"},
        {{.tensor = "token_embd.weight", .drop = true}, "'token_embd.weight': ", "missing"},
        {{.tensor = "blk.0.attn_k_norm.weight", .drop = true}, "k_norm.weight': ", "missing"},
        {{.tensor = "token_embd.weight", .n_dims = 2, .shape = {80, 128}},
         "qwen3.vocab_size: 160; ",
         "80, the rows"},
        {{.tensor = "blk.2.ffn_down.weight", .n_dims = 2, .shape = {96, 64}},
         "'blk.2.ffn_down.weight': shape [96, 64]; ",
         "[64, 96] is right"},
        {{.tensor = "blk.2.ffn_down.weight", .n_dims = 1, .shape = {6144}},
         "'blk.2.ffn_down.weight': shape [6144]; ",
         "[64, 96] is right"},
        {{.tensor = "output_norm.weight", .n_dims = 2, .shape = {1, 64}},
         "'output_norm.weight': shape [1, 64]; ",
         "[64] is right"},
    };
    const char *right = gguf_of("qwen3", RILL_TYPE_F32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(edited_gguf(right, "edited.gguf", &cases[i].edit), RILL_EFORMAT,
                      cases[i].first, cases[i].second);
}

static char architecture[32];

static void put_one_expert(rill__gguf_writer *w) {
    char key[64];
    snprintf(key, sizeof key, "%s.expert_count", architecture);
    rill__gguf_put_u32(w, key, 1);
    snprintf(key, sizeof key, "%s.expert_used_count", architecture);
    rill__gguf_put_u32(w, key, 1);
}

// One expert's matrices have the shapes of a dense feed-forward's: what is missing is the router.
static void families_without_a_router_have_no_experts(void **state) {
    (void)state;
    static const char *const models[][2] = {
        {"llama", "llama"}, {"mistral", "llama"}, {"phi3", "phi3"},
        {"qwen2", "qwen2"}, {"qwen3", "qwen3"},   {"gemma3", "gemma3"},
    };
    const gguf_edit edit = {.more = put_one_expert};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(architecture, sizeof architecture, "%s", models[i][1]);
        const char *path = edited_gguf(gguf_of(models[i][0], RILL_TYPE_F32), "one.gguf", &edit);
        check_refused(path, RILL_EFORMAT, "layer 0: router: ", "has no tensor of that kind");
    }
}

// And a mixture of experts has some.
static void gpt_oss_has_experts(void **state) {
    (void)state;
    const gguf_edit edit = {.key = "gpt-oss.expert_count"};
    check_refused(edited_gguf(gguf_of("gpt-oss", RILL_TYPE_F32), "none.gguf", &edit), RILL_EFORMAT,
                  "gpt-oss.expert_count: it is missing, or 0; ", "at least 1 is right");
}

// The number that stands for a tensor's type is overwritten where it lies.
static void types_of_gguf_are_known_or_named(void **state) {
    (void)state;
    static const char name[] = "blk.1.ffn_gate.weight";
    char *bytes;
    size_t size;
    rill_error err;
    const char *right = gguf_of("qwen3", RILL_TYPE_F32);
    assert_int_equal(rill__file_read(right, 1 << 22, &bytes, &size, &err), RILL_OK);
    char *at = memmem(bytes, size, name, strlen(name));
    assert_non_null(at);
    at += strlen(name) + 4 + 2 * 8;  // after it: dimensions, two of them, the type
    static const struct {
        uint32_t type;
        const char *word;
    } cases[] = {{16, "IQ2_XXS"}, {21, "IQ3_S"}, {34, "TQ1_0"}, {26, "I32"}, {99, "99"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(at, &cases[i].type, 4);
        check_refused(scratch_file("type.gguf", bytes, size), RILL_EUNSUPPORTED, name,
                      cases[i].word);
    }
    rill__free(bytes);
}

static void output_may_be_absent_in_gguf(void **state) {
    (void)state;
    const gguf_edit edit = {.tensor = "output.weight", .drop = true};
    rill__model *m = open_model(gguf_of("mistral", RILL_TYPE_F32));
    assert_false(m->description.tied_embeddings);
    rill__model_close(&m);
    m = open_model(edited_gguf(scratch_path("mistral.gguf"), "tied.gguf", &edit));
    assert_true(m->description.tied_embeddings);
    rill__model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_metadata_is_named),
        cmocka_unit_test(wrong_tensors_of_gguf_are_named),
        cmocka_unit_test(families_without_a_router_have_no_experts),
        cmocka_unit_test(gpt_oss_has_experts),
        cmocka_unit_test(types_of_gguf_are_known_or_named),
        cmocka_unit_test(output_may_be_absent_in_gguf),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
