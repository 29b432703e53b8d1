// SPDX-License-Identifier: MIT
// Products of whole numbers for every tier: WHOLE_VECTORS vectors of weight rows beside each other,
// WHOLE_ROWS rows of activations at a time, or WHOLE_FINE_ROWS where numbers have two bytes.
// Include after a vec_*.h and what multiplies four columns: words_tmpl.h or bytes_tmpl.h. See
// kernels.h for the order of a sum.
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/ahead_tmpl.h"

_Static_assert(WHOLE_FINE_ROWS <= WHOLE_ROWS, "blocks have room for WHOLE_ROWS");

#define WINLINE static inline __attribute__((always_inline))

// What a sum begins with: q is `zero` too great, and `vi_dot` may take it for less than it is.
WINLINE vi whole_start(vi x_sum, int shift, bool minima) {
    vi start = DOT_LOWER ? vi_sll(x_sum, 7) : vi_set(0);
    return minima ? start : vi_sub(start, vi_sll(x_sum, shift));
}

// A run that begins at column c is over: out + its sum, scaled.
WINLINE vf whole_total(vf out, vi sum, const float *d, const float *m, const rill__whole_row *x,
                       size_t c, size_t run, bool minima) {
    vf dx = vf_set(x->d[c / RILL_WHOLE_BLOCK]);
    out = vf_fma(vi_float(sum), vf_mul(vf_load(d), dx), out);
    if (!minima) return out;
    return vf_fnma(vf_load(m), vf_mul(dx, vi_float(vi_set(x->sums[run == 32][c / run]))), out);
}

// WHOLE_VECTORS vectors of weight rows from `lane` on with nx rows of activations; sizes are
// constants after inlining.
WINLINE void whole_block(const rill__whole *w, const rill__whole_rows *rows, size_t row,
                         size_t lane, size_t nx, float *sums, size_t run, bool minima, int parts) {
    enum { NV = WHOLE_VECTORS };
    vf out[WHOLE_ROWS][NV];
    rill__whole_row x[WHOLE_ROWS];
    sums += row * RILL_CPU_TILE + lane;
    for (size_t r = 0; r < nx; r++) {
        x[r] = rill__whole_row_at(rows, row + r);
        for (size_t v = 0; v < NV; v++) out[r][v] = vf_load(sums + r * RILL_CPU_TILE + v * LANES);
    }
    const rill__ahead share =
        ahead_share(&w->ahead, row * RILL_CPU_TILE + lane * nx,
                    row * RILL_CPU_TILE + (lane + NV * LANES) * nx, rows->n_rows * RILL_CPU_TILE);
    ahead next = ahead_of(&share, w->k / run);
    int shift = minima ? 0 : __builtin_ctz(w->format.zero);
    for (size_t c = 0; c < w->k; c += run) {
        look_ahead(&next, true);
        whole_products p[WHOLE_ROWS][NV];
        size_t at = (w->first + c) / run;
        for (size_t r = 0; r < nx; r++) {
            vi start = whole_start(vi_set(x[r].sums[run == 32][at]), shift, minima);
            for (size_t v = 0; v < NV; v++) p[r][v] = products_from(start);
        }
        for (size_t i = 0; i < run; i += 4) {
            const uint8_t *q_at = w->q + (c + i) * RILL_CPU_TILE + 4 * lane;
            whole_weights q[NV];
            for (size_t v = 0; v < NV; v++) q[v] = weights_of(vi_load(q_at + 4 * LANES * v));
            for (size_t r = 0; r < nx; r++) {
                whole_activations four = activations_at(&x[r], w->first + c, i, parts);
                for (size_t v = 0; v < NV; v++) p[r][v] = multiply_four(p[r][v], q[v], four, parts);
            }
        }
        for (size_t r = 0; r < nx; r++)
            for (size_t v = 0; v < NV; v++) {
                size_t scale = c / run * RILL_CPU_TILE + lane + v * LANES;
                out[r][v] = whole_total(out[r][v], whole_sum(p[r][v], parts), w->d + scale,
                                        w->m + scale, &x[r], w->first + c, run, minima);
            }
    }
    for (size_t r = 0; r < nx; r++)
        for (size_t v = 0; v < NV; v++) vf_store(sums + r * RILL_CPU_TILE + v * LANES, out[r][v]);
}

WINLINE void whole_lanes(const rill__whole *w, const rill__whole_rows *rows, size_t row, size_t nx,
                         float *sums, size_t run, bool minima, int parts) {
    for (size_t lane = 0; lane < RILL_CPU_TILE; lane += WHOLE_VECTORS * LANES)
        whole_block(w, rows, row, lane, nx, sums, run, minima, parts);
}

WINLINE void whole_rows(const rill__whole *w, const rill__whole_rows *rows, float *sums, size_t run,
                        bool minima, int parts) {
    size_t most = parts == 2 ? WHOLE_FINE_ROWS : WHOLE_ROWS, r = 0, left;
    while ((left = rows->n_rows - r) > 0) {
        // Few rows use little of what is loaded: 6 + 2 would take longer than 4 + 4.
        if (left >= most && (most <= 4 || left != most + 2)) {
            whole_lanes(w, rows, r, most, sums, run, minima, parts);
            r += most;
        } else if (left >= 4 && most > 4) {
            whole_lanes(w, rows, r, 4, sums, run, minima, parts);
            r += 4;
        } else if (left >= 2 && most > 2) {
            whole_lanes(w, rows, r, 2, sums, run, minima, parts);
            r += 2;
        } else {
            whole_lanes(w, rows, r++, 1, sums, run, minima, parts);
        }
    }
}

static void NAME(product_whole)(const rill__whole *w, const rill__whole_rows *rows, float *sums) {
    RILL_WITH_FORMAT(w->format, rows->parts, whole_rows, w, rows, sums);
}
