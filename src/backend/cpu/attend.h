// SPDX-License-Identifier: MIT
// How attention on the CPU is cut: see attend.c.
#ifndef RILL_CPU_ATTEND_H
#define RILL_CPU_ATTEND_H

#include "backend/cpu/cpu.h"

typedef struct rill__span {
    uint64_t begin, end;  // tokens
} rill__span;

// Tokens that meet queries in one frame, and whose sums are one part of a softmax.
typedef struct rill__part {
    bool sinks;
    rill__span tokens;
} rill__part;

// Rows of one cache, and some of the query heads that share a key-value head. Their queries are
// numbered row by row.
typedef struct rill__view {
    const rill__attention *a;
    const rill__cpu_kernels *kernels;
    const rill__cpu_scratch *scratch;
    const rill__run *run;
    const rill__kv *kv;  // the run's
    const rill__row *rows;
    size_t first_row;
    size_t n_rows;
    uint32_t kv_head;
    uint32_t first_head;
    uint32_t n_heads;
    rill__span sinks, recent;  // what any of the rows sees
} rill__view;

// The lesser of two counts.
static inline uint64_t rill__least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

// How many queries there are.
static inline size_t rill__view_queries(const rill__view *v) {
    return v->n_rows * v->n_heads;
}

// The sums of a query in an array of them.
static inline void *rill__view_sums(const rill__view *v, uint8_t *sums, size_t query) {
    return sums + query * v->a->head_dim * v->kernels->sum_bytes;
}

// What a row sees: keys at cache distance < window.
static inline rill__span rill__seen_by_row(const rill__attention *a, const rill__row *row,
                                           bool sinks) {
    rill__span s = {sinks ? 0 : row->first_recent, sinks ? row->n_sinks : row->token + 1};
    uint64_t place = sinks ? row->sink_pos : row->token;
    if (a->window && place >= a->window && s.begin < place - a->window + 1)
        s.begin = place - a->window + 1;
    if (s.begin > s.end) s.begin = s.end;
    return s;
}

// Where the weights of a row's head go: of the visible tokens in order.
static inline float *rill__view_weights(const rill__view *v, size_t row, size_t head) {
    const rill__attention *a = v->a;
    size_t index = (v->first_row + row) * a->n_heads + v->first_head + head;
    return rill__cpu_floats(a->weights) + index * a->weights_stride;
}

// All queries of the view meet the tokens of a part: sums[i] and states[i] of query i are set. If
// somebody looks at weights, the logits wait in their place until the denominator is known.
void rill__cpu_attend_part(const rill__view *v, const rill__part *p, uint8_t *sums,
                           rill__softmax *states);

#endif
