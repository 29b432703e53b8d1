// SPDX-License-Identifier: MIT
// What whole_tmpl.h asks of a tier that multiplies numbers of 16 bits, which activations of one
// byte are as well: pairs of columns, bytes 0 and 2 of a word, then 1 and 3.
#include "backend/cpu/kernels.h"

#define DOT_LOWER false

typedef struct whole_weights {
    vi even, odd;
} whole_weights;

typedef whole_weights whole_activations;
typedef vi whole_products;

static inline whole_weights weights_of(vi four) {
    return (whole_weights){vi_and(four, vi_set(0x00ff00ff)), vi_srl16(four, 8)};
}

// Columns [first + i, first + i + 4); first + i is in the block of `first`.
static inline whole_activations activations_at(const rill__whole_row *row, size_t first, size_t i,
                                               int parts) {
    (void)parts;
    int32_t even, odd;
    memcpy(&even, row->x + first + i, sizeof even);
    memcpy(&odd, row->x + first + i + 2, sizeof odd);
    return (whole_activations){vi_set(even), vi_set(odd)};
}

static inline whole_products products_from(vi start) {
    return start;
}

static inline whole_products multiply_four(whole_products p, whole_weights q, whole_activations x,
                                           int parts) {
    (void)parts;
    return vi_madd(vi_madd(p, q.even, x.even), q.odd, x.odd);
}

static inline vi whole_sum(whole_products p, int parts) {
    (void)parts;
    return p;
}
