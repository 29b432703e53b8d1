// SPDX-License-Identifier: MIT
// Comparing logits: the bounds of docs/architecture.md.
#ifndef RILL_TESTS_COMPARE_H
#define RILL_TESTS_COMPARE_H

#include <math.h>
#include <stddef.h>

// The greatest |a - b| / (1e-4 + 1e-4 |b|) over n numbers: at most 1 is within the bound of exact
// kernels. Infinite if one of the two is not a number.
static inline double worst_of_bound(const float *a, const float *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double ratio = fabs((double)a[i] - b[i]) / (1e-4 + 1e-4 * fabs((double)b[i]));
        if (!(ratio <= worst)) worst = isnan(ratio) ? INFINITY : ratio;
    }
    return worst;
}

// KL(p || q) in nats of the softmaxes of two rows of logits.
static inline double kl_divergence(const float *p, const float *q, size_t n) {
    double p_max = -INFINITY, q_max = -INFINITY, p_sum = 0, q_sum = 0, kl = 0;
    for (size_t i = 0; i < n; i++) {
        p_max = p[i] > p_max ? p[i] : p_max;
        q_max = q[i] > q_max ? q[i] : q_max;
    }
    for (size_t i = 0; i < n; i++) {
        p_sum += exp(p[i] - p_max);
        q_sum += exp(q[i] - q_max);
    }
    for (size_t i = 0; i < n; i++) {
        double log_p = p[i] - p_max - log(p_sum);
        double log_q = q[i] - q_max - log(q_sum);
        kl += exp(log_p) * (log_p - log_q);
    }
    return kl;
}

#endif
