// SPDX-License-Identifier: MIT
// The life of a stream: open, reset, pin, report, close. Reading is feed.c, writing generate.c.
#include "stream/stream.h"

#include <string.h>

rill_status rill_stream_open(rill_model *model, const rill_stream_options *options,
                             rill_stream **out, rill_error *err) {
    rill__stream_plan plan;
    rill_status status = rill__stream_plan_make(model, options, &plan, err);
    if (status != RILL_OK) return status;
    rill_stream *s = rill__calloc(1, sizeof *s);
    if (!s) return rill__fail_memory(err, "a stream", sizeof *s);

    const rill_stream_options *o = &plan.options;
    size_t vocab_size = model->model->description.vocab_size;
    s->plan = plan;
    s->model = rill__model_ref(model);
    s->logits = rill__calloc(vocab_size, sizeof *s->logits);
    if (o->method == RILL_METHOD_RECOMPUTE)
        s->window = rill__map_resident(plan.capacity * sizeof *s->window);
    if (!s->logits || (o->method == RILL_METHOD_RECOMPUTE && !s->window))
        status = rill__fail_memory(err, "a stream's logits", vocab_size * sizeof *s->logits);
    if (status == RILL_OK)
        status = rill__policy_init(&s->policy, o->evict, o->sinks, o->window, err);
    if (status == RILL_OK)
        status = rill__history_init(&s->history, plan.capacity, plan.history, err);
    if (status == RILL_OK) status = rill__cache_open(&model->network, &plan.cache, &s->cache, err);
    if (status == RILL_OK)
        status =
            rill__passes_reserve(&model->passes, &model->network, o->chunk, plan.cache.rows, err);
    rill__backend *be = model->network.backend;
    if (status == RILL_OK && be->ops->choose)
        status = be->ops->buffer_new(be, vocab_size * sizeof *s->logits, &s->kept_logits, err);
    if (status == RILL_OK)
        status = rill__sampler_init(&s->sampler, vocab_size, s->kept_logits, err);
    if (status != RILL_OK) {
        rill_stream_close(&s);
        return status;
    }
    *out = s;
    return RILL_OK;
}

void rill_stream_close(rill_stream **stream) {
    rill_stream *s = *stream;
    *stream = NULL;
    if (!s) return;
    rill__stream_stop_observing(s);
    rill__sampler_deinit(&s->sampler);
    s->model->network.backend->ops->buffer_free(s->model->network.backend, s->kept_logits);
    rill__cache_close(&s->cache);
    rill__history_deinit(&s->history);
    rill__policy_deinit(&s->policy);
    rill__unmap_memory(s->window, s->plan.capacity * sizeof *s->window);
    rill__free(s->logits);
    rill_model_close(&s->model);
    rill__free(s);
}

void rill_stream_reset(rill_stream *stream) {
    const rill_stream_options *o = &stream->plan.options;
    rill__policy_reset(&stream->policy, o->sinks, o->window);
    rill__cache_set_sinks(&stream->cache, stream->plan.cache.n_sinks);
    stream->history.seen = 0;
    stream->logits_valid = false;
    stream->logits_kept = false;
    stream->samples = false;
    stream->in_answer = false;
    stream->system_end = 0;
    rill__sampler_restart(&stream->sampler);
}

// So much must remain for recent tokens beside a pinned prefix.
static uint32_t least_window(uint32_t capacity) {
    enum { LEAST_WINDOW = 16 };
    return capacity / 2 < LEAST_WINDOW ? capacity / 2 : LEAST_WINDOW;
}

rill_status rill__stream_check_pin(const rill_stream *s, size_t n_more, rill_error *err) {
    const rill__policy *p = &s->policy;
    uint32_t capacity = s->plan.capacity, least = least_window(capacity);
    if (p->evictions > 0)
        return rill__fail(err, RILL_EINVAL,
                          "pin: the beginning was evicted already; pin before the window is full");
    if (n_more > capacity || p->seen + n_more + least > capacity)
        return rill__fail(err, RILL_EINVAL,
                          "pin: %llu tokens leave fewer than %u of a capacity of %u for recent "
                          "ones; shorten the text or give a larger window",
                          (unsigned long long)p->seen + n_more, least, capacity);
    return RILL_OK;
}

rill_status rill_stream_pin(rill_stream *stream, rill_error *err) {
    rill__policy *p = &stream->policy;
    rill_status status = rill__stream_check_pin(stream, 0, err);
    if (status != RILL_OK) return status;
    rill__policy_pin(p);
    if (stream->plan.rolls) rill__cache_set_sinks(&stream->cache, p->n_sinks);
    return RILL_OK;
}

void rill_stream_begin_message(rill_stream *stream) {
    rill__policy_begin_message(&stream->policy);
}

void rill_stream_get_report(const rill_stream *stream, rill_stream_report *out) {
    const rill__policy *p = &stream->policy;
    uint64_t held = rill__policy_held(p);
    *out = (rill_stream_report){
        .seen = p->seen,
        .held = held,
        .evicted = p->seen - held,
        .evictions = p->evictions,
        .messages_seen = p->messages_seen,
        .messages_held = rill__policy_messages_held(p),
        .sinks = p->n_sinks,
        .window = p->window,
        .capacity = stream->plan.capacity,
        .bytes = stream->plan.bytes,
    };
}

const rill_stream_options *rill_stream_get_options(const rill_stream *stream) {
    return &stream->plan.options;
}

rill_model *rill_stream_model(const rill_stream *stream) {
    return stream->model;
}

size_t rill_stream_visible(const rill_stream *stream, rill_token *out, size_t capacity) {
    const rill__policy *p = &stream->policy;
    size_t held = rill__policy_held(p);
    for (size_t i = 0; i < held && i < capacity; i++)
        out[i] = rill__history_get(&stream->history,
                                   i < p->n_sinks ? i : p->first_recent + (i - p->n_sinks));
    return held;
}
