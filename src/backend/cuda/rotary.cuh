// SPDX-License-Identifier: MIT
// Turning pairs, the same way wherever it is done.
#ifndef RILL_BACKEND_CUDA_ROTARY_CUH
#define RILL_BACKEND_CUDA_ROTARY_CUH

#include <cuda_runtime.h>

// a and b become a cos - b sin and b cos + a sin, rounded as the CPU rounds.
static __device__ __forceinline__ float2 turned(float2 x, float2 turn) {
    return {__fsub_rn(__fmul_rn(x.x, turn.x), __fmul_rn(x.y, turn.y)),
            __fadd_rn(__fmul_rn(x.y, turn.x), __fmul_rn(x.x, turn.y))};
}

#endif
