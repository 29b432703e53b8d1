// SPDX-License-Identifier: MIT
// Trained models: the loss of every token, to three times the trained length, beside the
// reference's (transformers in float32): within 5e-3 each and 5e-4 in the mean, for dense, window
// and streaming.
//
// tests/data/trained has one; with RILL_SHARED=FOLDER, all models in FOLDER/models are tested too.
#include "rill/rill.h"

#include "support/reference_model.h"
#include "support/tensors.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_MODELS = 16 };
static char directories[MAX_MODELS][512];

// "dense", "window_0_256", "streaming_4_252"
static bool case_options(const char *name, uint32_t n_tokens, rill_stream_options *o) {
    rill_stream_options_default(o);
    o->default_types = false;
    o->key_type = o->value_type = RILL_TYPE_F32;
    if (sscanf(name, "streaming_%u_%u", &o->sinks, &o->window) == 2) return true;
    o->method = RILL_METHOD_WINDOW;
    if (sscanf(name, "window_%u_%u", &o->sinks, &o->window) == 2) return o->sinks == 0;
    o->method = RILL_METHOD_DENSE;
    o->window = n_tokens;
    o->over_context = true;
    return strcmp(name, "dense") == 0;
}

static double loss(const float *logits, size_t n, rill_token token) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, (double)logits[i]);
    for (size_t i = 0; i < n; i++) sum += exp(logits[i] - max);
    return max + log(sum) - logits[token];
}

// The worst and the sum of the differences over one row of text.
static void compare_row(rill_model *model, const rill_stream_options *o, const rill_token *tokens,
                        size_t n_tokens, const float *expected, double *worst, double *sum) {
    rill_error err;
    rill_model_info info;
    rill_stream *stream;
    rill_model_get_info(model, &info);
    if (rill_stream_open(model, o, &stream, &err) != RILL_OK) fail_msg("%s", err.message);
    float *logits = malloc(n_tokens * info.vocab_size * sizeof *logits);
    assert_non_null(logits);
    if (rill_stream_feed(stream, tokens, n_tokens, logits, &err) != RILL_OK)
        fail_msg("%s", err.message);
    for (size_t t = 0; t + 1 < n_tokens; t++) {
        double difference =
            fabs(loss(logits + t * info.vocab_size, info.vocab_size, tokens[t + 1]) - expected[t]);
        assert_false(isnan(difference));
        *worst = fmax(*worst, difference);
        *sum += difference;
    }
    free(logits);
    rill_stream_close(&stream);
}

static void losses_match(void **state) {
    const char *directory = *state;
    char path[600];
    snprintf(path, sizeof path, "%s/nll.safetensors", directory);
    test_tensors *golden = test_tensors_open(path);
    size_t n_rows, n_tokens, rows, columns, n_cases = 0;
    const rill_token *tokens = test_tensors_get(golden, "tokens", &n_rows, &n_tokens);
    assert_non_null(tokens);

    rill_error err;
    rill_device *device;
    if (rill_device_open(&(rill_device_options){.threads = 2}, &device, &err) != RILL_OK)
        fail_msg("%s", err.message);
    rill_model *model = reference_model_open(device, directory, n_tokens);
    const char *name;
    for (size_t i = 0; (name = test_tensors_name(golden, i)); i++) {
        if (strcmp(name, "tokens") == 0) continue;
        rill_stream_options o;
        assert_true(case_options(name, (uint32_t)n_tokens, &o));
        const float *expected = test_tensors_get(golden, name, &rows, &columns);
        assert_int_equal(rows, n_rows);
        assert_int_equal(columns, n_tokens - 1);
        double worst = 0, sum = 0;
        for (size_t r = 0; r < n_rows; r++)
            compare_row(model, &o, tokens + r * n_tokens, n_tokens, expected + r * columns, &worst,
                        &sum);
        double mean = sum / (double)(rows * columns);
        print_message("%s %s: worst %.1e, mean %.1e\n", directory, name, worst, mean);
        assert_true(worst <= 5e-3);
        assert_true(mean <= 5e-4);
        n_cases++;
    }
    assert_true(n_cases >= 3);
    rill_model_close(&model);
    rill_device_close(&device);
    test_tensors_close(golden);
}

// Whether a folder has losses, and a model of a family that is known.
static bool is_trained(const char *directory) {
    char path[600];
    snprintf(path, sizeof path, "%s/nll.safetensors", directory);
    rill_error err;
    rill_device *device;
    rill_model *model;
    if (access(path, R_OK) != 0 || rill_device_open(NULL, &device, &err) != RILL_OK) return false;
    rill_status status = rill_model_open(device, directory, &model, &err);
    rill_device_close(&device);
    if (status == RILL_OK) rill_model_close(&model);
    return status != RILL_EUNSUPPORTED;
}

static size_t find_models(const char *folder, size_t n) {
    DIR *entries = opendir(folder);
    const struct dirent *entry;
    while (entries && n < MAX_MODELS && (entry = readdir(entries))) {
        snprintf(directories[n], sizeof directories[n], "%.240s/%.240s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && is_trained(directories[n])) n++;
    }
    if (entries) closedir(entries);
    return n;
}

int main(void) {
    struct CMUnitTest tests[MAX_MODELS];
    size_t n = find_models(test_data("trained"), 0);
    const char *shared = getenv("RILL_SHARED");
    char folder[512];
    snprintf(folder, sizeof folder, "%s/models", shared ? shared : "");
    if (shared) n = find_models(folder, n);
    for (size_t i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){
            .name = directories[i], .test_func = losses_match, .initial_state = directories[i]};
    return n == 0 ? 1 : _cmocka_run_group_tests("trained", tests, n, NULL, NULL);
}
