// SPDX-License-Identifier: MIT
// What whole_tmpl.h asks of a tier that multiplies bytes, four columns an instruction (`vi_dot`):
// each byte of an activation has sums of its own; one that has but one is `fine`.
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

static inline whole_weights weights_of(vi four) {
    return four;
}

// Columns [first + i, first + i + 4); first + i is in the block of `first`.
static inline whole_activations activations_at(const rill__whole_row *row, size_t first, size_t i,
                                               int parts) {
    int32_t coarse, fine;
    const int8_t *at = row->bytes + rill__whole_byte_at(first, parts) + i;
    memcpy(&coarse, at, sizeof coarse);
    memcpy(&fine, at + (parts - 1) * RILL_WHOLE_BLOCK, sizeof fine);
    return (whole_activations){vi_set(coarse), vi_set(fine)};
}

static inline whole_products products_from(vi start) {
    return (whole_products){vi_set(0), start};
}

static inline whole_products multiply_four(whole_products p, whole_weights q, whole_activations x,
                                           int parts) {
    if (parts == 2) p.coarse = vi_dot(p.coarse, q, x.coarse);
    p.fine = vi_dot(p.fine, q, x.fine);
    return p;
}

static inline vi whole_sum(whole_products p, int parts) {
    return parts == 2 ? vi_add(vi_sll(p.coarse, 8), p.fine) : p.fine;
}
