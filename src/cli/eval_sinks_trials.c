// SPDX-License-Identifier: MIT
// Trials: a configuration that two parts ask for is measured once, and one that fails is a row.
#include "cli/eval_sinks.h"
#include "cli/terminal.h"

#include "eval/perplexity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MODEL,
    SINKS,
    WINDOW,
    COUNTS,
    CHOICE,
    TYPE,
    BYTES,
    PERPLEXITY,
    ABOVE,
    RECOMMENDED,
    ERROR,
    COLUMNS
};
static const rill__column columns[COLUMNS] = {
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [COUNTS] = {"counts", "sinks+window", NULL, RILL_COLUMN_TEXT, 0},
    [CHOICE] = {"choice", "what is kept", NULL, RILL_COLUMN_TEXT, 0},
    [TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0},
    [BYTES] = {"cache_bytes", "takes", NULL, RILL_COLUMN_BYTES, 0},
    [PERPLEXITY] = {"perplexity", "perplexity", NULL, RILL_COLUMN_REAL, 3},
    [ABOVE] = {"above_best", "above best", NULL, RILL_COLUMN_SHARE, 2},
    [RECOMMENDED] = {"recommended", NULL, NULL, RILL_COLUMN_FLAG, 0},
    [ERROR] = {"error", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

// ---- Measuring ------------------------------------------------------------------------------

rill__sinks_trial rill__sinks_at_capacity(const rill__sinks_eval *e, uint32_t sinks) {
    return (rill__sinks_trial){.sinks = sinks,
                               .window = e->capacity - sinks,
                               .key_type = e->key_type,
                               .value_type = e->value_type};
}

// What is fed is a part of what is measured.
static void describe(const rill__sinks_eval *e, const rill__sinks_fed *fed, char *out,
                     size_t capacity) {
    size_t used = (size_t)snprintf(out, capacity, "%s, after", e->input);
    for (size_t i = 0; i < fed->n && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, " %d", (int)fed->tokens[i]);
    if (!fed->n) snprintf(out + used, capacity - used, " nothing");
}

static rill_status measure(rill__sinks_eval *e, const char *name, const char *label,
                           const rill__sinks_fed *fed, rill__sinks_trial *t, rill_error *err) {
    const rill__perplexity_options options = {
        .every = 1, .bucket = e->text.n_body, .prefix = fed->tokens, .n_prefix = fed->n};
    rill_stream_options stream = rill__sinks_stream(e, t);
    rill__bar bar = {.label = label, .unit = "tokens"};
    rill__job job = {.progress = rill__progress, .user = &bar};
    rill__perplexity result = {0};
    rill__text *text = NULL;
    char input[256];
    describe(e, fed, input, sizeof input);
    rill_status status = rill__evaluation_stream_case(&e->all, name, &stream, input,
                                                      RILL_PERPLEXITY_RECORD, &job.journal, err);
    if (status == RILL_OK) status = rill__text_of_tokens(e->text.body, e->text.n_body, &text, err);
    if (status == RILL_OK)
        status = rill__perplexity_measure(e->all.session.model, &stream, text, &options, &job,
                                          &result, err);
    t->perplexity = exp(rill__losses_mean(&result.all));
    t->cache_bytes = result.cache_bytes;
    rill__perplexity_deinit(&result);
    rill__text_close(&text);
    rill__case_close(&job.journal);
    rill__progress_clear();
    return status;
}

rill_status rill__sinks_try(rill__sinks_eval *e, const rill__sinks_fed *fed, size_t number,
                            size_t count, rill__sinks_trial *t, rill_error *err) {
    char type[RILL_TYPES_NAME], label[128];
    rill__named_trial *kept = &e->trials[e->n_trials];
    rill__types_name(type, t->key_type, t->value_type);
    snprintf(kept->name, sizeof kept->name, "%u+%u %s %s", t->sinks, t->window, type, fed->name);
    for (size_t i = 0; i < e->n_trials; i++)
        if (!strcmp(e->trials[i].name, kept->name)) {
            *t = e->trials[i].result;
            return RILL_OK;
        }
    snprintf(label, sizeof label, count > 1 ? "%s (%zu of %zu)" : "%s", kept->name, number, count);
    kept->failed = (rill_error){.status = RILL_OK};
    rill_status status = measure(e, kept->name, label, fed, t, err);
    if (status != RILL_OK && !rill__evaluation_goes_on(status)) return status;
    if (status != RILL_OK) {
        kept->failed = *err;
        t->perplexity = NAN;
        t->error = kept->failed.message;
    }
    kept->result = *t;
    e->n_trials++;
    return RILL_OK;
}

rill_status rill__sinks_try_first(rill__sinks_eval *e, rill__sinks_trial *trials, size_t n,
                                  size_t *done, rill_error *err) {
    const rill__sinks_fed head = {"first", e->text.head, e->text.n_head};
    for (; *done < n; ++*done) {
        rill_status status = rill__sinks_try(e, &head, *done + 1, n, &trials[*done], err);
        if (status != RILL_OK) return status;
    }
    return RILL_OK;
}

// ---- Results --------------------------------------------------------------------------------

rill_status rill__sinks_table(rill__sinks_eval *e, const char *part, rill__table **out,
                              rill_error *err) {
    return rill__evaluation_table(&e->all, part, columns, COLUMNS, RILL_TO_ALL, out, err);
}

static void add_row(const rill__sinks_eval *e, rill__table *table, const rill__sinks_trial *t,
                    double best) {
    char type[RILL_TYPES_NAME], counts[32];
    rill__types_name(type, t->key_type, t->value_type);
    snprintf(counts, sizeof counts, "%u+%u", t->sinks, t->window);
    rill__table_row(table);
    rill__table_text(table, MODEL, e->all.session.info.name);
    rill__table_number(table, SINKS, t->sinks);
    rill__table_number(table, WINDOW, t->window);
    rill__table_text(table, COUNTS, counts);
    rill__table_text(table, TYPE, type);
    if (t->error) {
        rill__table_text(table, ERROR, t->error);
        rill__table_note(table, "%s did not finish: %s", counts, t->error);
        return;
    }
    rill__table_number(table, BYTES, (double)t->cache_bytes);
    rill__table_number(table, PERPLEXITY, t->perplexity);
    rill__table_number(table, ABOVE, t->perplexity / best - 1);
}

void rill__sinks_rows(const rill__sinks_eval *e, rill__table *table,
                      const rill__sinks_trial *trials, size_t n, size_t planned,
                      const char *const *choices, const size_t *recommended) {
    size_t best;
    double least = rill__sinks_best(trials, n, &best) ? trials[best].perplexity : NAN;
    for (size_t i = 0; i < n; i++) {
        add_row(e, table, &trials[i], least);
        if (choices) rill__table_text(table, CHOICE, choices[i]);
        if (recommended) rill__table_number(table, RECOMMENDED, i == *recommended);
    }
    if (n < planned) rill__table_note(table, "Not finished: %zu of %zu were tried.", n, planned);
}
