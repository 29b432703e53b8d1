// SPDX-License-Identifier: MIT
// rill_convert: keys and names as GGUF's standard has them (ggml's docs/gguf.md), every number
// where it belongs, the same logits after the way there; and nothing left behind by what fails.
#include "model/source.h"

#include "model_files.h"

#include <math.h>

static const rill_type types[] = {RILL_TYPE_F32,    RILL_TYPE_F16,  RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                  RILL_TYPE_Q4_0,   RILL_TYPE_Q4_1, RILL_TYPE_Q5_0, RILL_TYPE_Q5_1,
                                  RILL_TYPE_IQ4_NL, RILL_TYPE_MXFP4};
enum { TYPES = sizeof types / sizeof *types };

static void must_convert(const char *source, const char *target, rill_type type) {
    rill_error err;
    if (rill_convert(source, target, &(rill_convert_options){.type = type}, NULL, NULL, &err) !=
        RILL_OK)
        fail_msg("%s to %s: %s", source, target, err.message);
}

static void must_open(const char *path, rill__gguf *g) {
    rill_error err;
    if (rill__gguf_open(path, g, &err) != RILL_OK) fail_msg("%s", err.message);
}

// ---- Metadata -------------------------------------------------------------------------------

static void check_text(const rill__gguf *g, const char *key, const char *right) {
    rill__gguf_string text = {"", 0};
    if (!rill__gguf_text(g, key, &text) || text.length != strlen(right) ||
        memcmp(text.data, right, text.length) != 0)
        fail_msg("%s: '%.*s'; '%s' is right", key, (int)text.length, text.data, right);
}

static void check_number(const rill__gguf *g, const char *architecture, const char *name,
                         rill__gguf_type type, double right) {
    char key[96];
    double found = NAN;
    snprintf(key, sizeof key, "%s.%s", architecture, name);
    const rill__gguf_value *v = rill__gguf_find(g, key);
    if (!v || v->type != type || !rill__gguf_real(g, key, &found) || (float)found != (float)right)
        fail_msg("%s: %g; %g is right", key, found, right);
}

static const struct {
    const char *golden, *architecture;
    double head_dim, kv_heads, theta, eps, window;
} sizes[] = {
    {"llama", "llama", 16, 4, 10000, 1e-6, 0},
    {"llama-bias-headdim", "llama", 24, 2, 10000, 1e-6, 0},
    {"mistral-swa", "llama", 16, 2, 10000, 1e-6, 10},
    {"phi3", "phi3", 16, 2, 10000, 1e-5, 0},
    {"qwen2", "qwen2", 16, 2, 1000000, 1e-6, 0},
    {"qwen3", "qwen3", 24, 2, 1000000, 1e-6, 0},
};

static void keys_are_the_standards(void **state) {
    (void)state;
    static const uint32_t file_types[TYPES] = {0, 1, 32, 7, 2, 3, 8, 9, 25, 38};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < TYPES; j++) {
            rill__gguf g;
            const char *a = sizes[i].architecture;
            must_open(gguf_of(sizes[i].golden, types[j]), &g);
            check_text(&g, "general.architecture", a);
            check_text(&g, "general.type", "model");
            check_text(&g, "general.name", sizes[i].golden);
            check_text(&g, "tokenizer.ggml.model", "none");
            check_number(&g, "general", "file_type", RILL_GGUF_U32, file_types[j]);
            bool blocks = rill__type_traits_get(types[j])->block > 1;
            assert_int_equal(rill__gguf_find(&g, "general.quantization_version") != NULL, blocks);
            check_number(&g, a, "context_length", RILL_GGUF_U32, 64);
            check_number(&g, a, "embedding_length", RILL_GGUF_U32, 64);
            check_number(&g, a, "block_count", RILL_GGUF_U32, 3);
            check_number(&g, a, "feed_forward_length", RILL_GGUF_U32, 96);
            check_number(&g, a, "vocab_size", RILL_GGUF_U32, 160);
            check_number(&g, a, "attention.head_count", RILL_GGUF_U32, 4);
            check_number(&g, a, "attention.head_count_kv", RILL_GGUF_U32, sizes[i].kv_heads);
            check_number(&g, a, "attention.key_length", RILL_GGUF_U32, sizes[i].head_dim);
            check_number(&g, a, "attention.value_length", RILL_GGUF_U32, sizes[i].head_dim);
            check_number(&g, a, "attention.layer_norm_rms_epsilon", RILL_GGUF_F32, sizes[i].eps);
            check_number(&g, a, "rope.dimension_count", RILL_GGUF_U32, sizes[i].head_dim);
            check_number(&g, a, "rope.freq_base", RILL_GGUF_F32, sizes[i].theta);
            if (sizes[i].window > 0)
                check_number(&g, a, "attention.sliding_window", RILL_GGUF_U32, sizes[i].window);
            else
                assert_null(rill__gguf_find(&g, "llama.attention.sliding_window"));
            rill__gguf_close(&g);
        }
    }
}

static void scaled_positions_are_said(void **state) {
    (void)state;
    rill__gguf g;
    must_open(gguf_of("llama-linear", RILL_TYPE_F16), &g);
    check_text(&g, "llama.rope.scaling.type", "linear");
    check_number(&g, "llama", "rope.scaling.factor", RILL_GGUF_F32, 4);
    rill__gguf_close(&g);
    must_open(gguf_of("llama-yarn", RILL_TYPE_F16), &g);
    check_text(&g, "llama.rope.scaling.type", "yarn");
    check_number(&g, "llama", "rope.scaling.factor", RILL_GGUF_F32, 4);
    check_number(&g, "llama", "rope.scaling.original_context_length", RILL_GGUF_U32, 16);
    rill__gguf_close(&g);
    // Llama 3's become one tensor of divisors: the high frequencies stay, the low go by the factor.
    must_open(gguf_of("llama-gqa-llama3", RILL_TYPE_Q8_0), &g);
    assert_null(rill__gguf_find(&g, "llama.rope.scaling.type"));
    const rill__tensor *t = rill__gguf_tensor(&g, "rope_freqs.weight");
    assert_non_null(t);
    assert_int_equal(t->type, RILL_TYPE_F32);
    assert_int_equal(t->shape[0], 8);
    float divisors[8];
    memcpy(divisors, t->data, sizeof divisors);
    assert_true(fabsf(divisors[0] - 1) < 1e-6f && fabsf(divisors[7] - 8) < 1e-5f);
    rill__gguf_close(&g);
    must_open(gguf_of("phi3-longrope", RILL_TYPE_Q8_0), &g);
    check_number(&g, "phi3", "rope.scaling.original_context_length", RILL_GGUF_U32, 32);
    static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    static const float first[] = {1.05f, 1.8f};
    for (int i = 0; i < 2; i++) {
        t = rill__gguf_tensor(&g, names[i]);
        assert_non_null(t);
        memcpy(divisors, t->data, sizeof divisors);
        assert_true(fabsf(divisors[1] - first[i]) < 1e-6f);
    }
    rill__gguf_close(&g);
}

// ---- Tensors --------------------------------------------------------------------------------

// What each tensor is called on both sides. Queries and keys of a "llama" change their order.
typedef struct names {
    const char *golden, *from, *to;
    bool turned;
} names;

static const names pairs[] = {
    {"llama", "model.embed_tokens.weight", "token_embd.weight", false},
    {"llama", "model.norm.weight", "output_norm.weight", false},
    {"llama", "model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", false},
    {"llama", "model.layers.1.post_attention_layernorm.weight", "blk.1.ffn_norm.weight", false},
    {"llama", "model.layers.2.self_attn.q_proj.weight", "blk.2.attn_q.weight", true},
    {"llama", "model.layers.2.self_attn.k_proj.weight", "blk.2.attn_k.weight", true},
    {"llama", "model.layers.2.self_attn.v_proj.weight", "blk.2.attn_v.weight", false},
    {"llama", "model.layers.2.self_attn.o_proj.weight", "blk.2.attn_output.weight", false},
    {"llama", "model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", false},
    {"llama", "model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", false},
    {"llama", "model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", false},
    {"llama-bias-headdim", "lm_head.weight", "output.weight", false},
    {"llama-bias-headdim", "model.layers.1.self_attn.q_proj.bias", "blk.1.attn_q.bias", true},
    {"llama-bias-headdim", "model.layers.1.self_attn.k_proj.bias", "blk.1.attn_k.bias", true},
    {"llama-bias-headdim", "model.layers.1.self_attn.o_proj.bias", "blk.1.attn_output.bias", false},
    {"llama-bias-headdim", "model.layers.1.mlp.down_proj.bias", "blk.1.ffn_down.bias", false},
    {"mistral-swa", "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", true},
    {"phi3", "model.layers.0.self_attn.qkv_proj.weight", "blk.0.attn_qkv.weight", false},
    {"phi3", "model.layers.0.mlp.gate_up_proj.weight", "blk.0.ffn_up.weight", false},
    {"qwen2", "model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", false},
    {"qwen2", "model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias", false},
    {"qwen3", "model.layers.2.self_attn.q_norm.weight", "blk.2.attn_q_norm.weight", false},
    {"qwen3", "model.layers.2.self_attn.k_norm.weight", "blk.2.attn_k_norm.weight", false},
};

// A row of a tensor as floats; an entry of a vector is a row of one.
static void read_row(const rill__tensor *t, uint64_t row, float *out, size_t columns) {
    const rill__type_traits *traits = rill__type_traits_get(t->type);
    size_t bytes = t->bytes / t->shape[0];
    traits->to_float(t->data + row * bytes, out, columns);
}

// Where row r of the file lies in the source if heads are turned: pairs (i, i + half) become
// neighbours.
static uint64_t row_before(uint64_t r, uint64_t head_dim) {
    uint64_t head = r / head_dim, pair = r % head_dim / 2, second = r % 2;
    return head * head_dim + pair + second * (head_dim / 2);
}

static void same_values(const names *n, const rill__tensor *from, const rill__tensor *to,
                        rill_type type, uint64_t head_dim) {
    float a[128], b[128];
    uint8_t coded[512];
    assert_int_equal(from->n_dims, to->n_dims);
    assert_memory_equal(from->shape, to->shape, sizeof from->shape);
    assert_int_equal(to->type, to->n_dims == 1 ? RILL_TYPE_F32 : type);
    const rill__type_traits *traits = rill__type_traits_get(to->type);
    size_t columns = to->n_dims == 1 ? 1 : to->shape[1];
    for (uint64_t row = 0; row < to->shape[0]; row++) {
        read_row(from, n->turned ? row_before(row, head_dim) : row, a, columns);
        read_row(to, row, b, columns);
        // What the type makes of the number, once.
        traits->from_float(a, coded, columns);
        traits->to_float(coded, a, columns);
        assert_memory_equal(a, b, columns * sizeof *a);
    }
}

static void numbers_are_where_they_belong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        for (size_t j = 0; j < TYPES; j++) {
            rill__gguf g;
            rill__model *m = open_model(test_data("golden", pairs[i].golden));
            must_open(gguf_of(pairs[i].golden, types[j]), &g);
            const rill__tensor *from = rill__source_tensor(m->file.source, pairs[i].from);
            const rill__tensor *to = rill__gguf_tensor(&g, pairs[i].to);
            assert_non_null(from);
            assert_non_null(to);
            same_values(&pairs[i], from, to, types[j], m->description.head_dim);
            rill__gguf_close(&g);
            rill__model_close(&m);
        }
    }
}

static void there_are_as_many_tensors(void **state) {
    (void)state;
    static const struct {
        const char *golden;
        size_t extra;  // RoPE's tables
    } cases[] = {{"llama", 0},   {"llama-bias-headdim", 0}, {"llama-gqa-llama3", 1},
                 {"mistral", 0}, {"phi3-longrope", 2},      {"qwen2", 0},
                 {"qwen3", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill__gguf g;
        rill__model *m = open_model(test_data("golden", cases[i].golden));
        must_open(gguf_of(cases[i].golden, RILL_TYPE_F16), &g);
        assert_int_equal(g.n_tensors, m->file.source->n_tensors + cases[i].extra);
        for (size_t j = 0; j < g.n_tensors; j++)
            assert_int_equal((g.tensors[j].data - g.mapping.data) % 32, 0);
        rill__gguf_close(&g);
        rill__model_close(&m);
    }
}

// ---- The way there and on -------------------------------------------------------------------

enum { TOKENS = 24, VOCABULARY = 160 };

// Kept as float32, a model gives the logits it gave: bit for bit, but where rotated pairs have
// become neighbours and the products of a head are added up in another order.
static void float32_keeps_the_logits(void **state) {
    (void)state;
    static float before[TOKENS * VOCABULARY], after[TOKENS * VOCABULARY];
    for (size_t i = 0; i < GOLDENS; i++) {
        rill__model *m = open_model(test_data("golden", goldens[i]));
        const char *family = m->description.family;
        bool turned = strcmp(family, "llama") == 0 || strcmp(family, "mistral") == 0;
        // RoPE's divisors go through a table of float32.
        bool table = m->description.rope.scaling != RILL_ROPE_DEFAULT;
        rill__model_close(&m);
        logits_of(test_data("golden", goldens[i]), TOKENS, VOCABULARY, before);
        logits_of(gguf_of(goldens[i], RILL_TYPE_F32), TOKENS, VOCABULARY, after);
        float worst = 0;
        for (size_t j = 0; j < TOKENS * VOCABULARY; j++)
            worst = fmaxf(worst, fabsf(before[j] - after[j]));
        if (worst > (turned || table ? 1e-5f : 0)) fail_msg("%s: %g", goldens[i], (double)worst);
    }
}

static void read_all(const char *path, char **bytes, size_t *size) {
    rill_error err;
    if (rill__file_read(path, 1 << 24, bytes, size, &err) != RILL_OK) fail_msg("%s", err.message);
}

static void same_files(const char *a, const char *b) {
    char *x, *y;
    size_t n, m;
    read_all(a, &x, &n);
    read_all(b, &y, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    rill__free(x);
    rill__free(y);
}

// From one GGUF to another: by way of float32 the file is the one that the directory gives, and a
// conversion to the same type changes nothing.
static void gguf_goes_on_to_gguf(void **state) {
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        const char *whole = gguf_of(goldens[i], RILL_TYPE_F32);
        for (size_t j = 0; j < TYPES; j++) {
            const char *far = scratch_path("far.gguf"), *again = scratch_path("again.gguf");
            const char *direct = scratch_path("direct.gguf");
            must_convert(test_data("golden", goldens[i]), direct, types[j]);
            must_convert(whole, far, types[j]);
            must_convert(far, again, types[j]);
            same_files(direct, far);
            same_files(far, again);
        }
    }
}

static void put_words(rill__gguf_writer *w) {
    rill__gguf_put_text(w, "general.author", "somebody");
    rill__gguf_put_text(w, "general.license", "mit");
    rill__gguf_put_u32(w, "general.alignment", 32);
    rill__gguf_put_text(w, "other.key", "lost");
}

static void gguf_keeps_its_own_words(void **state) {
    (void)state;
    const gguf_edit edit = {.more = put_words};
    rill__gguf g;
    const char *from = edited_gguf(gguf_of("qwen2", RILL_TYPE_F32), "words.gguf", &edit);
    must_convert(from, scratch_path("on.gguf"), RILL_TYPE_F16);
    must_open(scratch_path("on.gguf"), &g);
    check_text(&g, "general.author", "somebody");
    check_text(&g, "general.license", "mit");
    check_text(&g, "general.name", "qwen2");
    assert_null(rill__gguf_find(&g, "other.key"));
    rill__gguf_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_the_standards),
        cmocka_unit_test(scaled_positions_are_said),
        cmocka_unit_test(numbers_are_where_they_belong),
        cmocka_unit_test(there_are_as_many_tensors),
        cmocka_unit_test(float32_keeps_the_logits),
        cmocka_unit_test(gguf_goes_on_to_gguf),
        cmocka_unit_test(gguf_keeps_its_own_words),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
