// SPDX-License-Identifier: MIT
// What whole_tmpl.h asks of a tier that multiplies bytes, four columns an instruction (`vi_dot`):
// both bytes of an activation have sums of their own.
#include "backend/cpu/kernels.h"

// Whether `vi_dot` takes weights 128 lower than they are.
#ifndef DOT_LOWER
#define DOT_LOWER false
#endif

typedef vi whole_weights;

typedef struct whole_products {
    vi coarse, fine;
} whole_products;

typedef whole_products whole_activations;

static inline whole_weights weights_at(const uint8_t *q) {
    return vi_load(q);
}

// Columns [first + i, first + i + 4); i is within a run, which begins at `first`.
static inline whole_activations activations_at(const rill__q16_row *row, size_t first, size_t i) {
    int32_t coarse, fine;
    const int8_t *at = row->bytes + 2 * first - first % RILL_Q16 + i;
    memcpy(&coarse, at, sizeof coarse);
    memcpy(&fine, at + RILL_Q16, sizeof fine);
    return (whole_activations){vi_set(coarse), vi_set(fine)};
}

static inline whole_products nothing(void) {
    return (whole_products){vi_set(0), vi_set(0)};
}

static inline whole_products multiply_four(whole_products p, whole_weights q, whole_activations x) {
    return (whole_products){vi_dot(p.coarse, q, x.coarse), vi_dot(p.fine, q, x.fine)};
}

// Of q * x; x_sum is that of x.
static inline vi whole_sum(whole_products p, vi x_sum) {
    vi sum = vi_add(vi_sll(p.coarse, 8), p.fine);
    return DOT_LOWER ? vi_add(sum, vi_sll(x_sum, 7)) : sum;
}
