// SPDX-License-Identifier: MIT
// Looking at attention: the forward pass hands over a layer's weights, and the caller's function
// sees them token by token.
#include "stream/stream.h"

enum { OBSERVED_FLOATS = 1 << 20 };  // weights held at once, if one token's are not more

static void see(void *user, uint32_t layer, const rill__row *rows, size_t n_rows,
                const float *weights, size_t stride) {
    const rill_stream *s = user;
    uint32_t n_heads = s->model->model->description.n_heads;
    for (size_t i = 0; i < n_rows; i++) {
        rill_attention_row row = {
            .layer = layer,
            .n_heads = n_heads,
            .token = rows[i].token,
            .n_sinks = rows[i].n_sinks,
            .first_recent = rows[i].first_recent,
            .n_visible = rows[i].n_sinks,
            .weights = weights + i * n_heads * stride,
            .stride = stride,
        };
        if (row.first_recent <= row.token)
            row.n_visible += (size_t)(row.token - row.first_recent + 1);
        s->attention(s->attention_user, &row);
    }
}

void rill__stream_stop_observing(rill_stream *s) {
    rill__backend *be = s->model->network.backend;
    be->ops->buffer_free(be, s->observer.weights);
    rill__free(s->observer.copy);
    s->observer = (rill__observer){0};
    s->attention = NULL;
}

rill_status rill_stream_observe(rill_stream *stream, rill_attention_fn fn, void *user,
                                rill_error *err) {
    rill__stream_stop_observing(stream);
    if (!fn) return RILL_OK;
    if (stream->plan.options.method == RILL_METHOD_RECOMPUTE)
        return rill__fail(err, RILL_EINVAL,
                          "observe: recompute has no lasting attention; streaming, window and "
                          "dense have");
    rill__backend *be = stream->model->network.backend;
    rill__observer *o = &stream->observer;
    size_t row, bytes = 0, chunk = stream->plan.options.chunk;
    if (!rill__mul_size(stream->model->model->description.n_heads, stream->plan.capacity, &row))
        return rill__fail_memory(err, "attention's weights", SIZE_MAX);
    o->see = see;
    o->user = stream;
    o->stride = stream->plan.capacity;
    o->max_rows = row < OBSERVED_FLOATS ? OBSERVED_FLOATS / row : 1;
    if (o->max_rows > chunk) o->max_rows = chunk;
    rill_status status = rill__mul_size(row, o->max_rows * sizeof(float), &bytes)
                             ? be->ops->buffer_new(be, bytes, &o->weights, err)
                             : rill__fail_memory(err, "attention's weights", SIZE_MAX);
    if (status == RILL_OK) {
        o->copy = rill__malloc(bytes);
        if (!o->copy) status = rill__fail_memory(err, "attention's weights", bytes);
    }
    if (status != RILL_OK) {
        rill__stream_stop_observing(stream);
        return status;
    }
    stream->attention = fn;
    stream->attention_user = user;
    return RILL_OK;
}
