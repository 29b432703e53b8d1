// SPDX-License-Identifier: MIT
// Reading: tokens of one stream or many go through the forward pass together, each seeing exactly
// what it would see alone. A stream gives at most a chunk of tokens to a pass.
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

// How a token is to be chosen from the logits that come next; NULL: they are read.
static const rill__choice *next_choice(rill_stream *s) {
    return s->samples ? rill__sampler_prepare(&s->sampler, &s->history) : NULL;
}

// The logits after the last token are there.
static void got_logits(rill_stream *s, bool kept) {
    s->logits_valid = true;
    s->logits_kept = kept;
    if (!kept) s->sampler.chosen = -1;
}

// A fresh pass over the visible tokens, as if they were all there ever was.
static rill_status recompute(rill_stream *s, rill_error *err) {
    const rill_stream_options *o = &s->plan.options;
    rill__passes *p = &s->model->passes;
    size_t held = rill_stream_visible(s, s->window, s->plan.capacity);
    const rill__choice *choice = next_choice(s);
    rill_status status = RILL_OK;
    pthread_mutex_lock(&p->lock);
    for (size_t done = 0; status == RILL_OK && done < held;) {
        size_t n = held - done < o->chunk ? held - done : o->chunk;
        for (size_t i = 0; i < n; i++) p->rows[i] = dense_row(o->start, done + i);
        const rill__batch_part part = {
            .cache = &s->cache,
            .n_rows = n,
            .first_logits = done + n == held ? n - 1 : n,
            .logits = s->logits,
            .choice = done + n == held ? choice : NULL,
        };
        const rill__batch batch = {
            .tokens = s->window + done,
            .rows = p->rows,
            .n_rows = n,
            .parts = &part,
            .n_parts = 1,
        };
        status = rill__forward(&s->model->network, &p->workspace, &batch, err);
        done += n;
    }
    pthread_mutex_unlock(&p->lock);
    if (status == RILL_OK) got_logits(s, choice);
    return status;
}

rill_status rill__stream_compute_logits(rill_stream *s, rill_error *err) {
    return s->logits_valid ? RILL_OK : recompute(s, err);
}

rill_status rill__stream_read_logits(const rill_stream *s, rill_error *err) {
    rill__backend *be = s->model->network.backend;
    if (!s->logits_kept) return RILL_OK;
    be->ops->buffer_read(be, s->kept_logits, 0, s->logits,
                         s->model->model->description.vocab_size * sizeof *s->logits);
    return be->ops->synchronize(be, err);
}

// What the next token will see by this policy, the stream's own or a copy of it.
static rill__row next_row(const rill_stream *s, rill__policy *policy) {
    rill__row row;
    rill__policy_next(policy, s->plan.options.start, &row);
    return s->plan.rolls ? row : dense_row(s->plan.options.start, row.token);
}

static void remember(rill_stream *s, rill_token token, rill__row *row) {
    *row = next_row(s, &s->policy);
    rill__history_push(&s->history, token);
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t left_of(const rill_feed *f) {
    return f->status == RILL_OK ? f->n_tokens - f->n_read : 0;
}

// How many of a feed's next tokens go through the cache together, at most `room`.
static size_t next_rows(const rill_feed *f, size_t room) {
    const rill_stream *s = f->stream;
    size_t n = least(left_of(f), least(room, s->plan.options.chunk));
    if (s->attention) n = least(n, s->observer.max_rows);
    if (s->plan.options.method != RILL_METHOD_RECOMPUTE) return n;
    bool full = rill__stream_recomputes(s) || s->policy.seen >= s->plan.capacity;
    return full ? 0 : least(n, s->plan.capacity - (size_t)s->policy.seen);
}

static uint32_t vocabulary(const rill_stream *s) {
    return s->model->model->description.vocab_size;
}

// Adds the next n tokens of a feed to the batch.
static void add_part(rill__passes *p, rill__batch *b, rill_feed *f, size_t n) {
    rill_stream *s = f->stream;
    const rill_token *tokens = f->tokens + f->n_read;
    for (size_t i = 0; i < n; i++) {
        p->tokens[b->n_rows + i] = tokens[i];
        remember(s, tokens[i], &p->rows[b->n_rows + i]);
    }
    bool last = n == left_of(f);
    p->feeds[b->n_parts] = f;
    p->parts[b->n_parts++] = (rill__batch_part){
        .cache = &s->cache,
        .n_rows = n,
        .first_logits = f->logits ? 0
                        : last    ? n - 1
                                  : n,
        .logits = f->logits ? f->logits + f->n_read * vocabulary(s) : s->logits,
        .choice = last && !f->logits ? next_choice(s) : NULL,
    };
    b->n_rows += n;
}

// After a pass: what it was for a feed.
static void finish_part(rill_feed *f, const rill__batch_part *part, rill_status status,
                        const rill_error *why) {
    rill_stream *s = f->stream;
    f->status = status;
    if (status != RILL_OK) {
        f->error = *why;
        return;
    }
    f->n_read += part->n_rows;
    if (left_of(f) > 0) return;
    size_t size = vocabulary(s);
    if (f->logits) memcpy(s->logits, f->logits + (f->n_read - 1) * size, size * sizeof *s->logits);
    got_logits(s, part->choice);
}

// One pass over the weights for as many rows of the feeds as there is room for. False: none was
// left. A stream whose attention somebody looks at goes alone.
static bool run_pass(rill_model *model, rill_feed *feeds, size_t n_feeds) {
    rill__passes *p = &model->passes;
    pthread_mutex_lock(&p->lock);
    rill__batch b = {.tokens = p->tokens, .rows = p->rows, .parts = p->parts};
    for (size_t i = 0; i < n_feeds && !b.observer; i++) {
        rill_stream *s = feeds[i].stream;
        size_t n = next_rows(&feeds[i], p->workspace.max_rows - b.n_rows);
        if (n == 0 || (s->attention && b.n_parts > 0)) continue;
        add_part(p, &b, &feeds[i], n);
        if (s->attention) b.observer = &s->observer;
    }
    if (b.n_rows > 0) {
        rill_error err;
        rill_status status = rill__forward(&model->network, &p->workspace, &b, &err);
        for (size_t i = 0; i < b.n_parts; i++) finish_part(p->feeds[i], &p->parts[i], status, &err);
    }
    pthread_mutex_unlock(&p->lock);
    return b.n_rows > 0;
}

// The tokens of a recomputing stream past its first eviction.
static void feed_remembered(rill_feed *f) {
    rill_stream *s = f->stream;
    while (left_of(f) > 0) {
        rill__row row;
        remember(s, f->tokens[f->n_read], &row);
        s->logits_valid = false;
        if (f->logits) f->status = rill__stream_compute_logits(s, &f->error);
        if (f->status == RILL_OK) f->status = rill__stream_read_logits(s, &f->error);
        if (f->status != RILL_OK) return;
        size_t size = vocabulary(s);
        if (f->logits) memcpy(f->logits + f->n_read * size, s->logits, size * sizeof *s->logits);
        f->n_read++;
    }
}

// Whether a feed can be read at all.
static void begin(rill_feed *f, const rill_model *model) {
    rill_stream *s = f->stream;
    f->n_read = 0;
    if (s->model != model)
        f->status = rill__fail(&f->error, RILL_EINVAL,
                               "a batch: this stream is of another model than the first");
    else if (s->feeding)
        f->status = rill__fail(&f->error, RILL_EINVAL, "a batch: this stream is in it already");
    else
        f->status = rill__stream_check(s, f->tokens, f->n_tokens, &f->error);
    if (f->status == RILL_OK) s->feeding = true;
}

rill_status rill_streams_feed(rill_feed *feeds, size_t n_feeds, rill_error *err) {
    rill_status status = RILL_OK;
    if (n_feeds == 0) return RILL_OK;
    rill_model *model = feeds[0].stream->model;
    for (size_t i = 0; i < n_feeds; i++) begin(&feeds[i], model);
    while (run_pass(model, feeds, n_feeds)) continue;
    for (size_t i = 0; i < n_feeds; i++) feed_remembered(&feeds[i]);
    for (size_t i = n_feeds; i-- > 0;) {
        // A stream that was given twice is still held by its first feed.
        if (feeds[i].stream->model == model) feeds[i].stream->feeding = false;
        if (feeds[i].status == RILL_OK) continue;
        status = feeds[i].status;
        if (err) *err = feeds[i].error;
    }
    return status;
}

rill_status rill_stream_feed(rill_stream *stream, const rill_token *tokens, size_t n_tokens,
                             float *logits, rill_error *err) {
    rill_feed feed = {.stream = stream, .tokens = tokens, .n_tokens = n_tokens, .logits = logits};
    return rill_streams_feed(&feed, 1, err);
}

rill_status rill__stream_look_ahead(rill_stream *s, const rill_token *tokens, size_t n,
                                    float *logits, rill_error *err) {
    rill__passes *p = &s->model->passes;
    rill__policy policy = s->policy;  // its ring of messages is only read
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++) p->rows[i] = next_row(s, &policy);
    const rill__batch_part part = {.cache = &s->cache, .n_rows = n, .logits = logits};
    const rill__batch batch = {
        .tokens = tokens, .rows = p->rows, .n_rows = n, .parts = &part, .n_parts = 1};
    rill_status status = rill__forward(&s->model->network, &p->workspace, &batch, err);
    pthread_mutex_unlock(&p->lock);
    return status;
}

void rill__stream_accept(rill_stream *s, rill_token token, const float *logits) {
    rill__row row;
    remember(s, token, &row);
    memcpy(s->logits, logits, vocabulary(s) * sizeof *logits);
    got_logits(s, false);
}

static rill_status need_logits(rill_stream *s, rill_error *err) {
    if (s->policy.seen == 0)
        return rill__fail(err, RILL_EINVAL, "logits: nothing has been read yet");
    return rill__stream_compute_logits(s, err);
}

rill_status rill_stream_logits(rill_stream *stream, const float **logits, rill_error *err) {
    rill_status status = need_logits(stream, err);
    if (status == RILL_OK) status = rill__stream_read_logits(stream, err);
    if (status == RILL_OK) *logits = stream->logits;
    return status;
}

rill_status rill_stream_sample(rill_stream *stream, rill_token *out, rill_error *err) {
    stream->samples = true;
    rill_status status = need_logits(stream, err);
    if (status != RILL_OK || rill__sampler_take(&stream->sampler, out)) return status;
    status = rill__stream_read_logits(stream, err);
    if (status != RILL_OK) return status;
    return rill__sampler_choose(&stream->sampler, stream->logits, &stream->history, out, err);
}

rill_status rill_stream_set_sampling(rill_stream *stream, const rill_sampling *options,
                                     rill_error *err) {
    return rill__sampler_set(&stream->sampler, options, err);
}
