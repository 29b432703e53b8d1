// SPDX-License-Identifier: MIT
// Products of whole numbers with groups of LANES rows of activations, a row to a lane, for every
// tier: include after a vec_*.h and what says how weights and columns lie (`widen`, `put_columns`)
// and how a run of them is multiplied (`group_products`). See kernels.h for the order of a sum.
#include "backend/cpu/kernels.h"

typedef struct NAME(group_run) {
    const float *d;
    const int32_t *sums;
    const int16_t *x;
} NAME(group_run);

// One run of GROUP_ROWS weight rows and ng groups; all sizes constants after inlining.
GINLINE void group_step(const rill__whole *w, const int16_t *wide, size_t c, size_t run,
                        bool minima, size_t ng, size_t o, const NAME(group_run) * x,
                        vf sums[GROUP_ROWS][2]) {
    vi products[GROUP_ROWS][2];
    const int16_t *const columns[2] = {x[0].x, x[ng - 1].x};
    group_products(w, wide, c, run, ng, o, columns, products);
    const float *d = w->d + o * w->runs + c / run, *m = w->m + o * w->runs + c / run;
    for (size_t j = 0; j < ng; j++) {
        vf dx = vf_load(x[j].d + c / RILL_Q16 * LANES);
        for (size_t i = 0; i < GROUP_ROWS; i++)
            sums[i][j] =
                vf_fma(vi_float(products[i][j]), vf_mul(vf_set(d[i * w->runs]), dx), sums[i][j]);
        if (!minima) continue;
        const int32_t *at = x[j].sums + c / RILL_Q16_RUN * LANES;
        vi sum = vi_load(at);
        if (run > RILL_Q16_RUN) sum = vi_add(sum, vi_load(at + LANES));
        vf scaled = vf_mul(dx, vi_float(sum));
        for (size_t i = 0; i < GROUP_ROWS; i++)
            sums[i][j] = vf_fma(vf_set(-m[i * w->runs]), scaled, sums[i][j]);
    }
}

GINLINE void group_block(const rill__whole_product *p, size_t run, bool minima, size_t ng, size_t g,
                         size_t o) {
    NAME(group_run) x[2];
    vf sums[GROUP_ROWS][2];
    float *at = p->sums + (g * RILL_CPU_TILE + o) * LANES;
    for (size_t j = 0; j < ng; j++) {
        uint8_t *memory = p->x + (g + j) * rill__q16_group_bytes(p->x_columns, LANES);
        rill__q16_group group = rill__q16_group_at(memory, p->x_columns, LANES);
        x[j] = (NAME(group_run)){.d = group.d + p->first / RILL_Q16 * LANES,
                                 .sums = group.sums + p->first / RILL_Q16_RUN * LANES,
                                 .x = group.x + p->first * LANES};
        for (size_t i = 0; i < GROUP_ROWS; i++)
            sums[i][j] = vf_load(at + (j * RILL_CPU_TILE + i) * LANES);
    }
    for (size_t c = 0; c < p->w->k; c += run)
        group_step(p->w, p->wide, c, run, minima, ng, o, x, sums);
    for (size_t j = 0; j < ng; j++)
        for (size_t i = 0; i < GROUP_ROWS; i++)
            vf_store(at + (j * RILL_CPU_TILE + i) * LANES, sums[i][j]);
}

GINLINE void groups_any(const rill__whole_product *p, size_t run, bool minima) {
    size_t g = 0;
    for (; g + 2 <= p->n_groups; g += 2)
        for (size_t o = 0; o < RILL_CPU_TILE; o += GROUP_ROWS) group_block(p, run, minima, 2, g, o);
    for (size_t o = 0; g < p->n_groups && o < RILL_CPU_TILE; o += GROUP_ROWS)
        group_block(p, run, minima, 1, g, o);
}

static void NAME(product_groups)(const rill__whole_product *p) {
    NAME(widen)(p->w, p->wide);
    RILL_WITH_FORMAT(p->w->format, groups_any, p);
}

static void NAME(put_lane)(const rill__q16_row *row, size_t k, size_t lane,
                           rill__q16_group *group) {
    for (size_t i = 0; i < k / RILL_Q16; i++) group->d[i * LANES + lane] = row->d[i];
    for (size_t i = 0; i < k / RILL_Q16_RUN; i++) group->sums[i * LANES + lane] = row->sums[i];
    put_columns(row, k, lane, group->x);
}
