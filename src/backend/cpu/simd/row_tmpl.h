// SPDX-License-Identifier: MIT
// One row of activations meets packed weights as they are unpacked, which are never stored: what
// decode spends, memory apart, is this. Include after unpack_tmpl.h and whole_tmpl.h.

// All runs are over: they meet their scales. Of a whole chunk, k is constant, and all loops unfold,
// so that sums are registers, for most types.
WINLINE void end_runs(const lanes *at, const rill__whole *w, size_t k, int shift, bool minima,
                      float *out) {
    vf total = vf_load(out);
    UNFOLD for (size_t r = 0; r < k / at->run; r++) {
        size_t c = w->first + r * at->run;
        vi x_sum = vi_set(at->x->sums[at->run == 32][c / at->run]);
        vi sum = vi_add(whole_sum(at->sums[r], at->parts), whole_start(x_sum, shift, minima));
        total = whole_total(total, sum, at->d + r * RILL_CPU_TILE, at->m + r * RILL_CPU_TILE, at->x,
                            c, at->run, minima);
    }
    vf_store(out, total);
}

#define ROW(name, TYPE, columns, nought)                                                           \
    WINLINE void row_##name(const uint8_t *packed, const rill__whole *w, const rill__whole_row *x, \
                            size_t k, int parts, float *sums) {                                    \
        for (size_t lane = 0; lane < RILL_CPU_TILE; lane += LANES) {                               \
            whole_products runs[RILL_CPU_CHUNK / columns];                                         \
            const rill__ahead share = ahead_share(&w->ahead, lane, lane + LANES, RILL_CPU_TILE);   \
            ahead next = ahead_of(&share, k / 8);                                                  \
            lanes at = lanes_at(packed, w, lane);                                                  \
            at.sums = runs;                                                                        \
            at.x = x;                                                                              \
            at.first = w->first;                                                                   \
            at.run = columns;                                                                      \
            at.parts = parts;                                                                      \
            at.next = &next;                                                                       \
            for (size_t r = 0; r < RILL_CPU_CHUNK / columns; r++)                                  \
                runs[r] = products_from(vi_set(0));                                                \
            unpack_##name(at, k);                                                                  \
            end_runs(&at, w, k, nought ? __builtin_ctz(nought) : 0, !nought, sums + lane);         \
        }                                                                                          \
    }                                                                                              \
    static void NAME(product_row_##name)(const uint8_t *packed, const rill__whole *w,              \
                                         const rill__whole_rows *rows, float *sums) {              \
        const rill__whole_row x = rill__whole_row_at(rows, 0);                                     \
        if (w->k < RILL_CPU_CHUNK)                                                                 \
            row_##name(packed, w, &x, w->k, rows->parts, sums);                                    \
        else if (rows->parts == 2)                                                                 \
            row_##name(packed, w, &x, RILL_CPU_CHUNK, 2, sums);                                    \
        else                                                                                       \
            row_##name(packed, w, &x, RILL_CPU_CHUNK, 1, sums);                                    \
    }
RILL_WHOLE_TYPES(ROW)
#undef ROW

static void NAME(row_slots)(rill__cpu_kernels *k) {
#define SLOT(name, TYPE, ...) k->product_row[RILL_TYPE_##TYPE] = NAME(product_row_##name);
    RILL_WHOLE_TYPES(SLOT)
#undef SLOT
}
