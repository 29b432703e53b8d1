// SPDX-License-Identifier: MIT
// How well a stream predicts a text.
#ifndef RILL_EVAL_PERPLEXITY_H
#define RILL_EVAL_PERPLEXITY_H

#include "rill/rill.h"

typedef struct rill__perplexity {
    uint64_t predicted;  // tokens: all but the first
    double mean_nll;     // nats a token
    double perplexity;   // exp(mean_nll)
    double seconds;
    double tokens_per_second;
    uint64_t cache_bytes;
} rill__perplexity;

// -log of the softmax of `logits` (n floats) at `token`, in double.
double rill__nll(const float *logits, size_t n, rill_token token);

// Feeds `tokens` (2 or more) to an empty stream and fills *out. `progress` (NULL allowed) is called
// now and then with tokens done; false ends it with RILL_EINTERRUPTED. Other failures as
// rill_stream_feed, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__perplexity_measure(rill_stream *stream, const rill_token *tokens,
                                                    size_t n_tokens, rill_progress_fn progress,
                                                    void *user, rill__perplexity *out,
                                                    rill_error *err);

#endif
