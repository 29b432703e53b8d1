// SPDX-License-Identifier: MIT
// Weights that a file has in another order of rows, with every number worked out by hand: groups of
// queries, keys and values; norms less 1; experts as floats and as MXFP4.
#include "model/repack.h"
#include "model/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LAYER = 1, LAYERS = 2 };

static rill__model *make_model(const rill__description *d) {
    rill__model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->description = *d;
    m->description.n_layers = LAYERS;
    m->parameters = calloc(rill__parameters_count(LAYERS), sizeof *m->parameters);
    assert_non_null(m->parameters);
    return m;
}

static void free_model(rill__model *m) {
    for (size_t i = 0; i < rill__parameters_count(LAYERS); i++) {
        rill__free(m->parameters[i].weight_memory);
        rill__free(m->parameters[i].bias_memory);
    }
    free(m->parameters);
    free(m);
}

// A tensor of as many dimensions as `shape` has entries that are not 0.
static rill__tensor tensor_of(const char *name, rill_type type, const uint64_t shape[4],
                              const void *data, size_t bytes) {
    rill__tensor t = {name, type, 0, {1, 1, 1, 1}, data, bytes};
    while (t.n_dims < 4 && shape[t.n_dims]) {
        t.shape[t.n_dims] = shape[t.n_dims];
        t.n_dims++;
    }
    return t;
}

// A role's weight (or bias) in LAYER has this shape and these floats, and no other layer has any.
static void check(const rill__model *m, rill__weight_role role, bool bias, uint64_t rows,
                  uint64_t columns, const float *right) {
    const rill__parameter *p = &m->parameters[rill__parameter_index(role, LAYER)];
    const rill__parameter *other = &m->parameters[rill__parameter_index(role, LAYER - 1)];
    const rill__tensor *t = bias ? &p->bias : &p->weight;
    assert_null(bias ? other->bias.data : other->weight.data);
    assert_non_null(t->data);
    assert_int_equal(t->n_dims, columns ? 2 : 1);
    assert_int_equal(t->shape[0], rows);
    assert_int_equal(t->shape[1], columns ? columns : 1);
    size_t n = rows * (columns ? columns : 1), bytes;
    assert_true(rill__type_bytes(t->type, n, &bytes));
    assert_int_equal(t->bytes, bytes);
    float *values = calloc(n, sizeof *values);
    assert_non_null(values);
    rill__type_traits_get(t->type)->to_float(t->data, values, n);
    for (size_t i = 0; i < n; i++)
        if (values[i] != right[i])
            fail_msg("role %d, %s %zu: %g; %g is right", (int)role, bias ? "bias" : "value", i,
                     (double)values[i], (double)right[i]);
    free(values);
}

// ---- Groups ---------------------------------------------------------------------------------

static const rill__weight_name qkv = {.name = "l.#.qkv",
                                      .n_roles = 3,
                                      .roles = {RILL_WEIGHT_Q, RILL_WEIGHT_K, RILL_WEIGHT_V},
                                      .layout = RILL_LAYOUT_GROUPS};

// Two groups of two query heads, heads of 2: a group has rows of query 0, 0, 1, 1, key, key, value,
// value. Row r of the tensor holds r and r + 100.
static void groups_are_taken_apart(void **state) {
    (void)state;
    const rill__description d = {.n_heads = 4, .n_kv_heads = 2, .head_dim = 2};
    float rows[16][2], entries[16];
    for (int r = 0; r < 16; r++) {
        rows[r][0] = entries[r] = (float)r;
        rows[r][1] = (float)r + 100;
    }
    rill__tensor weight =
        tensor_of("l.1.qkv.weight", RILL_TYPE_F32, (uint64_t[4]){16, 2}, rows, sizeof rows);
    rill__tensor bias =
        tensor_of("l.1.qkv.bias", RILL_TYPE_F32, (uint64_t[4]){16}, entries, sizeof entries);
    rill_error err;
    rill__model *m = make_model(&d);
    assert_int_equal(rill__repack_groups(m, &qkv, LAYER, false, &weight, &err), RILL_OK);
    assert_int_equal(rill__repack_groups(m, &qkv, LAYER, true, &bias, &err), RILL_OK);
    check(m, RILL_WEIGHT_Q, false, 8, 2,
          (const float[]){0, 100, 1, 101, 2, 102, 3, 103, 8, 108, 9, 109, 10, 110, 11, 111});
    check(m, RILL_WEIGHT_K, false, 4, 2, (const float[]){4, 104, 5, 105, 12, 112, 13, 113});
    check(m, RILL_WEIGHT_V, false, 4, 2, (const float[]){6, 106, 7, 107, 14, 114, 15, 115});
    check(m, RILL_WEIGHT_Q, true, 8, 0, (const float[]){0, 1, 2, 3, 8, 9, 10, 11});
    check(m, RILL_WEIGHT_K, true, 4, 0, (const float[]){4, 5, 12, 13});
    check(m, RILL_WEIGHT_V, true, 4, 0, (const float[]){6, 7, 14, 15});
    free_model(m);
}

// As many groups as heads (GPT-NeoX: a query, a key, a value, head after head), in half precision:
// rows are moved, not read.
static void groups_of_one_head_keep_their_type(void **state) {
    (void)state;
    const rill__description d = {.n_heads = 3, .n_kv_heads = 3, .head_dim = 1};
    uint16_t rows[9];
    for (int r = 0; r < 9; r++) rows[r] = rill__f32_to_f16((float)r / 4);
    rill__tensor weight =
        tensor_of("l.1.qkv.weight", RILL_TYPE_F16, (uint64_t[4]){9, 1}, rows, sizeof rows);
    rill_error err;
    rill__model *m = make_model(&d);
    assert_int_equal(rill__repack_groups(m, &qkv, LAYER, false, &weight, &err), RILL_OK);
    check(m, RILL_WEIGHT_Q, false, 3, 1, (const float[]){0, 0.75f, 1.5f});
    check(m, RILL_WEIGHT_K, false, 3, 1, (const float[]){0.25f, 1, 1.75f});
    check(m, RILL_WEIGHT_V, false, 3, 1, (const float[]){0.5f, 1.25f, 2});
    const rill__parameter *p = &m->parameters[rill__parameter_index(RILL_WEIGHT_Q, LAYER)];
    assert_int_equal(p->weight.type, RILL_TYPE_F16);
    free_model(m);
}

// ---- Norms less 1 ---------------------------------------------------------------------------

// In float32 whatever the file has: 2^-9 + 1 is no bfloat16.
static void one_is_added_to_norms(void **state) {
    (void)state;
    static const rill__weight_name norm = {.name = "l.#.norm",
                                           .n_roles = 1,
                                           .roles = {RILL_WEIGHT_FFN_NORM},
                                           .layout = RILL_LAYOUT_OFFSET};
    const rill__description d = {.hidden_size = 4};
    const float less[] = {-1, 0, 0.5f, 0x1p-9f};
    uint16_t stored[4];
    for (int i = 0; i < 4; i++) stored[i] = rill__f32_to_bf16(less[i]);
    rill__tensor weight =
        tensor_of("l.1.norm.weight", RILL_TYPE_BF16, (uint64_t[4]){4}, stored, sizeof stored);
    rill_error err;
    rill__model *m = make_model(&d);
    assert_int_equal(rill__repack_offset(m, &norm, LAYER, &weight, &err), RILL_OK);
    check(m, RILL_WEIGHT_FFN_NORM, false, 4, 0, (const float[]){0, 1, 1.5f, 0x1.008p0f});
    free_model(m);
}

// ---- Experts --------------------------------------------------------------------------------

static const rill__weight_name gate_up = {.name = "l.#.gate_up",
                                          .n_roles = 2,
                                          .roles = {RILL_WEIGHT_GATE, RILL_WEIGHT_UP},
                                          .layout = RILL_LAYOUT_EXPERTS};
static const rill__weight_name down = {
    .name = "l.#.down", .n_roles = 1, .roles = {RILL_WEIGHT_DOWN}, .layout = RILL_LAYOUT_EXPERTS};

static rill_status repack(rill__model *m, const rill__weight_name *entry, rill__tensor *tensors,
                          size_t n, rill_error *err) {
    static char path[] = "there";
    rill__tensors_sort(tensors, n);
    const rill__source source = {.path = path, .tensors = tensors, .n_tensors = n};
    return rill__repack_experts(m, &source, entry, LAYER, err);
}

// Two experts, a hidden size of 3, two numbers between. The file has experts, columns, rows; gate
// and up take turns in the rows. A number says where it is: 100 expert + 10 column + row.
static void experts_of_floats_are_turned(void **state) {
    (void)state;
    const rill__description d = {.hidden_size = 3, .ffn_size = 2, .n_experts = 2, .gated = true};
    float both[2][3][4], out[2][2][3];
    const float bias[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}}, down_bias[2][3] = {{1, 2, 3}, {4, 5, 6}};
    for (int x = 0; x < 2; x++)
        for (int c = 0; c < 3; c++)
            for (int r = 0; r < 4; r++) both[x][c][r] = (float)(100 * x + 10 * c + r);
    for (int x = 0; x < 2; x++)
        for (int c = 0; c < 2; c++)
            for (int r = 0; r < 3; r++) out[x][c][r] = (float)(100 * x + 10 * c + r);
    rill__tensor tensors[] = {
        tensor_of("l.1.gate_up", RILL_TYPE_F32, (uint64_t[4]){2, 3, 4}, both, sizeof both),
        tensor_of("l.1.gate_up_bias", RILL_TYPE_F32, (uint64_t[4]){2, 4}, bias, sizeof bias),
        tensor_of("l.1.down", RILL_TYPE_F32, (uint64_t[4]){2, 2, 3}, out, sizeof out),
        tensor_of("l.1.down_bias", RILL_TYPE_F32, (uint64_t[4]){2, 3}, down_bias,
                  sizeof down_bias)};
    rill_error err;
    rill__model *m = make_model(&d);
    assert_int_equal(repack(m, &gate_up, tensors, 4, &err), RILL_OK);
    assert_int_equal(repack(m, &down, tensors, 4, &err), RILL_OK);
    check(m, RILL_WEIGHT_GATE, false, 4, 3,
          (const float[]){0, 10, 20, 2, 12, 22, 100, 110, 120, 102, 112, 122});
    check(m, RILL_WEIGHT_UP, false, 4, 3,
          (const float[]){1, 11, 21, 3, 13, 23, 101, 111, 121, 103, 113, 123});
    check(m, RILL_WEIGHT_DOWN, false, 6, 2,
          (const float[]){0, 10, 1, 11, 2, 12, 100, 110, 101, 111, 102, 112});
    check(m, RILL_WEIGHT_GATE, true, 4, 0, (const float[]){1, 3, 5, 7});
    check(m, RILL_WEIGHT_UP, true, 4, 0, (const float[]){2, 4, 6, 8});
    check(m, RILL_WEIGHT_DOWN, true, 6, 0, (const float[]){1, 2, 3, 4, 5, 6});
    free_model(m);
}

// Two experts of one row each for gate and up, 64 columns: two blocks a row. In the file the low
// half of byte i is value 2i of its block, the high half value 2i + 1.
static void experts_of_mxfp4_are_regrouped(void **state) {
    (void)state;
    static const float e2m1[16] = {0,    0.5f,  1,  1.5f,  2,  3,  4,  6,
                                   -0.f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    const rill__description d = {.hidden_size = 64, .ffn_size = 1, .n_experts = 2, .gated = true};
    uint8_t blocks[2][2][2][16], scales[2][2][2];  // [expert][row][block]
    const float bias[2][2] = {{1, 2}, {3, 4}};
    float right[2][2][64];  // [role][expert]
    for (int x = 0; x < 2; x++) {
        for (int role = 0; role < 2; role++) {
            for (int b = 0; b < 2; b++) {
                // Value i of a block is nibble i + 5 b + 3 role + expert, its scale 2^(b - role).
                int first = 5 * b + 3 * role + x;
                scales[x][role][b] = (uint8_t)(127 + b - role);
                for (int i = 0; i < 32; i++)
                    right[role][x][32 * b + i] =
                        e2m1[(first + i) % 16] * (b ? 2.f : 1.f) / (role ? 2.f : 1.f);
                for (int i = 0; i < 16; i++)
                    blocks[x][role][b][i] =
                        (uint8_t)((first + 2 * i) % 16 | (first + 2 * i + 1) % 16 << 4);
            }
        }
    }
    rill__tensor tensors[] = {tensor_of("l.1.gate_up_blocks", RILL_TENSOR_BYTES,
                                        (uint64_t[4]){2, 2, 2, 16}, blocks, sizeof blocks),
                              tensor_of("l.1.gate_up_scales", RILL_TENSOR_BYTES,
                                        (uint64_t[4]){2, 2, 2}, scales, sizeof scales),
                              tensor_of("l.1.gate_up_bias", RILL_TYPE_F32, (uint64_t[4]){2, 2},
                                        bias, sizeof bias)};
    rill_error err;
    rill__model *m = make_model(&d);
    assert_int_equal(repack(m, &gate_up, tensors, 3, &err), RILL_OK);
    check(m, RILL_WEIGHT_GATE, false, 2, 64, right[0][0]);
    check(m, RILL_WEIGHT_UP, false, 2, 64, right[1][0]);
    check(m, RILL_WEIGHT_GATE, true, 2, 0, (const float[]){1, 3});
    check(m, RILL_WEIGHT_UP, true, 2, 0, (const float[]){2, 4});
    // As GGUF has it: the scale, then values i and i + 16 in byte i, which here are equal.
    const rill__parameter *p = &m->parameters[rill__parameter_index(RILL_WEIGHT_GATE, LAYER)];
    static const uint8_t first_block[17] = {127,  0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                            0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    assert_int_equal(p->weight.type, RILL_TYPE_MXFP4);
    assert_memory_equal(p->weight.data, first_block, sizeof first_block);
    free_model(m);
}

static void missing_and_misshapen_experts_are_named(void **state) {
    (void)state;
    static const uint8_t zeros[1024];
    const rill__description d = {.hidden_size = 32, .ffn_size = 2, .n_experts = 2, .gated = true};
    const struct {
        rill__tensor tensors[3];
        const char *message;
    } cases[] = {
        {{tensor_of("x", RILL_TYPE_F32, (uint64_t[4]){1}, zeros, 4)},
         "there: tensor 'l.1.gate_up': it is missing"},
        {{tensor_of("l.1.gate_up", RILL_TYPE_BF16, (uint64_t[4]){2, 4, 32}, zeros, 512)},
         "there: tensor 'l.1.gate_up': dimension 1: 4; 32 is right"},
        {{tensor_of("l.1.gate_up", RILL_TYPE_BF16, (uint64_t[4]){2, 32, 4, 1}, zeros, 512)},
         "there: tensor 'l.1.gate_up': dimension 3: 1; 0 is right"},
        {{tensor_of("l.1.gate_up", RILL_TYPE_BF16, (uint64_t[4]){2, 32, 4}, zeros, 512)},
         "there: tensor 'l.1.gate_up_bias': it is missing"},
        {{tensor_of("l.1.gate_up_blocks", RILL_TENSOR_BYTES, (uint64_t[4]){2, 4, 1, 16}, zeros,
                    128)},
         "there: tensor 'l.1.gate_up_scales': it is missing"},
        {{tensor_of("l.1.gate_up_blocks", RILL_TENSOR_BYTES, (uint64_t[4]){2, 4, 2, 16}, zeros,
                    256)},
         "there: tensor 'l.1.gate_up_blocks': dimension 2: 2; 1 is right"},
        {{tensor_of("l.1.gate_up_blocks", RILL_TENSOR_BYTES, (uint64_t[4]){2, 4, 1, 16}, zeros,
                    128),
          tensor_of("l.1.gate_up_scales", RILL_TENSOR_BYTES, (uint64_t[4]){2, 4, 3}, zeros, 24)},
         "there: tensor 'l.1.gate_up_scales': dimension 2: 3; 1 is right"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill__tensor tensors[3];
        size_t n = 0;
        while (n < 3 && cases[i].tensors[n].name) n++;
        memcpy(tensors, cases[i].tensors, sizeof tensors);
        rill_error err = {0};
        rill__model *m = make_model(&d);
        assert_int_equal(repack(m, &gate_up, tensors, n, &err), RILL_EFORMAT);
        assert_string_equal(err.message, cases[i].message);
        free_model(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_taken_apart),
        cmocka_unit_test(groups_of_one_head_keep_their_type),
        cmocka_unit_test(one_is_added_to_norms),
        cmocka_unit_test(experts_of_floats_are_turned),
        cmocka_unit_test(experts_of_mxfp4_are_regrouped),
        cmocka_unit_test(missing_and_misshapen_experts_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
