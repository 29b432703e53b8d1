// SPDX-License-Identifier: MIT
// Quantizers of the types whose sixteen levels stand in a table. See quantize.h; k_quants.c has the
// layouts.
#include "format/quantize.h"

#include "format/k_quants.h"
#include "format/quantize_parts.h"

#include <string.h>

enum { BLOCK = 32, TRIALS = 16, LEVELS = 16 };

// Half way from one level to the next, and how far that is.
static const float middles[LEVELS - 1] = {-115.5f, -93.5f, -74,   -57,   -42, -28.5f, -16, -4.5f,
                                          7,       19,     31.5f, 45.5f, 61,  79,     101};
static const float steps[LEVELS - 1] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24};

// The number of the level nearest to x.
static uint8_t level_code(float x) {
    uint8_t code = 0;
    for (int i = 0; i < LEVELS - 1; i++) code = (uint8_t)(code + (x >= middles[i]));
    return code;
}

static inline rill__lanes nearest_levels(rill__lanes x) {
    rill__lanes level = rill__all(-127);
    for (int i = 0; i < LEVELS - 1; i++)
        level += rill__pick(x >= rill__all(middles[i]), rill__all(steps[i]), rill__all(0));
    return level;
}

// A block's scale. Trial 0 puts the extreme on the last level but its sign, the others on the first
// one and up to seven to either side of it.
static float fit_levels(const float *x) {
    float best = 0, fit = 0, extreme = rill__extreme(x, BLOCK);
    if (fabsf(extreme) < RILL_GROUP_ZERO) return 0;
    for (int first = 0; first < TRIALS; first += RILL_LANES) {
        rill__lanes inverse, wxq = {0}, wqq = {0};
        for (int k = 0; k < RILL_LANES; k++) inverse[k] = (float)(first + k - 8 - 127) / extreme;
        if (first == 0) inverse[0] = 1 / (extreme / 127);
        for (int i = 0; i < BLOCK; i++) {
            rill__lanes q = nearest_levels(inverse * rill__all(x[i]));
            rill__lanes w = rill__all(x[i] * x[i]) * q;
            wxq += w * rill__all(x[i]);
            wqq += w * q;
        }
        for (int k = 0; k < RILL_LANES; k++) {
            bool plain = first + k == 0;
            if (wqq[k] > 0 && (plain || wxq[k] * wxq[k] > fit * wqq[k])) {
                best = wxq[k] / wqq[k];
                fit = best * wxq[k];
            }
        }
    }
    return best;
}

static void put_levels(const float *x, float inverse, uint8_t *to) {
    for (int j = 0; j < BLOCK / 2; j++)
        to[j] = (uint8_t)(level_code(inverse * x[j]) | level_code(inverse * x[j + BLOCK / 2]) << 4);
}

void rill__iq4_nl_from_float(const float *src, void *dst, size_t n) {
    uint8_t *to = dst;
    for (size_t at = 0; at < n; at += BLOCK, to += 18) {
        float x[BLOCK];
        rill__load_numbers(src + at, x, BLOCK);
        float d = fit_levels(x);
        rill__store_half(to, d);
        put_levels(x, rill__inverse(d), to + 2);
    }
}

void rill__iq4_xs_from_float(const float *src, void *dst, size_t n) {
    enum { GROUPS = RILL_SUPER_BLOCK / BLOCK };
    uint8_t *to = dst;
    for (size_t at = 0; at < n; at += RILL_SUPER_BLOCK, to += 136) {
        float x[RILL_SUPER_BLOCK], scales[GROUPS];
        unsigned high = 0;
        rill__load_numbers(src + at, x, RILL_SUPER_BLOCK);
        for (int j = 0; j < GROUPS; j++) scales[j] = fit_levels(x + BLOCK * j);
        // The scale of greatest magnitude becomes -32.
        float d = -rill__extreme(scales, GROUPS) / 32, inverse = rill__inverse(d);
        memset(to + 4, 0, 4);
        for (int j = 0; j < GROUPS; j++) {
            int scale = rill__round(inverse * scales[j], -32, 31);
            unsigned code = (unsigned)(scale + 32);
            to[4 + j / 2] |= (uint8_t)((code & 15) << (j % 2 * 4));
            high |= (code >> 4) << 2 * j;
            put_levels(x + BLOCK * j, rill__inverse(d * (float)scale), to + 8 + 16 * j);
        }
        rill__store_half(to, d);
        rill__store16(to + 2, (uint16_t)high);
    }
}
