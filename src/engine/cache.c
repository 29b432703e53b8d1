// SPDX-License-Identifier: MIT
// The sink cache's memory: sizes, rows, and the way of a row out and in. See docs/stream.md.
#include "engine/cache.h"

#include <math.h>
#include <string.h>

// Bytes of one head's key or value, padded to whole blocks.
static size_t row_bytes(rill_type type, uint32_t head_dim) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    return ((size_t)head_dim + traits->block - 1) / traits->block * traits->block_bytes;
}

// Bytes of the keys (or values) of one layer; false on overflow.
static bool layer_bytes(const rill__description *d, uint32_t rows, rill_type type, size_t *bytes) {
    size_t heads;
    return rill__mul_size(d->n_kv_heads, rows, &heads) &&
           rill__mul_size(heads, row_bytes(type, d->head_dim), bytes);
}

bool rill__cache_bytes(const rill__description *d, const rill__cache_options *options,
                       uint64_t *bytes) {
    size_t keys, values, both, total;
    if (!layer_bytes(d, options->rows, options->key_type, &keys) ||
        !layer_bytes(d, options->rows, options->value_type, &values) ||
        !rill__add_size(keys, values, &both) || !rill__mul_size(both, d->n_layers, &total))
        return false;
    *bytes = total;
    return true;
}

static rill_status open_layer(const rill__description *d, rill__backend *be,
                              const rill__cache_options *options, rill__kv *kv, rill_error *err) {
    *kv = (rill__kv){
        .key_type = options->key_type,
        .value_type = options->value_type,
        .key_row_bytes = row_bytes(options->key_type, d->head_dim),
        .value_row_bytes = row_bytes(options->value_type, d->head_dim),
        .n_sinks = options->n_sinks,
        .ring_rows = options->rows - options->n_sinks,
        .sink_scale = options->sink_scale,
        .sink_cap = options->sink_cap,
    };
    size_t heads = (size_t)d->n_kv_heads * options->rows;
    rill_status status = be->ops->buffer_new(be, heads * kv->key_row_bytes, &kv->keys, err);
    if (status == RILL_OK)
        status = be->ops->buffer_new(be, heads * kv->value_row_bytes, &kv->values, err);
    return status;
}

// The numbers of a rotary table, at `steps`.
static rill__rope make_rope(const rill__description *d, const rill__rope_description *r,
                            uint64_t capacity, uint64_t *steps) {
    rill__rope rope = {
        .n_pairs = r->n_dims / 2, .interleaved = r->interleaved, .phase_step = steps};
    rill__rope_phase_steps(r, d->trained_context, capacity, steps, &rope.magnitude);
    return rope;
}

// xPos: log zeta_i a position, and blocks as long as what a row can see.
static void make_fade(const rill__rope_description *r, uint64_t capacity, double *fade,
                      rill__rope *rope) {
    for (uint32_t i = 0; i < rope->n_pairs; i++) {
        double zeta = (2.0 * i / r->n_dims + r->xpos_gamma) / (1 + r->xpos_gamma);
        fade[i] = log(zeta) / r->xpos_base;
    }
    rope->fade = fade;
    rope->fade_block = capacity;
}

static rill_status open_positions(const rill__description *d, const rill__cache_options *options,
                                  rill__cache *cache, rill_error *err) {
    uint32_t n_pairs = d->rope.n_dims / 2;
    // One where nothing is rotated (ALiBi): NULL shall mean that memory is out.
    size_t n_steps = n_pairs ? 2 * (size_t)n_pairs : 1;
    bool xpos = d->position == RILL_POSITION_XPOS;
    cache->phase_steps = rill__calloc(n_steps, sizeof *cache->phase_steps);
    if (xpos) cache->fade = rill__calloc(n_pairs, sizeof *cache->fade);
    if (!cache->phase_steps || (xpos && !cache->fade))
        return rill__fail_memory(err, "a cache's frequencies",
                                 n_steps * sizeof *cache->phase_steps);
    rill__rope_description rope = d->rope;
    if (options->rope_scaling != RILL_ROPE_SCALING_MODEL)
        rill__rope_stretch(&rope, options->rope_scaling == RILL_ROPE_SCALING_NTK,
                           options->rope_factor);
    cache->rope = make_rope(d, &rope, options->capacity, cache->phase_steps);
    if (xpos) make_fade(&d->rope, options->capacity, cache->fade, &cache->rope);
    if (d->local_rope)
        cache->local_rope =
            make_rope(d, d->local_rope, options->capacity, cache->phase_steps + n_pairs);
    return RILL_OK;
}

rill_status rill__cache_open(const rill__network *net, const rill__cache_options *options,
                             rill__cache *out, rill_error *err) {
    const rill__description *d = net->model;
    rill__cache cache = {.backend = net->backend,
                         .n_layers = d->n_layers,
                         .n_kv_heads = d->n_kv_heads,
                         .rows = options->rows};
    cache.layers = rill__calloc(d->n_layers, sizeof *cache.layers);
    rill_status status = cache.layers ? open_positions(d, options, &cache, err)
                                      : rill__fail_memory(err, "a cache's layers",
                                                          d->n_layers * sizeof *cache.layers);
    for (uint32_t i = 0; status == RILL_OK && i < d->n_layers; i++)
        status = open_layer(d, net->backend, options, &cache.layers[i], err);
    if (status != RILL_OK) {
        rill__cache_close(&cache);
        return status;
    }
    *out = cache;
    return RILL_OK;
}

void rill__cache_close(rill__cache *cache) {
    for (uint32_t i = 0; cache->layers && i < cache->n_layers; i++) {
        cache->backend->ops->buffer_free(cache->backend, cache->layers[i].keys);
        cache->backend->ops->buffer_free(cache->backend, cache->layers[i].values);
    }
    rill__free(cache->layers);
    rill__free(cache->phase_steps);
    rill__free(cache->fade);
    memset(cache, 0, sizeof *cache);
}

void rill__cache_set_sinks(rill__cache *cache, uint32_t n_sinks) {
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        cache->layers[i].n_sinks = n_sinks;
        cache->layers[i].ring_rows = cache->rows - n_sinks;
    }
}

size_t rill__cache_token_bytes(const rill__cache *cache) {
    const rill__kv *kv = &cache->layers[0];
    return (kv->key_row_bytes + kv->value_row_bytes) * cache->n_kv_heads * cache->n_layers;
}

// Calls the backend's read or write for the longest runs of neighbouring rows.
static void copy_rows(const rill__cache *cache, uint32_t layer, bool values, uint64_t first,
                      size_t count, uint8_t *out, const uint8_t *in) {
    const rill__backend_ops *ops = cache->backend->ops;
    const rill__kv *kv = &cache->layers[layer];
    rill__buffer *buffer = values ? kv->values : kv->keys;
    size_t bytes = values ? kv->value_row_bytes : kv->key_row_bytes;
    for (uint32_t head = 0; head < cache->n_kv_heads; head++) {
        for (size_t i = 0; i < count;) {
            size_t row = rill__kv_row(kv, first + i);
            size_t run = 1;
            while (i + run < count && rill__kv_row(kv, first + i + run) == row + run) run++;
            size_t offset = ((size_t)head * cache->rows + row) * bytes;
            size_t at = ((size_t)head * count + i) * bytes;
            if (out)
                ops->buffer_read(cache->backend, buffer, offset, out + at, run * bytes);
            else
                ops->buffer_write(cache->backend, buffer, offset, in + at, run * bytes);
            i += run;
        }
    }
}

void rill__cache_read(const rill__cache *cache, uint32_t layer, uint64_t first, size_t count,
                      uint8_t *bytes) {
    size_t keys = cache->layers[layer].key_row_bytes * cache->n_kv_heads * count;
    copy_rows(cache, layer, false, first, count, bytes, NULL);
    copy_rows(cache, layer, true, first, count, bytes + keys, NULL);
}

void rill__cache_write(rill__cache *cache, uint32_t layer, uint64_t first, size_t count,
                       const uint8_t *bytes) {
    size_t keys = cache->layers[layer].key_row_bytes * cache->n_kv_heads * count;
    copy_rows(cache, layer, false, first, count, NULL, bytes);
    copy_rows(cache, layer, true, first, count, NULL, bytes + keys);
}
