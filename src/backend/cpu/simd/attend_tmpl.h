// SPDX-License-Identifier: MIT
// Attention's kernels, for every tier: include after attend_*.h and the other templates.
//
// A product of a query and a key has four sums, of the columns that are 0, 1, 2 and 3 modulo 4, in
// rising order. So keys lie in panels of PANEL vectors, QUADS keys a vector, four columns of each:
// a panel's vectors of one quad of columns one behind another, then the next quad. A query's quad
// is broadcast, and no sum crosses lanes before the end.
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/ahead_tmpl.h"

#include <math.h>

enum { PANEL_KEYS = PANEL * QUADS };

INLINE size_t rounded_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

// Columns [at, at + LANES) of a row of floats; zeros behind dim.
INLINE vf load_row(rill_type type, const uint8_t *row, size_t at, size_t dim) {
    const uint8_t *p = row + at * float_bytes(type);
    return at + LANES <= dim ? load_floats(type, p) : load_floats_part(type, p, dim - at);
}

// LANES of a block of 32, in units of its scale.
INLINE vf load_whole(rill_type type, const uint8_t *block, size_t at) {
    return type == RILL_TYPE_Q8_0 ? vf_load_i8(block + 2 + at)
                                  : vf_load_nibbles(block + 2 + at % 16, at >= 16);
}

INLINE void decode_blocks(rill_type type, size_t bytes, const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 32, b += bytes) {
        vf d = vf_set(half_number(b));
        for (size_t j = 0; j < 32; j += LANES)
            vf_store(dst + i + j, vf_mul(d, load_whole(type, b, j)));
    }
}

static void NAME(decode_cached_q8_0)(const void *src, float *dst, size_t n) {
    decode_blocks(RILL_TYPE_Q8_0, 34, src, dst, n);
}

static void NAME(decode_cached_q4_0)(const void *src, float *dst, size_t n) {
    decode_blocks(RILL_TYPE_Q4_0, 18, src, dst, n);
}

INLINE void store_quads(vf x[QUADS], float *out) {
    for (size_t i = 0; i < QUADS; i++) vf_store(out + i * PANEL * LANES, x[i]);
}

// 16 columns of rows that are bytes times a scale. They change places while they are bytes.
INLINE float *store_whole(vq bytes, vf scales, float *out, ahead *next) {
    _Alignas(64) int8_t turned[16 * QUADS];
    vq_store_turned(turned, bytes);
    for (size_t i = 0; i < 4; i++, out += PANEL * LANES)
        vf_store(out, vf_mul(scales, vf_load_i8(turned + i * LANES)));
    look_ahead(next, false);
    return out;
}

// Vector v of a panel: keys v, PANEL + v, 2 * PANEL + v ... of it.
INLINE void pack_vectors(rill_type type, const uint8_t *const row[QUADS], size_t dim, float *out,
                         ahead *next) {
    vf x[QUADS];
    if (type != RILL_TYPE_Q8_0 && type != RILL_TYPE_Q4_0) {
        for (size_t c = 0; c < dim; c += LANES, out += QUADS * PANEL * LANES) {
            for (size_t i = 0; i < QUADS; i++) x[i] = load_row(type, row[i], c, dim);
            turn_quads(x);
            store_quads(x, out);
            look_ahead(next, false);
        }
        return;
    }
    size_t bytes = type == RILL_TYPE_Q8_0 ? 34 : 18;
    for (size_t at = 0, c = 0; c < dim; c += 32, at += bytes) {
        vf scales = vf_scales(row, at);
        vq first = vq_load(row, at + 2), second = first;
        if (type == RILL_TYPE_Q8_0) {
            second = vq_load(row, at + 2 + 16);
        } else {
            first = vq_nibbles(first, false);
            second = vq_nibbles(second, true);
        }
        out = store_whole(first, scales, out, next);
        out = store_whole(second, scales, out, next);
    }
}

INLINE void pack_any(rill_type type, const rill__keys *k) {
    size_t width = rounded_up(k->dim, 32), begin = k->first / PANEL_KEYS;
    size_t end = rounded_up(k->end, PANEL_KEYS) / PANEL_KEYS;
    ahead next = ahead_of(&k->ahead, (end - begin) * PANEL * (width / 16));
    for (size_t p = begin; p < end; p++)
        for (size_t v = 0; v < PANEL; v++) {
            const uint8_t *row[QUADS];
            for (size_t i = 0; i < QUADS; i++) {  // any row in the place of one that is not there
                size_t at = p * PANEL_KEYS + i * PANEL + v;
                row[i] = k->rows[at < k->first ? k->first : at < k->end ? at : k->end - 1];
            }
            pack_vectors(type, row, k->dim, k->out + (p - begin) * PANEL_KEYS * width + v * LANES,
                         &next);
        }
}

static void NAME(pack_keys)(const rill__keys *k) {
    switch (k->type) {
    case RILL_TYPE_F16: pack_any(RILL_TYPE_F16, k); break;
    case RILL_TYPE_BF16: pack_any(RILL_TYPE_BF16, k); break;
    case RILL_TYPE_Q8_0: pack_any(RILL_TYPE_Q8_0, k); break;
    case RILL_TYPE_Q4_0: pack_any(RILL_TYPE_Q4_0, k); break;
    default: pack_any(RILL_TYPE_F32, k); break;
    }
}

// nx queries from `query` on with one panel.
INLINE void score_panel(const rill__scores *s, size_t nx, size_t query, size_t panel, ahead *next) {
    size_t width = rounded_up(s->dim, 4);
    const float *q = s->q + query * width;
    const float *key =
        s->keys + (panel - s->first / PANEL_KEYS) * PANEL_KEYS * rounded_up(s->dim, 32);
    vf sums[QUERIES][PANEL];
    for (size_t i = 0; i < nx; i++)
        for (size_t v = 0; v < PANEL; v++) sums[i][v] = vf_set(0);
    for (size_t c = 0; c < width; c += 4, key += PANEL * LANES) {
        vf k[PANEL];
        for (size_t v = 0; v < PANEL; v++) k[v] = vf_load(key + v * LANES);
        for (size_t i = 0; i < nx; i++) {
            vf x = vf_quad(q + i * width + c);
            for (size_t v = 0; v < PANEL; v++) sums[i][v] = vf_fma(k[v], x, sums[i][v]);
        }
        look_ahead(next, false);
    }
    for (size_t i = 0; i < nx; i++)
        sum_quads(sums[i], s->out + (query + i) * RILL_CPU_KEYS + panel * PANEL_KEYS);
}

INLINE void score_queries(const rill__scores *s, size_t nx, size_t query, ahead *next) {
    for (size_t p = s->first / PANEL_KEYS; p * PANEL_KEYS < s->end; p++)
        score_panel(s, nx, query, p, next);
}

static void NAME(score)(const rill__scores *s) {
    size_t i = 0, groups = rounded_up(s->n_queries, QUERIES) / QUERIES;
    size_t panels = rounded_up(s->end, PANEL_KEYS) / PANEL_KEYS - s->first / PANEL_KEYS;
    ahead next = ahead_of(&s->ahead, groups * panels * (rounded_up(s->dim, 4) / 4));
    for (; i + QUERIES <= s->n_queries; i += QUERIES) score_queries(s, QUERIES, i, &next);
    switch (s->n_queries - i) {
    case 5: score_queries(s, 5, i, &next); break;
    case 4: score_queries(s, 4, i, &next); break;
    case 3: score_queries(s, 3, i, &next); break;
    case 2: score_queries(s, 2, i, &next); break;
    case 1: score_queries(s, 1, i, &next); break;
    default: break;
    }
}

// LANES logits from position i on; those outside [first, end) are -inf.
INLINE vf logits_at(const float *scores, size_t i, size_t first, size_t end) {
    vf x = vf_load(scores + i);
    if (first <= i && i + LANES <= end) return x;
    return vf_within(x, first > i ? first - i : 0, end - i < LANES ? end - i : LANES);
}

// e^x for x <= 0, 0 below -87.3: as exp_lanes, with a polynomial of degree 6 through the
// exponential at Chebyshev's points (within 1.1e-8), and ln 2 in one piece, which costs 2 ulp where
// n is -126.
INLINE vf weight_lanes(vf x) {
    const vf magic = vf_set(0x1.8p23f);  // adding it rounds to a whole number
    vf bounded = vf_max(vf_set(-87.3f), x);
    vf n = vf_sub(vf_fma(bounded, vf_set(1.44269504089f), magic), magic);
    vf r = vf_fma(n, vf_set(-0.69314718056f), bounded);
    vf p = vf_set(0x1.6d4324p-10f);
    p = vf_fma(p, r, vf_set(0x1.123d9p-7f));
    p = vf_fma(p, r, vf_set(0x1.5554eap-5f));
    p = vf_fma(p, r, vf_set(0x1.55547cp-3f));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1));
    p = vf_fma(p, r, vf_set(1));
    return vf_from(vf_scale(p, n), x, -87.3f);
}

INLINE void soften_one(float *scores, size_t first, size_t end, rill__softmax *state, float *keep) {
    size_t begin = first / LANES * LANES;
    vf most = vf_set(-INFINITY), sums = vf_set(0);
    for (size_t i = begin; i < end; i += LANES)
        most = vf_max(logits_at(scores, i, first, end), most);  // a NaN is left out
    *keep = 1;
    if (vf_any_above(most, state->greatest)) {  // seldom, after the first blocks
        float greatest = vf_greatest(most);
        vf_store_part(keep, weight_lanes(vf_set(state->greatest - greatest)), 1);
        state->sum *= (double)*keep;
        state->greatest = greatest;
    }
    vf top = vf_set(state->greatest);
    for (size_t i = begin; i < end; i += LANES) {
        vf e = weight_lanes(vf_sub(logits_at(scores, i, first, end), top));
        vf_store(scores + i, e);
        sums = vf_add(sums, e);
    }
    state->sum += (double)vf_sum(sums);
}

static void NAME(soften)(float *scores, size_t n_queries, size_t first, size_t end,
                         rill__softmax *state, float *keep) {
    if (first == 0 && end == RILL_CPU_KEYS) {
        for (size_t i = 0; i < n_queries; i++)
            soften_one(scores + i * RILL_CPU_KEYS, 0, RILL_CPU_KEYS, state + i, keep + i);
        return;
    }
    for (size_t i = 0; i < n_queries; i++)
        soften_one(scores + i * RILL_CPU_KEYS, first, end, state + i, keep + i);
}

// nx queries with nc vectors of columns from c on, `part` of them in the last (0: all).
INLINE void mix_columns(float *sums, const rill__mixture *m, size_t nx, size_t nc, size_t query,
                        size_t c, size_t part, ahead *next) {
    vf acc[QUERIES][PANEL];
    const float *weights = m->weights + query * RILL_CPU_KEYS;
    float *to = sums + query * m->dim + c;
    for (size_t i = 0; i < nx; i++)
        for (size_t v = 0; v < nc; v++) {
            const float *at = to + i * m->dim + v * LANES;
            acc[i][v] =
                vf_mul(vf_set(m->keep[query + i]), part ? vf_load_part(at, part) : vf_load(at));
        }
    const float *row = m->values + c;
    for (size_t j = m->first; j < m->end; j++, row += m->stride) {
        vf value[PANEL];
        for (size_t v = 0; v < nc; v++) value[v] = vf_load(row + v * LANES);
        for (size_t i = 0; i < nx; i++) {
            vf weight = vf_set(weights[i * RILL_CPU_KEYS + j]);
            for (size_t v = 0; v < nc; v++) acc[i][v] = vf_fma(weight, value[v], acc[i][v]);
        }
        look_ahead(next, false);
    }
    for (size_t i = 0; i < nx; i++)
        for (size_t v = 0; v < nc; v++) {
            float *at = to + i * m->dim + v * LANES;
            if (part)
                vf_store_part(at, acc[i][v], part);
            else
                vf_store(at, acc[i][v]);
        }
}

INLINE void mix_queries(float *sums, const rill__mixture *m, size_t nx, size_t query, ahead *next) {
    size_t c = 0;
    for (; c + PANEL * LANES <= m->dim; c += PANEL * LANES)
        mix_columns(sums, m, nx, PANEL, query, c, 0, next);
    for (; c + LANES <= m->dim; c += LANES) mix_columns(sums, m, nx, 1, query, c, 0, next);
    if (c < m->dim) mix_columns(sums, m, nx, 1, query, c, m->dim - c, next);
}

static void NAME(mix)(void *sums, const rill__mixture *m) {
    size_t i = 0, groups = rounded_up(m->n_queries, QUERIES) / QUERIES;
    size_t columns = rounded_up(m->dim, PANEL * LANES) / (PANEL * LANES);
    ahead next = ahead_of(&m->ahead, groups * columns * (m->end - m->first));
    for (; i + QUERIES <= m->n_queries; i += QUERIES) mix_queries(sums, m, QUERIES, i, &next);
    switch (m->n_queries - i) {
    case 5: mix_queries(sums, m, 5, i, &next); break;
    case 4: mix_queries(sums, m, 4, i, &next); break;
    case 3: mix_queries(sums, m, 3, i, &next); break;
    case 2: mix_queries(sums, m, 2, i, &next); break;
    case 1: mix_queries(sums, m, 1, i, &next); break;
    default: break;
    }
}

static void NAME(fold)(void *total, const void *part, double keep, double gain, size_t dim) {
    float *t = total;
    const float *p = part;
    vf old = vf_set((float)keep), new = vf_set((float)gain);
    size_t c = 0;
    for (; c + LANES <= dim; c += LANES)
        vf_store(t + c, vf_fma(new, vf_load(p + c), vf_mul(old, vf_load(t + c))));
    if (c < dim)
        vf_store_part(t + c,
                      vf_fma(new, vf_load_part(p + c, dim - c),
                             vf_mul(old, vf_load_part(t + c, dim - c))),
                      dim - c);
}

static void NAME(mix_end)(const void *x, double a, const void *y, double b, float *out,
                          size_t dim) {
    const float *s = x, *t = y;
    vf first = vf_set((float)a), second = vf_set((float)b), zero = vf_set(0);
    size_t c = 0;
    for (; c + LANES <= dim; c += LANES) {
        vf sum = vf_fma(second, vf_load(t + c), vf_mul(first, vf_load(s + c)));
        vf_store(out + c, vf_add(sum, zero));
    }
    if (c < dim) {
        vf sum = vf_fma(second, vf_load_part(t + c, dim - c),
                        vf_mul(first, vf_load_part(s + c, dim - c)));
        vf_store_part(out + c, vf_add(sum, zero), dim - c);
    }
}
