// SPDX-License-Identifier: MIT
// Chooses a token from logits. Equal seeds and equal logits give equal tokens.
#ifndef RILL_STREAM_SAMPLER_H
#define RILL_STREAM_SAMPLER_H

#include "stream/history.h"

enum {
    RILL_MAX_PENALTY_WINDOW = 65536,
    RILL_MAX_LOGIT_BIAS = 1024,
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
} rill__sampler;

// Default options. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__sampler_init(rill__sampler *s, size_t vocab_size, rill_error *err);
void rill__sampler_deinit(rill__sampler *s);
// Bytes that init takes for each token of the vocabulary.
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

// logits: [vocab_size], not changed. RILL_EFORMAT if none of them is a number. Allocates nothing.
RILL_NODISCARD rill_status rill__sampler_choose(rill__sampler *s, const float *logits,
                                                const rill__history *history, rill_token *out,
                                                rill_error *err);

#endif
