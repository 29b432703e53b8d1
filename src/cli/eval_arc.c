// SPDX-License-Identifier: MIT
// rill eval arc: questions with choices, one after the other in one stream.
#include "cli/command.h"
#include "cli/evaluation.h"
#include "cli/terminal.h"

#include "eval/arc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CURVE_POINTS = 200 };

// What both tables begin with.
enum { MODEL, MODE, ATTENTION, SINKS, WINDOW, CACHE_TYPE, N_HEAD };
#define HEAD                                                                                       \
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},                                          \
    [MODE] = {"mode", "questions", NULL, RILL_COLUMN_TEXT, 0},                                     \
    [ATTENTION] = {"attention", "attention", NULL, RILL_COLUMN_TEXT, 0},                           \
    [SINKS] = {"sinks", "sinks", NULL, RILL_COLUMN_COUNT, 0},                                      \
    [WINDOW] = {"window", "window", NULL, RILL_COLUMN_COUNT, 0},                                   \
    [CACHE_TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0}

enum {
    QUESTIONS = N_HEAD,
    ACC,
    ACC_ERROR,
    ACC_NORM,
    ACC_NORM_ERROR,
    CHANCE,
    TOKENS,
    SECONDS,
    COPYING,
    ERROR,
    N_COLUMNS,
};
static const rill__column columns[N_COLUMNS] = {
    HEAD,
    [QUESTIONS] = {"questions", "answered", NULL, RILL_COLUMN_COUNT, 0},
    [ACC] = {"acc", "acc", NULL, RILL_COLUMN_SHARE, 2},
    [ACC_ERROR] = {"acc_stderr", "+/-", NULL, RILL_COLUMN_SHARE, 2},
    [ACC_NORM] = {"acc_norm", "acc_norm", NULL, RILL_COLUMN_SHARE, 2},
    [ACC_NORM_ERROR] = {"acc_norm_stderr", "+/-", NULL, RILL_COLUMN_SHARE, 2},
    [CHANCE] = {"chance", "chance", NULL, RILL_COLUMN_SHARE, 2},
    [TOKENS] = {"tokens", "tokens", NULL, RILL_COLUMN_COUNT, 0},
    [SECONDS] = {"seconds", "seconds", NULL, RILL_COLUMN_REAL, 1},
    [COPYING] = {"copying_seconds", NULL, NULL, RILL_COLUMN_REAL, 1},
    [ERROR] = {"error", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

// The curve, for machines: what was right of so many questions.
enum { SO_FAR = N_HEAD, SO_FAR_ACC, SO_FAR_ACC_NORM, SO_FAR_TOKENS, N_CURVE };
static const rill__column curve_columns[N_CURVE] = {
    HEAD,
    [SO_FAR] = {"questions", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [SO_FAR_ACC] = {"acc", NULL, NULL, RILL_COLUMN_SHARE, 2},
    [SO_FAR_ACC_NORM] = {"acc_norm", NULL, NULL, RILL_COLUMN_SHARE, 2},
    [SO_FAR_TOKENS] = {"tokens", NULL, NULL, RILL_COLUMN_COUNT, 0},
};

typedef struct evaluation {
    rill__evaluation shared;
    rill__quiz *quiz;
    rill__eval_case *cases;
    size_t n_cases;
    size_t n_works;    // each configuration in one stream and, if it is asked for, one by one
    rill__arc result;  // of the work at hand
    rill__table *table, *curve;
} evaluation;

static rill_status measure_case(evaluation *e, const rill__eval_case *c, bool one_by_one,
                                const char *title, rill_error *err) {
    char input[128], name[128];
    const rill__arc_options options = {.one_by_one = one_by_one};
    rill__bar bar = {.label = title, .unit = "questions"};
    rill__job job = {.progress = rill__progress, .user = &bar};
    snprintf(name, sizeof name, "%s%s", one_by_one ? "one-by-one-" : "", c->name);
    snprintf(input, sizeof input, "%zu questions, %016" PRIx64 ", %s", rill__quiz_count(e->quiz),
             rill__quiz_hash(e->quiz), one_by_one ? "one by one" : "in one stream");
    rill__warn_past_context(&e->shared.session, &c->stream);
    rill_status status = rill__evaluation_stream_case(&e->shared, name, &c->stream, input,
                                                      sizeof(rill__quiz_answer), &job.journal, err);
    bool recalled = rill__case_count(job.journal) > 0;
    if (status == RILL_OK)
        status = rill__arc_measure(e->shared.session.model, &c->stream, e->quiz, &options, &job,
                                   &e->result, err);
    if (recalled) e->result.copying_seconds = NAN;  // the journal does not know those of before
    rill__case_close(&job.journal);
    rill__progress_clear();
    return status;
}

// The standard error of a share of n.
static double share_error(double share, double n) {
    return n > 1 ? sqrt(share * (1 - share) / (n - 1)) : NAN;
}

// A row with its first cells.
static void begin_row(const evaluation *e, rill__table *t, const rill__eval_case *c,
                      bool one_by_one) {
    rill__table_row(t);
    rill__table_text(t, MODEL, e->shared.session.info.name);
    rill__table_text(t, MODE, one_by_one ? "one by one" : "in one stream");
    rill__table_text(t, ATTENTION, rill__method_name(c->stream.method));
    rill__table_number(t, SINKS, c->stream.sinks);
    rill__table_number(t, WINDOW, c->stream.window);
    rill__table_text(t, CACHE_TYPE, c->types);
}

static void add_row(evaluation *e, const rill__eval_case *c, bool one_by_one, rill_status status,
                    const rill_error *err) {
    const rill__arc *r = &e->result;
    rill__table *t = e->table;
    double n = (double)r->n_answers, acc = 0, acc_norm = 0, chance = 0;
    for (size_t i = 0; i < r->n_answers; i++) {
        acc += r->answers[i].chosen == r->answers[i].right;
        acc_norm += r->answers[i].chosen_by_size == r->answers[i].right;
        chance += 1.0 / r->answers[i].n_choices;
    }
    begin_row(e, t, c, one_by_one);
    rill__table_number(t, QUESTIONS, n);
    rill__table_number(t, ACC, acc / n);
    rill__table_number(t, ACC_ERROR, share_error(acc / n, n));
    rill__table_number(t, ACC_NORM, acc_norm / n);
    rill__table_number(t, ACC_NORM_ERROR, share_error(acc_norm / n, n));
    rill__table_number(t, CHANCE, chance / n);
    if (r->n_answers && !one_by_one)
        rill__table_number(t, TOKENS, (double)r->answers[r->n_answers - 1].place);
    rill__table_number(t, SECONDS, r->seconds);
    rill__table_number(t, COPYING, r->copying_seconds);
    if (status == RILL_OK) return;
    rill__table_text(t, ERROR, err->message);
    rill__table_note(t, "%s did not finish: %s", c->label, err->message);
}

// Accuracy so far, along the stream.
static void add_curve(evaluation *e, const rill__eval_case *c, bool one_by_one) {
    const rill__arc *r = &e->result;
    rill__figure *f = e->shared.figure;
    char label[96];
    double acc = 0, acc_norm = 0;
    snprintf(label, sizeof label, "%s%s", one_by_one ? "one by one, " : "", c->label);
    if (f && r->n_answers) rill__figure_series(f, label);
    for (size_t i = 0; i < r->n_answers; i++) {
        double n = (double)(i + 1);
        acc += r->answers[i].chosen == r->answers[i].right;
        acc_norm += r->answers[i].chosen_by_size == r->answers[i].right;
        if (i % (r->n_answers / CURVE_POINTS + 1) != 0 && i + 1 != r->n_answers) continue;
        if (f) rill__figure_point(f, n, 100 * acc_norm / n);
        begin_row(e, e->curve, c, one_by_one);
        rill__table_number(e->curve, SO_FAR, n);
        rill__table_number(e->curve, SO_FAR_ACC, acc / n);
        rill__table_number(e->curve, SO_FAR_ACC_NORM, acc_norm / n);
        if (!one_by_one) rill__table_number(e->curve, SO_FAR_TOKENS, (double)r->answers[i].place);
    }
}

// Each configuration in one stream, and before that one by one if it is asked for.
static const rill__eval_case *case_of(const evaluation *e, size_t i, bool *one_by_one) {
    size_t modes = e->shared.s->one_by_one ? 2 : 1;
    *one_by_one = modes == 2 && i % 2 == 0;
    return &e->cases[i / modes];
}

static rill_status measure(void *user, size_t i, bool *any, rill_error *err) {
    evaluation *e = user;
    char title[128], label[112];
    bool one_by_one;
    const rill__eval_case *c = case_of(e, i, &one_by_one);
    snprintf(label, sizeof label, "%s%s", one_by_one ? "one by one, " : "", c->label);
    rill__evaluation_title(title, sizeof title, label, i, e->n_works);
    rill__arc_deinit(&e->result);
    e->result = (rill__arc){0};
    rill_status status = measure_case(e, c, one_by_one, title, err);
    *any = e->result.n_answers > 0;
    return status;
}

static void show(void *user, size_t i, rill_status status, const rill_error *err) {
    evaluation *e = user;
    bool one_by_one;
    const rill__eval_case *c = case_of(e, i, &one_by_one);
    add_row(e, c, one_by_one, status, err);
    add_curve(e, c, one_by_one);
}

static rill_status begin_results(evaluation *e, rill_error *err) {
    const char *file = rill__evaluation_file_name(e->shared.s);
    const char *model = e->shared.session.info.name;
    char title[256];
    rill_status status =
        rill__evaluation_table(&e->shared, NULL, columns, N_COLUMNS, RILL_TO_ALL, &e->table, err);
    if (status == RILL_OK)
        status = rill__evaluation_table(&e->shared, "curve", curve_columns, N_CURVE, RILL_TO_CSV,
                                        &e->curve, err);
    if (status != RILL_OK) return status;
    rill__table_title(e->table, "%s with %s: %zu questions", file, model,
                      rill__quiz_count(e->quiz));
    if (!e->shared.s->figure) return RILL_OK;
    snprintf(title, sizeof title, "%s, %s", model, file);
    status =
        rill__figure_new(title, "questions", "right so far, % (acc_norm)", &e->shared.figure, err);
    if (status == RILL_OK) rill__figure_from_zero(e->shared.figure);
    return status;
}

static rill_status open_all(evaluation *e, const rill__settings *s, rill_error *err) {
    uint64_t n_tokens;
    if (!s->file)
        return rill__fail(
            err, RILL_EINVAL,
            "--file: which questions? wants a file of JSON lines, as ARC is published");
    rill_status status = rill__evaluation_open(&e->shared, "arc", s, err);
    if (status == RILL_OK)
        status = rill__quiz_open(strcmp(s->file, "-") ? s->file : "/dev/stdin", s->n_queries,
                                 &e->quiz, err);
    if (status == RILL_OK)
        status = rill__quiz_tokens(e->shared.session.model, e->quiz, &n_tokens, err);
    if (status == RILL_OK)
        status =
            rill__eval_cases(s, e->shared.session.model, n_tokens, &e->cases, &e->n_cases, err);
    e->n_works = e->n_cases * (s->one_by_one ? 2 : 1);
    return status == RILL_OK ? begin_results(e, err) : status;
}

static int run(rill__settings *s) {
    static const rill__evaluation_steps steps = {measure, show, NULL};
    evaluation e = {.shared.s = s};
    rill_error err = {0};
    rill_status status = open_all(&e, s, &err);
    if (status == RILL_OK) status = rill__evaluation_each(&e.shared, e.n_works, &steps, &e, &err);
    rill__arc_deinit(&e.result);
    rill__free(e.cases);
    rill__quiz_close(&e.quiz);
    return rill__evaluation_close(&e.shared, status, &err);
}

const rill__command rill__command_arc = {
    .name = "eval arc",
    .bit = RILL_FOR_ARC,
    .usage = "[MODEL] -f FILE [options]",
    .summary = "questions with choices, one after the other in one stream",
    .details =
        "Reads questions from a file of JSON lines as ARC is published (question, choices with\n"
        "text and label, answerKey), all in one stream, each followed by its true answer. A\n"
        "choice's score is its log-likelihood after \"Question: ...\\nAnswer:\", from the same\n"
        "state of the stream for all of them; acc takes the likeliest, acc_norm the likeliest a\n"
        "character, as the usual evaluation harness does. --one-by-one also gives each question\n"
        "a stream of its own, which is what one stream is to be compared with.",
    .max_positionals = 1,
    .run = run,
};
