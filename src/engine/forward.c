// SPDX-License-Identifier: MIT
// The forward pass of a decoder-only transformer, as its description says, over a batch of tokens
// of any number of streams. Only rotation and attention ask whose they are.
//
// It reads as the model card does: embed; for each layer attention and feed-forward, each behind a
// norm and added to the residual; a last norm and the logits. Nothing here knows a family.
#include "engine/forward.h"

#include <string.h>

// Logits are computed for so many rows at a time: a whole chunk's would be large (a vocabulary of
// 150,000 takes 600 KB a row), and from 32 rows on a matrix product gains nothing more.
enum { LOGITS_ROWS = 32 };

static size_t logits_rows(size_t max_rows) {
    return max_rows < LOGITS_ROWS ? max_rows : LOGITS_ROWS;
}

// One line a buffer: where it goes, and its size.
typedef struct workspace_part {
    size_t field;  // offset in rill__workspace
    size_t rows;
    size_t width;  // floats a row
} workspace_part;

enum { N_PARTS = 18 };

// Parts that the model does not have get no rows.
static void workspace_parts(const rill__description *d, size_t max_rows,
                            workspace_part parts[N_PARTS]) {
    size_t queries = (size_t)d->n_heads * d->head_dim;
    size_t keys = (size_t)d->n_kv_heads * d->head_dim;
    size_t frames = d->position == RILL_POSITION_XPOS ? RILL_FRAMES : 2;
    size_t parallel = d->residual == RILL_RESIDUAL_SEQUENTIAL ? 0 : max_rows;
    size_t routed = max_rows * d->n_experts_used, ffn = d->n_experts ? routed : max_rows;
    const workspace_part all[N_PARTS] = {
        {offsetof(rill__workspace, x), max_rows, d->hidden_size},
        {offsetof(rill__workspace, h), max_rows, d->hidden_size},
        {offsetof(rill__workspace, h_ffn), parallel, d->hidden_size},
        {offsetof(rill__workspace, q), max_rows, queries},
        {offsetof(rill__workspace, q_sink), max_rows, queries},
        {offsetof(rill__workspace, q_previous), frames > 2 ? max_rows : 0, queries},
        {offsetof(rill__workspace, k), max_rows, keys},
        {offsetof(rill__workspace, v), max_rows, keys},
        {offsetof(rill__workspace, attended), max_rows, queries},
        {offsetof(rill__workspace, gate), ffn, d->ffn_size},
        {offsetof(rill__workspace, up), ffn, d->ffn_size},
        {offsetof(rill__workspace, router), d->n_experts ? max_rows : 0, d->n_experts},
        {offsetof(rill__workspace, gathered), routed, d->hidden_size},
        {offsetof(rill__workspace, routes), d->n_experts ? routed + d->n_experts : 0,
         RILL_ROUTE_BYTES / sizeof(float)},
        {offsetof(rill__workspace, table), max_rows, frames * d->rope.n_dims},
        {offsetof(rill__workspace, local_table), d->local_rope ? max_rows : 0,
         frames * d->rope.n_dims},
        {offsetof(rill__workspace, ends), logits_rows(max_rows), d->hidden_size},
        {offsetof(rill__workspace, logits), logits_rows(max_rows), d->vocab_size},
    };
    memcpy(parts, all, sizeof all);
}

static bool part_bytes(const workspace_part *part, size_t *bytes) {
    return rill__mul_size(part->rows, part->width * sizeof(float), bytes);
}

static rill__buffer **part_buffer(rill__workspace *ws, const workspace_part *part) {
    return (rill__buffer **)(void *)((char *)ws + part->field);
}

bool rill__workspace_bytes(const rill__description *d, size_t max_rows, uint64_t *bytes) {
    workspace_part parts[N_PARTS];
    workspace_parts(d, max_rows, parts);
    size_t total = 0, one;
    for (int i = 0; i < N_PARTS; i++)
        if (!part_bytes(&parts[i], &one) || !rill__add_size(total, one, &total)) return false;
    *bytes = total;
    return true;
}

rill_status rill__workspace_open(const rill__network *net, size_t max_rows, rill__workspace *out,
                                 rill_error *err) {
    const rill__description *d = net->model;
    rill__backend *be = net->backend;
    rill__workspace ws = {.backend = be, .max_rows = max_rows, .max_logits = logits_rows(max_rows)};
    workspace_part parts[N_PARTS];
    workspace_parts(d, max_rows, parts);
    rill_status status = RILL_OK;
    ws.runs = rill__calloc(max_rows, sizeof *ws.runs);
    if (!ws.runs) status = rill__fail_memory(err, "a workspace", max_rows * sizeof *ws.runs);
    for (int i = 0; status == RILL_OK && i < N_PARTS; i++) {
        size_t bytes;
        if (!part_bytes(&parts[i], &bytes))
            status = rill__fail_memory(err, "a workspace", SIZE_MAX);
        else if (parts[i].rows > 0)
            status = be->ops->buffer_new(be, bytes, part_buffer(&ws, &parts[i]), err);
    }
    if (status != RILL_OK) {
        rill__workspace_close(&ws);
        return status;
    }
    *out = ws;
    return RILL_OK;
}

void rill__workspace_close(rill__workspace *ws) {
    rill__buffer *const buffers[] = {ws->x,        ws->h,          ws->h_ffn, ws->q,
                                     ws->q_sink,   ws->q_previous, ws->k,     ws->v,
                                     ws->attended, ws->gate,       ws->up,    ws->router,
                                     ws->gathered, ws->routes,     ws->table, ws->local_table,
                                     ws->ends,     ws->logits};
    for (size_t i = 0; ws->backend && i < sizeof buffers / sizeof *buffers; i++)
        ws->backend->ops->buffer_free(ws->backend, buffers[i]);
    rill__free(ws->runs);
    memset(ws, 0, sizeof *ws);
}

rill_status rill__forward_reserve(const rill__network *net, size_t max_rows, size_t max_visible,
                                  rill_error *err) {
    workspace_part parts[N_PARTS];
    workspace_parts(net->model, max_rows, parts);
    size_t widest = 0;
    for (int i = 0; i < N_PARTS; i++)
        if (parts[i].width > widest && parts[i].field != offsetof(rill__workspace, logits))
            widest = parts[i].width;
    return net->backend->ops->reserve(net->backend, max_rows, max_visible, widest, err);
}

// What every part of the pass needs.
typedef struct pass {
    const rill__network *net;
    const rill__description *d;
    const rill__backend_ops *ops;
    rill__backend *be;
    rill__workspace *ws;
    const rill__batch *batch;
    rill_error *err;
} pass;

static rill__projection projection(const pass *p, rill__weight_role role, uint32_t layer,
                                   rill__buffer *out) {
    const rill__linear *linear = rill__network_parameter(p->net, role, layer);
    return (rill__projection){.weight = linear->weight, .bias = linear->bias, .out = out};
}

static void norm(const pass *p, rill__buffer *out, const rill__buffer *in, rill__weight_role role,
                 uint32_t layer, size_t n_rows, size_t width) {
    const rill__linear *linear = rill__network_parameter(p->net, role, layer);
    p->ops->norm(p->be, out, in, linear->weight, linear->bias, p->d->norm, p->d->norm_eps, n_rows,
                 width);
}

// q, k and v of h: projected, bounded and normed as the model has it.
static void project_qkv(const pass *p, uint32_t layer) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    size_t n_rows = p->batch->n_rows;
    size_t queries = (size_t)d->n_heads * d->head_dim, keys = (size_t)d->n_kv_heads * d->head_dim;
    const rill__projection qkv[] = {projection(p, RILL_WEIGHT_Q, layer, ws->q),
                                    projection(p, RILL_WEIGHT_K, layer, ws->k),
                                    projection(p, RILL_WEIGHT_V, layer, ws->v)};
    p->ops->project(p->be, ws->h, n_rows, qkv, 3, RILL_PRECISION_FINE);
    if (d->clip_qkv != 0) {
        p->ops->clamp(p->be, ws->q, d->clip_qkv, n_rows, queries);
        p->ops->clamp(p->be, ws->k, d->clip_qkv, n_rows, keys);
        p->ops->clamp(p->be, ws->v, d->clip_qkv, n_rows, keys);
    }
    if (d->qk_norm == RILL_QK_NORM_HEAD) {
        norm(p, ws->q, ws->q, RILL_WEIGHT_Q_NORM, layer, n_rows * d->n_heads, d->head_dim);
        norm(p, ws->k, ws->k, RILL_WEIGHT_K_NORM, layer, n_rows * d->n_kv_heads, d->head_dim);
    } else if (d->qk_norm == RILL_QK_NORM_WHOLE) {
        norm(p, ws->q, ws->q, RILL_WEIGHT_Q_NORM, layer, n_rows, queries);
        norm(p, ws->k, ws->k, RILL_WEIGHT_K_NORM, layer, n_rows, keys);
    }
}

// What the backend latched is told here: it is told once.
static rill_status observe(const pass *p, uint32_t layer) {
    const rill__observer *o = p->batch->observer;
    size_t n = p->batch->n_rows * p->d->n_heads * o->stride;
    rill_status status = p->ops->synchronize(p->be, p->err);
    if (status != RILL_OK) return status;
    p->ops->buffer_read(p->be, o->weights, 0, o->copy, n * sizeof *o->copy);
    o->see(o->user, layer, p->batch->rows, p->batch->n_rows, o->copy, o->stride);
    return RILL_OK;
}

// Each part's cache and positions in a layer.
static void set_runs(const pass *p, uint32_t layer, bool local) {
    size_t row = 0;
    for (size_t i = 0; i < p->batch->n_parts; i++) {
        const rill__batch_part *part = &p->batch->parts[i];
        p->ws->runs[i] = (rill__run){
            .first_row = row,
            .n_rows = part->n_rows,
            .kv = &part->cache->layers[layer],
            .rope = local ? &part->cache->local_rope : &part->cache->rope,
        };
        row += part->n_rows;
    }
}

// h = attention(h)
static rill_status attention(const pass *p, uint32_t layer) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    const rill__batch *b = p->batch;
    uint32_t window = rill__description_window(d, layer);
    bool local = d->local_rope && window;

    project_qkv(p, layer);
    set_runs(p, layer, local);
    p->ops->rotate_store(p->be, local ? ws->local_table : ws->table, ws->q, ws->q_sink,
                         ws->q_previous, ws->k, ws->v, b->rows, b->n_rows, ws->runs, b->n_parts,
                         d->n_heads, d->n_kv_heads, d->head_dim);
    const rill__attention a = {
        .q = ws->q,
        .q_sink = ws->q_sink,
        .q_previous = ws->q_previous,
        .out = ws->attended,
        .rows = b->rows,
        .runs = ws->runs,
        .n_rows = b->n_rows,
        .n_runs = b->n_parts,
        .n_heads = d->n_heads,
        .n_kv_heads = d->n_kv_heads,
        .head_dim = d->head_dim,
        .window = window,
        .scale = d->attention_scale,
        .softmax_off_by_one = d->softmax_off_by_one,
        .sink_logits = rill__network_parameter(p->net, RILL_WEIGHT_SINK_LOGITS, layer)->weight,
        .alibi_slopes = d->alibi_slopes,
        .weights = b->observer ? b->observer->weights : NULL,
        .weights_stride = b->observer ? b->observer->stride : 0,
    };
    p->ops->attend(p->be, &a);
    rill_status status = b->observer ? observe(p, layer) : RILL_OK;
    if (status != RILL_OK) return status;
    const rill__projection o = projection(p, RILL_WEIGHT_O, layer, ws->h);
    p->ops->project(p->be, ws->attended, b->n_rows, &o, 1, RILL_PRECISION_FINE);
    return RILL_OK;
}

// h = the chosen experts' feed-forward of h
static void experts(const pass *p, uint32_t layer, rill__buffer *h) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    size_t n_rows = p->batch->n_rows;
    const rill__projection router = projection(p, RILL_WEIGHT_ROUTER, layer, ws->router);
    p->ops->project(p->be, h, n_rows, &router, 1, RILL_PRECISION_FINE);
    const rill__linear *gate = rill__network_parameter(p->net, RILL_WEIGHT_GATE, layer);
    const rill__linear *up = rill__network_parameter(p->net, RILL_WEIGHT_UP, layer);
    const rill__linear *down = rill__network_parameter(p->net, RILL_WEIGHT_DOWN, layer);
    const rill__experts e = {
        .in = h,
        .logits = ws->router,
        .out = h,
        .n_rows = n_rows,
        .n_experts = d->n_experts,
        .n_used = d->n_experts_used,
        .hidden = d->hidden_size,
        .ffn = d->ffn_size,
        .activation = d->activation,
        .limit = d->activation_limit,
        .gate = gate->weight,
        .gate_bias = gate->bias,
        .up = up->weight,
        .up_bias = up->bias,
        .down = down->weight,
        .down_bias = down->bias,
        .routes = ws->routes,
        .gathered = ws->gathered,
        .gates = ws->gate,
        .ups = ws->up,
    };
    p->ops->experts(p->be, &e);
}

// h = down(act(gate(h)) * up(h)), or down(act(up(h))) without a gate
static void feed_forward(const pass *p, uint32_t layer, rill__buffer *h) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    size_t n_rows = p->batch->n_rows;
    if (d->n_experts) {
        experts(p, layer, h);
        return;
    }
    const rill__projection up = projection(p, RILL_WEIGHT_UP, layer, ws->up);
    if (d->gated) {
        const rill__projection both[] = {projection(p, RILL_WEIGHT_GATE, layer, ws->gate), up};
        p->ops->project(p->be, h, n_rows, both, 2, RILL_PRECISION_COARSE);
        p->ops->activate(p->be, ws->gate, ws->gate, ws->up, d->activation, d->activation_limit,
                         n_rows, d->ffn_size);
    } else {
        p->ops->project(p->be, h, n_rows, &up, 1, RILL_PRECISION_COARSE);
        p->ops->activate(p->be, ws->gate, ws->up, NULL, d->activation, d->activation_limit, n_rows,
                         d->ffn_size);
    }
    const rill__projection down = projection(p, RILL_WEIGHT_DOWN, layer, h);
    p->ops->project(p->be, ws->gate, n_rows, &down, 1, RILL_PRECISION_FINE);
}

// x += h, behind one more norm in families that have it
static void add(const pass *p, rill__buffer *h, rill__weight_role post_norm, uint32_t layer) {
    size_t n_rows = p->batch->n_rows, width = p->d->hidden_size;
    if (p->d->post_norms) norm(p, h, h, post_norm, layer, n_rows, width);
    p->ops->add(p->be, p->ws->x, h, n_rows, width);
}

static rill_status run_layer(const pass *p, uint32_t layer) {
    rill__workspace *ws = p->ws;
    size_t n_rows = p->batch->n_rows, width = p->d->hidden_size;
    rill__buffer *h_ffn = ws->h;
    norm(p, ws->h, ws->x, RILL_WEIGHT_ATTENTION_NORM, layer, n_rows, width);
    if (p->d->residual != RILL_RESIDUAL_SEQUENTIAL) {  // both read the same x
        rill__weight_role role = p->d->residual == RILL_RESIDUAL_PARALLEL
                                     ? RILL_WEIGHT_ATTENTION_NORM
                                     : RILL_WEIGHT_FFN_NORM;
        h_ffn = ws->h_ffn;
        norm(p, h_ffn, ws->x, role, layer, n_rows, width);
    }
    rill_status status = attention(p, layer);
    if (status != RILL_OK) return status;
    add(p, ws->h, RILL_WEIGHT_POST_ATTENTION_NORM, layer);
    if (p->d->residual == RILL_RESIDUAL_SEQUENTIAL)
        norm(p, h_ffn, ws->x, RILL_WEIGHT_FFN_NORM, layer, n_rows, width);
    feed_forward(p, layer, h_ffn);
    add(p, h_ffn, RILL_WEIGHT_POST_FFN_NORM, layer);
    return RILL_OK;
}

// A row of the batch whose logits are wanted, and where they go.
typedef struct wanted {
    uint32_t row;
    float *logits;
} wanted;

// The logits of n rows, at most LOGITS_ROWS: the last norm and the vocabulary's projection.
static rill_status read_rows(const pass *p, const wanted *some, size_t n) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    rill__projection output =
        projection(p, d->tied_embeddings ? RILL_WEIGHT_EMBEDDING : RILL_WEIGHT_OUTPUT, 0,
                   ws->logits);
    uint32_t rows[LOGITS_ROWS];
    for (size_t i = 0; i < n; i++) rows[i] = some[i].row;
    p->ops->select_rows(p->be, ws->ends, ws->x, rows, n, d->hidden_size);
    norm(p, ws->ends, ws->ends, RILL_WEIGHT_OUTPUT_NORM, 0, n, d->hidden_size);
    p->ops->project(p->be, ws->ends, n, &output, 1, RILL_PRECISION_FINE);
    if (d->logit_cap != 0) p->ops->cap(p->be, ws->logits, d->logit_cap, n, d->vocab_size);
    rill_status status = p->ops->synchronize(p->be, p->err);
    size_t bytes = d->vocab_size * sizeof(float);
    for (size_t i = 0; status == RILL_OK && i < n; i++)
        p->ops->buffer_read(p->be, ws->logits, i * bytes, some[i].logits, bytes);
    return status;
}

// All logits that are wanted, some rows at a time, whosever they are.
static rill_status read_logits(const pass *p) {
    wanted some[LOGITS_ROWS];
    size_t n = 0, first = 0;
    rill_status status = RILL_OK;
    for (size_t i = 0; i < p->batch->n_parts; i++) {
        const rill__batch_part *part = &p->batch->parts[i];
        float *logits = part->logits;
        for (size_t row = part->first_logits; row < part->n_rows; row++) {
            some[n++] = (wanted){.row = (uint32_t)(first + row), .logits = logits};
            logits += p->d->vocab_size;
            if (n < p->ws->max_logits) continue;
            status = read_rows(p, some, n);
            if (status != RILL_OK) return status;
            n = 0;
        }
        first += part->n_rows;
    }
    return n > 0 ? read_rows(p, some, n) : p->ops->synchronize(p->be, p->err);
}

rill_status rill__forward(const rill__network *net, rill__workspace *ws, const rill__batch *batch,
                          rill_error *err) {
    const pass p = {.net = net,
                    .d = net->model,
                    .ops = net->backend->ops,
                    .be = net->backend,
                    .ws = ws,
                    .batch = batch,
                    .err = err};
    const rill__linear *embedding = rill__network_parameter(net, RILL_WEIGHT_EMBEDDING, 0);
    p.ops->embed(p.be, ws->x, embedding->weight, batch->tokens, batch->n_rows,
                 p.d->embedding_scale);
    set_runs(&p, 0, false);
    p.ops->rotary_table(p.be, ws->table, batch->rows, batch->n_rows, ws->runs, batch->n_parts);
    if (ws->local_table) {
        set_runs(&p, 0, true);
        p.ops->rotary_table(p.be, ws->local_table, batch->rows, batch->n_rows, ws->runs,
                            batch->n_parts);
    }
    for (uint32_t layer = 0; layer < p.d->n_layers; layer++) {
        rill_status status = run_layer(&p, layer);
        if (status != RILL_OK) return status;
    }
    return read_logits(&p);
}
