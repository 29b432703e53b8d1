// SPDX-License-Identifier: MIT
// rill eval streameval: records for ever, and questions about those some lines back.
#include "cli/eval_streameval.h"

#include "cli/command.h"
#include "cli/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_DISTANCE = 20, DEFAULT_EVERY = 10, DEFAULT_QUESTIONS = 100 };

// ---- What is asked --------------------------------------------------------------------------

// Options that only make sense with, or without, another one.
static rill_status check_options(const rill__settings *s, rill_error *err) {
    static const char *const making[] = {"distance",   "every", "queries", "lines",
                                         "first-line", "seed",  "write",   NULL};
    static const char *const streaming[] = {"attention",   "sinks",        "window",
                                            "capacity",    "cache-type",   "sink-scale",
                                            "sink-cap",    "chunk",        "rope-scaling",
                                            "rope-factor", "over-context", NULL};
    static const char *const asking[] = {"server-model", "server-context", "server-tokens",
                                         "server-timeout", NULL};
    unsigned bit = RILL_FOR_STREAMEVAL;
    for (size_t i = 0; s->read && making[i]; i++)
        if (rill__options_given(s, bit, making[i]))
            return rill__fail(err, RILL_EINVAL, "--%s: the text of --read is made already",
                              making[i]);
    for (size_t i = 0; s->server && streaming[i]; i++)
        if (rill__options_given(s, bit, streaming[i]))
            return rill__fail(err, RILL_EINVAL, "--%s: is the server's own to choose: leave it out",
                              streaming[i]);
    for (size_t i = 0; !s->server && asking[i]; i++)
        if (rill__options_given(s, bit, asking[i]))
            return rill__fail(err, RILL_EINVAL, "--%s: is for --server", asking[i]);
    if (s->n_queries && s->n_lines)
        return rill__fail(err, RILL_EINVAL, "--lines: --queries is given too: one of them");
    if (s->server && s->write)
        return rill__fail(err, RILL_EINVAL, "--write: only writes: leave out --server");
    if (s->server_tokens && !s->n_positionals)
        return rill__fail(err, RILL_EINVAL,
                          "--server-tokens: wants a model, or a folder with a tokenizer, to count "
                          "with");
    return RILL_OK;
}

static rill_status open_records(const rill__settings *s, rill__records **out, rill_error *err) {
    static const uint32_t usual[] = {DEFAULT_DISTANCE};
    const rill__lists *l = &s->lists;
    if (s->read) return rill__records_open(s->read, out, err);
    rill__records_options o = {
        .seed = s->sampling.seed,
        .first_line = s->first_line,
        .every = s->every ? s->every : DEFAULT_EVERY,
        .distances = l->n_distances ? l->distances : usual,
        .n_distances = l->n_distances ? l->n_distances : 1,
        .n_records = s->n_lines,
    };
    if (!s->n_lines)
        o.n_questions = (s->n_queries ? s->n_queries : DEFAULT_QUESTIONS) * o.n_distances;
    return rill__records_make(&o, out, err);
}

static int write_file(const rill__settings *s) {
    rill__records *records = NULL;
    rill__records_facts facts;
    rill_error err;
    rill_status status = open_records(s, &records, &err);
    if (status == RILL_OK) status = rill__records_scan(records, rill__going_on, &facts, &err);
    if (status == RILL_OK) status = rill__records_write(records, s->write, &err);
    rill__records_close(&records);
    if (status != RILL_OK) return rill__report(&err);
    fprintf(stderr, "rill: %s: %" PRIu64 " records, %" PRIu64 " questions\n", s->write,
            facts.n_records, facts.n_questions);
    return RILL_EXIT_OK;
}

// ---- Measuring ------------------------------------------------------------------------------

static void input_line(const rill__streameval_evaluation *e, char *out, size_t capacity) {
    snprintf(out, capacity, "%" PRIu64 " records, %" PRIu64 " questions, %016" PRIx64,
             e->facts.n_records, e->facts.n_questions, e->facts.hash);
}

static rill_status measure_stream(rill__streameval_evaluation *e, size_t i, rill_error *err) {
    char title[96], input[128];
    const rill__eval_case *c = &e->cases[i];
    rill__bar bar = {.label = title, .unit = "questions"};
    rill__job job = {.progress = rill__progress, .user = &bar};
    rill__evaluation_title(title, sizeof title, c->label, i, e->n_cases);
    input_line(e, input, sizeof input);
    rill__warn_past_context(&e->shared.session, &c->stream);
    rill_status status = rill__evaluation_stream_case(&e->shared, c->name, &c->stream, input,
                                                      sizeof(rill__answer), &job.journal, err);
    if (status == RILL_OK)
        status = rill__streameval_measure(e->shared.session.model, &c->stream, e->records, &job,
                                          &e->results[i].measured, err);
    rill__case_close(&job.journal);
    rill__progress_clear();
    return status;
}

static rill_status measure_server(rill__streameval_evaluation *e, rill_error *err) {
    const rill__settings *s = e->shared.s;
    char input[512];
    rill__completer *server = NULL;
    const char *key = getenv("RILL_SERVER_KEY");
    const rill__completer_options options = {.url = s->server,
                                             .model = s->server_model,
                                             .key = key && *key ? key : NULL,
                                             .timeout = s->server_timeout,
                                             .go_on = rill__going_on};
    const rill__server_context context = {.characters = s->server_context,
                                          .tokens = s->server_tokens,
                                          .tokenizer = e->shared.session.model};
    rill__bar bar = {.label = "server", .unit = "questions"};
    rill__job job = {.progress = rill__progress, .user = &bar};
    input_line(e, input, sizeof input);
    size_t n = strlen(input);
    // The text's tokens stand for the tokenizer, which decides where it is cut.
    snprintf(input + n, sizeof input - n,
             " of %" PRIu64 " tokens, %.200s, %" PRIu64 " characters, %" PRIu64 " tokens",
             e->n_tokens, s->server, s->server_context, s->server_tokens);
    rill_status status = rill__completer_open(&options, &server, err);
    if (status == RILL_OK)
        status = rill__evaluation_case(&e->shared, "server", NULL, input, sizeof(rill__answer),
                                       &job.journal, err);
    if (status == RILL_OK)
        status =
            rill__streameval_ask(server, &context, e->records, &job, &e->results[0].measured, err);
    rill__completer_close(&server);
    rill__case_close(&job.journal);
    rill__progress_clear();
    return status;
}

static rill_status open_all(rill__streameval_evaluation *e, const rill__settings *s,
                            rill_error *err) {
    rill_status status = rill__evaluation_open(&e->shared, "streameval", s, err);
    if (status == RILL_OK) status = open_records(s, &e->records, err);
    rill__reading("the records");
    if (status == RILL_OK)
        status = rill__records_scan(e->records, rill__reading_on, &e->facts, err);
    const rill_model *model = e->shared.session.model;
    if (status == RILL_OK && model)
        status = rill__streameval_tokens(model, e->records, rill__reading_on, &e->n_tokens, err);
    rill__progress_clear();
    e->n_cases = 1;
    if (status == RILL_OK && !s->server)
        status = rill__eval_cases(s, model, e->n_tokens, &e->cases, &e->n_cases, err);
    if (status != RILL_OK) return status;
    e->results = rill__calloc(e->n_cases, sizeof *e->results);
    if (!e->results) return rill__fail_memory(err, "results", e->n_cases * sizeof *e->results);
    for (size_t i = 0; i < e->n_cases && !s->server; i++)
        e->results[i].configuration = &e->cases[i];
    return RILL_OK;
}

static rill_status measure(void *user, size_t i, bool *any, rill_error *err) {
    rill__streameval_evaluation *e = user;
    rill_status status = e->shared.s->server ? measure_server(e, err) : measure_stream(e, i, err);
    *any = e->results[i].measured.n_answers > 0;
    return status;
}

static void note(void *user, size_t i, rill_status status, const rill_error *err) {
    rill__streameval_evaluation *e = user;
    rill__streameval_result *r = &e->results[i];
    r->status = status;
    if (status != RILL_OK) snprintf(r->message, sizeof r->message, "%s", err->message);
    e->n_done = i + 1;
}

static int run(rill__settings *s) {
    static const rill__evaluation_steps steps = {measure, note, rill__streameval_show};
    rill__streameval_evaluation e = {0};
    rill_error err = {0};
    rill_status status = check_options(s, &err);
    if (status != RILL_OK) return rill__report(&err);
    if (s->write) return write_file(s);
    status = open_all(&e, s, &err);
    if (status == RILL_OK) status = rill__evaluation_each(&e.shared, e.n_cases, &steps, &e, &err);
    for (size_t i = 0; i < e.n_cases && e.results; i++)
        rill__streameval_deinit(&e.results[i].measured);
    rill__free(e.results);
    rill__free(e.cases);
    rill__records_close(&e.records);
    return rill__evaluation_close(&e.shared, status, &err);
}

const rill__command rill__command_streameval = {
    .name = "eval streameval",
    .bit = RILL_FOR_STREAMEVAL,
    .usage = "[MODEL] [options]",
    .summary = "what a stream, or a server, still knows of the lines that it read",
    .details =
        "StreamEval of the StreamingLLM paper: numbered records that never end and, every 10 of\n"
        "them, a question about the one 20 lines back. An answer is right when every digit\n"
        "is. Several distances are asked for in turns. The table also says how often the record\n"
        "was still in the cache, wholly or partly, when the answer was given: what has left the\n"
        "cache cannot be known.\n"
        "\n"
        "--server asks any server with the OpenAI API's /v1/completions instead of a model here\n"
        "($RILL_SERVER_KEY is its key, if it wants one). --write and --read keep the text in a\n"
        "file, so that other programs can be asked the same.",
    .max_positionals = 1,
    .run = run,
};
