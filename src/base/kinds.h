// SPDX-License-Identifier: MIT
// Kinds of norm and of activation: what a model's description names and a backend computes, neither
// of which knows the other.
#ifndef RILL_BASE_KINDS_H
#define RILL_BASE_KINDS_H

typedef enum rill__norm_kind { RILL_NORM_RMS, RILL_NORM_LAYER } rill__norm_kind;
typedef enum rill__activation {
    RILL_ACT_SILU,
    RILL_ACT_GELU,
    RILL_ACT_GELU_TANH,
    // gpt-oss: g sigmoid(1.702 g) (u + 1), g = min(gate, limit), u = up within +-limit
    RILL_ACT_CLAMPED_SWIGLU,
} rill__activation;

#endif
