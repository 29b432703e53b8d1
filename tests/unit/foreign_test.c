// SPDX-License-Identifier: MIT
// A GGUF file that llama.cpp quantised and wrote (tests/data/foreign): every block type that rill
// reads and does not write, and llama.cpp's own probabilities for the same tokens.
#include "model/source.h"

#include "model_files.h"

#include <math.h>

enum { VOCABULARY = 64, MAX_TOKENS = 64 };

static const char *foreign(void) {
    return test_data("foreign", "llama-cpp.gguf");
}

static void types_are_llama_cpps(void **state) {
    (void)state;
    static const struct {
        const char *name;
        rill_type type;
    } tensors[] = {
        {"token_embd.weight", RILL_TYPE_Q4_1},        {"output.weight", RILL_TYPE_Q5_1},
        {"blk.0.attn_q.weight", RILL_TYPE_Q4_K},      {"blk.0.attn_v.weight", RILL_TYPE_Q6_K},
        {"blk.0.attn_output.weight", RILL_TYPE_Q5_0}, {"blk.0.ffn_down.weight", RILL_TYPE_Q8_0},
        {"output_norm.weight", RILL_TYPE_F32},
    };
    rill__model *m = open_model(foreign());
    assert_string_equal(m->description.family, "llama");
    assert_int_equal(m->description.vocab_size, VOCABULARY);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const rill__tensor *t = rill__source_tensor(m->file.source, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, tensors[i].type);
    }
    rill__tokens tokens = {0};
    rill_error err;
    assert_int_equal(rill__tokenizer_encode(m->tokenizer, "the in", 6, 0, &tokens, &err), RILL_OK);
    const rill_token right[] = {54, 52, 55};
    assert_int_equal(tokens.n, 3);
    assert_memory_equal(tokens.ids, right, sizeof right);
    rill__tokens_deinit(&tokens);
    rill__model_close(&m);
}

static size_t likeliest(const double *row) {
    size_t best = 0;
    for (size_t i = 1; i < VOCABULARY; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

// Kullback-Leibler divergence of rill's logits from llama.cpp's logarithms of probabilities.
static double compare_row(const json_t *row, const float *logits) {
    double theirs[VOCABULARY], ours[VOCABULARY], sum = 0, divergence = 0;
    assert_int_equal(json_array_size(row), VOCABULARY);
    for (size_t i = 0; i < VOCABULARY; i++) {
        theirs[i] = json_number_value(json_array_get(row, i));
        ours[i] = (double)logits[i];
        sum += exp(ours[i]);
    }
    assert_int_equal(likeliest(ours), likeliest(theirs));
    for (size_t i = 0; i < VOCABULARY; i++)
        divergence += exp(theirs[i]) * (theirs[i] - (ours[i] - log(sum)));
    return divergence;
}

static void read_tokens(const rill_token *tokens, size_t n, bool exact, float *out) {
    rill_device_options options;
    rill_stream_options dense;
    rill_device *device;
    rill_model *model;
    rill_stream *stream;
    rill_error err;
    rill_device_options_default(&options);
    options.exact = exact;
    options.threads = 1;
    rill_stream_options_default(&dense);
    dense.method = RILL_METHOD_DENSE;
    dense.window = MAX_TOKENS;
    assert_int_equal(rill_device_open(&options, &device, &err), RILL_OK);
    if (rill_model_open(device, foreign(), &model, &err) != RILL_OK) fail_msg("%s", err.message);
    if (rill_stream_open(model, &dense, &stream, &err) != RILL_OK) fail_msg("%s", err.message);
    assert_int_equal(rill_stream_feed(stream, tokens, n, out, &err), RILL_OK);
    rill_stream_close(&stream);
    rill_model_close(&model);
    rill_device_close(&device);
}

// llama.cpp computes with activations in 8 bits: what that costs is the distance allowed.
static void probabilities_are_llama_cpps(void **state) {
    (void)state;
    static float logits[MAX_TOKENS * VOCABULARY];
    rill_token tokens[MAX_TOKENS];
    rill_error err;
    json_t *reference;
    assert_int_equal(rill__json_load(test_data("foreign", "llama-cpp.json"), 1 << 20, &reference,
                                     &err),
                     RILL_OK);
    const json_t *ids = json_object_get(reference, "tokens");
    const json_t *rows = json_object_get(reference, "rows");
    size_t n = json_array_size(ids);
    assert_true(n > 16 && n <= MAX_TOKENS);
    for (size_t i = 0; i < n; i++)
        tokens[i] = (rill_token)json_integer_value(json_array_get(ids, i));
    for (int exact = 0; exact < 2; exact++) {
        read_tokens(tokens, n, exact, logits);
        double mean = 0;
        for (size_t i = 0; i < n; i++) {
            double d = compare_row(json_array_get(rows, i), logits + i * VOCABULARY);
            if (!(d < 1e-2)) fail_msg("row %zu: %g", i, d);
            mean += d / (double)n;
        }
        if (!(mean < 3e-3)) fail_msg("mean %g", mean);
    }
    json_decref(reference);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_llama_cpps),
        cmocka_unit_test(probabilities_are_llama_cpps),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
