// SPDX-License-Identifier: MIT
// What groups_tmpl.h and one_tmpl.h ask of plain NEON: numbers of 16 bits are multiplied by one
// column of weights at a time, and summed in 32.
#include "backend/cpu/arm/turn_neon.h"

#define GINLINE static inline __attribute__((always_inline))

enum { GROUP_ROWS = 4, COLUMNS = 8 };  // weight rows that share a load of activations; of a vector

// q - zero of COLUMNS columns
static inline int16x8_t wide_columns(const uint8_t *q, uint8_t zero) {
    return vreinterpretq_s16_u16(vsubl_u8(vld1_u8(q), vdup_n_u8(zero)));
}

// q - zero of all rows, [RILL_CPU_TILE, k].
static void NAME(widen)(const rill__whole *w, int16_t *wide) {
    for (size_t o = 0; o < RILL_CPU_TILE; o++)
        for (size_t c = 0; c < w->k; c += COLUMNS)
            vst1q_s16(wide + o * w->k + c, wide_columns(w->q + o * w->stride + c, w->format.zero));
}

// Columns n and n + 1 of the eight from p on; n is a constant.
#define TWO_COLUMNS(n)                                                                             \
    for (size_t j = 0; j < ng; j++) {                                                              \
        int16x8_t two = vld1q_s16(x[j] + (p + (n)) * LANES);                                       \
        for (size_t i = 0; i < GROUP_ROWS; i++) {                                                  \
            vi sum = vmlal_laneq_s16(products[i][j], vget_low_s16(two), weights[i], n);            \
            products[i][j] = vmlal_high_laneq_s16(sum, two, weights[i], (n) + 1);                  \
        }                                                                                          \
    }

// Of a run at column c: GROUP_ROWS weight rows from o on with ng groups.
GINLINE void group_products(const rill__whole *w, const int16_t *wide, size_t c, size_t run,
                            size_t ng, size_t o, const int16_t *const x[2],
                            vi products[GROUP_ROWS][2]) {
    for (size_t i = 0; i < GROUP_ROWS; i++)
        for (size_t j = 0; j < ng; j++) products[i][j] = vi_set(0);
    for (size_t p = c; p < c + run; p += COLUMNS) {
        int16x8_t weights[GROUP_ROWS];
        for (size_t i = 0; i < GROUP_ROWS; i++) weights[i] = vld1q_s16(wide + (o + i) * w->k + p);
        TWO_COLUMNS(0)
        TWO_COLUMNS(2)
        TWO_COLUMNS(4)
        TWO_COLUMNS(6)
    }
}

// [k, lanes]
static inline void put_columns(const rill__q16_row *row, size_t k, size_t lane, int16_t *x) {
    for (size_t i = 0; i < k; i++) x[i * LANES + lane] = row->x[i];
}

// Lane i: a run's sum of (q - zero) * x in weight row o + i.
GINLINE vi one_run(const rill__whole *w, const rill__q16_row *x, size_t first, size_t o, size_t c,
                   size_t run, int32_t sum) {
    (void)sum;
    vi products[LANES];
    for (size_t i = 0; i < LANES; i++) products[i] = vi_set(0);
    for (size_t p = c; p < c + run; p += COLUMNS) {
        int16x8_t columns = vld1q_s16(x->x + first + p);
        for (size_t i = 0; i < LANES; i++) {
            int16x8_t q = wide_columns(w->q + (o + i) * w->stride + p, w->format.zero);
            products[i] = vmlal_s16(products[i], vget_low_s16(q), vget_low_s16(columns));
            products[i] = vmlal_high_s16(products[i], q, columns);
        }
    }
    return vi_sums(products);
}
