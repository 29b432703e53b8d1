// SPDX-License-Identifier: MIT
// The reference of attention's kernels: plain loops, double sums.
#include "backend/cpu/kernels.h"

#include <math.h>

static size_t rounded(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

static void pack_keys_c(const rill__keys *k) {
    const rill__type_traits *t = rill__type_traits_get(k->type);
    for (size_t i = k->first; i < k->end; i++)
        t->to_float(k->rows[i], k->out + (i - k->first) * rounded(k->dim, 32),
                    rounded(k->dim, t->block));
}

static void score_c(const rill__scores *s) {
    for (size_t i = 0; i < s->n_queries; i++) {
        const float *q = s->q + i * rounded(s->dim, 4);
        for (size_t j = s->first; j < s->end; j++) {
            const float *key = s->keys + (j - s->first) * rounded(s->dim, 32);
            double sum = 0;
            for (size_t c = 0; c < s->dim; c++) sum += (double)q[c] * key[c];
            s->out[i * RILL_CPU_KEYS + j] = (float)sum;
        }
    }
}

static void soften_c(float *scores, size_t n_queries, size_t first, size_t end,
                     rill__softmax *state, float *keep) {
    for (size_t i = 0; i < n_queries; i++) {
        float *s = scores + i * RILL_CPU_KEYS, greatest = state[i].greatest;
        for (size_t j = first; j < end; j++) greatest = s[j] > greatest ? s[j] : greatest;
        keep[i] = 1;
        if (greatest > state[i].greatest) {
            keep[i] = (float)exp((double)state[i].greatest - greatest);
            state[i].sum *= keep[i];
            state[i].greatest = greatest;
        }
        for (size_t j = first; j < end; j++) {
            s[j] = (float)exp((double)s[j] - greatest);
            state[i].sum += s[j];
        }
    }
}

static void mix_c(void *sums, const rill__mixture *m) {
    for (size_t i = 0; i < m->n_queries; i++) {
        const float *weights = m->weights + i * RILL_CPU_KEYS;
        double *s = (double *)sums + i * m->dim;
        for (size_t c = 0; c < m->dim; c++) s[c] *= m->keep[i];
        for (size_t j = m->first; j < m->end; j++)
            for (size_t c = 0; c < m->dim; c++)
                s[c] += (double)weights[j] * m->values[(j - m->first) * m->stride + c];
    }
}

static void fold_c(void *total, const void *part, double keep, double gain, size_t dim) {
    double *t = total;
    const double *p = part;
    for (size_t c = 0; c < dim; c++) t[c] = keep * t[c] + gain * p[c];
}

static void mix_end_c(const void *x, double a, const void *y, double b, float *out, size_t dim) {
    const double *s = x, *t = y;
    for (size_t c = 0; c < dim; c++) out[c] = (float)(a * s[c] + b * t[c]) + 0.0f;
}

void rill__cpu_attend_ref(rill__cpu_kernels *k) {
    k->pack_keys = pack_keys_c;
    k->score = score_c;
    k->soften = soften_c;
    k->mix = mix_c;
    k->sum_bytes = sizeof(double);
    k->fold = fold_c;
    k->mix_end = mix_end_c;
}
