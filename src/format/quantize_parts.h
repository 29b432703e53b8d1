// SPDX-License-Identifier: MIT
// What the quantizers share.
//
// Searches run four abreast, groups or trials, each lane in ggml's order: so every sum is ggml's.
// Lanes are the compiler's own vectors (gcc's and clang's vector_size), which every processor has.
#ifndef RILL_FORMAT_QUANTIZE_PARTS_H
#define RILL_FORMAT_QUANTIZE_PARTS_H

#include "format/types.h"

#include <math.h>

enum { RILL_LANES = 4 };
typedef float rill__lanes __attribute__((vector_size(16)));
typedef int32_t rill__mask __attribute__((vector_size(16)));  // of a lane: -1 yes, 0 no

// x in every lane.
static inline rill__lanes rill__all(float x) {
    return (rill__lanes){x, x, x, x};
}

// a where the mask is set, else b.
static inline rill__lanes rill__pick(rill__mask m, rill__lanes a, rill__lanes b) {
    return (rill__lanes)((m & (rill__mask)a) | (~m & (rill__mask)b));
}

// Without signs.
static inline rill__lanes rill__magnitudes(rill__lanes x) {
    const int32_t rest = 0x7fffffff;
    return (rill__lanes)((rill__mask)x & (rill__mask){rest, rest, rest, rest});
}

// The whole numbers nearest to x, ties to even, in [low, high] (below 2^22); low for NaN. The sum
// has no room for a fraction, so the float unit rounds.
static inline rill__lanes rill__to_whole(rill__lanes x, float low, float high) {
    x = rill__pick(x > rill__all(low), x, rill__all(low));
    x = rill__pick(x < rill__all(high), x, rill__all(high));
    return x + rill__all(0x1.8p23f) - rill__all(0x1.8p23f);
}

// The same of one number.
static inline int rill__round(float x, int low, int high) {
    return (int)rill__to_whole(rill__all(x), (float)low, (float)high)[0];
}

// Groups whose greatest magnitude is below this are zeros (ggml's GROUP_MAX_EPS).
#define RILL_GROUP_ZERO 1e-15f

// n values, 0 for NaN. What is beyond the reach of any scale in half precision, infinities too, is
// brought so near that sums stay finite; the scale is an infinity all the same.
static inline void rill__load_numbers(const float *src, float *x, int n) {
    const float reach = 0x1p30f;
    for (int i = 0; i < n; i++) {
        float v = src[i] == src[i] ? src[i] : 0;
        v = v < reach ? v : reach;
        x[i] = v > -reach ? v : -reach;
    }
}

// The value of greatest magnitude, the first of several; 0 if there is none.
static inline float rill__extreme(const float *x, int n) {
    float greatest = 0, extreme = 0;
    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > greatest) {
            greatest = fabsf(x[i]);
            extreme = x[i];
        }
    }
    return extreme;
}

// 1 / d; 0 where that is no number.
static inline float rill__inverse(float d) {
    float inverse = d != 0 ? 1 / d : 0;
    return isinf(inverse) ? 0 : inverse;
}

#endif
