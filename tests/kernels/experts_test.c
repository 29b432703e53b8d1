// SPDX-License-Identifier: MIT
// A mixture of experts by its definition: the likeliest experts of the router, of equal ones the
// first, weighted by the softmax of just these. And what must not change a bit: threads, other
// rows. With RILL_TEST_DEVICE the same of that device.
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

// An expert's rows end amidst a tile of 16, where a backend has such.
enum { HIDDEN = 32, FFN = 40, EXPERTS = 5, MOST_ROWS = 33 };

typedef struct mixture {
    float gate[EXPERTS * FFN * HIDDEN], gate_bias[EXPERTS * FFN];
    float up[EXPERTS * FFN * HIDDEN], up_bias[EXPERTS * FFN];
    float down[EXPERTS * HIDDEN * FFN], down_bias[EXPERTS * HIDDEN];
    float x[MOST_ROWS * HIDDEN];
    float logits[MOST_ROWS * EXPERTS];
} mixture;

static void fill(float *out, size_t n, double scale, uint64_t *state) {
    for (size_t i = 0; i < n; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        out[i] = (float)(scale * ((double)(*state >> 33) * 0x1p-30 - 1));
    }
}

// Rows of down are no whole blocks of quantised numbers.
static rill_type down_type(rill_type type) {
    return type == RILL_TYPE_F32 ? type : RILL_TYPE_F16;
}

// Logits in steps of 1/2, so that equal ones are common.
static mixture *make_mixture(rill_type type) {
    mixture *m = calloc(1, sizeof *m);
    assert_non_null(m);
    uint64_t state = 5;
    fill(m->gate, EXPERTS * FFN * HIDDEN, 0.5, &state);
    fill(m->up, EXPERTS * FFN * HIDDEN, 0.5, &state);
    fill(m->down, EXPERTS * HIDDEN * FFN, 0.5, &state);
    fill(m->gate_bias, EXPERTS * FFN, 1, &state);
    fill(m->up_bias, EXPERTS * FFN, 1, &state);
    fill(m->down_bias, EXPERTS * HIDDEN, 1, &state);
    fill(m->x, MOST_ROWS * HIDDEN, 2, &state);
    fill(m->logits, MOST_ROWS * EXPERTS, 3, &state);
    for (int i = 0; i < MOST_ROWS * EXPERTS; i++) m->logits[i] = roundf(2 * m->logits[i]) / 2;
    round_to(type, m->gate, EXPERTS * FFN * HIDDEN);
    round_to(type, m->up, EXPERTS * FFN * HIDDEN);
    round_to(down_type(type), m->down, EXPERTS * HIDDEN * FFN);
    return m;
}

typedef struct setting {
    uint32_t n_used;
    rill__activation activation;
    float limit;
    bool biases;
    rill_type type;
} setting;

static rill__backend *open_tier(const char *tier, unsigned threads) {
    rill__backend *be = open_named(tier, threads);
    rill_error err;
    assert_int_equal(be->ops->reserve(be, EXPERTS * MOST_ROWS, 1, HIDDEN, &err), RILL_OK);
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

// A weight and what it may point at.
typedef struct kept_weight {
    rill__weight *weight;
    uint8_t *data;
} kept_weight;

static kept_weight weight_of(rill__backend *be, rill_type type, const float *x, uint64_t rows,
                             uint64_t columns) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    size_t n = rows * (columns ? columns : 1), bytes = n / traits->block * traits->block_bytes;
    kept_weight kept = {.data = calloc(1, bytes)};
    assert_non_null(kept.data);
    traits->from_float(x, kept.data, n);
    const rill__tensor t = {.name = "it",
                            .type = type,
                            .n_dims = columns ? 2 : 1,
                            .shape = {rows, columns ? columns : 1, 1, 1},
                            .data = kept.data,
                            .bytes = bytes};
    rill_error err;
    if (be->ops->weight_new(be, &t, RILL_USE_PRODUCTS, &kept.weight, &err) != RILL_OK)
        fail_msg("%s", err.message);
    return kept;
}

// Rows [first, first + n) through the backend, in place. out: [n, HIDDEN]
static void run(rill__backend *be, const mixture *m, const setting *s, size_t first, size_t n,
                float *out) {
    const rill_type f32 = RILL_TYPE_F32;
    const kept_weight weights[] = {weight_of(be, s->type, m->gate, EXPERTS * FFN, HIDDEN),
                                   weight_of(be, s->type, m->up, EXPERTS * FFN, HIDDEN),
                                   weight_of(be, down_type(s->type), m->down, EXPERTS * HIDDEN,
                                             FFN),
                                   weight_of(be, f32, m->gate_bias, EXPERTS * FFN, 0),
                                   weight_of(be, f32, m->up_bias, EXPERTS * FFN, 0),
                                   weight_of(be, f32, m->down_bias, EXPERTS * HIDDEN, 0)};
    size_t routed = n * s->n_used;
    rill__buffer *const buffers[] = {
        buffer_of(be, m->x + first * HIDDEN, n * HIDDEN),
        buffer_of(be, m->logits + first * EXPERTS, n * EXPERTS),
        buffer_of(be, NULL, (routed + EXPERTS) * RILL_ROUTE_BYTES / sizeof(float)),
        buffer_of(be, NULL, routed * HIDDEN),
        buffer_of(be, NULL, routed * FFN),
        buffer_of(be, NULL, routed * FFN)};
    const rill__experts e = {.in = buffers[0],
                             .logits = buffers[1],
                             .out = buffers[0],
                             .n_rows = n,
                             .n_experts = EXPERTS,
                             .n_used = s->n_used,
                             .hidden = HIDDEN,
                             .ffn = FFN,
                             .activation = s->activation,
                             .limit = s->limit,
                             .gate = weights[0].weight,
                             .gate_bias = s->biases ? weights[3].weight : NULL,
                             .up = weights[1].weight,
                             .up_bias = s->biases ? weights[4].weight : NULL,
                             .down = weights[2].weight,
                             .down_bias = s->biases ? weights[5].weight : NULL,
                             .routes = buffers[2],
                             .gathered = buffers[3],
                             .gates = buffers[4],
                             .ups = buffers[5]};
    rill__pass pass;
    begin_free_rows(be, &pass, n);
    uint64_t before = rill__allocation_count();
    be->ops->experts(be, &e);
    assert_int_equal(rill__allocation_count(), before);
    end_pass(be);
    be->ops->buffer_read(be, buffers[0], 0, out, n * HIDDEN * sizeof *out);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        be->ops->buffer_free(be, buffers[i]);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        be->ops->weight_free(be, weights[i].weight);
        free(weights[i].data);
    }
}

static double row_times(const float *w, const double *x, size_t n, double bias) {
    double sum = bias;
    for (size_t i = 0; i < n; i++) sum += (double)w[i] * x[i];
    return sum;
}

static double activate(const setting *s, double gate, double up) {
    double limit = (double)s->limit;
    if (s->activation == RILL_ACT_SILU) return gate / (1 + exp(-gate)) * up;
    gate = gate > limit ? limit : gate;
    up = up > limit ? limit : up < -limit ? -limit : up;
    return gate / (1 + exp(-1.702 * gate)) * (up + 1);
}

// One expert's feed-forward, weighted, added to out.
static void add_expert(const mixture *m, const setting *s, size_t expert, const double *x,
                       double weight, double *out) {
    double h[FFN];
    for (size_t f = 0; f < FFN; f++) {
        size_t row = expert * FFN + f;
        h[f] = activate(
            s,
            row_times(m->gate + row * HIDDEN, x, HIDDEN, s->biases ? (double)m->gate_bias[row] : 0),
            row_times(m->up + row * HIDDEN, x, HIDDEN, s->biases ? (double)m->up_bias[row] : 0));
    }
    for (size_t i = 0; i < HIDDEN; i++) {
        size_t row = expert * HIDDEN + i;
        out[i] += weight *
                  row_times(m->down + row * FFN, h, FFN, s->biases ? (double)m->down_bias[row] : 0);
    }
}

static void by_definition(const mixture *m, const setting *s, size_t row, double *out) {
    const float *logits = m->logits + row * EXPERTS;
    bool chosen[EXPERTS] = {false};
    double sum = 0, x[HIDDEN];
    for (uint32_t used = 0; used < s->n_used; used++) {
        size_t best = EXPERTS;
        for (size_t i = 0; i < EXPERTS; i++)
            if (!chosen[i] && (best == EXPERTS || logits[i] > logits[best])) best = i;
        chosen[best] = true;
        sum += exp((double)logits[best]);
    }
    for (size_t i = 0; i < HIDDEN; i++) {
        x[i] = (double)m->x[row * HIDDEN + i];
        out[i] = 0;
    }
    for (size_t i = 0; i < EXPERTS; i++)
        if (chosen[i]) add_expert(m, s, i, x, exp((double)logits[i]) / sum, out);
}

static const setting settings[] = {{1, RILL_ACT_SILU, 0, false, RILL_TYPE_F32},
                                   {2, RILL_ACT_CLAMPED_SWIGLU, 1.5f, true, RILL_TYPE_F32},
                                   {3, RILL_ACT_SILU, 0, true, RILL_TYPE_F32},
                                   {EXPERTS, RILL_ACT_CLAMPED_SWIGLU, 7, false, RILL_TYPE_F32},
                                   {2, RILL_ACT_SILU, 0, true, RILL_TYPE_F16},
                                   {3, RILL_ACT_CLAMPED_SWIGLU, 7, true, RILL_TYPE_Q8_0},
                                   {2, RILL_ACT_SILU, 0, false, RILL_TYPE_MXFP4}};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void experts_are_what_the_text_says(void **state) {
    rill__backend *be = open_tier(*state, 2);
    float out[MOST_ROWS * HIDDEN];
    for (size_t i = 0; i < SETTINGS; i++) {
        mixture *m = make_mixture(settings[i].type);
        // Activations may be rounded to 16 bits where weights are not floats.
        bool exact = strcmp(*state, "exact") == 0 || strcmp(*state, DEVICE_EXACT) == 0;
        bool rounded = !exact && settings[i].type != RILL_TYPE_F32;
        run(be, m, &settings[i], 0, MOST_ROWS, out);
        for (size_t row = 0; row < MOST_ROWS; row++) {
            double right[HIDDEN], greatest = 0;
            by_definition(m, &settings[i], row, right);
            for (size_t c = 0; c < HIDDEN; c++) greatest = fmax(greatest, fabs(right[c]));
            double bound = rounded ? 1e-3 * greatest : 1e-4;
            for (size_t c = 0; c < HIDDEN; c++)
                if (!(fabs((double)out[row * HIDDEN + c] - right[c]) <= bound))
                    fail_msg("setting %zu, row %zu: %g; %g is right", i, row,
                             (double)out[row * HIDDEN + c], right[c]);
        }
        free(m);
    }
    be->ops->close(be);
}

// A number that is none stays none, wherever it stands in a row, and harms no other; what is past
// the limit comes out as the limit does. Some expectations are worked out by hand: 7 / (1 +
// e^-11.914) (7 + 1) for both at the limit of 7, and 0 times what is at -1.
static void nan_passes_the_limit(void **state) {
    enum { MOST = 40, LIMIT = 7 };
    rill__backend *be = open_tier(*state, 1);
    const double at_limit = 55.999625;
    for (size_t n = 1; n <= MOST; n++) {
        for (size_t none = 0; none < 2 * n; none++) {
            float gate[MOST], up[MOST], out[MOST];
            for (size_t i = 0; i < n; i++) {
                gate[i] = i % 2 ? 7.5f : 1e30f;
                up[i] = i % 3 ? 8 : -1;
            }
            (none < n ? gate : up)[none % n] = NAN;
            rill__buffer *const buffers[] = {buffer_of(be, gate, n), buffer_of(be, up, n)};
            rill__pass pass;
            begin_free_rows(be, &pass, 1);
            be->ops->activate(be, buffers[0], buffers[0], buffers[1], RILL_ACT_CLAMPED_SWIGLU,
                              LIMIT, 1, n);
            end_pass(be);
            be->ops->buffer_read(be, buffers[0], 0, out, n * sizeof *out);
            for (size_t i = 0; i < n; i++) {
                double right = i % 3 ? at_limit : 0;
                if (i == none % n ? !isnan(out[i]) : !(fabs((double)out[i] - right) < 1e-4))
                    fail_msg("%zu of %zu, NaN %zu: %g", i, n, none, (double)out[i]);
            }
            for (int i = 0; i < 2; i++) be->ops->buffer_free(be, buffers[i]);
        }
    }
    be->ops->close(be);
}

// Rows that go through the same expert are multiplied together: that must not be seen.
static void other_rows_and_threads_change_no_bit(void **state) {
    rill__backend *one = open_tier(*state, 1), *four = open_tier(*state, 4);
    float alone[MOST_ROWS * HIDDEN], together[MOST_ROWS * HIDDEN];
    for (size_t i = 0; i < SETTINGS; i++) {
        mixture *m = make_mixture(settings[i].type);
        for (size_t row = 0; row < MOST_ROWS; row++)
            run(one, m, &settings[i], row, 1, alone + row * HIDDEN);
        run(four, m, &settings[i], 0, MOST_ROWS, together);
        assert_memory_equal(alone, together, sizeof alone);
        run(one, m, &settings[i], 3, 11, together);
        assert_memory_equal(alone + 3 * HIDDEN, together, 11 * HIDDEN * sizeof *alone);
        free(m);
    }
    one->ops->close(one);
    four->ops->close(four);
}

int main(void) {
    const struct CMUnitTest device[] = {
        TEST_ON(experts_are_what_the_text_says, DEVICE_EXACT),
        TEST_ON(experts_are_what_the_text_says, DEVICE),
        TEST_ON(nan_passes_the_limit, DEVICE_EXACT),
        TEST_ON(nan_passes_the_limit, DEVICE),
        TEST_ON(other_rows_and_threads_change_no_bit, DEVICE_EXACT),
        TEST_ON(other_rows_and_threads_change_no_bit, DEVICE),
    };
    const struct CMUnitTest tests[] = {
        TEST_ON(experts_are_what_the_text_says, "exact"),
        TEST_ON(experts_are_what_the_text_says, "ref"),
        TEST_ON_TIERS(experts_are_what_the_text_says),
        TEST_ON(nan_passes_the_limit, "exact"),
        TEST_ON(nan_passes_the_limit, "ref"),
        TEST_ON_TIERS(nan_passes_the_limit),
        TEST_ON(other_rows_and_threads_change_no_bit, "exact"),
        TEST_ON(other_rows_and_threads_change_no_bit, "ref"),
        TEST_ON_TIERS(other_rows_and_threads_change_no_bit),
    };
    return test_device() ? cmocka_run_group_tests(device, NULL, NULL)
                         : cmocka_run_group_tests(tests, NULL, NULL);
}
