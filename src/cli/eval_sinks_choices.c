// SPDX-License-Identifier: MIT
// Perplexity by which tokens are kept: the first ones, or others that are fed in front.
#include "cli/eval_sinks.h"

#include <stdio.h>
#include <string.h>

enum { MAX_WORDS = 160 };

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

// The last token of a line's end by itself; false if there is none.
static bool find_newline(const rill__sinks_eval *e, rill_token *out) {
    rill_token *tokens = NULL;
    size_t n = 0;
    if (rill_encode(e->all.session.model, "\n", 1, 0, &tokens, &n, NULL) != RILL_OK) return false;
    if (n > 0) *out = tokens[n - 1];
    rill_tokens_free(tokens);
    return n > 0;
}

static void choice_words(const rill__sinks_eval *e, const rill__sinks_choice *c,
                         char out[MAX_WORDS]) {
    size_t used = (size_t)snprintf(out, MAX_WORDS, "%s", c->name);
    if (strncmp(c->key, "most", 4) != 0 && strncmp(c->key, "middle", 6) != 0) return;
    for (size_t i = 0; i < c->n_fed && used + 40 < MAX_WORDS; i++) {
        char text[32];
        rill__sinks_show_token(e, c->fed[i], text, sizeof text);
        used += (size_t)snprintf(out + used, MAX_WORDS - used, " %s", text);
    }
}

// Those for which there is room in the capacity.
static size_t find_choices(const rill__sinks_eval *e, rill__sinks_choice *out) {
    uint32_t most[2];
    rill_token newline;
    size_t n = 0;
    if (e->attention) most_attended(e, most);
    bool lines = find_newline(e, &newline);
    size_t n_all =
        rill__sinks_choices(&e->text, e->attention ? most : NULL, lines ? &newline : NULL, out);
    for (size_t i = 0; i < n_all; i++)
        if (out[i].n < e->capacity) out[n++] = out[i];
    return n;
}

static rill_status show(rill__sinks_eval *e, const rill__sinks_choice *choices,
                        const rill__sinks_trial *trials, size_t n, size_t planned,
                        rill_error *err) {
    char words[RILL_SINKS_MOST_CHOICES][MAX_WORDS];
    const char *shown[RILL_SINKS_MOST_CHOICES];
    rill__table *table;
    rill_status status = rill__sinks_table(e, "choices", &table, err);
    if (status != RILL_OK) return status;
    for (size_t i = 0; i < n; i++) {
        choice_words(e, &choices[i], words[i]);
        shown[i] = words[i];
    }
    rill__table_title(table, "%s: perplexity by what is kept", e->all.session.info.name);
    rill__sinks_rows(e, table, trials, n, planned, shown, NULL);
    rill__table_note(table,
                     "A stream keeps the first tokens that it reads: others are kept by being "
                     "read before the");
    rill__table_note(table,
                     "text, in the text's first places. The same tokens are predicted in all "
                     "rows.");
    return RILL_OK;
}

static rill_status try_all(rill__sinks_eval *e, const rill__sinks_choice *choices,
                           rill__sinks_trial *trials, size_t n, size_t *done, rill_error *err) {
    const rill__sinks_fed head = {"first", e->text.head, e->text.n_head};
    for (; *done < n; ++*done) {
        const rill__sinks_choice *c = &choices[*done];
        const rill__sinks_fed other = {c->key, c->fed, c->n_fed};
        // The first tokens are what the table by number has.
        bool first = !strncmp(c->key, "first", 5);
        trials[*done] = rill__sinks_at_capacity(e, c->n);
        rill_status status =
            rill__sinks_try(e, first ? &head : &other, *done + 1, n, &trials[*done], err);
        if (status != RILL_OK) return status;
    }
    return RILL_OK;
}

rill_status rill__sinks_by_choice(rill__sinks_eval *e, rill_error *err) {
    rill__sinks_choice choices[RILL_SINKS_MOST_CHOICES];
    rill__sinks_trial trials[RILL_SINKS_MOST_CHOICES];
    rill_error failed;
    size_t n = find_choices(e, choices), done = 0;
    rill_status status = try_all(e, choices, trials, n, &done, err);
    if (done == 0) return status;
    rill_status shown = show(e, choices, trials, done, n, &failed);
    return rill__sinks_first_failure(status, err, shown, &failed);
}
