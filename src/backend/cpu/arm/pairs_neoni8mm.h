// SPDX-License-Identifier: MIT
// What groups_tmpl.h asks of NEON with products of matrices of bytes: two weight rows with two
// lanes, eight columns an instruction, with both bytes of an activation.
#include "backend/cpu/arm/put_bytes.h"

#define GINLINE static inline __attribute__((always_inline))

enum { GROUP_ROWS = 4, COLUMNS = 8 };  // weight rows that share a load of activations; of a vector

// q - zero of all rows as signed bytes, [RILL_CPU_TILE / 2, k / 8, 2, 8].
static void NAME(widen)(const rill__whole *w, int16_t *wide) {
    const uint8x8_t zero = vdup_n_u8(w->format.zero);
    for (size_t o = 0; o < RILL_CPU_TILE; o++) {
        uint8_t *to = (uint8_t *)wide + o / 2 * 2 * w->k + o % 2 * COLUMNS;
        for (size_t c = 0; c < w->k; c += COLUMNS)
            vst1_u8(to + 2 * c, vsub_u8(vld1_u8(w->q + o * w->stride + c), zero));
    }
}

// 256 times the first and the second.
static inline vi joined(vi high, vi low) {
    return vi_add(vshlq_n_s32(high, 8), low);
}

// Of a run at column c: GROUP_ROWS weight rows from o on with ng groups. A matrix of products has
// two rows of weights in its halves, and two lanes in each.
GINLINE void group_products(const rill__whole *w, const int16_t *wide, size_t c, size_t run,
                            size_t ng, size_t o, const int16_t *const x[2],
                            vi products[GROUP_ROWS][2]) {
    enum { PAIRS = GROUP_ROWS / 2, HALVES = LANES / 2 };
    vi high[PAIRS][2][HALVES], low[PAIRS][2][HALVES];
    for (size_t i = 0; i < PAIRS; i++)
        for (size_t j = 0; j < ng; j++)
            for (size_t l = 0; l < HALVES; l++) high[i][j][l] = low[i][j][l] = vi_set(0);
    for (size_t p = c; p < c + run; p += COLUMNS) {
        int8x16_t weights[PAIRS];
        for (size_t i = 0; i < PAIRS; i++)
            weights[i] = vld1q_s8((const int8_t *)wide + (o + 2 * i) * w->k + 2 * p);
        for (size_t j = 0; j < ng; j++)
            for (size_t l = 0; l < HALVES; l++) {
                const int8_t *at = (const int8_t *)(x[j] + p * LANES) + 16 * l;
                int8x16_t coarse = vld1q_s8(at), fine = vld1q_s8(at + COLUMNS * LANES);
                for (size_t i = 0; i < PAIRS; i++) {
                    high[i][j][l] = vmmlaq_s32(high[i][j][l], weights[i], coarse);
                    low[i][j][l] = vmmlaq_s32(low[i][j][l], weights[i], fine);
                }
            }
    }
    for (size_t i = 0; i < PAIRS; i++)
        for (size_t j = 0; j < ng; j++) {
            vi a = joined(high[i][j][0], low[i][j][0]), b = joined(high[i][j][1], low[i][j][1]);
            products[2 * i][j] = vcombine_s32(vget_low_s32(a), vget_low_s32(b));
            products[2 * i + 1][j] = vcombine_s32(vget_high_s32(a), vget_high_s32(b));
        }
}

// [k / 8, 2, lanes, 8]: coarse bytes and then fine ones.
static inline void put_columns(const rill__q16_row *row, size_t k, size_t lane, int16_t *x) {
    put_bytes(row, k, lane, COLUMNS, x);
}
