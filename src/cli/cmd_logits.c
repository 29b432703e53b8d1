// SPDX-License-Identifier: MIT
// rill logits: what the model computes for given tokens, to a file that others can read.
#include "cli/command.h"
#include "cli/reader.h"
#include "cli/session.h"
#include "cli/terminal.h"

static rill_status check(const rill__settings *s, rill_error *err) {
    if (!s->out)
        return rill__fail(err, RILL_EINVAL, "--out: not given: wants a .safetensors file to write");
    if (!s->token_list == !s->token_file)
        return rill__fail(err, RILL_EINVAL,
                          "--tokens: wants ids as 1,2,3, or --tokens-file FILE: one of them");
    return RILL_OK;
}

static rill_status check_ids(const rill__settings *s, const rill__session *session,
                             const rill_token *tokens, size_t n, rill_error *err) {
    for (size_t i = 0; i < n; i++)
        if ((uint32_t)tokens[i] >= session->info.vocab_size)
            return rill__fail(err, RILL_EINVAL, "%s: token %d is not one of this model's 0 to %u",
                              s->token_list ? "--tokens" : s->token_file, tokens[i],
                              session->info.vocab_size - 1);
    return RILL_OK;
}

// In pieces, for Ctrl-C's sake; rows [n, vocabulary] of floats.
static rill_status compute(rill__session *session, const rill_token *tokens, size_t n, float *rows,
                           rill_error *err) {
    enum { PIECE = 512 };
    size_t width = session->info.vocab_size;
    rill__bar bar = {.label = "logits", .unit = "tokens"};
    for (size_t i = 0; i < n; i += PIECE) {
        size_t piece = n - i < PIECE ? n - i : PIECE;
        if (!rill__progress(&bar, i, n))
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted: nothing was written");
        rill_status status =
            rill_stream_feed(session->stream, tokens + i, piece, rows + i * width, err);
        if (status != RILL_OK) return status;
    }
    (void)rill__progress(&bar, n, n);
    return RILL_OK;
}

static int run(rill__settings *s) {
    rill__session session = {0};
    rill_error err = {0};
    rill_token *tokens = NULL;
    size_t n = 0, count, bytes = 0;
    float *rows = NULL;
    rill_status status = check(s, &err);
    if (status == RILL_OK) status = rill__read_ids(s->token_list, s->token_file, &tokens, &n, &err);
    if (status == RILL_OK)
        status = rill__session_open(&session, s, s->n_positionals ? s->positionals[0] : NULL, &err);
    if (status == RILL_OK) status = check_ids(s, &session, tokens, n, &err);
    if (status == RILL_OK && s->stream.method == RILL_METHOD_DENSE) {
        // Dense here has the capacity that the tokens need, past the trained context too.
        if (!s->stream.window) s->stream.window = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
        s->stream.over_context = true;
    }
    if (status == RILL_OK) status = rill__session_stream(&session, s, RILL_FOR_LOGITS, false, &err);
    if (status == RILL_OK &&
        (!rill__mul_size(n, session.info.vocab_size, &count) ||
         !rill__mul_size(count, sizeof *rows, &bytes) || !(rows = rill__map_memory(bytes)))) {
        bytes = 0;
        status = rill__fail(&err, RILL_ENOMEM,
                            "--tokens: no memory for logits of %zu tokens, %u floats each: give "
                            "fewer at a time",
                            n, session.info.vocab_size);
    }
    if (status == RILL_OK) status = compute(&session, tokens, n, rows, &err);
    if (status == RILL_OK)
        status = rill_write_tensor(s->out, "logits", rows, n, session.info.vocab_size, &err);
    rill__unmap_memory(rows, bytes);
    rill__free(tokens);
    rill__session_close(&session);
    return status == RILL_OK ? RILL_EXIT_OK : rill__report(&err);
}

const rill__command rill__command_logits = {
    .name = "logits",
    .bit = RILL_FOR_LOGITS,
    .usage = "[MODEL] --tokens 1,2,3 | --tokens-file FILE  --out FILE.safetensors [options]",
    .summary = "write the logits after each of given tokens to a file",
    .details =
        "Reads token ids, each seeing what the stream options say, and writes the float32\n"
        "tensor `logits`, [tokens, vocabulary]. Needs no tokenizer. Dense attention holds all\n"
        "of the tokens.",
    .max_positionals = 1,
    .run = run,
};
