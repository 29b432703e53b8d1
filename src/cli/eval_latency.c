// SPDX-License-Identifier: MIT
// rill eval latency: milliseconds a token and memory against the size of the cache.
//
// At each capacity the methods take turns, several runs of them, each with a stream of its own, so
// that a machine that grows hot or busy harms no one of them, and the process holds one stream at a
// time. Beside recompute a plain reading of as many tokens is timed: what a pass over the window
// costs whoever asks for it.
#include "cli/eval_latency.h"

#include "cli/command.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_TOKENS = 600, DEFAULT_RUNS = 3 };
static const uint32_t default_capacities[] = {256, 512, 1024, 2048, 4096};

// ---- Plan -----------------------------------------------------------------------------------

// How many tokens, or readings, a run of a kind times.
static size_t timed_in_a_run(const rill__latency_evaluation *e, rill__latency_kind kind,
                             uint32_t capacity) {
    size_t n = (size_t)((e->n_tokens + e->n_runs - 1) / e->n_runs);
    if (kind == RILL_LATENCY_RECOMPUTE || kind == RILL_LATENCY_PREFILL)
        return e->all.s->recompute_tokens;
    // Dense attention ends when its cache is full: what is timed is its last part.
    if (kind == RILL_LATENCY_DENSE && n > capacity / 2) n = capacity / 2;
    return n;
}

static void choose_kinds(rill__latency_evaluation *e) {
    static const rill_method by_default[] = {RILL_METHOD_STREAMING, RILL_METHOD_DENSE,
                                             RILL_METHOD_RECOMPUTE};
    const rill__lists *l = &e->all.s->lists;
    const rill_method *methods = l->n_methods ? l->methods : by_default;
    size_t n = l->n_methods ? l->n_methods : sizeof by_default / sizeof *by_default;
    for (size_t i = 0; i < n; i++) {
        e->kinds[e->n_kinds++] = (rill__latency_kind)methods[i];
        if (methods[i] == RILL_METHOD_RECOMPUTE) e->kinds[e->n_kinds++] = RILL_LATENCY_PREFILL;
    }
}

static void fail_series(rill__latency_series *one, rill_status status, const rill_error *err) {
    one->status = status;
    snprintf(one->message, sizeof one->message, "%s", err->message);
}

// What is out of range ends it all, before anything is timed; what is too large is a row.
static rill_status plan_series(rill__latency_evaluation *e, size_t group, size_t kind,
                               rill_error *err) {
    const rill__combination given = rill__combination_at(&e->groups_of, group);
    rill__latency_series *one = &e->groups[group].series[kind];
    rill__latency_case *c = &one->plan;
    e->groups[group].capacity = *given.capacity;
    c->kind = e->kinds[kind];
    c->n = timed_in_a_run(e, c->kind, *given.capacity);
    c->stream = e->all.s->stream;
    if (c->kind != RILL_LATENCY_STREAMING) c->stream.sinks = 0;
    rill_status status = rill__combination_fill(&given, &c->stream, err);
    if (status == RILL_OK) status = rill__latency_resolve(e->all.session.model, c, err);
    if (rill__evaluation_goes_on(status)) {
        fail_series(one, status, err);
        return RILL_OK;
    }
    if (status == RILL_OK) e->total += e->n_runs * rill__latency_work(c);
    return status;
}

static rill_status plan(rill__latency_evaluation *e, rill_error *err) {
    const rill__lists *l = &e->all.s->lists;
    rill_status status = RILL_OK;
    e->groups_of = *l;
    e->groups_of.n_methods = 0;  // those take turns
    if (!l->n_capacities) {
        e->groups_of.n_capacities = sizeof default_capacities / sizeof *default_capacities;
        memcpy(e->groups_of.capacities, default_capacities, sizeof default_capacities);
    }
    choose_kinds(e);
    e->n_groups = rill__combinations(&e->groups_of);
    e->groups = rill__calloc(e->n_groups, sizeof *e->groups);
    if (!e->groups) return rill__fail_memory(err, "times", e->n_groups * sizeof *e->groups);
    for (size_t i = 0; i < e->n_groups * e->n_kinds && status == RILL_OK; i++)
        status = plan_series(e, i / e->n_kinds, i % e->n_kinds, err);
    return status;
}

// ---- Measuring ------------------------------------------------------------------------------

static bool show_progress(void *user, uint64_t done, uint64_t total) {
    rill__latency_evaluation *e = user;
    (void)total;
    return rill__progress(&e->bar, e->done + done, e->total);
}

static rill_status run_case(rill__latency_evaluation *e, const rill__latency_group *group,
                            rill__latency_series *one, uint32_t run, rill_error *err) {
    char name[96], input[512], types[RILL_TYPES_NAME];
    rill__latency_case c = one->plan;
    rill__job job = {.progress = show_progress, .user = e};
    c.seed = run;
    c.roof = e->roof;
    rill__types_name(types, c.stream.key_type, c.stream.value_type);
    snprintf(name, sizeof name, "%u-%s-%s-%u", group->capacity, rill__latency_kind_name(c.kind),
             types, run + 1);
    snprintf(input, sizeof input, "%zu timed, chunk %u, %s", c.n, c.stream.chunk,
             rill_device_describe(e->all.session.device));
    rill_status status = rill__evaluation_stream_case(&e->all, name, &c.stream, input,
                                                      rill__latency_record(&c), &job.journal, err);
    bool recalled = rill__case_finished(job.journal);
    if (status == RILL_OK)
        status = rill__latency_resume(e->all.session.model, &c, &job, one->seconds + run * c.n,
                                      &one->run, err);
    rill__case_close(&job.journal);
    if (status != RILL_OK) return status;
    // What was read from the journal is not work.
    if (recalled)
        e->total -= rill__latency_work(&c);
    else
        e->done += rill__latency_work(&c);
    return RILL_OK;
}

static rill_status run_one(rill__latency_evaluation *e, size_t i, size_t kind, uint32_t run,
                           rill_error *err) {
    rill__latency_group *group = &e->groups[i];
    rill__latency_series *one = &group->series[kind];
    char label[96];
    rill__latency_label(e, group, kind, label, sizeof label);
    rill__evaluation_title(e->title, sizeof e->title, label, i, e->n_groups);
    if (!one->seconds) one->seconds = rill__calloc(e->n_runs * one->plan.n, sizeof *one->seconds);
    rill_status status =
        one->seconds ? run_case(e, group, one, run, err)
                     : rill__fail_memory(err, "times", e->n_runs * one->plan.n * sizeof(double));
    if (status == RILL_OK) {
        one->n_runs++;
        one->evicted += one->run.evictions;
        if (one->run.resident_bytes > one->resident) one->resident = one->run.resident_bytes;
    } else {
        fail_series(one, status, err);
        e->total -= (e->n_runs - one->n_runs) * rill__latency_work(&one->plan);
    }
    return status;
}

// In turns; a series that fails as memory does stops no other.
static rill_status run_group(rill__latency_evaluation *e, size_t i, rill_error *err) {
    for (uint32_t run = 0; run < e->n_runs; run++)
        for (size_t kind = 0; kind < e->n_kinds; kind++) {
            if (e->groups[i].series[kind].status != RILL_OK) continue;
            rill_status status = run_one(e, i, kind, run, err);
            if (status != RILL_OK && !rill__evaluation_goes_on(status)) return status;
        }
    return RILL_OK;
}

static rill_status measure(void *user, size_t i, bool *any, rill_error *err) {
    rill__latency_evaluation *e = user;
    rill_status ended = run_group(e, i, err), failed = RILL_OK;
    const rill_error why = *err;
    bool finished = false;
    for (size_t kind = 0; kind < e->n_kinds; kind++) {
        rill__latency_series *one = &e->groups[i].series[kind];
        // The end of one is that of all that were not done.
        if (ended != RILL_OK && one->status == RILL_OK && one->n_runs < e->n_runs)
            fail_series(one, ended, &why);
        if (one->n_runs) {
            rill_status status =
                rill__latency_summarize(one->seconds, one->n_runs, one->plan.n, &one->summary, err);
            if (status != RILL_OK) {
                one->n_runs = 0;
                fail_series(one, status, err);
            }
        }
        *any = *any || one->n_runs;
        finished = finished || one->n_runs == e->n_runs;
        if (one->status != RILL_OK) failed = rill__fail(err, one->status, "%s", one->message);
    }
    if (ended != RILL_OK) *err = why;
    return ended != RILL_OK ? ended : finished ? RILL_OK : failed;
}

static rill_status prepare(rill__latency_evaluation *e, rill_error *err) {
    const rill__settings *s = e->all.s;
    e->bar = (rill__bar){.label = e->title, .unit = "tokens"};
    e->n_tokens = s->n_tokens ? s->n_tokens : DEFAULT_TOKENS;
    e->n_runs = rill__options_given(s, RILL_FOR_LATENCY, "runs") ? s->runs : DEFAULT_RUNS;
    rill_status status = plan(e, err);
    if (status == RILL_OK) status = rill__latency_begin(e, err);
    return status == RILL_OK ? rill_device_measure(e->all.session.device, &e->roof, err) : status;
}

static int run(rill__settings *s) {
    static const rill__evaluation_steps steps = {measure, rill__latency_show, rill__latency_finish};
    rill__latency_evaluation e = {0};
    rill_error err = {0};
    rill_status status = rill__evaluation_open(&e.all, "latency", s, &err);
    if (status == RILL_OK) status = prepare(&e, &err);
    if (status == RILL_OK) status = rill__evaluation_each(&e.all, e.n_groups, &steps, &e, &err);
    for (size_t i = 0; i < e.n_groups * RILL_LATENCY_KINDS && e.groups; i++)
        rill__free(e.groups[i / RILL_LATENCY_KINDS].series[i % RILL_LATENCY_KINDS].seconds);
    rill__free(e.groups);
    return rill__evaluation_close(&e.all, status, &err);
}

const rill__command rill__command_latency = {
    .name = "eval latency",
    .bit = RILL_FOR_LATENCY,
    .usage = "[MODEL | --synthetic SHAPE --type q8_0] [options]",
    .summary = "milliseconds a token and memory by size of the cache",
    .details =
        "Fills a cache of each --capacity and --cache-type, then times tokens one by one: half of\n"
        "them are done in p50, all but one of a hundred in p99, and the worst is the worst.\n"
        "Methods take turns, --runs of them. Recompute costs a pass over the whole window for "
        "each\n"
        "token, so it is timed over few, beside a plain reading of as many tokens in the same\n"
        "runs. One --sinks for all: time depends on how many tokens are kept, not on which. A\n"
        "configuration that does not fit into memory is left, and the others go on.",
    .max_positionals = 1,
    .run = run,
};
