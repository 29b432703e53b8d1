// SPDX-License-Identifier: MIT
// From what the caller asked for to what a stream will hold.
#include "stream/options.h"

#include "stream/sampler.h"

#include <math.h>

enum {
    DEFAULT_SINKS = 4,        // PAPER: four suffice for every model examined
    OVER_CONTEXT_FACTOR = 8,  // how far dense goes by default when it may pass the trained context
};
static const uint32_t max_capacity = 1u << 30;
static const uint64_t max_start = (uint64_t)1 << 62;  // leaves as many positions to go

void rill_stream_options_default(rill_stream_options *options) {
    *options = (rill_stream_options){
        .method = RILL_METHOD_STREAMING,
        .sinks = RILL_SINKS_AUTO,
        .evict = RILL_EVICT_TOKEN,
        .key_type = RILL_TYPE_F16,
        .value_type = RILL_TYPE_F16,
        .default_types = true,
        .sink_scale = 1.0f,
        .sink_cap = 1.0f,
    };
}

// Whether tokens leave the cache one by one, so that it is a ring.
static bool rolls(const rill_stream_options *o) {
    return o->method == RILL_METHOD_STREAMING || o->method == RILL_METHOD_WINDOW;
}

// What the model can make sense of at once: its trained context, or less where every layer has a
// window.
static uint32_t useful_context(const rill__description *d) {
    uint32_t widest = 0;
    for (uint32_t i = 0; i < d->n_layers; i++) {
        uint32_t window = rill__description_window(d, i);
        if (!window) return d->trained_context;
        if (window > widest) widest = window;
    }
    return widest && widest < d->trained_context ? widest : d->trained_context;
}

static rill_status resolve_sinks(rill_stream_options *o, rill_error *err) {
    bool none = o->method == RILL_METHOD_WINDOW || o->method == RILL_METHOD_DENSE;
    if (o->sinks == RILL_SINKS_AUTO)
        o->sinks = o->method == RILL_METHOD_STREAMING ? DEFAULT_SINKS : 0;
    if (none && o->sinks > 0)
        return rill__fail(err, RILL_EINVAL,
                          "sinks: %u, but this method keeps none; streaming and recompute do",
                          o->sinks);
    return RILL_OK;
}

static rill_status resolve_window(const rill__description *d, rill_stream_options *o,
                                  rill_error *err) {
    uint64_t window = o->window;
    if (window == 0) {
        uint64_t context = o->method == RILL_METHOD_DENSE ? d->trained_context : useful_context(d);
        if (o->method == RILL_METHOD_DENSE && o->over_context) context *= OVER_CONTEXT_FACTOR;
        if (o->sinks >= context)
            return rill__fail(
                err, RILL_EINVAL,
                "sinks: %u leave no room in a context of %llu; give a window as well, "
                "or at most %llu sinks",
                o->sinks, (unsigned long long)context, (unsigned long long)context - 1);
        window = context - o->sinks;
    }
    if (o->sinks + window > max_capacity)
        return rill__fail(err, RILL_EINVAL,
                          "window: %llu and %u sinks are more than the %u tokens that a stream can "
                          "hold",
                          (unsigned long long)window, o->sinks, max_capacity);
    o->window = (uint32_t)window;
    if (o->method == RILL_METHOD_DENSE && !o->over_context && o->window > d->trained_context)
        return rill__fail(err, RILL_EINVAL,
                          "window: dense attention over %u tokens is past the trained context of "
                          "%u; allow it with over_context",
                          o->window, d->trained_context);
    return RILL_OK;
}

static rill_status check_type(const char *field, rill_type type, rill_error *err) {
    switch (type) {
    case RILL_TYPE_F32:
    case RILL_TYPE_F16:
    case RILL_TYPE_BF16:
    case RILL_TYPE_Q8_0:
    case RILL_TYPE_Q4_0: return RILL_OK;
    default: break;
    }
    return rill__fail(err, RILL_EINVAL,
                      "%s: a cache cannot hold %s; f32, f16, bf16, q8_0 and q4_0 are known", field,
                      rill_type_name(type));
}

// What a model has in the place of plain RoPE, which alone can be scaled; NULL: nothing.
static const char *other_positions(const rill__description *d) {
    switch (d->position) {
    case RILL_POSITION_ALIBI: return "ALiBi";
    case RILL_POSITION_XPOS: return "xPos";
    case RILL_POSITION_ROPE: break;
    }
    return d->rope.scaling == RILL_ROPE_DEFAULT ? NULL : "a scaling of its own";
}

// What may be done to the model's positions.
static rill_status resolve_positions(const rill__description *d, rill_stream_options *o,
                                     rill_error *err) {
    double capacity = (double)o->sinks + o->window;
    if ((unsigned)o->rope_scaling > RILL_ROPE_SCALING_NTK)
        return rill__fail(err, RILL_EINVAL, "rope_scaling: there is none of number %d",
                          (int)o->rope_scaling);
    bool stretched = o->rope_scaling != RILL_ROPE_SCALING_MODEL;
    if (stretched && other_positions(d))
        return rill__fail(err, RILL_EINVAL,
                          "rope_scaling: only plain RoPE can be scaled, and this model has %s",
                          other_positions(d));
    if (!stretched && o->rope_factor != 0 && o->rope_factor != 1)
        return rill__fail(err, RILL_EINVAL,
                          "rope_factor: %g, but nothing is stretched; give a rope_scaling (linear "
                          "or ntk) as well, or no factor",
                          (double)o->rope_factor);
    if (!stretched) o->rope_factor = 1;
    if (o->rope_factor == 0) o->rope_factor = (float)fmax(1, capacity / d->trained_context);
    if (!(o->rope_factor >= 1 && o->rope_factor <= 1e6f))
        return rill__fail(err, RILL_EINVAL, "rope_factor: %g; 1 to 1000000 is right",
                          (double)o->rope_factor);
    // 2^7 leaves keys of up to 2^9 in f16, which is also what a block's scale is stored in.
    bool wide = o->key_type == RILL_TYPE_F32 || o->key_type == RILL_TYPE_BF16;
    double most = wide ? 60 : 7;
    if (d->position == RILL_POSITION_XPOS && rill__xpos_log2(&d->rope, (uint64_t)capacity) > most)
        return rill__fail(err, RILL_EINVAL,
                          "window: %.0f tokens are more than a key of xPos with scale base %g can "
                          "fade over in a cache of %s",
                          capacity, d->rope.xpos_base, rill_type_name(o->key_type));
    return RILL_OK;
}

static rill_status check_rest(const rill_stream_options *o, rill_error *err) {
    rill_status status = check_type("key_type", o->key_type, err);
    if (status == RILL_OK) status = check_type("value_type", o->value_type, err);
    if (status != RILL_OK) return status;
    if (!(o->sink_scale >= 0.0f) || isinf(o->sink_scale))
        return rill__fail(err, RILL_EINVAL, "sink_scale: %g; a finite number, 0 or more, is right",
                          (double)o->sink_scale);
    if (!(o->sink_cap > 0.0f && o->sink_cap <= 1.0f))
        return rill__fail(err, RILL_EINVAL, "sink_cap: %g; above 0 and at most 1 is right",
                          (double)o->sink_cap);
    if (o->chunk > RILL_MAX_ROWS)
        return rill__fail(err, RILL_EINVAL, "chunk: %u; at most %d is right", o->chunk,
                          RILL_MAX_ROWS);
    if (o->start > max_start)
        return rill__fail(err, RILL_EINVAL, "start: %llu; at most 2^62 is right",
                          (unsigned long long)o->start);
    return RILL_OK;
}

// Half the window keeps the ring small beside what it holds; without a ring all of it is read at
// once, or what the device gains from.
static uint32_t default_chunk(const rill_model *model, const rill_stream_options *o) {
    uint32_t most = model->network.backend->ops->chunk_rows;
    uint32_t chunk = rolls(o) ? o->window / 2 : o->sinks + o->window;
    if (rolls(o) && most > 512) most = 512;
    return chunk < 32 ? 32 : chunk > most ? most : chunk;
}

static rill_status resolve(const rill_model *model, rill_stream_options *o, rill_error *err) {
    if ((unsigned)o->method > RILL_METHOD_RECOMPUTE)
        return rill__fail(err, RILL_EINVAL, "method: there is none of number %d", (int)o->method);
    if ((unsigned)o->evict > RILL_EVICT_MESSAGE)
        return rill__fail(err, RILL_EINVAL, "evict: there is no way of number %d", (int)o->evict);
    rill_status status = resolve_sinks(o, err);
    if (status == RILL_OK) status = resolve_window(&model->model->description, o, err);
    if (status != RILL_OK) return status;
    if (o->default_types)
        o->key_type = o->value_type = model->device->exact ? RILL_TYPE_F32 : RILL_TYPE_F16;
    if (o->chunk == 0) o->chunk = default_chunk(model, o);
    status = resolve_positions(&model->model->description, o, err);
    return status == RILL_OK ? check_rest(o, err) : status;
}

rill_status rill__stream_plan_make(const rill_model *model, const rill_stream_options *options,
                                   rill__stream_plan *out, rill_error *err) {
    if (!model->device)
        return rill__fail(err, RILL_EINVAL, "a tokenizer by itself cannot stream; open a model");
    rill__stream_plan plan = {0};
    rill_stream_options *o = &plan.options;
    rill_stream_options_default(o);
    if (options) *o = *options;
    rill_status status = resolve(model, o, err);
    if (status != RILL_OK) return status;

    const rill__description *d = &model->model->description;
    plan.rolls = rolls(o);
    plan.capacity = o->sinks + o->window;
    plan.history =
        plan.capacity > RILL_MAX_PENALTY_WINDOW ? plan.capacity : RILL_MAX_PENALTY_WINDOW;
    plan.cache = (rill__cache_options){
        // Where nothing is evicted from the cache itself, every row is as good as another.
        .n_sinks = plan.rolls ? o->sinks : 0,
        .rows = plan.rolls ? plan.capacity + o->chunk - 1 : plan.capacity,
        .capacity = plan.capacity,
        .rope_scaling = o->rope_scaling,
        .rope_factor = o->rope_factor,
        .key_type = o->key_type,
        .value_type = o->value_type,
        .sink_scale = o->sink_scale,
        .sink_cap = o->sink_cap,
    };
    if (!rill__cache_bytes(d, &plan.cache, &plan.bytes.cache) ||
        !rill__passes_bytes(&model->network, o->chunk, &plan.bytes.shared))
        return rill__fail(err, RILL_ENOMEM,
                          "window: a cache of %u tokens is more than this machine can address",
                          plan.capacity);
    plan.bytes.work = plan.bytes.shared + (plan.history + plan.capacity) * sizeof(rill_token) +
                      plan.capacity * sizeof(uint64_t) +
                      d->vocab_size * (rill__sampler_bytes_per_token() + sizeof(float));
    if (model->network.backend->ops->choose) plan.bytes.work += d->vocab_size * sizeof(float);
    plan.bytes.total = plan.bytes.cache + plan.bytes.work;
    *out = plan;
    return RILL_OK;
}

rill_status rill_stream_estimate(const rill_model *model, const rill_stream_options *options,
                                 rill_stream_options *resolved, rill_stream_bytes *out,
                                 rill_error *err) {
    rill__stream_plan plan;
    rill_status status = rill__stream_plan_make(model, options, &plan, err);
    if (status != RILL_OK) return status;
    if (resolved) *resolved = plan.options;
    *out = plan.bytes;
    return RILL_OK;
}
