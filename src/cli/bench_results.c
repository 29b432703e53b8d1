// SPDX-License-Identifier: MIT
// What rill bench prints: a row's median over the rounds, lowest and highest, and what part it is
// of the roof (src/eval/cost.c) that was measured in the same rounds.
#include "cli/bench.h"

#include "eval/cost.h"
#include "eval/names.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CASE,
    MODEL,
    TYPE,
    TIER,
    THREADS,
    CACHE_TYPE,
    SINKS,
    WINDOW,
    TOKENS,
    STREAMS,
    BUSY,
    RATE,
    LOW,
    HIGH,
    RATIO,
    BYTES,
    READS,
    FLOPS,
    PEAK,
    PRODUCTS,
    ROOF,
    SHARE,
    LIMIT,
    RUNS,
    COLUMNS
};
static const rill__column columns[COLUMNS] = {
    [CASE] = {"case", "case", NULL, RILL_COLUMN_TEXT, 0},
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [TYPE] = {"type", "type", NULL, RILL_COLUMN_TEXT, 0},
    [TIER] = {"tier", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [THREADS] = {"threads", "threads", NULL, RILL_COLUMN_COUNT, 0},
    [CACHE_TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0},
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [TOKENS] = {"tokens", "tokens", NULL, RILL_COLUMN_COUNT, 0},
    [STREAMS] = {"streams", "streams", NULL, RILL_COLUMN_COUNT, 0},
    [BUSY] = {"busy", "busy", NULL, RILL_COLUMN_COUNT, 0},
    [RATE] = {"tokens_per_second", "tokens/s", NULL, RILL_COLUMN_REAL, 1},
    [LOW] = {"low", "lowest", NULL, RILL_COLUMN_REAL, 1},
    [HIGH] = {"high", "highest", NULL, RILL_COLUMN_REAL, 1},
    [RATIO] = {"ratio", "ratio", NULL, RILL_COLUMN_REAL, 2},
    [BYTES] = {"bytes_per_token", "reads", NULL, RILL_COLUMN_BYTES, 0},
    [READS] = {"roof_bytes_per_second", NULL, NULL, RILL_COLUMN_REAL, 0},
    [FLOPS] = {"flops_per_token", NULL, NULL, RILL_COLUMN_REAL, 0},
    [PEAK] = {"roof_flops_per_second", NULL, NULL, RILL_COLUMN_REAL, 0},
    [PRODUCTS] = {"products", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [ROOF] = {"roof_tokens_per_second", "roof", "tokens/s", RILL_COLUMN_REAL, 1},
    [SHARE] = {"share", "share", NULL, RILL_COLUMN_SHARE, 1},
    [LIMIT] = {"limit", "limit", NULL, RILL_COLUMN_TEXT, 0},
    [RUNS] = {"runs", NULL, NULL, RILL_COLUMN_COUNT, 0},
};

static const char *const case_names[] = {"command", "prefill", "decode", "recompute"};

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Sorts the values.
static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// ---- Costs ----------------------------------------------------------------------------------

// How many others a token of the text sees in the mean, once `capacity` are seen by each.
static double mean_visible(double n, double capacity) {
    return n <= capacity ? n / 2 : capacity - capacity * capacity / (2 * n);
}

static rill__token_cost cost_of(const rill__bench *b, const rill__bench_row *row,
                                const rill_roof *roof) {
    const rill__bench_machine *m = &b->machines[row->machine];
    const rill_stream_options *o = &row->options;
    bool recompute = row->kind == RILL_BENCH_RECOMPUTE;
    double capacity = (double)o->sinks + o->window, n = recompute ? capacity : row->tokens;
    rill__token_work work = {.together = 1,
                             .visible = capacity,
                             .outputs = 1,
                             .streams = row->n_streams,
                             .product = m->product};
    if (recompute || row->kind == RILL_BENCH_PREFILL) {
        work.together = o->chunk < n ? o->chunk : n;
        work.visible = mean_visible(n, capacity);
        work.outputs = 1 / n;
    }
    rill__token_cost c = rill__token_cost_at(&m->open.info, o->key_type, o->value_type, roof, work);
    if (recompute) {  // all of the window for one token
        c.bytes *= capacity;
        c.flops *= capacity;
        c.rate /= capacity;
    }
    return c;
}

// ---- Rows -----------------------------------------------------------------------------------

static void number(const rill__bench *b, int column, double value) {
    rill__table_number(b->all.tables[0].table, (size_t)column, value);
}

static void text(const rill__bench *b, int column, const char *value) {
    rill__table_text(b->all.tables[0].table, (size_t)column, value);
}

// What the rounds found. Shares and ratios are of one round each: their medians outlast a machine
// that is faster in one round than in another. `room` is for as many numbers as there were rounds.
static void add_rates(const rill__bench *b, const rill__bench_row *row, double *room) {
    const rill__bench_row *base = &b->rows[row->base];
    size_t n = b->n_done;
    for (size_t i = 0; i < n; i++) room[i] = row->rates[i];
    number(b, RATE, median(room, n));
    number(b, LOW, room[0]);
    number(b, HIGH, room[n - 1]);
    number(b, RUNS, (double)n);
    if (base == row) return;
    for (size_t i = 0; i < n; i++) room[i] = row->rates[i] / base->rates[i];
    number(b, RATIO, median(room, n));
}

static void add_roof(const rill__bench *b, const rill__bench_row *row, double *room) {
    const rill__bench_machine *m = &b->machines[row->machine];
    size_t n = b->n_done;
    rill_roof roof = {0};
    for (size_t i = 0; i < n; i++) room[i] = row->roofs[i].read_bytes_per_second;
    roof.read_bytes_per_second = median(room, n);
    for (size_t i = 0; i < n; i++) room[i] = rill__roof_flops(&row->roofs[i], m->product);
    double peak = median(room, n);
    for (size_t i = 0; i < n; i++) room[i] = row->rates[i] / cost_of(b, row, &row->roofs[i]).rate;
    number(b, SHARE, median(room, n));
    for (size_t i = 0; i < n; i++) room[i] = cost_of(b, row, &row->roofs[i]).rate;
    number(b, ROOF, median(room, n));
    roof.f32_flops_per_second = roof.bf16_flops_per_second = roof.int8_ops_per_second = peak;
    rill__token_cost c = cost_of(b, row, &roof);
    number(b, BYTES, c.bytes);
    number(b, READS, roof.read_bytes_per_second);
    number(b, FLOPS, c.flops);
    number(b, PEAK, peak);
    number(b, PRODUCTS, m->product.products);
    text(b, LIMIT, c.by_bytes ? "memory" : "arithmetic");
}

static void add_row(const rill__bench *b, const rill__bench_row *row, double *room) {
    const rill__bench_machine *m = &b->machines[row->machine];
    char types[RILL_TYPES_NAME];
    rill__table_row(b->all.tables[0].table);
    text(b, CASE, case_names[row->kind]);
    add_rates(b, row, room);
    if (row->kind == RILL_BENCH_COMMAND) return;
    rill__types_name(types, row->options.key_type, row->options.value_type);
    text(b, MODEL, m->open.info.name);
    text(b, TYPE, rill_type_name(m->open.info.weight_type));
    text(b, TIER, m->tier);
    number(b, THREADS, m->threads);
    text(b, CACHE_TYPE, types);
    number(b, SINKS, row->options.sinks);
    number(b, WINDOW, row->options.window);
    number(b, TOKENS, row->tokens);
    if (b->varied == RILL_BENCH_STREAMS) number(b, STREAMS, row->n_streams);
    if (b->varied == RILL_BENCH_BUSY) number(b, BUSY, row->busy);
    add_roof(b, row, room);
}

// ---- What stands around the table -----------------------------------------------------------

static const char *const ratio_notes[] = {
    [RILL_BENCH_NOTHING] = NULL,
    [RILL_BENCH_CACHE] = "ratio: to the first type of cache, round by round.",
    [RILL_BENCH_THREADS] = "ratio: to the first number of threads, round by round.",
    [RILL_BENCH_STREAMS] = "tokens/s: of all streams together; ratio: to the first number of them.",
    [RILL_BENCH_BUSY] = "ratio: what is kept of the speed without a busy process on the same "
                        "processors, round by round.",
};

static void add_notes(const rill__bench *b) {
    rill__table *table = b->all.tables[0].table;
    const rill__bench_row *last = &b->rows[b->n_rows - 1];
    const rill__bench_machine *m = &b->machines[last->machine];
    rill__table_title(table, "%s, %u sinks and a window of %u; %s", m->open.info.name,
                      last->options.sinks, last->options.window, m->description);
    for (size_t i = 0; i < b->n_machines; i++) {
        const rill__bench_machine *one = &b->machines[i];
        const rill_roof *r = &one->roof;
        rill__table_note(table,
                         "%s, %u thread%s, last round: reads %.1f GB/s; f32 %.0f, bf16 %.0f "
                         "Gflop/s, int8 %.0f Gop/s.",
                         rill_type_name(one->open.info.weight_type), one->threads,
                         one->threads == 1 ? "" : "s", r->read_bytes_per_second / 1e9,
                         r->f32_flops_per_second / 1e9, r->bf16_flops_per_second / 1e9,
                         r->int8_ops_per_second / 1e9);
    }
    rill__table_note(table,
                     "%zu round%s, in turns; the median counts. share: part of the roof of "
                     "the same round.",
                     b->n_done, b->n_done == 1 ? "" : "s");
    if (b->s->compare)
        rill__table_note(table, "ratio: to the speed of the command, round by round: %s",
                         b->s->compare);
    else if (b->s->compare_recompute)
        rill__table_note(table, "ratio: to a pass over the whole window for each token, round by "
                                "round.");
    else if (ratio_notes[b->varied])
        rill__table_note(table, "%s", ratio_notes[b->varied]);
}

rill_status rill__bench_show(rill__bench *b, rill_error *err) {
    rill__table *table;
    double *room = rill__calloc(b->n_done, sizeof *room);
    if (!room) return rill__fail_memory(err, "figures", b->n_done * sizeof *room);
    rill_status status =
        rill__evaluation_table(&b->all, NULL, columns, COLUMNS, RILL_TO_ALL, &table, err);
    if (status == RILL_OK) {
        for (size_t i = 0; i < b->n_rows; i++) add_row(b, &b->rows[i], room);
        add_notes(b);
        status = rill__evaluation_write(&b->all, err);
    }
    rill__free(room);
    return status;
}
