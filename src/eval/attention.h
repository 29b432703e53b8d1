// SPDX-License-Identifier: MIT
// Where attention goes: how much of it the first tokens of a text take, in each layer and head.
//
// Source of the metric: Gu et al., "When Attention Sink Emerges in Language Models" (ICLR 2025),
// who take its mean over many sequences of 64 tokens; docs/eval.md says what differs here.
#ifndef RILL_EVAL_ATTENTION_H
#define RILL_EVAL_ATTENTION_H

#include "rill/rill.h"

// What the attention of a head is divided among.
enum {
    RILL_ATTENTION_POSITIONS = 16,  // 0 ... 15: each of the first tokens of a text by itself
    RILL_ATTENTION_REST = RILL_ATTENTION_POSITIONS,  // all later ones together
    RILL_ATTENTION_NOBODY,  // no token: a learned sink logit, or softmax-off-by-one
    RILL_ATTENTION_PARTS,
};

// A mean attention above this makes a head's token a sink (Gu et al.: epsilon).
#define RILL_SINK_THRESHOLD 0.3

typedef struct rill__attention rill__attention;

// Nothing counted yet, for a model of so many layers and heads. The caller's: rill__attention_free.
// RILL_ENOMEM.
RILL_NODISCARD rill_status rill__attention_new(uint32_t n_layers, uint32_t n_heads,
                                               rill__attention **out, rill_error *err);
// NULL in it is allowed.
void rill__attention_free(rill__attention **a);

// Counts one row: a rill_attention_fn whose user is the rill__attention. The text begins with
// token 0. Layers and heads past those it was made for are left out.
void rill__attention_add(void *user, const rill_attention_row *row);

// All that was counted, *n numbers, to be kept and put back: an object made for as many layers and
// heads continues from them.
double *rill__attention_values(rill__attention *a, size_t *n);

// Rows that were counted in a layer.
uint64_t rill__attention_rows(const rill__attention *a, uint32_t layer);

// The mean weight that a head gives to one of the parts above: to a position over the tokens that
// see it, that token itself among them (0 if none does), to the rest and to nobody over all rows.
double rill__attention_mean(const rill__attention *a, uint32_t layer, uint32_t head, uint32_t part);
// Its mean over all layers and heads.
double rill__attention_mean_of_all(const rill__attention *a, uint32_t part);

// The sink metric: share of all (layer, head) whose mean attention to `position` is above
// RILL_SINK_THRESHOLD.
double rill__attention_sink_share(const rill__attention *a, uint32_t position);

#endif
