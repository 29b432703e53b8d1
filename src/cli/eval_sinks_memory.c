// SPDX-License-Identifier: MIT
// The sinks, window and cache type that predict best within --memory.
#include "cli/eval_sinks.h"

#include "base/number.h"

enum { MAX_FITTING = (RILL_SIZES_TRIED + 1) * RILL_MAX_LIST };

// What is tried, and the table of it.
typedef struct search {
    rill__sinks_trial trials[MAX_FITTING];
    size_t n, n_done;
} search;

// Adds a trial unless an equal one is there.
static void propose(search *s, const rill__sinks_trial *t) {
    for (size_t i = 0; i < s->n; i++)
        if (s->trials[i].sinks == t->sinks && s->trials[i].window == t->window &&
            s->trials[i].key_type == t->key_type && s->trials[i].value_type == t->value_type)
            return;
    s->trials[s->n++] = *t;
}

// The widest window beside t's sinks that fits into --memory and a capacity of `most`.
static rill_status widest(const rill__sinks_eval *e, rill__sinks_trial *t, uint32_t most,
                          rill_error *err) {
    rill_stream_options o = rill__sinks_stream(e, t);
    return rill__sinks_widest(e->all.session.model, &o, e->all.s->memory, most, &t->window, err);
}

// Gives t the most sinks that fit, at most `sinks`; *fits: there are some.
static rill_status fit_sinks(const rill__sinks_eval *e, uint32_t sinks, rill__sinks_trial *t,
                             bool *fits, rill_error *err) {
    uint32_t chosen = 0;
    rill_status status = RILL_OK;
    *fits = false;
    for (size_t i = 0; i < e->n_counts && status == RILL_OK; i++) {
        uint64_t least;
        bool these;
        t->sinks = e->counts[i];
        status = rill__sinks_fits(e, t, &least, &these, err);
        if (!these || t->sinks > sinks || (*fits && t->sinks < chosen)) continue;
        chosen = t->sinks;
        *fits = true;
    }
    t->sinks = chosen;
    return status;
}

// A type at the widest capacity that fits, and with half and a quarter of it. Nothing if it does
// not fit at all.
static rill_status propose_sizes(const rill__sinks_eval *e, uint32_t sinks, size_t type, search *s,
                                 rill_error *err) {
    uint32_t trained = e->all.session.info.trained_context;
    rill__sinks_trial t = {.key_type = e->key_types[type], .value_type = e->value_types[type]};
    bool fits;
    rill_status status = fit_sinks(e, sinks, &t, &fits, err);
    if (status != RILL_OK || !fits) return status;
    status = widest(e, &t, trained ? trained : 1 << 20, err);
    uint32_t capacity = t.sinks + t.window;
    for (int i = 0; i < RILL_SIZES_TRIED && status == RILL_OK; i++, capacity /= 2) {
        t.window = capacity - t.sinks;
        if (capacity > t.sinks) propose(s, &t);
    }
    return status;
}

// Other numbers of sinks at the capacity of the best so far.
static rill_status propose_counts(const rill__sinks_eval *e, const rill__sinks_trial *best,
                                  search *s, rill_error *err) {
    rill_status status = RILL_OK;
    uint32_t capacity = best->sinks + best->window;
    for (size_t i = 0; i < e->n_counts && status == RILL_OK; i++) {
        rill__sinks_trial t = {
            .sinks = e->counts[i], .key_type = best->key_type, .value_type = best->value_type};
        uint64_t least;
        bool fits;
        status = rill__sinks_fits(e, &t, &least, &fits, err);
        if (status != RILL_OK || !fits || t.sinks >= capacity) continue;
        status = widest(e, &t, capacity, err);
        if (status == RILL_OK) propose(s, &t);
    }
    return status;
}

// First types and sizes with as many sinks as were recommended, then numbers of sinks at the best
// of these: the fewer trials, and each one measured.
static rill_status look(rill__sinks_eval *e, uint32_t sinks, search *s, rill_error *err) {
    rill_status status = RILL_OK;
    size_t best;
    for (size_t i = 0; i < e->n_types && status == RILL_OK; i++)
        status = propose_sizes(e, sinks, i, s, err);
    if (status == RILL_OK) status = rill__sinks_try_first(e, s->trials, s->n, &s->n_done, err);
    if (status != RILL_OK || !rill__sinks_best(s->trials, s->n, &best)) return status;
    const rill__sinks_trial so_far = s->trials[best];
    status = propose_counts(e, &so_far, s, err);
    if (status == RILL_OK) status = rill__sinks_try_first(e, s->trials, s->n, &s->n_done, err);
    return status;
}

// Says which types were left out.
static rill_status note_types(const rill__sinks_eval *e, rill__table *table, rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0; i < e->n_types && status == RILL_OK; i++) {
        const rill__sinks_trial t = {.sinks = rill__sinks_least_count(e),
                                     .key_type = e->key_types[i],
                                     .value_type = e->value_types[i]};
        char type[RILL_TYPES_NAME], bytes[32];
        uint64_t least;
        bool fits;
        status = rill__sinks_fits(e, &t, &least, &fits, err);
        if (status != RILL_OK || fits) continue;
        rill__types_name(type, t.key_type, t.value_type);
        rill__number_bytes(bytes, sizeof bytes, least);
        rill__table_note(table, "%s is left out: it wants at least %s.", type, bytes);
    }
    return status;
}

static rill_status show(rill__sinks_eval *e, const search *s, rill_error *err) {
    char memory[32], type[RILL_TYPES_NAME];
    rill__table *table;
    size_t best;
    bool all = s->n_done == s->n, any = rill__sinks_best(s->trials, s->n_done, &best);
    rill_status status = rill__sinks_table(e, "memory", &table, err);
    if (status != RILL_OK) return status;
    rill__number_bytes(memory, sizeof memory, e->all.s->memory);
    rill__table_title(table, "%s: perplexity within %s of cache", e->all.session.info.name, memory);
    rill__sinks_rows(e, table, s->trials, s->n_done, s->n, NULL, all && any ? &best : NULL);
    if (all && any) {
        const rill__sinks_trial *t = &s->trials[best];
        rill__types_name(type, t->key_type, t->value_type);
        rill__table_note(table, "Best of these: --sinks %u --window %u --cache-type %s", t->sinks,
                         t->window, type);
    }
    return note_types(e, table, err);
}

rill_status rill__sinks_by_memory(rill__sinks_eval *e, uint32_t sinks, rill_error *err) {
    static search s;  // not for the stack
    rill_error failed;
    s = (search){.n = 0};
    rill_status status = look(e, sinks, &s, err);
    if (s.n_done == 0) return status;
    rill_status shown = show(e, &s, &failed);
    return rill__sinks_first_failure(status, err, shown, &failed);
}
