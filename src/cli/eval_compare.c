// SPDX-License-Identifier: MIT
// rill eval compare: the ways to a long text beside each other, on one text.
#include "cli/command.h"
#include "cli/eval_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    CURVE_POINTS = 200,
    CONTEXTS = 8,  // trained contexts that are read unless --tokens says otherwise
    EVERY = 16,    // likewise --every
    STEPS = 32,    // tokens whose time is taken one by one
};

// The ways, in the order of the table.
typedef struct way {
    const char *name;
    rill_method method;
    rill_rope_scaling rope;
    bool whole;  // keeps the whole text
    const char *tuning;
} way;
static const way ways[] = {
    {"dense", RILL_METHOD_DENSE, RILL_ROPE_SCALING_MODEL, true, "no"},
    {"window", RILL_METHOD_WINDOW, RILL_ROPE_SCALING_MODEL, false, "no"},
    {"recompute", RILL_METHOD_RECOMPUTE, RILL_ROPE_SCALING_MODEL, false, "no"},
    {"interpolation", RILL_METHOD_DENSE, RILL_ROPE_SCALING_LINEAR, true, "needed"},
    {"NTK-aware", RILL_METHOD_DENSE, RILL_ROPE_SCALING_NTK, true, "helps"},
    {"streaming", RILL_METHOD_STREAMING, RILL_ROPE_SCALING_MODEL, false, "no"},
};
enum { N_WAYS = sizeof ways / sizeof *ways };

enum {
    MODEL,
    WAY,
    KEPT,
    ATTENTION,
    SINKS,
    WINDOW,
    CACHE_TYPE,
    FACTOR,
    REACHED,
    TOKENS,
    MEAN_NLL,
    PERPLEXITY,
    LAST_QUARTER,
    SAMPLED_TOKENS,
    SAMPLED_MEAN_NLL,
    SAMPLED,
    STEP,
    CACHE_BYTES,
    TUNING,
    ERROR,
    N_COLUMNS,
};
static const rill__column plain_columns[N_COLUMNS] = {
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [WAY] = {"way", "way", NULL, RILL_COLUMN_TEXT, 0},
    [KEPT] = {"kept", "keeps", "tokens", RILL_COLUMN_TEXT, 0},
    [ATTENTION] = {"attention", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [CACHE_TYPE] = {"cache_type", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [FACTOR] = {"factor", NULL, NULL, RILL_COLUMN_REAL, 2},
    [REACHED] = {"reached", "stable to", NULL, RILL_COLUMN_COUNT, 0},
    [TOKENS] = {"tokens", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [MEAN_NLL] = {"mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
    [PERPLEXITY] = {"perplexity", "perplexity", "all", RILL_COLUMN_REAL, 2},
    [LAST_QUARTER] = {"last_quarter_perplexity", "", "last quarter", RILL_COLUMN_REAL, 2},
    [SAMPLED_TOKENS] = {"sampled_tokens", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [SAMPLED_MEAN_NLL] = {"sampled_mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
    [SAMPLED] = {"sampled_perplexity", "", "sampled", RILL_COLUMN_REAL, 2},
    [STEP] = {"seconds_per_token", "a token", "ms", RILL_COLUMN_MILLISECONDS, 2},
    [CACHE_BYTES] = {"cache_bytes", "cache", NULL, RILL_COLUMN_BYTES, 0},
    [TUNING] = {"fine_tuning", "fine-tuning", NULL, RILL_COLUMN_TEXT, 0},
    [ERROR] = {"error", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

typedef struct comparison {
    rill__text_eval common;
    const way *made[N_WAYS];  // of each case
    rill__table *table;
    double factor;
    rill__column columns[N_COLUMNS];  // plain_columns with the factor in a heading
    char reached_unit[32];
    uint32_t sinks, window;  // of streaming, resolved
    bool sinks_given;
} comparison;

// The options of a way; the library resolves them when it is measured.
static rill_stream_options options_of(const comparison *p, const way *w) {
    rill_stream_options o = p->common.shared.s->stream;
    uint64_t whole = p->common.total;
    o.method = w->method;
    // Recompute has sinks only where they are asked for: a model that was trained with a first
    // token of its own misses it otherwise.
    bool sinks = w->method == RILL_METHOD_STREAMING ||
                 (w->method == RILL_METHOD_RECOMPUTE && p->sinks_given);
    o.sinks = sinks ? p->sinks : 0;
    o.window = sinks ? p->window : p->sinks + p->window;
    if (w->whole) {
        o.window = whole < UINT32_MAX ? (uint32_t)whole : UINT32_MAX - 1;
        o.over_context = true;
    }
    o.rope_scaling = w->rope;
    if (w->rope == RILL_ROPE_SCALING_MODEL) o.rope_factor = 0;
    return o;
}

static void name_case(rill__eval_case *c, const way *w) {
    const rill_stream_options *o = &c->stream;
    snprintf(c->label, sizeof c->label, "%s", w->name);
    rill__types_name(c->types, o->key_type, o->value_type);
    if (w->whole)
        snprintf(c->counts, sizeof c->counts, "all");
    else
        snprintf(c->counts, sizeof c->counts, "%u+%u", o->sinks, o->window);
    if (w->rope != RILL_ROPE_SCALING_MODEL)
        snprintf(c->counts, sizeof c->counts, "all, x%.3g", (double)o->rope_factor);
    snprintf(c->name, sizeof c->name, "%s-%s-%s", w->name, c->counts, c->types);
}

// Ways that a model cannot go (RoPE stretched where there is none) are left out, and the table says
// why.
static rill_status make_cases(comparison *p, rill_error *err) {
    rill__text_eval *c = &p->common;
    const rill__settings *s = c->shared.s;
    rill_stream_options o = s->stream;
    rill_stream_bytes bytes;
    rill_status status = RILL_OK;
    o.rope_factor = 0;  // is of the ways that stretch RoPE
    if (s->capacity) status = rill__capacity_fill(s->capacity, &o, err);
    if (status == RILL_OK)
        status = rill_stream_estimate(c->shared.session.model, &o, &o, &bytes, err);
    if (status != RILL_OK) return status;
    rill__warn_past_context(&c->shared.session, &o);
    p->sinks = o.sinks;
    p->sinks_given = rill__options_given(s, RILL_FOR_COMPARE, "sinks");
    p->window = o.window;
    c->cases = rill__calloc(N_WAYS, sizeof *c->cases);
    if (!c->cases) return rill__fail_memory(err, "configurations", N_WAYS * sizeof *c->cases);
    for (size_t i = 0; i < N_WAYS; i++) {
        rill__eval_case *one = &c->cases[c->n_cases];
        const rill_stream_options wanted = options_of(p, &ways[i]);
        status = rill_stream_estimate(c->shared.session.model, &wanted, &one->stream, &bytes, err);
        if (status == RILL_EINVAL && ways[i].rope != RILL_ROPE_SCALING_MODEL) {
            rill__table_note(p->table, "%s is left out: %s", ways[i].name, err->message);
            continue;
        }
        if (status != RILL_OK) return status;
        name_case(one, &ways[i]);
        p->made[c->n_cases++] = &ways[i];
    }
    return rill__text_eval_begin(c, err);
}

// True if only some of the tokens were predicted.
static bool sampled(const comparison *p, size_t i) {
    return p->made[i]->method == RILL_METHOD_RECOMPUTE && p->common.options.every > 1;
}

static void add_row(comparison *p, size_t i, rill_status status, const rill_error *err) {
    const rill__eval_case *c = &p->common.cases[i];
    const rill__perplexity *r = &p->common.results[i];
    rill__table *t = p->table;
    rill__table_row(t);
    rill__table_text(t, MODEL, p->common.shared.session.info.name);
    rill__table_text(t, WAY, c->label);
    rill__table_text(t, KEPT, c->counts);
    rill__table_text(t, ATTENTION, rill__method_name(c->stream.method));
    rill__table_number(t, SINKS, c->stream.sinks);
    rill__table_number(t, WINDOW, c->stream.window);
    rill__table_text(t, CACHE_TYPE, c->types);
    rill__table_number(t, FACTOR, p->factor);
    rill__table_text(t, TUNING, p->made[i]->tuning);
    if (status != RILL_OK) {
        rill__table_text(t, ERROR, err->message);
        rill__table_note(t, "%s did not finish: %s", c->label, err->message);
    }
    double mean = rill__losses_mean(&r->all);
    // Recompute's last prediction may stand a little before the end.
    bool to_the_end = status == RILL_OK && r->reached == r->tokens;
    if (r->all.n)
        rill__table_number(t, REACHED, (double)(to_the_end ? p->common.total : r->reached));
    rill__table_number(t, TOKENS, (double)r->all.n);
    // Over other tokens than the rest it would not compare.
    if (!sampled(p, i)) {
        rill__table_number(t, MEAN_NLL, mean);
        rill__table_number(t, PERPLEXITY, exp(mean));
        rill__table_number(t, LAST_QUARTER, exp(rill__losses_mean(&r->last_quarter)));
    }
    if (p->common.options.every > 1) {
        double some = rill__losses_mean(&r->sampled);
        rill__table_number(t, SAMPLED_TOKENS, (double)r->sampled.n);
        rill__table_number(t, SAMPLED_MEAN_NLL, some);
        rill__table_number(t, SAMPLED, exp(some));
    }
    if (r->step_seconds > 0) rill__table_number(t, STEP, r->step_seconds);
    if (r->cache_bytes) rill__table_number(t, CACHE_BYTES, (double)r->cache_bytes);
}

static void show(void *user, size_t i, rill_status status, const rill_error *err) {
    comparison *p = user;
    p->common.n_done = i + 1;
    add_row(p, i, status, err);
    rill__text_eval_curve(&p->common, i,
                          sampled(p, i) ? "recompute (sampled)" : p->common.cases[i].label);
}

static rill_status finish(void *user, rill_error *err) {
    (void)err;
    comparison *p = user;
    rill__table *t = p->table;
    size_t full = 0, sparse = 0;
    char few[48] = "";
    for (size_t i = 0; i < p->common.n_done; i++) {
        size_t *n = sampled(p, i) ? &sparse : &full;
        // None of a way that failed before it had so many.
        if (p->common.results[i].running > *n) *n = p->common.results[i].running;
    }
    if (sparse) {
        if (full) snprintf(few, sizeof few, " (recompute: %zu)", sparse);
        rill__table_note(t,
                         "recompute predicts every %" PRIu64 "th token; sampled: each way's "
                         "perplexity over just these",
                         p->common.options.every);
    }
    if (full || sparse)
        rill__table_note(
            t,
            "stable to: as long as the mean of the last %zu losses%s is at most %.3g times "
            "that of the first",
            full ? full : sparse, few, p->factor);
    rill__table_note(t, "a token: the time of one, read by itself, at the end of the text");
    return RILL_OK;
}

static rill_status open_all(comparison *p, const rill__settings *s, rill_error *err) {
    rill__text_eval *c = &p->common;
    char size[96];
    if (!(s->factor > 1))
        return rill__fail(err, RILL_EINVAL, "--factor: %g: wants more than 1", (double)s->factor);
    rill_status status = rill__text_eval_open(c, "compare", s, err);
    if (status != RILL_OK) return status;
    uint64_t trained = c->shared.session.info.trained_context;
    status = rill__text_eval_read(c, s->n_tokens ? s->n_tokens : CONTEXTS * trained, err);
    if (status != RILL_OK) return status;
    p->factor = s->factor;
    c->options = (rill__perplexity_options){
        .every = s->every ? s->every : EVERY,
        .bucket = (c->total - 1) / CURVE_POINTS + 1,
        .factor = s->factor,
        .timed = STEPS,
    };
    memcpy(p->columns, plain_columns, sizeof p->columns);
    snprintf(p->reached_unit, sizeof p->reached_unit, "loss <= %.3g x", p->factor);
    p->columns[REACHED].unit = p->reached_unit;
    status = rill__evaluation_table(&c->shared, NULL, p->columns, N_COLUMNS, RILL_TO_ALL, &p->table,
                                    err);
    if (status == RILL_OK) status = make_cases(p, err);
    if (status != RILL_OK) return status;
    rill__text_eval_size(c, size, sizeof size);
    rill__table_title(p->table, "Ways to a long text: %s with %s (trained on %" PRIu64 "): %s",
                      c->name, c->shared.session.info.name, trained, size);
    return rill__text_eval_curves(c, true, err);
}

static rill_status measure(void *user, size_t i, bool *any, rill_error *err) {
    comparison *p = user;
    return rill__text_eval_measure(&p->common, i, any, err);
}

static int run(rill__settings *s) {
    static const rill__evaluation_steps steps = {measure, show, finish};
    comparison p = {0};
    rill_error err = {0};
    rill_status status = open_all(&p, s, &err);
    if (status == RILL_OK)
        status = rill__evaluation_each(&p.common.shared, p.common.n_cases, &steps, &p, &err);
    return rill__text_eval_close(&p.common, status, &err);
}

const rill__command rill__command_compare = {
    .name = "eval compare",
    .bit = RILL_FOR_COMPARE,
    .usage = "[MODEL] [-f FILE] [options]",
    .summary = "dense, window, recompute, stretched RoPE and streaming on one text",
    .details =
        "Reads one text (standard input without -f; 8 trained contexts of it without --tokens)\n"
        "in every way there is to go past a trained context: dense attention as it is, with\n"
        "position interpolation, and with NTK-aware scaling; a window; a window recomputed for\n"
        "each token; streaming. These ways are its configurations: sinks, window and cache type\n"
        "are one for all (rill eval perplexity takes lists). Prints how far each stays stable, "
        "its\n"
        "perplexity, the time of a token at the end of the text, and the memory of its cache.",
    .max_positionals = 1,
    .run = run,
};
