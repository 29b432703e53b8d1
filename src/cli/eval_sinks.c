// SPDX-License-Identifier: MIT
// rill eval sinks: where attention goes, how many tokens are worth keeping for ever, and which.
//
// Three parts, each a table: attention by position, seen by a stream that keeps the first 16
// tokens; perplexity by number of sinks, and by which tokens they are; with --memory, the sinks,
// window and cache type that predict best within so many bytes. What is recommended is what was
// measured.
#include "cli/eval_sinks.h"

#include "cli/command.h"
#include "cli/terminal.h"

#include "base/utf8.h"

#include "eval/text.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_TOKENS = 10000, MIN_TOKENS = 64 };

// What the tokenizer puts in front of a text: by how much "a" with it begins later than "a".
static rill_status find_head(rill__sinks_eval *e, rill_error *err) {
    rill_token *with = NULL, *plain = NULL;
    size_t n_with = 0, n_plain = 0;
    const rill_model *model = e->all.session.model;
    rill_status status = rill_encode(model, "a", 1, RILL_TEXT_ADD_SPECIAL, &with, &n_with, err);
    if (status == RILL_OK) status = rill_encode(model, "a", 1, 0, &plain, &n_plain, err);
    for (size_t i = 0; status == RILL_OK && n_plain > 0 && i + n_plain <= n_with; i++) {
        if (memcmp(with + i, plain, n_plain * sizeof *plain) != 0) continue;
        e->text.n_head = i;
        break;
    }
    rill_tokens_free(with);
    rill_tokens_free(plain);
    return status;
}

static rill_status read_text(rill__sinks_eval *e, rill_error *err) {
    rill__text *text = NULL;
    const rill__settings *s = e->all.s;
    uint64_t wanted = (s->n_tokens ? s->n_tokens : DEFAULT_TOKENS) + 1;
    size_t n = 0, done = 0, piece = 1;
    rill__reading(rill__evaluation_file_name(s));
    rill_status status =
        rill__text_open(e->all.session.model, s->file ? s->file : "-", RILL_TEXT_ADD_SPECIAL,
                        wanted, rill__reading_on, &text, err);
    if (status != RILL_OK) return status;
    const rill__text_facts *facts = rill__text_get_facts(text);
    n = (size_t)facts->n_tokens;
    snprintf(e->input, sizeof e->input, "%zu tokens, hash %016llx", n,
             (unsigned long long)facts->hash);
    e->tokens = rill__calloc(n, sizeof *e->tokens);
    if (!e->tokens) status = rill__fail_memory(err, "tokens", n * sizeof *e->tokens);
    if (status == RILL_OK && n < MIN_TOKENS)
        status = rill__fail(err, RILL_EINVAL,
                            "--file: the text is too short (%zu tokens): wants %d or more", n,
                            MIN_TOKENS);
    if (status == RILL_OK) status = rill__text_seek(text, 0, err);
    for (; status == RILL_OK && done < n && piece > 0; done += piece)
        status = rill__text_read(text, e->tokens + done, n - done, &piece, err);
    rill__text_close(&text);
    if (status == RILL_OK) status = find_head(e, err);
    e->text.head = e->tokens;
    e->text.body = e->tokens + e->text.n_head;
    e->text.n_body = done - e->text.n_head;
    return status;
}

void rill__sinks_show_token(const rill__sinks_eval *e, rill_token token, char *out,
                            size_t capacity) {
    char *text = NULL;
    size_t length = 0, used = 0;
    if (rill_decode(e->all.session.model, &token, 1, &text, &length, NULL) != RILL_OK) length = 0;
    bool valid = rill__utf8_valid(text, length);
    if (capacity > 8) out[used++] = '"';
    for (size_t i = 0; i < length && used + 8 < capacity; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            used += (size_t)snprintf(out + used, capacity - used, "\\n");
        else if (c < 32 || (c >= 128 && !valid))
            used += (size_t)snprintf(out + used, capacity - used, "\\x%02x", c);
        else
            out[used++] = (char)c;
    }
    if (capacity > 8) out[used++] = '"';
    out[used] = 0;
    rill_text_free(text);
}

rill_status rill__sinks_first_failure(rill_status status, rill_error *err, rill_status later,
                                      const rill_error *failed) {
    if (later == RILL_OK) return status;
    if (status != RILL_OK) {
        rill__warn("%s", failed->message);
        return status;
    }
    *err = *failed;
    return later;
}

static rill_status prepare(rill__sinks_eval *e, const rill__settings *s, rill_error *err) {
    rill_status status = rill__evaluation_open(&e->all, "sinks", s, err);
    if (status == RILL_OK) status = rill__sinks_plan(e, err);
    return status == RILL_OK ? read_text(e, err) : status;
}

// A trial that failed is a row; if all of them did, so did the evaluation.
static rill_status check_trials(const rill__sinks_eval *e, rill_error *err) {
    for (size_t i = 0; i < e->n_trials; i++)
        if (!e->trials[i].result.error) return RILL_OK;
    *err = e->trials[e->n_trials - 1].failed;
    return err->status;
}

static rill_status measure(rill__sinks_eval *e, rill_error *err) {
    uint32_t sinks = 0;
    rill_status status = e->all.s->observe ? rill__sinks_observe(e, err) : RILL_OK;
    if (status == RILL_OK) status = rill__sinks_by_count(e, &sinks, err);
    if (status == RILL_OK) status = rill__sinks_by_choice(e, err);
    if (status == RILL_OK && e->all.s->memory) status = rill__sinks_by_memory(e, sinks, err);
    return status == RILL_OK ? check_trials(e, err) : status;
}

static int run(rill__settings *s) {
    static rill__sinks_eval e;  // room for all trials: not for the stack
    rill_error err = {0}, failed;
    rill_status status = prepare(&e, s, &err);
    if (status == RILL_OK) {
        status = measure(&e, &err);
        rill_status written = rill__evaluation_write(&e.all, &failed);
        status = rill__sinks_first_failure(status, &err, written, &failed);
    }
    rill__attention_free(&e.attention);
    rill__free(e.tokens);
    return rill__evaluation_close(&e.all, status, &err);
}

const rill__command rill__command_sinks = {
    .name = "eval sinks",
    .bit = RILL_FOR_SINKS,
    .usage = "[MODEL] [-f FILE] [options]",
    .summary = "how many sinks a model wants, and which",
    .details =
        "Shows where attention goes, by position, layer and head, and measures the perplexity of\n"
        "a text by number of sinks and by which tokens they are. Recommends the fewest sinks that\n"
        "are within 0.5% of the best, and keeps that number for rill run --sinks auto. --memory\n"
        "8M also searches the sinks, window and cache type that predict best within 8 MiB.",
    .max_positionals = 1,
    .run = run,
};
