// SPDX-License-Identifier: MIT
// Queries meet the keys and values of a part, block by block: logits, weights, sums of values.
#include "backend/cpu/attend.h"

#include <math.h>
#include <string.h>

// Few queries take the keys of a block some at a time, so that those and their values stay in the
// nearest cache; many go through a block while it stays there.
enum { FEW_QUERIES = 16, FEW_KEYS = 16 };

// Positions of a block.
typedef struct range {
    uint8_t first, end;
} range;

// The rows [from, to) of the view that see anything of a block, and what.
typedef struct block {
    uint64_t token;  // at position 0
    size_t from, to;
    range all;
    size_t slot;                   // of the cache, where all.first lies
    range seen[RILL_CPU_QUERIES];  // by row
    uint8_t step;                  // positions that are loaded at once
} block;

static void scale_quad(float *restrict to, const float *restrict from, float factor) {
    for (int i = 0; i < 4; i++) to[i] = from[i] * factor;
}

// The queries in the part's frame, times what makes products logits.
static void load_queries(const rill__view *v, const rill__part *p) {
    const rill__attention *a = v->a;
    uint64_t length = rill__run_rope(v->run, a->local)->fade_block;  // of xPos
    bool previous = a->q_previous && p->tokens.begin < v->rows->token / length * length;
    const float *from = rill__cpu_floats(p->sinks ? a->q_sink : previous ? a->q_previous : a->q);
    float factor = p->sinks ? a->scale * v->kv->sink_scale : a->scale;
    size_t dim = a->head_dim, width = (dim + 3) / 4 * 4;
    float *to = v->scratch->queries;
    for (size_t r = 0; r < v->n_rows; r++) {
        const float *row = from + ((v->first_row + r) * a->n_heads + v->first_head) * dim;
        for (size_t h = 0; h < v->n_heads; h++, row += dim, to += width) {
            size_t c = 0;
            for (; c + 4 <= dim; c += 4) scale_quad(to + c, row + c, factor);
            for (; c < width; c++) to[c] = c < dim ? row[c] * factor : 0;
        }
    }
}

// The cache's row of a position, which those of the next positions follow as far as *count then
// says.
static size_t slot_of(const rill__view *v, const block *b, size_t position, size_t *count) {
    const rill__kv *kv = v->kv;
    size_t slot = b->slot + (position - b->all.first), end = (size_t)kv->n_sinks + kv->ring_rows;
    while (slot >= end) slot -= kv->ring_rows;
    *count = (size_t)rill__least(*count, end - slot);
    return v->kv_head * end + slot;
}

// Half of the memory that n positions take: the cache's rows follow one another but where the ring
// ends, which costs a wait.
static rill__ahead half_of(const rill__view *v, const block *b, bool values, size_t position,
                           size_t n, bool second) {
    const rill__kv *kv = v->kv;
    size_t bytes = values ? kv->value_row_bytes : kv->key_row_bytes, half = n * bytes / 2;
    const uint8_t *at = (values ? kv->values : kv->keys)->data;
    at += slot_of(v, b, position, &n) * bytes;
    return (rill__ahead){second ? at + half : at, half};
}

static void load_keys(const rill__view *v, const block *b, range some) {
    const rill__kv *kv = v->kv;
    const uint8_t *rows[RILL_CPU_KEYS];
    for (size_t i = some.first, n; i < some.end; i += n) {
        n = some.end - i;
        const uint8_t *row = kv->keys->data + slot_of(v, b, i, &n) * kv->key_row_bytes;
        for (size_t j = 0; j < n; j++) rows[i + j] = row + j * kv->key_row_bytes;
    }
    size_t n = some.end - some.first;
    const rill__keys keys = {.type = kv->key_type,
                             .rows = rows,
                             .first = some.first,
                             .end = some.end,
                             .dim = v->a->head_dim,
                             .out = v->scratch->keys,
                             .ahead = half_of(v, b, true, some.first, n, false)};
    v->kernels->pack_keys(&keys);
}

// Floats of a decoded row: a head is padded to whole blocks of its type.
static size_t value_width(const rill__view *v) {
    size_t unit = rill__type_traits_get(v->kv->value_type)->block;
    return (v->a->head_dim + unit - 1) / unit * unit;
}

// Values at some positions, and a look at the keys of the block behind.
static void load_values(const rill__view *v, const block *b, range some) {
    const rill__kv *kv = v->kv;
    size_t width = value_width(v), all = some.end - some.first;
    rill__ahead ahead = half_of(v, b, false, some.first + RILL_CPU_KEYS, all, false);
    size_t share = ahead.bytes / all + 1;
    for (size_t i = 0, n; i < all; i += n) {
        n = (size_t)rill__least(all - i, 4);
        const uint8_t *row =
            kv->values->data + slot_of(v, b, some.first + i, &n) * kv->value_row_bytes;
        v->kernels->decode[kv->value_type](row, v->scratch->values + i * width, n * width);
        for (size_t at = i * share; at < (i + n) * share; at += 64)
            __builtin_prefetch(ahead.at + at, 0, 2);
    }
}

// ALiBi: a logit falls by the slope times the distance.
static void lower_logits(const rill__view *v, const rill__part *p, const block *b, size_t row,
                         float *scores) {
    const rill__row *r = &v->rows[row];
    float farthest = (float)(int64_t)((p->sinks ? r->sink_pos : r->token) - b->token);
    for (size_t h = 0; h < v->n_heads; h++, scores += RILL_CPU_KEYS) {
        float slope = v->a->alibi_slopes[v->first_head + h];
        if (p->sinks) slope *= v->kv->sink_scale;
        for (size_t i = b->seen[row].first; i < b->seen[row].end; i++)
            scores[i] -= slope * (farthest - (float)i);
    }
}

static void keep_logits(const rill__view *v, const rill__part *p, const block *b, size_t row,
                        const float *scores) {
    const rill__row *r = &v->rows[row];
    range seen = b->seen[row];
    uint64_t at = b->token + seen.first;
    if (!p->sinks) at = r->n_sinks + (at - r->first_recent);
    for (size_t h = 0; h < v->n_heads; h++, scores += RILL_CPU_KEYS)
        memcpy(rill__view_weights(v, row, h) + at, scores + seen.first,
               (size_t)(seen.end - seen.first) * sizeof *scores);
}

// Rows from `row` on that see the same of a block.
static size_t alike(const block *b, size_t row) {
    size_t n = 1;
    while (row + n < b->to && b->seen[row + n].first == b->seen[row].first &&
           b->seen[row + n].end == b->seen[row].end)
        n++;
    return n;
}

static range next_positions(const block *b, uint8_t first) {
    size_t end = ((size_t)first / b->step + 1) * b->step;
    return (range){first, (uint8_t)rill__least(end, b->all.end)};
}

// Logits of the block, and from them weights: scores, states and keep by query.
static void weigh_block(const rill__view *v, const rill__part *p, const block *b,
                        rill__softmax *states, float *keep) {
    size_t heads = v->n_heads, dim = v->a->head_dim;
    float *scores = v->scratch->scores;
    for (range some = {b->all.first, b->all.first}; some.end < b->all.end;) {
        some = next_positions(b, some.end);
        load_keys(v, b, some);
        size_t n = some.end - some.first;
        const rill__scores products = {.q = v->scratch->queries +
                                            b->from * heads * ((dim + 3) / 4 * 4),
                                       .n_queries = (b->to - b->from) * heads,
                                       .keys = v->scratch->keys,
                                       .first = some.first,
                                       .end = some.end,
                                       .dim = dim,
                                       .out = scores + b->from * heads * RILL_CPU_KEYS,
                                       .ahead = half_of(v, b, true, some.first, n, true)};
        v->kernels->score(&products);
    }
    for (size_t r = b->from, n; r < b->to; r += n) {
        n = alike(b, r);
        for (size_t i = r; i < r + n; i++) {
            float *of_row = scores + i * heads * RILL_CPU_KEYS;
            if (v->a->alibi_slopes) lower_logits(v, p, b, i, of_row);
            if (v->a->weights) keep_logits(v, p, b, i, of_row);
        }
        if (b->seen[r].first < b->seen[r].end)
            v->kernels->soften(scores + r * heads * RILL_CPU_KEYS, n * heads, b->seen[r].first,
                               b->seen[r].end, states + r * heads, keep + r * heads);
    }
}

// Values of the block go into the sums.
static void mix_block(const rill__view *v, const block *b, uint8_t *sums, float *keep) {
    size_t heads = v->n_heads;
    for (range some = {b->all.first, b->all.first}; some.end < b->all.end;) {
        some = next_positions(b, some.end);
        load_values(v, b, some);
        rill__ahead ahead =
            half_of(v, b, false, some.first + RILL_CPU_KEYS, some.end - some.first, true);
        for (size_t r = b->from, n; r < b->to; r += n) {
            n = alike(b, r);
            range seen = b->seen[r];
            if (seen.first < some.first) seen.first = some.first;
            if (seen.end > some.end) seen.end = some.end;
            if (seen.first >= seen.end) continue;
            const rill__mixture mixture = {
                .values = v->scratch->values + (seen.first - some.first) * value_width(v),
                .stride = value_width(v),
                .first = seen.first,
                .end = seen.end,
                .weights = v->scratch->scores + r * heads * RILL_CPU_KEYS,
                .keep = keep + r * heads,
                .n_queries = n * heads,
                .dim = v->a->head_dim,
                .ahead = ahead};
            v->kernels->mix(rill__view_sums(v, sums, r * heads), &mixture);
            for (size_t i = r * heads; i < (r + n) * heads; i++) keep[i] = 1;
            ahead.bytes = 0;
        }
    }
}

// What each row sees of tokens [begin, end), which lie in one block.
static void look_at(const rill__view *v, const rill__span *seen_by, uint64_t begin, uint64_t end,
                    block *b) {
    b->token = begin / RILL_CPU_KEYS * RILL_CPU_KEYS;
    b->from = v->n_rows;
    b->to = 0;
    b->all = (range){RILL_CPU_KEYS, 0};
    for (size_t r = 0; r < v->n_rows; r++) {
        rill__span s = seen_by[r];
        if (s.begin < begin) s.begin = begin;
        s.end = rill__least(s.end, end);
        b->seen[r] = (range){0, 0};
        if (s.begin >= s.end) continue;
        range seen = {(uint8_t)(s.begin - b->token), (uint8_t)(s.end - b->token)};
        b->all.first = (uint8_t)rill__least(b->all.first, seen.first);
        if (seen.end > b->all.end) b->all.end = seen.end;
        b->from = rill__least(b->from, r);
        b->to = r + 1;
        b->seen[r] = seen;
    }
    b->slot = rill__kv_row(v->kv, b->token + b->all.first);
    b->step = (b->to - b->from) * v->n_heads <= FEW_QUERIES ? FEW_KEYS : RILL_CPU_KEYS;
}

void rill__cpu_attend_part(const rill__view *v, const rill__part *p, uint8_t *sums,
                           rill__softmax *states) {
    memset(sums, 0, rill__view_queries(v) * v->a->head_dim * v->kernels->sum_bytes);
    for (size_t i = 0; i < rill__view_queries(v); i++) states[i] = (rill__softmax){-INFINITY, 0};
    load_queries(v, p);
    rill__span seen[RILL_CPU_QUERIES];
    for (size_t r = 0; r < v->n_rows; r++) seen[r] = rill__seen_by_row(v->a, &v->rows[r], p->sinks);
    for (uint64_t begin = p->tokens.begin, end; begin < p->tokens.end; begin = end) {
        end = rill__least(p->tokens.end, (begin / RILL_CPU_KEYS + 1) * RILL_CPU_KEYS);
        block b;
        look_at(v, seen, begin, end, &b);
        float keep[RILL_CPU_QUERIES];
        if (b.from >= b.to) continue;
        weigh_block(v, p, &b, states, keep);
        mix_block(v, &b, sums, keep);
    }
}
