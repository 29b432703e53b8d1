// SPDX-License-Identifier: MIT
// Snapshots: a stream's whole state in a file, and back.
//
// The file: magic, version, the model's fingerprint, options, what is visible, sampler, tokens,
// logits, then the keys and values of the visible tokens in the order of tokens, and a checksum.
// Nothing in it depends on where the ring stands or on the backend. Each walk_* below serves both
// directions.
#include "stream/archive.h"
#include "stream/stream.h"

#include <string.h>

static const char magic[] = "RILLSNAP";
enum { SNAPSHOT_VERSION = 1 };
static const uint64_t max_seen = (uint64_t)1 << 62;

// Who made it, and for which model.
static void walk_header(rill__archive *a, const rill__model *model) {
    uint32_t version = SNAPSHOT_VERSION;
    rill__archive_u32(a, &version);
    if (a->status == RILL_OK && version != SNAPSHOT_VERSION)
        a->status = rill__fail(a->err, RILL_EUNSUPPORTED,
                               "%s: version %u of snapshots; this rill reads version %d", a->path,
                               version, SNAPSHOT_VERSION);
    uint64_t fingerprint[2] = {model->fingerprint[0], model->fingerprint[1]};
    rill__archive_u64(a, &fingerprint[0]);
    rill__archive_u64(a, &fingerprint[1]);
    if (a->status == RILL_OK && memcmp(fingerprint, model->fingerprint, sizeof fingerprint) != 0)
        a->status = rill__fail(a->err, RILL_EMISMATCH,
                               "%s: the snapshot belongs to another model than '%s'; open it with "
                               "the model that it was made with",
                               a->path, model->description.name);
}

static void walk_options(rill__archive *a, rill_stream_options *o) {
    uint32_t method = (uint32_t)o->method, evict = (uint32_t)o->evict;
    uint32_t key_type = (uint32_t)o->key_type, value_type = (uint32_t)o->value_type;
    rill__archive_u32(a, &method);
    rill__archive_u32(a, &o->sinks);
    rill__archive_u32(a, &o->window);
    rill__archive_u32(a, &evict);
    rill__archive_u32(a, &key_type);
    rill__archive_u32(a, &value_type);
    rill__archive_f32(a, &o->sink_scale);
    rill__archive_f32(a, &o->sink_cap);
    rill__archive_u32(a, &o->chunk);
    rill__archive_u64(a, &o->start);
    rill__archive_bool(a, &o->over_context);
    if (!rill__archive_require(a, method <= RILL_METHOD_RECOMPUTE && evict <= RILL_EVICT_MESSAGE,
                               "options", "an unknown method or eviction"))
        return;
    // The sizes in a file are final: none is left for rill to choose.
    rill__archive_require(a, o->sinks != RILL_SINKS_AUTO && o->window > 0 && o->chunk > 0,
                          "options", "a size is missing");
    o->method = (rill_method)method;
    o->evict = (rill_evict)evict;
    o->key_type = (rill_type)key_type;
    o->value_type = (rill_type)value_type;
    o->default_types = false;
}

static bool policy_is_sane(const rill_stream *s) {
    const rill__policy *p = &s->policy;
    uint32_t capacity = s->plan.capacity;
    if (p->n_sinks > capacity || p->window > capacity || p->n_sinks + p->window != capacity ||
        p->window == 0 || p->seen > max_seen)
        return false;
    bool fits = p->seen <= p->n_sinks
                    ? p->first_recent == p->n_sinks
                    : p->first_recent >= p->n_sinks && p->first_recent < p->seen &&
                          p->seen - p->first_recent <= p->window;
    bool evicted = p->first_recent > p->n_sinks;
    bool pinned_well = p->n_sinks == s->plan.options.sinks || p->n_sinks <= p->seen;
    return fits && pinned_well && evicted == (p->evictions > 0) && p->evictions <= p->seen &&
           (s->plan.options.method != RILL_METHOD_DENSE || !evicted);
}

// What an eviction leaves (drop_starts in policy.c): no start before first_recent, so that there
// are at most as many as tokens to begin at. Before the first eviction nothing was dropped.
static bool messages_are_sane(const rill_stream *s) {
    const rill__policy *p = &s->policy;
    bool evicted = p->evictions > 0;
    if (!evicted) return p->messages_kept == 0 && p->messages_seen == p->n_starts;
    bool visible = p->n_starts == 0 || p->starts[p->starts_first] >= p->first_recent;
    return visible && p->messages_kept <= p->n_sinks && p->messages_seen <= p->seen + 1 &&
           p->messages_kept + p->n_starts <= p->messages_seen;
}

static void walk_policy(rill__archive *a, rill_stream *s) {
    rill__policy *p = &s->policy;
    rill__archive_u32(a, &p->n_sinks);
    rill__archive_u32(a, &p->window);
    rill__archive_u64(a, &p->seen);
    rill__archive_u64(a, &p->first_recent);
    rill__archive_u64(a, &p->evictions);
    rill__archive_u64(a, &p->messages_seen);
    rill__archive_u64(a, &p->messages_kept);
    uint32_t n_starts = p->n_starts;
    rill__archive_u32(a, &n_starts);
    if (!rill__archive_require(a, n_starts <= p->starts_capacity, "messages", "too many")) return;
    uint64_t least = 0;
    for (uint32_t i = 0; i < n_starts; i++) {
        uint64_t *start = &p->starts[(p->starts_first + i) % p->starts_capacity];
        rill__archive_u64(a, start);
        if (!rill__archive_require(a, *start >= least && *start <= p->seen, "messages",
                                   "out of order"))
            return;
        least = *start + 1;
    }
    p->n_starts = n_starts;
    rill__archive_bool(a, &s->in_answer);
    rill__archive_u64(a, &s->system_end);
    rill__archive_require(a, policy_is_sane(s), "visible tokens", "impossible numbers");
    if (rill__archive_require(a, messages_are_sane(s), "messages", "impossible numbers"))
        if (a->loading && s->plan.rolls) rill__cache_set_sinks(&s->cache, p->n_sinks);
}

static void walk_sampler(rill__archive *a, rill__sampler *sampler) {
    rill_sampling o = sampler->options;
    rill__archive_f32(a, &o.temperature);
    rill__archive_u32(a, &o.top_k);
    rill__archive_f32(a, &o.top_p);
    rill__archive_f32(a, &o.min_p);
    rill__archive_f32(a, &o.repetition_penalty);
    rill__archive_f32(a, &o.presence_penalty);
    rill__archive_f32(a, &o.frequency_penalty);
    rill__archive_u32(a, &o.penalty_window);
    rill__archive_u64(a, &o.seed);
    uint32_t n_bias = (uint32_t)o.n_bias;
    rill__archive_u32(a, &n_bias);
    if (!rill__archive_require(a, n_bias <= RILL_MAX_LOGIT_BIAS, "sampling", "too many biases"))
        return;
    for (uint32_t i = 0; i < n_bias; i++) {
        uint32_t token = (uint32_t)sampler->bias[i].token;
        rill__archive_u32(a, &token);
        rill__archive_f32(a, &sampler->bias[i].bias);
        sampler->bias[i].token = (rill_token)token;
    }
    if (a->loading && a->status == RILL_OK) {
        o.bias = sampler->bias;
        o.n_bias = n_bias;
        rill_error why;
        if (rill__sampler_set(sampler, &o, &why) != RILL_OK)
            rill__archive_require(a, false, "sampling", why.message);
    }
    for (int i = 0; i < 4; i++) rill__archive_u64(a, &sampler->random[i]);
    const uint64_t *r = sampler->random;
    rill__archive_require(a, (r[0] | r[1] | r[2] | r[3]) != 0, "sampling", "a dead generator");
}

// The first tokens and the latest; loading pushes the latest as they came.
static void walk_history(rill__archive *a, rill_stream *s) {
    rill__history *h = &s->history;
    uint64_t seen = s->policy.seen;
    size_t n_first = seen < h->n_first ? seen : h->n_first;
    size_t n_latest = seen < h->n_latest ? seen : h->n_latest;
    uint32_t vocab_size = s->model->model->description.vocab_size;
    rill__archive_bytes(a, h->first, n_first * sizeof *h->first);
    for (size_t i = 0; i < n_first && a->status == RILL_OK; i++)
        rill__archive_require(a, (uint32_t)h->first[i] < vocab_size, "tokens",
                              "one is outside the vocabulary");
    for (uint64_t t = seen - n_latest; t < seen && a->status == RILL_OK; t++) {
        rill_token *token = &h->latest[t % h->n_latest];
        rill__archive_bytes(a, token, sizeof *token);
        rill__archive_require(a, (uint32_t)*token < vocab_size, "tokens",
                              "one is outside the vocabulary");
    }
    if (a->status == RILL_OK) h->seen = seen;
}

static void walk_logits(rill__archive *a, rill_stream *s) {
    rill__archive_bool(a, &s->logits_valid);
    bool must = s->policy.seen > 0 && !rill__stream_recomputes(s);
    rill__archive_require(a, s->logits_valid ? s->policy.seen > 0 : !must, "logits",
                          "there or missing against the rest");
    if (s->logits_valid)
        rill__archive_bytes(a, s->logits,
                            s->model->model->description.vocab_size * sizeof *s->logits);
}

// Keys and values of tokens [first, first + count), layer by layer; `scratch` holds one layer's.
static void walk_rows(rill__archive *a, rill_stream *s, uint64_t first, size_t count,
                      uint8_t *scratch) {
    size_t bytes = rill__cache_token_bytes(&s->cache) / s->cache.n_layers * count;
    for (uint32_t layer = 0; layer < s->cache.n_layers && count > 0; layer++) {
        if (!a->loading) rill__cache_read(&s->cache, layer, first, count, scratch);
        rill__archive_bytes(a, scratch, bytes);
        if (a->loading && a->status == RILL_OK)
            rill__cache_write(&s->cache, layer, first, count, scratch);
    }
}

static void walk_cache(rill__archive *a, rill_stream *s) {
    const rill__policy *p = &s->policy;
    if (a->status != RILL_OK || rill__stream_recomputes(s) || p->seen == 0) return;
    uint64_t held = rill__policy_held(p);
    size_t bytes = rill__cache_token_bytes(&s->cache) / s->cache.n_layers * held;
    uint8_t *scratch = rill__malloc(bytes);
    if (!scratch) {
        a->status = rill__fail_memory(a->err, "a layer of a snapshot", bytes);
        return;
    }
    uint64_t n_first = p->seen < p->n_sinks ? p->seen : p->n_sinks;
    walk_rows(a, s, 0, n_first, scratch);
    walk_rows(a, s, p->first_recent, held - n_first, scratch);
    rill__free(scratch);
}

static void walk_state(rill__archive *a, rill_stream *s) {
    walk_policy(a, s);
    walk_sampler(a, &s->sampler);
    if (a->status == RILL_OK) walk_history(a, s);
    if (a->status == RILL_OK) walk_logits(a, s);
    walk_cache(a, s);
}

rill_status rill_stream_save(const rill_stream *stream, const char *path, rill_error *err) {
    // A walk writes through pointers only when it loads, so that saving leaves the stream as it is.
    rill_stream *s = (rill_stream *)stream;
    rill__archive archive;
    rill_stream_options options = s->plan.options;
    if (rill__archive_save(&archive, path, magic, err) == RILL_OK) {
        walk_header(&archive, s->model->model);
        walk_options(&archive, &options);
        walk_state(&archive, s);
    }
    return rill__archive_finish(&archive);
}

static rill_status load(rill__archive *a, rill_model *model, rill_stream **out) {
    rill_stream_options options;
    rill_stream_options_default(&options);
    walk_header(a, model->model);
    walk_options(a, &options);
    if (a->status != RILL_OK) return a->status;
    rill_stream *s;
    a->status = rill_stream_open(model, &options, &s, a->err);
    if (a->status != RILL_OK) return a->status;
    walk_state(a, s);
    if (rill__archive_finish(a) != RILL_OK) {
        rill_stream_close(&s);
        return a->status;
    }
    *out = s;
    return RILL_OK;
}

rill_status rill_stream_load(rill_model *model, const char *path, rill_stream **out,
                             rill_error *err) {
    rill__mapping file;
    rill_status status = rill__mapping_open(path, &file, err);
    if (status != RILL_OK) return status;
    rill__archive archive;
    status = rill__archive_load(&archive, path, &file, magic, err);
    if (status == RILL_OK) status = load(&archive, model, out);
    rill__mapping_close(&file);
    return status;
}
