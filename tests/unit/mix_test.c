// SPDX-License-Identifier: MIT
// Mixes: every matrix of eleven models gets the type that llama.cpp gives it (tests/data/types,
// make_mixes.py); names; what rows that do not divide become.
#include "model/mix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name;
    rill__weight_role roles[3];
    uint32_t n;
} roles[] = {
    {"embedding", {RILL_WEIGHT_EMBEDDING}, 1},
    {"output", {RILL_WEIGHT_OUTPUT}, 1},
    {"q", {RILL_WEIGHT_Q}, 1},
    {"k", {RILL_WEIGHT_K}, 1},
    {"v", {RILL_WEIGHT_V}, 1},
    {"qkv", {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V}, 3},
    {"o", {RILL_WEIGHT_O}, 1},
    {"gate", {RILL_WEIGHT_GATE}, 1},
    {"up", {RILL_WEIGHT_UP}, 1},
    {"down", {RILL_WEIGHT_DOWN}, 1},
};

static rill_type type_of(char letter) {
    static const struct {
        char letter;
        rill_type type;
    } letters[] = {{'2', RILL_TYPE_Q2_K}, {'3', RILL_TYPE_Q3_K}, {'4', RILL_TYPE_Q4_K},
                   {'5', RILL_TYPE_Q5_K}, {'6', RILL_TYPE_Q6_K}, {'8', RILL_TYPE_Q8_0},
                   {'a', RILL_TYPE_Q4_0}, {'b', RILL_TYPE_Q5_0}, {'c', RILL_TYPE_Q5_1},
                   {'h', RILL_TYPE_F16}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].letter == letter) return letters[i].type;
    fail_msg("letter %c", letter);
    return RILL_TYPE_F32;
}

static bool read_model(const char *line, rill__description *d) {
    unsigned hidden, ffn, layers, heads, kv_heads, head_dim, experts, tied;
    if (sscanf(line, "model %95s %31s %u %u %u %u %u %u %u %u", d->name, d->family, &hidden, &ffn,
               &layers, &heads, &kv_heads, &head_dim, &experts, &tied) != 10)
        return false;
    d->hidden_size = hidden;
    d->ffn_size = ffn;
    d->n_layers = layers;
    d->n_heads = heads;
    d->n_kv_heads = kv_heads;
    d->head_dim = head_dim;
    d->n_experts = experts;
    d->tied_embeddings = tied != 0;
    assert_non_null(rill__family_find(d->family));
    return true;
}

static void check_line(const rill__description *d, const char *line) {
    char mix_name[16], role_name[16], letters[128];
    rill_type type;
    rill_mix mix;
    assert_int_equal(sscanf(line, "%*s %15s %15s %127s", mix_name, role_name, letters), 3);
    assert_true(rill_mix_parse(mix_name, &type, &mix));
    size_t r = 0;
    while (r < sizeof roles / sizeof *roles && strcmp(roles[r].name, role_name) != 0) r++;
    assert_true(r < sizeof roles / sizeof *roles);
    uint64_t rows, columns;
    rill__weight_shape(d, roles[r].roles[0], &rows, &columns);
    for (uint32_t i = 0; letters[i]; i++) {
        rill_type found = rill__mix_choose(d, type, mix, roles[r].roles, roles[r].n, i, columns);
        if (found != type_of(letters[i]))
            fail_msg("%s %s %s, layer %u: %s; %s is right", d->name, mix_name, role_name, i,
                     rill_type_name(found), rill_type_name(type_of(letters[i])));
    }
}

static void mixes_are_llama_cpps(void **state) {
    (void)state;
    char path[512], line[256];
    rill__description d = {0};
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/types/mixes.txt", getenv("RILL_TEST_DATA"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (read_model(line, &d)) continue;
        check_line(&d, line);
        n++;
    }
    assert_int_equal(fclose(file), 0);
    assert_true(n > 600);
}

static void names_go_both_ways(void **state) {
    (void)state;
    rill_type type;
    rill_mix mix;
    size_t n = 0;
    for (const char *name; (name = rill_mix_list(n)); n++) {
        assert_true(rill_mix_parse(name, &type, &mix));
        assert_string_equal(rill_mix_name(type, mix), name);
        assert_true(rill__mix_exists(type, mix));
        if (mix == RILL_MIX_NONE) assert_string_equal(rill_type_name(type), name);
    }
    assert_int_equal(n, 16 + 8);
    assert_true(rill_mix_parse("Q4_K_m", &type, &mix));
    assert_true(type == RILL_TYPE_Q4_K && mix == RILL_MIX_M);
    assert_false(rill_mix_parse("q4_K_L", &type, &mix));
    assert_false(rill__mix_exists(RILL_TYPE_Q8_0, RILL_MIX_M));
    assert_false(rill__mix_exists((rill_type)99, RILL_MIX_NONE));
    assert_string_equal(rill_mix_name(RILL_TYPE_Q4_K, RILL_MIX_L), "unknown");
    // llama.h's llama_ftype.
    assert_int_equal(rill__mix_file_type(RILL_TYPE_Q4_K, RILL_MIX_M), 15);
    assert_int_equal(rill__mix_file_type(RILL_TYPE_IQ4_XS, RILL_MIX_NONE), 30);
}

// A plain type is every matrix's, if it divides the rows.
static void types_are_every_matrixs(void **state) {
    (void)state;
    static const struct {
        const char *name, *of_32, *of_5;  // what rows of 32 n and of 5 n values become
    } cases[] = {
        {"f32", "f32", "f32"},     {"f16", "f16", "f16"},       {"bf16", "bf16", "bf16"},
        {"q8_0", "q8_0", "f16"},   {"q4_0", "q4_0", "f16"},     {"q4_1", "q4_1", "f16"},
        {"q5_0", "q5_0", "f16"},   {"q5_1", "q5_1", "f16"},     {"q2_K", "q4_0", "f16"},
        {"q3_K", "q4_0", "f16"},   {"q4_K", "q5_0", "f16"},     {"q5_K", "q5_1", "f16"},
        {"q6_K", "q8_0", "f16"},   {"iq4_nl", "iq4_nl", "f16"}, {"iq4_xs", "iq4_nl", "f16"},
        {"mxfp4", "mxfp4", "f16"},
    };
    const rill__description d = {.family = "llama", .n_layers = 32, .n_heads = 8, .n_kv_heads = 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill_type type;
        rill_mix mix;
        assert_true(rill_mix_parse(cases[i].name, &type, &mix));
        for (size_t r = 0; r < sizeof roles / sizeof *roles; r++) {
            const struct {
                uint64_t columns;
                const char *right;
            } widths[] = {{512, cases[i].name}, {96, cases[i].of_32}, {40, cases[i].of_5}};
            for (size_t w = 0; w < 3; w++) {
                rill_type found = rill__mix_choose(&d, type, mix, roles[r].roles, roles[r].n, 0,
                                                   widths[w].columns);
                assert_string_equal(rill_type_name(found), widths[w].right);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixes_are_llama_cpps),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(types_are_every_matrixs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
