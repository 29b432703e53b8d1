// SPDX-License-Identifier: MIT
// config.json: the keys of every family, in both generations, and values that make no sense.
#include "config_keys.h"
#include "scratch.h"

#define SIZES                                                                                      \
    "\"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4, "                  \
    "\"intermediate_size\": 96, \"vocab_size\": 160"

// What a family makes of SIZES and `more` ("" or ", \"key\": ...").
static rill_status read_keys(const char *family, const char *more, reading *out) {
    char text[2048];
    snprintf(text, sizeof text, "{\"model_type\": \"%s\", " SIZES "%s}", family, more);
    return read_text(family, text, out);
}

static void must_read(const char *family, const char *more, reading *out) {
    if (read_keys(family, more, out) != RILL_OK)
        fail_msg("%s%s: %s", family, more, out->err.message);
}

// Families whose settings are Llama's and a few more.
static const char *const llama_kind[] = {"llama", "mistral", "phi3", "qwen2", "qwen3", NULL};

// ---- Both generations of RoPE's keys --------------------------------------------------------

typedef struct rope_case {
    const char *keys;  // of both generations
    rill__rope_scaling scaling;
    double factor;
    uint32_t original_context;
} rope_case;

#define EIGHT "[1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]"

static const rope_case rope_cases[] = {
    {"\"rope_type\": \"default\"", RILL_ROPE_DEFAULT, 0, 4096},
    {"\"rope_type\": \"linear\", \"factor\": 4", RILL_ROPE_LINEAR, 4, 4096},
    {"\"rope_type\": \"dynamic\", \"factor\": 2.5", RILL_ROPE_NTK, 2.5, 4096},
    {"\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
     "\"original_max_position_embeddings\": 512",
     RILL_ROPE_LLAMA3, 8, 512},
    {"\"rope_type\": \"yarn\", \"factor\": 16, \"original_max_position_embeddings\": 256",
     RILL_ROPE_YARN, 16, 256},
    {"\"rope_type\": \"longrope\", \"original_max_position_embeddings\": 1024, "
     "\"short_factor\": " EIGHT ", \"long_factor\": " EIGHT,
     RILL_ROPE_LONGROPE, 4, 1024},
};

static void check_rope(const rill__description *d, const rope_case *c) {
    const rill__rope_description *r = &d->rope;
    assert_int_equal(r->scaling, c->scaling);
    assert_true(r->theta == 500000);
    assert_int_equal(r->n_dims, 16);
    assert_false(r->interleaved);
    if (c->scaling != RILL_ROPE_DEFAULT) assert_true(r->factor == c->factor);
    assert_int_equal(r->original_context, c->original_context);
    if (c->scaling == RILL_ROPE_LLAMA3) {
        assert_true(r->low_freq_factor == 1);
        assert_true(r->high_freq_factor == 4);
    }
    if (c->scaling == RILL_ROPE_YARN) {
        assert_true(r->beta_fast == 32 && r->beta_slow == 1 && r->truncate);
        assert_true(r->attention_factor == 0 && r->mscale == 0 && r->mscale_all_dim == 0);
    }
    if (c->scaling == RILL_ROPE_LONGROPE) {
        assert_true(r->short_factors[1] == 1.5f);
        assert_true(r->long_factors[7] == 4.5f);
    } else {
        assert_null(r->short_factors);
    }
}

// Keys of one generation: 0, rope_scaling beside rope_theta; 1, rope_parameters; 2, rope_scaling
// with the base inside, as transformers 5 writes for older readers.
static void make_keys(int generation, const char *rope, char *out, size_t capacity) {
    static const char common[] =
        ", \"max_position_embeddings\": 4096, \"num_key_value_heads\": 2, \"head_dim\": 16";
    if (generation == 0)
        snprintf(out, capacity, "%s, \"rope_theta\": 500000, \"rope_scaling\": {%s}", common, rope);
    else
        snprintf(out, capacity, "%s, \"%s\": {\"rope_theta\": 500000, %s}", common,
                 generation == 1 ? "rope_parameters" : "rope_scaling", rope);
}

static void both_generations_say_the_same(void **state) {
    (void)state;
    for (size_t f = 0; llama_kind[f]; f++) {
        for (size_t i = 0; i < 3 * sizeof rope_cases / sizeof *rope_cases; i++) {
            char more[1024];
            reading r;
            make_keys((int)(i % 3), rope_cases[i / 3].keys, more, sizeof more);
            must_read(llama_kind[f], more, &r);
            check_rope(&r.d, &rope_cases[i / 3]);
            assert_int_equal(r.d.trained_context, 4096);
            rill__description_deinit(&r.d);
        }
    }
}

// The first generation's first name for "rope_type", longrope's first name, null for no scaling.
static void older_names_are_known(void **state) {
    (void)state;
    reading r;
    must_read("llama", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}", &r);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_LINEAR);
    must_read("llama", ", \"rope_scaling\": null, \"rope_theta\": 20000", &r);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_DEFAULT);
    assert_true(r.d.rope.theta == 20000);
    // Phi-3's original length stands outside.
    must_read("phi3",
              ", \"head_dim\": 16, \"max_position_embeddings\": 131072, "
              "\"original_max_position_embeddings\": 4096, \"rope_scaling\": {\"type\": \"su\", "
              "\"short_factor\": " EIGHT ", \"long_factor\": " EIGHT "}",
              &r);
    assert_int_equal(r.d.rope.scaling, RILL_ROPE_LONGROPE);
    assert_int_equal(r.d.rope.original_context, 4096);
    assert_true(r.d.rope.factor == 32);
    rill__description_deinit(&r.d);
    must_read("phi3", ", \"partial_rotary_factor\": 0.5", &r);
    assert_int_equal(r.d.rope.n_dims, 8);
    must_read("phi3", ", \"rope_parameters\": {\"partial_rotary_factor\": 0.75}", &r);
    assert_int_equal(r.d.rope.n_dims, 12);
}

// ---- Families -------------------------------------------------------------------------------

// transformers' configuration classes: what a key that is left out means.
static void each_family_has_its_own_defaults(void **state) {
    (void)state;
    static const struct {
        const char *family, *more;
        uint32_t n_kv_heads, head_dim, context, window;
        double eps;
        uint32_t biases;
        rill__qk_norm qk_norm;
    } cases[] = {
        {"llama", "", 4, 16, 2048, 0, 1e-6, 0, RILL_QK_NORM_NONE},
        {"mistral", ", \"num_attention_heads\": 16", 8, 4, 131072, 4096, 1e-6, 0,
         RILL_QK_NORM_NONE},
        {"phi3", "", 4, 16, 4096, 0, 1e-5, 0, RILL_QK_NORM_NONE},
        {"qwen2", ", \"num_attention_heads\": 32", 32, 2, 32768, 0, 1e-6,
         1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V, RILL_QK_NORM_NONE},
        {"qwen3", ", \"num_attention_heads\": 32", 32, 128, 32768, 0, 1e-6, 0, RILL_QK_NORM_HEAD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reading r;
        must_read(cases[i].family, cases[i].more, &r);
        assert_int_equal(r.d.n_layers, 2);
        assert_int_equal(r.d.hidden_size, 64);
        assert_int_equal(r.d.ffn_size, 96);
        assert_int_equal(r.d.vocab_size, 160);
        assert_int_equal(r.d.n_kv_heads, cases[i].n_kv_heads);
        assert_int_equal(r.d.head_dim, cases[i].head_dim);
        assert_int_equal(r.d.trained_context, cases[i].context);
        for (uint32_t layer = 0; layer < 2; layer++)
            assert_int_equal(rill__description_window(&r.d, layer), cases[i].window);
        assert_true(r.d.norm_eps == (float)cases[i].eps);
        assert_int_equal(r.biases, cases[i].biases);
        assert_int_equal(r.d.qk_norm, cases[i].qk_norm);
        assert_true(r.d.rope.theta == 10000);
        assert_false(r.d.tied_embeddings);
        assert_true(r.d.gated);
        assert_int_equal(r.d.activation, RILL_ACT_SILU);
        rill__description_deinit(&r.d);
    }
}

static void keys_override_the_defaults(void **state) {
    (void)state;
    for (size_t f = 0; llama_kind[f]; f++) {
        reading r;
        must_read(llama_kind[f],
                  ", \"num_key_value_heads\": 2, \"head_dim\": 24, \"rms_norm_eps\": 0.001, "
                  "\"max_position_embeddings\": 77.0, \"tie_word_embeddings\": true, "
                  "\"hidden_act\": \"gelu_pytorch_tanh\", \"softmax_off_by_one\": true",
                  &r);
        assert_int_equal(r.d.n_kv_heads, 2);
        assert_int_equal(r.d.head_dim, 24);
        assert_true(r.d.norm_eps == 0.001f);
        assert_int_equal(r.d.trained_context, 77);
        assert_true(r.d.tied_embeddings);
        assert_true(r.d.softmax_off_by_one);
        assert_int_equal(r.d.activation, RILL_ACT_GELU_TANH);
        rill__description_deinit(&r.d);
    }
}

static void biases_are_announced(void **state) {
    (void)state;
    const uint32_t attention =
        1u << RILL_WEIGHT_Q | 1u << RILL_WEIGHT_K | 1u << RILL_WEIGHT_V | 1u << RILL_WEIGHT_O;
    const uint32_t mlp = 1u << RILL_WEIGHT_GATE | 1u << RILL_WEIGHT_UP | 1u << RILL_WEIGHT_DOWN;
    reading r;
    must_read("llama", ", \"attention_bias\": true", &r);
    assert_int_equal(r.biases, attention);
    must_read("llama", ", \"mlp_bias\": true", &r);
    assert_int_equal(r.biases, mlp);
    must_read("qwen3", ", \"num_key_value_heads\": 4, \"attention_bias\": true", &r);
    assert_int_equal(r.biases, attention);
}

static void windows_hold_in_their_layers(void **state) {
    (void)state;
    static const struct {
        const char *family, *more;
        uint32_t windows[2];
    } cases[] = {
        {"mistral", ", \"sliding_window\": 12", {12, 12}},
        {"mistral", ", \"sliding_window\": null", {0, 0}},
        {"phi3", ", \"sliding_window\": 2047", {2047, 2047}},
        {"qwen2", ", \"sliding_window\": 12", {0, 0}},
        {"qwen2",
         ", \"sliding_window\": 12, \"use_sliding_window\": true, \"max_window_layers\": 1",
         {0, 12}},
        {"qwen3",
         ", \"sliding_window\": 12, \"use_sliding_window\": true, \"max_window_layers\": 0",
         {12, 12}},
        {"qwen2", ", \"sliding_window\": 12, \"use_sliding_window\": true", {0, 0}},
        {"qwen2",
         ", \"sliding_window\": 9, \"use_sliding_window\": true, \"layer_types\": "
         "[\"sliding_attention\", \"full_attention\"]",
         {9, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[256];
        reading r;
        snprintf(more, sizeof more, ", \"num_key_value_heads\": 2%s", cases[i].more);
        must_read(cases[i].family, more, &r);
        for (uint32_t layer = 0; layer < 2; layer++)
            if (rill__description_window(&r.d, layer) != cases[i].windows[layer])
                fail_msg("%s%s: layer %u: window %u", cases[i].family, more, layer,
                         rill__description_window(&r.d, layer));
        rill__description_deinit(&r.d);
    }
}

// ---- What is wrong --------------------------------------------------------------------------

// Keys that replace those of a right file (or stand beside them), and what the message must say.
static const struct {
    const char *keys;
    rill_status status;
    const char *field, *found, *right;
} wrong[] = {
    {"\"hidden_size\": \"64\"", RILL_EFORMAT, "hidden_size: ", "'64'", "a whole number"},
    {"\"hidden_size\": 64.5", RILL_EFORMAT, "hidden_size: ", "64.5", "a whole number"},
    {"\"hidden_size\": -64", RILL_EFORMAT, "hidden_size: ", "-64", "a whole number"},
    {"\"hidden_size\": [64]", RILL_EFORMAT, "hidden_size: ", "a list", "a whole number"},
    {"\"hidden_size\": {}", RILL_EFORMAT, "hidden_size: ", "an object", "a whole number"},
    {"\"hidden_size\": true", RILL_EFORMAT, "hidden_size: ", "true", "a whole number"},
    {"\"hidden_size\": 1e300", RILL_EFORMAT, "hidden_size: ", "1e+300", "to 4294967295"},
    {"\"hidden_size\": null", RILL_EFORMAT, "hidden_size: ", "missing", ""},
    {"\"num_hidden_layers\": null", RILL_EFORMAT, "num_hidden_layers: ", "missing", ""},
    {"\"num_attention_heads\": null", RILL_EFORMAT, "num_attention_heads: ", "missing", ""},
    {"\"intermediate_size\": null", RILL_EFORMAT, "intermediate_size: ", "missing", ""},
    {"\"vocab_size\": null", RILL_EFORMAT, "vocab_size: ", "missing", ""},
    {"\"model_type\": null", RILL_EFORMAT, "model_type: ", "missing", ""},
    {"\"model_type\": 7", RILL_EFORMAT, "model_type: ", "7", "a text"},
    {"\"model_type\": \"mamba\"", RILL_EUNSUPPORTED, "model_type: ", "'mamba'",
     "llama, mistral, phi3, qwen2, qwen3, gpt_neox, falcon, mpt, gemma3_text, gemma3, gpt_oss are "
     "known"},
    {"\"num_hidden_layers\": 0", RILL_EFORMAT, "layers: ", "0", "1 to 512"},
    {"\"num_hidden_layers\": 4000000000", RILL_EFORMAT, "layers: ", "4000000000", "1 to 512"},
    {"\"hidden_size\": 0", RILL_EFORMAT, "hidden size: ", "0", "1 to 131072"},
    {"\"hidden_size\": 4294967292", RILL_EFORMAT, "hidden size: ", "4294967292", "1 to"},
    {"\"num_attention_heads\": 0", RILL_EFORMAT, "heads: ", "0", "1 to 4096"},
    {"\"num_attention_heads\": 5", RILL_EFORMAT, "num_attention_heads: ", "5", "divide"},
    {"\"num_key_value_heads\": 0", RILL_EFORMAT, "key-value heads: ", "0", "1 to 4"},
    {"\"num_key_value_heads\": 3", RILL_EFORMAT, "key-value heads: ", "3", "divides the 4 heads"},
    {"\"num_key_value_heads\": 8", RILL_EFORMAT, "key-value heads: ", "8", "1 to 4"},
    {"\"head_dim\": 0", RILL_EFORMAT, "head size: ", "0", "1 to 4096"},
    {"\"head_dim\": 15", RILL_EFORMAT, "rope: ", "15 rotated", "an even number"},
    {"\"intermediate_size\": 2000000000", RILL_EFORMAT, "feed-forward size: ", "2000000000",
     "1 to"},
    {"\"vocab_size\": 4294967295", RILL_EFORMAT, "vocabulary: ", "4294967295", "1 to"},
    {"\"max_position_embeddings\": 0", RILL_EFORMAT, "trained context: ", "0", "1 to"},
    {"\"rms_norm_eps\": -1", RILL_EFORMAT, "epsilon of the norms: ", "-1", "0 to 1"},
    {"\"rms_norm_eps\": \"small\"", RILL_EFORMAT, "rms_norm_eps: ", "'small'", "a number"},
    {"\"tie_word_embeddings\": 1", RILL_EFORMAT, "tie_word_embeddings: ", "1", "true or false"},
    {"\"hidden_act\": \"relu6\"", RILL_EUNSUPPORTED, "hidden_act: ", "'relu6'", "are known"},
    {"\"hidden_act\": false", RILL_EFORMAT, "hidden_act: ", "false", "a text"},
    {"\"rope_parameters\": 5", RILL_EFORMAT, "rope_parameters: ", "5", "an object"},
    {"\"rope_parameters\": {\"rope_theta\": 0}", RILL_EFORMAT, "theta: ", "0", "1.001 to"},
    {"\"rope_parameters\": {\"rope_type\": \"spiral\"}", RILL_EUNSUPPORTED,
     "rope_type: ", "'spiral'", "are known"},
    {"\"rope_scaling\": {\"type\": \"linear\"}", RILL_EFORMAT, "factor: ", "missing", ""},
    {"\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", RILL_EFORMAT, "factor: ", "0",
     "0.001 to"},
    {"\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 2]}", RILL_EFORMAT,
     "short_factor: ", "2 numbers", "a list of 8"},
    {"\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1,1,1,1,1,1,1,\"x\"]}",
     RILL_EFORMAT, "short_factor: ", "entry 7", "above 0"},
    {"\"rope_parameters\": {\"full_attention\": {}}", RILL_EUNSUPPORTED,
     "rope_parameters: ", "each kind of layer", "not known"},
    {"\"partial_rotary_factor\": 0.5", RILL_EUNSUPPORTED, "partial_rotary_factor: ", "0.5",
     "only 1 is known"},
    {"\"quantization_config\": {}", RILL_EUNSUPPORTED, "quantization_config: ", "quantised",
     "a GGUF file"},
};

// A directory whose config.json has the keys replaced; the weights are right.
static const char *make_directory(const char *keys) {
    char text[2048], command[1200];
    const char *path = scratch_path("model");
    snprintf(command, sizeof command, "mkdir -p %s && cp %s %s/", path,
             test_data("golden/llama", "model.safetensors"), path);
    assert_int_equal(system(command), 0);
    snprintf(text, sizeof text, "{%s}", keys);
    json_t *right, *edits;
    rill_error err;
    static const char base[] = "{\"model_type\": \"llama\", " SIZES "}";
    assert_int_equal(rill__json_parse("base", base, strlen(base), &right, &err), RILL_OK);
    assert_int_equal(rill__json_parse("edits", text, strlen(text), &edits, &err), RILL_OK);
    assert_int_equal(json_object_update(right, edits), 0);
    assert_int_equal(json_dump_file(right, scratch_path("model/config.json"), 0), 0);
    json_decref(right);
    json_decref(edits);
    return path;
}

static void check_refused(const char *keys, const char *path, rill_status right_status,
                          const char *const *parts, size_t n_parts) {
    rill__model *m = NULL;
    rill_error err = {0};
    char start[256];
    rill_status status = rill__model_open(path, &m, &err);
    snprintf(start, sizeof start, "%s/config.json: ", path);
    bool says = strncmp(err.message, start, strlen(start)) == 0 && !strchr(err.message, '\n');
    for (size_t i = 0; i < n_parts; i++) says = says && strstr(err.message, parts[i]);
    if (status != right_status || !says)
        fail_msg("%s: status %d: %s", keys, (int)status, err.message);
    assert_null(m);
}

static void wrong_values_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *const parts[] = {wrong[i].field, wrong[i].found, wrong[i].right};
        check_refused(wrong[i].keys, make_directory(wrong[i].keys), wrong[i].status, parts, 3);
    }
}

static void what_is_no_object_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {{"", "1"}, {"[1]", "an object"}, {"{\"model_type\": ", "line"}, {"\xff", "line"}};
    const char *path = make_directory("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_text("model/config.json", cases[i].text);
        check_refused(cases[i].text, path, RILL_EFORMAT, &cases[i].word, 1);
    }
    assert_int_equal(remove(scratch_path("model/config.json")), 0);
    const char *const missing[] = {"No such file"};
    check_refused("no file", path, RILL_EIO, missing, 1);
}

// A list of windows that does not fit the layers; read by the families that have one.
static void wrong_windows_are_named(void **state) {
    (void)state;
    static const struct {
        const char *more, *message;
    } cases[] = {
        {", \"layer_types\": [\"full_attention\"]",
         "keys: layer_types: 1 entries; a list of 2 is right"},
        {", \"layer_types\": 4", "keys: layer_types: 0 entries; a list of 2 is right"},
        {", \"layer_types\": [\"full_attention\", \"chunked_attention\"]",
         "keys: layer_types: 'chunked_attention'; full_attention and sliding_attention are known"},
        {", \"layer_types\": [1, 2]",
         "keys: layer_types: '(not a text)'; full_attention and sliding_attention are known"},
        {", \"sliding_window\": \"wide\"",
         "keys: sliding_window: 'wide'; a whole number from 0 to 4294967295 is right"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reading r;
        assert_int_not_equal(read_keys("mistral", cases[i].more, &r), RILL_OK);
        assert_string_equal(r.err.message, cases[i].message);
        rill__description_deinit(&r.d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_generations_say_the_same),
        cmocka_unit_test(older_names_are_known),
        cmocka_unit_test(each_family_has_its_own_defaults),
        cmocka_unit_test(keys_override_the_defaults),
        cmocka_unit_test(biases_are_announced),
        cmocka_unit_test(windows_hold_in_their_layers),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(wrong_windows_are_named),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
