// SPDX-License-Identifier: MIT
// Trained models: the loss of every token, to three times the trained length, beside the
// reference's (transformers in float32): within 5e-3 each and 5e-4 in the mean, for dense, window
// and streaming, read 64 tokens at once; and the same bits 7 and 1 at once.
//
// tests/data/trained has one model, tested with default kernels and, on one text, with exact ones.
// With RILL_SHARED=FOLDER, all models in FOLDER/models are tested with default kernels too. With
// RILL_EXACT_LOSSES=1 every model goes through every text with exact kernels: half an hour.
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

typedef struct subject {
    const char *directory;
    bool exact;
    char name[540];
} subject;

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

// The losses of one row of text, n_tokens - 1 of them, read `chunk` tokens at once.
static void measure_row(rill_model *model, const rill_stream_options *options, uint32_t chunk,
                        const rill_token *tokens, size_t n_tokens, double *losses) {
    rill_error err;
    rill_model_info info;
    rill_stream *stream;
    rill_stream_options o = *options;
    o.chunk = chunk;
    rill_model_get_info(model, &info);
    if (rill_stream_open(model, &o, &stream, &err) != RILL_OK) fail_msg("%s", err.message);
    float *logits = malloc(n_tokens * info.vocab_size * sizeof *logits);
    assert_non_null(logits);
    if (rill_stream_feed(stream, tokens, n_tokens, logits, &err) != RILL_OK)
        fail_msg("%s", err.message);
    for (size_t t = 0; t + 1 < n_tokens; t++)
        losses[t] = loss(logits + t * info.vocab_size, info.vocab_size, tokens[t + 1]);
    free(logits);
    rill_stream_close(&stream);
}

// One case of one model: all rows beside the reference, the first one in other chunks too.
static void compare_case(rill_model *model, const rill_stream_options *o, const rill_token *tokens,
                         size_t n_rows, size_t n_tokens, const float *expected, const char *label) {
    size_t n = n_tokens - 1;
    double worst = 0, sum = 0;
    double *losses = malloc(n * sizeof *losses), *again = malloc(n * sizeof *again);
    assert_true(losses && again);
    for (size_t r = 0; r < n_rows; r++) {
        measure_row(model, o, 64, tokens + r * n_tokens, n_tokens, losses);
        for (size_t t = 0; t < n; t++) {
            double difference = fabs(losses[t] - expected[r * n + t]);
            assert_false(isnan(difference));
            worst = fmax(worst, difference);
            sum += difference;
        }
        for (uint32_t chunk = 1; r == 0 && chunk <= 7; chunk += 6) {
            measure_row(model, o, chunk, tokens, n_tokens, again);
            assert_memory_equal(again, losses, n * sizeof *losses);
        }
    }
    double mean = sum / (double)(n_rows * n);
    print_message("%s: worst %.1e, mean %.1e\n", label, worst, mean);
    assert_true(worst <= 5e-3);
    assert_true(mean <= 5e-4);
    free(losses);
    free(again);
}

static void losses_match(void **state) {
    const subject *tested = *state;
    const char *directory = tested->directory;
    char path[600], label[700];
    snprintf(path, sizeof path, "%s/nll.safetensors", directory);
    test_tensors *golden = test_tensors_open(path);
    size_t n_rows, n_tokens, rows, columns, n_cases = 0;
    const rill_token *tokens = test_tensors_get(golden, "tokens", &n_rows, &n_tokens);
    assert_non_null(tokens);

    rill_error err;
    rill_device *device;
    const rill_device_options options = {.threads = 2, .exact = tested->exact};
    if (rill_device_open(&options, &device, &err) != RILL_OK) fail_msg("%s", err.message);
    rill_model *model = reference_model_open(device, directory, n_tokens);
    const char *name;
    size_t texts = tested->exact && !getenv("RILL_EXACT_LOSSES") ? 1 : n_rows;
    for (size_t i = 0; (name = test_tensors_name(golden, i)); i++) {
        if (strcmp(name, "tokens") == 0) continue;
        rill_stream_options o;
        assert_true(case_options(name, (uint32_t)n_tokens, &o));
        const float *expected = test_tensors_get(golden, name, &rows, &columns);
        assert_int_equal(rows, n_rows);
        assert_int_equal(columns, n_tokens - 1);
        snprintf(label, sizeof label, "%s %s", tested->name, name);
        compare_case(model, &o, tokens, texts, n_tokens, expected, label);
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

static size_t add_subjects(size_t first, size_t end, bool exact, subject *subjects, size_t n) {
    for (size_t i = first; i < end; i++, n++) {
        subjects[n] = (subject){.directory = directories[i], .exact = exact};
        snprintf(subjects[n].name, sizeof subjects[n].name, "%.511s%s", directories[i],
                 exact ? " exact" : "");
    }
    return n;
}

int main(void) {
    static subject subjects[2 * MAX_MODELS];
    struct CMUnitTest tests[2 * MAX_MODELS];
    size_t own = find_models(test_data("trained"), 0), all = own;
    const char *shared = getenv("RILL_SHARED");
    char folder[512];
    snprintf(folder, sizeof folder, "%s/models", shared ? shared : "");
    if (shared) all = find_models(folder, own);
    size_t n = add_subjects(0, all, false, subjects, 0);
    n = add_subjects(0, getenv("RILL_EXACT_LOSSES") ? all : own, true, subjects, n);
    for (size_t i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){
            .name = subjects[i].name, .test_func = losses_match, .initial_state = &subjects[i]};
    return n == 0 ? 1 : _cmocka_run_group_tests("trained", tests, n, NULL, NULL);
}
