// SPDX-License-Identifier: MIT
// Quantizers of the k-quants. See quantize.h; k_quants.c has the layouts.
//
// A group of 16 or 32 values gets a scale (and a minimum) by a search for the least weighted error.
// The scales of a super-block are then rounded to a few bits each, and the values once more, by the
// scales that are left.
#include "format/quantize.h"

#include "format/k_quants.h"
#include "format/quantize_parts.h"

#include <string.h>

enum { SUPER = RILL_SUPER_BLOCK, MAX_GROUP = 32 };

// Codes once more, q - low, by the scale that is left: x = d q - minimum. Those of the search stay
// where it is 0.
static void round_group(const float *x, int n, float minimum, float d, int low, int high,
                        uint8_t *codes) {
    if (d == 0) return;
    for (int i = 0; i < n; i += RILL_LANES) {
        rill__lanes v = {x[i], x[i + 1], x[i + 2], x[i + 3]};
        rill__lanes q =
            rill__to_whole((v + rill__all(minimum)) / rill__all(d), (float)low, (float)high);
        for (int j = 0; j < RILL_LANES; j++) codes[i + j] = (uint8_t)((int)q[j] - low);
    }
}

// ---- q2_K, q4_K, q5_K: scale * q - minimum ----------------------------------------------------

// How a type's groups are searched: trial i of n_trials takes a step of 1 / (top + first + i / 10)
// of what a group spans.
typedef struct span_search {
    int group;  // values
    int top;    // the greatest q
    float first;
    int n_trials;
    bool absolute;     // an error counts with its magnitude, else with its square
    int top_scale;     // the greatest code of a scale and of a minimum
    bool weigh_alike;  // weights are |x| + the root of the mean square, else |x|
} span_search;

// Groups side by side: lane j of x[i] is value i of group j.
typedef struct span_groups {
    rill__lanes x[MAX_GROUP], w[MAX_GROUP];  // values, weights
    rill__lanes sum_w, sum_x, greatest;
    rill__lanes q[MAX_GROUP], scale, least, error;  // the best so far
} span_groups;

// Levels from the least value on, and their sums over a group.
typedef struct span_levels {
    rill__lanes q[MAX_GROUP];
    rill__lanes wq, wqq, wqx;  // of w q, w q^2, w q x
} span_levels;

static void load_groups(const span_search *s, const float *x, span_groups *g) {
    rill__lanes squares = {0}, zero = {0}, alike = {0};
    for (int i = 0; i < s->group; i++) {
        for (int j = 0; j < RILL_LANES; j++) g->x[i][j] = x[j * s->group + i];
        squares += g->x[i] * g->x[i];
    }
    for (int j = 0; s->weigh_alike && j < RILL_LANES; j++)
        alike[j] = sqrtf(squares[j] / (float)s->group);
    g->least = g->greatest = g->x[0];
    g->sum_w = g->sum_x = zero;
    for (int i = 0; i < s->group; i++) {
        g->least = rill__pick(g->x[i] < g->least, g->x[i], g->least);
        g->greatest = rill__pick(g->x[i] > g->greatest, g->x[i], g->greatest);
        g->w[i] = alike + rill__magnitudes(g->x[i]);
        g->sum_w += g->w[i];
        g->sum_x += g->w[i] * g->x[i];
    }
    g->least = rill__pick(g->least > zero, zero, g->least);
}

static void place_levels(const span_search *s, const span_groups *g, rill__lanes inverse,
                         span_levels *l) {
    float top = (float)s->top;
    rill__lanes wq = {0}, wqq = {0}, wqx = {0};
    for (int i = 0; i < s->group; i++) {
        rill__lanes q = rill__to_whole(inverse * (g->x[i] - g->least), 0, top), w = g->w[i] * q;
        l->q[i] = q;
        wq += w;
        wqq += w * q;
        wqx += w * g->x[i];
    }
    l->wq = wq;
    l->wqq = wqq;
    l->wqx = wqx;
}

static rill__lanes sum_errors(const span_search *s, const span_groups *g, const rill__lanes *q,
                              rill__lanes scale, rill__lanes least) {
    rill__lanes error = {0};
    for (int i = 0; i < s->group; i++) {
        rill__lanes off = scale * q[i] + least - g->x[i];
        error += g->w[i] * (s->absolute ? rill__magnitudes(off) : off * off);
    }
    return error;
}

// One trial: the line through the levels by weighted least squares, the minimum at most 0. A group
// takes it if its error is less.
static void try_steps(const span_search *s, span_groups *g, float steps) {
    span_levels l;
    rill__lanes zero = {0};
    place_levels(s, g, rill__all(steps) / (g->greatest - g->least), &l);
    rill__lanes determinant = g->sum_w * l.wqq - l.wq * l.wq;
    rill__lanes scale = (g->sum_w * l.wqx - g->sum_x * l.wq) / determinant;
    rill__lanes least = (l.wqq * g->sum_x - l.wq * l.wqx) / determinant;
    scale = rill__pick(least > zero, l.wqx / l.wqq, scale);
    least = rill__pick(least > zero, zero, least);
    rill__lanes error = sum_errors(s, g, l.q, scale, least);
    rill__mask better = (determinant > zero) & (error < g->error);
    if (!(better[0] | better[1] | better[2] | better[3])) return;
    g->error = rill__pick(better, error, g->error);
    g->scale = rill__pick(better, scale, g->scale);
    g->least = rill__pick(better, least, g->least);
    for (int i = 0; i < s->group; i++) g->q[i] = rill__pick(better, l.q[i], g->q[i]);
}

// ggml's make_qkx2_quants: scales, minima and codes of groups. A trial's levels begin at the best
// minimum so far.
static void fit_spans(const span_search *s, const float *x, float *scales, float *minima,
                      uint8_t *codes) {
    span_groups g;
    span_levels plain;
    load_groups(s, x, &g);
    rill__mask flat = g.greatest == g.least;
    rill__lanes inverse = rill__all((float)s->top) / (g.greatest - g.least);
    place_levels(s, &g, inverse, &plain);
    memcpy(g.q, plain.q, sizeof g.q);
    g.scale = rill__all(1) / inverse;
    g.error = sum_errors(s, &g, g.q, g.scale, g.least);
    rill__lanes least = g.least;
    for (int k = 0; k < s->n_trials; k++)
        try_steps(s, &g, s->first + 0.1f * (float)k + (float)s->top);
    for (int j = 0; j < RILL_LANES; j++) {
        scales[j] = flat[j] ? 0 : g.scale[j];
        minima[j] = -(flat[j] ? least[j] : g.least[j]);
        for (int i = 0; i < s->group; i++)
            codes[j * s->group + i] = flat[j] ? 0 : (uint8_t)g.q[i][j];
    }
}

// A super-block before it is packed.
typedef struct span_block {
    uint8_t codes[SUPER];
    uint8_t scales[16], minima[16];  // of the groups
    uint16_t d, dmin;                // halves
} span_block;

// Scales as whole numbers up to `top`, the greatest of them `top`; returns what to multiply with.
static uint16_t round_scales(const float *scales, int n, int top, uint8_t *codes) {
    float greatest = 0;
    for (int j = 0; j < n; j++) greatest = scales[j] > greatest ? scales[j] : greatest;
    float inverse = greatest > 0 ? (float)top / greatest : 0;
    for (int j = 0; j < n; j++) codes[j] = (uint8_t)rill__round(inverse * scales[j], 0, top);
    return rill__f32_to_f16(greatest / (float)top);
}

static void make_span_block(const span_search *s, const float *src, span_block *b) {
    float x[SUPER], scales[16] = {0}, minima[16] = {0};
    int n = SUPER / s->group;
    rill__load_numbers(src, x, SUPER);
    for (int j = 0; j < n; j += RILL_LANES)
        fit_spans(s, x + j * s->group, scales + j, minima + j, b->codes + j * s->group);
    b->d = round_scales(scales, n, s->top_scale, b->scales);
    b->dmin = round_scales(minima, n, s->top_scale, b->minima);
    for (int j = 0; j < n; j++) {
        float d = rill__f16_to_f32(b->d) * b->scales[j];
        float minimum = rill__f16_to_f32(b->dmin) * b->minima[j];
        round_group(x + j * s->group, s->group, minimum, d, 0, s->top, b->codes + j * s->group);
    }
}

// Two bits of each code, 128 values to 32 bytes.
static void put_pairs(uint8_t *to, const uint8_t *codes) {
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < 32; k++) {
            const uint8_t *c = codes + 128 * half + k;
            to[32 * half + k] =
                (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
}

void rill__q2_k_from_float(const float *src, void *dst, size_t n) {
    static const span_search search = {
        .group = 16, .top = 3, .first = -0.5f, .n_trials = 16, .absolute = true, .top_scale = 15};
    uint8_t *to = dst;
    for (size_t i = 0; i < n; i += SUPER, to += 84) {
        span_block b;
        make_span_block(&search, src + i, &b);
        for (int j = 0; j < 16; j++) to[j] = (uint8_t)(b.scales[j] | b.minima[j] << 4);
        put_pairs(to + 16, b.codes);
        rill__store16(to + 80, b.d);
        rill__store16(to + 82, b.dmin);
    }
}

// Halves d and dmin, and eight scales and minima of 6 bits in 12 bytes: see k_quants.c.
static void put_head(uint8_t *to, const span_block *b) {
    rill__store16(to, b->d);
    rill__store16(to + 2, b->dmin);
    for (int j = 0; j < 4; j++) {
        const uint8_t *scale = b->scales + j, *minimum = b->minima + j;
        to[4 + j] = (uint8_t)(scale[0] | (scale[4] >> 4) << 6);
        to[8 + j] = (uint8_t)(minimum[0] | (minimum[4] >> 4) << 6);
        to[12 + j] = (uint8_t)((scale[4] & 15) | (minimum[4] & 15) << 4);
    }
}

// The low four bits, 64 values to 32 bytes.
static void put_nibbles(uint8_t *to, const uint8_t *codes) {
    for (int j = 0; j < 4; j++)
        for (int k = 0; k < 32; k++)
            to[32 * j + k] =
                (uint8_t)((codes[64 * j + k] & 15) | (codes[64 * j + 32 + k] & 15) << 4);
}

void rill__q4_k_from_float(const float *src, void *dst, size_t n) {
    static const span_search search = {
        .group = 32, .top = 15, .first = -1, .n_trials = 21, .top_scale = 63, .weigh_alike = true};
    uint8_t *to = dst;
    for (size_t i = 0; i < n; i += SUPER, to += 144) {
        span_block b;
        make_span_block(&search, src + i, &b);
        put_head(to, &b);
        put_nibbles(to + 16, b.codes);
    }
}

void rill__q5_k_from_float(const float *src, void *dst, size_t n) {
    static const span_search search = {.group = 32,
                                       .top = 31,
                                       .first = -0.5f,
                                       .n_trials = 16,
                                       .top_scale = 63,
                                       .weigh_alike = true};
    uint8_t *to = dst;
    for (size_t i = 0; i < n; i += SUPER, to += 176) {
        span_block b;
        make_span_block(&search, src + i, &b);
        put_head(to, &b);
        for (int k = 0; k < 32; k++) {
            to[16 + k] = 0;
            for (int j = 0; j < 8; j++) to[16 + k] |= (uint8_t)((b.codes[32 * j + k] >> 4) << j);
        }
        put_nibbles(to + 48, b.codes);
    }
}

// ---- q3_K: scale * (q - 4) ----------------------------------------------------------------------

enum { GROUPS = 16, GROUP = 16 };  // of a super-block, of q3_K and q6_K

// ggml's make_q3_quants of groups side by side: scales and codes. From the plain choice on, each
// value in turn takes the level that is best for the others' scale, if the fit gains by it: until
// nothing changes, at most five times.
static void fit_q3(const float *src, float *scales, uint8_t *codes) {
    rill__lanes x[GROUP], q[GROUP], zero = {0}, extreme = {0}, wxq = {0}, wqq = {0};
    for (int i = 0; i < GROUP; i++) {
        for (int j = 0; j < RILL_LANES; j++) x[i][j] = src[j * GROUP + i];
        extreme = rill__pick(rill__magnitudes(x[i]) > rill__magnitudes(extreme), x[i], extreme);
    }
    rill__lanes inverse = rill__all(-4) / extreme;
    for (int i = 0; i < GROUP; i++) {
        rill__lanes w = x[i] * x[i];
        q[i] = rill__to_whole(inverse * x[i], -4, 3);
        wxq += w * x[i] * q[i];
        wqq += w * q[i] * q[i];
    }
    rill__mask changed = {1, 1, 1, 1};
    for (int n = 0; n < 5 && (changed[0] | changed[1] | changed[2] | changed[3]); n++) {
        changed ^= changed;
        for (int i = 0; i < GROUP; i++) {
            rill__lanes w = x[i] * x[i], wx = w * x[i];
            rill__lanes others_wxq = wxq - wx * q[i], others_wqq = wqq - w * q[i] * q[i];
            rill__lanes level = rill__to_whole(x[i] * others_wqq / others_wxq, -4, 3);
            rill__lanes new_wxq = others_wxq + wx * level;
            rill__lanes new_wqq = others_wqq + w * level * level;
            rill__mask better = (others_wxq > zero) & (level != q[i]) & (new_wqq > zero) &
                                (new_wxq * new_wxq * wqq > wxq * wxq * new_wqq);
            q[i] = rill__pick(better, level, q[i]);
            wxq = rill__pick(better, new_wxq, wxq);
            wqq = rill__pick(better, new_wqq, wqq);
            changed |= better;
        }
    }
    for (int j = 0; j < RILL_LANES; j++) {
        bool none = fabsf(extreme[j]) < RILL_GROUP_ZERO;
        scales[j] = !none && wqq[j] > 0 ? wxq[j] / wqq[j] : 0;
        for (int i = 0; i < GROUP; i++) codes[j * GROUP + i] = none ? 0 : (uint8_t)(q[i][j] + 4);
    }
}

void rill__q3_k_from_float(const float *src, void *dst, size_t n) {
    uint8_t *to = dst;
    for (size_t at = 0; at < n; at += SUPER, to += 110) {
        float x[SUPER], scales[GROUPS];
        uint8_t codes[SUPER];
        rill__load_numbers(src + at, x, SUPER);
        for (int j = 0; j < GROUPS; j += RILL_LANES)
            fit_q3(x + j * GROUP, scales + j, codes + j * GROUP);
        // The scale of greatest magnitude becomes -32.
        float extreme = rill__extreme(scales, GROUPS);
        float inverse = extreme != 0 ? -32 / extreme : 0;
        uint16_t d = rill__f32_to_f16(inverse != 0 ? 1 / inverse : 0);
        memset(to, 0, 32);
        memset(to + 96, 0, 12);
        for (int j = 0; j < GROUPS; j++) {
            int scale = rill__round(inverse * scales[j], -32, 31);
            int code = extreme != 0 ? scale + 32 : 0;
            round_group(x + j * GROUP, GROUP, 0, rill__f16_to_f32(d) * (float)scale, -4, 3,
                        codes + j * GROUP);
            to[96 + j % 8] |= (uint8_t)((code & 15) << (j / 8 * 4));
            to[104 + j % 4] |= (uint8_t)((code >> 4) << (j / 4 * 2));
        }
        for (int i = 0; i < SUPER; i++) to[i % 32] |= (uint8_t)((codes[i] >> 2) << i / 32);
        put_pairs(to + 32, codes);
        rill__store16(to + 108, d);
    }
}

// ---- q6_K: scale * (q - 32) ---------------------------------------------------------------------

// ggml's make_qx_quants of groups side by side, with squares as weights: scales and codes. The
// plain choice puts the extreme on -32, trials on -32 - i / 10, i in -9..9 but 0.
static void fit_q6(const float *src, float *scales, uint8_t *codes) {
    rill__lanes x[GROUP], zero = {0}, extreme = {0}, scale = {0}, fit = {0}, best = {0};
    for (int i = 0; i < GROUP; i++) {
        for (int j = 0; j < RILL_LANES; j++) x[i][j] = src[j * GROUP + i];
        extreme = rill__pick(rill__magnitudes(x[i]) > rill__magnitudes(extreme), x[i], extreme);
    }
    for (int trial = -10; trial <= 9; trial++) {
        if (trial == 0) continue;
        bool plain = trial == -10;
        float lowest = plain ? 32 : 32 + 0.1f * (float)trial;
        rill__lanes inverse = rill__all(-lowest) / extreme, wxq = {0}, wqq = {0};
        for (int i = 0; i < GROUP; i++) {
            rill__lanes q = rill__to_whole(inverse * x[i], -32, 31), w = x[i] * x[i];
            wxq += w * x[i] * q;
            wqq += w * q * q;
        }
        rill__mask better = (wqq > zero) & (wxq * wxq > fit * wqq);
        better = plain ? zero == zero : better;
        best = rill__pick(better, inverse, best);
        scale = rill__pick(better, rill__pick(wqq != zero, wxq / wqq, zero), scale);
        fit = rill__pick(better, scale * wxq, fit);
    }
    for (int i = 0; i < GROUP; i++) x[i] = rill__to_whole(best * x[i], -32, 31);
    for (int j = 0; j < RILL_LANES; j++) {
        bool none = fabsf(extreme[j]) < RILL_GROUP_ZERO;
        scales[j] = none ? 0 : scale[j];
        for (int i = 0; i < GROUP; i++) codes[j * GROUP + i] = none ? 0 : (uint8_t)(x[i][j] + 32);
    }
}

static void pack_q6(const uint8_t *codes, uint8_t *to) {
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < 32; k++) {
            const uint8_t *c = codes + 128 * half + k;
            to[64 * half + k] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
            to[64 * half + 32 + k] = (uint8_t)((c[32] & 15) | (c[96] & 15) << 4);
            to[128 + 32 * half + k] =
                (uint8_t)(c[0] >> 4 | (c[32] >> 4) << 2 | (c[64] >> 4) << 4 | (c[96] >> 4) << 6);
        }
}

void rill__q6_k_from_float(const float *src, void *dst, size_t n) {
    uint8_t *to = dst;
    for (size_t at = 0; at < n; at += SUPER, to += 210) {
        float x[SUPER], scales[GROUPS];
        uint8_t codes[SUPER];
        rill__load_numbers(src + at, x, SUPER);
        for (int j = 0; j < GROUPS; j += RILL_LANES)
            fit_q6(x + GROUP * j, scales + j, codes + GROUP * j);
        float extreme = rill__extreme(scales, GROUPS);
        if (fabsf(extreme) < RILL_GROUP_ZERO) {
            memset(to, 0, 210);
            continue;
        }
        // The scale of greatest magnitude becomes -128.
        float inverse = -128 / extreme;
        uint16_t d = rill__f32_to_f16(1 / inverse);
        for (int j = 0; j < GROUPS; j++) {
            int scale = rill__round(inverse * scales[j], -128, 127);
            round_group(x + j * GROUP, GROUP, 0, rill__f16_to_f32(d) * (float)scale, -32, 31,
                        codes + j * GROUP);
            to[192 + j] = (uint8_t)scale;
        }
        pack_q6(codes, to);
        rill__store16(to + 208, d);
    }
}
