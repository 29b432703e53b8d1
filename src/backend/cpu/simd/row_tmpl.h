// SPDX-License-Identifier: MIT
// One row of activations meets packed weights as they are unpacked: their bytes are never stored.
// What decode spends, memory apart, is this. Include after unpack_tmpl.h and whole_tmpl.h.

// All runs of a chunk are over: they meet their scales. All loops unfold, so that most types' sums
// are registers; what sums begin with is added here, as it would hold registers until now.
WINLINE void end_runs(const lanes *at, const rill__whole *w, int shift, bool minima, float *out) {
    vf total = vf_load(out);
    UNFOLD for (size_t r = 0; r < RILL_CPU_CHUNK / at->run; r++) {
        size_t c = w->first + r * at->run;
        vi x_sum = vi_set(at->x->sums[at->run == 32][c / at->run]);
        vi sum = vi_add(whole_sum(at->sums[r], at->parts), whole_start(x_sum, shift, minima));
        total = whole_total(total, sum, at->d + r * RILL_CPU_TILE, at->m + r * RILL_CPU_TILE, at->x,
                            c, at->run, minima);
    }
    vf_store(out, total);
}

#define ROW(name, TYPE, run_columns, zero_q)                                                       \
    WINLINE void row_##name(const uint8_t *packed, const rill__whole *w, const rill__whole_row *x, \
                            int parts, float *sums) {                                              \
        for (size_t lane = 0; lane < RILL_CPU_TILE; lane += LANES) {                               \
            whole_products runs[RILL_CPU_CHUNK / run_columns];                                     \
            const rill__ahead share = ahead_share(&w->ahead, lane, lane + LANES, RILL_CPU_TILE);   \
            ahead next = ahead_of(&share, RILL_CPU_CHUNK / 8);                                     \
            lanes at = lanes_at(packed, w, lane);                                                  \
            at.sums = runs;                                                                        \
            at.x = x;                                                                              \
            at.first = w->first;                                                                   \
            at.run = run_columns;                                                                  \
            at.parts = parts;                                                                      \
            at.next = &next;                                                                       \
            UNFOLD for (size_t r = 0; r < RILL_CPU_CHUNK / run_columns; r++) runs[r] =             \
                products_from(vi_set(0));                                                          \
            unpack_##name(at, RILL_CPU_CHUNK);                                                     \
            end_runs(&at, w, zero_q ? __builtin_ctz(zero_q) : 0, !zero_q, sums + lane);            \
        }                                                                                          \
    }                                                                                              \
    static void NAME(product_row_##name)(const uint8_t *packed, rill__whole *w,                    \
                                         const rill__whole_rows *rows, float *sums) {              \
        const rill__whole_row x = rill__whole_row_at(rows, 0);                                     \
        if (rows->parts == 2)                                                                      \
            row_##name(packed, w, &x, 2, sums);                                                    \
        else                                                                                       \
            row_##name(packed, w, &x, 1, sums);                                                    \
    }
RILL_WHOLE_TYPES(ROW)
#undef ROW

static void NAME(row_slots)(rill__cpu_kernels *k) {
#define SLOT(name, TYPE, ...) k->product_row[RILL_TYPE_##TYPE] = NAME(product_row_##name);
    RILL_WHOLE_TYPES(SLOT)
#undef SLOT
}
