// SPDX-License-Identifier: MIT
// The naive oracle: the definition of a stream in docs/stream.md, taken literally, in float64.
//
// It keeps every key and value, unrotated, for ever. For each token it lists what that token sees,
// gives the list positions 0, 1, 2 ..., rotates every key of it for its position, and computes
// plain attention. It shares with the engine the description, the weights, and the numbers that
// tests/unit/rope_test.c holds against independent ones: RoPE's frequencies and magnitude (but not
// how a stream stretches them).
// ALiBi's slopes are its own.
#ifndef RILL_TESTS_ORACLE_H
#define RILL_TESTS_ORACLE_H

#include "model/model.h"

typedef struct oracle oracle;

typedef struct oracle_options {
    uint32_t n_sinks;   // n
    uint32_t window;    // m
    bool by_message;    // evict whole messages
    uint64_t capacity;  // for RoPE's frequencies
    // Plain RoPE stretched: 0 or 1 for not. Pair i of n is divided by interpolation, or by
    // ntk^(i / (n - 1)).
    double interpolation;
    double ntk;
    double sink_scale;
    double sink_cap;
} oracle_options;

// Ends the program if memory is out. The model must outlive the oracle.
oracle *oracle_new(const rill__model *model, const oracle_options *options);
void oracle_free(oracle *o);
// The next token begins a message.
void oracle_begin_message(oracle *o);
// Everything so far is kept for ever.
void oracle_pin(oracle *o);
// Reads a token; logits: [vocab_size].
void oracle_step(oracle *o, rill_token token, double *logits);
// How many numbers the limit of a clamped activation has changed so far.
uint64_t oracle_clamped(const oracle *o);
// The tokens that the last one saw, itself included; returns how many.
size_t oracle_visible(const oracle *o, uint64_t *tokens);

#endif
