// SPDX-License-Identifier: MIT
// Conversations: messages in the model's chat template, their boundaries marked for eviction.
#include "stream/stream.h"
#include "tokenizer/chat.h"

static rill_status check_turn(const rill_stream *s, bool in_answer, const char *what,
                              rill_error *err) {
    if (!s->model->model->tokenizer)
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "%s: this model has no tokenizer to converse with",
                          s->model->model->description.name);
    if (s->in_answer == in_answer) return RILL_OK;
    return rill__fail(err, RILL_EINVAL, "%s: %s", what,
                      in_answer ? "no answer was begun" : "an answer was begun; end it first");
}

// Reads a message's tokens, whole or not at all.
static rill_status feed_tokens(rill_stream *s, const rill__tokens *tokens, bool begins,
                               rill_error *err) {
    rill_status status = rill__stream_check(s, tokens->ids, tokens->n, err);
    if (status != RILL_OK) return status;
    if (begins && tokens->n > 0) rill_stream_begin_message(s);
    return rill_stream_feed(s, tokens->ids, tokens->n, NULL, err);
}

rill_status rill_stream_feed_message(rill_stream *stream, rill_role role, const char *text,
                                     size_t length, bool pin, rill_error *err) {
    rill_stream *s = stream;
    rill_status status = check_turn(s, false, "a message", err);
    if (status != RILL_OK) return status;
    rill__chat_place place = s->policy.seen == 0               ? RILL_CHAT_FIRST
                             : s->policy.seen == s->system_end ? RILL_CHAT_AFTER_SYSTEM
                                                               : RILL_CHAT_LATER;
    rill__tokens tokens = {0};
    status =
        rill__chat_message(s->model->model->tokenizer, role, place, text, length, &tokens, err);
    if (status == RILL_OK && pin) status = rill__stream_check_pin(s, tokens.n, err);
    if (status == RILL_OK) status = feed_tokens(s, &tokens, true, err);
    if (status == RILL_OK && role == RILL_ROLE_SYSTEM) s->system_end = s->policy.seen;
    if (status == RILL_OK && pin) status = rill_stream_pin(s, err);
    rill__tokens_deinit(&tokens);
    return status;
}

rill_status rill_stream_begin_answer(rill_stream *stream, rill_error *err) {
    rill_status status = check_turn(stream, false, "an answer", err);
    if (status != RILL_OK) return status;
    rill__tokens tokens = {0};
    status = rill__chat_answer_prefix(stream->model->model->tokenizer, &tokens, err);
    if (status == RILL_OK) status = feed_tokens(stream, &tokens, true, err);
    if (status == RILL_OK && tokens.n == 0) rill_stream_begin_message(stream);
    if (status == RILL_OK) stream->in_answer = true;
    rill__tokens_deinit(&tokens);
    return status;
}

rill_status rill_stream_end_answer(rill_stream *stream, rill_error *err) {
    rill_status status = check_turn(stream, true, "the end of an answer", err);
    if (status != RILL_OK) return status;
    const rill__tokenizer *t = stream->model->model->tokenizer;
    uint64_t seen = stream->policy.seen;
    bool ended =
        seen > 0 && rill__tokenizer_is_end(t, rill__history_get(&stream->history, seen - 1));
    rill__tokens tokens = {0};
    status = rill__chat_answer_suffix(t, ended, &tokens, err);
    // Dense that is full has no room for the closing words, and will read nothing more anyway.
    if (status == RILL_OK) status = feed_tokens(stream, &tokens, false, err);
    if (status == RILL_ECONTEXT) status = RILL_OK;
    if (status == RILL_OK) stream->in_answer = false;
    rill__tokens_deinit(&tokens);
    return status;
}
