// SPDX-License-Identifier: MIT
// rill eval perplexity: a text of any length under each configuration.
#include "cli/command.h"
#include "cli/eval_text.h"

#include "base/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CURVE_POINTS = 200 };

// The main table.
enum {
    MODEL,
    ATTENTION,
    SINKS,
    WINDOW,
    CACHE_TYPE,
    EVICT,
    OFFICIAL,
    TOKENS,
    MEAN_NLL,
    PERPLEXITY,
    BYTE_PERPLEXITY,
    WORD_PERPLEXITY,
    SAMPLED_TOKENS,
    SAMPLED_MEAN_NLL,
    SAMPLED_PERPLEXITY,
    TOKENS_PER_SECOND,
    CACHE_BYTES,
    ERROR,
    N_COLUMNS,
};
static const rill__column columns[N_COLUMNS] = {
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [ATTENTION] = {"attention", "attention", NULL, RILL_COLUMN_TEXT, 0},
    [SINKS] = {"sinks", "sinks", NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", "window", NULL, RILL_COLUMN_COUNT, 0},
    [CACHE_TYPE] = {"cache_type", "cache", NULL, RILL_COLUMN_TEXT, 0},
    [EVICT] = {"evict", "evict", NULL, RILL_COLUMN_TEXT, 0},
    [OFFICIAL] = {"official", NULL, NULL, RILL_COLUMN_FLAG, 0},
    [TOKENS] = {"tokens", "tokens", NULL, RILL_COLUMN_COUNT, 0},
    [MEAN_NLL] = {"mean_nll", "loss", "nats", RILL_COLUMN_REAL, 5},
    [PERPLEXITY] = {"perplexity", "perplexity", "a token", RILL_COLUMN_REAL, 4},
    [BYTE_PERPLEXITY] = {"byte_perplexity", "", "a byte", RILL_COLUMN_REAL, 4},
    [WORD_PERPLEXITY] = {"word_perplexity", "", "a word", RILL_COLUMN_REAL, 2},
    [SAMPLED_TOKENS] = {"sampled_tokens", "sampled", NULL, RILL_COLUMN_COUNT, 0},
    [SAMPLED_MEAN_NLL] = {"sampled_mean_nll", "loss", "nats", RILL_COLUMN_REAL, 5},
    [SAMPLED_PERPLEXITY] = {"sampled_perplexity", "perplexity", "a token", RILL_COLUMN_REAL, 4},
    [TOKENS_PER_SECOND] = {"tokens_per_second", "tokens", "a second", RILL_COLUMN_REAL, 1},
    [CACHE_BYTES] = {"cache_bytes", "cache", "memory", RILL_COLUMN_BYTES, 0},
    [ERROR] = {"error", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

typedef struct evaluation {
    rill__text_eval common;
    rill__table *table;
    rill__column *heads;  // of the table by bucket
} evaluation;

// ---- Results --------------------------------------------------------------------------------

// Recompute only keeps the ids of tokens that it does not predict: those took no time.
static double per_second(const rill__eval_case *c, const rill__perplexity *r) {
    bool recompute = c->stream.method == RILL_METHOD_RECOMPUTE;
    return (double)(recompute ? r->all.n : r->n_computed) / r->seconds;
}

static void show(void *user, size_t i, rill_status status, const rill_error *err) {
    evaluation *p = user;
    const rill__eval_case *c = &p->common.cases[i];
    const rill__perplexity *r = &p->common.results[i];
    rill__table *t = p->table;
    p->common.n_done = i + 1;
    rill__table_row(t);
    rill__table_text(t, MODEL, p->common.shared.session.info.name);
    rill__table_text(t, ATTENTION, rill__method_name(c->stream.method));
    rill__table_number(t, SINKS, c->stream.sinks);
    rill__table_number(t, WINDOW, c->stream.window);
    rill__table_text(t, CACHE_TYPE, c->types);
    if (p->common.shared.s->message_token)
        rill__table_text(t, EVICT, rill__evict_name(c->stream.evict));
    // Of the others' windows nothing changes: it does not apply.
    if (c->stream.method == RILL_METHOD_STREAMING || c->stream.method == RILL_METHOD_WINDOW)
        rill__table_number(t, OFFICIAL, c->official);
    if (status != RILL_OK) {
        rill__table_text(t, ERROR, err->message);
        rill__table_note(t, "%s did not finish: %s", c->label, err->message);
    }
    double mean = rill__losses_mean(&r->all);
    rill__table_number(t, TOKENS, (double)r->all.n);
    rill__table_number(t, MEAN_NLL, mean);
    rill__table_number(t, PERPLEXITY, exp(mean));
    if (status == RILL_OK) {
        double nats = mean * (double)p->common.total;
        rill__table_number(t, BYTE_PERPLEXITY, exp(nats / (double)p->common.facts->bytes));
        rill__table_number(t, WORD_PERPLEXITY, exp(nats / (double)p->common.facts->words));
    }
    if (p->common.options.every > 1) {
        double sampled = rill__losses_mean(&r->sampled);
        rill__table_number(t, SAMPLED_TOKENS, (double)r->sampled.n);
        rill__table_number(t, SAMPLED_MEAN_NLL, sampled);
        rill__table_number(t, SAMPLED_PERPLEXITY, exp(sampled));
    }
    if (r->seconds > 0) rill__table_number(t, TOKENS_PER_SECOND, per_second(c, r));
    if (r->cache_bytes) rill__table_number(t, CACHE_BYTES, (double)r->cache_bytes);
}

// For people: a line for each bucket, a column for each configuration.
static rill_status bucket_table(evaluation *p, rill_error *err) {
    rill__table *t;
    rill__column *heads = p->heads = rill__calloc(p->common.n_done + 1, sizeof *heads);
    if (!heads) return rill__fail_memory(err, "a table", (p->common.n_done + 1) * sizeof *heads);
    heads[0] = (rill__column){"position", "tokens", NULL, RILL_COLUMN_TEXT, 0};
    for (size_t i = 0; i < p->common.n_done; i++) {
        const rill__eval_case *c = &p->common.cases[i];
        const char *counts = c->counts[0] ? c->counts : NULL;
        heads[i + 1] = (rill__column){c->label, rill__method_name(c->stream.method),
                                      p->common.shared.s->lists.n_types > 1 ? c->types : counts,
                                      RILL_COLUMN_REAL, 3};
    }
    rill_status status = rill__evaluation_table(&p->common.shared, "by-bucket", heads,
                                                p->common.n_done + 1, RILL_TO_PEOPLE, &t, err);
    if (status != RILL_OK) return status;
    rill__table_title(t, "Perplexity of every %" PRIu64 " tokens%s", p->common.options.bucket,
                      p->common.options.every > 1 ? ", sampled" : "");
    uint64_t total = p->common.total;
    for (uint64_t first = 0; first < total; first += p->common.options.bucket) {
        uint64_t end =
            total - first < p->common.options.bucket ? total : first + p->common.options.bucket;
        char range[64], a[24], b[24];
        rill__number_grouped(a, sizeof a, first + 1);
        rill__number_grouped(b, sizeof b, end);
        snprintf(range, sizeof range, "%s - %s", a, b);
        rill__table_row(t);
        rill__table_text(t, 0, range);
        for (size_t i = 0; i < p->common.n_done; i++)
            if (p->common.results[i].buckets)
                rill__table_number(
                    t, i + 1,
                    exp(rill__text_eval_bucket_mean(
                        &p->common,
                        &p->common.results[i].buckets[first / p->common.options.bucket])));
    }
    return RILL_OK;
}

static rill_status begin_results(evaluation *p, rill_error *err) {
    rill__evaluation *shared = &p->common.shared;
    char size[96];
    rill_status status =
        rill__evaluation_table(shared, NULL, columns, N_COLUMNS, RILL_TO_ALL, &p->table, err);
    if (status == RILL_OK) status = rill__text_eval_curves(&p->common, false, err);
    if (status != RILL_OK) return status;
    rill__text_eval_size(&p->common, size, sizeof size);
    rill__table_title(p->table, "Perplexity of %s with %s: %s", p->common.name,
                      shared->session.info.name, size);
    return RILL_OK;
}

static void add_notes(evaluation *p) {
    if (p->common.options.every > 1)
        rill__table_note(p->table,
                         "sampled: over every %" PRIu64
                         "th token alone, all that recompute predicts",
                         p->common.options.every);
    if (p->common.shared.s->official)
        rill__table_note(p->table, "counted as the paper's script does: the current token comes on "
                                   "top of its n + m, so the window is one more");
}

// ---- The command ----------------------------------------------------------------------------

static rill_status check_messages(const rill__settings *s, rill_error *err) {
    for (size_t i = 0; i < s->lists.n_evictions; i++)
        if (s->lists.evictions[i] == RILL_EVICT_MESSAGE && !s->message_token)
            return rill__fail(err, RILL_EINVAL,
                              "--evict: message: wants --message-token, which begins a message");
    return RILL_OK;
}

static rill_status open_all(evaluation *p, const rill__settings *s, rill_error *err) {
    rill__text_eval *c = &p->common;
    rill_status status = check_messages(s, err);
    if (status == RILL_OK) status = rill__text_eval_open(c, "perplexity", s, err);
    if (status == RILL_OK) status = rill__text_eval_read(c, s->n_tokens, err);
    if (status != RILL_OK) return status;
    c->options.every = s->every ? s->every : 1;
    c->options.bucket = s->bucket ? s->bucket : (c->total - 1) / CURVE_POINTS + 1;
    status = rill__eval_cases(s, c->shared.session.model, c->total, &c->cases, &c->n_cases, err);
    if (status == RILL_OK) status = rill__text_eval_begin(c, err);
    return status == RILL_OK ? begin_results(p, err) : status;
}

static rill_status finish(void *user, rill_error *err) {
    evaluation *p = user;
    add_notes(p);
    for (size_t i = 0; i < p->common.n_done; i++) {
        const rill__eval_case *c = &p->common.cases[i];
        char label[96];
        bool sampled = p->common.options.every > 1 && c->stream.method == RILL_METHOD_RECOMPUTE;
        snprintf(label, sizeof label, "%s%s", c->label, sampled ? " (sampled)" : "");
        rill__text_eval_curve(&p->common, i, label);
    }
    return p->common.shared.s->bucket ? bucket_table(p, err) : RILL_OK;
}

// The official count has one more than the window given: that is not the user's doing.
static void warn_past_context(const rill__text_eval *c, size_t i) {
    rill_stream_options shown = c->cases[i].stream;
    if (c->cases[i].official && shown.window > 1) shown.window--;
    rill__warn_past_context(&c->shared.session, &shown);
}

static rill_status measure(void *user, size_t i, bool *any, rill_error *err) {
    evaluation *p = user;
    warn_past_context(&p->common, i);
    return rill__text_eval_measure(&p->common, i, any, err);
}

static int run(rill__settings *s) {
    static const rill__evaluation_steps steps = {measure, show, finish};
    evaluation p = {0};
    rill_error err = {0};
    rill_status status = open_all(&p, s, &err);
    if (status == RILL_OK)
        status = rill__evaluation_each(&p.common.shared, p.common.n_cases, &steps, &p, &err);
    int exit_status = rill__text_eval_close(&p.common, status, &err);
    rill__free(p.heads);
    return exit_status;
}

const rill__command rill__command_perplexity = {
    .name = "eval perplexity",
    .bit = RILL_FOR_PERPLEXITY,
    .usage = "[MODEL | --synthetic SHAPE --type q8_0] [-f FILE] [options]",
    .summary = "how well a text is predicted, by configuration and position",
    .details =
        "Reads a text of any length (standard input without -f) under each configuration and\n"
        "prints the perplexity a token, a byte and a word: exp of the mean loss. --figure draws\n"
        "how it goes along the text. Every combination of the lists is measured; window and\n"
        "dense have no sinks, recompute only those given. Dense holds the whole text: past the\n"
        "trained context it needs --over-context. A configuration that runs out of memory is\n"
        "left, and the others go on. With --synthetic, to see what a model of that shape will\n"
        "cost, each byte of the text is a token.",
    .max_positionals = 1,
    .run = run,
};
