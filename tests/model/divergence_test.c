// SPDX-License-Identifier: MIT
// Default kernels beside exact ones, on the same weights of a trained model in each type that can
// be written: mean KL(exact || default) at most 1e-4 nats a token where activations are floats,
// 1e-3 where they become bytes, on every kernel tier. The share of tokens whose likeliest successor
// is the same is reported.
#include "rill/rill.h"

#include "support/compare.h"
#include "support/open.h"
#include "support/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_TOKENS = 160 };

static const struct {
    rill_type type;
    double bound;
} types[] = {
    {RILL_TYPE_F32, 1e-4},  {RILL_TYPE_F16, 1e-4},  {RILL_TYPE_BF16, 1e-4},
    {RILL_TYPE_Q8_0, 1e-3}, {RILL_TYPE_Q4_0, 1e-3},
};

// Logits of all tokens; the window is small enough that most of them see evicted text go by.
static float *logits_of(const char *path, const rill_device_options *device_options,
                        const rill_token *tokens, size_t *vocab) {
    rill_error err;
    rill_model_info info;
    rill_stream *stream;
    rill_stream_options o;
    rill_model *model = test_model(path, device_options);
    rill_model_get_info(model, &info);
    rill_stream_options_default(&o);
    o.window = 60;
    must(rill_stream_open(model, &o, &stream, &err), &err);
    float *logits = malloc(N_TOKENS * (size_t)info.vocab_size * sizeof *logits);
    assert_non_null(logits);
    must(rill_stream_feed(stream, tokens, N_TOKENS, logits, &err), &err);
    *vocab = info.vocab_size;
    rill_stream_close(&stream);
    rill_model_close(&model);
    return logits;
}

static size_t likeliest(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static void compare(const char *name, const float *exact, const float *got, size_t vocab,
                    double bound) {
    double kl = 0;
    int same = 0;
    for (size_t t = 0; t < N_TOKENS; t++) {
        const float *a = exact + t * vocab, *b = got + t * vocab;
        kl += kl_divergence(a, b, vocab) / N_TOKENS;
        same += likeliest(a, vocab) == likeliest(b, vocab);
    }
    print_message("  %s: mean KL %.1e, same likeliest token %d of %d\n", name, kl, same, N_TOKENS);
    assert_true(kl <= bound);
}

static void default_kernels_stay_close_to_exact_ones(void **state) {
    (void)state;
    static const char *const tiers[] = {"ref", "avx2", "avx512"};
    const char *source = test_data("trained/llama");
    char path[300];
    snprintf(path, sizeof path, "%s/model.gguf", test_directory());
    test_tensors *golden = test_tensors_open(test_data("trained/llama/nll.safetensors"));
    size_t rows, columns, vocab;
    const rill_token *tokens = test_tensors_get(golden, "tokens", &rows, &columns);
    assert_non_null(tokens);
    assert_true(columns >= N_TOKENS);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        rill_error err;
        must(rill_convert(source, path, types[i].type, NULL, NULL, &err), &err);
        print_message("%s\n", rill_type_name(types[i].type));
        float *exact = logits_of(path, &(rill_device_options){.exact = true}, tokens, &vocab);
        for (size_t tier = 0; tier < sizeof tiers / sizeof *tiers; tier++) {
            float *got =
                logits_of(path, &(rill_device_options){.cpu = tiers[tier]}, tokens, &vocab);
            compare(tiers[tier], exact, got, vocab, types[i].bound);
            free(got);
        }
        free(exact);
    }
    test_tensors_close(golden);
    test_directory_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_kernels_stay_close_to_exact_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
