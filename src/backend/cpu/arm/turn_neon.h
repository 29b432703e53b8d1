// SPDX-License-Identifier: MIT
// Scales of weight rows for one_tmpl.h.
#ifndef RILL_TURN_NEON_H
#define RILL_TURN_NEON_H

#include "backend/cpu/arm/vec_neon.h"
#include "backend/cpu/kernels.h"

#define OINLINE static inline __attribute__((always_inline))

// Four runs of the scales of four weight rows: lane i of out[r] is row i's run r.
OINLINE void turn(const float *d, size_t stride, vf out[LANES]) {
    vf a = vf_load(d), b = vf_load(d + stride);
    vf c = vf_load(d + 2 * stride), e = vf_load(d + 3 * stride);
    vf low = vzip1q_f32(a, c), low2 = vzip1q_f32(b, e);
    vf high = vzip2q_f32(a, c), high2 = vzip2q_f32(b, e);
    out[0] = vzip1q_f32(low, low2);
    out[1] = vzip2q_f32(low, low2);
    out[2] = vzip1q_f32(high, high2);
    out[3] = vzip2q_f32(high, high2);
}

#endif
