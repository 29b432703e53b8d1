// SPDX-License-Identifier: MIT
// Default kernels beside exact ones, on the same weights of a trained model in each type that can
// be written: mean KL(exact || default) at most 1e-4 nats a token, on every kernel tier. The share
// of tokens whose likeliest successor is the same is reported.
#include "rill/rill.h"

#include "support/compare.h"
#include "support/open.h"
#include "support/tensors.h"
#include "support/tiers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_TOKENS = 160 };

static const double BOUND = 1e-4;

static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                  RILL_TYPE_Q4_0};

enum { N_TYPES = sizeof types / sizeof *types };

// What all tiers are held against.
static test_tensors *golden;
static const rill_token *tokens;
static size_t vocab;
static char paths[N_TYPES][300];  // the model in each type
static float *exact[N_TYPES];     // its logits

// Logits of all tokens; the window is small enough that most of them see evicted text go by.
static float *logits_of(const char *path, rill_device *device) {
    rill_error err;
    rill_model_info info;
    rill_stream *stream;
    rill_stream_options o;
    rill_model *model;
    must(rill_model_open(device, path, &model, &err), &err);
    rill_model_get_info(model, &info);
    rill_stream_options_default(&o);
    o.window = 60;
    must(rill_stream_open(model, &o, &stream, &err), &err);
    float *logits = malloc(N_TOKENS * (size_t)info.vocab_size * sizeof *logits);
    assert_non_null(logits);
    must(rill_stream_feed(stream, tokens, N_TOKENS, logits, &err), &err);
    vocab = info.vocab_size;
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

static void compare(size_t type, const float *got) {
    double kl = 0;
    int same = 0;
    for (size_t t = 0; t < N_TOKENS; t++) {
        const float *a = exact[type] + t * vocab, *b = got + t * vocab;
        kl += kl_divergence(a, b, vocab) / N_TOKENS;
        same += likeliest(a, vocab) == likeliest(b, vocab);
    }
    print_message("  %s: mean KL %.1e, same likeliest token %d of %d\n",
                  rill_type_name(types[type]), kl, same, N_TOKENS);
    assert_true(kl <= BOUND);
}

static void tier_stays_close_to_exact_kernels(void **state) {
    rill_device *device = test_device_of_tier(*state, 0);
    for (size_t i = 0; i < N_TYPES; i++) {
        float *got = logits_of(paths[i], device);
        compare(i, got);
        free(got);
    }
    rill_device_close(&device);
}

static int make_exact(void **state) {
    (void)state;
    rill_error err;
    rill_device *device;
    size_t rows, columns;
    golden = test_tensors_open(test_data("trained/llama/nll.safetensors"));
    tokens = test_tensors_get(golden, "tokens", &rows, &columns);
    assert_non_null(tokens);
    assert_true(columns >= N_TOKENS);
    must(rill_device_open(&(rill_device_options){.exact = true}, &device, &err), &err);
    for (size_t i = 0; i < N_TYPES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s.gguf", test_directory(),
                 rill_type_name(types[i]));
        must(rill_convert(test_data("trained/llama"), paths[i],
                          &(rill_convert_options){.type = types[i]}, NULL, NULL, &err),
             &err);
        exact[i] = logits_of(paths[i], device);
    }
    rill_device_close(&device);
    return 0;
}

static int free_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) free(exact[i]);
    test_tensors_close(golden);
    test_directory_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_ON(tier_stays_close_to_exact_kernels, "ref"),
        TEST_ON_TIERS(tier_stays_close_to_exact_kernels),
    };
    return cmocka_run_group_tests(tests, make_exact, free_exact);
}
