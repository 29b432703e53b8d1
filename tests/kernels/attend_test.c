// SPDX-License-Identifier: MIT
// Attention at windows of several blocks and parts of keys: against sums written down in double,
// with every option; and bit for bit the same for a row alone and among others, in any chunk, on
// any number of threads, wherever the ring stands. With RILL_TEST_DEVICE the same of that device.
//
//   attend_test [small]     small: what compute-sanitizer has the patience for
#include "backend/backend.h"
#include "support/tiers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "passes.h"

// Tokens from FIRST on are looked at: at first they see all, at the end the ring has come round.
enum {
    HEADS = 6,
    KV_HEADS = 2,
    TOKENS = 1300,
    FIRST = 1070,
    SINKS = 5,
    RECENT = 1100,
    MAX_DIM = 256
};
enum { LOOKED_AT = TOKENS - FIRST };

typedef struct setting {
    rill_type key_type, value_type;
    uint32_t dim;
    uint32_t window;
    float sink_scale, sink_cap;
    bool off_by_one, slopes, learned, weights;
    uint64_t fade_block;  // xPos's: queries of the block before are others; 0: none
} setting;

static const setting plain = {RILL_TYPE_F32, RILL_TYPE_F32, 20,    0,     1, 1,
                              false,         false,         false, false, 0};

static bool small;

static const float slopes[HEADS] = {0.5f, 0.0625f, 0.01f, 0.001f, 0, 0.002f};
static const float learned[HEADS] = {-1, 0, 1, 2, -30, 8};

typedef struct inputs {
    float *q, *q_sink, *q_previous;  // [TOKENS, HEADS, dim]
    float *k, *v;                    // [TOKENS, KV_HEADS, dim]
    rill__row rows[TOKENS];
} inputs;

// How the same thing is computed.
typedef struct way {
    unsigned threads;
    size_t chunk;
    uint32_t spare;  // rows of the ring that are not needed
} way;

static float random_float(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) * 0x1p-30 - 1);
}

static float *random_floats(size_t n, uint64_t seed) {
    float *x = calloc(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = random_float(&seed);
    return x;
}

static inputs *make_inputs(const setting *s) {
    inputs *in = calloc(1, sizeof *in);
    assert_non_null(in);
    size_t queries = (size_t)TOKENS * HEADS * s->dim, keys = (size_t)TOKENS * KV_HEADS * s->dim;
    in->q = random_floats(queries, 1);
    in->q_sink = random_floats(queries, 2);
    in->q_previous = random_floats(queries, 3);
    in->k = random_floats(keys, 4);
    in->v = random_floats(keys, 5);
    for (uint64_t t = 0; t < TOKENS; t++) {
        uint64_t first = t + 1 > RECENT ? t + 1 - RECENT : 0;
        in->rows[t] = (rill__row){.n_sinks = t + 1 < SINKS ? (uint32_t)t + 1 : SINKS,
                                  .token = t,
                                  .first_recent = first < SINKS ? SINKS : first,
                                  .stream_pos = t,
                                  .sink_pos = t < SINKS + RECENT ? t : SINKS + RECENT - 1};
    }
    return in;
}

static void free_inputs(inputs *in) {
    float *const all[] = {in->q, in->q_sink, in->q_previous, in->k, in->v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(in);
}

static rill__backend *open_tier(const char *tier, unsigned threads) {
    rill__backend *be = open_named(tier, threads);
    rill_error err;
    assert_int_equal(be->ops->reserve(be, TOKENS, SINKS + RECENT, HEADS * MAX_DIM, &err), RILL_OK);
    if (strcmp(be->ops->name, "cpu") == 0 && strcmp(tier, "exact") != 0 &&
        strcmp(be->ops->tier(be), tier) != 0) {
        be->ops->close(be);
        skip();
    }
    return be;
}

static rill__buffer *buffer_of(rill__backend *be, const float *x, size_t n) {
    rill__buffer *b = NULL;
    rill_error err;
    assert_int_equal(be->ops->buffer_new(be, n * sizeof *x, &b, &err), RILL_OK);
    if (x) be->ops->buffer_write(be, b, 0, x, n * sizeof *x);
    return b;
}

static size_t row_bytes(rill_type type, size_t dim) {
    const rill__type_traits *t = rill__type_traits_get(type);
    return (dim + t->block - 1) / t->block * t->block_bytes;
}

// Keys and values of tokens [first, first + n) into the cache, without any rotation.
static void store(rill__backend *be, const inputs *in, const setting *s, const rill__kv *kv,
                  size_t first, size_t n) {
    static const rill__rope none = {0};
    const rill__run run = {.n_rows = n, .kv = kv, .rope = &none};
    size_t keys = KV_HEADS * s->dim;
    rill__buffer *all[] = {buffer_of(be, in->k + first * keys, n * keys),
                           buffer_of(be, in->v + first * keys, n * keys),
                           buffer_of(be, NULL, n * HEADS * s->dim),
                           buffer_of(be, NULL, n * HEADS * s->dim), buffer_of(be, NULL, 1)};
    rill__pass pass;
    begin_rows(be, &pass, in->rows + first, n, &run, 1);
    be->ops->rotate_store(be, all[4], all[2], all[3], NULL, all[0], all[1], in->rows + first, n,
                          &run, 1, 0, false, HEADS, KV_HEADS, s->dim);
    end_pass(be);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) be->ops->buffer_free(be, all[i]);
}

// out: [n, HEADS, dim]; weights: [n, HEADS, SINKS + RECENT] or NULL
static void attend(rill__backend *be, const inputs *in, const setting *s, const rill__kv *kv,
                   size_t first, size_t n, float *out, float *weights) {
    const rill__backend_ops *ops = be->ops;
    size_t queries = (size_t)HEADS * s->dim, stride = SINKS + RECENT;
    rill__buffer *q = buffer_of(be, in->q + first * queries, n * queries);
    rill__buffer *q_sink = buffer_of(be, in->q_sink + first * queries, n * queries);
    rill__buffer *q_previous = buffer_of(be, in->q_previous + first * queries, n * queries);
    rill__buffer *result = buffer_of(be, NULL, n * queries);
    rill__buffer *seen = weights ? buffer_of(be, NULL, n * HEADS * stride) : NULL;
    const rill__tensor logits = {.name = "sinks",
                                 .type = RILL_TYPE_F32,
                                 .n_dims = 1,
                                 .shape = {HEADS, 1, 1, 1},
                                 .data = (const uint8_t *)learned,
                                 .bytes = sizeof learned};
    rill__weight *sink_logits = NULL;
    rill_error err;
    if (s->learned)
        assert_int_equal(ops->weight_new(be, &logits, RILL_USE_PRODUCTS, &sink_logits, &err),
                         RILL_OK);
    static const double no_fade[1];
    const rill__rope rope = {.fade = s->fade_block ? no_fade : NULL, .fade_block = s->fade_block};
    const rill__run run = {.n_rows = n, .kv = kv, .rope = &rope};
    const rill__attention a = {.q = q,
                               .q_sink = q_sink,
                               .q_previous = s->fade_block ? q_previous : NULL,
                               .out = result,
                               .rows = in->rows + first,
                               .runs = &run,
                               .n_runs = 1,
                               .n_rows = n,
                               .n_heads = HEADS,
                               .n_kv_heads = KV_HEADS,
                               .head_dim = s->dim,
                               .window = s->window,
                               .scale = 0.7f,
                               .softmax_off_by_one = s->off_by_one,
                               .sink_logits = sink_logits,
                               .alibi_slopes = s->slopes ? slopes : NULL,
                               .weights = seen,
                               .weights_stride = stride};
    rill__pass pass;
    begin_rows(be, &pass, a.rows, n, &run, 1);
    uint64_t before = rill__allocation_count();
    ops->attend(be, &a);
    assert_int_equal(rill__allocation_count(), before);
    end_pass(be);
    ops->buffer_read(be, result, 0, out, n * queries * sizeof *out);
    if (weights) ops->buffer_read(be, seen, 0, weights, n * HEADS * stride * sizeof *weights);
    rill__buffer *const all[] = {q, q_sink, q_previous, result, seen};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ops->buffer_free(be, all[i]);
    ops->weight_free(be, sink_logits);
}

// Tokens from FIRST on in chunks; out: [LOOKED_AT, HEADS, dim].
static float *run(const char *tier, const inputs *in, const setting *s, const way *w,
                  float *weights) {
    rill__backend *be = open_tier(tier, w->threads);
    rill__kv kv = {.key_type = s->key_type,
                   .value_type = s->value_type,
                   .key_row_bytes = row_bytes(s->key_type, s->dim),
                   .value_row_bytes = row_bytes(s->value_type, s->dim),
                   .n_sinks = SINKS,
                   .ring_rows = (uint32_t)(RECENT + w->chunk - 1 + w->spare),
                   .sink_scale = s->sink_scale,
                   .sink_cap = s->sink_cap};
    size_t rows = KV_HEADS * ((size_t)SINKS + kv.ring_rows), queries = (size_t)HEADS * s->dim;
    rill_error err;
    assert_int_equal(be->ops->buffer_new(be, rows * kv.key_row_bytes, &kv.keys, &err), RILL_OK);
    assert_int_equal(be->ops->buffer_new(be, rows * kv.value_row_bytes, &kv.values, &err), RILL_OK);
    float *out = calloc(LOOKED_AT * queries, sizeof *out);
    assert_non_null(out);
    store(be, in, s, &kv, 0, FIRST);
    for (size_t t = FIRST; t < TOKENS; t += w->chunk) {
        size_t n = t + w->chunk < TOKENS ? w->chunk : TOKENS - t, at = t - FIRST;
        store(be, in, s, &kv, t, n);
        attend(be, in, s, &kv, t, n, out + at * queries,
               weights ? weights + at * HEADS * (SINKS + RECENT) : NULL);
    }
    be->ops->buffer_free(be, kv.keys);
    be->ops->buffer_free(be, kv.values);
    be->ops->close(be);
    return out;
}

// One head of a token; weights: [SINKS + RECENT] of its visible tokens, out: [dim].
static void oracle(const inputs *in, const setting *s, size_t t, size_t head, double *weights,
                   double *out) {
    const rill__row *row = &in->rows[t];
    size_t kv_head = head / (HEADS / KV_HEADS), dim = s->dim, n = 0;
    double sinks = 0, rest = s->off_by_one ? 1 : 0;
    if (s->learned) rest += exp((double)learned[head]);
    for (uint64_t j = 0; j <= t; j++) {
        bool sink = j < SINKS, previous = s->fade_block && j < t / s->fade_block * s->fade_block;
        if (!sink && j + RECENT <= t) continue;
        uint64_t distance = sink ? row->sink_pos - j : t - j;
        const float *q = (sink       ? in->q_sink
                          : previous ? in->q_previous
                                     : in->q) +
                         (t * HEADS + head) * dim;
        double logit = 0;
        for (size_t c = 0; c < dim; c++)
            logit += 0.7f * (double)q[c] * in->k[(j * KV_HEADS + kv_head) * dim + c];
        if (s->slopes) logit -= (double)slopes[head] * (double)distance;
        double weight = exp(sink ? logit * s->sink_scale : logit);
        if (s->window && distance >= s->window) weight = 0;
        *(sink ? &sinks : &rest) += weight;
        weights[n++] = weight;
    }
    double factor = 1;
    if (sinks > s->sink_cap * (sinks + rest) && rest > 0)
        factor = s->sink_cap * rest / ((1 - s->sink_cap) * sinks);
    for (size_t c = 0; c < dim; c++) out[c] = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t j = i < SINKS ? i : row->first_recent + i - SINKS;
        weights[i] *= (i < SINKS ? factor : 1) / (sinks * factor + rest);
        for (size_t c = 0; c < dim; c++)
            out[c] += weights[i] * in->v[(j * KV_HEADS + kv_head) * dim + c];
    }
}

// Off by at most `noise` times what sums in float32 are.
static void compare(size_t number, const setting *s, const inputs *in, const float *out,
                    const float *weights, double noise) {
    double expected[MAX_DIM], shares[SINKS + RECENT];
    for (size_t t = FIRST; t < TOKENS; t += 23)
        for (size_t h = 0; h < HEADS; h++) {
            oracle(in, s, t, h, shares, expected);
            size_t at = (t - FIRST) * HEADS + h;
            for (size_t c = 0; c < s->dim; c++) {
                double off = fabs(out[at * s->dim + c] - expected[c]);
                if (!(off < 2e-6 * noise))
                    fail_msg("case %zu, token %zu, head %zu: off by %g", number, t, h, off);
            }
            size_t n = t + 1 < SINKS + RECENT ? t + 1 : SINKS + RECENT;
            for (size_t i = 0; weights && i < n; i++) {
                double off = fabs(weights[at * (SINKS + RECENT) + i] - shares[i]);
                if (!(off < 1e-5 * noise * shares[i] + 1e-30))
                    fail_msg("case %zu, token %zu, head %zu: weight %zu off by %g of %g", number, t,
                             h, i, off, shares[i]);
            }
        }
}

static void check_option(const char *tier, size_t number, const setting *s, const way *w,
                         float *weights, double noise) {
    inputs *in = make_inputs(s);
    float *seen = s->weights ? weights : NULL;
    float *out = run(tier, in, s, w, seen);
    compare(number, s, in, out, seen, noise);
    free(out);
    free_inputs(in);
}

static void every_option_is_what_the_text_says(void **state) {
    static const rill_type f32 = RILL_TYPE_F32;
    const setting cases[] = {
        plain,
        {f32, f32, 64, 0, 1, 1, false, false, false, true, 0},
        {f32, f32, 80, 0, 1, 1, true, false, false, false, 0},
        {f32, f32, 33, 700, 1, 1, false, false, false, true, 0},
        {f32, f32, 20, 1102, 2.5f, 1, false, false, true, true, 0},
        {f32, f32, 20, 0, 1, 0.001f, true, false, false, true, 0},
        {f32, f32, 20, 0, 1.5f, 1, false, true, false, true, 0},
        {f32, f32, 20, 0, 1, 1, false, false, false, true, 1105},
        {f32, f32, 20, 600, 1, 1, false, false, false, false, 1152},
    };
    float *weights = calloc((size_t)LOOKED_AT * HEADS * (SINKS + RECENT), sizeof *weights);
    assert_non_null(weights);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t chunk = 64; chunk <= 65; chunk++) {
            const way w = {2, chunk == 65 ? 3 : chunk, 0};
            check_option(*state, i, &cases[i], &w, weights, 1);
            // A device multiplies numbers of 16 bits where the cache has such, and only there.
            setting halves = cases[i];
            halves.key_type = halves.value_type = RILL_TYPE_F16;
            if (strcmp(*state, DEVICE) == 0) check_option(*state, i, &halves, &w, weights, 2000);
        }
    free(weights);
}

// Heads as models have them and caches in use, at each option, in chunks of a token, a few, and
// more than attention takes at once: what tensor cores do.
static void heads_of_models_are_what_the_text_says(void **state) {
    static const rill_type types[][2] = {{RILL_TYPE_F16, RILL_TYPE_F16},
                                         {RILL_TYPE_BF16, RILL_TYPE_BF16},
                                         {RILL_TYPE_Q8_0, RILL_TYPE_Q8_0},
                                         {RILL_TYPE_Q4_0, RILL_TYPE_Q4_0},
                                         {RILL_TYPE_Q8_0, RILL_TYPE_Q4_0}};
    static const uint32_t dims[] = {64, 128, 256};
    static const size_t chunks[] = {1, 3, 65, LOOKED_AT};
    const rill_type any = RILL_TYPE_F16;
    const setting options[] = {{any, any, 0, 0, 1, 1, false, false, false, false, 0},
                               {any, any, 0, 700, 1, 1, true, false, false, false, 0},
                               {any, any, 0, 1102, 2.5f, 1, false, false, true, false, 0},
                               {any, any, 0, 0, 1, 0.001f, true, false, false, false, 0},
                               {any, any, 0, 0, 1.5f, 1, false, true, false, false, 0},
                               {any, any, 0, 0, 1, 1, false, false, false, false, 1105}};
    enum { OPTIONS = sizeof options / sizeof *options };
    const double noise = strcmp(*state, DEVICE) == 0 ? 2000 : 20;
    size_t turn = 0;
    for (size_t i = 0; i < (sizeof dims / sizeof *dims) * (sizeof types / sizeof *types); i++)
        for (size_t o = 0; o < OPTIONS; o++, turn++) {
            setting s = options[o];
            const rill_type *type = types[i / (sizeof dims / sizeof *dims)];
            s.dim = dims[i % (sizeof dims / sizeof *dims)];
            s.key_type = type[0];
            s.value_type = type[1];
            if (small && (s.dim != 128 || (s.key_type == RILL_TYPE_F16) == (o % 2))) continue;
            inputs *in = make_inputs(&s);
            round_to(s.key_type, in->k, (size_t)TOKENS * KV_HEADS * s.dim);
            round_to(s.value_type, in->v, (size_t)TOKENS * KV_HEADS * s.dim);
            const way w = {2, chunks[turn % (sizeof chunks / sizeof *chunks)], 0};
            float *out = run(*state, in, &s, &w, NULL);
            compare(i * OPTIONS + o, &s, in, out, NULL, noise);
            free(out);
            free_inputs(in);
        }
}

static void bits_do_not_move(void **state) {
    static const way ways[] = {{1, 7, 0}, {2, 1, 9}, {3, 64, 30}, {2, 512, 1}, {4, 5, 100}};
    static const setting cases[] = {
        {RILL_TYPE_F32, RILL_TYPE_F32, 20, 0, 1, 1, false, false, false, false, 0},
        {RILL_TYPE_F16, RILL_TYPE_F16, 64, 0, 1, 1, false, false, false, false, 0},
        {RILL_TYPE_BF16, RILL_TYPE_BF16, 20, 0, 1, 0.001f, false, false, false, false, 0},
        {RILL_TYPE_Q8_0, RILL_TYPE_Q4_0, 80, 0, 1, 1, false, false, false, false, 0},
        {RILL_TYPE_Q4_0, RILL_TYPE_Q8_0, 20, 130, 1, 1, false, true, false, false, 0},
        {RILL_TYPE_F16, RILL_TYPE_F32, 20, 0, 1, 1, false, false, false, false, 1105},
        {RILL_TYPE_F16, RILL_TYPE_F16, 128, 0, 1, 1, false, false, true, false, 0},
        {RILL_TYPE_Q8_0, RILL_TYPE_Q8_0, 128, 700, 1, 1, false, false, false, false, 0},
        {RILL_TYPE_F16, RILL_TYPE_F16, 256, 0, 1, 1, false, false, false, false, 0},
        {RILL_TYPE_Q4_0, RILL_TYPE_Q4_0, 256, 0, 1, 1, false, false, false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        inputs *in = make_inputs(&cases[i]);
        float *expected = run(*state, in, &cases[i], &(way){1, 1, 0}, NULL);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            float *out = run(*state, in, &cases[i], &ways[w], NULL);
            for (size_t j = 0; j < (size_t)LOOKED_AT * HEADS; j++)
                if (memcmp(out + j * cases[i].dim, expected + j * cases[i].dim,
                           cases[i].dim * sizeof *out) != 0)
                    fail_msg("case %zu, way %zu: token %zu, head %zu", i, w, FIRST + j / HEADS,
                             j % HEADS);
            free(out);
        }
        free(expected);
        free_inputs(in);
    }
}

// Keys and values that are not finite reach those that see them, and nobody else.
static void what_is_not_seen_changes_no_bit(void **state) {
    enum { POISON = FIRST + 100 };
    inputs *in = make_inputs(&plain);
    const way w = {2, 128, 0};
    float *expected = run(*state, in, &plain, &w, NULL);
    for (size_t c = 0; c < (size_t)KV_HEADS * plain.dim; c++) {
        in->k[POISON * KV_HEADS * plain.dim + c] = c % 2 ? INFINITY : NAN;
        in->v[POISON * KV_HEADS * plain.dim + c] = c % 2 ? NAN : -INFINITY;
    }
    float *out = run(*state, in, &plain, &w, NULL);
    size_t before = (size_t)(POISON - FIRST) * HEADS * plain.dim;
    assert_memory_equal(out, expected, before * sizeof *out);
    for (size_t i = before; i < (size_t)LOOKED_AT * HEADS * plain.dim; i++)
        assert_true(isnan(out[i]));
    free(out);
    free(expected);
    free_inputs(in);
}

int main(int argc, char **argv) {
    const struct CMUnitTest few[] = {TEST_ON(heads_of_models_are_what_the_text_says, DEVICE)};
    const struct CMUnitTest device[] = {
        TEST_ON(every_option_is_what_the_text_says, DEVICE_EXACT),
        TEST_ON(every_option_is_what_the_text_says, DEVICE),
        TEST_ON(heads_of_models_are_what_the_text_says, DEVICE_EXACT),
        TEST_ON(heads_of_models_are_what_the_text_says, DEVICE),
        TEST_ON(bits_do_not_move, DEVICE_EXACT),
        TEST_ON(bits_do_not_move, DEVICE),
        TEST_ON(what_is_not_seen_changes_no_bit, DEVICE_EXACT),
        TEST_ON(what_is_not_seen_changes_no_bit, DEVICE),
    };
    const struct CMUnitTest tests[] = {
        TEST_ON(every_option_is_what_the_text_says, "exact"),
        TEST_ON_TIERS(every_option_is_what_the_text_says),
        TEST_ON_TIERS(heads_of_models_are_what_the_text_says),
        TEST_ON(bits_do_not_move, "ref"),
        TEST_ON_TIERS(bits_do_not_move),
        TEST_ON(what_is_not_seen_changes_no_bit, "ref"),
        TEST_ON_TIERS(what_is_not_seen_changes_no_bit),
    };
    small = argc > 1 && strcmp(argv[1], "small") == 0;
    if (small) return cmocka_run_group_tests_name("small", few, NULL, NULL);
    return test_device() ? cmocka_run_group_tests(device, NULL, NULL)
                         : cmocka_run_group_tests(tests, NULL, NULL);
}
