// SPDX-License-Identifier: MIT
// Perplexity by number of sinks, and what follows from it.
#include "cli/command.h"
#include "cli/eval_sinks.h"
#include "cli/measured_sinks.h"

static rill_status draw(rill__sinks_eval *e, const rill__sinks_trial *trials, size_t n,
                        rill_error *err) {
    rill_status status = rill__figure_new("Perplexity by number of sinks", "sinks", "perplexity",
                                          &e->all.figure, err);
    if (status != RILL_OK) return status;
    // Without sinks a model may be lost by orders of magnitude.
    double most = 0, least = 0;
    size_t best;
    if (rill__sinks_best(trials, n, &best)) least = trials[best].perplexity;
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
static void recommend(rill__sinks_eval *e, rill__table *table, const rill__sinks_trial *few,
                      const rill__sinks_trial *best) {
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

// The table of the first n trials. All of them are wanted for a recommendation.
static rill_status show(rill__sinks_eval *e, const rill__sinks_trial *trials, size_t n,
                        uint32_t *recommended, rill_error *err) {
    rill__table *table;
    size_t few, best;
    bool all = n == e->n_counts;
    bool any = rill__sinks_fewest(trials, n, &few) && rill__sinks_best(trials, n, &best);
    rill_status status = rill__sinks_table(e, NULL, &table, err);
    if (status != RILL_OK) return status;
    rill__table_title(table, "%s: perplexity by number of sinks, over %zu tokens",
                      e->all.session.info.name, e->text.n_body - 1);
    rill__sinks_rows(e, table, trials, n, e->n_counts, NULL, all && any ? &few : NULL);
    if (all && any) {
        recommend(e, table, &trials[few], &trials[best]);
        *recommended = trials[few].sinks;
    } else if (all) {
        rill__table_note(table, "Nothing is recommended: no perplexity is a number.");
    }
    return draw(e, trials, n, err);
}

rill_status rill__sinks_by_count(rill__sinks_eval *e, uint32_t *recommended, rill_error *err) {
    rill__sinks_trial trials[RILL_MAX_LIST];
    rill_error failed;
    size_t n = 0;
    for (size_t i = 0; i < e->n_counts; i++) trials[i] = rill__sinks_at_capacity(e, e->counts[i]);
    *recommended = rill__sinks_least_count(e);
    rill_status status = rill__sinks_try_first(e, trials, e->n_counts, &n, err);
    if (n == 0) return status;
    rill_status shown = show(e, trials, n, recommended, &failed);
    return rill__sinks_first_failure(status, err, shown, &failed);
}
