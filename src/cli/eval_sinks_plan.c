// SPDX-License-Identifier: MIT
// What will be tried: all that the command line may have wrong is found here, before hours of work.
#include "cli/eval_sinks.h"

#include <inttypes.h>

static const uint32_t default_sinks[] = {0, 1, 2, 4, 8, 16};
static const rill_type default_types[] = {RILL_TYPE_F16, RILL_TYPE_Q8_0};

rill_stream_options rill__sinks_stream(const rill__sinks_eval *e, const rill__sinks_trial *t) {
    rill_stream_options o = e->all.s->stream;
    o.method = RILL_METHOD_STREAMING;
    o.default_types = false;
    o.key_type = t->key_type;
    o.value_type = t->value_type;
    o.sinks = t->sinks;
    o.window = t->window;
    return o;
}

// Whether the library takes these options; memory that is short is a result and no fault in them.
static rill_status check(const rill__sinks_eval *e, uint32_t sinks, rill_error *err) {
    const rill__sinks_trial t = {.sinks = sinks,
                                 .window = e->capacity - sinks,
                                 .key_type = e->key_type,
                                 .value_type = e->value_type};
    rill_stream_options o = rill__sinks_stream(e, &t);
    rill_stream_bytes bytes;
    rill_status status = rill_stream_estimate(e->all.session.model, &o, NULL, &bytes, err);
    return status == RILL_EINVAL ? status : RILL_OK;
}

static bool listed(const uint32_t *list, size_t n, uint32_t number) {
    for (size_t i = 0; i < n; i++)
        if (list[i] == number) return true;
    return false;
}

// Numbers of sinks: those given, each once, or the usual ones for which there is room.
static rill_status plan_counts(rill__sinks_eval *e, rill_error *err) {
    const rill__lists *l = &e->all.s->lists;
    const uint32_t *wanted = l->n_sinks ? l->sinks : default_sinks;
    size_t n = l->n_sinks ? l->n_sinks : sizeof default_sinks / sizeof *default_sinks;
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n && status == RILL_OK; i++) {
        bool room = wanted[i] < e->capacity;
        if (!room && l->n_sinks)
            return rill__fail(err, RILL_EINVAL, "--sinks: %u leave no room in a capacity of %u",
                              wanted[i], e->capacity);
        if (!room || listed(e->counts, e->n_counts, wanted[i])) continue;
        e->counts[e->n_counts++] = wanted[i];
        status = check(e, wanted[i], err);
    }
    return status;
}

uint32_t rill__sinks_least_count(const rill__sinks_eval *e) {
    uint32_t least = e->counts[0];
    for (size_t i = 1; i < e->n_counts; i++)
        if (e->counts[i] < least) least = e->counts[i];
    return least;
}

static void plan_types(rill__sinks_eval *e) {
    const rill__lists *l = &e->all.s->lists;
    e->n_types = l->n_types ? l->n_types : sizeof default_types / sizeof *default_types;
    for (size_t i = 0; i < e->n_types; i++) {
        e->key_types[i] = l->n_types ? l->key_types[i] : default_types[i];
        e->value_types[i] = l->n_types ? l->value_types[i] : default_types[i];
    }
}

rill_status rill__sinks_fits(const rill__sinks_eval *e, const rill__sinks_trial *t, uint64_t *least,
                             bool *fits, rill_error *err) {
    rill_stream_options o = rill__sinks_stream(e, t);
    rill_status status = rill__sinks_least(e->all.session.model, &o, least, err);
    *fits = status == RILL_OK && *least <= e->all.s->memory;
    return status;
}

// At least one of the types must fit, with as few sinks as will be tried.
static rill_status check_memory(const rill__sinks_eval *e, rill_error *err) {
    uint64_t smallest = UINT64_MAX;
    bool any = false;
    for (size_t i = 0; i < e->n_types; i++) {
        const rill__sinks_trial t = {.sinks = rill__sinks_least_count(e),
                                     .key_type = e->key_types[i],
                                     .value_type = e->value_types[i]};
        uint64_t least;
        bool fits;
        rill_status status = rill__sinks_fits(e, &t, &least, &fits, err);
        if (status != RILL_OK) return status;
        any = any || fits;
        if (least < smallest) smallest = least;
    }
    if (any) return RILL_OK;
    return rill__fail(err, RILL_EINVAL,
                      "--memory: %" PRIu64 " bytes: the smallest cache, with %u sinks, wants at "
                      "least %" PRIu64,
                      e->all.s->memory, rill__sinks_least_count(e), smallest);
}

rill_status rill__sinks_plan(rill__sinks_eval *e, rill_error *err) {
    const rill__settings *s = e->all.s;
    uint32_t trained = e->all.session.info.trained_context;
    rill_type plain = s->device.exact ? RILL_TYPE_F32 : RILL_TYPE_F16;
    e->capacity = s->capacity ? s->capacity : trained ? trained : 1024;
    e->key_type = s->lists.n_types ? s->lists.key_types[0] : plain;
    e->value_type = s->lists.n_types ? s->lists.value_types[0] : plain;
    if (s->lists.n_types > 1 && !s->memory)
        return rill__fail(err, RILL_EINVAL,
                          "--cache-type: several are for --memory to choose among: one is right "
                          "without it");
    rill_status status = plan_counts(e, err);
    plan_types(e);
    return status == RILL_OK && s->memory ? check_memory(e, err) : status;
}
