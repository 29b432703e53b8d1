// SPDX-License-Identifier: MIT
// The backend's table: everything the forward pass asks of a processor.
//
// The engine writes the forward pass once, against this table; a backend (cpu/, cuda/) fills
// it. Operations are coarse: each works on all rows of a batch, and a backend fuses and tiles
// inside. Memory is opaque: the engine never looks into a buffer, it reads and writes through the
// table.
//
// Operations return nothing: they are queued, and a failure is kept until `synchronize`, which
// returns the first one. (The CPU backend computes at once and cannot fail.)
//
// Determinism. A row of a result is bit for bit the same whatever other rows are computed with it,
// whatever the number of threads, and wherever in the ring a key happens to lie: reductions run
// over keys in the order of tokens, cut by the tokens' numbers if at all, and over a row's columns
// in an order fixed by the tier.
//
// All activations are float32, row-major, rows without gaps: [n_rows, width].
#ifndef RILL_BACKEND_H
#define RILL_BACKEND_H

#include "base/base.h"
#include "base/kinds.h"
#include "format/tensor.h"

typedef struct rill__backend rill__backend;
typedef struct rill__buffer rill__buffer;  // memory of the backend
typedef struct rill__weight
    rill__weight;  // a matrix or vector of a model, in the backend's own form

// One token of a batch: what it sees (docs/stream.md).
typedef struct rill__row {
    uint32_t n_sinks;       // visible sinks: min(n, token + 1)
    uint64_t token;         // t: index of this token in its stream, 0 is the first
    uint64_t first_recent;  // visible recent tokens are [first_recent, token]; > token if none is
    uint64_t stream_pos;    // position in the stream frame: start + t
    uint64_t sink_pos;      // p(t), tokens visible - 1: the distance to sink j is p(t) - j
} rill__row;

// The cache of one stream in one layer. Row r of head h begins at byte
// (h * (n_sinks + ring_rows) + r) * row_bytes of a buffer; rill__kv_row says in which row a token
// lives, rotated at its stream_pos. Rows are written once and never changed until the ring comes
// round.
typedef struct rill__kv {
    rill__buffer *keys;
    rill__buffer *values;
    rill_type key_type;    // f32, f16, bf16, q8_0 or q4_0 (a head's row is padded to whole blocks)
    rill_type value_type;  // the same
    size_t key_row_bytes;
    size_t value_row_bytes;
    uint32_t n_sinks;    // n
    uint32_t ring_rows;  // recent rows of this layer
    float sink_scale;    // sinks' logits are multiplied by it
    float sink_cap;      // sinks' greatest share of the mass, 1 for none
} rill__kv;

// The row of a token: sinks lie at their own number, later ones in the ring behind them. It depends
// on the token alone, so there is no table, and nothing moves.
static inline size_t rill__kv_row(const rill__kv *kv, uint64_t token) {
    if (token < kv->n_sinks) return (size_t)token;
    return kv->n_sinks + (size_t)((token - kv->n_sinks) % kv->ring_rows);
}

// Rotary tables: frequency i turns pair i by phase_step[i] / 2^64 turns a position, in wrapping
// integer arithmetic, so that no position is too far.
//
// xPos fades pair i by zeta_i^distance: the query's number of the pair is multiplied by
// zeta_i^(its position), the key's by zeta_i^-(its own). Both positions are counted from the middle
// of a block of `fade_block` tokens, the key's block, so that neither factor grows with the stream.
// A block is at least as long as what a row sees, so a row meets keys of at most two: its own and
// the one before. Sinks lie in the first.
typedef struct rill__rope {
    uint32_t n_pairs;            // rotated dimensions / 2; the rest of a head passes unchanged
    bool interleaved;            // pairs are (2i, 2i+1); otherwise (i, i + n_pairs)
    const uint64_t *phase_step;  // [n_pairs], host memory
    float magnitude;             // cosines and sines are multiplied by it (YaRN, longrope)
    const double *fade;          // [n_pairs] log zeta_i a position, host memory; NULL: not xPos
    uint64_t fade_block;
} rill__rope;

// Frames of a rotary table: what a row's cosines and sines are made for. Without xPos only the
// first two are there, and a key is rotated by the second.
enum {
    RILL_FRAME_SINK,      // queries that meet sinks
    RILL_FRAME_STREAM,    // queries that meet recent keys
    RILL_FRAME_PREVIOUS,  // xPos: queries that meet recent keys of the block before
    RILL_FRAME_KEY,       // xPos: keys
    RILL_FRAMES
};

// Frames of a table of this kind.
static inline uint32_t rill__rope_frames(const rill__rope *rope) {
    return rope->fade ? RILL_FRAMES : 2;
}

// Rows of a batch that belong to one stream. A batch's runs lie one behind another, in the order of
// its rows, and hold all of them.
typedef struct rill__run {
    size_t first_row;
    size_t n_rows;
    const rill__kv *kv;            // [layers] the stream's cache
    const rill__rope *rope;        // of the batch's runs all have as many frames and pairs
    const rill__rope *local_rope;  // the same of layers that have a RoPE of their own
} rill__run;

// The rope of a run's layers that have one of their own, or of the others.
static inline const rill__rope *rill__run_rope(const rill__run *run, bool local) {
    return local ? run->local_rope : run->rope;
}

// The run that a row is in: what a piece of work asks first. A batch may have a run for every row.
static inline const rill__run *rill__run_of(const rill__run *runs, size_t n_runs, size_t row) {
    size_t low = 0, high = n_runs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(runs[middle].first_row <= row ? &low : &high) = middle;
    }
    return &runs[low];
}

// How finely a product with quantised weights sees its rows (weights of floats see floats). Gate
// and up, half of a model's products, are coarse: numbers of one byte, at half the cost where bytes
// are multiplied. What a softmax weighs and what is added to x are fine, for most of the precision
// would be lost there; so is all of an expert, since a router answers small differences with
// another expert.
typedef enum rill__precision { RILL_PRECISION_COARSE, RILL_PRECISION_FINE } rill__precision;

// out[r, o] = sum_i in[r, i] * weight[o, i] + bias[o]
typedef struct rill__projection {
    const rill__weight *weight;  // [width of out, width of in]
    const rill__weight *bias;    // [width of out] or NULL
    rill__buffer *out;
} rill__projection;

// Projections with what stands before and behind them in a layer, which some backends compute in
// one go: norm, projections, activation, sum. What is not asked for is left out.
typedef struct rill__stage {
    const rill__buffer *in;
    size_t n_rows;
    size_t width;  // of in
    // in is normed into `normed` first, which projections then read. After the stage nobody may
    // read `normed`, nor any `out` but the last step's.
    rill__buffer *normed;  // NULL: no norm
    const rill__weight *norm_weight;
    const rill__weight *norm_bias;
    rill__norm_kind norm_kind;
    float norm_eps;
    const rill__projection *projections;
    size_t n_projections;
    rill__precision precision;
    bool activates;  // the first projection's out becomes act(it), times the second's if there is
                     // one
    rill__activation activation;
    float limit;
    rill__buffer *sum;  // the only projection's out is added to it; NULL: no sum
    size_t out_width;   // of the projections that are activated or added
    // What is activated is read by nobody but a product with this weight; NULL: anybody may.
    const rill__weight *reader;
} rill__stage;

// One call of `attend`: all rows of a batch in one layer.
typedef struct rill__attention {
    const rill__buffer *q;           // [n_rows, n_heads, head_dim], in the stream frame
    const rill__buffer *q_sink;      // the same queries in the sink frame
    const rill__buffer *q_previous;  // xPos: the same for the block before; else NULL
    rill__buffer *out;               // [n_rows, n_heads, head_dim]
    const rill__row *rows;           // [n_rows]
    const rill__run *runs;           // [n_runs]
    size_t n_rows;
    size_t n_runs;
    uint32_t layer;
    bool local;  // the layer has a RoPE of its own
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t window;  // trained window of this layer: keys at cache distance < window; 0 for none
    float scale;      // logits are scale * (q . k), 1 / sqrt(head_dim) as a rule
    bool softmax_off_by_one;          // the denominator has one more term, exp(0)
    const rill__weight *sink_logits;  // [n_heads]: one more term each, exp(it); NULL: none
    const float *alibi_slopes;        // [n_heads], host memory: a logit falls by slope * distance
    // [n_rows, n_heads, weights_stride] or NULL: what each visible key got, in the order of tokens,
    // sinks that the layer's own window hides as zeros; the rest of a row is not touched.
    rill__buffer *weights;
    size_t weights_stride;
    // For `attend_step` alone: what `rotate_store` is given.
    const rill__buffer *table;
    const rill__buffer *k;
    const rill__buffer *v;
} rill__attention;

// A mixture of experts: each row goes through the n_used experts with the greatest logits (of equal
// ones the first), and out is their results' sum, in the order of experts, weighted by the softmax
// of those logits. An expert is down(act(gate(x), up(x))).
typedef struct rill__experts {
    const rill__buffer *in;      // [n_rows, hidden]
    const rill__buffer *logits;  // [n_rows, n_experts] of the router
    rill__buffer *out;           // [n_rows, hidden]; may be `in`
    size_t n_rows;
    uint32_t n_experts;
    uint32_t n_used;
    uint32_t hidden;
    uint32_t ffn;
    rill__activation activation;
    float limit;
    // All experts' matrices one below the other, and their biases (NULL: none).
    const rill__weight *gate, *gate_bias;  // [n_experts * ffn, hidden]
    const rill__weight *up, *up_bias;
    const rill__weight *down, *down_bias;  // [n_experts * hidden, ffn]
    // Room for n_rows * n_used rows.
    rill__buffer *routes;    // RILL_ROUTE_BYTES each, and (n_experts + 1) * 4 bytes
    rill__buffer *gathered;  // [rows, hidden]
    rill__buffer *gates;     // [rows, ffn]
    rill__buffer *ups;       // the same
} rill__experts;

enum { RILL_ROUTE_BYTES = 16 };

// What is done to a token's logit before tokens are weighed: `bias` is added; a token that was said
// before is divided by `repetition` (multiplied, where it is not positive), then charged.
typedef struct rill__adjustment {
    rill_token token;
    float bias;
    float repetition;
    float charge;
} rill__adjustment;

// How a row's logits become a token, as the stream's sampler would do it (stream/sampler.h).
typedef struct rill__choice {
    float temperature;  // 0: the likeliest, of equals the smaller id
    float top_p;
    float min_p;
    uint32_t top_k;                       // 0: all
    double draw;                          // the number drawn, in [0, 1)
    const rill__adjustment *adjustments;  // biases first; no token twice among either
    uint32_t n_biases;
    uint32_t n_adjustments;
    rill__buffer *kept;  // [vocab_size] where the row's logits stay for who asks later
    rill_token *chosen;  // after `synchronize`; -1: no logit is a finite number
} rill__choice;

// One pass over a batch: what its operations will be given. Host memory, which stays as it is until
// the pass has ended.
typedef struct rill__pass {
    const rill_token *tokens;  // [n_rows]
    const rill__row *rows;     // [n_rows]
    const rill__run *runs;     // [n_runs]
    const uint32_t *wanted;    // [n_wanted] rows whose logits are wanted
    // [n_wanted], NULL for a row from which no token is chosen; NULL: for all of them.
    const rill__choice *const *choices;
    size_t n_rows;
    size_t n_runs;
    size_t n_wanted;
    uint32_t n_layers;
    bool observed;  // somebody waits for results amidst the pass
    // Passes of one room have the same buffers and weights: those of the same shape differ in
    // nothing but what is above.
    const void *room;
} rill__pass;

// What a matrix is for.
typedef enum rill__weight_use {
    RILL_USE_ROWS,      // `embed` alone reads it, a few rows at a time
    RILL_USE_PRODUCTS,  // it is multiplied
    RILL_USE_BOTH,
    RILL_USE_ROUTER,  // it is multiplied, and the least difference may choose another expert
} rill__weight_use;

typedef struct rill__backend_ops {
    const char *name;  // "cpu"

    void (*close)(rill__backend *be);
    // For people: "cpu AMD EPYC, avx512, 2 threads". Lives as long as the backend.
    const char *(*describe)(const rill__backend *be);
    const char *(*tier)(const rill__backend *be);
    unsigned (*threads)(const rill__backend *be);
    // How `project` multiplies weights of that type.
    rill_product (*product)(const rill__backend *be, rill_type weights);
    rill_status (*measure)(rill__backend *be, rill_roof *out, rill_error *err);
    // Bytes of a processor that has memory of its own, and those that nobody has taken; false where
    // it cannot be told. NULL: its memory is the machine's.
    bool (*memory)(rill__backend *be, uint64_t *total, uint64_t *available);

    // Memory. Buffers are zeroed, 64-byte aligned. free takes NULL. A read or write that failed is
    // told by the next `synchronize`.
    rill_status (*buffer_new)(rill__backend *be, size_t bytes, rill__buffer **out, rill_error *err);
    void (*buffer_free)(rill__backend *be, rill__buffer *buffer);
    // Takes half as many bytes more for a buffer of floats that products read, where they read
    // numbers of 16 bits, so that no pass has to. NULL: they do not.
    rill_status (*buffer_halves)(rill__backend *be, rill__buffer *buffer, rill_error *err);
    void (*buffer_write)(rill__backend *be, rill__buffer *buffer, size_t offset, const void *src,
                         size_t bytes);
    void (*buffer_read)(rill__backend *be, const rill__buffer *buffer, size_t offset, void *dst,
                        size_t bytes);
    // Takes what operations need beside their buffers (attention scores, quantised activations), so
    // that none allocates: batches of max_rows rows that see at most max_visible tokens, no
    // activation wider than max_width. Called at each stream's opening; keeps the greatest.
    rill_status (*reserve)(rill__backend *be, size_t max_rows, size_t max_visible, size_t max_width,
                           rill_error *err);
    // Rows whose logits are computed at once, at most: a batch of more takes several turns.
    size_t logits_rows;
    // Rows that a pass gains from: more of them take as long each.
    uint32_t chunk_rows;
    // Announces a pass to a backend that keeps what its operations are given where it computes: its
    // operations are called between begin and end, and the tokens, rows, runs and wanted rows that
    // they are given are the pass's own. If begin returns true, the backend has queued all that
    // comes before the first `synchronize`, as in a pass of the same shape before, or has failed,
    // and none of it is called. Both are NULL where nobody needs to know.
    bool (*begin)(rill__backend *be, const rill__pass *pass);
    void (*end)(rill__backend *be);
    // Waits for what is queued; returns the first failure since the last call.
    rill_status (*synchronize)(rill__backend *be, rill_error *err);

    // Takes a matrix [rows, columns] or a vector [columns] of any type that the format layer reads.
    // May keep pointing into tensor->data, which must outlive the weight, or keep a copy in the
    // order that its products like. RILL_EUNSUPPORTED by name, RILL_ENOMEM.
    rill_status (*weight_new)(rill__backend *be, const rill__tensor *tensor, rill__weight_use use,
                              rill__weight **out, rill_error *err);
    void (*weight_free)(rill__backend *be, rill__weight *weight);

    // out[r] = scale * row tokens[r] of weight
    void (*embed)(rill__backend *be, rill__buffer *out, const rill__weight *weight,
                  const rill_token *tokens, size_t n_rows, float scale);
    // RMS: out = x / sqrt(mean(x^2) + eps) * weight. Layer: (x - mean) / sqrt(var + eps) * weight +
    // bias (NULL allowed). in == out allowed. Per-head norms pass n_rows * heads and head_dim.
    void (*norm)(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                 const rill__weight *weight, const rill__weight *bias, rill__norm_kind kind,
                 float eps, size_t n_rows, size_t width);
    // Several projections of the same rows at once (query, key and value; gate and up).
    void (*project)(rill__backend *be, const rill__buffer *in, size_t n_rows,
                    const rill__projection *projections, size_t n_projections,
                    rill__precision precision);
    // Does a stage in fewer steps; false if it knows no better way than step by step. NULL: never.
    bool (*stage)(rill__backend *be, const rill__stage *stage);
    // x = x within +-limit
    void (*clamp)(rill__backend *be, rill__buffer *x, float limit, size_t n_rows, size_t width);
    // x = cap * tanh(x / cap)
    void (*cap)(rill__backend *be, rill__buffer *x, float cap, size_t n_rows, size_t width);
    // Cosines and sines that `rotate_store` needs for these rows, magnitude included: out is
    // [n_rows, rill__rope_frames, n_pairs, 2 (cos, sin)] float32. Of the runs only the rope counts,
    // `local` or not.
    // The sink frame begins where the stream does, so its position is stream_pos - token +
    // sink_pos, and a key that becomes a sink stays as it is. The angle is reduced in 64-bit
    // integers and evaluated in double.
    void (*rotary_table)(rill__backend *be, rill__buffer *out, const rill__row *rows, size_t n_rows,
                         const rill__run *runs, size_t n_runs, bool local);
    // Rotates q ([n_rows, n_heads, head_dim]) into the stream frame in place, into q_sink for the
    // sink frame, and into q_previous (NULL without xPos) for the block before; stores k ([n_rows,
    // n_kv_heads, head_dim]), rotated into the stream frame, and v in the layer's cache of the
    // row's run, each token in its own row (rill__kv_row). Nobody reads k afterwards.
    void (*rotate_store)(rill__backend *be, const rill__buffer *table, rill__buffer *q,
                         rill__buffer *q_sink, rill__buffer *q_previous, rill__buffer *k,
                         const rill__buffer *v, const rill__row *rows, size_t n_rows,
                         const rill__run *runs, size_t n_runs, uint32_t layer, bool local,
                         uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim);
    // Does what `rotate_store` and `attend` do, in fewer steps; false if it knows no better way,
    // and has done nothing. Afterwards q, q_sink and k are anything. NULL: never.
    bool (*attend_step)(rill__backend *be, const rill__attention *a);
    // softmax over the visible keys (sinks first, then recent tokens in order), times values. A
    // logit is scale * (q . k) - slope * distance, a sink's sink_scale times that; if their share
    // of the mass (all terms of the denominator counted) exceeds sink_cap and anything else has
    // mass, their weights are scaled down so that the share is sink_cap.
    void (*attend)(rill__backend *be, const rill__attention *a);
    // out = act(gate) * up, or act(gate) if up is NULL. out may be gate. `limit` is the clamped
    // activation's.
    void (*activate)(rill__backend *be, rill__buffer *out, const rill__buffer *gate,
                     const rill__buffer *up, rill__activation act, float limit, size_t n_rows,
                     size_t width);
    void (*experts)(rill__backend *be, const rill__experts *e);
    // x += y
    void (*add)(rill__backend *be, rill__buffer *x, const rill__buffer *y, size_t n_rows,
                size_t width);
    // out[i] = in[rows[i]]: the rows whose logits somebody wants.
    void (*select_rows)(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                        const uint32_t *rows, size_t n_rows, size_t width);
    // Chooses a token from each row of logits [n_rows, vocab_size] that has a choice, and keeps the
    // row, which is of no use any more then. `choices` are the pass's own. `synchronize` leaves the
    // tokens where they say. NULL: logits are read, and the host chooses.
    void (*choose)(rill__backend *be, rill__buffer *logits, const rill__choice *const *choices,
                   size_t n_rows, size_t vocab_size);
} rill__backend_ops;

// Every backend begins with this.
struct rill__backend {
    const rill__backend_ops *ops;
};

// A stage, as the backend does it best.
static inline void rill__run_stage(rill__backend *be, const rill__stage *s) {
    const rill__backend_ops *ops = be->ops;
    if (ops->stage && ops->stage(be, s)) return;
    const rill__projection *p = s->projections;
    if (s->normed)
        ops->norm(be, s->normed, s->in, s->norm_weight, s->norm_bias, s->norm_kind, s->norm_eps,
                  s->n_rows, s->width);
    ops->project(be, s->normed ? s->normed : s->in, s->n_rows, p, s->n_projections, s->precision);
    if (s->activates)
        ops->activate(be, p->out, p->out, s->n_projections > 1 ? p[1].out : NULL, s->activation,
                      s->limit, s->n_rows, s->out_width);
    if (s->sum) ops->add(be, s->sum, p->out, s->n_rows, s->out_width);
}

// The CPU. options as in rill_device_open.
RILL_NODISCARD rill_status rill__cpu_backend_open(const rill_device_options *options,
                                                  rill__backend **out, rill_error *err);

#endif
