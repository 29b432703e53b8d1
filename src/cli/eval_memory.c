// SPDX-License-Identifier: MIT
// rill eval memory: the bytes of a cache that keeps a whole text, and of one that never grows.
#include "cli/command.h"
#include "cli/evaluation.h"

#include "eval/memory.h"

#include <stdio.h>

enum { DEFAULT_CAPACITY = 2048 };
static const uint64_t default_lengths[] = {1000, 10000, 100000, 1000000, 10000000};
static const double MIB = 1048576;

// Columns of the table, in order.
enum {
    MODEL,
    TYPE,
    TOKENS,
    TOKEN_BYTES,
    DENSE,
    SINKS,
    WINDOW,
    CACHE,
    STREAMING,
    TAKEN,
    SAVED,
    COLUMNS
};
static const rill__column columns[COLUMNS] = {
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0},
    [TOKENS] = {"tokens", "tokens", NULL, RILL_COLUMN_COUNT, 0},
    [TOKEN_BYTES] = {"token_bytes", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [DENSE] = {"dense_bytes", "all kept", NULL, RILL_COLUMN_BYTES, 0},
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [CACHE] = {"streaming", "streaming", "sinks+window", RILL_COLUMN_TEXT, 0},
    [STREAMING] = {"streaming_bytes", "keeps", NULL, RILL_COLUMN_BYTES, 0},
    [TAKEN] = {"taken_bytes", "takes", "with its chunk", RILL_COLUMN_BYTES, 0},
    [SAVED] = {"saved", "saved", NULL, RILL_COLUMN_SHARE, 2},
};

typedef struct memory_eval {
    rill__evaluation all;
    const rill_model_info *model;  // of a model, or a shape
    const rill__lists *lists;
    const uint64_t *lengths;
    size_t n_lengths;
    rill__table *table;
} memory_eval;

// What is compared with a full cache.
typedef struct choice {
    rill_stream_options stream;
    uint64_t taken;  // bytes that a stream of the model takes; 0 for a shape
    char type[RILL_TYPES_NAME], name[32];
} choice;

static rill_status fill_choice(const memory_eval *e, size_t i, choice *c, rill_error *err) {
    uint32_t trained = e->model->trained_context;
    rill__combination given = rill__combination_at(e->lists, i);
    rill_stream_bytes bytes;
    *c = (choice){.stream = e->all.s->stream};
    rill_stream_options *o = &c->stream;
    o->sinks = RILL_DEFAULT_SINKS;
    o->default_types = false;
    o->key_type = o->value_type = e->all.s->device.exact ? RILL_TYPE_F32 : RILL_TYPE_F16;
    rill_status status = rill__combination_fill(&given, o, err);
    if (status == RILL_OK && !given.window && !given.capacity)
        status = rill__capacity_fill(trained ? trained : DEFAULT_CAPACITY, o, err);
    if (status != RILL_OK) return status;
    snprintf(c->name, sizeof c->name, "%u+%u", o->sinks, o->window);
    rill__types_name(c->type, o->key_type, o->value_type);
    if (!e->all.session.model) return RILL_OK;
    status = rill_stream_estimate(e->all.session.model, o, NULL, &bytes, err);
    if (status == RILL_OK) c->taken = bytes.cache;
    return status;
}

static void add_row(memory_eval *e, const choice *c, uint64_t tokens, const rill__memory *m) {
    rill__table_row(e->table);
    rill__table_text(e->table, MODEL, e->model->name);
    rill__table_text(e->table, TYPE, c->type);
    rill__table_number(e->table, TOKENS, (double)tokens);
    rill__table_number(e->table, TOKEN_BYTES, (double)m->token_bytes);
    rill__table_number(e->table, DENSE, (double)m->dense_bytes);
    rill__table_number(e->table, SINKS, c->stream.sinks);
    rill__table_number(e->table, WINDOW, c->stream.window);
    rill__table_text(e->table, CACHE, c->name);
    rill__table_number(e->table, STREAMING, (double)m->streaming_bytes);
    if (c->taken) rill__table_number(e->table, TAKEN, (double)c->taken);
    rill__table_number(e->table, SAVED, m->saved);
}

static rill_status add_choice(memory_eval *e, const choice *c, bool first_of_type,
                              rill_error *err) {
    rill__memory m[RILL_MAX_LIST];
    char name[96];
    for (size_t i = 0; i < e->n_lengths; i++) {
        const rill__memory_case one = {.key_type = c->stream.key_type,
                                       .value_type = c->stream.value_type,
                                       .tokens = e->lengths[i],
                                       .sinks = c->stream.sinks,
                                       .window = c->stream.window};
        rill_status status = rill__memory_compare(e->model, &one, &m[i], err);
        if (status != RILL_OK) return status;
        add_row(e, c, e->lengths[i], &m[i]);
    }
    if (first_of_type) {
        snprintf(name, sizeof name, "all kept, %s", c->type);
        rill__figure_series(e->all.figure, name);
        for (size_t i = 0; i < e->n_lengths; i++)
            rill__figure_point(e->all.figure, (double)e->lengths[i],
                               (double)m[i].dense_bytes / MIB);
    }
    snprintf(name, sizeof name, "streaming %s, %s", c->name, c->type);
    rill__figure_series(e->all.figure, name);
    for (size_t i = 0; i < e->n_lengths; i++)
        rill__figure_point(e->all.figure, (double)e->lengths[i],
                           (double)m[i].streaming_bytes / MIB);
    return RILL_OK;
}

static rill_status compare_all(memory_eval *e, rill_error *err) {
    const rill__lists *l = e->lists;
    rill_status status = RILL_OK;
    for (size_t i = 0; i < rill__combinations(l) && status == RILL_OK; i++) {
        choice c;
        status = fill_choice(e, i, &c, err);
        // Types change fastest: the first rows have one of each.
        if (status == RILL_OK) status = add_choice(e, &c, i == 0 || i < l->n_types, err);
    }
    return status;
}

static rill_status measure(memory_eval *e, const rill__settings *s, rill_error *err) {
    const rill__lists *l = e->lists = &s->lists;
    e->lengths = l->n_lengths ? l->lengths : default_lengths;
    e->n_lengths = l->n_lengths ? l->n_lengths : sizeof default_lengths / sizeof *default_lengths;
    rill_status status = rill__evaluation_open(&e->all, "memory", s, err);
    e->model = &e->all.session.info;
    if (status == RILL_OK)
        status =
            rill__evaluation_table(&e->all, NULL, columns, COLUMNS, RILL_TO_ALL, &e->table, err);
    if (status == RILL_OK)
        status = rill__figure_new("Keys and values of a text", "tokens of the text", "MiB",
                                  &e->all.figure, err);
    if (status != RILL_OK) return status;
    rill__figure_log(e->all.figure, true, true);
    rill__table_title(e->table, "%s: keys and values of a text", e->model->name);
    status = compare_all(e, err);
    rill__table_note(e->table, "1 MiB is 1,048,576 bytes, what write-ups of the method call MB. A "
                               "text shorter than");
    rill__table_note(e->table, "the cache takes more instead: streaming takes all its memory at "
                               "once, and never more.");
    rill__table_note(e->table, "saved counts what is kept; a stream takes some rows more, to read "
                               "many tokens at once.");
    return status == RILL_OK ? rill__evaluation_write(&e->all, err) : status;
}

static int run(rill__settings *s) {
    memory_eval e = {0};
    rill_error err = {0};
    rill_status status = measure(&e, s, &err);
    return rill__evaluation_close(&e.all, status, &err);
}

const rill__command rill__command_memory = {
    .name = "eval memory",
    .bit = RILL_FOR_MEMORY,
    .usage = "[MODEL | --shape SHAPE] [options]",
    .summary = "bytes of keys and values by length of the text",
    .details =
        "What a cache takes that keeps a whole text, beside one of some sinks and a window, for\n"
        "texts of --lengths tokens. A configuration for each combination of the lists. --shape\n"
        "asks about a model one does not have: layers=24,hidden=768,heads=12.",
    .max_positionals = 1,
    .run = run,
};
