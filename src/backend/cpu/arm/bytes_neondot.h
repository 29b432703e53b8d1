// SPDX-License-Identifier: MIT
// What groups_tmpl.h and one_tmpl.h ask of NEON with products of bytes: both bytes of an activation
// are multiplied, four columns an instruction.
#include "backend/cpu/arm/put_bytes.h"
#include "backend/cpu/arm/turn_neon.h"

#define GINLINE static inline __attribute__((always_inline))

enum { GROUP_ROWS = 4, COLUMNS = 16 };  // weight rows that share a load of activations; of a vector

// q - zero of COLUMNS columns
static inline int8x16_t narrow_columns(const uint8_t *q, uint8_t zero) {
    return vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(q), vdupq_n_u8(zero)));
}

// q - zero of all rows as signed bytes, [RILL_CPU_TILE, k].
static void NAME(widen)(const rill__whole *w, int16_t *wide) {
    int8_t *to = (int8_t *)wide;
    for (size_t o = 0; o < RILL_CPU_TILE; o++)
        for (size_t c = 0; c < w->k; c += COLUMNS)
            vst1q_s8(to + o * w->k + c, narrow_columns(w->q + o * w->stride + c, w->format.zero));
}

// Four columns from p + 4 * n on; n is a constant.
#define FOUR_COLUMNS(n)                                                                            \
    for (size_t j = 0; j < ng; j++) {                                                              \
        const int8_t *at = (const int8_t *)(x[j] + (p + 4 * (n)) * LANES);                         \
        int8x16_t coarse = vld1q_s8(at), fine = vld1q_s8(at + 4 * LANES);                          \
        for (size_t i = 0; i < GROUP_ROWS; i++) {                                                  \
            high[i][j] = vdotq_laneq_s32(high[i][j], coarse, weights[i], n);                       \
            low[i][j] = vdotq_laneq_s32(low[i][j], fine, weights[i], n);                           \
        }                                                                                          \
    }

// Of a run at column c: GROUP_ROWS weight rows from o on with ng groups.
GINLINE void group_products(const rill__whole *w, const int16_t *wide, size_t c, size_t run,
                            size_t ng, size_t o, const int16_t *const x[2],
                            vi products[GROUP_ROWS][2]) {
    vi high[GROUP_ROWS][2], low[GROUP_ROWS][2];
    for (size_t i = 0; i < GROUP_ROWS; i++)
        for (size_t j = 0; j < ng; j++) high[i][j] = low[i][j] = vi_set(0);
    for (size_t p = c; p < c + run; p += COLUMNS) {
        int8x16_t weights[GROUP_ROWS];
        for (size_t i = 0; i < GROUP_ROWS; i++)
            weights[i] = vld1q_s8((const int8_t *)wide + (o + i) * w->k + p);
        FOUR_COLUMNS(0)
        FOUR_COLUMNS(1)
        FOUR_COLUMNS(2)
        FOUR_COLUMNS(3)
    }
    for (size_t i = 0; i < GROUP_ROWS; i++)
        for (size_t j = 0; j < ng; j++)
            products[i][j] = vi_add(vshlq_n_s32(high[i][j], 8), low[i][j]);
}

// [k / 4, 2, lanes, 4]: coarse bytes and then fine ones.
static inline void put_columns(const rill__q16_row *row, size_t k, size_t lane, int16_t *x) {
    put_bytes(row, k, lane, 4, x);
}

// Lane i: a run's sum of (q - zero) * x in weight row o + i.
GINLINE vi one_run(const rill__whole *w, const rill__q16_row *x, size_t first, size_t o, size_t c,
                   size_t run, int32_t sum) {
    (void)sum;
    vi high[LANES], low[LANES];
    for (size_t i = 0; i < LANES; i++) high[i] = low[i] = vi_set(0);
    for (size_t p = c; p < c + run; p += COLUMNS) {
        int8x16_t coarse = vld1q_s8(x->coarse + first + p), fine = vld1q_s8(x->fine + first + p);
        for (size_t i = 0; i < LANES; i++) {
            int8x16_t q = narrow_columns(w->q + (o + i) * w->stride + p, w->format.zero);
            high[i] = vdotq_s32(high[i], q, coarse);
            low[i] = vdotq_s32(low[i], q, fine);
        }
    }
    return vi_add(vshlq_n_s32(vi_sums(high), 8), vi_sums(low));
}
