// SPDX-License-Identifier: MIT
// Attention over the sinks and the recent keys, in the order of tokens: scores, softmax, values.
//
// A piece of work is one row and one key-value head, with up to RILL_CPU_GROUP of the query heads
// that share it, so that a key is read and decoded once for all of them.
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

typedef struct attention_job {
    rill__cpu *cpu;
    const rill__attention *a;
    uint32_t group;    // query heads a key-value head
    uint32_t n_parts;  // of a group
} attention_job;

// One piece: some heads of a row, and what they see.
typedef struct head_view {
    const rill__attention *a;
    const rill__run *run;
    const rill__kv *kv;  // the run's
    const rill__row *row;
    size_t row_index;
    uint32_t kv_head;
    uint32_t first_head;
    uint32_t n_heads;
    uint64_t first_sink;  // visible sinks are [first_sink, row->n_sinks)
    uint64_t first_recent;
    size_t n_sinks;
    size_t n_recent;
    size_t stride;  // of scores, from head to head
} head_view;

static head_view view_of(const attention_job *job, size_t piece) {
    const rill__attention *a = job->a;
    size_t part = piece % job->n_parts, rest = piece / job->n_parts;
    head_view v = {.a = a, .row_index = rest / a->n_kv_heads, .stride = job->cpu->visible};
    v.row = &a->rows[v.row_index];
    v.run = rill__run_of(a->runs, a->n_runs, v.row_index);
    v.kv = v.run->kv;
    v.kv_head = (uint32_t)(rest % a->n_kv_heads);
    v.first_head = v.kv_head * job->group + (uint32_t)part * RILL_CPU_GROUP;
    uint32_t left = job->group - (uint32_t)part * RILL_CPU_GROUP;
    v.n_heads = left < RILL_CPU_GROUP ? left : RILL_CPU_GROUP;
    v.first_recent = v.row->first_recent;
    if (a->window) {  // keys at cache distance < window
        if (v.row->sink_pos >= a->window) v.first_sink = v.row->sink_pos - a->window + 1;
        if (v.row->token >= a->window && v.first_recent < v.row->token - a->window + 1)
            v.first_recent = v.row->token - a->window + 1;
    }
    v.n_sinks = v.first_sink < v.row->n_sinks ? v.row->n_sinks - v.first_sink : 0;
    v.n_recent = v.first_recent <= v.row->token ? v.row->token - v.first_recent + 1 : 0;
    return v;
}

// Some rows of the cache, for consecutive tokens, as a kernel can read them.
typedef struct cache_run {
    const uint8_t *data;
    size_t stride;   // bytes
    rill_type type;  // of the rows: the cache's own, or f32 when they were decoded
    size_t count;
} cache_run;

// Floats of a decoded row: a head is padded to whole blocks.
static size_t decoded_width(rill_type type, size_t dim) {
    size_t block = rill__type_traits_get(type)->block;
    return (dim + block - 1) / block * block;
}

// The longest run of at most `count` tokens from `first` on that lie one behind another in the
// cache; decoded into `rows`, RILL_CPU_TILE at a time, if the kernels cannot read the type in
// place.
static cache_run run_of(const head_view *v, const rill__cpu_kernels *kernels, bool values,
                        uint64_t first, size_t count, float *rows) {
    const rill__kv *kv = v->kv;
    rill_type type = values ? kv->value_type : kv->key_type;
    size_t bytes = values ? kv->value_row_bytes : kv->key_row_bytes;
    size_t n_rows = (size_t)kv->n_sinks + kv->ring_rows;
    size_t slot = rill__kv_row(kv, first);
    size_t end = first < kv->n_sinks ? kv->n_sinks : n_rows;
    cache_run run = {
        .data = (values ? kv->values : kv->keys)->data + (v->kv_head * n_rows + slot) * bytes,
        .stride = bytes,
        .type = type,
        .count = count < end - slot ? count : end - slot,
    };
    if (values ? kernels->mix[type] != NULL : kernels->product[type] != NULL) return run;
    size_t width = decoded_width(type, v->a->head_dim);
    run.count = run.count < RILL_CPU_TILE ? run.count : RILL_CPU_TILE;
    for (size_t i = 0; i < run.count; i++)
        kernels->decode[type](run.data + i * bytes, rows + i * width, width);
    run.data = (const uint8_t *)rows;
    run.stride = width * sizeof(float);
    run.type = RILL_TYPE_F32;
    return run;
}

// scores[h * stride + i] = q_h . k_i for `count` tokens from `first` on.
static void score(const head_view *v, const rill__cpu_kernels *kernels, const rill__buffer *q,
                  uint64_t first, size_t count, float *rows, float *scores) {
    size_t dim = v->a->head_dim, queries = (size_t)v->a->n_heads * dim;
    const float *query = rill__cpu_floats(q) + v->row_index * queries + (size_t)v->first_head * dim;
    for (size_t done = 0; done < count;) {
        cache_run run = run_of(v, kernels, false, first + done, count - done, rows);
        const rill__tile tile = {
            .w = run.data,
            .w_stride = run.stride,
            .n_out = run.count,
            .x = (const uint8_t *)query,
            .x_stride = dim * sizeof(float),
            .n_rows = v->n_heads,
            .k = dim,
            .out = scores + done,
            .out_stride = v->stride,
        };
        kernels->product[run.type](&tile);
        done += run.count;
    }
}

// Products become logits: scale, ALiBi's slope times the distance (of the first key; the next is
// one nearer), and a factor on both.
static void finish_scores(const head_view *v, uint64_t distance, size_t count, float factor,
                          float *scores) {
    const float *slopes = v->a->alibi_slopes;
    for (size_t h = 0; h < v->n_heads; h++) {
        float *row = scores + h * v->stride;
        if (!slopes) {
            for (size_t i = 0; i < count; i++) row[i] *= v->a->scale * factor;
            continue;
        }
        float slope = slopes[v->first_head + h];
        for (size_t i = 0; i < count; i++)
            row[i] = factor * (row[i] * v->a->scale - slope * (float)(distance - i));
    }
}

static void score_sinks(const head_view *v, const rill__cpu_kernels *kernels, float *rows,
                        float *scores) {
    score(v, kernels, v->a->q_sink, v->first_sink, v->n_sinks, rows, scores);
    finish_scores(v, v->row->sink_pos - v->first_sink, v->n_sinks, v->kv->sink_scale, scores);
}

static void score_recent(const head_view *v, const rill__cpu_kernels *kernels, float *rows,
                         float *scores) {
    size_t before = 0;  // keys of the block before
    if (v->a->q_previous) {
        uint64_t length = v->run->rope->fade_block;
        uint64_t block = v->row->token / length * length;
        if (v->first_recent < block) before = (size_t)(block - v->first_recent);
        score(v, kernels, v->a->q_previous, v->first_recent, before, rows, scores);
    }
    score(v, kernels, v->a->q, v->first_recent + before, v->n_recent - before, rows,
          scores + before);
    finish_scores(v, v->row->token - v->first_recent, v->n_recent, 1, scores);
}

// Turns one head's scores into weights; returns 1 / the sum of all terms of the denominator.
static float normalise(const head_view *v, const rill__cpu_kernels *kernels, uint32_t head,
                       float *scores) {
    size_t n = v->n_sinks + v->n_recent;
    const rill__weight *learned = v->a->sink_logits;
    float greatest = v->a->softmax_off_by_one ? 0.0f : -INFINITY;
    if (learned && learned->vector[head] > greatest) greatest = learned->vector[head];
    for (size_t i = 0; i < n; i++) greatest = scores[i] > greatest ? scores[i] : greatest;
    double rest = v->a->softmax_off_by_one ? exp(-(double)greatest) : 0;
    if (learned) rest += exp((double)learned->vector[head] - greatest);
    double sinks = kernels->exp_sum(scores, v->n_sinks, greatest);
    rest += kernels->exp_sum(scores + v->n_sinks, v->n_recent, greatest);
    double cap = v->kv->sink_cap;
    if (sinks > cap * (sinks + rest) && rest > 0) {
        double factor = cap * rest / ((1 - cap) * sinks);
        for (size_t i = 0; i < v->n_sinks; i++) scores[i] = (float)(scores[i] * factor);
        sinks *= factor;
    }
    return (float)(1 / (sinks + rest));
}

static void mix(const head_view *v, const rill__cpu_kernels *kernels, uint64_t first, size_t count,
                float *rows, const float *weights, double *sums) {
    for (size_t done = 0; done < count;) {
        cache_run run = run_of(v, kernels, true, first + done, count - done, rows);
        const rill__values values = {
            .v = run.data,
            .v_stride = run.stride,
            .n_keys = run.count,
            .weights = weights + done,
            .weight_stride = v->stride,
            .n_heads = v->n_heads,
            .dim = v->a->head_dim,
        };
        kernels->mix[run.type](sums, &values);
        done += run.count;
    }
}

// For who looks at the weights: sinks and recent tokens in the order of the row's visible ones,
// zeros for those that the layer's own window hides.
static void copy_weights(const head_view *v, const float *scores, const float *inverse) {
    const rill__attention *a = v->a;
    size_t n = v->row->n_sinks;
    if (v->row->first_recent <= v->row->token) n += v->row->token - v->row->first_recent + 1;
    for (uint32_t h = 0; h < v->n_heads; h++) {
        size_t head = v->row_index * a->n_heads + v->first_head + h;
        float *out = rill__cpu_floats(a->weights) + head * a->weights_stride;
        memset(out, 0, n * sizeof *out);
        const float *from = scores + h * v->stride;
        for (size_t i = 0; i < v->n_sinks; i++) out[v->first_sink + i] = from[i] * inverse[h];
        from += v->n_sinks;
        for (size_t i = 0; i < v->n_recent; i++) out[n - v->n_recent + i] = from[i] * inverse[h];
    }
}

static void attend_piece(void *context, size_t piece, unsigned thread) {
    const attention_job *job = context;
    const rill__cpu_kernels *kernels = &job->cpu->kernels;
    rill__cpu_scratch *scratch = &job->cpu->scratch[thread];
    const head_view v = view_of(job, piece);
    const rill__attention *a = job->a;
    size_t dim = a->head_dim;

    float *recent = scratch->scores + v.n_sinks;
    score_sinks(&v, kernels, scratch->rows, scratch->scores);
    score_recent(&v, kernels, scratch->rows, recent);
    float inverse[RILL_CPU_GROUP];
    for (uint32_t h = 0; h < v.n_heads; h++)
        inverse[h] = normalise(&v, kernels, v.first_head + h, scratch->scores + h * v.stride);
    if (a->weights) copy_weights(&v, scratch->scores, inverse);

    memset(scratch->sums, 0, v.n_heads * dim * sizeof *scratch->sums);
    mix(&v, kernels, v.first_sink, v.n_sinks, scratch->rows, scratch->scores, scratch->sums);
    mix(&v, kernels, v.first_recent, v.n_recent, scratch->rows, recent, scratch->sums);
    float *out = rill__cpu_floats(a->out) + v.row_index * a->n_heads * dim + v.first_head * dim;
    for (size_t h = 0; h < v.n_heads; h++)
        kernels->mix_end(scratch->sums, h, inverse[h], out + h * dim, dim);
}

void rill__cpu_attend(rill__backend *be, const rill__attention *a) {
    rill__cpu *cpu = rill__cpu_of(be);
    attention_job job = {.cpu = cpu, .a = a, .group = a->n_heads / a->n_kv_heads};
    job.n_parts = (job.group + RILL_CPU_GROUP - 1) / RILL_CPU_GROUP;
    pthread_mutex_lock(&cpu->lock);
    rill__pool_run(cpu->pool, a->n_rows * a->n_kv_heads * job.n_parts, attend_piece, &job);
    pthread_mutex_unlock(&cpu->lock);
}
