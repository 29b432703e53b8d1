// SPDX-License-Identifier: MIT
// rill eval: how well a model does on a text under each way of seeing the past.
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/number.h"
#include "cli/reader.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/buffer.h"

#include "eval/perplexity.h"

#include <string.h>

static const char *const method_names[] = {"streaming", "window", "dense", "recompute"};

typedef struct collector {
    rill__bytes tokens;
    size_t wanted;  // 0: all
    bool full;
} collector;

// Enough is enough: a text may be endless.
static rill_status collect(void *user, const rill_token *tokens, size_t n, rill_error *err) {
    collector *c = user;
    size_t have = c->tokens.length / sizeof *tokens;
    if (c->wanted && n > c->wanted - have) n = c->wanted - have;
    rill_status status = rill__bytes_append(&c->tokens, tokens, n * sizeof *tokens, err);
    c->full = c->wanted && have + n == c->wanted;
    if (status == RILL_OK && c->full) return rill__fail(err, RILL_EINTERRUPTED, "enough");
    return status;
}

static rill_status read_text(rill__session *session, const rill__settings *s, collector *c,
                             rill_error *err) {
    rill__bytes_init(&c->tokens, 0);
    // One more than is predicted: the first token is given.
    c->wanted = s->n_tokens ? (size_t)s->n_tokens + 1 : 0;
    rill_status status = rill__read_tokens(session->model, NULL, s->file ? s->file : "-",
                                           RILL_TEXT_ADD_SPECIAL, collect, c, err);
    if (status == RILL_EINTERRUPTED && c->full) status = RILL_OK;
    return status;
}

static void print_result(const rill__session *session, const rill__perplexity *p, bool json) {
    const rill_stream_options *o = rill_stream_get_options(session->stream);
    char bytes[32];
    rill__number_bytes(bytes, sizeof bytes, p->cache_bytes);
    if (json) {
        (void)rill__machine_line(
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:f, s:f, s:f, s:I}", "eval", "perplexity",
                      "model", session->info.name, "attention", method_names[o->method], "sinks",
                      (int)o->sinks, "window", (int)o->window, "tokens", (json_int_t)p->predicted,
                      "mean_nll", p->mean_nll, "perplexity", p->perplexity, "tokens_per_second",
                      p->tokens_per_second, "cache_bytes", (json_int_t)p->cache_bytes));
        return;
    }
    rill__outputf(
        "%s %u+%u: perplexity %.4f (mean loss %.5f nats over %llu tokens), %.1f tokens/s, "
        "cache %s\n",
        method_names[o->method], o->sinks, o->window, p->perplexity, p->mean_nll,
        (unsigned long long)p->predicted, p->tokens_per_second, bytes);
}

static int run(rill__settings *s) {
    rill__session session = {0};
    rill_error err = {0};
    rill__perplexity result;
    collector text = {0};
    if (!s->n_positionals || strcmp(s->positionals[0], "perplexity") != 0)
        return rill__usage("eval: %s%.80s: rill eval perplexity [MODEL] -f FILE is right",
                           s->n_positionals ? "no such evaluation: " : "wants a measure",
                           s->n_positionals ? s->positionals[0] : "");
    rill_status status =
        rill__session_open(&session, s, s->n_positionals > 1 ? s->positionals[1] : NULL, &err);
    if (status == RILL_OK) status = read_text(&session, s, &text, &err);
    size_t n = text.tokens.length / sizeof(rill_token);
    if (status == RILL_OK && n < 2)
        status = rill__fail(&err, RILL_EINVAL,
                            "--file: the text is too short (%zu tokens): wants 2 or more", n);
    if (status == RILL_OK && s->stream.method == RILL_METHOD_DENSE && !s->stream.window)
        s->stream.window = n - 1 < UINT32_MAX ? (uint32_t)(n - 1) : UINT32_MAX;
    if (status == RILL_OK) status = rill__session_stream(&session, s, RILL_FOR_EVAL, false, &err);
    if (status == RILL_OK)
        status = rill__perplexity_measure(session.stream, (rill_token *)(void *)text.tokens.data, n,
                                          rill__progress, (void *)"perplexity", &result, &err);
    if (status == RILL_OK) print_result(&session, &result, s->json);
    rill__bytes_deinit(&text.tokens);
    rill__session_close(&session);
    return status == RILL_OK ? rill__output_status() : rill__report(&err);
}

const rill__command rill__command_eval = {
    .name = "eval",
    .bit = RILL_FOR_EVAL,
    .usage = "perplexity [MODEL] [-f FILE] [options]",
    .summary = "measure perplexity on a text",
    .details =
        "Reads a text (standard input without -f) and prints the perplexity under the way of\n"
        "seeing the past that --attention names. Dense holds the whole text: past the trained\n"
        "context it needs --over-context.",
    .max_positionals = 2,
    .run = run,
};
