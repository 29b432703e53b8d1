// SPDX-License-Identifier: MIT
// The engine against the naive oracle (tests/support/oracle.h) at random shapes: models, sinks,
// windows, chunks, positions, eviction by message, pinned prefixes, sink scale and cap.
#include "rill/rill.h"

#include "stream/handles.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/open.h"
#include "support/oracle.h"
#include "support/random_model.h"
#include "support/tensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_CASES = 120, MAX_TOKENS = 160 };

// One random case: what is fed, and how.
typedef struct scenario {
    rill_stream_options options;
    uint32_t n_tokens;
    rill_token tokens[MAX_TOKENS];
    bool starts[MAX_TOKENS];  // a message begins here
    uint32_t pin_at;          // tokens before the pin, 0 for none
} scenario;

static void make_scenario(test_random *r, const random_shape *shape, scenario *out) {
    scenario s = {0};
    rill_stream_options_default(&s.options);
    s.options.sinks = test_random_between(r, 0, 6);
    s.options.window = test_random_between(r, 1, 40);
    s.options.chunk = test_random_between(r, 1, 50);
    s.options.evict = test_random_between(r, 0, 1) ? RILL_EVICT_MESSAGE : RILL_EVICT_TOKEN;
    if (test_random_between(r, 0, 2) == 0) s.options.start = test_random_next(r) >> 3;
    if (test_random_between(r, 0, 2) == 0)
        s.options.sink_scale = (float)test_random_between(r, 0, 20) / 10.0f;
    if (test_random_between(r, 0, 2) == 0)
        s.options.sink_cap = (float)test_random_between(r, 1, 10) / 10.0f;
    s.n_tokens = test_random_between(r, 1, MAX_TOKENS);
    uint32_t capacity = s.options.sinks + s.options.window;
    if (test_random_between(r, 0, 2) == 0 && capacity >= 20) {
        s.pin_at = test_random_between(r, 1, capacity - 16);
        if (s.pin_at > s.n_tokens) s.pin_at = 0;
    }
    for (uint32_t i = 0; i < s.n_tokens; i++) {
        s.tokens[i] = (rill_token)test_random_between(r, 0, shape->vocab_size - 1);
        s.starts[i] = test_random_between(r, 0, 8) == 0;
    }
    *out = s;
}

// Half the streams of a model with plain RoPE stretch it, as far as is said or as the capacity
// wants.
static void stretch_positions(test_random *r, const rill__description *d, scenario *s) {
    if (d->position != RILL_POSITION_ROPE || d->rope.scaling != RILL_ROPE_DEFAULT) return;
    s->options.rope_scaling = test_random_between(r, 0, 1)   ? RILL_ROPE_SCALING_MODEL
                              : test_random_between(r, 0, 1) ? RILL_ROPE_SCALING_LINEAR
                                                             : RILL_ROPE_SCALING_NTK;
    if (s->options.rope_scaling != RILL_ROPE_SCALING_MODEL && test_random_between(r, 0, 1))
        s->options.rope_factor = (float)test_random_between(r, 4, 40) / 4.0f;
}

// Returns oracle_clamped at the end.
static uint64_t run_oracle(const rill_model *model, const scenario *s, uint32_t vocab,
                           float *logits) {
    uint32_t capacity = s->options.sinks + s->options.window;
    float factor = s->options.rope_factor;
    if (factor == 0) {
        factor = (float)((double)capacity / model->model->description.trained_context);
        if (factor < 1) factor = 1;
    }
    const oracle_options options = {
        .n_sinks = s->options.sinks,
        .window = s->options.window,
        .by_message = s->options.evict == RILL_EVICT_MESSAGE,
        .capacity = capacity,
        .interpolation = s->options.rope_scaling == RILL_ROPE_SCALING_LINEAR ? (double)factor : 1,
        .ntk = s->options.rope_scaling == RILL_ROPE_SCALING_NTK ? (double)factor : 1,
        .sink_scale = s->options.sink_scale,
        .sink_cap = s->options.sink_cap,
    };
    oracle *o = oracle_new(model->model, &options);
    double *row = calloc(vocab, sizeof *row);
    for (uint32_t t = 0; t < s->n_tokens; t++) {
        if (s->starts[t]) oracle_begin_message(o);
        oracle_step(o, s->tokens[t], row);
        for (uint32_t i = 0; i < vocab; i++) logits[t * vocab + i] = (float)row[i];
        if (t + 1 == s->pin_at) oracle_pin(o);
    }
    uint64_t clamped = oracle_clamped(o);
    free(row);
    oracle_free(o);
    return clamped;
}

// Feeds everything in random pieces that end where a message begins or the prefix is pinned.
static void run_engine(test_random *r, rill_model *model, const scenario *s, uint32_t vocab,
                       float *logits) {
    rill_error err;
    rill_stream *stream;
    if (rill_stream_open(model, &s->options, &stream, &err) != RILL_OK) fail_msg("%s", err.message);
    for (uint32_t t = 0; t < s->n_tokens;) {
        if (s->starts[t]) rill_stream_begin_message(stream);
        uint32_t most = test_random_between(r, 1, 60), n = 1;
        while (n < most && t + n < s->n_tokens && !s->starts[t + n] && t + n != s->pin_at) n++;
        if (rill_stream_feed(stream, s->tokens + t, n, logits + (size_t)t * vocab, &err) != RILL_OK)
            fail_msg("%s", err.message);
        t += n;
        if (t == s->pin_at && rill_stream_pin(stream, &err) != RILL_OK) fail_msg("%s", err.message);
    }
    rill_stream_close(&stream);
}

// The engine and the oracle on one model and one scenario; returns oracle_clamped.
static uint64_t one_case(test_random *r, rill_device *device, const random_shape *shape,
                         int number) {
    random_model_write(r, shape, test_directory());
    rill_error err;
    rill_model *model;
    if (rill_model_open(device, test_directory(), &model, &err) != RILL_OK)
        fail_msg("%s", err.message);
    // What config.json says is what attention is computed with.
    double scale = (double)model->model->description.attention_scale;
    if (shape->query_scalar) assert_true(fabs(scale * sqrt(shape->query_scalar) - 1) < 1e-6);
    scenario s;
    make_scenario(r, shape, &s);
    stretch_positions(r, &model->model->description, &s);
    size_t n = (size_t)s.n_tokens * shape->vocab_size;
    float *expected = calloc(n, sizeof *expected), *got = calloc(n, sizeof *got);
    uint64_t clamped = run_oracle(model, &s, shape->vocab_size, expected);
    run_engine(r, model, &s, shape->vocab_size, got);
    double worst = worst_of_bound(got, expected, n);
    print_message("case %d: %s (%u) %ux%ux%u of %u and %u, window %u; %u+%u chunk %u start %llu "
                  "evict %d pin %u "
                  "scale %g cap %g, rope %d times %g, %u tokens: %.3f of the bound\n",
                  number, shape->family, shape->kind, shape->n_heads, shape->n_kv_heads,
                  shape->head_dim, shape->hidden_size, shape->ffn_size, shape->trained_window,
                  s.options.sinks, s.options.window, s.options.chunk,
                  (unsigned long long)s.options.start, (int)s.options.evict, s.pin_at,
                  (double)s.options.sink_scale, (double)s.options.sink_cap,
                  (int)s.options.rope_scaling, (double)s.options.rope_factor, s.n_tokens, worst);
    assert_true(worst <= 1.0);
    free(expected);
    free(got);
    rill_model_close(&model);
    return clamped;
}

static rill_device *open_kernels(bool exact) {
    rill_error err;
    rill_device *device;
    const rill_device_options options = {.device = test_device(), .exact = exact, .threads = 2};
    must(rill_device_open(&options, &device, &err), &err);
    return device;
}

static rill_device *open_device(void) {
    return open_kernels(true);
}

static void engine_equals_oracle_at_random_shapes(void **state) {
    (void)state;
    test_random r = {test_seed()};
    rill_device *device = open_device();
    size_t n_families = 0;
    while (random_family_name(n_families)) n_families++;
    for (int i = 0; i < N_CASES; i++) {
        random_shape shape;
        random_shape_make(&r, random_family_name((size_t)i % n_families), &shape);
        one_case(&r, device, &shape, i);
    }
    rill_device_close(&device);
}

// What no golden model has (tests/data/golden/README.md): a limit that binds, and ALiBi's slopes
// for a number of heads that is no power of two, rounded where the family rounds them. (Random
// models of Gemma 3 always have a query_pre_attn_scalar other than the head's size.)
static void engine_equals_oracle_where_golden_models_are_blind(void **state) {
    (void)state;
    static const struct {
        const char *family;
        uint32_t kind, n_heads;  // 0: any
        double limit;            // 0: any
    } shapes[] = {
        {"gemma3_text", 0, 0, 0}, {"gpt_oss", 0, 0, 0.5}, {"gpt_oss", 1, 0, 0.25},
        {"falcon", 0, 3, 0},      {"falcon", 0, 20, 0},   {"falcon", 0, 24, 0},
        {"falcon", 0, 32, 0},     {"mpt", 0, 5, 0},       {"mpt", 0, 12, 0},
    };
    test_random r = {test_seed()};
    rill_device *device = open_device();
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++) {
        random_shape shape;
        do random_shape_make(&r, shapes[i].family, &shape);
        while (shape.kind != shapes[i].kind);
        if (shapes[i].n_heads) {
            shape.n_heads = shape.n_kv_heads = shapes[i].n_heads;
            shape.head_dim = 2 * test_random_between(&r, 2, 4);
            shape.hidden_size = shape.n_heads * shape.head_dim;
            if (strcmp(shape.family, "mpt") == 0) shape.ffn_size = 4 * shape.hidden_size;
        }
        if (shapes[i].limit != 0) {
            shape.limit = shapes[i].limit;
            shape.ffn_size = 64;  // many that it may meet
        }
        uint64_t clamped = one_case(&r, device, &shape, i);
        assert_int_equal(clamped > 0, shapes[i].limit != 0);
    }
    rill_device_close(&device);
}

// The golden models, with the frequencies of their configurations (tests/unit/rope_test.c) where
// golden.safetensors has rounded ones (tests/data/golden/README.md).
static void engine_equals_oracle_on_golden_models(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{4, 12}, {1, 15}, {0, 16}, {4, 28}, {0, 72}};
    enum { N = 72, VOCAB = GOLDEN_VOCABULARY };
    test_random r = {test_seed()};
    rill_error err;
    rill_device *device = open_device();
    float *expected = calloc(N * VOCAB, sizeof *expected), *got = calloc(N * VOCAB, sizeof *got);
    for (size_t f = 0; f < GOLDEN_MODELS; f++) {
        rill_model *model;
        if (rill_model_open(device, golden_directory(golden_models[f]), &model, &err) != RILL_OK)
            fail_msg("%s", err.message);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            scenario s = {.n_tokens = N};
            rill_stream_options_default(&s.options);
            s.options.sinks = sizes[i][0];
            s.options.window = sizes[i][1];
            s.options.chunk = test_random_between(&r, 1, 64);
            for (uint32_t t = 0; t < N; t++)
                s.tokens[t] = (rill_token)test_random_between(&r, 0, VOCAB - 1);
            run_oracle(model, &s, VOCAB, expected);
            run_engine(&r, model, &s, VOCAB, got);
            double worst = worst_of_bound(got, expected, N * VOCAB);
            print_message("%s %u+%u: %.3f of the bound\n", golden_models[f], sizes[i][0],
                          sizes[i][1], worst);
            assert_true(worst <= 1.0);
        }
        rill_model_close(&model);
    }
    free(expected);
    free(got);
    rill_device_close(&device);
}

// The share of noise in the logits of the default kernels with a cache of some type; negative where
// the model chooses experts, which noise may change.
static double noise_of_cache(test_random *r, rill_device *device, const char *family,
                             rill_type type) {
    random_shape shape;
    random_shape_make(r, family, &shape);
    random_model_write(r, &shape, test_directory());
    rill_error err;
    rill_model *model;
    if (rill_model_open(device, test_directory(), &model, &err) != RILL_OK)
        fail_msg("%s", err.message);
    scenario s;
    make_scenario(r, &shape, &s);
    s.options.default_types = false;
    s.options.key_type = s.options.value_type = type;
    size_t n = (size_t)s.n_tokens * shape.vocab_size;
    float *expected = calloc(n, sizeof *expected), *got = calloc(n, sizeof *got);
    run_oracle(model, &s, shape.vocab_size, expected);
    run_engine(r, model, &s, shape.vocab_size, got);
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
        size += (double)expected[i] * expected[i];
    }
    bool experts = model->model->description.n_experts > 0;
    free(expected);
    free(got);
    rill_model_close(&model);
    return experts ? -1 : sqrt(off / size);
}

// Each type of cache brings the noise of its own rounding, and no more than a few times that of
// most models (4e-7, 5e-4, 4e-3, 0.01 and 0.2): a key that is left out, or met twice, brings much
// more.
static void default_kernels_stay_near_the_oracle(void **state) {
    (void)state;
    static const struct {
        rill_type type;
        double noise;
    } types[] = {{RILL_TYPE_F32, 1e-5},
                 {RILL_TYPE_F16, 1e-2},
                 {RILL_TYPE_BF16, 6e-2},
                 {RILL_TYPE_Q8_0, 0.1},
                 {RILL_TYPE_Q4_0, 0.8}};
    test_random r = {test_seed()};
    rill_device *device = open_kernels(false);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        double worst = 0;
        for (size_t f = 0; random_family_name(f); f++)
            worst = fmax(worst, noise_of_cache(&r, device, random_family_name(f), types[i].type));
        print_message("%s: noise %.2g\n", rill_type_name(types[i].type), worst);
        assert_true(worst > 0 && worst <= types[i].noise);
    }
    rill_device_close(&device);
}

static int remove_directory(void **state) {
    (void)state;
    test_directory_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_equals_oracle_at_random_shapes),
        cmocka_unit_test(engine_equals_oracle_where_golden_models_are_blind),
        cmocka_unit_test(engine_equals_oracle_on_golden_models),
        cmocka_unit_test(default_kernels_stay_near_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, remove_directory);
}
