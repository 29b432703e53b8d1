// SPDX-License-Identifier: MIT
// Number formats: decoding against an independent reading of the layouts (tests/data/types),
// rounding of halves against their neighbours, and the writers' rounding by hand-made blocks.
#include "format/types.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 3, MAX_BYTES = 4096 };

static void blocks_decode_as_specified(void **state) {
    (void)state;
    static const rill_type types[] = {RILL_TYPE_Q8_0, RILL_TYPE_Q4_0,   RILL_TYPE_Q4_1,
                                      RILL_TYPE_Q5_0, RILL_TYPE_Q5_1,   RILL_TYPE_Q2_K,
                                      RILL_TYPE_Q3_K, RILL_TYPE_Q4_K,   RILL_TYPE_Q5_K,
                                      RILL_TYPE_Q6_K, RILL_TYPE_IQ4_NL, RILL_TYPE_IQ4_XS};
    static uint8_t bytes[MAX_BYTES];
    static float out[BLOCKS * 256];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const rill__type_traits *t = rill__type_traits_get(types[i]);
        char path[512];
        snprintf(path, sizeof path, "%s/types/%s.bin", getenv("RILL_TEST_DATA"), t->name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n_bytes = (size_t)BLOCKS * t->block_bytes, n = (size_t)BLOCKS * t->block;
        assert_int_equal(fread(bytes, 1, sizeof bytes, f), n_bytes + n * sizeof *out);
        assert_int_equal(fclose(f), 0);
        t->to_float(bytes, out, n);
        assert_memory_equal(out, bytes + n_bytes, n * sizeof *out);
    }
}

static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float x = rill__f16_to_f32((uint16_t)h), next = rill__f16_to_f32((uint16_t)(h + 1));
        assert_int_equal(rill__f32_to_f16(x), h);
        assert_int_equal(rill__f32_to_f16(-x), h | 0x8000);
        if (h == 0x7bff) next = 65536;  // where the next one would be
        float middle = (x + next) / 2;
        assert_int_equal(rill__f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(rill__f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(rill__f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_true(rill__f16_to_f32(0x3c00) == 1.0f && rill__f16_to_f32(0xc000) == -2.0f);
    assert_true(rill__f16_to_f32(1) == 0x1p-24f);
    assert_int_equal(rill__f32_to_f16(INFINITY), 0x7c00);
    assert_true(isnan(rill__f16_to_f32(rill__f32_to_f16(NAN))));
    assert_true(isinf(rill__f16_to_f32(0xfc00)));
}

static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(rill__f32_to_bf16(1.0f), 0x3f80);
    assert_int_equal(rill__f32_to_bf16(0x1.01p0f), 0x3f80);  // half way, down to even
    assert_int_equal(rill__f32_to_bf16(0x1.03p0f), 0x3f82);  // half way, up to even
    assert_int_equal(rill__f32_to_bf16(0x1.010002p0f), 0x3f81);
    assert_int_equal(rill__f32_to_bf16(-INFINITY), 0xff80);
    assert_true(isnan(rill__bf16_to_f32(rill__f32_to_bf16(NAN))));
}

static void quantisers_round_as_the_reference_does(void **state) {
    (void)state;
    float x[32] = {-127, 126.5f, 0.5f, -0.5f, 1.4f, 64};
    uint8_t b[34];
    rill__type_traits_get(RILL_TYPE_Q8_0)->from_float(x, b, 32);
    const int8_t q8[] = {-127, 127, 1, -1, 1, 64};  // halves away from zero
    assert_true(b[0] == 0x00 && b[1] == 0x3c);      // d = 1
    assert_memory_equal(b + 2, q8, sizeof q8);
    // q4_0: the value of greatest magnitude, 8 here, becomes -8: d = -1.
    float y[32] = {8, -7, 0.4f, -0.5f, -7.6f};
    rill__type_traits_get(RILL_TYPE_Q4_0)->from_float(y, b, 32);
    assert_true(b[0] == 0x00 && b[1] == 0xbc);
    const uint8_t low[] = {0, 15, 8, 9, 15};
    for (int i = 0; i < 5; i++) assert_int_equal(b[2 + i], low[i] | 8 << 4);
}

// OCP Microscaling Formats (MX) 1.0, tables 5 and 7: elements of E2M1, bias 1, subnormal 0.5; a
// scale of E8M0, 2^(e - 127), 255 for NaN.
static void mxfp4_decodes_as_the_standard_says(void **state) {
    (void)state;
    static const float elements[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                       -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    static const struct {
        uint8_t e;
        float scale;
    } scales[] = {{127, 1},       {128, 2},       {120, 0x1p-7f},
                  {1, 0x1p-126f}, {0, 0x1p-127f}, {250, 0x1p123f}};
    const rill__type_traits *t = rill__type_traits_get(RILL_TYPE_MXFP4);
    assert_int_equal(t->block, 32);
    assert_int_equal(t->block_bytes, 17);
    uint8_t block[17];
    float out[32], right[32];
    // Byte i holds elements i and i + 16: all sixteen codes, once upwards and once downwards.
    for (int i = 0; i < 16; i++) block[1 + i] = (uint8_t)(i | (15 - i) << 4);
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        block[0] = scales[k].e;
        t->to_float(block, out, 32);
        for (int i = 0; i < 16; i++) {
            right[i] = elements[i] * scales[k].scale;
            right[16 + i] = elements[15 - i] * scales[k].scale;
        }
        assert_memory_equal(out, right, sizeof out);
    }
    block[0] = 255;
    t->to_float(block, out, 32);
    for (int i = 0; i < 32; i++) assert_true(isnan(out[i]));
}

// Nothing that a model could compute is undefined: zeros, the smallest numbers, infinities, NaN.
static void quantisers_take_any_float(void **state) {
    (void)state;
    static const float numbers[] = {0, 0x1p-149f, 0x1p-140f, 0x1p-120f, 0x1p127f, INFINITY, NAN};
    static const rill_type types[] = {RILL_TYPE_Q8_0, RILL_TYPE_Q4_0};
    for (size_t t = 0; t < 2; t++) {
        const rill__type_traits *traits = rill__type_traits_get(types[t]);
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            float x[32] = {0, numbers[i], -numbers[i]}, back[32];
            uint8_t b[34];
            traits->from_float(x, b, 32);
            traits->to_float(b, back, 32);
            if (numbers[i] < 1)
                for (int j = 0; j < 32; j++) assert_true(back[j] == 0);
        }
    }
}

static void sizes_are_checked(void **state) {
    (void)state;
    size_t bytes = 1;
    assert_true(rill__type_bytes(RILL_TYPE_Q4_K, 512, &bytes));
    assert_int_equal(bytes, 288);
    assert_false(rill__type_bytes(RILL_TYPE_Q4_K, 500, &bytes));
    assert_false(rill__type_bytes(RILL_TYPE_F32, UINT64_MAX / 2, &bytes));
    assert_false(rill__type_bytes((rill_type)5, 32, &bytes));
    rill_type type;
    assert_true(rill_type_parse("Q4_k", &type) && type == RILL_TYPE_Q4_K);
    assert_false(rill_type_parse("q9", &type));
    assert_string_equal(rill_type_name((rill_type)99), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_decode_as_specified),
        cmocka_unit_test(mxfp4_decodes_as_the_standard_says),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(quantisers_round_as_the_reference_does),
        cmocka_unit_test(quantisers_take_any_float),
        cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
