// SPDX-License-Identifier: MIT
// Perplexity: exp of the mean negative log-likelihood of each token, given what the stream sees.
#ifndef RILL_EVAL_PERPLEXITY_H
#define RILL_EVAL_PERPLEXITY_H

#include "eval/job.h"
#include "eval/text.h"

// Losses of a part of the text, in nats.
typedef struct rill__losses {
    uint64_t n;
    double sum;
} rill__losses;

// Of a piece of the text.
typedef struct rill__bucket {
    rill__losses all;      // of every token that was predicted
    rill__losses sampled;  // of tokens N, 2N, 3N ... among them
} rill__bucket;

typedef struct rill__perplexity_options {
    uint64_t every;   // recompute predicts tokens N, 2N, 3N ... only; 1: all
    uint64_t bucket;  // tokens in a bucket, 1 or more
    // What the stream is fed in front of the text, and does not predict: tokens that it shall keep.
    const rill_token *prefix;
    size_t n_prefix;
    bool by_message;     // a text of messages: eviction by message may cut ...
    rill_token message;  // ... where this token begins one
    // 0, or what the running loss may be of its start: rill__perplexity.reached.
    double factor;
    uint64_t timed;  // the last tokens are read one by one, and timed
} rill__perplexity_options;

typedef struct rill__perplexity {
    uint64_t tokens;            // how far it came: number of the last token that was predicted
    rill__losses all;           // of every token that was predicted
    rill__losses sampled;       // of tokens N, 2N, 3N ... among them
    rill__losses last_quarter;  // of the text
    rill__bucket *buckets;      // of the text, in order; rill__perplexity_deinit
    size_t n_buckets;
    // With a factor: the token up to which the running loss, the mean of the last `running` losses,
    // was at most factor times what it was first; `tokens` if it never was more.
    uint64_t reached;
    size_t running;
    double step_seconds;  // with `timed`: for a token, read by itself; NAN if none was
    uint64_t n_computed;  // tokens of the text read by this process and those it went on from ...
    double seconds;       // ... and the time they took
    uint64_t cache_bytes;
} rill__perplexity;

// -log of the softmax of `logits` (n floats) at `token`, in double.
double rill__nll(const float *logits, size_t n, rill_token token);
// sum / n; NAN if there are none.
double rill__losses_mean(const rill__losses *l);

// The size of a journal's record of this measure: a loss, as a double.
enum { RILL_PERPLEXITY_RECORD = sizeof(double) };

// Reads the text (of 2 tokens or more) with a new stream, or goes on where the job's case was, and
// fills *out, also as far as it came when it fails. The job is told tokens. RILL_ECONTEXT: dense,
// and its capacity is full. Other failures as rill_stream_open, rill_stream_feed and the job's. The
// text's place afterwards is anywhere.
RILL_NODISCARD rill_status rill__perplexity_measure(rill_model *model,
                                                    const rill_stream_options *stream_options,
                                                    rill__text *text,
                                                    const rill__perplexity_options *options,
                                                    rill__job *job, rill__perplexity *out,
                                                    rill_error *err);
// Frees what measure filled in; a zeroed one is allowed.
void rill__perplexity_deinit(rill__perplexity *p);

#endif
