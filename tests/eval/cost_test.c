// SPDX-License-Identifier: MIT
// The roof of a token against bytes and operations counted by hand.
#include "eval/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// Each layer: 8 x 8 for q and for o, 8 x 4 for k and for v, three of 8 x 16: 576 weights, 1,152 in
// both layers; logits 8 x 100, the same table as the embeddings. One byte a weight.
static const rill_model_info small = {.n_layers = 2,
                                      .hidden_size = 8,
                                      .n_heads = 2,
                                      .n_kv_heads = 1,
                                      .head_dim = 4,
                                      .ffn_size = 16,
                                      .vocab_size = 100,
                                      .n_parameters = 1952,
                                      .weight_bytes = 1952,
                                      .weight_type = RILL_TYPE_Q8_0};
static const rill_roof roof = {.read_bytes_per_second = 4544,
                               .f32_flops_per_second = 5184,
                               .bf16_flops_per_second = 14720,
                               .int8_ops_per_second = 51840};
static const rill_product bytes = {RILL_ARITHMETIC_INT8, 2};

static rill__token_cost cost(const rill_model_info *m, rill__token_work work) {
    return rill__token_cost_at(m, RILL_TYPE_F16, RILL_TYPE_F16, &roof, work);
}

// A token in f16: 2 layers x 1 head x 4 x 2 numbers of 2 bytes: 32 bytes, 10 of them 320.
static void test_writing(void **state) {
    (void)state;
    rill__token_cost c = cost(&small, (rill__token_work){1, 10, 1, 1, bytes});
    assert_true(c.bytes == 1152 + 800 + 320);
    assert_true(c.flops == 2 * (1152 + 800) + 4 * 10 * 2 * 2 * 4);
    assert_true(c.by_bytes && c.rate == 2);  // 4544 / 2272, nearer than 51840 / 4544
}

static void test_reading(void **state) {
    (void)state;
    rill__token_cost c = cost(&small, (rill__token_work){64, 10, 0, 1, bytes});
    assert_true(c.bytes == 1152 / 64.0 + 320 / 64.0);
    assert_true(c.flops == 2 * 1152 + 640);
    assert_true(!c.by_bytes && c.rate == 51840 / 2944.0);
}

// Four streams share the weights, the logits' too, and none another's cache.
static void test_streams(void **state) {
    (void)state;
    rill__token_cost c = cost(&small, (rill__token_work){1, 10, 1, 4, bytes});
    assert_true(c.bytes == (1152 + 800) / 4.0 + 320);
    assert_true(c.flops == 2 * (1152 + 800) + 4 * 10 * 2 * 2 * 4);
}

// Two matrices of 8 x 16: 896 in both layers, and two tables.
static void test_a_plain_feed_forward(void **state) {
    (void)state;
    rill_model_info plain = small;
    plain.n_parameters = plain.weight_bytes = 896 + 2 * 800;
    rill__token_cost c = cost(&plain, (rill__token_work){1, 0, 1, 1, bytes});
    assert_true(c.bytes == 896 + 800);
    assert_true(c.flops == 2 * (896 + 800));
    plain.n_parameters = plain.weight_bytes = 896 + 800 + 40;  // vectors are few
    assert_true(cost(&plain, (rill__token_work){1, 0, 0, 1, bytes}).flops == 2 * 896);
}

static void test_floats_are_multiplied_as_floats(void **state) {
    (void)state;
    rill__token_work work = {64, 10, 0, 1, {RILL_ARITHMETIC_F32, 1}};
    assert_true(cost(&small, work).rate == 5184 / 2944.0);
    work.product.arithmetic = RILL_ARITHMETIC_BF16;
    assert_true(cost(&small, work).rate == 14720 / 2944.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_a_plain_feed_forward),
        cmocka_unit_test(test_floats_are_multiplied_as_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
