// SPDX-License-Identifier: MIT
// Configurations: lists multiplied out, resolved by the library, named.
#include "cli/eval_cases.h"

#include <stdio.h>
#include <string.h>

typedef struct maker {
    const rill__settings *s;
    const rill_model *model;
    uint64_t dense_tokens;
    size_t n_methods;
    rill__eval_case *cases;
    size_t n, capacity;
} maker;

static void name_case(rill__eval_case *c, bool with_types) {
    const rill_stream_options *o = &c->stream;
    bool dense = o->method == RILL_METHOD_DENSE;
    rill__types_name(c->types, o->key_type, o->value_type);
    if (!dense) snprintf(c->counts, sizeof c->counts, "%u+%u", o->sinks, o->window);
    bool by_message = o->evict == RILL_EVICT_MESSAGE;
    snprintf(c->label, sizeof c->label, "%s%s%s%s%s%s", rill__method_name(o->method),
             dense ? "" : " ", c->counts, with_types ? " " : "", with_types ? c->types : "",
             by_message ? " by message" : "");
    snprintf(c->name, sizeof c->name, "%s%s%s-%s%s", rill__method_name(o->method), dense ? "" : "-",
             c->counts, c->types, by_message ? "-message" : "");
}

static bool alike(const rill_stream_options *a, const rill_stream_options *b) {
    return a->method == b->method && a->sinks == b->sinks && a->window == b->window &&
           a->key_type == b->key_type && a->value_type == b->value_type && a->evict == b->evict;
}

static rill_status add(maker *m, rill_stream_options o, rill_error *err) {
    rill_stream_bytes bytes;
    rill_status status = rill_stream_estimate(m->model, &o, &o, &bytes, err);
    if (status != RILL_OK) return status;
    if (m->s->official && (o.method == RILL_METHOD_STREAMING || o.method == RILL_METHOD_WINDOW)) {
        o.window++;
        status = rill_stream_estimate(m->model, &o, &o, &bytes, err);
        if (status != RILL_OK) return status;
    }
    for (size_t i = 0; i < m->n; i++)
        if (alike(&m->cases[i].stream, &o)) return RILL_OK;
    m->cases[m->n] = (rill__eval_case){.stream = o};
    name_case(&m->cases[m->n], m->s->lists.n_types > 1);
    m->n++;
    return RILL_OK;
}

// One method with one choice of each list; an index past a list's end means that it was not given.
static rill_status combine(maker *m, rill_method method, size_t sinks, size_t size, size_t type,
                           size_t evict, rill_error *err) {
    const rill__lists *l = &m->s->lists;
    rill_stream_options o = m->s->stream;
    bool dense = method == RILL_METHOD_DENSE, alone = m->n_methods == 1;
    o.method = method;
    // Alone, window and dense are told by the library that they have none.
    bool keeps = method == RILL_METHOD_STREAMING || method == RILL_METHOD_RECOMPUTE;
    if (sinks < l->n_sinks && (alone || keeps)) o.sinks = l->sinks[sinks];
    if (type < l->n_types) {
        o.key_type = l->key_types[type];
        o.value_type = l->value_types[type];
        o.default_types = false;
    }
    // Dense never evicts, and recompute keeps tokens, not messages.
    if (evict < l->n_evictions && (method == RILL_METHOD_STREAMING || method == RILL_METHOD_WINDOW))
        o.evict = l->evictions[evict];
    if (dense && !(alone && l->n_windows)) {
        o.window = m->dense_tokens < UINT32_MAX ? (uint32_t)m->dense_tokens : UINT32_MAX - 1;
    } else if (size < l->n_windows) {
        o.window = l->windows[size];
    } else if (size < l->n_capacities) {
        uint32_t n = o.sinks != RILL_SINKS_AUTO ? o.sinks : method == RILL_METHOD_STREAMING ? 4 : 0;
        if (l->capacities[size] <= n)
            return rill__fail(err, RILL_EINVAL,
                              "--capacity: %u: wants more than the %u sinks in it",
                              l->capacities[size], n);
        o.window = l->capacities[size] - n;
    }
    return add(m, o, err);
}

static size_t at_least_one(size_t n) {
    return n ? n : 1;
}

rill_status rill__eval_cases(const rill__settings *s, const rill_model *model,
                             uint64_t dense_tokens, rill__eval_case **cases, size_t *n_cases,
                             rill_error *err) {
    const rill__lists *l = &s->lists;
    maker m = {s, model, dense_tokens, at_least_one(l->n_methods), NULL, 0, 0};
    if (l->n_windows && l->n_capacities)
        return rill__fail(
            err, RILL_EINVAL,
            "--capacity: is --window and the sinks together: one of the two is right");
    size_t n_sizes = at_least_one(l->n_windows + l->n_capacities);
    m.capacity = m.n_methods * at_least_one(l->n_sinks) * n_sizes * at_least_one(l->n_types) *
                 at_least_one(l->n_evictions);
    m.cases = rill__calloc(m.capacity, sizeof *m.cases);
    if (!m.cases) return rill__fail_memory(err, "configurations", m.capacity * sizeof *m.cases);
    rill_status status = RILL_OK;
    for (size_t method = 0; method < m.n_methods; method++)
        for (size_t sinks = 0; sinks < at_least_one(l->n_sinks); sinks++)
            for (size_t size = 0; size < n_sizes; size++)
                for (size_t type = 0; type < at_least_one(l->n_types); type++)
                    for (size_t evict = 0; evict < at_least_one(l->n_evictions); evict++)
                        if (status == RILL_OK)
                            status =
                                combine(&m,
                                        l->n_methods ? l->methods[method] : RILL_METHOD_STREAMING,
                                        sinks, size, type, evict, err);
    if (status != RILL_OK) {
        rill__free(m.cases);
        return status;
    }
    *cases = m.cases;
    *n_cases = m.n;
    return RILL_OK;
}
