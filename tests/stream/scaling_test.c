// SPDX-License-Identifier: MIT
// rope_scaling and rope_factor of a stream: which models allow them, and what they become. What
// they do to frequencies is in tests/unit/rope_test.c, and to logits in tests/model/oracle_test.c.
#include "rill/rill.h"

#include "support/golden.h"
#include "support/open.h"
#include "support/tensors.h"

#include <math.h>

static const rill_rope_scaling scalings[] = {RILL_ROPE_SCALING_LINEAR, RILL_ROPE_SCALING_NTK};
enum { SCALINGS = sizeof scalings / sizeof *scalings };

static rill_model *open_golden(const char *name) {
    return test_model(golden_directory(name), &(rill_device_options){.exact = true, .threads = 1});
}

// Dense over `window` tokens.
static rill_status resolve(const rill_model *model, uint32_t window, rill_rope_scaling scaling,
                           float factor, rill_stream_options *resolved, rill_error *err) {
    rill_stream_options o;
    rill_stream_bytes bytes;
    rill_stream_options_default(&o);
    o.method = RILL_METHOD_DENSE;
    o.window = window;
    o.over_context = true;
    o.rope_scaling = scaling;
    o.rope_factor = factor;
    *err = (rill_error){0};
    return rill_stream_estimate(model, &o, resolved, &bytes, err);
}

static void only_plain_rope_is_scaled(void **state) {
    (void)state;
    static const struct {
        const char *model;
        const char *has;  // NULL: plain RoPE
    } models[] = {
        {"llama", NULL},
        {"qwen3", NULL},
        {"gpt-neox", NULL},
        {"llama-linear", "this model has a scaling of its own"},
        {"llama-yarn", "this model has a scaling of its own"},
        {"llama-xpos", "this model has xPos"},
        {"mpt", "this model has ALiBi"},
        {"falcon-rw", "this model has ALiBi"},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        rill_model *model = open_golden(models[i].model);
        for (size_t j = 0; j < SCALINGS; j++) {
            rill_stream_options resolved;
            rill_error err;
            rill_status status = resolve(model, 128, scalings[j], 0, &resolved, &err);
            if (!models[i].has) {
                must(status, &err);
                assert_int_equal(resolved.rope_scaling, scalings[j]);
                continue;
            }
            if (status != RILL_EINVAL || !strstr(err.message, models[i].has) ||
                strncmp(err.message, "rope_scaling: ", 14) != 0)
                fail_msg("%s: status %d: %s", models[i].model, (int)status, err.message);
        }
        rill_model_close(&model);
    }
}

// Nothing said is what the window takes: its size in trained contexts, and never less than one.
static void the_factor_follows_from_the_window(void **state) {
    (void)state;
    static const struct {
        uint32_t window;
        float said, right;
    } cases[] = {
        {4 * GOLDEN_TRAINED, 0, 4},       {GOLDEN_TRAINED + 16, 0, 1.25f},
        {GOLDEN_TRAINED, 0, 1},           {GOLDEN_TRAINED / 4, 0, 1},
        {4 * GOLDEN_TRAINED, 2.5f, 2.5f}, {GOLDEN_TRAINED / 4, 1e6f, 1e6f},
    };
    rill_model *model = open_golden("llama");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t j = 0; j < SCALINGS; j++) {
            rill_stream_options resolved;
            rill_error err;
            must(resolve(model, cases[i].window, scalings[j], cases[i].said, &resolved, &err),
                 &err);
            assert_true(resolved.rope_factor == cases[i].right);
        }
    }
    rill_model_close(&model);
}

static void impossible_factors_are_refused(void **state) {
    (void)state;
    static const float wrong[] = {0.5f, -2, 1.1e6f, NAN, INFINITY};
    rill_model *model = open_golden("llama");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rill_error err;
        assert_int_equal(resolve(model, 128, RILL_ROPE_SCALING_NTK, wrong[i], NULL, &err),
                         RILL_EINVAL);
        assert_non_null(strstr(err.message, "rope_factor: "));
        assert_non_null(strstr(err.message, "1 to 1000000 is right"));
    }
    rill_model_close(&model);
}

// Where nothing is stretched a factor would be passed over.
static void a_factor_by_itself_is_refused(void **state) {
    (void)state;
    static const float wrong[] = {4, 0.5f, -1, NAN};
    static const char *const names[] = {"llama", "llama-yarn", "llama-xpos", "mpt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rill_model *model = open_golden(names[i]);
        rill_stream_options resolved;
        rill_error err;
        for (int right = 0; right < 2; right++) {
            must(resolve(model, 64, RILL_ROPE_SCALING_MODEL, (float)right, &resolved, &err), &err);
            assert_true(resolved.rope_factor == 1);
        }
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            assert_int_equal(resolve(model, 64, RILL_ROPE_SCALING_MODEL, wrong[j], &resolved, &err),
                             RILL_EINVAL);
            assert_non_null(strstr(err.message, "rope_factor: "));
            assert_non_null(strstr(err.message, "give a rope_scaling"));
        }
        rill_model_close(&model);
    }
}

static int remove_directory(void **state) {
    (void)state;
    test_directory_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_plain_rope_is_scaled),
        cmocka_unit_test(the_factor_follows_from_the_window),
        cmocka_unit_test(impossible_factors_are_refused),
        cmocka_unit_test(a_factor_by_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, remove_directory);
}
