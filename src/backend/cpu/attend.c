// SPDX-License-Identifier: MIT
// Attention over the sinks and the recent keys, in one pass over both.
//
// Keys are met in blocks of RILL_CPU_KEYS tokens, cut where token numbers are multiples of it; a
// block is decoded once for all queries at hand: those of a run of rows and of the query heads that
// share the key's head. Blocks make parts, cut at multiples of PART, and sinks are parts of their
// own. Within a part the softmax is online (Milakov and Gimelshein, 2018): each block's greatest
// logit may rescale the sums so far. Parts are then folded together, in their order. So all sums
// depend on the numbers of the tokens that a row sees and on nothing else: which rows are met
// together, which thread has which part, and where the ring stands move no bit.
#include "backend/cpu/attend.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { PART = 512 };

// All rows and heads, and how they are cut: a piece has some rows, and some of the query heads that
// share a key-value head.
typedef struct attend_job {
    rill__cpu *cpu;
    const rill__attention *a;
    uint32_t group;         // query heads that share a key-value head
    uint32_t n_heads;       // of those in a piece
    uint32_t n_slices;      // of a group
    size_t n_rows;          // of a piece
    size_t n_tiles;         // of the rows
    size_t n_parts;         // that are pieces of their own; 0: a piece does all of its parts
    atomic_uint *done;      // [pieces / n_parts]
    rill__softmax *states;  // [n_parts, rows * heads of all]
    uint8_t *sums;          // the same, head_dim each
} attend_job;

static rill__span seen_by_rows(const rill__view *v, bool sinks) {
    rill__span all = {UINT64_MAX, 0};
    for (size_t r = 0; r < v->n_rows; r++) {
        rill__span s = rill__seen_by_row(v->a, &v->rows[r], sinks);
        if (s.begin == s.end) continue;
        all.begin = rill__least(all.begin, s.begin);
        if (s.end > all.end) all.end = s.end;
    }
    return all.end ? all : (rill__span){0, 0};
}

// Rows from `first` on, at most `most`, that can meet the same blocks: of one cache and, under
// xPos, with queries in the same frames.
static rill__view view_of(const attend_job *job, size_t piece, size_t first, size_t most,
                          unsigned thread) {
    const rill__attention *a = job->a;
    uint32_t slice = (uint32_t)(piece % job->n_slices);
    rill__view v = {.a = a,
                    .kernels = &job->cpu->kernels,
                    .scratch = &job->cpu->scratch[thread],
                    .run = rill__run_of(a->runs, a->n_runs, first),
                    .rows = a->rows + first,
                    .first_row = first,
                    .n_rows = 1,
                    .kv_head = (uint32_t)(piece / job->n_slices)};
    v.first_head = v.kv_head * job->group + slice * job->n_heads;
    v.n_heads = (uint32_t)rill__least(job->n_heads, job->group - slice * job->n_heads);
    v.kv = &v.run->kv[a->layer];
    most = (size_t)rill__least(most, v.run->first_row + v.run->n_rows - first);
    uint64_t length = rill__run_rope(v.run, a->local)->fade_block;
    while (v.n_rows < most &&
           (!a->q_previous || v.rows[v.n_rows].token / length == v.rows[0].token / length))
        v.n_rows++;
    v.sinks = seen_by_rows(&v, true);
    v.recent = seen_by_rows(&v, false);
    return v;
}

static rill__part before_first_part(const rill__view *v) {
    return (rill__part){true, {v->sinks.begin, v->sinks.begin}};
}

// Goes on to the next part; false behind the last.
static bool next_part(const rill__view *v, rill__part *p) {
    if (p->sinks && p->tokens.end >= v->sinks.end) {
        p->sinks = false;
        p->tokens.end = v->recent.begin;
    }
    uint64_t end = p->sinks ? v->sinks.end : v->recent.end, begin = p->tokens.end;
    if (begin >= end) return false;
    end = rill__least(end, (begin / PART + 1) * PART);
    if (v->a->q_previous && !p->sinks) {
        uint64_t length = rill__run_rope(v->run, v->a->local)->fade_block;
        end = rill__least(end, (begin / length + 1) * length);
    }
    p->tokens = (rill__span){begin, end};
    return true;
}

// What all parts so far came to, sinks and recent tokens apart: [2][queries].
typedef struct totals {
    rill__softmax *states[2];
    uint8_t *sums[2];
} totals;

static totals start_totals(const rill__view *v) {
    rill__cpu_scratch s = *v->scratch;
    totals t = {{s.states + RILL_CPU_QUERIES, s.states + 2 * RILL_CPU_QUERIES},
                {s.sums + s.sums_bytes, s.sums + 2 * s.sums_bytes}};
    for (int k = 0; k < 2; k++) {
        memset(t.sums[k], 0, rill__view_queries(v) * v->a->head_dim * v->kernels->sum_bytes);
        for (size_t i = 0; i < rill__view_queries(v); i++)
            t.states[k][i] = (rill__softmax){-INFINITY, 0};
    }
    return t;
}

static void fold_part(const rill__view *v, const rill__part *p, uint8_t *sums,
                      const rill__softmax *states, totals *t) {
    rill__softmax *all = t->states[p->sinks ? 0 : 1];
    for (size_t i = 0; i < rill__view_queries(v); i++) {
        if (states[i].sum == 0) continue;  // a query that sees nothing of the part
        float greatest = fmaxf(all[i].greatest, states[i].greatest);
        double keep = exp((double)all[i].greatest - greatest);
        double gain = exp((double)states[i].greatest - greatest);
        v->kernels->fold(rill__view_sums(v, t->sums[p->sinks ? 0 : 1], i),
                         rill__view_sums(v, sums, i), keep, gain, v->a->head_dim);
        all[i] = (rill__softmax){greatest, all[i].sum * keep + states[i].sum * gain};
    }
}

// Logits to weights, for who looks at them: sinks and recent tokens in the order of the row's
// visible ones, zeros for those that the layer's own window hides.
static void finish_weights(const rill__view *v, size_t query, float greatest, double sinks,
                           double recent) {
    const rill__row *row = &v->rows[query / v->n_heads];
    float *out = rill__view_weights(v, query / v->n_heads, query % v->n_heads);
    for (int k = 0; k < 2; k++) {
        rill__span seen = rill__seen_by_row(v->a, row, k == 0);
        uint64_t first = k == 0 ? 0 : row->first_recent;
        if (seen.begin == seen.end && seen.end < first) continue;  // no recent token at all
        size_t hidden = seen.begin - first, n = seen.end - seen.begin;
        memset(out, 0, hidden * sizeof *out);
        (void)v->kernels->exp_sum(out + hidden, n, greatest);
        for (size_t i = 0; i < n; i++) out[hidden + i] *= (float)(k == 0 ? sinks : recent);
        out += hidden + n;
    }
}

// One softmax over sinks and recent tokens. If the sinks' share of the mass exceeds the cap, their
// weights are scaled down.
static void finish_query(const rill__view *v, size_t query, const totals *t) {
    const rill__attention *a = v->a;
    uint32_t head = v->first_head + (uint32_t)(query % v->n_heads);
    const rill__softmax *sinks = &t->states[0][query], *recent = &t->states[1][query];
    const rill__weight *learned = a->sink_logits;
    float greatest = fmaxf(sinks->greatest, recent->greatest);
    if (a->softmax_off_by_one) greatest = fmaxf(greatest, 0);
    if (learned) greatest = fmaxf(greatest, learned->vector[head]);
    double of_sinks = exp((double)sinks->greatest - greatest);
    double of_recent = exp((double)recent->greatest - greatest);
    double mass = sinks->sum * of_sinks, rest = recent->sum * of_recent, cap = v->kv->sink_cap;
    if (a->softmax_off_by_one) rest += exp(-(double)greatest);
    if (learned) rest += exp((double)learned->vector[head] - greatest);
    double factor = 1;
    if (mass > cap * (mass + rest) && rest > 0) factor = cap * rest / ((1 - cap) * mass);
    double inverse = 1 / (mass * factor + rest);
    if (a->weights) finish_weights(v, query, greatest, factor * inverse, inverse);
    size_t row = v->first_row + query / v->n_heads;
    float *out = rill__cpu_floats(a->out) + (row * a->n_heads + head) * a->head_dim;
    v->kernels->mix_end(rill__view_sums(v, t->sums[0], query), of_sinks * factor * inverse,
                        rill__view_sums(v, t->sums[1], query), of_recent * inverse, out,
                        a->head_dim);
}

static void finish(const rill__view *v, const totals *t) {
    for (size_t i = 0; i < rill__view_queries(v); i++) finish_query(v, i, t);
}

// A piece that does all of its parts.
static void attend_whole(const rill__view *v) {
    totals t = start_totals(v);
    rill__part p = before_first_part(v);
    while (next_part(v, &p)) {
        rill__cpu_attend_part(v, &p, v->scratch->sums, v->scratch->states);
        fold_part(v, &p, v->scratch->sums, v->scratch->states, &t);
    }
    finish(v, &t);
}

// Where part `number` of a view is kept for those who fold: the queries of one view lie together.
static size_t kept_at(const rill__view *v, size_t number) {
    const rill__attention *a = v->a;
    return (number * a->n_heads + v->first_head) * a->n_rows + v->first_row * v->n_heads;
}

static uint8_t *kept_sums(const attend_job *job, const rill__view *v, size_t number) {
    return rill__view_sums(v, job->sums, kept_at(v, number));
}

// A piece that does the part of that number.
static void attend_one_part(const attend_job *job, const rill__view *v, size_t number) {
    rill__part p = before_first_part(v);
    for (size_t i = 0; i <= number; i++)
        if (!next_part(v, &p)) return;
    rill__cpu_attend_part(v, &p, kept_sums(job, v, number), job->states + kept_at(v, number));
}

static void fold_all(const attend_job *job, const rill__view *v) {
    totals t = start_totals(v);
    rill__part p = before_first_part(v);
    for (size_t i = 0; next_part(v, &p); i++)
        fold_part(v, &p, kept_sums(job, v, i), job->states + kept_at(v, i), &t);
    finish(v, &t);
}

// Who does the last part of some rows and heads folds them.
static void attend_piece(void *context, size_t piece, unsigned thread) {
    const attend_job *job = context;
    size_t divisor = job->n_parts ? job->n_parts : 1, number = piece % divisor;
    size_t index = piece / divisor, tile = index % job->n_tiles, heads = index / job->n_tiles;
    size_t begin = tile * job->n_rows;
    size_t end = (size_t)rill__least(begin + job->n_rows, job->a->n_rows);
    for (size_t r = begin, n; r < end; r += n) {
        rill__view v = view_of(job, heads, r, end - r, thread);
        n = v.n_rows;
        if (job->n_parts)
            attend_one_part(job, &v, number);
        else
            attend_whole(&v);
    }
    if (!job->n_parts || atomic_fetch_add(&job->done[index], 1) + 1 < job->n_parts) return;
    for (size_t r = begin, n; r < end; r += n) {
        rill__view v = view_of(job, heads, r, end - r, thread);
        n = v.n_rows;
        fold_all(job, &v);
    }
}

// Few rows are cut into parts, so that all threads have work, if there is room to keep the parts.
static void cut_parts(attend_job *job) {
    const rill__attention *a = job->a;
    rill__cpu *cpu = job->cpu;
    if (rill__pool_threads(cpu->pool) == 1 || a->n_rows > RILL_CPU_CUT_ROWS) return;
    size_t most = 0;
    for (size_t r = 0, n; r < a->n_rows; r += n) {
        size_t end = (size_t)rill__least((r / job->n_rows + 1) * job->n_rows, a->n_rows);
        rill__view v = view_of(job, 0, r, end - r, 0);
        n = v.n_rows;
        rill__part p = before_first_part(&v);
        size_t count = 0;
        while (next_part(&v, &p)) count++;
        most = count > most ? count : most;
    }
    size_t n_done = job->n_tiles * a->n_kv_heads * job->n_slices;
    size_t all = most * a->n_rows * a->n_heads;
    size_t sums = (all * a->head_dim * cpu->kernels.sum_bytes + 63) & ~(size_t)63;
    if (most < 2 || sums + all * sizeof *job->states + n_done * sizeof *job->done > cpu->kept_bytes)
        return;
    job->n_parts = most;
    job->sums = cpu->kept;
    job->states = (rill__softmax *)(void *)(cpu->kept + sums);
    job->done = (atomic_uint *)(void *)(job->states + all);
    for (size_t i = 0; i < n_done; i++) atomic_init(&job->done[i], 0);
}

static size_t longest_run(const rill__attention *a) {
    size_t most = 0;
    for (size_t i = 0; i < a->n_runs; i++)
        most = a->runs[i].n_rows > most ? a->runs[i].n_rows : most;
    return most;
}

void rill__cpu_attend(rill__backend *be, const rill__attention *a) {
    rill__cpu *cpu = rill__cpu_of(be);
    pthread_mutex_lock(&cpu->lock);
    size_t width = ((size_t)a->head_dim + 31) / 32 * 32;
    size_t tile = (size_t)rill__least(RILL_CPU_QUERIES, cpu->scratch->tile_floats / width);
    attend_job job = {.cpu = cpu, .a = a, .group = a->n_heads / a->n_kv_heads};
    job.n_heads = (uint32_t)rill__least(job.group, tile);
    job.n_slices = (job.group + job.n_heads - 1) / job.n_heads;
    job.n_rows = (size_t)rill__least(tile / job.n_heads, longest_run(a));
    job.n_tiles = (a->n_rows + job.n_rows - 1) / job.n_rows;
    cut_parts(&job);
    size_t n_pieces = job.n_tiles * a->n_kv_heads * job.n_slices * (job.n_parts ? job.n_parts : 1);
    rill__pool_run(cpu->pool, n_pieces, attend_piece, &job);
    pthread_mutex_unlock(&cpu->lock);
}
