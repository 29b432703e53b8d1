// SPDX-License-Identifier: MIT
// Perplexity of a text of any length: pieces are read, losses summed and, with a journal, kept.
#include "eval/perplexity.h"

#include "base/base.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

enum {
    PIECE = 64,          // tokens fed at once: rows of logits that are held
    RUNNING = 512,       // losses in a running mean ...
    RUNNING_SPARSE = 64  // ... where each costs a pass over the window
};

double rill__nll(const float *logits, size_t n, rill_token token) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = logits[i] > most ? (double)logits[i] : most;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    return most + log(sum) - (double)logits[token];
}

double rill__losses_mean(const rill__losses *l) {
    return l->n ? l->sum / (double)l->n : NAN;
}

// The running loss beside its start.
typedef struct watch {
    double *recent;  // [RUNNING]
    size_t size;     // of recent, in use
    uint64_t n;      // losses so far
    double sum;      // of recent
    double start;
    bool exceeded;
} watch;

typedef struct measurement {
    rill_stream *stream;
    rill__text *text;
    const rill__perplexity_options *options;
    rill__job *job;
    rill__perplexity *out;
    watch watch;
    double step_seconds;  // of n_steps tokens fed one by one
    uint64_t n_steps;
    bool sparse;         // only every N-th token is predicted
    uint64_t total;      // tokens to predict
    size_t vocabulary;   // floats in a row of logits
    size_t trained;      // the model's trained context
    float *logits;       // [PIECE, vocabulary]
    rill_token carried;  // the last token read from the text: predicted, and not yet fed
} measurement;

static void add(rill__losses *l, double loss) {
    l->n++;
    l->sum += loss;
}

// Half of a short text's losses at most: something must come after the start, which is to lie
// within what the model was trained on.
static size_t running_size(const measurement *m) {
    uint64_t half = m->total / (m->sparse ? m->options->every : 1) / 2;
    size_t most = m->sparse ? RUNNING_SPARSE : RUNNING;
    if (!m->sparse && m->trained && m->trained < most) most = m->trained;
    return half < 1 ? 1 : half > most ? most : (size_t)half;
}

static void watch_loss(measurement *m, uint64_t t, double loss) {
    watch *w = &m->watch;
    if (!w->n) w->size = m->out->running = running_size(m);
    double *place = &w->recent[w->n++ % w->size];
    w->sum += loss - (w->n > w->size ? *place : 0);
    *place = loss;
    if (w->n == w->size) w->start = w->sum;
    if (w->n > w->size && !(w->sum <= m->options->factor * w->start)) w->exceeded = true;
    if (!w->exceeded) m->out->reached = t;
}

// The loss of token number t of the text, 1 or more.
static void count_loss(measurement *m, uint64_t t, double loss) {
    rill__perplexity *p = m->out;
    add(&p->all, loss);
    rill__bucket *b = &p->buckets[(t - 1) / m->options->bucket];
    add(&b->all, loss);
    if (t % m->options->every == 0) {
        add(&p->sampled, loss);
        add(&b->sampled, loss);
    }
    if (t > m->total - m->total / 4) add(&p->last_quarter, loss);
    if (m->options->factor > 0) watch_loss(m, t, loss);
    p->tokens = t;
}

static rill_status take_loss(measurement *m, uint64_t t, const float *logits, rill_token token,
                             rill_error *err) {
    double loss = rill__nll(logits, m->vocabulary, token);
    count_loss(m, t, loss);
    return rill__case_append(m->job->journal, &loss, 1, err);
}

// Counts the losses in the journal again, in the same order: sums are the same to the bit. With
// `timed` a finished case has one number more, the time of a step.
static rill_status recall(measurement *m, rill_error *err) {
    double losses[256];
    rill__case *journal = m->job->journal;
    uint64_t n = rill__case_count(journal);
    if (n && m->options->timed && rill__case_finished(journal)) {
        rill_status status = rill__case_read(journal, --n, 1, &m->out->step_seconds, err);
        if (status != RILL_OK) return status;
    }
    uint64_t stride = m->sparse ? m->options->every : 1;
    if (n > m->total / stride)
        return rill__fail(err, RILL_EFORMAT, "journal: %llu losses: at most %llu are right",
                          (unsigned long long)n, (unsigned long long)(m->total / stride));
    for (uint64_t i = 0; i < n;) {
        size_t some = n - i < 256 ? (size_t)(n - i) : 256;
        rill_status status = rill__case_read(journal, i, some, losses, err);
        if (status != RILL_OK) return status;
        for (size_t j = 0; j < some; j++, i++) count_loss(m, (i + 1) * stride, losses[j]);
    }
    return RILL_OK;
}

// Opens the stream, or the one that the journal has kept: it has read the prefix.
static rill_status open_stream(measurement *m, rill_model *model,
                               const rill_stream_options *options, rill_error *err) {
    const rill__perplexity_options *o = m->options;
    rill_stream_report report = {0};
    rill_status status = rill__job_begin(m->job, model, &m->stream, err);
    if (status == RILL_OK) status = recall(m, err);
    if (status == RILL_OK && !m->stream) {
        status = rill_stream_open(model, options, &m->stream, err);
        if (status == RILL_OK && o->n_prefix)
            status = rill_stream_feed(m->stream, o->prefix, o->n_prefix, NULL, err);
    }
    if (status != RILL_OK) return status;
    rill_stream_get_report(m->stream, &report);
    m->out->cache_bytes = report.bytes.cache;
    m->out->n_computed = report.seen - o->n_prefix;
    size_t n;
    status = rill__text_seek(m->text, m->out->n_computed, err);
    rill__job_restart_clock(m->job);
    return status == RILL_OK ? rill__text_read(m->text, &m->carried, 1, &n, err) : status;
}

static bool begins_message(const measurement *m, rill_token token) {
    return m->options->by_message && token == m->options->message;
}

// Feeds tokens[0 ... n), and says where messages begin. logits: [n, vocabulary], or NULL.
static rill_status feed(measurement *m, const rill_token *tokens, size_t n, float *logits,
                        rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0, some; i < n && status == RILL_OK; i += some) {
        if (begins_message(m, tokens[i])) rill_stream_begin_message(m->stream);
        for (some = 1; i + some < n && !begins_message(m, tokens[i + some]);) some++;
        status = rill_stream_feed(m->stream, tokens + i, some,
                                  logits ? logits + i * m->vocabulary : NULL, err);
    }
    return status;
}

// Feeds one token, by the clock.
static rill_status feed_step(measurement *m, rill_token token, rill_error *err) {
    double began = rill__seconds();
    rill_status status = feed(m, &token, 1, m->logits, err);
    m->step_seconds += rill__seconds() - began;
    m->n_steps++;
    return status;
}

// Feeds tokens[0 ... n), number `first` of the text and on, and takes the losses of tokens[1 ...
// n].
static rill_status feed_dense(measurement *m, uint64_t first, const rill_token *tokens, size_t n,
                              rill_error *err) {
    rill_status status = n == 1 ? feed_step(m, tokens[0], err) : feed(m, tokens, n, m->logits, err);
    for (size_t i = 0; i < n && status == RILL_OK; i++)
        status = take_loss(m, first + i + 1, m->logits + i * m->vocabulary, tokens[i + 1], err);
    return status;
}

// The same for every N-th token: those between are only read.
static rill_status feed_sparse(measurement *m, uint64_t first, const rill_token *tokens, size_t n,
                               rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n && status == RILL_OK;) {
        uint64_t ahead = m->options->every - 1 - (first + i) % m->options->every;
        if (ahead) {
            size_t some = ahead < n - i ? (size_t)ahead : n - i;
            status = feed(m, tokens + i, some, NULL, err);
            i += some;
        } else {
            status = feed_step(m, tokens[i], err);
            if (status == RILL_OK)
                status = take_loss(m, first + i + 1, m->logits, tokens[i + 1], err);
            i++;
        }
    }
    return status;
}

// Fewer tokens than a piece where steps are timed, and where a dense stream is nearly full: it
// takes what fits, or nothing.
static size_t room(const measurement *m, uint64_t fed, size_t piece) {
    const rill_stream_options *o = rill_stream_get_options(m->stream);
    uint64_t left = m->total - fed, seen = fed + m->options->n_prefix;
    if (!m->sparse && m->options->timed && left < m->options->timed + piece)
        piece = left > m->options->timed ? (size_t)(left - m->options->timed) : 1;
    if (o->method != RILL_METHOD_DENSE || seen >= o->window || o->window - seen >= piece)
        return piece;
    return (size_t)(o->window - seen);
}

// Reads a piece, and predicts what it does of it.
static rill_status read_piece(measurement *m, size_t piece, rill_error *err) {
    rill_token tokens[PIECE + 1];
    uint64_t fed = m->out->n_computed;
    size_t n;
    tokens[0] = m->carried;
    rill_status status = rill__text_read(m->text, tokens + 1, room(m, fed, piece), &n, err);
    if (status == RILL_OK && n == 0)
        status = rill__fail(err, RILL_EIO, "the text is shorter than it was");
    if (status == RILL_OK)
        status =
            m->sparse ? feed_sparse(m, fed, tokens, n, err) : feed_dense(m, fed, tokens, n, err);
    if (status != RILL_OK) return status;
    m->carried = tokens[n];
    m->out->n_computed += n;
    return RILL_OK;
}

static rill_status read_on(measurement *m, size_t piece, rill_error *err) {
    rill_status status = RILL_OK;
    for (;;) {
        if (rill__job_tell(m->job, m->out->n_computed, m->total))
            status = rill__job_save(m->job, m->stream, "tokens", err);
        if (status != RILL_OK || m->out->n_computed == m->total) break;
        status = read_piece(m, piece, err);
        if (status != RILL_OK) break;
    }
    if (status != RILL_OK) return status;
    if (m->n_steps) m->out->step_seconds = m->step_seconds / (double)m->n_steps;
    if (m->options->timed)
        status = rill__case_append(m->job->journal, &m->out->step_seconds, 1, err);
    return status == RILL_OK ? rill__job_finish(m->job, err) : status;
}

// What a finished case has: nothing but its records.
static rill_status recall_finished(measurement *m, const rill_model *model,
                                   const rill_stream_options *options, rill_error *err) {
    rill_stream_bytes bytes;
    rill_status status = rill_stream_estimate(model, options, NULL, &bytes, err);
    if (status != RILL_OK) return status;
    m->out->cache_bytes = bytes.cache;
    m->out->n_computed = m->total;
    return recall(m, err);
}

static rill_status prepare(measurement *m, const rill_model *model, rill_error *err) {
    rill_model_info info;
    size_t bytes;
    uint64_t n_tokens = rill__text_get_facts(m->text)->n_tokens;
    if (n_tokens < 2)
        return rill__fail(err, RILL_EINVAL, "text: %llu tokens: at least 2 are right",
                          (unsigned long long)n_tokens);
    m->total = n_tokens - 1;  // the last token is predicted only
    rill_model_get_info(model, &info);
    m->vocabulary = info.vocab_size;
    m->trained = info.trained_context;
    if (!rill__mul_size(PIECE * sizeof(float), m->vocabulary, &bytes))
        return rill__fail_memory(err, "logits", SIZE_MAX);
    m->out->n_buckets = (size_t)((m->total - 1) / m->options->bucket + 1);
    m->out->buckets = rill__calloc(m->out->n_buckets, sizeof *m->out->buckets);
    m->logits = rill__malloc(bytes);
    m->watch.recent = rill__calloc(RUNNING, sizeof *m->watch.recent);
    return m->logits && m->out->buckets && m->watch.recent
               ? RILL_OK
               : rill__fail_memory(err, "logits", bytes);
}

rill_status rill__perplexity_measure(rill_model *model, const rill_stream_options *stream_options,
                                     rill__text *text, const rill__perplexity_options *options,
                                     rill__job *job, rill__perplexity *out, rill_error *err) {
    bool recompute = stream_options->method == RILL_METHOD_RECOMPUTE;
    // Each prediction costs recompute a pass of its own: shorter pieces keep it answering.
    size_t piece = recompute && options->every < PIECE ? (size_t)options->every : PIECE;
    measurement m = {
        .text = text,
        .options = options,
        .job = job,
        .out = out,
        .sparse = recompute && options->every > 1,
    };
    *out = (rill__perplexity){.step_seconds = NAN};
    rill_status status = prepare(&m, model, err);
    if (status == RILL_OK && rill__case_finished(job->journal)) {
        status = recall_finished(&m, model, stream_options, err);
    } else if (status == RILL_OK) {
        status = open_stream(&m, model, stream_options, err);
        if (status == RILL_OK) status = read_on(&m, piece, err);
    }
    out->seconds = rill__job_seconds(job);
    rill_stream_close(&m.stream);
    rill__free(m.logits);
    rill__free(m.watch.recent);
    return status;
}

void rill__perplexity_deinit(rill__perplexity *p) {
    rill__free(p->buckets);
    p->buckets = NULL;
}
