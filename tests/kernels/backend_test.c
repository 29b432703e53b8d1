// SPDX-License-Identifier: MIT
// A backend (the CPU's, or RILL_TEST_DEVICE's) against the text of the sink cache: an oracle keeps
// every key and value unrotated in double and turns each key by its distance in the cache. And what
// must not change a bit: threads, other rows of a batch, the ring's size.
#include "backend/cpu/kernels.h"
#include "base/cpu_flags.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends.h"

enum { HEADS = 6, KV_HEADS = 2, DIM = 40, PAIRS = 16, TOKENS = 60, SINKS = 3, RECENT = 20 };

typedef struct setting {
    rill_type key_type;
    rill_type value_type;
    uint32_t window;
    uint32_t ring_rows;
    size_t chunk;
    float sink_scale;
    float sink_cap;
    bool off_by_one;
    bool interleaved;
    bool slopes;   // ALiBi beside the rotation, which no model has: each shows alone
    bool learned;  // a sink logit a head
} setting;

static const setting plain = {RILL_TYPE_F32, RILL_TYPE_F32, 0,     RECENT + 7, 8, 1, 1,
                              false,         false,         false, false};

typedef struct inputs {
    float q[TOKENS * HEADS * DIM];
    float k[TOKENS * KV_HEADS * DIM];
    float v[TOKENS * KV_HEADS * DIM];
    uint64_t steps[PAIRS];
    rill__row rows[TOKENS];
} inputs;

static const float slopes[HEADS] = {0.5f, 0.25f, 0.125f, 0.03125f, 0, 2};
static const float learned[HEADS] = {-1, 0, 1, 2, -30, 8};

static inputs *make_inputs(void) {
    inputs *in = calloc(1, sizeof *in);
    assert_non_null(in);
    uint64_t seed = 7;
    for (size_t i = 0; i < TOKENS * HEADS * DIM; i++) in->q[i] = random_float(&seed);
    for (size_t i = 0; i < TOKENS * KV_HEADS * DIM; i++) {
        in->k[i] = random_float(&seed);
        in->v[i] = random_float(&seed);
    }
    for (int i = 0; i < PAIRS; i++)
        in->steps[i] = (uint64_t)(pow(1e4, -i / (double)PAIRS) / 6.283185307179586 * 0x1p64);
    for (uint64_t t = 0; t < TOKENS; t++) {
        uint64_t first = t + 1 > RECENT ? t + 1 - RECENT : 0;
        in->rows[t] = (rill__row){.n_sinks = t + 1 < SINKS ? (uint32_t)t + 1 : SINKS,
                                  .token = t,
                                  .first_recent = first < SINKS ? SINKS : first,
                                  .stream_pos = 1000000000000u + t,
                                  .sink_pos = t < SINKS + RECENT ? t : SINKS + RECENT - 1};
    }
    return in;
}

static size_t row_bytes(rill_type type) {
    const rill__type_traits *t = rill__type_traits_get(type);
    return (DIM + t->block - 1) / t->block * t->block_bytes;
}

// One chunk of rows through rotary_table, rotate_store and attend; out: [n, HEADS, DIM].
static void run_chunk(rill__backend *be, const inputs *in, const setting *s, const rill__kv *kv,
                      size_t first, size_t n, float *out) {
    const rill__backend_ops *ops = be->ops;
    const rill__rope rope = {
        .n_pairs = PAIRS, .interleaved = s->interleaved, .phase_step = in->steps, .magnitude = 1};
    const rill__row *rows = in->rows + first;
    const rill__run run = {.n_rows = n, .kv = kv, .rope = &rope};
    size_t queries = HEADS * DIM, keys = KV_HEADS * DIM;
    rill__buffer *q = buffer_of(be, in->q + first * queries, n * queries);
    rill__buffer *q_sink = buffer_of(be, NULL, n * queries);
    rill__buffer *k = buffer_of(be, in->k + first * keys, n * keys);
    rill__buffer *v = buffer_of(be, in->v + first * keys, n * keys);
    rill__buffer *table = buffer_of(be, NULL, n * 4 * PAIRS);
    rill__buffer *result = buffer_of(be, NULL, n * queries);
    const rill__tensor sinks = {.name = "sinks",
                                .type = RILL_TYPE_F32,
                                .n_dims = 1,
                                .shape = {HEADS, 1, 1, 1},
                                .data = (const uint8_t *)learned,
                                .bytes = sizeof learned};
    rill__weight *sink_logits = NULL;
    rill_error err;
    if (s->learned)
        assert_int_equal(be->ops->weight_new(be, &sinks, RILL_USE_PRODUCTS, &sink_logits, &err),
                         RILL_OK);
    const rill__attention a = {.q = q,
                               .q_sink = q_sink,
                               .out = result,
                               .rows = rows,
                               .runs = &run,
                               .n_rows = n,
                               .n_runs = 1,
                               .n_heads = HEADS,
                               .n_kv_heads = KV_HEADS,
                               .head_dim = DIM,
                               .window = s->window,
                               .scale = 0.5f,
                               .softmax_off_by_one = s->off_by_one,
                               .sink_logits = sink_logits,
                               .alibi_slopes = s->slopes ? slopes : NULL};
    rill__pass pass;
    begin_rows(be, &pass, rows, n, &run, 1);
    uint64_t before = rill__allocation_count();
    ops->rotary_table(be, table, rows, n, &run, 1, false);
    ops->rotate_store(be, table, q, q_sink, NULL, k, v, rows, n, &run, 1, 0, false, HEADS, KV_HEADS,
                      DIM);
    ops->attend(be, &a);
    assert_int_equal(rill__allocation_count(), before);
    end_pass(be);
    ops->buffer_read(be, result, 0, out, n * queries * sizeof *out);
    rill__buffer *const all[] = {q, q_sink, k, v, table, result};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ops->buffer_free(be, all[i]);
    ops->weight_free(be, sink_logits);
}

// All tokens in chunks. out: [TOKENS, HEADS, DIM].
static float *run_stream(rill__backend *be, const inputs *in, const setting *s) {
    size_t rows = KV_HEADS * (size_t)(SINKS + s->ring_rows);
    rill__kv kv = {.key_type = s->key_type,
                   .value_type = s->value_type,
                   .key_row_bytes = row_bytes(s->key_type),
                   .value_row_bytes = row_bytes(s->value_type),
                   .n_sinks = SINKS,
                   .ring_rows = s->ring_rows,
                   .sink_scale = s->sink_scale,
                   .sink_cap = s->sink_cap};
    rill_error err;
    assert_int_equal(be->ops->buffer_new(be, rows * kv.key_row_bytes, &kv.keys, &err), RILL_OK);
    assert_int_equal(be->ops->buffer_new(be, rows * kv.value_row_bytes, &kv.values, &err), RILL_OK);
    float *out = calloc(TOKENS * HEADS * DIM, sizeof *out);
    assert_non_null(out);
    for (size_t t = 0; t < TOKENS; t += s->chunk) {
        size_t n = t + s->chunk < TOKENS ? s->chunk : TOKENS - t;
        run_chunk(be, in, s, &kv, t, n, out + t * HEADS * DIM);
    }
    be->ops->buffer_free(be, kv.keys);
    be->ops->buffer_free(be, kv.values);
    return out;
}

// q . (k turned back by `distance` positions)
static double turned_dot(const inputs *in, const setting *s, const float *q, const float *k,
                         uint64_t distance) {
    double sum = 0;
    for (int i = 2 * PAIRS; i < DIM; i++) sum += (double)q[i] * k[i];
    for (int i = 0; i < PAIRS; i++) {
        int a = s->interleaved ? 2 * i : i, b = s->interleaved ? 2 * i + 1 : i + PAIRS;
        double angle = -(double)distance * (double)in->steps[i] * 0x1p-64 * 6.283185307179586;
        double c = cos(angle), n = sin(angle);
        sum += q[a] * (c * k[a] - n * k[b]) + q[b] * (n * k[a] + c * k[b]);
    }
    return sum;
}

// One head of token t by the text. out: [DIM]
static void oracle(const inputs *in, const setting *s, uint64_t t, size_t head, double *out) {
    const rill__row *row = &in->rows[t];
    size_t kv_head = head / (HEADS / KV_HEADS);
    double weights[TOKENS], sinks = 0, rest = s->off_by_one ? 1 : 0;
    if (s->learned) rest += exp((double)learned[head]);
    for (uint64_t j = 0; j <= t; j++) {
        bool sink = j < SINKS;
        uint64_t distance = sink ? row->sink_pos - j : t - j;
        weights[j] = 0;
        if ((!sink && j + RECENT <= t) || (s->window && distance >= s->window)) continue;
        double logit = 0.5 * turned_dot(in, s, in->q + (t * HEADS + head) * DIM,
                                        in->k + (j * KV_HEADS + kv_head) * DIM, distance);
        if (s->slopes) logit -= (double)slopes[head] * (double)distance;
        weights[j] = exp(sink ? logit * s->sink_scale : logit);
        *(sink ? &sinks : &rest) += weights[j];
    }
    double factor = 1;
    if (sinks > s->sink_cap * (sinks + rest) && rest > 0)
        factor = s->sink_cap * rest / ((1 - s->sink_cap) * sinks);
    for (int c = 0; c < DIM; c++) out[c] = 0;
    for (uint64_t j = 0; j <= t; j++)
        for (int c = 0; c < DIM; c++)
            out[c] += weights[j] * (j < SINKS ? factor : 1) / (sinks * factor + rest) *
                      in->v[(j * KV_HEADS + kv_head) * DIM + c];
}

static double error_of(const inputs *in, const setting *s, const float *out) {
    double worst = 0, expected[DIM];
    for (uint64_t t = 0; t < TOKENS; t++)
        for (size_t h = 0; h < HEADS; h++) {
            oracle(in, s, t, h, expected);
            for (int c = 0; c < DIM; c++) {
                double off = fabs(expected[c] - out[(t * HEADS + h) * DIM + c]);
                worst = off <= worst ? worst : off;  // a NaN stays
            }
        }
    return worst;
}

static void attention_is_what_the_text_says(void **state) {
    static const struct {
        setting s;
        double tolerance;  // of the cache's type
    } cases[] = {
        {{RILL_TYPE_F32, RILL_TYPE_F32, 0, RECENT + 7, 8, 1, 1, false, false, false, false}, 1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 0, RECENT, 1, 1, 1, false, true, false, false}, 1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 9, RECENT + 7, 8, 1, 1, false, false, false, false}, 1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 22, RECENT + 7, 8, 1, 1, true, false, false, false}, 1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 0, RECENT + 7, 8, 2.5f, 1, false, false, false, false},
         1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 0, RECENT + 7, 8, 1, 0.05f, true, false, false, false},
         1e-5},
        {{RILL_TYPE_F16, RILL_TYPE_F32, 0, RECENT + 7, 8, 1, 1, false, false, false, false}, 3e-3},
        {{RILL_TYPE_F32, RILL_TYPE_F16, 0, RECENT + 7, 8, 1, 1, false, false, false, false}, 3e-3},
        {{RILL_TYPE_Q8_0, RILL_TYPE_F16, 0, RECENT + 7, 8, 1, 1, false, false, false, false}, 3e-2},
        {{RILL_TYPE_F16, RILL_TYPE_Q8_0, 0, RECENT + 7, 8, 1, 1, false, true, false, false}, 3e-2},
        {{RILL_TYPE_BF16, RILL_TYPE_BF16, 0, RECENT + 7, 8, 1, 1, false, true, false, false}, 4e-3},
        {{RILL_TYPE_Q4_0, RILL_TYPE_F16, 0, RECENT + 7, 8, 1, 1, false, false, false, false}, 0.13},
        {{RILL_TYPE_F16, RILL_TYPE_Q4_0, 0, RECENT + 7, 8, 1, 1, false, false, false, false}, 0.13},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 0, RECENT + 7, 8, 1, 1, false, false, true, false}, 1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 9, RECENT + 7, 8, 2.5f, 1, false, false, true, true}, 1e-5},
        {{RILL_TYPE_F32, RILL_TYPE_F32, 0, RECENT + 7, 8, 1, 0.05f, true, true, false, true}, 1e-5},
    };
    rill__backend *be = open_tier(*state, 2);
    inputs *in = make_inputs();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *out = run_stream(be, in, &cases[i].s);
        double error = error_of(in, &cases[i].s, out);
        if (!(error <= cases[i].tolerance)) fail_msg("case %zu: off by %g", i, error);
        free(out);
    }
    be->ops->close(be);
    free(in);
}

// The same bits for every setting that only moves memory or work about.
static void attention_bits_do_not_move(void **state) {
    static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                      RILL_TYPE_Q4_0};
    rill__backend *one = open_tier(*state, 1);
    inputs *in = make_inputs();
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
        setting s = plain;
        s.key_type = s.value_type = types[type];
        float *expected = run_stream(one, in, &s);
        for (unsigned threads = 1; threads <= 4; threads++) {
            rill__backend *be = open_tier(*state, threads);
            s.chunk = 1 + 2 * (threads - 1);
            s.ring_rows = RECENT + (uint32_t)s.chunk - 1 + threads;
            float *out = run_stream(be, in, &s);
            assert_memory_equal(out, expected, TOKENS * HEADS * DIM * sizeof *out);
            free(out);
            be->ops->close(be);
        }
        free(expected);
    }
    one->ops->close(one);
    free(in);
}

static void roof_is_measured(void **state) {
    rill__backend *be = *state ? open_tier(*state, 0) : open_backend(NULL, 0, false);
    rill_roof roof = {0};
    rill_error err;
    assert_int_equal(be->ops->measure(be, &roof, &err), RILL_OK);
    assert_true(roof.read_bytes_per_second > 1e8 && roof.read_bytes_per_second < 1e13);
    assert_true(roof.f32_flops_per_second > 1e8 && roof.f32_flops_per_second < 1e15);
    assert_true(roof.bf16_flops_per_second > 1e8 && roof.bf16_flops_per_second < 1e16);
    assert_true(roof.int8_ops_per_second > 1e8 && roof.int8_ops_per_second < 1e16);
    be->ops->close(be);
}

static const char *tier_with(const char *environment, const char *tier, bool exact) {
    setenv("RILL_CPU", environment, 1);
    rill__backend *be = open_backend(tier, 1, exact);
    unsetenv("RILL_CPU");
    const char *name = be->ops->tier(be);
    be->ops->close(be);
    return name;
}

static void the_environment_chooses_where_nobody_did(void **state) {
    (void)state;
    assert_string_equal(tier_with("ref", NULL, false), "ref");
    const char *best = rill__cpu_tier(rill__cpu_flags());
    assert_string_equal(tier_with("ref", TEST_HIGHEST, false), best);
    assert_string_equal(tier_with("sse9", TEST_HIGHEST, false), best);
    assert_string_equal(tier_with(TEST_HIGHEST, "ref", false), "ref");
    assert_string_equal(tier_with("sse9", NULL, true), "ref");
}

static void unknown_tiers_are_refused(void **state) {
    (void)state;
    rill__backend *be = NULL;
    rill_error err;
    const rill_device_options chosen = {.cpu = "sse9"}, nothing = {0};
    assert_int_equal(rill__cpu_backend_open(&chosen, &be, &err), RILL_EINVAL);
    assert_string_equal(err.message, "cpu: 'sse9'; " RILL_CPU_TIERS " is right");
    setenv("RILL_CPU", "sse9", 1);
    assert_int_equal(rill__cpu_backend_open(&nothing, &be, &err), RILL_EINVAL);
    unsetenv("RILL_CPU");
    assert_string_equal(err.message, "RILL_CPU: 'sse9'; " RILL_CPU_TIERS " is right");
    assert_null(be);
}

int main(void) {
    const struct CMUnitTest device[] = {
        TEST_ON(attention_is_what_the_text_says, DEVICE_EXACT),
        TEST_ON(attention_is_what_the_text_says, DEVICE),
        TEST_ON(attention_bits_do_not_move, DEVICE_EXACT),
        TEST_ON(attention_bits_do_not_move, DEVICE),
        TEST_ON(roof_is_measured, DEVICE),
    };
    const struct CMUnitTest tests[] = {
        TEST_ON(attention_is_what_the_text_says, "exact"),
        TEST_ON(attention_is_what_the_text_says, "ref"),
        TEST_ON_TIERS(attention_is_what_the_text_says),
        TEST_ON(attention_bits_do_not_move, "ref"),
        TEST_ON_TIERS(attention_bits_do_not_move),
        cmocka_unit_test(roof_is_measured),
        cmocka_unit_test(the_environment_chooses_where_nobody_did),
        cmocka_unit_test(unknown_tiers_are_refused),
    };
    return test_device() ? cmocka_run_group_tests(device, NULL, NULL)
                         : cmocka_run_group_tests(tests, NULL, NULL);
}
