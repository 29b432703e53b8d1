// SPDX-License-Identifier: MIT
// Default kernels beside exact ones, on the same weights: a trained model in each type that can be
// written, and every golden model in two of them. Mean KL(exact || default) is at most 1e-4 nats a
// token, 1e-3 where weights are quantised, and activations with them, on every kernel tier; of the
// trained model it is less, and is held to what it is, about. The
// share of tokens whose likeliest successor is the same is reported. With RILL_TEST_DEVICE that
// device stands in the tiers' place.
#include "rill/rill.h"

#include "format/types.h"

#include "support/compare.h"
#include "support/golden.h"
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

static const rill_type types[] = {RILL_TYPE_F32,  RILL_TYPE_F16,    RILL_TYPE_BF16,
                                  RILL_TYPE_Q4_0, RILL_TYPE_Q4_1,   RILL_TYPE_Q5_0,
                                  RILL_TYPE_Q5_1, RILL_TYPE_Q8_0,   RILL_TYPE_Q2_K,
                                  RILL_TYPE_Q3_K, RILL_TYPE_Q4_K,   RILL_TYPE_Q5_K,
                                  RILL_TYPE_Q6_K, RILL_TYPE_IQ4_NL, RILL_TYPE_IQ4_XS,
                                  RILL_TYPE_MXFP4};

static const rill_type golden_types[] = {RILL_TYPE_Q8_0, RILL_TYPE_Q4_0};

enum {
    N_TOKENS = 160,
    N_TYPES = sizeof types / sizeof *types,
    N_GOLDEN_TYPES = sizeof golden_types / sizeof *golden_types,
    N_SUBJECTS = N_TYPES + GOLDEN_MODELS * N_GOLDEN_TYPES,
};

// A model in a type, and what all tiers are held against.
typedef struct subject {
    const char *name;
    rill_type type;
    double bound;
    char path[300];
    float *exact;  // [N_TOKENS, vocab] logits
    size_t vocab;
} subject;

static subject subjects[N_SUBJECTS];
static rill_token tokens[N_TOKENS];

// Logits of all tokens; the window is small enough that most of them see evicted text go by.
static float *logits_of(subject *s, rill_device *device) {
    rill_error err;
    rill_model_info info;
    rill_stream *stream;
    rill_stream_options o;
    rill_model *model;
    rill_token ids[N_TOKENS];
    must(rill_model_open(device, s->path, &model, &err), &err);
    rill_model_get_info(model, &info);
    s->vocab = info.vocab_size;
    for (size_t i = 0; i < N_TOKENS; i++) ids[i] = tokens[i] % (rill_token)s->vocab;
    rill_stream_options_default(&o);
    o.window = 60;
    must(rill_stream_open(model, &o, &stream, &err), &err);
    float *logits = malloc(N_TOKENS * s->vocab * sizeof *logits);
    assert_non_null(logits);
    must(rill_stream_feed(stream, ids, N_TOKENS, logits, &err), &err);
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

static void compare(const subject *s, const float *got) {
    double kl = 0;
    int same = 0;
    for (size_t t = 0; t < N_TOKENS; t++) {
        const float *a = s->exact + t * s->vocab, *b = got + t * s->vocab;
        kl += kl_divergence(a, b, s->vocab) / N_TOKENS;
        same += likeliest(a, s->vocab) == likeliest(b, s->vocab);
    }
    print_message("  %s %s: mean KL %.1e, same likeliest token %d of %d\n", s->name,
                  rill_type_name(s->type), kl, same, N_TOKENS);
    assert_true(kl <= s->bound);
}

static void tier_stays_close_to_exact_kernels(void **state) {
    rill_device *device = test_device_of_tier(*state, 0);
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        float *got = logits_of(&subjects[i], device);
        compare(&subjects[i], got);
        free(got);
    }
    rill_device_close(&device);
}

static void make_subject(subject *s, const char *name, const char *source, rill_type type,
                         double bound, rill_device *exact) {
    rill_error err;
    s->name = name;
    s->type = type;
    s->bound = bound;
    snprintf(s->path, sizeof s->path, "%s/%s-%s.gguf", test_directory(), name,
             rill_type_name(type));
    must(rill_convert(source, s->path, &(rill_convert_options){.type = type}, NULL, NULL, &err),
         &err);
    s->exact = logits_of(s, exact);
}

static int make_subjects(void **state) {
    (void)state;
    rill_error err;
    rill_device *exact;
    size_t rows, columns;
    test_tensors *losses = test_tensors_open(test_data("trained/llama/nll.safetensors"));
    const rill_token *text = test_tensors_get(losses, "tokens", &rows, &columns);
    assert_non_null(text);
    assert_true(columns >= N_TOKENS);
    memcpy(tokens, text, sizeof tokens);
    test_tensors_close(losses);
    must(rill_device_open(&(rill_device_options){.exact = true}, &exact, &err), &err);
    subject *s = subjects;
    for (size_t i = 0; i < N_TYPES; i++)
        make_subject(s++, "trained", test_data("trained/llama"), types[i],
                     rill__type_traits_get(types[i])->block > 1 ? 3e-4 : 1e-5, exact);
    for (size_t i = 0; i < GOLDEN_MODELS * N_GOLDEN_TYPES; i++) {
        const char *name = golden_models[i / N_GOLDEN_TYPES];
        if (strcmp(name, "gpt-oss") == 0) name = "gpt-oss-all";
        make_subject(s++, name, golden_directory(name), golden_types[i % N_GOLDEN_TYPES], 1e-3,
                     exact);
    }
    rill_device_close(&exact);
    return 0;
}

static int free_subjects(void **state) {
    (void)state;
    for (size_t i = 0; i < N_SUBJECTS; i++) free(subjects[i].exact);
    test_directory_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_ON(tier_stays_close_to_exact_kernels, "ref"),
        TEST_ON_TIERS(tier_stays_close_to_exact_kernels),
    };
    const struct CMUnitTest device[] = {TEST_ON(tier_stays_close_to_exact_kernels, "device")};
    return test_device() ? cmocka_run_group_tests(device, make_subjects, free_subjects)
                         : cmocka_run_group_tests(tests, make_subjects, free_subjects);
}
