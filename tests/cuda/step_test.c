// SPDX-License-Identifier: MIT
// A step's attention has the bits of rotate_store and attend one behind the other, in the cache,
// too: at random shapes, from a stream's first token on until its ring has come round.
//
//   RILL_TEST_DEVICE=cuda step_test [SEED] [small]     small: for compute-sanitizer
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

enum { MOST_STREAMS = 5, MOST_VISIBLE = 1400 };

// A row of some streams, each with a cache of its own.
typedef struct step {
    rill_type type;
    size_t n_streams;
    uint32_t group, kv_heads, dim, n_pairs, window;
    bool interleaved, off_by_one, learned, slopes;
    uint64_t *phase_steps;
    rill__rope rope;
    rill__row rows[MOST_STREAMS];
    rill__kv kv[MOST_STREAMS];
    uint8_t *caches[MOST_STREAMS];  // what is in keys, then in values
    size_t bytes[MOST_STREAMS];     // of one of both
    float *q, *k, *v;
} step;

static size_t row_bytes(const step *s) {
    const rill__type_traits *t = rill__type_traits_get(s->type);
    return s->dim / t->block * t->block_bytes;
}

// A stream's cache, full of random rows, and a token of it.
static void make_stream(step *s, size_t i) {
    uint32_t sinks = (uint32_t)random_size(random_size(9) > 7 ? 300 : 6) - 1;
    uint32_t recent = (uint32_t)random_size(small ? 90 : MOST_VISIBLE - 300);
    uint64_t visible = sinks + recent, token = random_size(3 * visible) - 1;
    if (random_size(4) == 1) token += (uint64_t)1 << 40;
    uint64_t first = token + 1 > recent ? token + 1 - recent : 0;
    s->rows[i] = (rill__row){.n_sinks = token < sinks ? (uint32_t)token + 1 : sinks,
                             .token = token,
                             .first_recent = first < sinks ? sinks : first,
                             .stream_pos = token + 7,
                             .sink_pos = token < visible ? token : visible - 1};
    s->kv[i] = (rill__kv){.key_type = s->type,
                          .value_type = s->type,
                          .key_row_bytes = row_bytes(s),
                          .value_row_bytes = row_bytes(s),
                          .n_sinks = sinks,
                          .ring_rows = recent + (uint32_t)random_size(20) - 1,
                          .sink_scale = random_size(2) == 1 ? 1 : 0.75f,
                          .sink_cap = random_size(2) == 1 ? 1 : 0.1f};
    size_t n = (size_t)s->kv_heads * (sinks + s->kv[i].ring_rows);
    const rill__tensor t[] = {random_tensor(s->type, n, s->dim), random_tensor(s->type, n, s->dim)};
    s->bytes[i] = t[0].bytes;
    s->caches[i] = malloc(2 * s->bytes[i]);
    assert_non_null(s->caches[i]);
    for (int values = 0; values < 2; values++) {
        memcpy(s->caches[i] + values * s->bytes[i], t[values].data, s->bytes[i]);
        free((void *)(uintptr_t)t[values].data);
    }
}

static step random_step(rill_type type) {
    static const uint32_t dims[] = {64, 128, 128};
    step s = {.type = type,
              .n_streams = random_size(MOST_STREAMS),
              .group = (uint32_t)random_size(random_size(9) == 1 ? 16 : 8),
              .kv_heads = (uint32_t)random_size(small ? 3 : 9),
              .dim = dims[random_size(3) - 1],
              .window = random_size(3) == 1 ? (uint32_t)random_size(500) : 0,
              .interleaved = random_size(3) == 1,
              .off_by_one = random_size(3) == 1,
              .learned = random_size(3) == 1,
              .slopes = random_size(3) == 1};
    s.n_pairs = random_size(3) == 1 ? 16 * (uint32_t)random_size(s.dim / 32) - 16 : s.dim / 2;
    s.phase_steps = calloc(s.dim / 2, sizeof *s.phase_steps);
    assert_non_null(s.phase_steps);
    for (uint32_t i = 0; i < s.n_pairs; i++)
        s.phase_steps[i] = (uint64_t)(0x1p62 * (1 + (double)random_float()) / (1 + i));
    s.rope = (rill__rope){.n_pairs = s.n_pairs,
                          .interleaved = s.interleaved,
                          .phase_step = s.phase_steps,
                          .magnitude = 1.25f};
    for (size_t i = 0; i < s.n_streams; i++) make_stream(&s, i);
    s.q = random_floats(s.n_streams * s.group * s.kv_heads * s.dim);
    s.k = random_floats(s.n_streams * s.kv_heads * s.dim);
    s.v = random_floats(s.n_streams * s.kv_heads * s.dim);
    return s;
}

static void free_step(step *s) {
    for (size_t i = 0; i < s->n_streams; i++) free(s->caches[i]);
    free(s->phase_steps);
    free(s->q);
    free(s->k);
    free(s->v);
}

// What comes of a step: the results, and the caches afterwards.
typedef struct outcome {
    bool done;
    float *out;
    uint8_t *caches[MOST_STREAMS];
} outcome;

static void free_outcome(const step *s, outcome *o) {
    free(o->out);
    for (size_t i = 0; i < s->n_streams; i++) free(o->caches[i]);
}

static void run_both(rill__backend *be, const rill__attention *a, rill__buffer *const b[6]) {
    be->ops->rotate_store(be, a->table, b[0], b[1], NULL, b[2], a->v, a->rows, a->n_rows, a->runs,
                          a->n_runs, 0, false, a->n_heads, a->n_kv_heads, a->head_dim);
    be->ops->attend(be, a);
}

static outcome run_step(rill__backend *be, const step *s, const rill__weight *learned,
                        const float *slopes, bool at_once) {
    size_t heads = (size_t)s->group * s->kv_heads, n = s->n_streams * heads * s->dim;
    size_t keys = s->n_streams * s->kv_heads * s->dim;
    rill__buffer *b[] = {buffer_of(be, s->q, n),    buffer_of(be, NULL, n),
                         buffer_of(be, s->k, keys), buffer_of(be, s->v, keys),
                         buffer_of(be, NULL, n),    buffer_of(be, NULL, s->n_streams * 2 * s->dim)};
    rill__kv kv[MOST_STREAMS];
    rill__run runs[MOST_STREAMS];
    rill_error err;
    for (size_t i = 0; i < s->n_streams; i++) {
        kv[i] = s->kv[i];
        rill__buffer **const to[] = {&kv[i].keys, &kv[i].values};
        for (int values = 0; values < 2; values++) {
            assert_int_equal(be->ops->buffer_new(be, s->bytes[i], to[values], &err), RILL_OK);
            be->ops->buffer_write(be, *to[values], 0, s->caches[i] + values * s->bytes[i],
                                  s->bytes[i]);
        }
        runs[i] = (rill__run){.first_row = i, .n_rows = 1, .kv = &kv[i], .rope = &s->rope};
    }
    const rill__attention a = {.q = b[0],
                               .q_sink = b[1],
                               .out = b[4],
                               .rows = s->rows,
                               .runs = runs,
                               .n_rows = s->n_streams,
                               .n_runs = s->n_streams,
                               .n_heads = (uint32_t)heads,
                               .n_kv_heads = s->kv_heads,
                               .head_dim = s->dim,
                               .window = s->window,
                               .scale = 0.7f,
                               .softmax_off_by_one = s->off_by_one,
                               .sink_logits = learned,
                               .alibi_slopes = slopes,
                               .table = b[5],
                               .k = b[2],
                               .v = b[3]};
    rill__pass pass;
    begin_rows(be, &pass, s->rows, s->n_streams, runs, s->n_streams);
    be->ops->rotary_table(be, b[5], s->rows, s->n_streams, runs, s->n_streams, false);
    outcome o = {.done = true, .out = calloc(n, sizeof *o.out)};
    assert_non_null(o.out);
    if (at_once)
        o.done = be->ops->attend_step && be->ops->attend_step(be, &a);
    else
        run_both(be, &a, b);
    end_pass(be);
    be->ops->buffer_read(be, b[4], 0, o.out, n * sizeof *o.out);
    for (size_t i = 0; i < s->n_streams; i++) {
        o.caches[i] = malloc(2 * s->bytes[i]);
        assert_non_null(o.caches[i]);
        be->ops->buffer_read(be, kv[i].keys, 0, o.caches[i], s->bytes[i]);
        be->ops->buffer_read(be, kv[i].values, 0, o.caches[i] + s->bytes[i], s->bytes[i]);
        be->ops->buffer_free(be, kv[i].keys);
        be->ops->buffer_free(be, kv[i].values);
    }
    for (size_t i = 0; i < sizeof b / sizeof *b; i++) be->ops->buffer_free(be, b[i]);
    return o;
}

// False if there was nothing to compare.
static bool check_step(rill__backend *be, rill_type type) {
    step s = random_step(type);
    size_t heads = (size_t)s.group * s.kv_heads;
    float *slopes = random_floats(heads);
    const rill__tensor logits = random_tensor(RILL_TYPE_F32, heads, 0);
    rill__weight *learned = weight_of(be, &logits, RILL_USE_PRODUCTS);
    if (heads > 256) s.slopes = false;
    outcome got = run_step(be, &s, s.learned ? learned : NULL, s.slopes ? slopes : NULL, true);
    outcome right = {0};
    if (got.done)
        right = run_step(be, &s, s.learned ? learned : NULL, s.slopes ? slopes : NULL, false);
    for (size_t i = 0; got.done && i < s.n_streams; i++) {
        const rill__row *row = &s.rows[i];
        size_t width = heads * s.dim;
        if (memcmp(got.out + i * width, right.out + i * width, width * sizeof *got.out) != 0 ||
            memcmp(got.caches[i], right.caches[i], 2 * s.bytes[i]) != 0)
            fail_msg("%s, %u heads' keys for %u queries each of %u, stream %zu of %zu at %llu, %u "
                     "sinks, recent from %llu: other bits than step by step",
                     rill_type_name(type), s.kv_heads, s.group, s.dim, i, s.n_streams,
                     (unsigned long long)row->token, row->n_sinks,
                     (unsigned long long)row->first_recent);
    }
    bool done = got.done;
    free_outcome(&s, &got);
    free_outcome(&s, &right);
    be->ops->weight_free(be, learned);
    free((void *)(uintptr_t)logits.data);
    free(slopes);
    free_step(&s);
    return done;
}

static void a_step_has_the_bits_of_its_parts(void **state) {
    static const rill_type caches[] = {RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                       RILL_TYPE_Q4_0};
    rill__backend *be = open_test_backend(*state);
    rill_error err;
    assert_int_equal(be->ops->reserve(be, 512, MOST_VISIBLE, 16 * 40 * 128, &err), RILL_OK);
    size_t n = 0;
    for (int turn = 0; turn < (small ? 2 : 8); turn++)
        for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) n += check_step(be, caches[i]);
    printf("%zu steps at once\n", n);
    be->ops->close(be);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        ON_DEVICE(a_step_has_the_bits_of_its_parts),
    };
    if (!begin_device_tests(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
