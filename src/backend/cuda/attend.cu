// SPDX-License-Identifier: MIT
// Attention over the sinks and the recent keys: which way a call goes.
//
// On tensor cores (attend_tile.cuh) keys are met in blocks of 64, cut where token numbers are
// multiples of 64. Four blocks, cut at multiples of 256, are a part: blocks join their part in
// order, and then parts of recent tokens join in order; the sinks, however many they are, are one
// part, which stays apart until the end, for their share may be capped. Two ways do exactly these
// steps:
//
//     whole: a block of threads meets all that 64 queries see (attend_whole.cu)
//     split: a block of threads has one part, and the last one joins them (attend_split.cu)
//
// The first reads the cache less often, the second keeps the device busy with few rows. As both
// give the same bits, a call is free to choose, run by run. What tensor cores cannot do (exact
// results, caches of float32, odd heads) and what they would have to do twice (weights that
// somebody looks at) is done with sums in double (attend_exact.cu).
//
// Queries and weights are rounded to float16, and so are caches of other types; logits, sums and
// all else are float32.
#include "backend/cuda/attend.cuh"

static attend_args args_of(const rill__cuda *cu, const rill__attention *a) {
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

size_t rill__cuda_attend_scratch_bytes(size_t, size_t, size_t) {
    return 256;
}

void rill__cuda_attend(rill__backend *be, const rill__attention *a) {
    rill__cuda *cu = rill__cuda_of(be);
    rill__cuda_attend_exact(cu, args_of(cu, a), a->n_rows);
    rill__cuda_wrote_halves(a->out, 1);
}
