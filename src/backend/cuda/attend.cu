// SPDX-License-Identifier: MIT
// Attention over the sinks and the recent keys: which way a call goes.
//
// On tensor cores (attend_tile.cuh) keys are met in blocks of 64, cut where token numbers are
// multiples of 64. Four blocks, cut at multiples of 256, are a part: blocks join their part in
// order, and then parts of recent tokens join in order; the sinks, however many they are, are one
// part, which stays apart until the end, for their share may be capped. These ways do exactly these
// steps:
//
//     whole: a block of threads meets all that many queries see: 64 (attend_whole.cu), or 128 with
//     Hopper's wgmma (attend_wide.cu)
//     split: a block of threads has one part, and the last one joins them (attend_split.cu)
//     step: a row of each stream, on Hopper, from the projections on (attend_step.cu); the engine
//     asks for it first
//
// The first reads the cache less often, the others keep the device busy with few rows. As all give
// the same bits, a call is free to choose, run by run. What tensor cores cannot do (exact results,
// caches of float32, odd heads) and what they would have to do twice (weights that somebody looks
// at) is done with sums in double (attend_exact.cu).
//
// Queries and weights are rounded to float16, and so are caches of other types; logits, sums and
// all else are float32.
#include "backend/cuda/attend_launch.cuh"

// Scratch of the split way: counters, and parts of as many tiles as have room; others go whole.
static const size_t MOST_COUNTERS = 1 << 16;
static const size_t MOST_PARTS_BYTES = 64 << 20;

attend_args rill__cuda_attend_args(const rill__cuda *cu, const rill__attention *a) {
    attend_args args = {};
    args.q = rill__cuda_floats(a->q);
    args.q_sink = rill__cuda_floats(a->q_sink);
    args.q_previous = a->q_previous ? rill__cuda_floats(a->q_previous) : nullptr;
    args.out = rill__cuda_floats(a->out);
    args.half = a->out->half;
    args.weights = a->weights ? rill__cuda_floats(a->weights) : nullptr;
    args.weights_stride = a->weights_stride;
    args.rows = cu->step.rows;
    args.runs = cu->step.runs;
    args.run_of = cu->step.run_of;
    args.caches = cu->step.caches + (size_t)a->layer * a->n_runs;
    args.fade_blocks = cu->step.fade_blocks;
    args.sink_logits = a->sink_logits ? a->sink_logits->vector : nullptr;
    args.n_heads = a->n_heads;
    args.n_kv_heads = a->n_kv_heads;
    args.group = a->n_heads / a->n_kv_heads;
    args.head_dim = a->head_dim;
    args.window = a->window;
    args.scale = a->scale;
    args.off_by_one = a->softmax_off_by_one;
    args.alibi = a->alibi_slopes != nullptr;
    for (uint32_t i = 0; args.alibi && i < a->n_heads; i++) args.slopes[i] = a->alibi_slopes[i];
    return args;
}

// Runs from `first` on that go together, for their caches are of the same types: the shared memory
// that a kernel asks for, and so whether it can run, must not depend on who else is in the batch.
static size_t count_alike(const rill__attention *a, size_t first) {
    const rill__kv *kv = &a->runs[first].kv[a->layer];
    size_t n = 1;
    for (; n < TILE_RUNS && first + n < a->n_runs; n++) {
        const rill__kv *next = &a->runs[first + n].kv[a->layer];
        if (next->key_type != kv->key_type || next->value_type != kv->value_type) break;
    }
    return n;
}

// Parts that the queries of a tile of the split way may see, and the sinks.
static uint32_t parts_of(size_t visible) {
    // The rows of a tile are neighbours: together they see less than WARP_QUERIES more than one.
    return (uint32_t)((visible + WARP_QUERIES + 2 * PART_KEYS - 2) / PART_KEYS) + 1;
}

static size_t parts_bytes(size_t max_rows, size_t max_visible, size_t max_width) {
    max_rows += WARP_QUERIES;  // the last tile of a run may not be full
    size_t bytes = (max_width + 2 * (max_width / 16 + 1)) * sizeof(float) * parts_of(max_visible);
    return bytes > MOST_PARTS_BYTES / max_rows ? MOST_PARTS_BYTES : bytes * max_rows;
}

size_t rill__cuda_attend_scratch_bytes(size_t max_rows, size_t max_visible, size_t max_width) {
    return MOST_COUNTERS * sizeof(uint32_t) + parts_bytes(max_rows, max_visible, max_width);
}

// How some runs go.
struct plan {
    tile_list whole, split;
    split_scratch scratch;
    cache_kinds kinds;
    uint32_t wide;  // queries of a tile of attend_wide.cu, if it is used
};

static uint32_t tiles_of(const rill__run *run, uint32_t group, uint32_t queries) {
    return (uint32_t)((run->n_rows * group + queries - 1) / queries);
}

// How many tiles can be split, and where their parts are left.
static uint32_t lay_out_scratch(const rill__cuda *cu, const rill__attention *a, uint32_t queries,
                                split_scratch *s) {
    size_t visible = cu->max_visible;
    if (a->window && a->window < visible) visible = a->window;
    s->parts = parts_of(visible);
    s->queries = queries;
    size_t states = (size_t)a->n_kv_heads * s->parts * queries;  // of a tile
    size_t most = parts_bytes(cu->max_rows, cu->max_visible, cu->max_width) /
                  (states * (a->head_dim + 2) * sizeof(float));
    if (most > MOST_COUNTERS / a->n_kv_heads) most = MOST_COUNTERS / a->n_kv_heads;
    if (most > 65535) most = 65535;  // blocks along y
    s->done = (uint32_t *)(void *)cu->attend_scratch;
    s->values = (float *)(void *)(cu->attend_scratch + MOST_COUNTERS * sizeof(uint32_t));
    s->states = s->values + most * states * a->head_dim;
    return cu->attend_scratch ? (uint32_t)most : 0;
}

static void add_cache(cache_kinds *kinds, const rill__kv *kv) {
    kinds->converted |= kv->key_type != RILL_TYPE_F16 || kv->value_type != RILL_TYPE_F16;
    kinds->packed |= is_packed(kv->key_type) || is_packed(kv->value_type);
    kinds->halves |= !is_packed(kv->key_type) || !is_packed(kv->value_type);
    if (kv->key_row_bytes > kinds->key_row_bytes)
        kinds->key_row_bytes = (uint32_t)kv->key_row_bytes;
    if (kv->value_row_bytes > kinds->value_row_bytes)
        kinds->value_row_bytes = (uint32_t)kv->value_row_bytes;
}

// Runs of so few queries that the split way reads the cache once go that way; others do, too, if
// the whole way would leave most of the device idle.
static void make_plan(const rill__cuda *cu, const rill__attention *a, const attend_args &args,
                      size_t first, size_t n, plan *p) {
    uint32_t group = a->n_heads / a->n_kv_heads, wholes = 0, queries = 1;
    *p = plan{};
    p->wide = rill__cuda_attend_wide_queries(cu, args);
    uint32_t whole_queries = p->wide ? p->wide : rill__cuda_attend_whole_queries();
    for (size_t i = 0; i < n; i++) {
        const rill__run *run = &a->runs[first + i];
        size_t all = run->n_rows * group;
        wholes += tiles_of(run, group, whole_queries);
        if (all > queries) queries = all < WARP_QUERIES ? (uint32_t)all : (uint32_t)WARP_QUERIES;
        add_cache(&p->kinds, &run->kv[a->layer]);
    }
    uint32_t left = lay_out_scratch(cu, a, queries, &p->scratch);
    bool idle = wholes * a->n_kv_heads * 2 < (uint32_t)cu->processors;
    p->whole.n_runs = p->split.n_runs = (uint32_t)n;
    p->whole.first_run = p->split.first_run = (uint32_t)first;
    for (size_t i = 0; i < n; i++) {
        const rill__run *run = &a->runs[first + i];
        uint32_t split = tiles_of(run, group, WARP_QUERIES);
        bool splits = (split <= 1 || idle) && split <= left;
        if (splits) left -= split;
        p->split.first[i + 1] = p->split.first[i] + (splits ? split : 0);
        uint32_t whole = splits ? 0 : tiles_of(run, group, whole_queries);
        p->whole.first[i + 1] = p->whole.first[i] + whole;
    }
}

// False if tensor cores cannot do these: caches of float32, or too little shared memory for one of
// the ways.
static bool attend_runs(rill__cuda *cu, const rill__attention *a, const attend_args &args,
                        size_t first, size_t n) {
    const rill__kv *kv = &a->runs[first].kv[a->layer];
    if (kv->key_type == RILL_TYPE_F32 || kv->value_type == RILL_TYPE_F32) return false;
    plan p;
    make_plan(cu, a, args, first, n, &p);
    auto whole = p.wide ? rill__cuda_attend_wide : rill__cuda_attend_whole;
    return whole(cu, args, p.whole, p.kinds) &&
           rill__cuda_attend_split(cu, args, p.split, p.scratch, p.kinds);
}

void rill__cuda_attend(rill__backend *be, const rill__attention *a) {
    rill__cuda *cu = rill__cuda_of(be);
    if (a->alibi_slopes && a->n_heads > RILL_CUDA_ALIBI_HEADS) {
        rill__cuda_failed(cu, cudaErrorInvalidValue, "attend: too many heads with slopes", __FILE__,
                          __LINE__);
        return;
    }
    const attend_args args = rill__cuda_attend_args(cu, a);
    bool tensor = !cu->exact && !a->weights && attend_width(a->head_dim);
    for (size_t first = 0, n; first < a->n_runs; first += n) {
        n = count_alike(a, first);
        if (tensor && attend_runs(cu, a, args, first, n)) continue;
        const rill__run *last = &a->runs[first + n - 1];
        size_t row = a->runs[first].first_row;
        rill__cuda_attend_exact(cu, args, row, last->first_row + last->n_rows - row);
    }
    rill__cuda_wrote_halves(a->out, 1);
}
