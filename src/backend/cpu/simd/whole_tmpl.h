// SPDX-License-Identifier: MIT
// Products of whole numbers for every tier: WHOLE_VECTORS vectors of weight rows beside each other,
// WHOLE_ROWS rows of activations at a time. Include after a vec_*.h and what multiplies four
// columns: words_tmpl.h or bytes_tmpl.h. See kernels.h for the order of a sum.
#include "backend/cpu/kernels.h"

#define WINLINE static inline __attribute__((always_inline))

// WHOLE_VECTORS vectors of weight rows from `lane` on with nx rows of activations; sizes are
// constants after inlining.
WINLINE void whole_block(const rill__whole *w, const uint8_t *rows, size_t columns, size_t lane,
                         size_t nx, float *sums, size_t run, bool minima) {
    enum { NV = WHOLE_VECTORS };
    vf out[WHOLE_ROWS][NV];
    rill__q16_row x[WHOLE_ROWS];
    for (size_t r = 0; r < nx; r++) {
        x[r] = rill__q16_row_at(rows + r * rill__q16_row_bytes(columns), columns);
        for (size_t v = 0; v < NV; v++)
            out[r][v] = vf_load(sums + r * RILL_CPU_TILE + lane + v * LANES);
    }
    int shift = minima ? 0 : __builtin_ctz(w->format.zero);
    for (size_t c = 0; c < w->k; c += run) {
        whole_products p[WHOLE_ROWS][NV];
        for (size_t r = 0; r < nx; r++)
            for (size_t v = 0; v < NV; v++) p[r][v] = nothing();
        for (size_t i = 0; i < run; i += 4) {
            const uint8_t *at = w->q + (c + i) * RILL_CPU_TILE + 4 * lane;
            whole_weights q[NV];
            for (size_t v = 0; v < NV; v++) q[v] = weights_at(at + 4 * LANES * v);
            for (size_t r = 0; r < nx; r++) {
                whole_activations four = activations_at(&x[r], w->first + c, i);
                for (size_t v = 0; v < NV; v++) p[r][v] = multiply_four(p[r][v], q[v], four);
            }
        }
        size_t at = (w->first + c) / run;
        for (size_t r = 0; r < nx; r++) {
            vf dx = vf_set(x[r].d[(w->first + c) / RILL_Q16]);
            vi sum = vi_set(x[r].sums[run == 32][at]);
            for (size_t v = 0; v < NV; v++) {
                size_t scale = c / run * RILL_CPU_TILE + lane + v * LANES;
                vi s = whole_sum(p[r][v], sum);
                if (!minima) s = vi_sub(s, vi_sll(sum, shift));
                out[r][v] = vf_fma(vi_float(s), vf_mul(vf_load(w->d + scale), dx), out[r][v]);
                if (!minima) continue;
                vf x_sum = vf_mul(dx, vi_float(sum));
                out[r][v] = vf_fnma(vf_load(w->m + scale), x_sum, out[r][v]);
            }
        }
    }
    for (size_t r = 0; r < nx; r++)
        for (size_t v = 0; v < NV; v++)
            vf_store(sums + r * RILL_CPU_TILE + lane + v * LANES, out[r][v]);
}

WINLINE void whole_lanes(const rill__whole *w, const uint8_t *rows, size_t columns, size_t nx,
                         float *sums, size_t run, bool minima) {
    for (size_t lane = 0; lane < RILL_CPU_TILE; lane += WHOLE_VECTORS * LANES)
        whole_block(w, rows, columns, lane, nx, sums, run, minima);
}

WINLINE void whole_rows(const rill__whole *w, const uint8_t *rows, size_t columns, size_t n_rows,
                        float *sums, size_t run, bool minima) {
    size_t bytes = rill__q16_row_bytes(columns), r = 0;
    for (; r + WHOLE_ROWS <= n_rows; r += WHOLE_ROWS)
        whole_lanes(w, rows + r * bytes, columns, WHOLE_ROWS, sums + r * RILL_CPU_TILE, run,
                    minima);
    for (; WHOLE_ROWS > 2 && r + 2 <= n_rows; r += 2)
        whole_lanes(w, rows + r * bytes, columns, 2, sums + r * RILL_CPU_TILE, run, minima);
    if (r < n_rows)
        whole_lanes(w, rows + r * bytes, columns, 1, sums + r * RILL_CPU_TILE, run, minima);
}

static void NAME(product_whole)(const rill__whole *w, const uint8_t *rows, size_t columns,
                                size_t n_rows, float *sums) {
    RILL_WITH_FORMAT(w->format, whole_rows, w, rows, columns, n_rows, sums);
}
