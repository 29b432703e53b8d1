// SPDX-License-Identifier: MIT
// Models opened from Hugging Face directories, whole and in several files: every weight where it
// belongs, and everything that may be wrong with them said in one line.
#include "model/model.h"
#include "model/shapes.h"
#include "model/source.h"

#include "model_files.h"

static void same_tensor(const rill__tensor *a, const rill__tensor *b) {
    assert_int_equal(a->data == NULL, b->data == NULL);
    if (!a->data) return;
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->shape, b->shape, sizeof a->shape);
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->data, b->data, a->bytes);
}

static void same_weights(const rill__model *a, const rill__model *b) {
    assert_int_equal(a->n_parameters, b->n_parameters);
    assert_int_equal(a->weight_bytes, b->weight_bytes);
    assert_memory_equal(a->fingerprint, b->fingerprint, sizeof a->fingerprint);
    for (uint32_t layer = 0; layer < a->description.n_layers; layer++) {
        for (int role = 0; role < RILL_WEIGHTS; role++) {
            const rill__parameter *p = rill__model_parameter(a, (rill__weight_role)role, layer);
            const rill__parameter *q = rill__model_parameter(b, (rill__weight_role)role, layer);
            same_tensor(&p->weight, &q->weight);
            same_tensor(&p->bias, &q->bias);
        }
    }
}

// ---- Directories ----------------------------------------------------------------------------

static void check_view(const rill__model *m, rill__weight_role role, uint32_t layer,
                       const char *name, uint64_t first_row, uint64_t rows) {
    const rill__tensor *t = rill__source_tensor(m->file.source, name);
    const rill__tensor *w = &rill__model_parameter(m, role, layer)->weight;
    assert_non_null(t);
    assert_non_null(w->data);
    assert_int_equal(w->shape[0], rows);
    assert_int_equal(w->shape[1], t->shape[1]);
    assert_int_equal(w->type, t->type);
    size_t row = t->bytes / t->shape[0];
    assert_ptr_equal(w->data, t->data + first_row * row);
    assert_int_equal(w->bytes, rows * row);
}

static void weights_are_found_by_role(void **state) {
    (void)state;
    rill__model *m = open_model(test_data("golden", "llama-bias-headdim"));
    assert_string_equal(m->description.family, "llama");
    assert_string_equal(m->description.name, "llama-bias-headdim");
    assert_int_equal(m->description.head_dim, 24);
    assert_int_equal(m->weight_type, RILL_TYPE_BF16);
    assert_null(m->tokenizer);
    for (uint32_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%u.self_attn.k_proj.weight", i);
        check_view(m, RILL_WEIGHT_K, i, name, 0, 48);
        snprintf(name, sizeof name, "model.layers.%u.mlp.down_proj.weight", i);
        check_view(m, RILL_WEIGHT_DOWN, i, name, 0, 64);
        snprintf(name, sizeof name, "model.layers.%u.self_attn.k_proj.bias", i);
        assert_ptr_equal(rill__model_parameter(m, RILL_WEIGHT_K, i)->bias.data,
                         rill__source_tensor(m->file.source, name)->data);
        assert_non_null(rill__model_parameter(m, RILL_WEIGHT_DOWN, i)->bias.data);
        assert_null(rill__model_parameter(m, RILL_WEIGHT_Q_NORM, i)->weight.data);
    }
    check_view(m, RILL_WEIGHT_OUTPUT, 0, "lm_head.weight", 0, 160);
    check_view(m, RILL_WEIGHT_EMBEDDING, 2, "model.embed_tokens.weight", 0, 160);
    rill__model_close(&m);
    assert_null(m);
}

// Phi-3 keeps queries, keys and values in one matrix, and gate and up in another.
static void fused_weights_are_cut(void **state) {
    (void)state;
    rill__model *m = open_model(test_data("golden", "phi3"));
    const char *qkv = "model.layers.1.self_attn.qkv_proj.weight";
    check_view(m, RILL_WEIGHT_Q, 1, qkv, 0, 64);
    check_view(m, RILL_WEIGHT_K, 1, qkv, 64, 32);
    check_view(m, RILL_WEIGHT_V, 1, qkv, 96, 32);
    check_view(m, RILL_WEIGHT_GATE, 2, "model.layers.2.mlp.gate_up_proj.weight", 0, 96);
    check_view(m, RILL_WEIGHT_UP, 2, "model.layers.2.mlp.gate_up_proj.weight", 96, 96);
    rill__model_close(&m);
}

static void shards_are_one_model(void **state) {
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        rill__model *whole = open_model(test_data("golden", goldens[i]));
        rill__model *cut = open_model(sharded_model(goldens[i]));
        assert_int_equal(cut->file.source->n_shards, 3);
        same_weights(whole, cut);
        rill__model_close(&whole);
        rill__model_close(&cut);
    }
}

static void broken_shards_are_named(void **state) {
    (void)state;
    const char *path = sharded_model("qwen2");
    char file[512];
    snprintf(file, sizeof file, "%s/model-00002-of-00003.safetensors", path);
    assert_int_equal(remove(file), 0);
    check_refused(path, RILL_EIO, "/model-00002-of-00003.safetensors: ", "No such file");

    static const struct {
        const char *index;
        rill_status status;
        const char *first, *second;
    } cases[] = {
        {"[]", RILL_EFORMAT, "index.json: weight_map: ", "an object"},
        {"{}", RILL_EFORMAT, "index.json: weight_map: ", "an object"},
        {"{\"weight_map\": {}}", RILL_EFORMAT, "weight_map: ", "0 files; 1 to"},
        {"{\"weight_map\": {\"x\": 3}}", RILL_EFORMAT, "weight_map: 'x': ", "a file of"},
        {"{\"weight_map\": {\"x\": \"../model.safetensors\"}}", RILL_EFORMAT,
         "weight_map: 'x': ", "a file of the directory is right"},
        {"{\"weight_map\": {\"x\": \"/etc/passwd\"}}", RILL_EFORMAT,
         "weight_map: 'x': ", "a file of the directory is right"},
        {"{\"weight_map\"", RILL_EFORMAT, "index.json", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(file, sizeof file, "%s/model.safetensors.index.json", path);
        FILE *out = fopen(file, "w");
        assert_non_null(out);
        fputs(cases[i].index, out);
        assert_int_equal(fclose(out), 0);
        check_refused(path, cases[i].status, cases[i].first, cases[i].second);
    }
}

// A tensor that the index places in another file than it lies in is not there.
static void index_decides_where_a_tensor_lies(void **state) {
    (void)state;
    const tensor_edit nothing = {0};
    const char *path = make_model_directory("qwen2");
    json_t *index = json_object(), *map = json_object();
    write_edited("qwen2", path, "a.safetensors", &nothing, 0, 2, map);
    write_edited("qwen2", path, "b.safetensors", &nothing, 1, 2, map);
    const char *name = "model.norm.weight";
    const char *right = json_string_value(json_object_get(map, name));
    json_object_set_new(
        map, name, json_string(strcmp(right, "a.safetensors") ? "a.safetensors" : "b.safetensors"));
    json_object_set_new(index, "weight_map", map);
    write_json(path, "model.safetensors.index.json", index);
    json_decref(index);
    check_refused(path, RILL_EFORMAT, "tensor 'model.norm.weight': ", "missing");
}

static void directories_may_lack_something(void **state) {
    (void)state;
    check_refused(make_model_directory("llama"), RILL_EIO, "no weights: ", "model.safetensors");
    check_refused(scratch_path("nothing"), RILL_EIO, "", "No such file");
    check_refused(test_data("golden", ""), RILL_EIO, "config.json: ", "No such file");
    const char *path = make_model_directory("llama");
    char file[512];
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs("short", out);
    assert_int_equal(fclose(out), 0);
    check_refused(path, RILL_EFORMAT, "/model.safetensors: ", "");
}

static void wrong_tensors_are_named(void **state) {
    (void)state;
    static const struct {
        const char *golden;
        tensor_edit edit;
        const char *first, *second;
    } cases[] = {
        {"qwen3",
         {.name = "model.layers.1.mlp.up_proj.weight", .drop = true},
         "tensor 'model.layers.1.mlp.up_proj.weight': ",
         "missing"},
        {"qwen3",
         {.name = "model.layers.0.self_attn.q_norm.weight", .drop = true},
         "'model.layers.0.self_attn.q_norm.weight': ",
         "missing"},
        {"qwen2",
         {.name = "model.layers.2.self_attn.v_proj.bias", .drop = true},
         "'model.layers.2.self_attn.v_proj.bias': ",
         "missing"},
        {"phi3",
         {.name = "model.layers.0.self_attn.qkv_proj.weight", .drop = true},
         "'model.layers.0.self_attn.qkv_proj.weight': ",
         "missing"},
        {"mistral",
         {.name = "lm_head.weight", .drop = true},
         "tensor 'lm_head.weight': ",
         "missing"},
        {"llama",
         {.name = "model.norm.weight", .dtype = "I16"},
         "tensor 'model.norm.weight': ",
         "F32, F16 or BF16"},
        {"llama",
         {.name = "model.norm.weight", .shape = "[8, 8]"},
         "tensor 'model.norm.weight': shape [8, 8]; ",
         "[64] is right"},
        {"qwen2",
         {.name = "model.layers.0.mlp.down_proj.weight", .shape = "[96, 64]"},
         "'model.layers.0.mlp.down_proj.weight': shape [96, 64]; ",
         "[64, 96] is right"},
        {"qwen2",
         {.name = "model.layers.0.mlp.down_proj.weight", .shape = "[6144]"},
         "'model.layers.0.mlp.down_proj.weight': shape [6144]; ",
         "[64, 96] is right"},
        {"qwen2",
         {.name = "model.layers.0.self_attn.k_proj.bias", .shape = "[4, 2, 2, 2]"},
         "'model.layers.0.self_attn.k_proj.bias': shape [4, 2, 2, 2]; ",
         "[32] is right"},
        {"phi3",
         {.name = "model.layers.2.mlp.gate_up_proj.weight", .shape = "[96, 128]"},
         "'model.layers.2.mlp.gate_up_proj.weight': shape [96, 128]; ",
         "[192, 64] is right"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(edited_model(cases[i].golden, &cases[i].edit), RILL_EFORMAT, cases[i].first,
                      cases[i].second);
    const tensor_edit unknown = {.name = "model.norm.weight", .dtype = "F4"};
    check_refused(edited_model("llama", &unknown), RILL_EUNSUPPORTED,
                  "tensor 'model.norm.weight': dtype 'F4'; ", "F32, F16 and BF16 are known");
}

// A model that is tied has no matrix of its own at the end, even if its file holds one.
static void ends_are_tied_or_apart(void **state) {
    (void)state;
    rill__model *tied = open_model(test_data("golden", "qwen2"));
    rill__model *apart = open_model(test_data("golden", "mistral"));
    assert_true(tied->description.tied_embeddings);
    assert_null(rill__model_parameter(tied, RILL_WEIGHT_OUTPUT, 0)->weight.data);
    assert_false(apart->description.tied_embeddings);
    assert_non_null(rill__model_parameter(apart, RILL_WEIGHT_OUTPUT, 0)->weight.data);
    rill__model_close(&tied);
    rill__model_close(&apart);

    const tensor_edit nothing = {0};
    const char *path = edited_model("mistral", &nothing);
    rill_error err;
    json_t *config;
    char file[512];
    snprintf(file, sizeof file, "%s/config.json", path);
    assert_int_equal(rill__json_load(file, 1 << 16, &config, &err), RILL_OK);
    json_object_set_new(config, "tie_word_embeddings", json_true());
    write_json(path, "config.json", config);
    json_decref(config);
    tied = open_model(path);
    assert_null(rill__model_parameter(tied, RILL_WEIGHT_OUTPUT, 0)->weight.data);
    rill__model_close(&tied);
}

// A bare model's files (AutoModel's) have no "model." in front; tensors that nobody asks for do no
// harm.
static void names_may_lack_the_prefix(void **state) {
    (void)state;
    const char *path = make_model_directory("qwen2");
    const tensor_edit nothing = {0};
    json_t *map = json_object();
    write_edited("qwen2", path, "model.safetensors", &nothing, 0, 1, map);
    char command[1024];
    // Each name is written once, in the header; spaces keep the header's length.
    snprintf(command, sizeof command,
             "sed -i 's/\"model\\.\\([^\"]*\\)\"/\"\\1\"      /g' "
             "%s/model.safetensors",
             path);
    assert_int_equal(system(command), 0);
    rill__model *bare = open_model(path);
    rill__model *whole = open_model(test_data("golden", "qwen2"));
    same_weights(whole, bare);
    rill__model_close(&bare);
    rill__model_close(&whole);
    json_decref(map);
    const tensor_edit other = {.name = "model.layers.0.self_attn.k_proj.bias", .renamed = "x.inv"};
    check_refused(edited_model("qwen2", &other), RILL_EFORMAT, "k_proj.bias': ", "missing");
}

// Descriptions that no file should make, each refused by name.
static void senseless_descriptions_are_refused(void **state) {
    (void)state;
    enum { N = 7 };
    rill__description d[N];
    rill__rope_description local = {.theta = 10000, .n_dims = 2};
    float slopes[32] = {[3] = -1};
    static const char *const said[N] = {"bound of projections",
                                        "ALiBi: slope of head 3",
                                        "rotate other dimensions",
                                        "experts used",
                                        "limit of the activation",
                                        "xPos: scale base",
                                        "experts"};
    rill_error err;
    for (size_t i = 0; i < N; i++) {
        assert_true(rill__shape_describe("llama-1b", &d[i]));
        assert_int_equal(rill__description_check(&d[i], "it", &err), RILL_OK);
    }
    d[0].clip_qkv = -1;
    d[1].position = RILL_POSITION_ALIBI;
    d[1].alibi_slopes = slopes;
    d[2].local_rope = &local;
    d[3].n_experts = 8;
    d[3].n_experts_used = 9;
    d[4].activation = RILL_ACT_CLAMPED_SWIGLU;
    d[5].position = RILL_POSITION_XPOS;
    d[6].n_experts = 100000;
    for (size_t i = 0; i < N; i++) {
        assert_int_not_equal(rill__description_check(&d[i], "it", &err), RILL_OK);
        if (!strstr(err.message, said[i])) fail_msg("%s: not %s", err.message, said[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_found_by_role),
        cmocka_unit_test(fused_weights_are_cut),
        cmocka_unit_test(shards_are_one_model),
        cmocka_unit_test(broken_shards_are_named),
        cmocka_unit_test(index_decides_where_a_tensor_lies),
        cmocka_unit_test(directories_may_lack_something),
        cmocka_unit_test(wrong_tensors_are_named),
        cmocka_unit_test(ends_are_tied_or_apart),
        cmocka_unit_test(names_may_lack_the_prefix),
        cmocka_unit_test(senseless_descriptions_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
