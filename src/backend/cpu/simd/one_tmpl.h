// SPDX-License-Identifier: MIT
// The product of whole numbers with one row of activations: lanes are columns; after each run the
// lanes of LANES weight rows are added up into one vector, a weight row to a lane. Include after
// what multiplies a run (`one_run`) and turns scales (`turn`).
#include "backend/cpu/kernels.h"

OINLINE void one_any(const rill__whole *w, const rill__q16_row *x, size_t first, float *sums,
                     size_t run, bool minima) {
    for (size_t o = 0; o < RILL_CPU_TILE; o += LANES) {
        vf out = vf_load(sums + o), d[LANES], m[LANES];
        for (size_t c = 0; c < w->k; c += run) {
            size_t r = c / run % LANES, scales = o * w->runs + c / run;
            if (r == 0) turn(w->d + scales, w->runs, d);
            if (r == 0 && minima) turn(w->m + scales, w->runs, m);
            const int32_t *at = x->sums + (first + c) / RILL_Q16_RUN;
            int32_t sum = run > RILL_Q16_RUN ? at[0] + at[1] : at[0];
            vi s = one_run(w, x, first, o, c, run, sum);
            float dx = x->d[(first + c) / RILL_Q16];
            out = vf_fma(vi_float(s), vf_mul(d[r], vf_set(dx)), out);
            if (minima) out = vf_fnma(m[r], vf_set(dx * (float)sum), out);
        }
        vf_store(sums + o, out);
    }
}

static void NAME(product_one)(const rill__whole *w, const rill__q16_row *x, size_t first,
                              float *sums) {
    RILL_WITH_FORMAT(w->format, one_any, w, x, first, sums);
}
