// SPDX-License-Identifier: MIT
// Products of many rows on Hopper: which block does what. See product_wide.cuh.
#include "backend/cuda/product_wide.cuh"

// How long a shape's blocks take for a step of 64 columns when all multiprocessors have as many as
// they hold, and when they have one, as measured on an H100 (bench/cuda/prefill_ladder.cu).
struct block_cost {
    uint32_t full;
    uint32_t alone;
};

template <class S>
static uint32_t cost_of(const rill__cuda *cu, const product_args *a, block_cost cost) {
    wide_pieces all = pieces_of<S>(a);
    uint32_t processors = (uint32_t)cu->processors, n = all.x * all.weights;
    uint32_t at_once = processors * S::blocks, rest = n % at_once;
    uint32_t last = !rest ? 0 : rest <= processors ? cost.alone : cost.full;
    return n / at_once * cost.full + last;
}

// A shape that can be chosen.
struct choice {
    uint32_t cost;
    void (*start)(rill__cuda *, const product_args *);
};
template <class S>
static choice choice_of(const rill__cuda *cu, const product_args *a, block_cost cost) {
    return {cost_of<S>(cu, a, cost), start_wide<S>};
}
static void start_cheapest(rill__cuda *cu, const product_args *a, const choice *shapes, int n) {
    const choice *best = shapes;
    for (int i = 1; i < n; i++)
        if (shapes[i].cost < best->cost) best = &shapes[i];
    best->start(cu, a);
}

template <int KIND> static void start(rill__cuda *cu, const product_args *a) {
    using some = wide_shape<KIND, 64, 1, 1>;
    if (a->n_rows <= 32) {
        start_wide<wide_shape<KIND, 32, 1, 1>>(cu, a);
        return;
    }
    if (a->n_rows <= 64) {
        start_wide<some>(cu, a);
        return;
    }
    const choice shapes[] = {choice_of<wide_shape<KIND, 192, 2, 2>>(cu, a, {24, 24}),
                             choice_of<wide_shape<KIND, 176, 2, 2>>(cu, a, {23, 23}),
                             choice_of<wide_shape<KIND, 128, 2, 2>>(cu, a, {20, 20}),
                             choice_of<wide_shape<KIND, 128, 1, 1>>(cu, a, {20, 16}),
                             choice_of<some>(cu, a, {14, 10})};
    start_cheapest(cu, a, shapes, 5);
}

// What is activated needs two warpgroups.
template <int KIND> static void start_activated(rill__cuda *cu, const product_args *a) {
    if (a->n_rows <= 32) {
        start_wide<wide_shape<KIND, 32, 2, 1, true>>(cu, a);
        return;
    }
    if (a->n_rows <= 64) {
        start_wide<wide_shape<KIND, 64, 2, 2, true>>(cu, a);
        return;
    }
    const choice shapes[] = {choice_of<wide_shape<KIND, 192, 2, 2, true>>(cu, a, {12, 12}),
                             choice_of<wide_shape<KIND, 128, 2, 2, true>>(cu, a, {10, 10})};
    start_cheapest(cu, a, shapes, 2);
}

void rill__cuda_product_wide(rill__cuda *cu, const product_args *a) {
    static void (*const starts[RILL_KINDS])(rill__cuda *, const product_args *) = {
        start<RILL_KIND_HALF>,  start<RILL_KIND_4>, start<RILL_KIND_4_MIN>, start<RILL_KIND_5>,
        start<RILL_KIND_5_MIN>, start<RILL_KIND_6>, start<RILL_KIND_8>,     start<RILL_KIND_FP4>};
    static void (*const activated[RILL_KINDS])(rill__cuda *, const product_args *) = {
        start_activated<RILL_KIND_HALF>,  start_activated<RILL_KIND_4>,
        start_activated<RILL_KIND_4_MIN>, start_activated<RILL_KIND_5>,
        start_activated<RILL_KIND_5_MIN>, start_activated<RILL_KIND_6>,
        start_activated<RILL_KIND_8>,     start_activated<RILL_KIND_FP4>};
    auto *all = a->after == AFTER_ACTIVATE ? activated : starts;
    all[a->weights[0].kind](cu, a);
}
