// SPDX-License-Identifier: MIT
// float32 to the block types: the bytes that ggml writes (tests/data/types, make_encoded.py),
// errors within a step, and nothing undefined whatever the numbers.
#include "format/types.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SUPER = 256, VALUES = 4096 };

// A type and the farthest that a number may be from what is stored, in greatest magnitudes of its
// super-block: a whole step of a scale that spans from -1 to 1 (half of one by rounding; the
// searches cut some numbers off, and scales are rounded too).
static const struct {
    rill_type type;
    float step;
} types[] = {
    {RILL_TYPE_F16, 0x1p-11f},       {RILL_TYPE_BF16, 0x1p-8f},
    {RILL_TYPE_Q8_0, 1.0f / 127},    {RILL_TYPE_Q4_0, 2.0f / 15},
    {RILL_TYPE_Q4_1, 2.0f / 15},     {RILL_TYPE_Q5_0, 2.0f / 31},
    {RILL_TYPE_Q5_1, 2.0f / 31},     {RILL_TYPE_Q2_K, 2.0f / 3},
    {RILL_TYPE_Q3_K, 2.0f / 7},      {RILL_TYPE_Q4_K, 2.0f / 15},
    {RILL_TYPE_Q5_K, 2.0f / 31},     {RILL_TYPE_Q6_K, 2.0f / 63},
    {RILL_TYPE_IQ4_NL, 24.0f / 127}, {RILL_TYPE_IQ4_XS, 24.0f / 127},
    {RILL_TYPE_MXFP4, 1.0f / 4},  // from almost 8 scales, cut at 6
};
enum { TYPES = sizeof types / sizeof *types };

static void read_file(const char *name, const char *ending, void *out, size_t bytes) {
    char path[512];
    snprintf(path, sizeof path, "%s/types/%s.%s", getenv("RILL_TEST_DATA"), name, ending);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s", path);
    assert_int_equal(fread(out, 1, bytes, f), bytes);
    assert_int_equal(fgetc(f), EOF);
    assert_int_equal(fclose(f), 0);
}

static void bytes_are_ggmls(void **state) {
    (void)state;
    static float x[VALUES];
    static uint8_t right[4 * VALUES], found[4 * VALUES];
    read_file("encoded", "values", x, sizeof x);
    for (size_t i = 0; i < TYPES; i++) {
        const rill__type_traits *t = rill__type_traits_get(types[i].type);
        size_t bytes = VALUES / t->block * t->block_bytes;
        read_file(t->name, "encoded", right, bytes);
        t->from_float(x, found, VALUES);
        for (size_t b = 0; b < VALUES / t->block; b++)
            if (memcmp(found + b * t->block_bytes, right + b * t->block_bytes, t->block_bytes) != 0)
                fail_msg("%s: block %zu", t->name, b);
    }
}

static uint64_t seed = 3;

static uint64_t bits(void) {  // splitmix64 (Steele, Lea and Flood, 2014)
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static float normal(void) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += (float)(bits() >> 40) * 0x1p-24f;
    return (sum - 3) * 1.414f;
}

enum { FILLS = 9 };

static float filled(int kind, size_t i) {
    float x = normal();
    switch (kind) {
    case 0: return x;
    case 1: return x * x * x;
    case 2: return fabsf(x) + 1;
    case 3: return -fabsf(x) - 1;
    case 4: return bits() % 4 ? 0 : x;
    case 5: return i % 37 ? x * 1e-3f : x * 100;
    case 6: return i % 2 ? 0.75f : -0.75f;
    case 7: return -2;
    default: return ldexpf(x, (int)(bits() % 24) - 12);
    }
}

// Through blocks at odd addresses; nothing behind them is touched.
static void there_and_back(const rill__type_traits *t, const float *x, float *back) {
    uint8_t memory[4 * SUPER + 2];
    size_t bytes = SUPER / t->block * t->block_bytes;
    memset(memory, 0xa5, sizeof memory);
    t->from_float(x, memory + 1, SUPER);
    assert_int_equal(memory[0], 0xa5);
    assert_int_equal(memory[1 + bytes], 0xa5);
    t->to_float(memory + 1, back, SUPER);
}

static void errors_stay_within_a_step(void **state) {
    (void)state;
    float x[SUPER], back[SUPER];
    for (size_t t = 0; t < TYPES; t++) {
        const rill__type_traits *traits = rill__type_traits_get(types[t].type);
        float worst = 0;
        for (int round = 0; round < 20 * FILLS; round++) {
            float greatest = 0;
            for (size_t i = 0; i < SUPER; i++) {
                x[i] = filled(round % FILLS, i);
                greatest = fmaxf(greatest, fabsf(x[i]));
            }
            there_and_back(traits, x, back);
            for (size_t i = 0; i < SUPER; i++)
                worst = fmaxf(worst, fabsf(back[i] - x[i]) / greatest);
        }
        if (!(worst <= types[t].step))
            fail_msg("%s: %g of the greatest; at most %g is right", traits->name, (double)worst,
                     (double)types[t].step);
    }
}

static void zeros_and_the_smallest_numbers_are_zeros(void **state) {
    (void)state;
    static const float numbers[] = {0, -0.0f, 0x1p-149f, 0x1p-140f, 0x1p-130f, 0x1p-120f, 0x1p-60f};
    float x[SUPER], back[SUPER];
    for (size_t t = 0; t < TYPES; t++) {
        const rill__type_traits *traits = rill__type_traits_get(types[t].type);
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            for (size_t i = 0; i < SUPER; i++)
                x[i] = i % 3 ? i % 3 == 1 ? numbers[k] : -numbers[k] : 0;
            there_and_back(traits, x, back);
            for (size_t i = 0; i < SUPER; i++)
                if (!(fabsf(back[i]) <= fabsf(numbers[k])))
                    fail_msg("%s of %g: %g", traits->name, (double)numbers[k], (double)back[i]);
        }
    }
}

// quantize.h: a NaN is a zero to its neighbours.
static void nan_counts_as_zero(void **state) {
    (void)state;
    float x[SUPER], with_zeros[SUPER], back[SUPER], right[SUPER];
    for (size_t t = 0; t < TYPES; t++) {
        const rill__type_traits *traits = rill__type_traits_get(types[t].type);
        if (traits->block == 1) continue;
        for (int round = 0; round < 32; round++) {
            for (size_t i = 0; i < SUPER; i++) {
                x[i] = with_zeros[i] = normal();
                if (bits() % (round < 16 ? 20 : 2) == 0) {
                    x[i] = NAN;
                    with_zeros[i] = 0;
                }
            }
            there_and_back(traits, x, back);
            there_and_back(traits, with_zeros, right);
            for (size_t i = 0; i < SUPER; i++) {
                bool code_0 = isnan(x[i]) && traits->type == RILL_TYPE_Q4_0;
                if (back[i] != right[i] && !code_0)
                    fail_msg("%s: %g; %g is right", traits->name, (double)back[i],
                             (double)right[i]);
            }
        }
    }
}

// The same: what no scale can hold is not hidden.
static void infinities_are_seen(void **state) {
    (void)state;
    static const float numbers[] = {INFINITY, -INFINITY, 1e38f, -3e38f};
    float x[SUPER], back[SUPER];
    for (size_t t = 0; t < TYPES; t++) {
        const rill__type_traits *traits = rill__type_traits_get(types[t].type);
        bool wide = traits->type == RILL_TYPE_BF16 || traits->type == RILL_TYPE_MXFP4;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            for (size_t i = 0; i < SUPER; i++) x[i] = i == 77 ? numbers[k] : normal();
            there_and_back(traits, x, back);
            bool all_finite = true;
            for (size_t i = 0; i < SUPER; i++) all_finite = all_finite && isfinite(back[i]);
            if (all_finite != (wide && isfinite(numbers[k])))
                fail_msg("%s of %g", traits->name, (double)numbers[k]);
            if (wide && isinf(numbers[k])) assert_true(back[77] == numbers[k]);
        }
    }
}

// Any bytes, decoded and encoded again: nothing undefined (the sanitizers see to it), and where all
// numbers are finite the second time changes little.
static void any_bytes_go_round(void **state) {
    (void)state;
    uint8_t memory[4 * SUPER];
    float x[SUPER], back[SUPER];
    unsigned finite = 0;
    for (size_t t = 0; t < TYPES; t++) {
        const rill__type_traits *traits = rill__type_traits_get(types[t].type);
        size_t bytes = SUPER / traits->block * traits->block_bytes;
        for (int round = 0; round < 2000; round++) {
            float greatest = 0;
            for (size_t i = 0; i < bytes; i++) memory[i] = (uint8_t)bits();
            traits->to_float(memory, x, SUPER);
            there_and_back(traits, x, back);
            for (size_t i = 0; i < SUPER; i++)
                greatest = isfinite(x[i]) ? fmaxf(greatest, fabsf(x[i])) : INFINITY;
            if (greatest > 1e4f || greatest < 1) continue;
            finite++;
            for (size_t i = 0; i < SUPER; i++)
                if (!(fabsf(back[i] - x[i]) <= types[t].step * greatest))
                    fail_msg("%s: %g of %g", traits->name, (double)back[i], (double)x[i]);
        }
    }
    assert_true(finite > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_ggmls),
        cmocka_unit_test(errors_stay_within_a_step),
        cmocka_unit_test(zeros_and_the_smallest_numbers_are_zeros),
        cmocka_unit_test(nan_counts_as_zero),
        cmocka_unit_test(infinities_are_seen),
        cmocka_unit_test(any_bytes_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
