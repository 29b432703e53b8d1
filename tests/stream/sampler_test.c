// SPDX-License-Identifier: MIT
// The sampler: what each option does, that draws follow the distribution, and that seeds repeat.
#include "stream/sampler.h"

#include "base/random.h"

#include "support/random_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 8, DRAWS = 40000 };

static const float logits[VOCAB] = {1.0f, 3.0f, -2.0f, 2.0f, 0.0f, 2.5f, -1.0f, 0.5f};

static rill_sampling plain(void) {
    rill_sampling o;
    rill_sampling_default(&o);
    o.temperature = 1.0f;
    o.top_p = 1.0f;
    return o;
}

// Draws many tokens and counts them.
static void count_draws(const rill_sampling *options, const rill__history *history,
                        double share[VOCAB]) {
    rill__sampler s;
    assert_int_equal(rill__sampler_init(&s, VOCAB, NULL, NULL), RILL_OK);
    assert_int_equal(rill__sampler_set(&s, options, NULL), RILL_OK);
    memset(share, 0, VOCAB * sizeof *share);
    for (int i = 0; i < DRAWS; i++) {
        rill_token token;
        assert_int_equal(rill__sampler_choose(&s, logits, history, &token, NULL), RILL_OK);
        share[token] += 1.0 / DRAWS;
    }
    rill__sampler_deinit(&s);
}

// Expected shares: the softmax of `values` over the tokens that are kept.
static void expect_softmax(const double share[VOCAB], const double values[VOCAB],
                           const bool kept[VOCAB]) {
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += kept[i] ? exp(values[i]) : 0;
    for (int i = 0; i < VOCAB; i++) {
        double p = kept[i] ? exp(values[i]) / sum : 0;
        // Five standard deviations of a share.
        if (fabs(share[i] - p) > 5 * sqrt(p * (1 - p) / DRAWS) + 1e-12)
            fail_msg("token %d: share %g, expected %g", i, share[i], p);
    }
}

static const rill__history nothing = {.n_latest = 1};

static void draws_follow_temperature(void **state) {
    (void)state;
    rill_sampling o = plain();
    o.temperature = 0.7f;
    double share[VOCAB], values[VOCAB];
    bool kept[VOCAB];
    for (int i = 0; i < VOCAB; i++) {
        values[i] = logits[i] / 0.7;
        kept[i] = true;
    }
    count_draws(&o, &nothing, share);
    expect_softmax(share, values, kept);
}

static void top_k_top_p_and_min_p_keep_the_likeliest(void **state) {
    (void)state;
    double share[VOCAB], values[VOCAB];
    for (int i = 0; i < VOCAB; i++) values[i] = logits[i];
    const bool three[VOCAB] = {[1] = true, [3] = true, [5] = true};
    rill_sampling o = plain();
    o.top_k = 3;
    count_draws(&o, &nothing, share);
    expect_softmax(share, values, three);

    // Probabilities: 1 0.406, 5 0.246, 3 0.149 ... the first two have 0.652 of the mass.
    const bool two[VOCAB] = {[1] = true, [5] = true};
    o = plain();
    o.top_p = 0.6f;
    count_draws(&o, &nothing, share);
    expect_softmax(share, values, two);

    // exp(2 - 3) = 0.37 of the best stays, exp(1 - 3) = 0.135 goes.
    o = plain();
    o.min_p = 0.2f;
    count_draws(&o, &nothing, share);
    expect_softmax(share, values, three);

    // Of the best three, 1 has 0.506 and 5 0.307 of the mass: 0.8 needs two.
    o = plain();
    o.top_k = 3;
    o.top_p = 0.8f;
    count_draws(&o, &nothing, share);
    expect_softmax(share, values, two);
}

static void penalties_change_seen_tokens_only(void **state) {
    (void)state;
    rill__history h;
    assert_int_equal(rill__history_init(&h, 4, 64, NULL), RILL_OK);
    const rill_token said[] = {0, 2, 1, 1, 1, 2};
    for (size_t i = 0; i < 6; i++) rill__history_push(&h, said[i]);
    rill_sampling o = plain();
    o.repetition_penalty = 1.5f;
    o.presence_penalty = 0.25f;
    o.frequency_penalty = 0.125f;
    o.penalty_window = 5;  // leaves the 0 at the beginning out
    double share[VOCAB], values[VOCAB];
    bool kept[VOCAB];
    for (int i = 0; i < VOCAB; i++) {
        values[i] = logits[i];
        kept[i] = true;
    }
    values[1] = 3.0 / 1.5 - 0.25 - 3 * 0.125;
    values[2] = -2.0 * 1.5 - 0.25 - 2 * 0.125;
    count_draws(&o, &h, share);
    expect_softmax(share, values, kept);
    rill__history_deinit(&h);
}

static rill_token choose(const rill_sampling *options, const float *values) {
    rill__sampler s;
    assert_int_equal(rill__sampler_init(&s, VOCAB, NULL, NULL), RILL_OK);
    assert_int_equal(rill__sampler_set(&s, options, NULL), RILL_OK);
    rill_token token;
    assert_int_equal(rill__sampler_choose(&s, values, &nothing, &token, NULL), RILL_OK);
    rill__sampler_deinit(&s);
    return token;
}

static void greedy_takes_the_best_and_the_smaller_id_of_equals(void **state) {
    (void)state;
    rill_sampling o = plain();
    o.temperature = 0;
    assert_int_equal(choose(&o, logits), 1);
    const float equal[VOCAB] = {0, 5, 5, 5, 5, 5, 5, 5};
    assert_int_equal(choose(&o, equal), 1);
    const rill_logit_bias bias[] = {{1, -INFINITY}, {6, 1.0f}};
    o.bias = bias;
    o.n_bias = 2;
    assert_int_equal(choose(&o, equal), 6);
}

static void damaged_logits_are_an_error(void **state) {
    (void)state;
    rill__sampler s;
    assert_int_equal(rill__sampler_init(&s, VOCAB, NULL, NULL), RILL_OK);
    float none[VOCAB];
    for (int i = 0; i < VOCAB; i++) none[i] = i % 2 ? NAN : INFINITY;
    rill_token token;
    rill_error err;
    assert_int_equal(rill__sampler_choose(&s, none, &nothing, &token, &err), RILL_EFORMAT);
    none[3] = 0;
    assert_int_equal(rill__sampler_choose(&s, none, &nothing, &token, &err), RILL_OK);
    assert_int_equal(token, 3);
    rill__sampler_deinit(&s);
}

static void seeds_repeat_and_differ(void **state) {
    (void)state;
    rill__sampler a, b;
    assert_int_equal(rill__sampler_init(&a, VOCAB, NULL, NULL), RILL_OK);
    assert_int_equal(rill__sampler_init(&b, VOCAB, NULL, NULL), RILL_OK);
    rill_sampling o = plain();
    o.seed = 7;
    assert_int_equal(rill__sampler_set(&a, &o, NULL), RILL_OK);
    assert_int_equal(rill__sampler_set(&b, &o, NULL), RILL_OK);
    int differ = 0;
    for (int i = 0; i < 200; i++) {
        rill_token x, y;
        assert_int_equal(rill__sampler_choose(&a, logits, &nothing, &x, NULL), RILL_OK);
        assert_int_equal(rill__sampler_choose(&b, logits, &nothing, &y, NULL), RILL_OK);
        assert_int_equal(x, y);
    }
    o.seed = 8;
    assert_int_equal(rill__sampler_set(&b, &o, NULL), RILL_OK);
    for (int i = 0; i < 200; i++) {
        rill_token x, y;
        assert_int_equal(rill__sampler_choose(&a, logits, &nothing, &x, NULL), RILL_OK);
        assert_int_equal(rill__sampler_choose(&b, logits, &nothing, &y, NULL), RILL_OK);
        differ += x != y;
    }
    assert_true(differ > 20);
    rill__sampler_deinit(&a);
    rill__sampler_deinit(&b);
}

static void impossible_options_name_their_field(void **state) {
    (void)state;
    rill__sampler s;
    assert_int_equal(rill__sampler_init(&s, VOCAB, NULL, NULL), RILL_OK);
    rill_error err;
    const rill_logit_bias outside = {VOCAB, 1.0f};
    rill_sampling wrong[5];
    for (int i = 0; i < 5; i++) wrong[i] = plain();
    wrong[0].temperature = -1;
    wrong[1].top_p = NAN;
    wrong[2].min_p = 2;
    wrong[3].penalty_window = 1 << 20;
    wrong[4].bias = &outside;
    wrong[4].n_bias = 1;
    static const char *const fields[] = {"temperature", "top_p", "min_p", "penalty_window",
                                         "logit_bias"};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rill__sampler_set(&s, &wrong[i], &err), RILL_EINVAL);
        assert_non_null(strstr(err.message, fields[i]));
    }
    rill__sampler_deinit(&s);
}

// ---- The same by sorting everything

static int by_likelihood(const void *a, const void *b) {
    const rill__candidate *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

static rill_token choose_by_sorting(const rill_sampling *o, const float *row, size_t n,
                                    uint64_t random[4]) {
    rill__candidate *c = calloc(n, sizeof *c);
    double greatest = -INFINITY, sum = 0, kept_sum = 0, mass = 0;
    for (size_t i = 0; i < n; i++) greatest = fmax(greatest, (double)row[i]);
    for (size_t i = 0; i < n; i++)
        c[i] = (rill__candidate){(float)exp(((double)row[i] - greatest) / (double)o->temperature),
                                 (rill_token)i};
    qsort(c, n, sizeof *c, by_likelihood);
    size_t most = o->top_k && o->top_k < n ? o->top_k : n, kept = 0;
    for (size_t i = 0; i < most; i++) sum += (double)c[i].value;
    while (kept < most && c[kept].value > 0 && c[kept].value >= o->min_p * c[0].value) {
        kept_sum += (double)c[kept++].value;
        if (kept_sum >= (double)o->top_p * sum) break;
    }
    double target = (double)(rill__random_next(random) >> 11) * 0x1.0p-53 * kept_sum;
    size_t chosen = kept;  // the least likely first
    while (chosen > 0 && target >= mass) mass += (double)c[--chosen].value;
    rill_token token = c[chosen].token;
    free(c);
    return token;
}

static void choices_are_those_of_sorting(void **state) {
    (void)state;
    enum { MOST = 3000 };
    static float row[MOST];
    uint64_t random[4];
    rill__random_seed(random, test_seed());
    for (int round = 0; round < 300; round++) {
        size_t n = 1 + rill__random_next(random) % (round % 3 ? MOST : 5);
        double spread = (double)(rill__random_next(random) % 60) / 4;
        for (size_t i = 0; i < n; i++)  // some are equal
            row[i] = (float)(spread * (double)(rill__random_next(random) % 1000) / 1000);
        rill_sampling o = plain();
        o.seed = rill__random_next(random);
        if (round % 2) o.top_k = (uint32_t)(1 + rill__random_next(random) % n);
        o.top_p = (float)(1 + rill__random_next(random) % 99) / 100;
        if (round % 5 == 0) o.min_p = 0.05f;
        rill__sampler s;
        assert_int_equal(rill__sampler_init(&s, n, NULL, NULL), RILL_OK);
        assert_int_equal(rill__sampler_set(&s, &o, NULL), RILL_OK);
        uint64_t copy[4];
        memcpy(copy, s.random, sizeof copy);
        for (int i = 0; i < 5; i++) {
            rill_token token, expected = choose_by_sorting(&o, row, n, copy);
            assert_int_equal(rill__sampler_choose(&s, row, &nothing, &token, NULL), RILL_OK);
            if (token != expected)
                fail_msg("%zu tokens, top_k %u, top_p %g, min_p %g, round %d: %d, but sorting "
                         "chooses %d",
                         n, o.top_k, (double)o.top_p, (double)o.min_p, round, token, expected);
        }
        rill__sampler_deinit(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_temperature),
        cmocka_unit_test(top_k_top_p_and_min_p_keep_the_likeliest),
        cmocka_unit_test(choices_are_those_of_sorting),
        cmocka_unit_test(penalties_change_seen_tokens_only),
        cmocka_unit_test(greedy_takes_the_best_and_the_smaller_id_of_equals),
        cmocka_unit_test(damaged_logits_are_an_error),
        cmocka_unit_test(seeds_repeat_and_differ),
        cmocka_unit_test(impossible_options_name_their_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
