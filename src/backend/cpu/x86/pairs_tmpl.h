// SPDX-License-Identifier: MIT
// What groups_tmpl.h asks of x86: weights are widened to 16 bits once and broadcast, a pair of
// columns at a time. Include after a vec_*.h.
#include "backend/cpu/kernels.h"

#define GINLINE static inline __attribute__((always_inline))

enum { GROUP_ROWS = 4 };  // weight rows that share a load of activations

// q - zero of all rows, [RILL_CPU_TILE, k].
static void NAME(widen)(const rill__whole *w, int16_t *wide) {
    const vi zero = vi_set(w->format.zero * 0x10001);
    for (size_t o = 0; o < RILL_CPU_TILE; o++)
        for (size_t c = 0; c < w->k; c += COLUMNS) {
            vi q = vi_sub16(vi_load_u8(w->q + o * w->stride + c), zero);
            memcpy(wide + o * w->k + c, &q, sizeof q);
        }
}

// Of a run at column c: GROUP_ROWS weight rows from o on with ng groups.
GINLINE void group_products(const rill__whole *w, const int16_t *wide, size_t c, size_t run,
                            size_t ng, size_t o, const int16_t *const x[2],
                            vi products[GROUP_ROWS][2]) {
    for (size_t i = 0; i < GROUP_ROWS; i++)
        for (size_t j = 0; j < ng; j++) products[i][j] = vi_set(0);
    for (size_t p = c; p < c + run; p += 2) {
        vi columns[2];
        for (size_t j = 0; j < ng; j++) columns[j] = vi_load(x[j] + p * LANES);
        for (size_t i = 0; i < GROUP_ROWS; i++) {
            int32_t pair;
            memcpy(&pair, wide + (o + i) * w->k + p, sizeof pair);
            vi weights = vi_set(pair);
            for (size_t j = 0; j < ng; j++)
                products[i][j] = vi_madd(products[i][j], columns[j], weights);
        }
    }
}

// Pairs of columns, [k / 2, lanes, 2].
static inline void put_columns(const rill__q16_row *row, size_t k, size_t lane, int16_t *x) {
    for (size_t i = 0; i < k / 2; i++)
        memcpy(x + 2 * (i * LANES + lane), row->x + 2 * i, 2 * sizeof *row->x);
}
