// SPDX-License-Identifier: MIT
// The forward pass of a decoder-only transformer, as its description says, over a batch of tokens
// of any number of streams. Only rotation and attention ask whose they are.
//
// It reads as the model card does: embed; for each layer attention and feed-forward, each behind a
// norm and added to the residual; a last norm and the logits. Nothing here knows a family.
#include "engine/forward.h"

#include <string.h>

// One line a buffer: where it goes, and its size.
typedef struct workspace_part {
    size_t field;  // offset in rill__workspace
    size_t rows;
    size_t width;     // floats a row
    bool multiplied;  // products read it
} workspace_part;

enum { N_PARTS = 18 };

// Parts that the model does not have get no rows.
static void workspace_parts(const rill__network *net, size_t max_rows,
                            workspace_part parts[N_PARTS]) {
    const rill__description *d = net->model;
    size_t most_logits = net->backend->ops->logits_rows;
    size_t max_logits = max_rows < most_logits ? max_rows : most_logits;
    size_t queries = (size_t)d->n_heads * d->head_dim;
    size_t keys = (size_t)d->n_kv_heads * d->head_dim;
    size_t frames = d->position == RILL_POSITION_XPOS ? RILL_FRAMES : 2;
    size_t parallel = d->residual == RILL_RESIDUAL_SEQUENTIAL ? 0 : max_rows;
    size_t routed = max_rows * d->n_experts_used, ffn = d->n_experts ? routed : max_rows;
    const workspace_part all[N_PARTS] = {
        {offsetof(rill__workspace, x), max_rows, d->hidden_size, false},
        {offsetof(rill__workspace, h), max_rows, d->hidden_size, true},
        {offsetof(rill__workspace, h_ffn), parallel, d->hidden_size, true},
        {offsetof(rill__workspace, q), max_rows, queries, false},
        {offsetof(rill__workspace, q_sink), max_rows, queries, false},
        {offsetof(rill__workspace, q_previous), frames > 2 ? max_rows : 0, queries, false},
        {offsetof(rill__workspace, k), max_rows, keys, false},
        {offsetof(rill__workspace, v), max_rows, keys, false},
        {offsetof(rill__workspace, attended), max_rows, queries, true},
        {offsetof(rill__workspace, gate), ffn, d->ffn_size, true},
        {offsetof(rill__workspace, up), ffn, d->ffn_size, false},
        {offsetof(rill__workspace, router), d->n_experts ? max_rows : 0, d->n_experts, false},
        {offsetof(rill__workspace, gathered), routed, d->hidden_size, true},
        {offsetof(rill__workspace, routes), d->n_experts ? routed + d->n_experts : 0,
         RILL_ROUTE_BYTES / sizeof(float), false},
        {offsetof(rill__workspace, table), max_rows, frames * d->rope.n_dims, false},
        {offsetof(rill__workspace, local_table), d->local_rope ? max_rows : 0,
         frames * d->rope.n_dims, false},
        {offsetof(rill__workspace, ends), max_logits, d->hidden_size, false},
        {offsetof(rill__workspace, logits), max_logits, d->vocab_size, false},
    };
    memcpy(parts, all, sizeof all);
}

static bool part_bytes(const workspace_part *part, size_t *bytes) {
    return rill__mul_size(part->rows, part->width * sizeof(float), bytes);
}

static rill__buffer **part_buffer(rill__workspace *ws, const workspace_part *part) {
    return (rill__buffer **)(void *)((char *)ws + part->field);
}

bool rill__workspace_bytes(const rill__network *net, size_t max_rows, uint64_t *bytes) {
    workspace_part parts[N_PARTS];
    workspace_parts(net, max_rows, parts);
    size_t total = 0, one;
    const rill__backend_ops *ops = net->backend->ops;
    for (int i = 0; i < N_PARTS; i++) {
        if (!part_bytes(&parts[i], &one) || !rill__add_size(total, one, &total)) return false;
        if (ops->buffer_halves && parts[i].multiplied && !rill__add_size(total, one / 2, &total))
            return false;
    }
    *bytes = total;
    return true;
}

rill_status rill__workspace_open(const rill__network *net, size_t max_rows, rill__workspace *out,
                                 rill_error *err) {
    rill__backend *be = net->backend;
    size_t most_logits = be->ops->logits_rows;
    rill__workspace ws = {.backend = be,
                          .max_rows = max_rows,
                          .max_logits = max_rows < most_logits ? max_rows : most_logits,
                          .runs = rill__calloc(max_rows, sizeof *ws.runs),
                          .wanted = rill__calloc(max_rows, sizeof *ws.wanted),
                          .wanted_logits = rill__calloc(max_rows, sizeof *ws.wanted_logits),
                          .choices = rill__calloc(max_rows, sizeof *ws.choices)};
    workspace_part parts[N_PARTS];
    workspace_parts(net, max_rows, parts);
    rill_status status = RILL_OK;
    if (!ws.runs || !ws.wanted || !ws.wanted_logits || !ws.choices)
        status = rill__fail_memory(err, "a workspace", max_rows * sizeof *ws.runs);
    for (int i = 0; status == RILL_OK && i < N_PARTS; i++) {
        size_t bytes;
        if (!part_bytes(&parts[i], &bytes))
            status = rill__fail_memory(err, "a workspace", SIZE_MAX);
        else if (parts[i].rows > 0)
            status = be->ops->buffer_new(be, bytes, part_buffer(&ws, &parts[i]), err);
        if (status == RILL_OK && be->ops->buffer_halves && parts[i].multiplied && parts[i].rows > 0)
            status = be->ops->buffer_halves(be, *part_buffer(&ws, &parts[i]), err);
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
    rill__free(ws->wanted);
    rill__free(ws->wanted_logits);
    rill__free(ws->choices);
    memset(ws, 0, sizeof *ws);
}

rill_status rill__forward_reserve(const rill__network *net, size_t max_rows, size_t max_visible,
                                  rill_error *err) {
    workspace_part parts[N_PARTS];
    workspace_parts(net, max_rows, parts);
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
    bool choices;  // a token is chosen from some rows
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

// A stage whose input is normed into h.
static rill__stage normed_stage(const pass *p, rill__weight_role role, uint32_t layer) {
    const rill__linear *linear = rill__network_parameter(p->net, role, layer);
    return (rill__stage){.in = p->ws->x,
                         .n_rows = p->batch->n_rows,
                         .width = p->d->hidden_size,
                         .normed = p->ws->h,
                         .norm_weight = linear->weight,
                         .norm_bias = linear->bias,
                         .norm_kind = p->d->norm,
                         .norm_eps = p->d->norm_eps};
}

// q, k and v of x: normed, projected, bounded and normed as the model has it.
static void project_qkv(const pass *p, uint32_t layer) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    size_t n_rows = p->batch->n_rows;
    size_t queries = (size_t)d->n_heads * d->head_dim, keys = (size_t)d->n_kv_heads * d->head_dim;
    const rill__projection qkv[] = {projection(p, RILL_WEIGHT_Q, layer, ws->q),
                                    projection(p, RILL_WEIGHT_K, layer, ws->k),
                                    projection(p, RILL_WEIGHT_V, layer, ws->v)};
    rill__stage stage = normed_stage(p, RILL_WEIGHT_ATTENTION_NORM, layer);
    stage.projections = qkv;
    stage.n_projections = 3;
    stage.precision = RILL_PRECISION_FINE;
    rill__run_stage(p->be, &stage);
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
    status = p->ops->synchronize(p->be, p->err);
    if (status != RILL_OK) return status;
    o->see(o->user, layer, p->batch->rows, p->batch->n_rows, o->copy, o->stride);
    return RILL_OK;
}

// x += h, behind one more norm in families that have it
static void add(const pass *p, rill__buffer *h, rill__weight_role post_norm, uint32_t layer) {
    size_t n_rows = p->batch->n_rows, width = p->d->hidden_size;
    if (p->d->post_norms) norm(p, h, h, post_norm, layer, n_rows, width);
    p->ops->add(p->be, p->ws->x, h, n_rows, width);
}

// x += projection(in), behind one more norm in families that have it
static void project_to_sum(const pass *p, const rill__buffer *in, size_t width,
                           const rill__projection *projection, rill__weight_role post_norm,
                           uint32_t layer) {
    bool at_once = !p->d->post_norms;
    const rill__stage stage = {.in = in,
                               .n_rows = p->batch->n_rows,
                               .width = width,
                               .projections = projection,
                               .n_projections = 1,
                               .precision = RILL_PRECISION_FINE,
                               .sum = at_once ? p->ws->x : NULL,
                               .out_width = p->d->hidden_size};
    rill__run_stage(p->be, &stage);
    if (!at_once) add(p, projection->out, post_norm, layer);
}

// x += attention(norm(x))
static rill_status attention(const pass *p, uint32_t layer) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    const rill__batch *b = p->batch;
    uint32_t window = rill__description_window(d, layer);
    bool local = d->local_rope && window;

    project_qkv(p, layer);
    const rill__attention a = {
        .q = ws->q,
        .q_sink = ws->q_sink,
        .q_previous = ws->q_previous,
        .out = ws->attended,
        .rows = b->rows,
        .runs = ws->runs,
        .n_rows = b->n_rows,
        .n_runs = b->n_parts,
        .layer = layer,
        .local = local,
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
        .table = local ? ws->local_table : ws->table,
        .k = ws->k,
        .v = ws->v,
    };
    if (!p->ops->attend_step || !p->ops->attend_step(p->be, &a)) {
        p->ops->rotate_store(p->be, a.table, ws->q, ws->q_sink, ws->q_previous, ws->k, ws->v,
                             b->rows, b->n_rows, ws->runs, b->n_parts, layer, local, d->n_heads,
                             d->n_kv_heads, d->head_dim);
        p->ops->attend(p->be, &a);
    }
    rill_status status = b->observer ? observe(p, layer) : RILL_OK;
    if (status != RILL_OK) return status;
    const rill__projection o = projection(p, RILL_WEIGHT_O, layer, ws->h);
    project_to_sum(p, ws->attended, (size_t)d->n_heads * d->head_dim, &o,
                   RILL_WEIGHT_POST_ATTENTION_NORM, layer);
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

// x += down(act(gate(h)) * up(h)), or down(act(up(h))) without a gate; h is norm(x), or is there
// already where both blocks read the same x.
static void feed_forward(const pass *p, uint32_t layer, rill__buffer *ready) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    if (d->n_experts) {
        rill__buffer *h = ready ? ready : ws->h;
        if (!ready)
            norm(p, h, ws->x, RILL_WEIGHT_FFN_NORM, layer, p->batch->n_rows, d->hidden_size);
        experts(p, layer, h);
        add(p, h, RILL_WEIGHT_POST_FFN_NORM, layer);
        return;
    }
    const rill__projection up = projection(p, RILL_WEIGHT_UP, layer, d->gated ? ws->up : ws->gate);
    const rill__projection both[] = {
        d->gated ? projection(p, RILL_WEIGHT_GATE, layer, ws->gate) : up, up};
    rill__stage stage = normed_stage(p, RILL_WEIGHT_FFN_NORM, layer);
    if (ready) {
        stage.in = ready;
        stage.normed = NULL;
    }
    stage.projections = both;
    stage.n_projections = d->gated ? 2 : 1;
    stage.precision = RILL_PRECISION_COARSE;
    stage.activates = true;
    stage.activation = d->activation;
    stage.limit = d->activation_limit;
    stage.out_width = d->ffn_size;
    const rill__projection down = projection(p, RILL_WEIGHT_DOWN, layer, ws->h);
    stage.reader = down.weight;
    rill__run_stage(p->be, &stage);
    project_to_sum(p, ws->gate, d->ffn_size, &down, RILL_WEIGHT_POST_FFN_NORM, layer);
}

static rill_status run_layer(const pass *p, uint32_t layer) {
    rill__workspace *ws = p->ws;
    rill__buffer *ready = NULL;
    if (p->d->residual != RILL_RESIDUAL_SEQUENTIAL) {  // both blocks read the same x
        ready = ws->h_ffn;
        norm(p, ready, ws->x,
             p->d->residual == RILL_RESIDUAL_PARALLEL ? RILL_WEIGHT_ATTENTION_NORM
                                                      : RILL_WEIGHT_FFN_NORM,
             layer, p->batch->n_rows, p->d->hidden_size);
    }
    rill_status status = attention(p, layer);
    if (status == RILL_OK) feed_forward(p, layer, ready);
    return status;
}

// The batch as a backend sees it: whose rows those are, and which logits are wanted.
static rill__pass announce(const pass *p) {
    rill__workspace *ws = p->ws;
    const rill__batch *b = p->batch;
    size_t first = 0, n_wanted = 0, n_choices = 0;
    for (size_t i = 0; i < b->n_parts; i++) {
        const rill__batch_part *part = &b->parts[i];
        ws->runs[i] = (rill__run){.first_row = first,
                                  .n_rows = part->n_rows,
                                  .kv = part->cache->layers,
                                  .rope = &part->cache->rope,
                                  .local_rope = &part->cache->local_rope};
        float *logits = part->logits;
        for (size_t row = part->first_logits; row < part->n_rows; row++) {
            ws->wanted[n_wanted] = (uint32_t)(first + row);
            ws->choices[n_wanted] = part->choice;
            ws->wanted_logits[n_wanted++] = logits;
            logits += p->d->vocab_size;
            n_choices += part->choice != NULL;
        }
        first += part->n_rows;
    }
    return (rill__pass){.tokens = b->tokens,
                        .rows = b->rows,
                        .runs = ws->runs,
                        .wanted = ws->wanted,
                        .choices = n_choices ? ws->choices : NULL,
                        .n_rows = b->n_rows,
                        .n_runs = b->n_parts,
                        .n_wanted = n_wanted,
                        .n_layers = p->d->n_layers,
                        .observed = b->observer,
                        .room = ws};
}

// From tokens to x behind the last layer.
static rill_status run_layers(const pass *p) {
    rill__workspace *ws = p->ws;
    const rill__batch *b = p->batch;
    const rill__linear *embedding = rill__network_parameter(p->net, RILL_WEIGHT_EMBEDDING, 0);
    p->ops->embed(p->be, ws->x, embedding->weight, b->tokens, b->n_rows, p->d->embedding_scale);
    p->ops->rotary_table(p->be, ws->table, b->rows, b->n_rows, ws->runs, b->n_parts, false);
    if (ws->local_table)
        p->ops->rotary_table(p->be, ws->local_table, b->rows, b->n_rows, ws->runs, b->n_parts,
                             true);
    for (uint32_t layer = 0; layer < p->d->n_layers; layer++) {
        rill_status status = run_layer(p, layer);
        if (status != RILL_OK) return status;
    }
    return RILL_OK;
}

// Logits of the wanted rows [first, first + n): the last norm and the vocabulary's projection. As
// many as there are rows are all of them, in order.
static void compute_logits(const pass *p, size_t first, size_t n) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    rill__projection output =
        projection(p, d->tied_embeddings ? RILL_WEIGHT_EMBEDDING : RILL_WEIGHT_OUTPUT, 0,
                   ws->logits);
    rill__stage stage = normed_stage(p, RILL_WEIGHT_OUTPUT_NORM, 0);
    if (n < p->batch->n_rows) {
        p->ops->select_rows(p->be, ws->ends, ws->x, ws->wanted + first, n, d->hidden_size);
        stage.in = ws->ends;
    }
    stage.n_rows = n;
    stage.projections = &output;
    stage.n_projections = 1;
    stage.precision = RILL_PRECISION_FINE;
    rill__run_stage(p->be, &stage);
    if (d->logit_cap != 0) p->ops->cap(p->be, ws->logits, d->logit_cap, n, d->vocab_size);
    if (p->choices) p->ops->choose(p->be, ws->logits, ws->choices + first, n, d->vocab_size);
}

// Waits, and reads the logits of the wanted rows [first, first + n) but those that tokens were
// chosen from.
static rill_status read_logits(const pass *p, size_t first, size_t n) {
    rill__workspace *ws = p->ws;
    size_t bytes = p->d->vocab_size * sizeof(float);
    rill_status status = p->ops->synchronize(p->be, p->err);
    bool reads = false;
    for (size_t i = 0; status == RILL_OK && i < n; i++) {
        if (ws->choices[first + i]) continue;
        p->ops->buffer_read(p->be, ws->logits, i * bytes, ws->wanted_logits[first + i], bytes);
        reads = true;
    }
    return reads ? p->ops->synchronize(p->be, p->err) : status;
}

rill_status rill__forward(const rill__network *net, rill__workspace *ws, const rill__batch *batch,
                          rill_error *err) {
    pass p = {.net = net,
              .d = net->model,
              .ops = net->backend->ops,
              .be = net->backend,
              .ws = ws,
              .batch = batch,
              .err = err};
    const rill__pass all = announce(&p);
    p.choices = all.choices;
    size_t turn = all.n_wanted < ws->max_logits ? all.n_wanted : ws->max_logits;
    bool done = p.ops->begin && p.ops->begin(p.be, &all);
    rill_status status = done ? RILL_OK : run_layers(&p);
    if (status == RILL_OK && !done && turn) compute_logits(&p, 0, turn);
    if (status == RILL_OK) status = read_logits(&p, 0, turn);
    // More rows than there is room for logits: the others in turns.
    for (size_t first = turn; status == RILL_OK && first < all.n_wanted; first += turn) {
        if (turn > all.n_wanted - first) turn = all.n_wanted - first;
        compute_logits(&p, first, turn);
        status = read_logits(&p, first, turn);
    }
    if (p.ops->end) p.ops->end(p.be);
    return status;
}
