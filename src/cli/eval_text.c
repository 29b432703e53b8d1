// SPDX-License-Identifier: MIT
// Measures on a text: from the command line to losses by configuration.
#include "cli/eval_text.h"

#include "cli/terminal.h"

#include "base/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

rill_status rill__text_eval_open(rill__text_eval *p, const char *measure, const rill__settings *s,
                                 rill_error *err) {
    *p = (rill__text_eval){0};
    p->name = rill__evaluation_file_name(s);
    return rill__evaluation_open(&p->shared, measure, s, err);
}

// The token that --message-token names, in *out.
static rill_status message_token(const rill__text_eval *p, rill_token *out, rill_error *err) {
    const char *text = p->shared.s->message_token;
    rill_token *tokens;
    size_t n;
    if (!text) return RILL_OK;
    rill_status status = rill_encode(p->shared.session.model, text, strlen(text),
                                     RILL_TEXT_PARSE_SPECIAL, &tokens, &n, err);
    if (status != RILL_OK) return status;
    if (n == 1) *out = tokens[0];
    rill_tokens_free(tokens);
    return n == 1
               ? RILL_OK
               : rill__fail(err, RILL_EINVAL,
                            "--message-token: '%.80s': is %zu tokens of this model: one is right",
                            text, n);
}

rill_status rill__text_eval_read(rill__text_eval *p, uint64_t n_tokens, rill_error *err) {
    const rill__settings *s = p->shared.s;
    unsigned flags = s->synthetic ? RILL__TEXT_BYTES : RILL_TEXT_ADD_SPECIAL;
    if (s->message_token) flags |= RILL_TEXT_PARSE_SPECIAL;
    p->options.by_message = s->message_token != NULL;
    rill_status status = message_token(p, &p->options.message, err);
    rill__reading(p->name);
    // One more than is predicted: the first token is given.
    if (status == RILL_OK)
        status = rill__text_open(p->shared.session.model, s->file ? s->file : "-", flags,
                                 n_tokens ? n_tokens + 1 : 0, rill__reading_on, &p->text, err);
    rill__progress_clear();
    if (status != RILL_OK) return status;
    p->facts = rill__text_get_facts(p->text);
    if (p->facts->n_tokens < 2)
        return rill__fail(err, RILL_EINVAL,
                          "--file: the text is too short (%" PRIu64 " tokens): wants 2 or more",
                          p->facts->n_tokens);
    p->total = p->facts->n_tokens - 1;
    return RILL_OK;
}

rill_status rill__text_eval_begin(rill__text_eval *p, rill_error *err) {
    p->results = rill__calloc(p->n_cases, sizeof *p->results);
    return p->results ? RILL_OK
                      : rill__fail_memory(err, "results", p->n_cases * sizeof *p->results);
}

// On what a case is measured; where tokens are timed, with what.
static void input_line(const rill__text_eval *p, const rill__eval_case *c, char *out,
                       size_t capacity) {
    const rill__perplexity_options *o = &p->options;
    size_t n =
        (size_t)snprintf(out, capacity,
                         "%" PRIu64 " tokens, %016" PRIx64 ", every %" PRIu64 ", timed %" PRIu64,
                         p->facts->n_tokens, p->facts->hash, o->every, o->timed);
    if (o->by_message)
        n += (size_t)snprintf(out + n, capacity - n, ", messages at %d", (int)o->message);
    if (o->timed)
        snprintf(out + n, capacity - n, ", chunk %u, %s", c->stream.chunk,
                 rill_device_describe(p->shared.session.device));
}

rill_status rill__text_eval_measure(rill__text_eval *p, size_t i, bool *any, rill_error *err) {
    char label[96], input[512];
    const rill__eval_case *c = &p->cases[i];
    rill__bar bar = {.label = label, .unit = "tokens"};
    rill__job job = {.progress = rill__progress, .user = &bar};
    rill__evaluation_title(label, sizeof label, c->label, i, p->n_cases);
    input_line(p, c, input, sizeof input);
    rill__reading(p->name);  // again, up to where the journal was
    rill_status status = rill__evaluation_stream_case(&p->shared, c->name, &c->stream, input,
                                                      RILL_PERPLEXITY_RECORD, &job.journal, err);
    if (status == RILL_OK)
        status = rill__perplexity_measure(p->shared.session.model, &c->stream, p->text, &p->options,
                                          &job, &p->results[i], err);
    *any = p->results[i].all.n > 0;
    rill__case_close(&job.journal);
    rill__progress_clear();
    return status;
}

// ---- Curves ---------------------------------------------------------------------------------

// For machines: a row for each configuration and place. The first column is of ways only, the last
// one not.
enum {
    WAY,
    MODEL,
    ATTENTION,
    SINKS,
    WINDOW,
    CACHE_TYPE,
    POSITION,
    TOKENS,
    MEAN_NLL,
    PERPLEXITY,
    RUNNING,
    SAMPLED_TOKENS,
    SAMPLED_NLL,
    EVICT,
    N_COLUMNS
};
static const rill__column columns[N_COLUMNS] = {
    [WAY] = {"way", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [MODEL] = {"model", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [ATTENTION] = {"attention", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [SINKS] = {"sinks", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [WINDOW] = {"window", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [CACHE_TYPE] = {"cache_type", NULL, NULL, RILL_COLUMN_TEXT, 0},
    [POSITION] = {"position", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [TOKENS] = {"tokens", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [MEAN_NLL] = {"mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
    [PERPLEXITY] = {"perplexity", NULL, NULL, RILL_COLUMN_REAL, 4},
    [RUNNING] = {"running_mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
    [SAMPLED_TOKENS] = {"sampled_tokens", NULL, NULL, RILL_COLUMN_COUNT, 0},
    [SAMPLED_NLL] = {"sampled_mean_nll", NULL, NULL, RILL_COLUMN_REAL, 5},
    [EVICT] = {"evict", NULL, NULL, RILL_COLUMN_TEXT, 0},
};

rill_status rill__text_eval_curves(rill__text_eval *p, bool ways, rill_error *err) {
    char title[256];
    rill__evaluation *e = &p->shared;
    bool buckets = e->s->bucket != 0;
    p->first_column = ways ? WAY : MODEL;
    rill_status status =
        rill__evaluation_table(e, buckets ? "buckets" : "curve", columns + p->first_column,
                               N_COLUMNS - 1, RILL_TO_CSV | (buckets ? RILL_TO_JSON : 0u),
                               &p->curve, err);
    if (status != RILL_OK || !e->s->figure) return status;
    snprintf(title, sizeof title, "%s, %s", e->session.info.name, p->name);
    status = rill__figure_new(title, "tokens read", buckets ? "perplexity" : "perplexity so far",
                              &e->figure, err);
    if (status != RILL_OK) return status;
    rill__figure_log(e->figure, false, true);
    uint32_t trained = e->session.info.trained_context;
    if (trained && trained < p->total) rill__figure_mark(e->figure, trained, "trained context");
    return RILL_OK;
}

double rill__text_eval_bucket_mean(const rill__text_eval *p, const rill__bucket *b) {
    return rill__losses_mean(p->options.every > 1 ? &b->sampled : &b->all);
}

static void put_number(const rill__text_eval *p, size_t column, double value) {
    rill__table_number(p->curve, column - p->first_column, value);
}

static void put_text(const rill__text_eval *p, size_t column, const char *text) {
    rill__table_text(p->curve, column - p->first_column, text);
}

static void add_place(const rill__text_eval *p, size_t i, uint64_t position, const rill__bucket *b,
                      double running) {
    const rill__eval_case *c = &p->cases[i];
    double mean = rill__losses_mean(&b->all);
    rill__table_row(p->curve);
    if (p->first_column == WAY)
        put_text(p, WAY, c->label);
    else if (p->shared.s->message_token)
        put_text(p, EVICT, rill__evict_name(c->stream.evict));
    put_text(p, MODEL, p->shared.session.info.name);
    put_text(p, ATTENTION, rill__method_name(c->stream.method));
    put_number(p, SINKS, c->stream.sinks);
    put_number(p, WINDOW, c->stream.window);
    put_text(p, CACHE_TYPE, c->types);
    put_number(p, POSITION, (double)position);
    put_number(p, TOKENS, (double)b->all.n);
    put_number(p, MEAN_NLL, mean);
    put_number(p, PERPLEXITY, exp(mean));
    put_number(p, RUNNING, running);
    if (p->options.every == 1) return;
    put_number(p, SAMPLED_TOKENS, (double)b->sampled.n);
    put_number(p, SAMPLED_NLL, rill__losses_mean(&b->sampled));
}

void rill__text_eval_curve(rill__text_eval *p, size_t i, const char *name) {
    const rill__perplexity *r = &p->results[i];
    rill__figure *f = p->shared.figure;
    rill__losses so_far = {0};
    if (!r->all.n) return;
    if (f) rill__figure_series(f, name);
    for (size_t j = 0; j < r->n_buckets && r->buckets; j++) {
        const rill__bucket *b = &r->buckets[j];
        uint64_t end = (j + 1) * p->options.bucket;
        if (end > r->tokens) end = r->tokens;
        if (!b->all.n) continue;
        so_far.n += b->all.n;
        so_far.sum += b->all.sum;
        double running = rill__losses_mean(&so_far);
        double shown = p->shared.s->bucket ? rill__text_eval_bucket_mean(p, b) : running;
        if (f) rill__figure_point(f, (double)end, exp(shown));
        add_place(p, i, end, b, running);
    }
}

void rill__text_eval_size(const rill__text_eval *p, char *out, size_t capacity) {
    char tokens[24], bytes[24], words[24];
    rill__number_grouped(tokens, sizeof tokens, p->total);
    rill__number_grouped(bytes, sizeof bytes, p->facts->bytes);
    rill__number_grouped(words, sizeof words, p->facts->words);
    snprintf(out, capacity, "%s tokens, %s bytes, %s words", tokens, bytes, words);
}

int rill__text_eval_close(rill__text_eval *p, rill_status status, const rill_error *err) {
    for (size_t i = 0; i < p->n_cases && p->results; i++) rill__perplexity_deinit(&p->results[i]);
    rill__free(p->results);
    rill__free(p->cases);
    rill__text_close(&p->text);
    return rill__evaluation_close(&p->shared, status, err);
}
