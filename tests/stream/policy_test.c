// SPDX-License-Identifier: MIT
// Eviction by itself, against a naive list of tokens from which elements are taken out.
#include "stream/policy.h"

#include "support/random_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// The visible tokens as a list, and which of them begin messages.
typedef struct naive {
    uint64_t tokens[512];
    bool starts[512];
    size_t n;
    size_t n_sinks;
    size_t capacity;
} naive;

static void naive_take_out(naive *v, size_t at, size_t count) {
    size_t rest = v->n - at - count;
    memmove(v->tokens + at, v->tokens + at + count, rest * sizeof *v->tokens);
    memmove(v->starts + at, v->starts + at + count, rest * sizeof *v->starts);
    v->n -= count;
}

static void naive_next(naive *v, uint64_t token, bool begins, bool by_message) {
    if (v->n == v->capacity) {
        size_t count = 1;
        while (by_message && v->n_sinks + count < v->n && !v->starts[v->n_sinks + count]) count++;
        size_t next = v->n_sinks + count, others = begins;
        for (size_t i = next + 1; i < v->n; i++) others += v->starts[i];
        // The message before the last one goes whole only if it is not most of the window.
        bool whole = by_message && (next < v->n || begins) &&
                     ((next < v->n && others > 0) || 2 * count <= v->capacity - v->n_sinks);
        naive_take_out(v, v->n_sinks, whole ? count : 1);
    }
    v->tokens[v->n] = token;
    v->starts[v->n++] = begins;
}

static void check_row(const rill__row *row, const naive *v, uint64_t token, uint64_t start) {
    assert_int_equal(row->token, token);
    assert_int_equal(row->stream_pos, start + token);
    assert_int_equal(row->sink_pos, v->n - 1);
    size_t i = 0;
    for (; i < row->n_sinks; i++) assert_int_equal(v->tokens[i], i);
    for (uint64_t t = row->first_recent; t <= token; t++) assert_int_equal(v->tokens[i++], t);
    assert_int_equal(i, v->n);
}

static void policy_equals_a_list(void **state) {
    (void)state;
    test_random r = {test_seed()};
    for (int round = 0; round < 300; round++) {
        uint32_t n = test_random_between(&r, 0, 8), m = test_random_between(&r, 1, 60);
        bool by_message = test_random_between(&r, 0, 1);
        uint64_t start = test_random_next(&r) >> 2;
        rill__policy p;
        assert_int_equal(rill__policy_init(&p, by_message ? RILL_EVICT_MESSAGE : RILL_EVICT_TOKEN,
                                           n, m, NULL),
                         RILL_OK);
        naive *v = calloc(1, sizeof *v);
        v->n_sinks = n;
        v->capacity = n + m;
        uint32_t pin_at = test_random_between(&r, 0, n + m - 1);
        for (uint64_t t = 0; t < 400; t++) {
            bool begins = test_random_between(&r, 0, 6) == 0;
            if (begins) rill__policy_begin_message(&p);
            rill__row row;
            rill__policy_next(&p, start, &row);
            naive_next(v, t, begins, by_message);
            check_row(&row, v, t, start);
            assert_int_equal(rill__policy_held(&p), v->n);
            if (t + 1 == pin_at) {
                rill__policy_pin(&p);
                v->n_sinks = p.n_sinks;
                assert_int_equal(p.n_sinks, pin_at > n ? pin_at : n);
                assert_int_equal(p.n_sinks + p.window, n + m);
            }
        }
        free(v);
        rill__policy_deinit(&p);
    }
}

static void feed(rill__policy *p, int n, bool message) {
    rill__row row;
    if (message) rill__policy_begin_message(p);
    while (n-- > 0) rill__policy_next(p, 0, &row);
}

static void whole_messages_are_counted(void **state) {
    (void)state;
    rill__policy p;
    assert_int_equal(rill__policy_init(&p, RILL_EVICT_MESSAGE, 0, 10, NULL), RILL_OK);
    feed(&p, 3, true);
    rill__policy_pin(&p);
    feed(&p, 4, true);
    feed(&p, 3, true);
    assert_int_equal(rill__policy_messages_held(&p), 3);
    feed(&p, 1, true);  // the four-token message makes room
    assert_int_equal(rill__policy_messages_held(&p), 3);
    assert_int_equal(p.messages_seen, 4);
    assert_int_equal(p.evictions, 1);
    assert_int_equal(rill__policy_held(&p), 3 + 3 + 1);
    feed(&p, 9, true);  // longer than the window: all others go, then its own beginning
    assert_int_equal(rill__policy_messages_held(&p), 1);
    assert_int_equal(rill__policy_held(&p), 10);
    rill__policy_deinit(&p);
}

static void an_answer_sees_what_it_answers(void **state) {
    (void)state;
    rill__policy p;
    assert_int_equal(rill__policy_init(&p, RILL_EVICT_MESSAGE, 0, 10, NULL), RILL_OK);
    feed(&p, 4, true);
    feed(&p, 25, true);  // a question longer than the window
    feed(&p, 2, true);   // begins the answer
    assert_int_equal(rill__policy_held(&p), 10);
    assert_int_equal(p.first_recent, 21);
    feed(&p, 3, false);  // while half the window is left of the question
    assert_int_equal(rill__policy_held(&p), 10);
    feed(&p, 1, false);  // the rest of it goes at once
    assert_int_equal(rill__policy_held(&p), 6);
    rill__policy_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_equals_a_list),
        cmocka_unit_test(whole_messages_are_counted),
        cmocka_unit_test(an_answer_sees_what_it_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
