// SPDX-License-Identifier: MIT
// What rill eval streameval prints and draws: accuracy by distance, by how much of the record could
// be seen, and by length of the stream.
#include "cli/eval_streameval.h"

#include "base/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CURVE_POINTS = 20 };

// What all tables begin with.
enum { MODEL, ATTENTION, SINKS, WINDOW, CACHE_TYPE, N_HEAD };
#define HEAD                                                                                       \
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},                                          \
    [ATTENTION] = {"attention", "attention", NULL, RILL_COLUMN_TEXT, 0},                           \
    [SINKS] = {"sinks", "sinks", NULL, RILL_COLUMN_COUNT, 0},                                      \
    [WINDOW] = {"window", "window", NULL, RILL_COLUMN_COUNT, 0},                                   \
    [CACHE_TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0}

// The main table: a row for each configuration and distance.
enum {
    DISTANCE = N_HEAD,
    TOKENS_BACK,
    CHARACTERS_BACK,
    QUESTIONS,
    ACCURACY,
    DIGITS,
    IN_CACHE,
    PARTLY,
    NOT_IN_CACHE,
    SECONDS,
    ERROR,
    N_COLUMNS,
};
static const rill__column columns[N_COLUMNS] = {
    HEAD,
    [DISTANCE] = {"distance", "distance", "lines", RILL_COLUMN_COUNT, 0},
    [TOKENS_BACK] = {"tokens_back", "", "tokens", RILL_COLUMN_REAL, 0},
    [CHARACTERS_BACK] = {"characters_back", "", "characters", RILL_COLUMN_REAL, 0},
    [QUESTIONS] = {"questions", "questions", NULL, RILL_COLUMN_COUNT, 0},
    [ACCURACY] = {"accuracy", "right", "answers", RILL_COLUMN_SHARE, 1},
    [DIGITS] = {"digit_accuracy", "", "digits", RILL_COLUMN_SHARE, 1},
    [IN_CACHE] = {"in_cache", "in cache", "wholly", RILL_COLUMN_SHARE, 1},
    [PARTLY] = {"partly_in_cache", "", "partly", RILL_COLUMN_SHARE, 1},
    [NOT_IN_CACHE] = {"out_of_cache", NULL, NULL, RILL_COLUMN_SHARE, 1},
    [SECONDS] = {"seconds", NULL, NULL, RILL_COLUMN_REAL, 1},
    [ERROR] = {"error", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

// All answers of a configuration, by how much of the record was in the cache.
enum { V_RECORD = N_HEAD, V_QUESTIONS, V_ACCURACY, V_DIGITS, N_VISIBLE };
static const rill__column visible_columns[N_VISIBLE] = {
    HEAD,
    [V_RECORD] = {"record_in_cache", "record in cache", NULL, RILL_COLUMN_TEXT, 0},
    [V_QUESTIONS] = {"questions", "questions", NULL, RILL_COLUMN_COUNT, 0},
    [V_ACCURACY] = {"accuracy", "right", "answers", RILL_COLUMN_SHARE, 1},
    [V_DIGITS] = {"digit_accuracy", "", "digits", RILL_COLUMN_SHARE, 1},
};

// And by how much had been read.
enum { L_RECORDS = N_HEAD, L_TOKENS, L_CHARACTERS, L_QUESTIONS, L_ACCURACY, L_DIGITS, N_LENGTH };
static const rill__column length_columns[N_LENGTH] = {
    HEAD,
    [L_RECORDS] = {"records", "read", "records", RILL_COLUMN_COUNT, 0},
    [L_TOKENS] = {"tokens", "", "tokens", RILL_COLUMN_COUNT, 0},
    [L_CHARACTERS] = {"characters", "", "characters", RILL_COLUMN_COUNT, 0},
    [L_QUESTIONS] = {"questions", "questions", NULL, RILL_COLUMN_COUNT, 0},
    [L_ACCURACY] = {"accuracy", "right", "answers", RILL_COLUMN_SHARE, 1},
    [L_DIGITS] = {"digit_accuracy", "", "digits", RILL_COLUMN_SHARE, 1},
};

typedef struct tables {
    rill__streameval_evaluation *e;
    rill__table *main, *visible, *length;
    rill__figure *by_distance, *by_length;  // the first is NULL where there is one distance
    bool in_tokens;                         // lengths; else in characters
} tables;

static const char *label(const rill__streameval_result *r) {
    return r->configuration ? r->configuration->label : "server";
}

// A row with its first cells.
static void begin_row(const tables *t, rill__table *table, const rill__streameval_result *r) {
    rill__table_row(table);
    rill__table_text(table, MODEL, t->e->shared.session.info.name);
    rill__table_text(table, ATTENTION,
                     r->configuration ? rill__method_name(r->configuration->stream.method)
                                      : "server");
    if (!r->configuration) return;
    rill__table_number(table, SINKS, r->configuration->stream.sinks);
    rill__table_number(table, WINDOW, r->configuration->stream.window);
    rill__table_text(table, CACHE_TYPE, r->configuration->types);
}

// ---- By distance ----------------------------------------------------------------------------

static void distance_row(const tables *t, const rill__streameval_result *r,
                         const rill__accuracy *sum, uint64_t distance) {
    double n = (double)sum->n, back = sum->back / n;
    begin_row(t, t->main, r);
    rill__table_number(t->main, DISTANCE, (double)distance);
    rill__table_number(t->main, t->in_tokens ? TOKENS_BACK : CHARACTERS_BACK, back);
    rill__table_number(t->main, QUESTIONS, n);
    rill__table_number(t->main, ACCURACY, rill__accuracy_exact(sum));
    rill__table_number(t->main, DIGITS, rill__accuracy_characters(sum));
    rill__table_number(t->main, IN_CACHE, (double)sum->visible[RILL_VISIBLE_WHOLLY] / n);
    rill__table_number(t->main, PARTLY, (double)sum->visible[RILL_VISIBLE_PARTLY] / n);
    rill__table_number(t->main, NOT_IN_CACHE, (double)sum->visible[RILL_VISIBLE_NOT] / n);
    rill__table_number(t->main, SECONDS, r->measured.seconds);
    if (t->by_distance) rill__figure_point(t->by_distance, back, 100 * rill__accuracy_exact(sum));
}

// Rows in the order of distances, whichever the questions came in.
static void add_distances(const tables *t, const rill__streameval_result *r) {
    const rill__streameval *m = &r->measured;
    uint64_t next = 0;
    if (t->by_distance) rill__figure_series(t->by_distance, label(r));
    for (bool more = m->n_answers > 0; more;) {
        rill__accuracy sum = {0};
        uint64_t distance = UINT64_MAX;
        for (size_t i = 0; i < m->n_answers; i++)
            if (m->answers[i].distance >= next && m->answers[i].distance < distance)
                distance = m->answers[i].distance;
        more = distance != UINT64_MAX;
        if (!more) return;
        for (size_t i = 0; i < m->n_answers; i++)
            if (m->answers[i].distance == distance) rill__accuracy_add(&sum, &m->answers[i]);
        distance_row(t, r, &sum, distance);
        next = distance + 1;
    }
}

static void add_failure(const tables *t, const rill__streameval_result *r) {
    if (r->status == RILL_OK) return;
    if (!r->measured.n_answers) begin_row(t, t->main, r);
    rill__table_text(t->main, ERROR, r->message);
    rill__table_note(t->main, "%s did not finish: %s", label(r), r->message);
}

// ---- By what could be seen, by length -------------------------------------------------------

static void add_visible(const tables *t, const rill__streameval_result *r) {
    static const char *const words[] = {"wholly", "partly", "not at all"};
    for (int v = 0; v < 3; v++) {
        rill__accuracy sum = {0};
        for (size_t i = 0; i < r->measured.n_answers; i++)
            if ((int)rill__answer_visibility(&r->measured.answers[i]) == v)
                rill__accuracy_add(&sum, &r->measured.answers[i]);
        if (!sum.n) continue;
        begin_row(t, t->visible, r);
        rill__table_text(t->visible, V_RECORD, words[v]);
        rill__table_number(t->visible, V_QUESTIONS, (double)sum.n);
        rill__table_number(t->visible, V_ACCURACY, rill__accuracy_exact(&sum));
        rill__table_number(t->visible, V_DIGITS, rill__accuracy_characters(&sum));
    }
}

static void add_length(const tables *t, const rill__streameval_result *r, uint64_t bucket) {
    const rill__streameval *m = &r->measured;
    if (t->by_length) rill__figure_series(t->by_length, label(r));
    for (size_t i = 0; i < m->n_answers;) {
        rill__accuracy sum = {0};
        uint64_t which = (m->answers[i].n_records - 1) / bucket;
        for (; i < m->n_answers && (m->answers[i].n_records - 1) / bucket == which; i++)
            rill__accuracy_add(&sum, &m->answers[i]);
        const rill__answer *last = &m->answers[i - 1];
        begin_row(t, t->length, r);
        rill__table_number(t->length, L_RECORDS, (double)last->n_records);
        rill__table_number(t->length, t->in_tokens ? L_TOKENS : L_CHARACTERS, (double)last->place);
        rill__table_number(t->length, L_QUESTIONS, (double)sum.n);
        rill__table_number(t->length, L_ACCURACY, rill__accuracy_exact(&sum));
        rill__table_number(t->length, L_DIGITS, rill__accuracy_characters(&sum));
        if (t->by_length)
            rill__figure_point(t->by_length, (double)last->place, 100 * rill__accuracy_exact(&sum));
    }
}

// ---- All ------------------------------------------------------------------------------------

// Of all answers; a configuration that failed may have none.
static bool one_distance(const rill__streameval_evaluation *e) {
    const rill__answer *first = NULL;
    for (size_t i = 0; i < e->n_done; i++) {
        const rill__streameval *m = &e->results[i].measured;
        for (size_t j = 0; j < m->n_answers; j++) {
            if (!first) first = &m->answers[j];
            if (m->answers[j].distance != first->distance) return false;
        }
    }
    return true;
}

static bool has_window(const rill__streameval_result *r) {
    return r->configuration && r->configuration->stream.method != RILL_METHOD_DENSE &&
           r->measured.n_answers;
}

// Where a record leaves each cache: when its first token is as far back as the window is long.
// Marks that would touch are one.
static void mark_windows(const tables *t) {
    for (size_t i = 0; i < t->e->n_done; i++) {
        const rill__streameval_result *results = t->e->results;
        const rill__eval_case *c = results[i].configuration;
        char text[48];
        bool again = !has_window(&results[i]);
        for (size_t j = 0; j < i && !again; j++)
            again = has_window(&results[j]) &&
                    fabs((double)results[j].configuration->stream.window - c->stream.window) <
                        0.03 * c->stream.window;
        if (again) continue;
        snprintf(text, sizeof text, "out of a window of %u", c->stream.window);
        rill__figure_mark(t->by_distance, c->stream.window, text);
    }
}

static rill_status new_figure(const tables *t, const char *x_label, rill__figure **out,
                              rill_error *err) {
    char title[160];
    snprintf(title, sizeof title, "%s, StreamEval", t->e->shared.session.info.name);
    rill_status status = rill__figure_new(title, x_label, "right answers, %", out, err);
    if (status == RILL_OK) rill__figure_from_zero(*out);
    return status;
}

static rill_status make_figures(tables *t, rill_error *err) {
    rill__streameval_evaluation *e = t->e;
    uint32_t trained = e->shared.session.info.trained_context;
    if (!e->shared.s->figure) return RILL_OK;
    bool one = one_distance(e);
    rill_status status = RILL_OK;
    if (!one) {
        status = new_figure(t, t->in_tokens ? "tokens back to the record" : "characters back",
                            &t->by_distance, err);
        if (status != RILL_OK) return status;
        e->shared.figure = t->by_distance;
        if (t->in_tokens) mark_windows(t);
    }
    status = new_figure(t, t->in_tokens ? "tokens read" : "characters read", &t->by_length, err);
    if (status != RILL_OK) return status;
    if (t->in_tokens && trained && trained < e->n_tokens)
        rill__figure_mark(t->by_length, trained, "trained context");
    if (!one) return rill__evaluation_figure(&e->shared, "by-length", t->by_length, err);
    e->shared.figure = t->by_length;
    return RILL_OK;
}

static rill_status make_tables(tables *t, rill_error *err) {
    rill__evaluation *e = &t->e->shared;
    bool buckets = e->s->bucket > 0;
    rill_status status =
        rill__evaluation_table(e, NULL, columns, N_COLUMNS, RILL_TO_ALL, &t->main, err);
    if (status == RILL_OK)
        status = rill__evaluation_table(e, "by-visibility", visible_columns, N_VISIBLE, RILL_TO_ALL,
                                        &t->visible, err);
    if (status == RILL_OK)
        status = rill__evaluation_table(e, "by-length", length_columns, N_LENGTH,
                                        buckets ? RILL_TO_ALL : RILL_TO_CSV, &t->length, err);
    if (status != RILL_OK) return status;
    char records[24], tokens[24];
    rill__number_grouped(records, sizeof records, t->e->facts.n_records);
    rill__number_grouped(tokens, sizeof tokens, t->e->n_tokens);
    if (t->e->n_tokens)
        rill__table_title(t->main, "StreamEval with %s: %s records, %s tokens",
                          e->session.info.name, records, tokens);
    else
        rill__table_title(t->main, "StreamEval with %s: %s records", e->session.info.name, records);
    rill__table_title(t->visible, "By how much of the record could be seen");
    if (buckets)
        rill__table_title(t->length, "By length of the stream, every %" PRIu64 " records",
                          e->s->bucket);
    return RILL_OK;
}

rill_status rill__streameval_show(void *user, rill_error *err) {
    rill__streameval_evaluation *e = user;
    tables t = {.e = e, .in_tokens = e->shared.session.model != NULL};
    uint64_t bucket = e->shared.s->bucket;
    if (!bucket) bucket = e->facts.n_records / CURVE_POINTS + 1;
    rill_status status = make_tables(&t, err);
    if (status == RILL_OK) status = make_figures(&t, err);
    for (size_t i = 0; i < e->n_done && status == RILL_OK; i++) {
        add_distances(&t, &e->results[i]);
        add_failure(&t, &e->results[i]);
        add_visible(&t, &e->results[i]);
        add_length(&t, &e->results[i], bucket);
    }
    if (e->shared.s->server)
        rill__table_note(t.main, "in cache: in the text that the server was sent");
    return status;
}
