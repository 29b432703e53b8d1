// SPDX-License-Identifier: MIT
// Configurations: lists multiplied out, resolved by the library, named.
#include "cli/eval_cases.h"

#include <stdio.h>
#include <string.h>

// ---- Combinations ---------------------------------------------------------------------------

static size_t at_least_one(size_t n) {
    return n ? n : 1;
}

static size_t sizes(const rill__lists *l) {
    return at_least_one(l->n_windows ? l->n_windows : l->n_capacities);
}

size_t rill__combinations(const rill__lists *l) {
    return at_least_one(l->n_methods) * at_least_one(l->n_sinks) * sizes(l) *
           at_least_one(l->n_types) * at_least_one(l->n_evictions);
}

// The last digit of *i in a number system of base n, which is taken away.
static size_t take_digit(size_t *i, size_t n) {
    size_t digit = *i % n;
    *i /= n;
    return digit;
}

rill__combination rill__combination_at(const rill__lists *l, size_t i) {
    size_t evict = take_digit(&i, at_least_one(l->n_evictions));
    size_t type = take_digit(&i, at_least_one(l->n_types));
    size_t size = take_digit(&i, sizes(l));
    size_t sinks = take_digit(&i, at_least_one(l->n_sinks));
    return (rill__combination){
        .method = l->n_methods ? &l->methods[i] : NULL,
        .sinks = l->n_sinks ? &l->sinks[sinks] : NULL,
        .window = l->n_windows ? &l->windows[size] : NULL,
        .capacity = l->n_capacities && !l->n_windows ? &l->capacities[size] : NULL,
        .key_type = l->n_types ? &l->key_types[type] : NULL,
        .value_type = l->n_types ? &l->value_types[type] : NULL,
        .evict = l->n_evictions ? &l->evictions[evict] : NULL,
    };
}

rill_status rill__combination_fill(const rill__combination *c, rill_stream_options *o,
                                   rill_error *err) {
    if (c->method) o->method = *c->method;
    if (c->sinks) o->sinks = *c->sinks;
    if (c->key_type) {
        o->key_type = *c->key_type;
        o->value_type = *c->value_type;
        o->default_types = false;
    }
    if (c->evict) o->evict = *c->evict;
    if (c->window) o->window = *c->window;
    return c->capacity ? rill__capacity_fill(*c->capacity, o, err) : RILL_OK;
}

rill_status rill__capacity_fill(uint32_t capacity, rill_stream_options *o, rill_error *err) {
    uint32_t n = o->sinks != RILL_SINKS_AUTO          ? o->sinks
                 : o->method == RILL_METHOD_STREAMING ? RILL_DEFAULT_SINKS
                                                      : 0;
    if (capacity <= n)
        return rill__fail(err, RILL_EINVAL, "--capacity: %u: wants more than the %u sinks in it",
                          capacity, n);
    o->window = capacity - n;
    return RILL_OK;
}

// ---- Configurations -------------------------------------------------------------------------

typedef struct maker {
    const rill__settings *s;
    const rill_model *model;
    uint64_t dense_tokens;
    rill__eval_case *cases;
    size_t n;
} maker;

// `whole`: it keeps all that is read, so no count says more.
static void name_case(rill__eval_case *c, bool whole, bool with_types) {
    const rill_stream_options *o = &c->stream;
    rill__types_name(c->types, o->key_type, o->value_type);
    if (!whole) snprintf(c->counts, sizeof c->counts, "%u+%u", o->sinks, o->window);
    bool by_message = o->evict == RILL_EVICT_MESSAGE;
    snprintf(c->label, sizeof c->label, "%s%s%s%s%s%s", rill__method_name(o->method),
             whole ? "" : " ", c->counts, with_types ? " " : "", with_types ? c->types : "",
             by_message ? " by message" : "");
    snprintf(c->name, sizeof c->name, "%s%s%s-%s%s", rill__method_name(o->method), whole ? "" : "-",
             c->counts, c->types, by_message ? "-message" : "");
}

static bool alike(const rill_stream_options *a, const rill_stream_options *b) {
    return a->method == b->method && a->sinks == b->sinks && a->window == b->window &&
           a->key_type == b->key_type && a->value_type == b->value_type && a->evict == b->evict;
}

// Whether a method keeps a cache from which it evicts.
static bool rolls(rill_method method) {
    return method == RILL_METHOD_STREAMING || method == RILL_METHOD_WINDOW;
}

static rill_status add(maker *m, rill_stream_options o, bool whole, rill_error *err) {
    rill_stream_bytes bytes;
    rill_status status = rill_stream_estimate(m->model, &o, &o, &bytes, err);
    if (status != RILL_OK) return status;
    bool official = m->s->official && rolls(o.method);
    if (official) {
        o.window++;
        status = rill_stream_estimate(m->model, &o, &o, &bytes, err);
        if (status != RILL_OK) return status;
    }
    for (size_t i = 0; i < m->n; i++)
        if (alike(&m->cases[i].stream, &o)) return RILL_OK;
    m->cases[m->n] = (rill__eval_case){.stream = o, .official = official};
    name_case(&m->cases[m->n], whole, m->s->lists.n_types > 1);
    m->n++;
    return RILL_OK;
}

// One combination, less what its method does not take.
static rill_status combine(maker *m, rill__combination c, rill_error *err) {
    rill_stream_options o = m->s->stream;
    rill_method method = c.method ? *c.method : RILL_METHOD_STREAMING;
    bool dense = method == RILL_METHOD_DENSE, alone = m->s->lists.n_methods <= 1;
    o.method = method;
    // Alone, window and dense are told by the library that they have none.
    bool keeps = method == RILL_METHOD_STREAMING || method == RILL_METHOD_RECOMPUTE;
    if (!alone && !keeps) c.sinks = NULL;
    // Dense never evicts, and recompute keeps tokens, not messages.
    if (!rolls(method)) c.evict = NULL;
    bool whole = dense && !(alone && (c.window || c.capacity));
    if (whole) c.window = c.capacity = NULL;
    rill_status status = rill__combination_fill(&c, &o, err);
    if (status != RILL_OK) return status;
    if (whole) o.window = m->dense_tokens < UINT32_MAX ? (uint32_t)m->dense_tokens : UINT32_MAX - 1;
    return add(m, o, whole, err);
}

rill_status rill__eval_cases(const rill__settings *s, const rill_model *model,
                             uint64_t dense_tokens, rill__eval_case **cases, size_t *n_cases,
                             rill_error *err) {
    const rill__lists *l = &s->lists;
    size_t n = rill__combinations(l);
    maker m = {s, model, dense_tokens, NULL, 0};
    m.cases = rill__calloc(n, sizeof *m.cases);
    if (!m.cases) return rill__fail_memory(err, "configurations", n * sizeof *m.cases);
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n && status == RILL_OK; i++)
        status = combine(&m, rill__combination_at(l, i), err);
    if (status != RILL_OK) {
        rill__free(m.cases);
        return status;
    }
    *cases = m.cases;
    *n_cases = m.n;
    return RILL_OK;
}
