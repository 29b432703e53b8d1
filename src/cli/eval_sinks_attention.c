// SPDX-License-Identifier: MIT
// Where attention goes: seen by a stream that keeps the first 16 tokens, so that each of them can
// be looked at however long the text is.
#include "cli/command.h"
#include "cli/eval_sinks.h"
#include "cli/terminal.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = 64 };

// The threshold as text, as it stands in attention.h.
#define TEXT_OF(number)    #number
#define THRESHOLD_(number) TEXT_OF(number)
#define THRESHOLD          THRESHOLD_(RILL_SINK_THRESHOLD)

enum { MODEL, PART, TOKEN, TEXT, MEAN, SHARE, LAYER, HEAD, MOST, COLUMNS };
static const rill__column columns[COLUMNS] = {
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [PART] = {"position", "position", NULL, RILL_COLUMN_TEXT, 0},
    [TOKEN] = {"token", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [TEXT] = {"text", "text", NULL, RILL_COLUMN_TEXT, 0},
    [MEAN] = {"attention", "attention", "mean", RILL_COLUMN_SHARE, 2},
    [SHARE] = {"sink_heads", "heads above", THRESHOLD, RILL_COLUMN_SHARE, 1},
    [MOST] = {"most", "most", "of a head", RILL_COLUMN_SHARE, 1},
    [LAYER] = {"layer", "in layer", NULL, RILL_COLUMN_COUNT, 0},
    [HEAD] = {"head", "head", NULL, RILL_COLUMN_COUNT, 0},
};

// For machines: each head by itself.
enum { HEAD_MODEL, HEAD_LAYER, HEAD_HEAD, HEAD_PART, HEAD_MEAN, HEAD_COLUMNS };
static const rill__column head_columns[HEAD_COLUMNS] = {
    [HEAD_MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [HEAD_LAYER] = {"layer", "layer", NULL, RILL_COLUMN_COUNT, 0},
    [HEAD_HEAD] = {"head", "head", NULL, RILL_COLUMN_COUNT, 0},
    [HEAD_PART] = {"position", "position", NULL, RILL_COLUMN_TEXT, 0},
    [HEAD_MEAN] = {"attention", "attention", NULL, RILL_COLUMN_SHARE, 2},
};

static void part_name(uint32_t part, char out[16]) {
    if (part == RILL_ATTENTION_REST)
        snprintf(out, 16, "later");
    else if (part == RILL_ATTENTION_NOBODY)
        snprintf(out, 16, "no token");
    else
        snprintf(out, 16, "%u", part);
}

static rill_stream_options stream_options(const rill__sinks_eval *e) {
    uint32_t half = e->capacity / 2;
    rill__sinks_trial t = {.key_type = e->key_type, .value_type = e->value_type};
    t.sinks = half > RILL_ATTENTION_POSITIONS ? RILL_ATTENTION_POSITIONS : half;
    t.window = e->capacity - t.sinks;
    return rill__sinks_stream(e, &t);
}

// What is watched: the first n tokens, with a stream of these options.
typedef struct watching {
    rill__sinks_eval *e;
    rill_stream_options options;
    size_t n;
} watching;

// `values` are those of e->attention, where the stream's rows are added.
static rill_status watch(void *user, void *values, size_t n_values, rill_error *err) {
    const watching *w = user;
    rill_stream *stream = NULL;
    rill__bar bar = {.label = "attention", .unit = "tokens"};
    (void)values, (void)n_values;
    rill_status status = rill_stream_open(w->e->all.session.model, &w->options, &stream, err);
    if (status == RILL_OK)
        status = rill_stream_observe(stream, rill__attention_add, w->e->attention, err);
    for (size_t done = 0; done < w->n && status == RILL_OK;) {
        size_t piece = w->n - done < PIECE ? w->n - done : PIECE;
        status = rill_stream_feed(stream, w->e->tokens + done, piece, NULL, err);
        done += piece;
        if (status == RILL_OK && !rill__progress(&bar, done, w->n) && done < w->n)
            status = rill__fail(err, RILL_EINTERRUPTED, "interrupted");
    }
    rill_stream_close(&stream);
    return status;
}

// From the journal, or by watching.
static rill_status fill(rill__sinks_eval *e, size_t n, rill_error *err) {
    watching w = {.e = e, .options = stream_options(e), .n = n};
    rill__case *journal = NULL;
    char input[160], name[80], type[RILL_TYPES_NAME];
    size_t n_values;
    double *values = rill__attention_values(e->attention, &n_values);
    rill__types_name(type, e->key_type, e->value_type);
    // All that may be asked for otherwise with the same text is in the name.
    snprintf(name, sizeof name, "attention %u+%u %s %zu", w.options.sinks, w.options.window, type,
             n);
    snprintf(input, sizeof input, "%s, attention of the first %zu", e->input, n);
    rill_status status = rill__evaluation_stream_case(&e->all, name, &w.options, input,
                                                      sizeof *values, &journal, err);
    if (status == RILL_OK) status = rill__case_once(journal, values, n_values, watch, &w, err);
    rill__case_close(&journal);
    rill__progress_clear();
    return status;
}

static void add_row(const rill__sinks_eval *e, rill__table *table, uint32_t part) {
    const rill_model_info *info = &e->all.session.info;
    char text[64];
    double most = -1;
    uint32_t layer = 0, head = 0;
    for (uint32_t i = 0; i < info->n_layers * info->n_heads; i++) {
        double mean =
            rill__attention_mean(e->attention, i / info->n_heads, i % info->n_heads, part);
        if (mean <= most) continue;
        most = mean;
        layer = i / info->n_heads;
        head = i % info->n_heads;
    }
    rill__table_row(table);
    rill__table_text(table, MODEL, info->name);
    part_name(part, text);
    rill__table_text(table, PART, text);
    if (part < RILL_ATTENTION_POSITIONS) {
        rill__table_number(table, TOKEN, e->tokens[part]);
        rill__sinks_show_token(e, e->tokens[part], text, sizeof text);
        rill__table_text(table, TEXT, text);
        rill__table_number(table, SHARE, rill__attention_sink_share(e->attention, part));
    }
    rill__table_number(table, MEAN, rill__attention_mean_of_all(e->attention, part));
    rill__table_number(table, MOST, most);
    rill__table_number(table, LAYER, layer);
    rill__table_number(table, HEAD, head);
}

static void add_heads(const rill__sinks_eval *e, rill__table *table) {
    const rill_model_info *info = &e->all.session.info;
    for (uint32_t layer = 0; layer < info->n_layers; layer++)
        for (uint32_t head = 0; head < info->n_heads; head++)
            for (uint32_t part = 0; part < RILL_ATTENTION_PARTS; part++) {
                char name[16];
                part_name(part, name);
                rill__table_row(table);
                rill__table_text(table, HEAD_MODEL, info->name);
                rill__table_number(table, HEAD_LAYER, layer);
                rill__table_number(table, HEAD_HEAD, head);
                rill__table_text(table, HEAD_PART, name);
                rill__table_number(table, HEAD_MEAN,
                                   rill__attention_mean(e->attention, layer, head, part));
            }
}

static rill_status draw_heads(rill__sinks_eval *e, rill_error *err) {
    const rill_model_info *info = &e->all.session.info;
    size_t n = (size_t)info->n_layers * info->n_heads;
    double *values = rill__calloc(n, sizeof *values);
    if (!values) return rill__fail_memory(err, "a figure", n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = rill__attention_mean(e->attention, (uint32_t)(i / info->n_heads),
                                         (uint32_t)(i % info->n_heads), 0);
    rill__figure *figure = NULL;
    rill_status status =
        rill__figure_new("Attention to the first token of the text", "head", "layer", &figure, err);
    if (status == RILL_OK) {
        rill__figure_heat(figure, values, info->n_layers, info->n_heads, "mean attention");
        status = rill__evaluation_figure(&e->all, "heads", figure, err);
    }
    rill__free(values);
    return status;
}

static rill_status draw_positions(rill__sinks_eval *e, rill_error *err) {
    rill__figure *figure = NULL;
    rill_status status =
        rill__figure_new("Attention by position", "position in the text", "share", &figure, err);
    if (status == RILL_OK) status = rill__evaluation_figure(&e->all, "positions", figure, err);
    if (status != RILL_OK) return status;
    rill__figure_from_zero(figure);
    rill__figure_series(figure, "mean attention");
    for (uint32_t i = 0; i < RILL_ATTENTION_POSITIONS; i++)
        rill__figure_point(figure, i, rill__attention_mean_of_all(e->attention, i));
    rill__figure_series(figure, "heads that give it more than " THRESHOLD);
    for (uint32_t i = 0; i < RILL_ATTENTION_POSITIONS; i++)
        rill__figure_point(figure, i, rill__attention_sink_share(e->attention, i));
    return RILL_OK;
}

rill_status rill__sinks_observe(rill__sinks_eval *e, rill_error *err) {
    const rill_model_info *info = &e->all.session.info;
    rill__table *table, *heads;
    size_t n = e->text.n_head + e->text.n_body;
    if (n > e->all.s->observe) n = e->all.s->observe;
    rill_status status = rill__attention_new(info->n_layers, info->n_heads, &e->attention, err);
    if (status == RILL_OK) status = fill(e, n, err);
    if (rill__evaluation_goes_on(status)) {
        rill__warn("attention is not looked at: %s", err->message);
        rill__attention_free(&e->attention);
        return RILL_OK;
    }
    if (status == RILL_OK)
        status = rill__evaluation_table(&e->all, "positions", columns, COLUMNS, RILL_TO_ALL, &table,
                                        err);
    if (status == RILL_OK)
        status = rill__evaluation_table(&e->all, "heads", head_columns, HEAD_COLUMNS,
                                        RILL_TO_JSON | RILL_TO_CSV, &heads, err);
    if (status != RILL_OK) return status;
    rill__table_title(table, "%s: where attention goes, over %zu tokens, %u layers of %u heads",
                      info->name, n, info->n_layers, info->n_heads);
    for (uint32_t part = 0; part < RILL_ATTENTION_PARTS; part++)
        if (part != RILL_ATTENTION_NOBODY || rill__attention_mean_of_all(e->attention, part) > 1e-6)
            add_row(e, table, part);
    rill__table_note(table,
                     "The mean over all tokens that see it, itself among them; the first %u are "
                     "always kept here.",
                     stream_options(e).sinks);
    rill__table_note(table, "A head that gives a token more than " THRESHOLD
                            " in this mean has it as its sink.");
    add_heads(e, heads);
    status = draw_heads(e, err);
    return status == RILL_OK ? draw_positions(e, err) : status;
}
