// SPDX-License-Identifier: MIT
// What rill eval latency prints and draws: a row for each kind at each capacity, and time and
// memory over the capacity (the paper's Figure 10).
#include "cli/eval_latency.h"

#include "eval/cost.h"

#include <stdio.h>

static const double MS = 1000, MIB = 1048576;

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
    ERROR,
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
    [ERROR] = {"error", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

void rill__latency_label(const rill__latency_evaluation *e, const rill__latency_group *group,
                         size_t kind, char *out, size_t capacity) {
    const rill_stream_options *o = &group->series[kind].plan.stream;
    char types[RILL_TYPES_NAME] = "";
    if (e->groups_of.n_types > 1) rill__types_name(types, o->key_type, o->value_type);
    snprintf(out, capacity, "%s %u%s%s", rill__latency_kind_name(e->kinds[kind]), group->capacity,
             *types ? " " : "", types);
}

// ---- Rows -----------------------------------------------------------------------------------

static rill_product product_of(const rill__latency_evaluation *e) {
    return rill_device_product(e->all.session.device, e->all.session.info.weight_type);
}

// What the machine allows for what was timed: one token, or a pass over a whole window, whose
// tokens share the weights by the chunk and see half of the others in the mean.
static double roof_seconds(const rill__latency_evaluation *e, const rill__latency_series *one) {
    const rill__latency_run *r = &one->run;
    const rill_model_info *info = &e->all.session.info;
    bool pass = one->plan.kind == RILL_LATENCY_RECOMPUTE || one->plan.kind == RILL_LATENCY_PREFILL;
    double held = (double)r->held_last;
    rill__token_work work = {.together = 1,
                             .visible = ((double)r->held_first + held) / 2,
                             .outputs = 1,
                             .streams = 1,
                             .product = product_of(e)};
    if (pass) {
        work.together = r->chunk < held ? r->chunk : held;
        work.visible = held / 2;
        work.outputs = 1 / held;
    }
    double rate = rill__token_cost_at(info, r->key_type, r->value_type, &r->roof, work).rate;
    return (pass ? held : 1) / rate;
}

// The series of a kind; NULL if it was not asked for, or has no times.
static const rill__latency_series *find(const rill__latency_evaluation *e,
                                        const rill__latency_group *group, rill__latency_kind kind) {
    for (size_t i = 0; i < e->n_kinds; i++)
        if (e->kinds[i] == kind && group->series[i].n_runs) return &group->series[i];
    return NULL;
}

static void add_times(const rill__latency_evaluation *e, const rill__latency_group *group,
                      const rill__latency_series *one) {
    const rill__latency_summary *m = &one->summary;
    const rill__latency_series *streaming = find(e, group, RILL_LATENCY_STREAMING);
    const rill__latency_series *reading = find(e, group, RILL_LATENCY_PREFILL);
    double roof = roof_seconds(e, one);
    const struct {
        int column;
        double value;
    } cells[] = {
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
        {FLOPS, rill__roof_flops(&one->run.roof, product_of(e))},
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        rill__table_number(e->table, (size_t)cells[i].column, cells[i].value);
    if (streaming && streaming != one)
        rill__table_number(e->table, OF_STREAMING, m->p50 / streaming->summary.p50);
    if (reading && one->plan.kind == RILL_LATENCY_RECOMPUTE)
        rill__table_number(e->table, OF_READING, m->p50 / reading->summary.p50);
}

void rill__latency_show(void *user, size_t i, rill_status status, const rill_error *err) {
    (void)status, (void)err;  // each series has its own
    rill__latency_evaluation *e = user;
    const rill__latency_group *group = &e->groups[i];
    e->n_done = i + 1;
    for (size_t kind = 0; kind < e->n_kinds; kind++) {
        const rill__latency_series *one = &group->series[kind];
        const rill_stream_options *o = &one->plan.stream;
        char types[RILL_TYPES_NAME], label[96];
        if (!one->n_runs && !rill__evaluation_goes_on(one->status)) continue;
        rill__types_name(types, o->key_type, o->value_type);
        rill__table_row(e->table);
        rill__table_text(e->table, MODEL, e->all.session.info.name);
        rill__table_number(e->table, CAPACITY, group->capacity);
        rill__table_text(e->table, ATTENTION, rill__latency_kind_name(e->kinds[kind]));
        rill__table_number(e->table, SINKS, o->sinks);
        rill__table_number(e->table, WINDOW, o->window);
        rill__table_text(e->table, CACHE_TYPE, types);
        if (one->n_runs) add_times(e, group, one);
        if (one->status == RILL_OK) continue;
        rill__latency_label(e, group, kind, label, sizeof label);
        rill__table_text(e->table, ERROR, one->message);
        rill__table_note(e->table, "%s did not finish: %s", label, one->message);
    }
}

rill_status rill__latency_begin(rill__latency_evaluation *e, rill_error *err) {
    return rill__evaluation_table(&e->all, NULL, columns, COLUMNS, RILL_TO_ALL, &e->table, err);
}

// ---- Figures, and what stands around the table ------------------------------------------------

// A curve over the capacities: one kind with one of the types.
static void add_curves(const rill__latency_evaluation *e, size_t kind, size_t type,
                       rill__figure *memory) {
    size_t n_types = e->groups_of.n_types ? e->groups_of.n_types : 1;
    const rill_stream_options *o = &e->groups[type].series[kind].plan.stream;
    char types[RILL_TYPES_NAME], name[64];
    rill__types_name(types, o->key_type, o->value_type);
    snprintf(name, sizeof name, n_types > 1 ? "%s, %s" : "%s",
             rill__latency_kind_name(e->kinds[kind]), types);
    rill__figure_series(e->all.figure, name);
    if (e->kinds[kind] != RILL_LATENCY_PREFILL) rill__figure_series(memory, name);
    for (size_t i = type; i < e->n_done; i += n_types) {
        const rill__latency_series *one = &e->groups[i].series[kind];
        if (!one->n_runs) continue;
        rill__figure_point(e->all.figure, e->groups[i].capacity, one->summary.p50 * MS);
        if (e->kinds[kind] != RILL_LATENCY_PREFILL)
            rill__figure_point(memory, e->groups[i].capacity, (double)one->resident / MIB);
    }
}

static rill_status draw(rill__latency_evaluation *e, rill_error *err) {
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
    // Types change fastest: the first groups have one of each.
    for (size_t kind = 0; kind < e->n_kinds; kind++)
        for (size_t type = 0; type < (e->groups_of.n_types ? e->groups_of.n_types : 1); type++)
            add_curves(e, kind, type, memory);
    return RILL_OK;
}

rill_status rill__latency_finish(void *user, rill_error *err) {
    rill__latency_evaluation *e = user;
    const rill_model_info *info = &e->all.session.info;
    static const char *const notes[] = {
        "A token's time runs from handing it over to the logits after it; none is left out.",
        "streaming, window: every token evicts one. dense: the last tokens until it is full.",
        "recompute passes over all visible tokens for each new one; prefill is a plain reading",
        "of as many by a fresh stream, timed in the same runs: x reading is one by the other.",
        "roof: what the measured bandwidth and arithmetic allow; share: how near p50 is to it.",
    };
    rill__table_title(e->table, "%s, %s, %s; it reads %.1f GB/s and computes %.0f G/s", info->name,
                      rill_type_name(info->weight_type),
                      rill_device_describe(e->all.session.device),
                      e->roof.read_bytes_per_second / 1e9,
                      rill__roof_flops(&e->roof, product_of(e)) / 1e9);
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        rill__table_note(e->table, "%s", notes[i]);
    return draw(e, err);
}
