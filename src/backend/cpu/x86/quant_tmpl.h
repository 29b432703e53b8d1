// SPDX-License-Identifier: MIT
// Products of quantised rows with quantised weights, for every tier: include after a vec_*.h.
//
// A vector holds BLOCKS blocks of bytes; its products are summed in exact integers, a few to a
// lane, and enter the element's one vector of float sums times both scales, in the order of blocks.
#include "backend/cpu/kernels.h"

#define QINLINE static inline __attribute__((always_inline))

enum { MAX_QX = 4 };

// Defines the product of a type whose blocks take `bytes` bytes and begin with a half scale.
#define QUANT_PRODUCT(type, bytes)                                                                 \
    QINLINE void type##_step(const uint8_t *const *w, const rill__q16_row *x, size_t nw,           \
                             size_t nx, size_t b, size_t n_blocks, vf sums[MAX_W][MAX_QX]) {       \
        vb bytes_w[MAX_W];                                                                         \
        vf scales[MAX_W];                                                                          \
        for (size_t i = 0; i < nw; i++) {                                                          \
            if (nx == 1)                                                                           \
                _mm_prefetch(w[0] + (nw * b + i * BLOCKS) * (bytes) + AHEAD, _MM_HINT_T0);         \
            bytes_w[i] = type##_w(w[i] + b * (bytes), n_blocks);                                   \
            scales[i] = vb_w_scale(w[i] + b * (bytes), bytes, n_blocks);                           \
        }                                                                                          \
        for (size_t j = 0; j < nx; j++) {                                                          \
            vb coarse = vb_x(x[j].coarse + b * RILL_Q16, n_blocks);                                \
            vb fine = vb_x(x[j].fine + b * RILL_Q16, n_blocks);                                    \
            vb start = type##_start(coarse, fine);                                                 \
            vf scale = vb_x_scale(x[j].d + b, n_blocks);                                           \
            for (size_t i = 0; i < nw; i++)                                                        \
                sums[i][j] = vf_fma(type##_dot(start, bytes_w[i], coarse, fine),                   \
                                    vf_mul(scales[i], scale), sums[i][j]);                         \
        }                                                                                          \
    }                                                                                              \
    QINLINE void type##_block(const rill__tile *t, size_t nw, size_t nx, size_t o, size_t r) {     \
        const uint8_t *w[MAX_W];                                                                   \
        rill__q16_row x[MAX_QX];                                                                   \
        vf sums[MAX_W][MAX_QX];                                                                    \
        for (size_t i = 0; i < nw; i++) w[i] = t->w + (o + i) * t->w_stride;                       \
        for (size_t j = 0; j < nx; j++) x[j] = rill__q16_row_at(t->x, t->k, r + j);                \
        for (size_t i = 0; i < nw; i++)                                                            \
            for (size_t j = 0; j < nx; j++) sums[i][j] = vf_set(0);                                \
        size_t n_blocks = t->k / RILL_Q16, b = 0;                                                  \
        for (; b + BLOCKS <= n_blocks; b += BLOCKS) type##_step(w, x, nw, nx, b, BLOCKS, sums);    \
        if (b < n_blocks) type##_step(w, x, nw, nx, b, 1, sums);                                   \
        for (size_t j = 0; j < nx; j++)                                                            \
            for (size_t i = 0; i < nw; i++)                                                        \
                t->out[(r + j) * t->out_stride + o + i] = vf_sum(sums[i][j]);                      \
    }                                                                                              \
    QINLINE void type##_rows(const rill__tile *t, size_t nx, size_t r) {                           \
        size_t o = 0;                                                                              \
        for (; o + MAX_W <= t->n_out; o += MAX_W) type##_block(t, MAX_W, nx, o, r);                \
        for (; o < t->n_out; o++) type##_block(t, 1, nx, o, r);                                    \
    }                                                                                              \
    static void NAME(product_##type)(const rill__tile *t) {                                        \
        size_t r = 0;                                                                              \
        for (; r + MAX_QX <= t->n_rows; r += MAX_QX) type##_rows(t, MAX_QX, r);                    \
        for (; r + 2 <= t->n_rows; r += 2) type##_rows(t, 2, r);                                   \
        if (r < t->n_rows) type##_rows(t, 1, r);                                                   \
    }

QUANT_PRODUCT(q8_0, 34)
QUANT_PRODUCT(q4_0, 18)
