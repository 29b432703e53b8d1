// SPDX-License-Identifier: MIT
// Measures on a text: from the command line to losses by configuration.
#include "cli/eval_text.h"

#include "cli/number.h"
#include "cli/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

rill_status rill__text_eval_open(rill__text_eval *p, const char *measure, const rill__settings *s,
                                 rill_error *err) {
    *p = (rill__text_eval){0};
    p->name = rill__evaluation_file_name(s);
    return rill__evaluation_open(&p->shared, measure, s, err);
}

// The token that --message-token names, in *out; -1 without it.
static rill_status message_token(const rill__text_eval *p, rill_token *out, rill_error *err) {
    const char *text = p->shared.s->message_token;
    rill_token *tokens;
    size_t n;
    *out = -1;
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
    rill_status status = message_token(p, &p->options.message, err);
    // One more than is predicted: the first token is given.
    if (status == RILL_OK)
        status = rill__text_open(p->shared.session.model, s->file ? s->file : "-", flags,
                                 n_tokens ? n_tokens + 1 : 0, rill__going_on, &p->text, err);
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
    if (o->message >= 0)
        n += (size_t)snprintf(out + n, capacity - n, ", messages at %d", (int)o->message);
    if (o->timed)
        snprintf(out + n, capacity - n, ", chunk %u, %s", c->stream.chunk,
                 rill_device_describe(p->shared.session.device));
}

rill_status rill__text_eval_measure(rill__text_eval *p, size_t i, bool *any, rill_error *err) {
    char label[96], input[512];
    const rill__eval_case *c = &p->cases[i];
    rill__case *journal = NULL;
    rill__bar bar = {.label = label, .unit = "tokens"};
    rill__evaluation_title(label, sizeof label, c->label, i, p->n_cases);
    input_line(p, c, input, sizeof input);
    rill_status status = rill__evaluation_stream_case(&p->shared, c->name, &c->stream, input,
                                                      RILL_PERPLEXITY_RECORD, &journal, err);
    if (status == RILL_OK)
        status = rill__perplexity_measure(p->shared.session.model, &c->stream, p->text, &p->options,
                                          journal, rill__progress, &bar, &p->results[i], err);
    *any = p->results[i].all.n > 0;
    rill__case_close(&journal);
    rill__progress_clear();
    return status;
}

rill_status rill__text_eval_figure(rill__text_eval *p, const char *y_label, rill_error *err) {
    char title[256];
    if (!p->shared.s->figure) return RILL_OK;
    snprintf(title, sizeof title, "%s, %s", p->shared.session.info.name, p->name);
    rill_status status = rill__figure_new(title, "tokens read", y_label, &p->shared.figure, err);
    if (status != RILL_OK) return status;
    rill__figure_log(p->shared.figure, false, true);
    uint32_t trained = p->shared.session.info.trained_context;
    if (trained && trained < p->total)
        rill__figure_mark(p->shared.figure, trained, "trained context");
    return RILL_OK;
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
