// SPDX-License-Identifier: MIT
// The forward pass of a decoder-only transformer, as its description says, over a batch of tokens.
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

enum { N_PARTS = 12 };

static void workspace_parts(const rill__description *d, size_t max_rows,
                            workspace_part parts[N_PARTS]) {
    size_t queries = (size_t)d->n_heads * d->head_dim;
    size_t keys = (size_t)d->n_kv_heads * d->head_dim;
    const workspace_part all[N_PARTS] = {
        {offsetof(rill__workspace, x), max_rows, d->hidden_size},
        {offsetof(rill__workspace, h), max_rows, d->hidden_size},
        {offsetof(rill__workspace, q), max_rows, queries},
        {offsetof(rill__workspace, q_sink), max_rows, queries},
        {offsetof(rill__workspace, k), max_rows, keys},
        {offsetof(rill__workspace, v), max_rows, keys},
        {offsetof(rill__workspace, attended), max_rows, queries},
        {offsetof(rill__workspace, gate), max_rows, d->ffn_size},
        {offsetof(rill__workspace, up), max_rows, d->ffn_size},
        {offsetof(rill__workspace, table), max_rows, 2 * (size_t)d->rope.n_dims},
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

rill_status rill__workspace_open(const rill__network *net, size_t max_rows, size_t max_visible,
                                 rill__workspace *out, rill_error *err) {
    const rill__description *d = net->model;
    rill__backend *be = net->backend;
    rill__workspace ws = {.backend = be, .max_rows = max_rows, .max_logits = logits_rows(max_rows)};
    workspace_part parts[N_PARTS];
    workspace_parts(d, max_rows, parts);
    rill_status status = RILL_OK;
    size_t widest = 0;
    for (int i = 0; status == RILL_OK && i < N_PARTS; i++) {
        size_t bytes;
        if (!part_bytes(&parts[i], &bytes))
            status = rill__fail_memory(err, "a workspace", SIZE_MAX);
        else
            status = be->ops->buffer_new(be, bytes, part_buffer(&ws, &parts[i]), err);
        if (parts[i].width > widest && parts[i].field != offsetof(rill__workspace, logits))
            widest = parts[i].width;
    }
    if (status == RILL_OK) status = be->ops->reserve(be, max_rows, max_visible, widest, err);
    if (status != RILL_OK) {
        rill__workspace_close(&ws);
        return status;
    }
    *out = ws;
    return RILL_OK;
}

void rill__workspace_close(rill__workspace *ws) {
    rill__buffer *const buffers[] = {ws->x,  ws->h,     ws->q,        ws->q_sink,
                                     ws->k,  ws->v,     ws->attended, ws->gate,
                                     ws->up, ws->table, ws->ends,     ws->logits};
    for (size_t i = 0; ws->backend && i < sizeof buffers / sizeof *buffers; i++)
        ws->backend->ops->buffer_free(ws->backend, buffers[i]);
    memset(ws, 0, sizeof *ws);
}

// What every part of the pass needs.
typedef struct pass {
    const rill__network *net;
    const rill__description *d;
    const rill__backend_ops *ops;
    rill__backend *be;
    rill__workspace *ws;
    const rill__batch *batch;
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

// x += attention(norm(x))
static void attention_block(const pass *p, uint32_t layer) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    const rill__batch *b = p->batch;
    const rill__kv *kv = &b->cache->layers[layer];

    norm(p, ws->h, ws->x, RILL_WEIGHT_ATTENTION_NORM, layer, b->n_rows, d->hidden_size);
    const rill__projection qkv[] = {projection(p, RILL_WEIGHT_Q, layer, ws->q),
                                    projection(p, RILL_WEIGHT_K, layer, ws->k),
                                    projection(p, RILL_WEIGHT_V, layer, ws->v)};
    p->ops->project(p->be, ws->h, b->n_rows, qkv, 3);
    if (d->head_norms) {
        norm(p, ws->q, ws->q, RILL_WEIGHT_Q_NORM, layer, b->n_rows * d->n_heads, d->head_dim);
        norm(p, ws->k, ws->k, RILL_WEIGHT_K_NORM, layer, b->n_rows * d->n_kv_heads, d->head_dim);
    }
    p->ops->rotate_store(p->be, ws->table, &b->cache->rope, ws->q, ws->q_sink, ws->k, ws->v,
                         b->rows, b->n_rows, kv, d->n_heads, d->n_kv_heads, d->head_dim);
    const rill__attention attention = {
        .q = ws->q,
        .q_sink = ws->q_sink,
        .out = ws->attended,
        .rows = b->rows,
        .kv = kv,
        .n_rows = b->n_rows,
        .n_heads = d->n_heads,
        .n_kv_heads = d->n_kv_heads,
        .head_dim = d->head_dim,
        .window = rill__description_window(d, layer),
        .scale = d->attention_scale,
        .softmax_off_by_one = d->softmax_off_by_one,
    };
    p->ops->attend(p->be, &attention);
    const rill__projection o = projection(p, RILL_WEIGHT_O, layer, ws->h);
    p->ops->project(p->be, ws->attended, b->n_rows, &o, 1);
    p->ops->add(p->be, ws->x, ws->h, b->n_rows, d->hidden_size);
}

// x += down(act(gate(norm(x))) * up(norm(x))), or down(act(up(norm(x)))) without a gate
static void feed_forward_block(const pass *p, uint32_t layer) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    size_t n_rows = p->batch->n_rows;

    norm(p, ws->h, ws->x, RILL_WEIGHT_FFN_NORM, layer, n_rows, d->hidden_size);
    const rill__projection up = projection(p, RILL_WEIGHT_UP, layer, ws->up);
    if (d->gated) {
        const rill__projection both[] = {projection(p, RILL_WEIGHT_GATE, layer, ws->gate), up};
        p->ops->project(p->be, ws->h, n_rows, both, 2);
        p->ops->activate(p->be, ws->gate, ws->gate, ws->up, d->activation, n_rows, d->ffn_size);
    } else {
        p->ops->project(p->be, ws->h, n_rows, &up, 1);
        p->ops->activate(p->be, ws->gate, ws->up, NULL, d->activation, n_rows, d->ffn_size);
    }
    const rill__projection down = projection(p, RILL_WEIGHT_DOWN, layer, ws->h);
    p->ops->project(p->be, ws->gate, n_rows, &down, 1);
    p->ops->add(p->be, ws->x, ws->h, n_rows, d->hidden_size);
}

// The last norm and the vocabulary's projection, for the rows that want logits, some at a time.
static rill_status read_logits(const pass *p, float *logits, rill_error *err) {
    const rill__description *d = p->d;
    rill__workspace *ws = p->ws;
    rill__projection output =
        projection(p, d->tied_embeddings ? RILL_WEIGHT_EMBEDDING : RILL_WEIGHT_OUTPUT, 0,
                   ws->logits);

    size_t row = p->batch->first_logits;
    while (row < p->batch->n_rows) {
        uint32_t rows[LOGITS_ROWS];
        size_t n = 0;
        while (n < ws->max_logits && row < p->batch->n_rows) rows[n++] = (uint32_t)row++;
        p->ops->select_rows(p->be, ws->ends, ws->x, rows, n, d->hidden_size);
        norm(p, ws->ends, ws->ends, RILL_WEIGHT_OUTPUT_NORM, 0, n, d->hidden_size);
        p->ops->project(p->be, ws->ends, n, &output, 1);
        rill_status status = p->ops->synchronize(p->be, err);
        if (status != RILL_OK) return status;
        p->ops->buffer_read(p->be, ws->logits, 0, logits, n * d->vocab_size * sizeof *logits);
        logits += n * d->vocab_size;
    }
    return RILL_OK;
}

rill_status rill__forward(const rill__network *net, rill__workspace *ws, const rill__batch *batch,
                          float *logits, rill_error *err) {
    const pass p = {.net = net,
                    .d = net->model,
                    .ops = net->backend->ops,
                    .be = net->backend,
                    .ws = ws,
                    .batch = batch};
    const rill__linear *embedding = rill__network_parameter(net, RILL_WEIGHT_EMBEDDING, 0);
    p.ops->embed(p.be, ws->x, embedding->weight, batch->tokens, batch->n_rows,
                 p.d->embedding_scale);
    p.ops->rotary_table(p.be, ws->table, &batch->cache->rope, batch->rows, batch->n_rows);
    for (uint32_t layer = 0; layer < p.d->n_layers; layer++) {
        attention_block(&p, layer);
        feed_forward_block(&p, layer);
    }
    if (batch->first_logits < batch->n_rows) return read_logits(&p, logits, err);
    return p.ops->synchronize(p.be, err);
}
