// SPDX-License-Identifier: MIT
// Chooses a token from logits. Equal seeds and equal logits give equal tokens.
#ifndef RILL_STREAM_SAMPLER_H
#define RILL_STREAM_SAMPLER_H

#include "stream/history.h"

#include "backend/backend.h"

enum {
    RILL_MAX_PENALTY_WINDOW = 65536,
    RILL_MAX_LOGIT_BIAS = 1024,
    // Of a choice that is left to a backend; what takes more is the host's.
    RILL_MAX_ADJUSTMENTS = RILL_MAX_LOGIT_BIAS + 256,
};

// A token and how likely it is, before and after the softmax.
typedef struct rill__candidate {
    float value;
    rill_token token;
} rill__candidate;

typedef struct rill__sampler {
    rill_sampling options;  // options.bias points at `bias`
    rill_logit_bias bias[RILL_MAX_LOGIT_BIAS];
    uint64_t random[4];  // state of the generator
    size_t vocab_size;
    rill__candidate *candidates;  // [vocab_size] scratch
    uint32_t *counts;             // [vocab_size] all zero between calls
    // A choice that a backend makes ahead, of the logits that come next.
    rill__choice choice;
    rill__adjustment *adjustments;  // [RILL_MAX_ADJUSTMENTS]; NULL: backends choose nothing
    uint64_t random_after[4];       // the generator's state once the choice is taken
    rill_token chosen;              // -1: none
} rill__sampler;

// Default options. `kept` is for logits that a backend chooses from (rill__choice), and NULL where
// backends choose nothing. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__sampler_init(rill__sampler *s, size_t vocab_size,
                                              rill__buffer *kept, rill_error *err);
void rill__sampler_deinit(rill__sampler *s);
// Bytes that init takes for each token of the vocabulary, adjustments aside.
size_t rill__sampler_bytes_per_token(void);

// RILL_EINVAL names the option at fault.
RILL_NODISCARD rill_status rill__sampler_check(const rill_sampling *options, size_t vocab_size,
                                               rill_error *err);
// Checks the options (as above; the sampler is unchanged then), copies them and
// starts the generator from their seed.
RILL_NODISCARD rill_status rill__sampler_set(rill__sampler *s, const rill_sampling *options,
                                             rill_error *err);
// Starts the generator from the seed anew.
void rill__sampler_restart(rill__sampler *s);

// How the next token is to be chosen after this history; NULL: by the host. The backend leaves the
// token in s->chosen, where `take` finds it.
const rill__choice *rill__sampler_prepare(rill__sampler *s, const rill__history *history);
// Takes the token that a backend chose, once, as if it were chosen now. False: there is none.
bool rill__sampler_take(rill__sampler *s, rill_token *out);

// logits: [vocab_size], not changed. RILL_EFORMAT if none of them is a number. Allocates nothing.
RILL_NODISCARD rill_status rill__sampler_choose(rill__sampler *s, const float *logits,
                                                const rill__history *history, rill_token *out,
                                                rill_error *err);

#endif
