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

// The cheapest shape. What is activated needs two warpgroups.
template <int KIND> static void start(rill__cuda *cu, const product_args *a) {
    using most = wide_shape<KIND, 192, 2, 2>;
    using many = wide_shape<KIND, 128, 2, 2>;
    using more = wide_shape<KIND, 128, 1, 1>;
    using some = wide_shape<KIND, 64, 1, 1>;
    using some_activated = wide_shape<KIND, 64, 2, 2>;
    using few = wide_shape<KIND, 32, 1, 1>;
    using few_activated = wide_shape<KIND, 32, 2, 1>;
    bool activates = a->after == AFTER_ACTIVATE;
    if (a->n_rows <= 32) {
        activates ? start_wide<few_activated>(cu, a) : start_wide<few>(cu, a);
        return;
    }
    if (a->n_rows <= 64) {
        activates ? start_wide<some_activated>(cu, a) : start_wide<some>(cu, a);
        return;
    }
    struct {
        uint32_t cost;
        void (*start)(rill__cuda *, const product_args *);
    } shapes[] = {{cost_of<most>(cu, a, {12, 12}), start_wide<most>},
                  {cost_of<many>(cu, a, {10, 10}), start_wide<many>},
                  {cost_of<more>(cu, a, {10, 8}), start_wide<more>},
                  {cost_of<some>(cu, a, {7, 5}), start_wide<some>}};
    int best = 0;
    for (int i = 1; i < (activates ? 2 : 4); i++)
        if (shapes[i].cost < shapes[best].cost) best = i;
    shapes[best].start(cu, a);
}

void rill__cuda_product_wide(rill__cuda *cu, const product_args *a) {
    static void (*const starts[RILL_KINDS])(rill__cuda *, const product_args *) = {
        start<RILL_KIND_HALF>,  start<RILL_KIND_4>, start<RILL_KIND_4_MIN>, start<RILL_KIND_5>,
        start<RILL_KIND_5_MIN>, start<RILL_KIND_6>, start<RILL_KIND_8>,     start<RILL_KIND_FP4>};
    starts[a->weights[0].kind](cu, a);
}
