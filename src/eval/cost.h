// SPDX-License-Identifier: MIT
// What a token costs at least, and how fast a machine of known limits could be at most.
#ifndef RILL_EVAL_COST_H
#define RILL_EVAL_COST_H

#include "rill/rill.h"

// How tokens are computed, as far as it changes their cost.
typedef struct rill__token_work {
    double together;       // tokens of a stream that share one pass over the weights: 1 in writing
    double visible;        // others that a token sees
    double outputs;        // share of a token's logits that is computed: 1 while writing
    double streams;        // that share the weights, each with a cache of its own
    rill_product product;  // of the weights
} rill__token_work;

typedef struct rill__token_cost {
    double bytes;   // weights and cache that a token reads
    double flops;   // multiply and add count as two
    double rate;    // tokens a second at the nearer of the machine's two limits
    bool by_bytes;  // memory is the nearer one, not arithmetic
} rill__token_cost;

// Operations a second of such products.
double rill__roof_flops(const rill_roof *roof, rill_product product);

// The cost of a token of the model whose keys and values are of those types.
rill__token_cost rill__token_cost_at(const rill_model_info *model, rill_type key_type,
                                     rill_type value_type, const rill_roof *roof,
                                     rill__token_work work);

#endif
