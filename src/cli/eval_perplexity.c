// SPDX-License-Identifier: MIT
// rill eval perplexity: a text of any length under each configuration.
#include "cli/command.h"
#include "cli/evaluation.h"
#include "cli/number.h"
#include "cli/terminal.h"

#include "eval/perplexity.h"
#include "eval/room.h"

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

// The curve and, with --bucket, its buckets, for machines: a row for each configuration and place.
enum {
    C_ATTENTION,
    C_SINKS,
    C_WINDOW,
    C_TYPE,
    C_POSITION,
    C_TOKENS,
    C_NLL,
    C_PPL,
    C_RUNNING,
    N_CURVE
};
static const rill__column curve_columns[N_CURVE] = {
    [C_ATTENTION] = {"attention", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [C_SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [C_WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [C_TYPE] = {"cache_type", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [C_POSITION] = {"position", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [C_TOKENS] = {"tokens", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [C_NLL] = {"mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
    [C_PPL] = {"perplexity", NULL, NULL, RILL_COLUMN_REAL, 4},
    [C_RUNNING] = {"running_mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
};

typedef struct evaluation {
    rill__evaluation shared;
    rill__text *text;
    const rill__text_facts *facts;
    rill__perplexity_options options;
    rill__eval_case *cases;
    size_t n_cases;
    rill__perplexity *results;  // [n_cases]
    rill__table *table, *curve;
    rill__column *heads;  // of the table by bucket
    size_t n_done;
} evaluation;

// ---- Measuring ------------------------------------------------------------------------------

static rill_status measure_case(evaluation *p, size_t i, rill_error *err) {
    char label[96], input[128], name[96];
    const rill__eval_case *c = &p->cases[i];
    rill__case *journal = NULL;
    rill__bar bar = {.label = label, .unit = "tokens"};
    snprintf(label, sizeof label, p->n_cases > 1 ? "%s (%zu of %zu)" : "%s", c->label, i + 1,
             p->n_cases);
    snprintf(name, sizeof name, "%s-%s", c->label, c->types);
    snprintf(input, sizeof input, "%" PRIu64 " tokens, %016" PRIx64 ", every %" PRIu64,
             p->facts->n_tokens, p->facts->hash, p->options.every);
    rill__warn_past_context(&p->shared.session, &c->stream);
    rill_status status = rill__room_check(p->shared.session.model, &c->stream, NULL, err);
    if (status == RILL_OK)
        status = rill__evaluation_case(&p->shared, name, &c->stream, input, RILL_PERPLEXITY_RECORD,
                                       &journal, err);
    if (status == RILL_OK)
        status = rill__perplexity_measure(p->shared.session.model, &c->stream, p->text, &p->options,
                                          journal, rill__progress, &bar, &p->results[i], err);
    rill__case_close(&journal);
    rill__progress_clear();
    return status;
}

// ---- Results --------------------------------------------------------------------------------

static void add_row(evaluation *p, size_t i, rill_status status, const rill_error *err) {
    const rill__eval_case *c = &p->cases[i];
    const rill__perplexity *r = &p->results[i];
    rill__table *t = p->table;
    rill__table_row(t);
    rill__table_text(t, MODEL, p->shared.session.info.name);
    rill__table_text(t, ATTENTION, rill__method_name(c->stream.method));
    rill__table_number(t, SINKS, c->stream.sinks);
    rill__table_number(t, WINDOW, c->stream.window);
    rill__table_text(t, CACHE_TYPE, c->types);
    rill__table_number(t, OFFICIAL, p->shared.s->official);
    if (status != RILL_OK) {
        rill__table_text(t, ERROR, err->message);
        rill__table_note(t, "%s did not finish: %s", c->label, err->message);
    }
    double mean = rill__losses_mean(&r->all);
    rill__table_number(t, TOKENS, (double)r->all.n);
    rill__table_number(t, MEAN_NLL, mean);
    rill__table_number(t, PERPLEXITY, exp(mean));
    if (status == RILL_OK) {
        double nats = mean * (double)(p->facts->n_tokens - 1);
        rill__table_number(t, BYTE_PERPLEXITY, exp(nats / (double)p->facts->bytes));
        rill__table_number(t, WORD_PERPLEXITY, exp(nats / (double)p->facts->words));
    }
    if (p->options.every > 1) {
        double sampled = rill__losses_mean(&r->sampled);
        rill__table_number(t, SAMPLED_TOKENS, (double)r->sampled.n);
        rill__table_number(t, SAMPLED_MEAN_NLL, sampled);
        rill__table_number(t, SAMPLED_PERPLEXITY, exp(sampled));
    }
    if (r->seconds > 0)
        rill__table_number(t, TOKENS_PER_SECOND, (double)r->n_computed / r->seconds);
    if (r->cache_bytes) rill__table_number(t, CACHE_BYTES, (double)r->cache_bytes);
}

static void add_curve(evaluation *p, size_t i) {
    const rill__eval_case *c = &p->cases[i];
    const rill__perplexity *r = &p->results[i];
    rill__figure *f = p->shared.figure;
    rill__losses so_far = {0};
    if (f) rill__figure_series(f, c->label);
    for (size_t j = 0; j < r->n_buckets && r->buckets; j++) {
        const rill__losses *b = &r->buckets[j];
        uint64_t end = (j + 1) * p->options.bucket;
        if (end > r->tokens) end = r->tokens;
        if (!b->n) continue;
        so_far.n += b->n;
        so_far.sum += b->sum;
        double mean = rill__losses_mean(b), running = rill__losses_mean(&so_far);
        if (f) rill__figure_point(f, (double)end, exp(p->shared.s->bucket ? mean : running));
        rill__table_row(p->curve);
        rill__table_text(p->curve, C_ATTENTION, rill__method_name(c->stream.method));
        rill__table_number(p->curve, C_SINKS, c->stream.sinks);
        rill__table_number(p->curve, C_WINDOW, c->stream.window);
        rill__table_text(p->curve, C_TYPE, c->types);
        rill__table_number(p->curve, C_POSITION, (double)end);
        rill__table_number(p->curve, C_TOKENS, (double)b->n);
        rill__table_number(p->curve, C_NLL, mean);
        rill__table_number(p->curve, C_PPL, exp(mean));
        rill__table_number(p->curve, C_RUNNING, running);
    }
}

// For people: a line for each bucket, a column for each configuration.
static rill_status bucket_table(evaluation *p, rill_error *err) {
    rill__table *t;
    rill__column *heads = p->heads = rill__calloc(p->n_done + 1, sizeof *heads);
    if (!heads) return rill__fail_memory(err, "a table", (p->n_done + 1) * sizeof *heads);
    heads[0] = (rill__column){"position", "tokens", NULL, RILL_COLUMN_TEXT, 0};
    for (size_t i = 0; i < p->n_done; i++) {
        const rill__eval_case *c = &p->cases[i];
        const char *counts = c->counts[0] ? c->counts : NULL;
        heads[i + 1] =
            (rill__column){c->label, rill__method_name(c->stream.method),
                           p->shared.s->lists.n_types > 1 ? c->types : counts, RILL_COLUMN_REAL, 3};
    }
    rill_status status = rill__evaluation_table(&p->shared, "by-bucket", heads, p->n_done + 1,
                                                RILL_TO_PEOPLE, &t, err);
    if (status != RILL_OK) return status;
    rill__table_title(t, "Perplexity of every %" PRIu64 " tokens", p->options.bucket);
    uint64_t total = p->facts->n_tokens - 1;
    for (uint64_t first = 0; first < total; first += p->options.bucket) {
        uint64_t end = total - first < p->options.bucket ? total : first + p->options.bucket;
        char range[64], a[24], b[24];
        rill__number_grouped(a, sizeof a, first + 1);
        rill__number_grouped(b, sizeof b, end);
        snprintf(range, sizeof range, "%s - %s", a, b);
        rill__table_row(t);
        rill__table_text(t, 0, range);
        for (size_t i = 0; i < p->n_done; i++)
            if (p->results[i].buckets)
                rill__table_number(
                    t, i + 1,
                    exp(rill__losses_mean(&p->results[i].buckets[first / p->options.bucket])));
    }
    return RILL_OK;
}

static rill_status begin_results(evaluation *p, rill_error *err) {
    const rill__settings *s = p->shared.s;
    const char *file = !s->file || !strcmp(s->file, "-") ? "standard input" : s->file;
    const char *slash = strrchr(file, '/');
    char tokens[24], bytes[24], words[24], title[256];
    rill__number_grouped(tokens, sizeof tokens, p->facts->n_tokens - 1);
    rill__number_grouped(bytes, sizeof bytes, p->facts->bytes);
    rill__number_grouped(words, sizeof words, p->facts->words);
    rill_status status =
        rill__evaluation_table(&p->shared, NULL, columns, N_COLUMNS, RILL_TO_ALL, &p->table, err);
    if (status == RILL_OK)
        status = rill__evaluation_table(&p->shared, s->bucket ? "buckets" : "curve", curve_columns,
                                        N_CURVE, RILL_TO_CSV | (s->bucket ? RILL_TO_JSON : 0u),
                                        &p->curve, err);
    if (status != RILL_OK) return status;
    rill__table_title(p->table, "Perplexity of %s with %s: %s tokens, %s bytes, %s words",
                      slash ? slash + 1 : file, p->shared.session.info.name, tokens, bytes, words);
    if (!s->figure) return RILL_OK;
    snprintf(title, sizeof title, "%s, %s", p->shared.session.info.name, slash ? slash + 1 : file);
    status = rill__figure_new(title, "tokens read", s->bucket ? "perplexity" : "perplexity so far",
                              &p->shared.figure, err);
    if (status != RILL_OK) return status;
    rill__figure_log(p->shared.figure, false, true);
    uint32_t trained = p->shared.session.info.trained_context;
    if (trained && trained < p->facts->n_tokens - 1)
        rill__figure_mark(p->shared.figure, trained, "trained context");
    return RILL_OK;
}

static void add_notes(evaluation *p) {
    if (p->options.every > 1)
        rill__table_note(p->table,
                         "sampled: over every %" PRIu64
                         "th token alone, all that recompute predicts",
                         p->options.every);
    if (p->shared.s->official)
        rill__table_note(p->table, "counted as the paper's script does: the current token comes on "
                                   "top of its n + m, so the window is one more");
}

// ---- The command ----------------------------------------------------------------------------

static rill_status open_all(evaluation *p, const rill__settings *s, rill_error *err) {
    rill_status status = rill__evaluation_open(&p->shared, "perplexity", s, err);
    // One more than is predicted: the first token is given.
    if (status == RILL_OK)
        status =
            rill__text_open(p->shared.session.model, s->file ? s->file : "-", RILL_TEXT_ADD_SPECIAL,
                            s->n_tokens ? s->n_tokens + 1 : 0, rill__going_on, &p->text, err);
    if (status != RILL_OK) return status;
    p->facts = rill__text_get_facts(p->text);
    uint64_t n = p->facts->n_tokens;
    if (n < 2)
        return rill__fail(err, RILL_EINVAL,
                          "--file: the text is too short (%" PRIu64 " tokens): wants 2 or more", n);
    p->options.every = s->every ? s->every : 1;
    p->options.bucket = s->bucket ? s->bucket : (n - 2) / CURVE_POINTS + 1;
    status = rill__eval_cases(s, p->shared.session.model, n - 1, &p->cases, &p->n_cases, err);
    if (status != RILL_OK) return status;
    p->results = rill__calloc(p->n_cases, sizeof *p->results);
    if (!p->results) return rill__fail_memory(err, "results", p->n_cases * sizeof *p->results);
    return begin_results(p, err);
}

// Prints what there is, of an interrupted call too.
static rill_status write_results(evaluation *p, rill_error *err) {
    rill_status status = RILL_OK;
    add_notes(p);
    for (size_t i = 0; i < p->n_done; i++) add_curve(p, i);
    if (p->shared.s->bucket) status = bucket_table(p, err);
    return status == RILL_OK ? rill__evaluation_write(&p->shared, err) : status;
}

static int run(rill__settings *s) {
    evaluation p = {0};
    rill_error err = {0}, failed;
    rill_status status = open_all(&p, s, &err), written;
    bool all_failed = true;
    while (status == RILL_OK && p.n_done < p.n_cases) {
        rill_status one = measure_case(&p, p.n_done, &err);
        if (one != RILL_OK && !rill__evaluation_goes_on(one)) {
            status = one;
            break;
        }
        add_row(&p, p.n_done++, one, &err);
        if (one == RILL_OK) all_failed = false;
    }
    if (p.n_done) {
        written = write_results(&p, &failed);
        if (status == RILL_OK && written != RILL_OK) {
            status = written;
            err = failed;
        } else if (status == RILL_OK && all_failed) {
            status = RILL_ENOMEM;  // err has the last one's reason
        }
    }
    for (size_t i = 0; i < p.n_cases && p.results; i++) rill__perplexity_deinit(&p.results[i]);
    rill__free(p.results);
    rill__free(p.cases);
    rill__text_close(&p.text);
    int exit_status = rill__evaluation_close(&p.shared, status, &err);
    rill__free(p.heads);
    return exit_status;
}

const rill__command rill__command_perplexity = {
    .name = "eval perplexity",
    .bit = RILL_FOR_PERPLEXITY,
    .usage = "[MODEL] [-f FILE] [options]",
    .summary = "how well a text is predicted, by configuration and position",
    .details =
        "Reads a text of any length (standard input without -f) under each configuration and\n"
        "prints the perplexity a token, a byte and a word: exp of the mean loss. --figure draws\n"
        "how it goes along the text. Every combination of the lists is measured; --sinks is for\n"
        "streaming where several ways of attention are named (recompute by itself has those\n"
        "given, else none). Dense holds the whole text: past the trained context it needs\n"
        "--over-context. A configuration that runs out of memory is left, and the others go on.",
    .max_positionals = 1,
    .run = run,
};
