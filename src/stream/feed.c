// SPDX-License-Identifier: MIT
// Reading: tokens go through the forward pass in chunks, each seeing exactly what it would see
// alone.
//
// Recompute is the exception. Until something is evicted it equals dense attention, and goes the
// same way; from then on tokens are only remembered, and logits come from a fresh pass over the
// visible ones.
#include "stream/stream.h"

#include <string.h>

bool rill__stream_recomputes(const rill_stream *s) {
    return s->plan.options.method == RILL_METHOD_RECOMPUTE && s->policy.evictions > 0;
}

rill_status rill__stream_check(const rill_stream *s, const rill_token *tokens, size_t n_tokens,
                               rill_error *err) {
    uint32_t vocab_size = s->model->model->description.vocab_size;
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= vocab_size)
            return rill__fail(err, RILL_EINVAL, "token %d (number %zu): 0 to %u is right",
                              tokens[i], i, vocab_size - 1);
    const rill_stream_options *o = &s->plan.options;
    if (o->method == RILL_METHOD_DENSE && n_tokens > s->plan.capacity - s->policy.seen)
        return rill__fail(err, RILL_ECONTEXT,
                          "dense attention has room for %u tokens, %llu are taken and %zu more are "
                          "wanted; give a larger window, or use streaming",
                          s->plan.capacity, (unsigned long long)s->policy.seen, n_tokens);
    return RILL_OK;
}

// What a token sees in a cache from which nothing was ever evicted: all before it.
static rill__row dense_row(uint64_t start, uint64_t token) {
    return (rill__row){.token = token, .stream_pos = start + token, .sink_pos = token};
}

// A fresh pass over the visible tokens, as if they were all there ever was.
static rill_status recompute(rill_stream *s, rill_error *err) {
    const rill_stream_options *o = &s->plan.options;
    size_t held = rill_stream_visible(s, s->window, s->plan.capacity);
    rill_status status = RILL_OK;
    for (size_t done = 0; status == RILL_OK && done < held;) {
        size_t n = held - done < o->chunk ? held - done : o->chunk;
        for (size_t i = 0; i < n; i++) s->rows[i] = dense_row(o->start, done + i);
        const rill__batch batch = {
            .tokens = s->window + done,
            .rows = s->rows,
            .n_rows = n,
            .cache = &s->cache,
            .first_logits = done + n == held ? n - 1 : n,
        };
        status = rill__forward(&s->model->network, &s->workspace, &batch, s->logits, err);
        done += n;
    }
    return status;
}

rill_status rill__stream_compute_logits(rill_stream *s, rill_error *err) {
    if (s->logits_valid) return RILL_OK;
    rill_status status = recompute(s, err);
    s->logits_valid = status == RILL_OK;
    return status;
}

static void remember(rill_stream *s, rill_token token, rill__row *row) {
    rill__policy_next(&s->policy, s->plan.options.start, row);
    rill__history_push(&s->history, token);
    if (!s->plan.rolls) *row = dense_row(s->plan.options.start, row->token);
}

// One chunk through the cache. `logits` is NULL or room for all of its rows; `last` says that its
// last row's logits are to be kept.
static rill_status feed_chunk(rill_stream *s, const rill_token *tokens, size_t n, bool last,
                              float *logits, rill_error *err) {
    for (size_t i = 0; i < n; i++) remember(s, tokens[i], &s->rows[i]);
    const rill__batch batch = {
        .tokens = tokens,
        .rows = s->rows,
        .n_rows = n,
        .cache = &s->cache,
        .first_logits = logits ? 0
                        : last ? n - 1
                               : n,
        .observer = s->attention ? &s->observer : NULL,
    };
    rill_status status =
        rill__forward(&s->model->network, &s->workspace, &batch, logits ? logits : s->logits, err);
    if (status == RILL_OK && last) {
        size_t vocab_size = s->model->model->description.vocab_size;
        if (logits) memcpy(s->logits, logits + (n - 1) * vocab_size, vocab_size * sizeof *logits);
        s->logits_valid = true;
    }
    return status;
}

// One token past the first eviction of a recomputing stream.
static rill_status feed_remembered(rill_stream *s, rill_token token, float *logits,
                                   rill_error *err) {
    rill__row row;
    remember(s, token, &row);
    s->logits_valid = false;
    if (!logits) return RILL_OK;
    rill_status status = rill__stream_compute_logits(s, err);
    if (status == RILL_OK)
        memcpy(logits, s->logits, s->model->model->description.vocab_size * sizeof *logits);
    return status;
}

// How many of the next `left` tokens go through the cache together; 0: the next one cannot.
static size_t chunk_size(const rill_stream *s, size_t left) {
    size_t most = s->attention ? s->observer.max_rows : s->plan.options.chunk;
    size_t n = left < most ? left : most;
    if (s->plan.options.method != RILL_METHOD_RECOMPUTE) return n;
    uint64_t room = rill__stream_recomputes(s) || s->policy.seen >= s->plan.capacity
                        ? 0
                        : s->plan.capacity - s->policy.seen;
    return n < room ? n : room;
}

rill_status rill_stream_feed(rill_stream *stream, const rill_token *tokens, size_t n_tokens,
                             float *logits, rill_error *err) {
    rill_status status = rill__stream_check(stream, tokens, n_tokens, err);
    size_t vocab_size = stream->model->model->description.vocab_size;
    for (size_t done = 0; status == RILL_OK && done < n_tokens;) {
        float *to = logits ? logits + done * vocab_size : NULL;
        size_t n = chunk_size(stream, n_tokens - done);
        if (n > 0) {
            status = feed_chunk(stream, tokens + done, n, done + n == n_tokens, to, err);
        } else {
            n = 1;
            status = feed_remembered(stream, tokens[done], to, err);
        }
        done += n;
    }
    return status;
}

rill_status rill_stream_logits(rill_stream *stream, const float **logits, rill_error *err) {
    if (stream->policy.seen == 0)
        return rill__fail(err, RILL_EINVAL, "logits: nothing has been read yet");
    rill_status status = rill__stream_compute_logits(stream, err);
    if (status == RILL_OK) *logits = stream->logits;
    return status;
}

rill_status rill_stream_sample(rill_stream *stream, rill_token *out, rill_error *err) {
    const float *logits;
    rill_status status = rill_stream_logits(stream, &logits, err);
    if (status == RILL_OK)
        status = rill__sampler_choose(&stream->sampler, logits, &stream->history, out, err);
    return status;
}

rill_status rill_stream_set_sampling(rill_stream *stream, const rill_sampling *options,
                                     rill_error *err) {
    return rill__sampler_set(&stream->sampler, options, err);
}
