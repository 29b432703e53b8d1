// SPDX-License-Identifier: MIT
// rill eval latency: milliseconds a token and memory against the size of the cache (the paper's
// Figure 10).
//
// At each capacity the methods take turns, several runs of them, each with a stream of its own, so
// that a machine that grows hot or busy harms no one of them, and the process holds one stream at a
// time. Beside recompute a plain reading of as many tokens is timed: what a pass over the window
// costs whoever asks for it.
#include "cli/command.h"
#include "cli/evaluation.h"
#include "cli/terminal.h"

#include "eval/cost.h"
#include "eval/latency.h"

#include <stdio.h>

enum { KINDS = RILL_LATENCY_PREFILL + 1 };
static const double MS = 1000, MIB = 1048576;
enum { DEFAULT_TOKENS = 600, DEFAULT_RUNS = 3 };
static const uint32_t default_capacities[] = {256, 512, 1024, 2048, 4096};

enum {
    MODEL,
    CAPACITY,
    ATTENTION,
    SINKS,
    WINDOW,
    CACHE_TYPE,
    TIMED,
    P50,
    P99,
    WORST,
    LOW,
    HIGH,
    MEAN,
    FIRST,
    LAST,
    OF_STREAMING,
    OF_READING,
    ROOF,
    SHARE,
    EVICTED,
    CACHE,
    STREAM,
    RESIDENT,
    READS,
    FLOPS,
    COLUMNS
};
static const rill__column columns[COLUMNS] = {
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [CAPACITY] = {"capacity", "capacity", "tokens", RILL_COLUMN_COUNT, 0},
    [ATTENTION] = {"attention", "attention", NULL, RILL_COLUMN_TEXT, 0},
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [CACHE_TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0},
    [TIMED] = {"timed", "timed", NULL, RILL_COLUMN_COUNT, 0},
    [P50] = {"p50_seconds", "p50", "ms", RILL_COLUMN_MILLISECONDS, 2},
    [P99] = {"p99_seconds", "p99", "ms", RILL_COLUMN_MILLISECONDS, 2},
    [WORST] = {"worst_seconds", "worst", "ms", RILL_COLUMN_MILLISECONDS, 2},
    [LOW] = {"run_low_seconds", NULL, NULL, RILL_COLUMN_MILLISECONDS, 0},
    [HIGH] = {"run_high_seconds", NULL, NULL, RILL_COLUMN_MILLISECONDS, 0},
    [MEAN] = {"mean_seconds", NULL, NULL, RILL_COLUMN_MILLISECONDS, 0},
    [FIRST] = {"first_tenth_seconds", NULL, NULL, RILL_COLUMN_MILLISECONDS, 0},
    [LAST] = {"last_tenth_seconds", NULL, NULL, RILL_COLUMN_MILLISECONDS, 0},
    [OF_STREAMING] = {"of_streaming", "x streaming", NULL, RILL_COLUMN_REAL, 1},
    [OF_READING] = {"of_reading", "x reading", NULL, RILL_COLUMN_REAL, 2},
    [ROOF] = {"roof_seconds", "roof", "ms", RILL_COLUMN_MILLISECONDS, 2},
    [SHARE] = {"share", "share", NULL, RILL_COLUMN_SHARE, 0},
    [EVICTED] = {"evicted", "evicted", NULL, RILL_COLUMN_COUNT, 0},
    [CACHE] = {"cache_bytes", "takes", NULL, RILL_COLUMN_BYTES, 0},
    [STREAM] = {"stream_bytes", NULL, NULL, RILL_COLUMN_BYTES, 0},
    [RESIDENT] = {"resident_bytes", "process", NULL, RILL_COLUMN_BYTES, 0},
    [READS] = {"roof_bytes_per_second", NULL, NULL, RILL_COLUMN_REAL, 0},
    [FLOPS] = {"roof_flops_per_second", NULL, NULL, RILL_COLUMN_REAL, 0},
};

// One kind at one capacity, all runs.
typedef struct series {
    rill__latency_kind kind;
    size_t n;               // timed in each run
    double *seconds;        // [runs, n]
    rill__latency_run run;  // the latest
    uint32_t sinks, window;
    uint64_t evicted;   // in all runs
    uint64_t resident;  // most of all runs
    rill__latency_summary summary;
} series;

typedef struct latency_eval {
    rill__evaluation all;
    const rill__settings *s;
    rill_roof roof;
    rill__table *table;
    rill__latency_kind kinds[KINDS];  // what takes turns
    size_t n_kinds;
    const uint32_t *capacities;
    size_t n_capacities;
    series series[RILL_MAX_LIST * KINDS];  // [capacities, kinds]
    size_t done;                           // runs of all series
    rill__bar bar;
} latency_eval;

// How many tokens, or readings, a run of a kind times.
static size_t timed_in_a_run(const rill__settings *s, rill__latency_kind kind, uint32_t capacity) {
    size_t n = (size_t)((s->n_tokens + s->runs - 1) / s->runs);
    if (kind == RILL_LATENCY_RECOMPUTE || kind == RILL_LATENCY_PREFILL) return s->recompute_tokens;
    // Dense attention ends when its cache is full: what is timed is its last part.
    if (kind == RILL_LATENCY_DENSE && n > capacity / 2) n = capacity / 2;
    return n;
}

static void choose_kinds(latency_eval *e) {
    static const rill_method by_default[] = {RILL_METHOD_STREAMING, RILL_METHOD_DENSE,
                                             RILL_METHOD_RECOMPUTE};
    const rill__lists *l = &e->s->lists;
    const rill_method *methods = l->n_methods ? l->methods : by_default;
    size_t n = l->n_methods ? l->n_methods : sizeof by_default / sizeof *by_default;
    for (size_t i = 0; i < n; i++) {
        e->kinds[e->n_kinds++] = (rill__latency_kind)methods[i];
        if (methods[i] == RILL_METHOD_RECOMPUTE) e->kinds[e->n_kinds++] = RILL_LATENCY_PREFILL;
    }
}

static rill_status make_case(const latency_eval *e, const series *one, uint32_t capacity,
                             uint32_t run, rill__latency_case *c, rill_error *err) {
    *c = (rill__latency_case){
        .kind = one->kind, .stream = e->s->stream, .n = one->n, .seed = run, .roof = e->roof};
    if (one->kind != RILL_LATENCY_STREAMING) c->stream.sinks = 0;
    rill_status status = rill__capacity_fill(capacity, &c->stream, err);
    return status == RILL_OK ? rill__latency_resolve(e->all.session.model, c, err) : status;
}

// Whole runs as one work: each the same part of it.
static bool show_progress(void *user, uint64_t done, uint64_t total) {
    enum { PARTS = 1000 };
    latency_eval *e = user;
    size_t runs = e->n_capacities * e->n_kinds * e->s->runs;
    return rill__progress(&e->bar, e->done * PARTS + done * PARTS / total, runs * PARTS);
}

static rill_status run_one(latency_eval *e, series *one, uint32_t capacity, uint32_t run,
                           rill_error *err) {
    char name[64], input[160];
    rill__latency_case c;
    rill__case *journal = NULL;
    rill_status status = make_case(e, one, capacity, run, &c, err);
    if (status != RILL_OK) return status;
    snprintf(name, sizeof name, "%u-%s-%u", capacity, rill__latency_kind_name(one->kind), run + 1);
    snprintf(input, sizeof input, "%zu timed, chunk %u, %s", c.n, c.stream.chunk,
             rill_device_describe(e->all.session.device));
    status =
        rill__evaluation_case(&e->all, name, &c.stream, input, RILL_LATENCY_RECORD, &journal, err);
    if (status == RILL_OK)
        status =
            rill__latency_resume(e->all.session.model, &c, journal, one->seconds + run * one->n,
                                 &one->run, show_progress, e, err);
    rill__case_close(&journal);
    if (status != RILL_OK) return status;
    one->sinks = c.stream.sinks;
    one->window = c.stream.window;
    one->evicted += one->run.evictions;
    if (one->run.resident_bytes > one->resident) one->resident = one->run.resident_bytes;
    e->done++;
    return RILL_OK;
}

static series *series_at(latency_eval *e, size_t capacity, size_t kind) {
    return &e->series[capacity * e->n_kinds + kind];
}

static rill_status run_capacity(latency_eval *e, size_t index, rill_error *err) {
    uint32_t capacity = e->capacities[index];
    rill_status status = RILL_OK;
    for (size_t i = 0; i < e->n_kinds; i++) {
        series *one = series_at(e, index, i);
        one->kind = e->kinds[i];
        one->n = timed_in_a_run(e->s, one->kind, capacity);
        one->seconds = rill__calloc(e->s->runs * one->n, sizeof *one->seconds);
        if (!one->seconds) return rill__fail_memory(err, "times", e->s->runs * one->n);
    }
    for (uint32_t run = 0; run < e->s->runs && status == RILL_OK; run++)
        for (size_t i = 0; i < e->n_kinds && status == RILL_OK; i++)
            status = run_one(e, series_at(e, index, i), capacity, run, err);
    for (size_t i = 0; i < e->n_kinds && status == RILL_OK; i++) {
        series *one = series_at(e, index, i);
        status = rill__latency_summarize(one->seconds, e->s->runs, one->n, &one->summary, err);
    }
    return status;
}

// What the machine allows for what was timed: one token, or a pass over a whole window, whose
// tokens share the weights by the chunk and see half of the others in the mean.
static double roof_seconds(const latency_eval *e, const series *one) {
    const rill__latency_run *r = &one->run;
    const rill_model_info *info = &e->all.session.info;
    bool pass = one->kind == RILL_LATENCY_RECOMPUTE || one->kind == RILL_LATENCY_PREFILL;
    double held = (double)r->held_last;
    rill__token_work work = {1, ((double)r->held_first + held) / 2, 1};
    if (pass) work = (rill__token_work){r->chunk < held ? r->chunk : held, held / 2, 1 / held};
    double rate = rill__token_cost_at(info, r->key_type, r->value_type, &r->roof, work).rate;
    return (pass ? held : 1) / rate;
}

static const series *find(latency_eval *e, size_t capacity, rill__latency_kind kind) {
    for (size_t i = 0; i < e->n_kinds; i++)
        if (e->kinds[i] == kind) return series_at(e, capacity, i);
    return NULL;
}

static void add_row(latency_eval *e, size_t index, const series *one) {
    const rill__latency_summary *m = &one->summary;
    const series *streaming = find(e, index, RILL_LATENCY_STREAMING);
    const series *reading = find(e, index, RILL_LATENCY_PREFILL);
    double roof = roof_seconds(e, one);
    char types[RILL_TYPES_NAME];
    const struct {
        int column;
        double value;
    } cells[] = {
        {CAPACITY, e->capacities[index]},
        {SINKS, one->sinks},
        {WINDOW, one->window},
        {TIMED, (double)m->n},
        {P50, m->p50},
        {P99, m->p99},
        {WORST, m->worst},
        {LOW, m->low},
        {HIGH, m->high},
        {MEAN, m->mean},
        {FIRST, m->first},
        {LAST, m->last},
        {ROOF, roof},
        {SHARE, roof / m->p50},
        {EVICTED, (double)one->evicted},
        {CACHE, (double)one->run.cache_bytes},
        {STREAM, (double)one->run.stream_bytes},
        {RESIDENT, (double)one->resident},
        {READS, one->run.roof.read_bytes_per_second},
        {FLOPS, rill__roof_flops(&one->run.roof, e->all.session.info.weight_type)},
    };
    rill__table_row(e->table);
    rill__types_name(types, one->run.key_type, one->run.value_type);
    rill__table_text(e->table, MODEL, e->all.session.info.name);
    rill__table_text(e->table, ATTENTION, rill__latency_kind_name(one->kind));
    rill__table_text(e->table, CACHE_TYPE, types);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        rill__table_number(e->table, (size_t)cells[i].column, cells[i].value);
    if (streaming && streaming != one)
        rill__table_number(e->table, OF_STREAMING, m->p50 / streaming->summary.p50);
    if (reading && one->kind == RILL_LATENCY_RECOMPUTE)
        rill__table_number(e->table, OF_READING, m->p50 / reading->summary.p50);
}

// Figure 10 of the paper: time, and what the stream takes, against the size of the cache.
static rill_status draw(latency_eval *e, rill_error *err) {
    rill__figure *memory = NULL;
    rill_status status =
        rill__figure_new("Time of a token with a full cache (median)", "tokens in the cache",
                         "milliseconds", &e->all.figure, err);
    if (status == RILL_OK)
        status =
            rill__figure_new("Memory of the process", "tokens in the cache", "MiB", &memory, err);
    if (status != RILL_OK) return status;
    status = rill__evaluation_figure(&e->all, "memory", memory, err);
    if (status != RILL_OK) return status;
    rill__figure_log(e->all.figure, true, true);
    rill__figure_log(memory, true, false);
    rill__figure_from_zero(memory);
    for (size_t kind = 0; kind < e->n_kinds; kind++) {
        rill__figure_series(e->all.figure, rill__latency_kind_name(e->kinds[kind]));
        for (size_t i = 0; i < e->n_capacities; i++)
            rill__figure_point(e->all.figure, e->capacities[i],
                               series_at(e, i, kind)->summary.p50 * MS);
        if (e->kinds[kind] == RILL_LATENCY_PREFILL) continue;
        rill__figure_series(memory, rill__latency_kind_name(e->kinds[kind]));
        for (size_t i = 0; i < e->n_capacities; i++)
            rill__figure_point(memory, e->capacities[i],
                               (double)series_at(e, i, kind)->resident / MIB);
    }
    return RILL_OK;
}

static void describe(latency_eval *e) {
    const rill_model_info *info = &e->all.session.info;
    rill__table_title(e->table, "%s, %s, %s; it reads %.1f GB/s and computes %.0f G/s", info->name,
                      rill_type_name(info->weight_type),
                      rill_device_describe(e->all.session.device),
                      e->roof.read_bytes_per_second / 1e9,
                      rill__roof_flops(&e->roof, info->weight_type) / 1e9);
    static const char *const notes[] = {
        "A token's time runs from handing it over to the logits after it; none is left out.",
        "streaming, window: every token evicts one. dense: the last tokens until it is full.",
        "recompute passes over all visible tokens for each new one; prefill is a plain reading",
        "of as many by a fresh stream, timed in the same runs: x reading is one by the other.",
        "roof: what the measured bandwidth and arithmetic allow; share: how near p50 is to it.",
    };
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        rill__table_note(e->table, "%s", notes[i]);
}

static rill_status prepare(latency_eval *e, rill_error *err) {
    const rill__lists *l = &e->s->lists;
    e->bar.label = "latency";
    e->capacities = l->n_capacities ? l->capacities : default_capacities;
    e->n_capacities =
        l->n_capacities ? l->n_capacities : sizeof default_capacities / sizeof *default_capacities;
    choose_kinds(e);
    rill_status status = rill__evaluation_open(&e->all, "latency", e->s, err);
    if (status == RILL_OK)
        status =
            rill__evaluation_table(&e->all, NULL, columns, COLUMNS, RILL_TO_ALL, &e->table, err);
    if (status == RILL_OK) status = rill_device_measure(e->all.session.device, &e->roof, err);
    return status;
}

static rill_status measure(latency_eval *e, rill_error *err) {
    rill_status status = prepare(e, err);
    for (size_t i = 0; i < e->n_capacities && status == RILL_OK; i++)
        status = run_capacity(e, i, err);
    if (status != RILL_OK) return status;
    for (size_t i = 0; i < e->n_capacities; i++)
        for (size_t kind = 0; kind < e->n_kinds; kind++) add_row(e, i, series_at(e, i, kind));
    describe(e);
    status = draw(e, err);
    return status == RILL_OK ? rill__evaluation_write(&e->all, err) : status;
}

static int run(rill__settings *s) {
    static latency_eval e;  // room for all series: not for the stack
    rill_error err = {0};
    e.s = s;
    if (!s->n_tokens) s->n_tokens = DEFAULT_TOKENS;
    if (!rill__options_given(s, RILL_FOR_LATENCY, "runs")) s->runs = DEFAULT_RUNS;
    rill_status status = measure(&e, &err);
    for (size_t i = 0; i < sizeof e.series / sizeof *e.series; i++) rill__free(e.series[i].seconds);
    return rill__evaluation_close(&e.all, status, &err);
}

const rill__command rill__command_latency = {
    .name = "eval latency",
    .bit = RILL_FOR_LATENCY,
    .usage = "[MODEL | --synthetic SHAPE --type q8_0] [options]",
    .summary = "milliseconds a token and memory by size of the cache",
    .details =
        "Fills a cache of each --capacity, then times tokens one by one: half of them are done in\n"
        "p50, all but one of a hundred in p99, and the worst is the worst. Methods take turns,\n"
        "--runs of them. Recompute costs a pass over the whole window for each token, so it is\n"
        "timed over few, beside a plain reading of as many tokens in the same runs.",
    .max_positionals = 1,
    .run = run,
};
