// SPDX-License-Identifier: MIT
// A stream: what a user holds. One endless text, its cache, its sampler.
#ifndef RILL_STREAM_STREAM_H
#define RILL_STREAM_STREAM_H

#include "stream/options.h"
#include "stream/policy.h"
#include "stream/sampler.h"

// What guesses were worth while the stream wrote (draft.c); it decides about time, never about
// text.
typedef struct rill__pace {
    double hits;     // share of the latest guesses that were right
    double seconds;  // of a pass for one token; 0: never measured
    double cost;     // of each token more in a pass, as a share of that
} rill__pace;

struct rill_stream {
    rill_model *model;  // an owner of it
    rill__stream_plan plan;
    rill__policy policy;    // what is visible
    rill__history history;  // which tokens those are
    rill__cache cache;      // their keys and values
    rill_token *window;     // [capacity] visible tokens; recompute only, else NULL
    rill__sampler sampler;
    rill__pace pace;
    float *logits;                // [vocab_size] after the last token
    rill__buffer *kept_logits;    // the same where a backend chooses tokens from them; else NULL
    bool feeding;                 // it has a feed in the batch at hand
    bool logits_valid;            // recompute computes them only when somebody asks
    bool logits_kept;             // they are in kept_logits, not in logits
    bool samples;                 // tokens are chosen from them: the next one will be, too
    bool in_answer;               // between begin_answer and end_answer
    uint64_t system_end;          // tokens seen when the system message was read; 0: there is none
    rill_attention_fn attention;  // who looks at attention; NULL: nobody
    void *attention_user;
    rill__observer observer;  // of use while somebody looks
};

// Gives back what rill_stream_observe took; harmless when it took nothing.
void rill__stream_stop_observing(rill_stream *s);

// True once a token was evicted under recompute: from then on the cache holds nothing of use.
bool rill__stream_recomputes(const rill_stream *s);

// Whether these tokens can be read: RILL_EINVAL, RILL_ECONTEXT as rill_stream_feed has them.
RILL_NODISCARD rill_status rill__stream_check(const rill_stream *s, const rill_token *tokens,
                                              size_t n_tokens, rill_error *err);

// Whether all tokens so far and n_more could be pinned: RILL_EINVAL as rill_stream_pin has it.
RILL_NODISCARD rill_status rill__stream_check_pin(const rill_stream *s, size_t n_more,
                                                  rill_error *err);

// Computes what the logits after each of n tokens would be, fewer than a chunk, and leaves the
// stream as it is: rows of the cache that nobody sees are written, and will be again. Not for
// streams that recompute, nor past the capacity of a dense one. logits: [n, vocab_size].
RILL_NODISCARD rill_status rill__stream_look_ahead(rill_stream *s, const rill_token *tokens,
                                                   size_t n, float *logits, rill_error *err);
// Reads a token whose row of the cache and logits were computed by the latest look ahead.
void rill__stream_accept(rill_stream *s, rill_token token, const float *logits);

// Computes the logits after the last token, which must exist, unless they are there.
RILL_NODISCARD rill_status rill__stream_compute_logits(rill_stream *s, rill_error *err);
// Brings logits that are kept by the backend to s->logits. RILL_EDEVICE.
RILL_NODISCARD rill_status rill__stream_read_logits(const rill_stream *s, rill_error *err);

#endif
