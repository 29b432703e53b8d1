// SPDX-License-Identifier: MIT
// Activations of one number.
#ifndef RILL_BACKEND_CUDA_ACTIVATION_CUH
#define RILL_BACKEND_CUDA_ACTIVATION_CUH

#include "base/kinds.h"

// act(x) * up; see rill__activation. (1 + erf(y)) is written erfc(-y), and (1 + tanh(y)) / 2 as
// 1 / (1 + exp(-2 y)), for in float the sums lose what a negative x leaves of them.
template <typename real>
static __device__ real activated(rill__activation act, real x, real up, real limit) {
    switch (act) {
    case RILL_ACT_SILU: return x / (1 + exp(-x)) * up;
    case RILL_ACT_GELU: return (real)0.5 * x * erfc(x * (real)-0.70710678118654752440) * up;
    case RILL_ACT_GELU_TANH: {
        real inner = (real)0.79788456080286535588 * (x + (real)0.044715 * x * x * x);
        return x / (1 + exp(-2 * inner)) * up;
    }
    default: {  // clamped SwiGLU; comparisons let a NaN through
        x = x > limit ? limit : x;
        up = up > limit ? limit : up < -limit ? -limit : up;
        return x / (1 + exp((real)-1.702 * x)) * (up + 1);
    }
    }
}

#endif
