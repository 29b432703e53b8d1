// SPDX-License-Identifier: MIT
// What docs/positions.md promises of each scheme, on the backend's own operations: the product of a
// query and a cached key is a function of their distance in the cache, wherever in the text they
// are, and nothing grows with the text.
#include "backend/backend.h"
#include "model/description.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DIM = 16, PAIRS = DIM / 2, CAPACITY = 96, SINKS = 4, TRAINED = 64 };

static double short_factors[PAIRS] = {1, 1, 1.25, 1.5, 2, 2, 2.5, 3};
static double long_factors[PAIRS] = {1, 1.5f, 2, 3, 4, 6, 8, 9};

// Every kind of rotation that a description can ask for.
static const struct {
    const char *name;
    rill__rope_description rope;
} schemes[] = {
    {"plain", {.theta = 10000, .n_dims = DIM}},
    {"neighbouring pairs", {.theta = 10000, .n_dims = DIM, .interleaved = true}},
    {"a part of the head", {.theta = 10000, .n_dims = 6}},
    {"linear", {.theta = 10000, .n_dims = DIM, .scaling = RILL_ROPE_LINEAR, .factor = 4}},
    {"dynamic", {.theta = 10000, .n_dims = DIM, .scaling = RILL_ROPE_NTK, .factor = 2}},
    {"llama3",
     {.theta = 500000,
      .n_dims = DIM,
      .scaling = RILL_ROPE_LLAMA3,
      .factor = 8,
      .low_freq_factor = 1,
      .high_freq_factor = 4,
      .original_context = 32}},
    {"YaRN",
     {.theta = 10000,
      .n_dims = DIM,
      .scaling = RILL_ROPE_YARN,
      .factor = 4,
      .original_context = 16,
      .beta_fast = 32,
      .beta_slow = 1,
      .truncate = true}},
    {"longrope",
     {.theta = 10000,
      .n_dims = DIM,
      .scaling = RILL_ROPE_LONGROPE,
      .factor = 2,
      .original_context = 32,
      .short_factors = short_factors,
      .long_factors = long_factors}},
    {"xPos", {.theta = 10000, .n_dims = DIM, .xpos_base = 24, .xpos_gamma = 0.4}},
    {"xPos, a part of the head", {.theta = 100, .n_dims = 4, .xpos_base = 60, .xpos_gamma = 0.25}},
};
enum { SCHEMES = sizeof schemes / sizeof *schemes };

// One head, one layer, one scheme.
typedef struct kit {
    rill__backend *be;
    const rill__rope_description *description;
    rill__rope rope;
    uint64_t steps[PAIRS];
    double fade[PAIRS];
    rill__kv kv;
    rill__buffer *table, *q, *q_sink, *q_previous, *k, *v;
} kit;

static rill__buffer *floats(rill__backend *be, size_t n) {
    rill__buffer *b;
    rill_error err;
    assert_int_equal(be->ops->buffer_new(be, n * sizeof(float), &b, &err), RILL_OK);
    return b;
}

static void kit_open(kit *t, const rill__rope_description *r) {
    const rill_device_options exact = {.exact = true, .threads = 1};
    rill_error err;
    memset(t, 0, sizeof *t);
    assert_int_equal(rill__cpu_backend_open(&exact, &t->be, &err), RILL_OK);
    assert_int_equal(t->be->ops->reserve(t->be, 1, CAPACITY, DIM, &err), RILL_OK);
    t->description = r;
    t->rope = (rill__rope){
        .n_pairs = r->n_dims / 2, .interleaved = r->interleaved, .phase_step = t->steps};
    rill__rope_phase_steps(r, TRAINED, CAPACITY, t->steps, &t->rope.magnitude);
    for (uint32_t i = 0; i < r->n_dims / 2 && r->xpos_base > 0; i++) {
        t->fade[i] = log((2.0 * i / r->n_dims + r->xpos_gamma) / (1 + r->xpos_gamma));
        t->fade[i] /= r->xpos_base;
        t->rope.fade = t->fade;
        t->rope.fade_block = CAPACITY;
    }
    t->kv = (rill__kv){.keys = floats(t->be, (size_t)CAPACITY * DIM),
                       .values = floats(t->be, (size_t)CAPACITY * DIM),
                       .key_row_bytes = DIM * sizeof(float),
                       .value_row_bytes = DIM * sizeof(float),
                       .n_sinks = SINKS,
                       .ring_rows = CAPACITY - SINKS,
                       .sink_scale = 1,
                       .sink_cap = 1};
    t->table = floats(t->be, RILL_FRAMES * DIM);
    rill__buffer **const rows[] = {&t->q, &t->q_sink, &t->q_previous, &t->k, &t->v};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i] = floats(t->be, DIM);
}

static void kit_close(kit *t) {
    rill__buffer *const all[] = {t->kv.keys, t->kv.values,  t->table, t->q,
                                 t->q_sink,  t->q_previous, t->k,     t->v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) t->be->ops->buffer_free(t->be, all[i]);
    t->be->ops->close(t->be);
}

// What token t of a stream that began at `start` sees.
static rill__row row_of(uint64_t start, uint64_t t) {
    const uint64_t window = CAPACITY - SINKS;
    uint64_t first = t + 1 > window ? t + 1 - window : 0;
    return (rill__row){.n_sinks = t < SINKS ? (uint32_t)t + 1 : SINKS,
                       .token = t,
                       .first_recent = first < SINKS ? SINKS : first,
                       .stream_pos = start + t,
                       .sink_pos = t < CAPACITY ? t : CAPACITY - 1};
}

// Rotates q into all frames, and k into the cache, for token t.
static void rotate(kit *t, const float *q, const float *k, uint64_t start, uint64_t token) {
    const rill__row row = row_of(start, token);
    const rill__run run = {.n_rows = 1, .kv = &t->kv, .rope = &t->rope};
    const rill__backend_ops *ops = t->be->ops;
    ops->buffer_write(t->be, t->q, 0, q, DIM * sizeof *q);
    ops->buffer_write(t->be, t->k, 0, k, DIM * sizeof *k);
    ops->rotary_table(t->be, t->table, &row, 1, &run, 1, false);
    ops->rotate_store(t->be, t->table, t->q, t->q_sink, t->rope.fade ? t->q_previous : NULL, t->k,
                      t->v, &row, 1, &run, 1, 0, false, 1, 1, DIM);
}

static void read_key(const kit *t, uint64_t token, float out[DIM]) {
    size_t at = rill__kv_row(&t->kv, token) * t->kv.key_row_bytes;
    t->be->ops->buffer_read(t->be, t->kv.keys, at, out, DIM * sizeof *out);
}

// The product of token tq's query, in the frame that belongs there, and token tk's cached key.
static double product(kit *t, const float *q, const float *k, uint64_t start, uint64_t tq,
                      uint64_t tk) {
    float key[DIM], query[DIM];
    rotate(t, q, k, start, tk);
    rotate(t, q, k, start, tq);
    read_key(t, tk, key);
    const rill__buffer *frame = t->q;
    if (tk < SINKS)
        frame = t->q_sink;
    else if (t->rope.fade && tk < tq / CAPACITY * CAPACITY)
        frame = t->q_previous;
    t->be->ops->buffer_read(t->be, frame, 0, query, sizeof query);
    double sum = 0;
    for (int i = 0; i < DIM; i++) sum += (double)query[i] * (double)key[i];
    return sum;
}

// The same by the scheme's definition: a function of the distance.
static double by_definition(const kit *t, const float *q, const float *k, double distance) {
    const rill__rope_description *r = t->description;
    double sum = 0, magnitude = rill__rope_magnitude(r);
    for (uint32_t i = r->n_dims; i < DIM; i++) sum += (double)q[i] * (double)k[i];
    for (uint32_t i = 0; i < r->n_dims / 2; i++) {
        uint32_t a = r->interleaved ? 2 * i : i;
        uint32_t b = r->interleaved ? 2 * i + 1 : i + r->n_dims / 2;
        double angle = distance * rill__rope_frequency(r, TRAINED, CAPACITY, i);
        double along = (double)q[a] * (double)k[a] + (double)q[b] * (double)k[b];
        double across = (double)q[b] * (double)k[a] - (double)q[a] * (double)k[b];
        double zeta = (2.0 * i / r->n_dims + r->xpos_gamma) / (1 + r->xpos_gamma);
        double fade = r->xpos_base > 0 ? pow(zeta, distance / r->xpos_base) : 1;
        // The query is turned on by the angle, so the pair is turned back by it.
        sum += (along * cos(angle) - across * sin(angle)) * magnitude * magnitude * fade;
    }
    return sum;
}

static void fill(float *x, uint64_t seed) {
    for (int i = 0; i < DIM; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((double)(seed >> 33) * 0x1p-30 - 1);
    }
}

static double length_of(const float *x) {
    double sum = 0;
    for (int i = 0; i < DIM; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

// Numbers of float32 are good to 2^-24, and a dozen of them are multiplied.
static void check_product(kit *t, const char *scheme, uint64_t start, uint64_t tq, uint64_t tk,
                          double distance) {
    float q[DIM], k[DIM];
    fill(q, tq);
    fill(k, tk + 1);
    double right = by_definition(t, q, k, distance), found = product(t, q, k, start, tq, tk);
    double magnitude = rill__rope_magnitude(t->description);
    if (!(fabs(found - right) <= 1e-6 * length_of(q) * length_of(k) * magnitude * magnitude))
        fail_msg("%s: token %llu sees %llu from %llu on: %.9g; %.9g is right", scheme,
                 (unsigned long long)tq, (unsigned long long)tk, (unsigned long long)start, found,
                 right);
}

static const uint64_t starts[] = {0, 1, 1000003, (uint64_t)1 << 40, ((uint64_t)1 << 62) - 5};
// Tokens at the beginning, at the ends of blocks, and far on.
static const uint64_t tokens[] = {5,
                                  CAPACITY - 1,
                                  CAPACITY,
                                  CAPACITY + 1,
                                  3 * CAPACITY + 7,
                                  ((uint64_t)1 << 40) - 1,
                                  (uint64_t)1 << 40,
                                  ((uint64_t)1 << 40) + 50};
enum { STARTS = sizeof starts / sizeof *starts, TOKENS = sizeof tokens / sizeof *tokens };

// Moving all positions changes nothing, and neither does the 2^40-th token of a text.
static void recent_keys_are_seen_at_their_distance(void **state) {
    (void)state;
    for (size_t s = 0; s < SCHEMES; s++) {
        kit t;
        kit_open(&t, &schemes[s].rope);
        for (size_t i = 0; i < STARTS * TOKENS; i++) {
            uint64_t start = starts[i % STARTS], tq = tokens[i / STARTS];
            for (uint64_t x = 0; x < CAPACITY - SINKS && x + SINKS <= tq; x += x < 3 ? 1 : 11)
                check_product(&t, schemes[s].name, start, tq, tq - x, (double)x);
        }
        kit_close(&t);
    }
}

// From the first eviction on sinks stay where they are: at p(t) - j, CAPACITY - 1 - j.
static void sinks_are_seen_at_their_distance_in_the_cache(void **state) {
    (void)state;
    for (size_t s = 0; s < SCHEMES; s++) {
        kit t;
        kit_open(&t, &schemes[s].rope);
        for (size_t i = 0; i < STARTS * TOKENS; i++) {
            uint64_t start = starts[i % STARTS], tq = tokens[i / STARTS];
            uint64_t p = tq < CAPACITY ? tq : CAPACITY - 1;
            for (uint64_t j = 0; j < SINKS; j++)
                check_product(&t, schemes[s].name, start, tq, j, (double)(p - j));
        }
        kit_close(&t);
    }
}

// Until the first eviction a query is the same in both frames, to the bit, and then never again.
static void frames_agree_until_the_first_eviction(void **state) {
    (void)state;
    float q[DIM], stream[DIM], sink[DIM];
    fill(q, 3);
    for (size_t s = 0; s < SCHEMES; s++) {
        kit t;
        kit_open(&t, &schemes[s].rope);
        for (size_t i = 0; i < STARTS; i++) {
            for (uint64_t token = 0; token < CAPACITY + 20; token++) {
                rotate(&t, q, q, starts[i], token);
                t.be->ops->buffer_read(t.be, t.q, 0, stream, sizeof stream);
                t.be->ops->buffer_read(t.be, t.q_sink, 0, sink, sizeof sink);
                bool same = memcmp(stream, sink, sizeof sink) == 0;
                if (same != (token < CAPACITY))
                    fail_msg("%s: token %d", schemes[s].name, (int)token);
            }
        }
        kit_close(&t);
    }
}

// xPos: no key and no query is ever longer than rill__xpos_log2 says, which some reach; the frame
// for the block before only ever fades.
static void factors_of_xpos_are_bounded(void **state) {
    (void)state;
    const rill__rope_description *r = &schemes[SCHEMES - 2].rope;
    double bound = rill__xpos_log2(r, CAPACITY), greatest = 0;
    float ones[DIM], key[DIM], query[DIM], previous[DIM];
    for (int i = 0; i < DIM; i++) ones[i] = 1;
    kit t;
    kit_open(&t, r);
    for (int far = 0; far < 2; far++) {
        for (uint64_t i = 0; i < 3 * CAPACITY; i++) {
            uint64_t token = far ? ((uint64_t)1 << 40) + i : i;
            rotate(&t, ones, ones, 7, token);
            read_key(&t, token, key);
            t.be->ops->buffer_read(t.be, t.q, 0, query, sizeof query);
            t.be->ops->buffer_read(t.be, t.q_previous, 0, previous, sizeof previous);
            for (uint32_t pair = 0; pair < PAIRS; pair++) {
                // A pair of ones is sqrt(2) long.
                double k = log2(hypot((double)key[pair], (double)key[pair + PAIRS])) - 0.5;
                double q = log2(hypot((double)query[pair], (double)query[pair + PAIRS])) - 0.5;
                double p = log2(hypot((double)previous[pair], (double)previous[pair + PAIRS]));
                assert_true(fabs(k) <= bound + 1e-5 && fabs(q) <= bound + 1e-5);
                assert_true(p - 0.5 <= 1e-5);
                assert_true(fabs(k + q) <= 1e-5);  // its own key fades by nothing
                greatest = fmax(greatest, fabs(k));
            }
        }
    }
    assert_true(greatest > bound - 1e-4);
    kit_close(&t);
}

// Without blocks a key's factor would leave float32 after some 36,000 tokens at the usual scale
// base; within them 3,966 tokens fit keys of float16, and 33,994 of float32.
static void figures_of_the_text_are_right(void **state) {
    (void)state;
    const rill__rope_description usual = {.n_dims = DIM, .xpos_base = 512, .xpos_gamma = 0.4};
    assert_true(rill__xpos_log2(&usual, 2 * 36260) < 128);
    assert_true(rill__xpos_log2(&usual, 2 * 36261) > 128);
    assert_true(rill__xpos_log2(&usual, 3966) <= 7 && rill__xpos_log2(&usual, 3967) > 7);
    assert_true(rill__xpos_log2(&usual, 33994) <= 60 && rill__xpos_log2(&usual, 33995) > 60);
}

// ---- ALiBi ----------------------------------------------------------------------------------

// What token t's attention gives to each key it sees if queries are zero, so that only the slope
// counts.
static size_t alibi_weights(kit *t, uint64_t token, const float *slope, float *out) {
    const rill__row row = row_of(11, token);
    const rill__run run = {.n_rows = 1, .kv = &t->kv, .rope = &t->rope};
    rill__buffer *weights = floats(t->be, CAPACITY), *result = floats(t->be, DIM);
    const float zeros[DIM] = {0};
    t->be->ops->buffer_write(t->be, t->q, 0, zeros, sizeof zeros);
    t->be->ops->buffer_write(t->be, t->q_sink, 0, zeros, sizeof zeros);
    const rill__attention a = {.q = t->q,
                               .q_sink = t->q_sink,
                               .out = result,
                               .rows = &row,
                               .runs = &run,
                               .n_rows = 1,
                               .n_runs = 1,
                               .n_heads = 1,
                               .n_kv_heads = 1,
                               .head_dim = DIM,
                               .scale = 0.25f,
                               .alibi_slopes = slope,
                               .weights = weights,
                               .weights_stride = CAPACITY};
    t->be->ops->attend(t->be, &a);
    size_t n = row.sink_pos + 1;
    t->be->ops->buffer_read(t->be, weights, 0, out, n * sizeof *out);
    t->be->ops->buffer_free(t->be, weights);
    t->be->ops->buffer_free(t->be, result);
    return n;
}

// A key at distance x in the cache gets e^(-slope x): what was evicted takes no room between sinks
// and recent tokens, and after the first eviction nothing changes a bit.
static void alibi_falls_by_the_distance_in_the_cache(void **state) {
    (void)state;
    static const float slopes[] = {0.5f, 0.0625f, 0.00390625f};
    kit t;
    kit_open(&t, &schemes[0].rope);
    for (size_t s = 0; s < sizeof slopes / sizeof *slopes; s++) {
        float settled[CAPACITY], weights[CAPACITY];
        assert_int_equal(alibi_weights(&t, CAPACITY - 1, &slopes[s], settled), CAPACITY);
        for (size_t i = 0; i < TOKENS; i++) {
            size_t n = alibi_weights(&t, tokens[i], &slopes[s], weights);
            assert_int_equal(n, tokens[i] < CAPACITY ? tokens[i] + 1 : CAPACITY);
            double sum = 0;
            for (size_t j = 0; j < n; j++) sum += exp(-(double)slopes[s] * (double)(n - 1 - j));
            for (size_t j = 0; j < n; j++) {
                double right = exp(-(double)slopes[s] * (double)(n - 1 - j)) / sum;
                assert_true(fabs((double)weights[j] - right) <= 1e-6 * right + 1e-30);
            }
            if (tokens[i] >= CAPACITY) assert_memory_equal(weights, settled, sizeof weights);
        }
    }
    kit_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recent_keys_are_seen_at_their_distance),
        cmocka_unit_test(sinks_are_seen_at_their_distance_in_the_cache),
        cmocka_unit_test(frames_agree_until_the_first_eviction),
        cmocka_unit_test(factors_of_xpos_are_bounded),
        cmocka_unit_test(figures_of_the_text_are_right),
        cmocka_unit_test(alibi_falls_by_the_distance_in_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
