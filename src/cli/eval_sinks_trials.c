// SPDX-License-Identifier: MIT
// Perplexity by number of sinks, by choice of them, and within a given memory. A configuration that
// two parts ask for is measured once.
#include "cli/command.h"
#include "cli/eval_sinks.h"
#include "cli/measured_sinks.h"
#include "cli/number.h"
#include "cli/terminal.h"

#include "eval/trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SINKS, WINDOW, COUNTS, CHOICE, TYPE, BYTES, PERPLEXITY, ABOVE, RECOMMENDED, COLUMNS };
static const rill__column columns[COLUMNS] = {
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [COUNTS] = {"counts", "sinks+window", NULL, RILL_COLUMN_TEXT, 0},
    [CHOICE] = {"choice", "what is kept", NULL, RILL_COLUMN_TEXT, 0},
    [TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0},
    [BYTES] = {"cache_bytes", "takes", NULL, RILL_COLUMN_BYTES, 0},
    [PERPLEXITY] = {"perplexity", "perplexity", NULL, RILL_COLUMN_REAL, 3},
    [ABOVE] = {"above_best", "above best", NULL, RILL_COLUMN_SHARE, 2},
    [RECOMMENDED] = {"recommended", NULL, NULL, RILL_COLUMN_COUNT, 0},  // 1: this one
};

static void type_name(const rill__sinks_trial *t, char out[24]) {
    snprintf(out, 24, t->key_type == t->value_type ? "%s" : "%s/%s", rill_type_name(t->key_type),
             rill_type_name(t->value_type));
}

static void add_row(rill__table *table, const rill__sinks_trial *t, const char *choice,
                    double best) {
    char type[24], counts[32];
    type_name(t, type);
    snprintf(counts, sizeof counts, "%u+%u", t->sinks, t->window);
    rill__table_row(table);
    rill__table_number(table, SINKS, t->sinks);
    rill__table_number(table, WINDOW, t->window);
    rill__table_text(table, COUNTS, counts);
    if (choice) rill__table_text(table, CHOICE, choice);
    rill__table_text(table, TYPE, type);
    rill__table_number(table, BYTES, (double)t->cache_bytes);
    rill__table_number(table, PERPLEXITY, t->perplexity);
    rill__table_number(table, ABOVE, t->perplexity / best - 1);
}

// Measures a configuration that is not known yet under this name; what is fed first is `fed`.
static rill_status measure(rill__sinks_eval *e, const char *name, rill__sinks_trial *t,
                           const rill_token *fed, size_t n_fed, rill_error *err) {
    rill__trial trial = {.stream = rill__sinks_stream(e, t),
                         .fed = fed,
                         .n_fed = n_fed,
                         .tokens = e->text.body,
                         .n_tokens = e->text.n_body};
    rill__bar bar = {.label = name, .unit = "tokens"};
    rill__case *journal = NULL;
    rill_status status = rill__evaluation_case(&e->all, name, &trial.stream, e->input,
                                               RILL_TRIAL_RECORD, &journal, err);
    if (status == RILL_OK)
        status = rill__trial_measure(e->all.session.model, &trial, journal, rill__progress, &bar,
                                     &t->perplexity, &t->cache_bytes, err);
    rill__case_close(&journal);
    return status;
}

// The result of a configuration, measured now or before. `what` names what is fed first.
static rill_status try(rill__sinks_eval *e, const char *what, const rill_token *fed, size_t n_fed,
                       rill__sinks_trial *t, rill_error *err) {
    char name[80], type[24];
    type_name(t, type);
    snprintf(name, sizeof name, "%u+%u %s %s", t->sinks, t->window, type, what);
    for (size_t i = 0; i < e->n_trials; i++)
        if (!strcmp(e->trials[i].name, name)) {
            *t = e->trials[i].result;
            return RILL_OK;
        }
    rill_status status = measure(e, name, t, fed, n_fed, err);
    if (status != RILL_OK || e->n_trials == RILL_MAX_TRIALS) return status;
    rill__named_trial *kept = &e->trials[e->n_trials++];
    snprintf(kept->name, sizeof kept->name, "%s", name);
    kept->result = *t;
    return RILL_OK;
}

// The first n tokens of the text, whatever the tokenizer puts in front among them.
static rill_status try_first(rill__sinks_eval *e, rill__sinks_trial *t, rill_error *err) {
    return try(e, "first", e->text.head, e->text.n_head, t, err);
}

// `sinks` leave room in the capacity.
static rill__sinks_trial make_trial(const rill__sinks_eval *e, uint32_t sinks) {
    return (rill__sinks_trial){.sinks = sinks,
                               .window = e->capacity - sinks,
                               .key_type = e->key_type,
                               .value_type = e->value_type};
}

// NAN if there is none.
static double lowest(const rill__sinks_trial *trials, size_t n) {
    size_t best;
    return rill__sinks_best(trials, n, &best) ? trials[best].perplexity : NAN;
}

static rill_status draw_counts(rill__sinks_eval *e, const rill__sinks_trial *trials, size_t n,
                               rill_error *err) {
    rill_status status = rill__figure_new("Perplexity by number of sinks", "sinks", "perplexity",
                                          &e->all.figure, err);
    if (status != RILL_OK) return status;
    // Without sinks a model may be lost by orders of magnitude.
    double most = 0, least = lowest(trials, n);
    for (size_t i = 0; i < n; i++) most = trials[i].perplexity > most ? trials[i].perplexity : most;
    if (most > 10 * least)
        rill__figure_log(e->all.figure, false, true);
    else
        rill__figure_from_zero(e->all.figure);
    rill__figure_series(e->all.figure, e->all.session.info.name);
    for (size_t i = 0; i < n; i++)
        rill__figure_point(e->all.figure, trials[i].sinks, trials[i].perplexity);
    return RILL_OK;
}

// What is recommended, in words and for --sinks auto.
static void recommend(rill__sinks_eval *e, rill__table *table, const rill__sinks_trial *trials,
                      size_t n) {
    size_t best_at, few_at;
    if (!rill__sinks_best(trials, n, &best_at) || !rill__sinks_fewest(trials, n, &few_at)) {
        rill__table_note(table, "Nothing is recommended: no perplexity is a number.");
        return;
    }
    const rill__sinks_trial *best = &trials[best_at], *few = &trials[few_at];
    char *path = NULL;
    rill_error err;
    const rill__measured_sinks found = {.sinks = few->sinks,
                                        .capacity = e->capacity,
                                        .perplexity = few->perplexity,
                                        .tokens = e->text.n_body - 1};
    rill__table_note(table,
                     "Recommended: --sinks %u, the fewest within %.1f%% of the best (%.3f, "
                     "with %u).",
                     few->sinks, 100 * RILL_SINKS_TOLERANCE, best->perplexity, best->sinks);
    if (rill__measured_sinks_save(&e->all.session.info, &found, &path, &err) == RILL_OK)
        rill__table_note(table, "Kept for rill run --sinks auto in %s", path);
    else
        rill__warn("not kept for --sinks auto: %s", err.message);
    rill__free(path);
}

static rill_status try_counts(rill__sinks_eval *e, uint32_t *recommended, rill_error *err) {
    rill__sinks_trial trials[RILL_MAX_LIST];
    rill__table *table;
    rill_status status = RILL_OK;
    size_t n = e->n_counts;
    for (size_t i = 0; i < n && status == RILL_OK; i++) {
        trials[i] = make_trial(e, e->counts[i]);
        status = try_first(e, &trials[i], err);
    }
    if (status == RILL_OK)
        status = rill__evaluation_table(&e->all, NULL, columns, COLUMNS, RILL_TO_ALL, &table, err);
    if (status != RILL_OK) return status;
    double best = lowest(trials, n);
    rill__table_title(table, "%s: perplexity by number of sinks, over %zu tokens",
                      e->all.session.info.name, e->text.n_body - 1);
    size_t fewest;
    bool any = rill__sinks_fewest(trials, n, &fewest);
    for (size_t i = 0; i < n; i++) {
        add_row(table, &trials[i], NULL, best);
        rill__table_number(table, RECOMMENDED, any && i == fewest);
    }
    *recommended = any ? trials[fewest].sinks : rill__sinks_least_count(e);
    recommend(e, table, trials, n);
    return draw_counts(e, trials, n, err);
}

// The two of the first positions that get most attention.
static void most_attended(const rill__sinks_eval *e, uint32_t out[2]) {
    out[0] = 0;
    out[1] = 1;
    for (uint32_t i = 1; i < RILL_ATTENTION_POSITIONS; i++) {
        double mean = rill__attention_mean_of_all(e->attention, i);
        if (mean > rill__attention_mean_of_all(e->attention, out[0])) {
            out[1] = out[0];
            out[0] = i;
        } else if (i > 1 && mean > rill__attention_mean_of_all(e->attention, out[1])) {
            out[1] = i;
        }
    }
}

// The last token of a line's end by itself; -1 if there is none.
static rill_token find_newline(const rill__sinks_eval *e) {
    rill_token *tokens = NULL, newline = -1;
    size_t n = 0;
    if (rill_encode(e->all.session.model, "\n", 1, 0, &tokens, &n, NULL) == RILL_OK && n > 0)
        newline = tokens[n - 1];
    rill_tokens_free(tokens);
    return newline;
}

static void choice_words(const rill__sinks_eval *e, const rill__sinks_choice *c, char *out,
                         size_t capacity) {
    size_t used = (size_t)snprintf(out, capacity, "%s", c->name);
    if (strncmp(c->key, "most", 4) != 0 && strncmp(c->key, "middle", 6) != 0) return;
    for (size_t i = 0; i < c->n_fed && used + 40 < capacity; i++) {
        char text[32];
        rill__sinks_show_token(e, c->fed[i], text, sizeof text);
        used += (size_t)snprintf(out + used, capacity - used, " %s", text);
    }
}

static rill_status try_choices(rill__sinks_eval *e, rill_error *err) {
    rill__sinks_choice choices[RILL_SINKS_MOST_CHOICES];
    rill__sinks_trial trials[RILL_SINKS_MOST_CHOICES];
    uint32_t most[2];
    rill__table *table;
    if (e->attention) most_attended(e, most);
    size_t n_all =
        rill__sinks_choices(&e->text, e->attention ? most : NULL, find_newline(e), choices);
    size_t n = 0;
    for (size_t i = 0; i < n_all; i++)
        if (choices[i].n < e->capacity) choices[n++] = choices[i];
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n && status == RILL_OK; i++) {
        bool first = !strncmp(choices[i].key, "first", 5);
        trials[i] = make_trial(e, choices[i].n);
        status = first ? try_first(e, &trials[i], err)
                       : try(e, choices[i].key, choices[i].fed, choices[i].n_fed, &trials[i], err);
    }
    if (status == RILL_OK)
        status =
            rill__evaluation_table(&e->all, "choices", columns, COLUMNS, RILL_TO_ALL, &table, err);
    if (status != RILL_OK) return status;
    double best = lowest(trials, n);
    rill__table_title(table, "%s: perplexity by what is kept", e->all.session.info.name);
    for (size_t i = 0; i < n; i++) {
        char words[160];
        choice_words(e, &choices[i], words, sizeof words);
        add_row(table, &trials[i], words, best);
    }
    rill__table_note(table,
                     "A stream keeps the first tokens that it reads: others are kept by being "
                     "read before the");
    rill__table_note(table,
                     "text, in the text's first places. The same tokens are predicted in all "
                     "rows.");
    return RILL_OK;
}

// Adds a trial to a list unless an equal one is there.
static void propose(rill__sinks_trial *trials, size_t *n, const rill__sinks_trial *t) {
    for (size_t i = 0; i < *n; i++)
        if (trials[i].sinks == t->sinks && trials[i].window == t->window &&
            trials[i].key_type == t->key_type && trials[i].value_type == t->value_type)
            return;
    if (*n < RILL_MAX_TRIALS) trials[(*n)++] = *t;
}

// The widest window beside `sinks` that fits into --memory and a capacity of `most`.
static rill_status widest(const rill__sinks_eval *e, const rill__sinks_trial *t, uint32_t most,
                          uint32_t *window, rill_error *err) {
    rill_stream_options o = rill__sinks_stream(e, t);
    return rill__sinks_widest(e->all.session.model, &o, e->all.s->memory, most, window, err);
}

// A type with `sinks`, or the most fewer ones that fit, at the widest capacity that fits, and with
// half and a quarter of it. Nothing if the type does not fit at all.
static rill_status propose_sizes(const rill__sinks_eval *e, uint32_t sinks, size_t type,
                                 rill__sinks_trial *trials, size_t *n, rill_error *err) {
    uint32_t trained = e->all.session.info.trained_context, window;
    rill__sinks_trial t = {.key_type = e->key_types[type], .value_type = e->value_types[type]};
    uint32_t chosen = 0;
    bool any = false;
    for (size_t i = 0; i < e->n_counts; i++) {
        uint64_t least;
        bool fits;
        t.sinks = e->counts[i];
        rill_status status = rill__sinks_fits(e, &t, &least, &fits, err);
        if (status != RILL_OK) return status;
        if (!fits || t.sinks > sinks || (any && t.sinks < chosen)) continue;
        chosen = t.sinks;
        any = true;
    }
    if (!any) return RILL_OK;
    t.sinks = chosen;
    rill_status status = widest(e, &t, trained ? trained : 1 << 20, &window, err);
    for (uint32_t part = 1; status == RILL_OK && part <= 4; part *= 2) {
        uint32_t capacity = (t.sinks + window) / part;
        t.window = capacity - t.sinks;
        if (capacity > t.sinks) propose(trials, n, &t);
    }
    return status;
}

static rill_status try_all(rill__sinks_eval *e, rill__sinks_trial *trials, size_t from, size_t n,
                           rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = from; i < n && status == RILL_OK; i++) status = try_first(e, &trials[i], err);
    return status;
}

// First types and sizes with as many sinks as were recommended, then numbers of sinks at the best
// of these: the fewer trials, and each one measured.
static rill_status search(rill__sinks_eval *e, uint32_t sinks, rill__sinks_trial *trials, size_t *n,
                          rill_error *err) {
    rill_status status = RILL_OK;
    *n = 0;
    for (size_t i = 0; i < e->n_types && status == RILL_OK; i++)
        status = propose_sizes(e, sinks, i, trials, n, err);
    if (status == RILL_OK) status = try_all(e, trials, 0, *n, err);
    if (status != RILL_OK) return status;
    size_t best_at, before = *n;
    if (!rill__sinks_best(trials, *n, &best_at)) return RILL_OK;
    const rill__sinks_trial best = trials[best_at];
    for (size_t i = 0; i < e->n_counts && status == RILL_OK; i++) {
        rill__sinks_trial t = best;
        uint64_t least;
        bool fits;
        t.sinks = e->counts[i];
        status = rill__sinks_fits(e, &t, &least, &fits, err);
        if (status != RILL_OK || !fits || t.sinks >= best.sinks + best.window) continue;
        status = widest(e, &t, best.sinks + best.window, &t.window, err);
        if (status == RILL_OK) propose(trials, n, &t);
    }
    return status != RILL_OK ? status : try_all(e, trials, before, *n, err);
}

static rill_status try_memory(rill__sinks_eval *e, uint32_t sinks, rill_error *err) {
    static rill__sinks_trial trials[RILL_MAX_TRIALS];  // not for the stack
    rill__table *table;
    char memory[32], type[24];
    size_t n;
    rill_status status = search(e, sinks, trials, &n, err);
    if (status == RILL_OK)
        status =
            rill__evaluation_table(&e->all, "memory", columns, COLUMNS, RILL_TO_ALL, &table, err);
    if (status != RILL_OK) return status;
    size_t best_at;
    const rill__sinks_trial *best = rill__sinks_best(trials, n, &best_at) ? &trials[best_at] : NULL;
    rill__number_bytes(memory, sizeof memory, e->all.s->memory);
    rill__table_title(table, "%s: perplexity within %s of cache", e->all.session.info.name, memory);
    for (size_t i = 0; i < n; i++) {
        add_row(table, &trials[i], NULL, lowest(trials, n));
        rill__table_number(table, RECOMMENDED, &trials[i] == best);
    }
    if (!best) return RILL_OK;
    type_name(best, type);
    rill__table_note(table, "Best of these: --sinks %u --window %u --cache-type %s", best->sinks,
                     best->window, type);
    return RILL_OK;
}

rill_status rill__sinks_try(rill__sinks_eval *e, rill_error *err) {
    uint32_t recommended = 0;
    rill_status status = try_counts(e, &recommended, err);
    if (status == RILL_OK) status = try_choices(e, err);
    if (status == RILL_OK && e->all.s->memory) status = try_memory(e, recommended, err);
    return status;
}
