// SPDX-License-Identifier: MIT
// Snapshots: a stream's whole state in a file, and back.
//
// The file: magic, version, the model's fingerprint, options, what is visible, sampler, tokens,
// logits, then the keys and values of the visible tokens in the order of tokens, and a checksum.
// Nothing in it depends on where the ring stands or on the backend.
//
// Each walk_* below serves both directions by way of an image: numbers copied from the stream that
// is saved, which is only read, or come from the file, whose arrays stay where they are until all
// of it was found right.
#include "stream/archive.h"
#include "stream/stream.h"

#include <string.h>

static const char magic[] = RILL_SNAPSHOT_MAGIC;
// Version 1 had no scaling of RoPE.
enum { SNAPSHOT_VERSION = 2, OLDEST_VERSION = 1 };
static const uint64_t max_seen = (uint64_t)1 << 62;

// What a snapshot says. Arrays point into the file when loading; saving takes them from `saved`.
typedef struct image {
    const rill_stream *saved;  // NULL when loading
    uint32_t version;
    rill__stream_plan plan;
    rill__policy policy;    // the numbers; its ring is `starts` when loading
    const uint8_t *starts;  // [policy.n_starts] of 64 bits, not aligned
    bool in_answer;
    uint64_t system_end;
    rill_sampling sampling;
    uint64_t random[4];
    const rill_token *first;   // [first_tokens]
    const rill_token *latest;  // [latest_tokens]
    bool logits_valid;
    const float *logits;  // [vocab_size] if valid
    const uint8_t *rows;  // keys and values
} image;

// Who made it, and for which model.
static void walk_header(rill__archive *a, const rill__model *model, uint32_t *version) {
    rill__archive_u32(a, version);
    if (a->status == RILL_OK && (*version < OLDEST_VERSION || *version > SNAPSHOT_VERSION))
        a->status = rill__fail(a->err, RILL_EUNSUPPORTED,
                               "%s: version %u of snapshots; this rill reads versions %d to %d",
                               a->path, *version, OLDEST_VERSION, SNAPSHOT_VERSION);
    uint64_t fingerprint[2] = {model->fingerprint[0], model->fingerprint[1]};
    rill__archive_u64(a, &fingerprint[0]);
    rill__archive_u64(a, &fingerprint[1]);
    if (a->status == RILL_OK && memcmp(fingerprint, model->fingerprint, sizeof fingerprint) != 0)
        a->status = rill__fail(a->err, RILL_EMISMATCH,
                               "%s: the snapshot belongs to another model than '%s'; open it with "
                               "the model that it was made with",
                               a->path, model->description.name);
}

static void walk_options(rill__archive *a, uint32_t version, rill_stream_options *o) {
    uint32_t rope_scaling = (uint32_t)o->rope_scaling;
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
    if (version > 1) rill__archive_u32(a, &rope_scaling);
    if (version > 1) rill__archive_f32(a, &o->rope_factor);
    if (!rill__archive_require(a, method <= RILL_METHOD_RECOMPUTE && evict <= RILL_EVICT_MESSAGE,
                               "options", "an unknown method or eviction"))
        return;
    // The sizes in a file are final: none is left for rill to choose.
    rill__archive_require(a, o->sinks != RILL_SINKS_AUTO && o->window > 0 && o->chunk > 0,
                          "options", "a size is missing");
    rill__archive_require(a, rope_scaling <= RILL_ROPE_SCALING_NTK, "options",
                          "an unknown scaling of RoPE");
    o->rope_scaling = (rill_rope_scaling)rope_scaling;
    o->method = (rill_method)method;
    o->evict = (rill_evict)evict;
    o->key_type = (rill_type)key_type;
    o->value_type = (rill_type)value_type;
    o->default_types = false;
}

static bool policy_is_sane(const image *im) {
    const rill__policy *p = &im->policy;
    uint32_t capacity = im->plan.capacity;
    if (p->n_sinks > capacity || p->window > capacity || p->n_sinks + p->window != capacity ||
        p->window == 0 || p->seen > max_seen)
        return false;
    bool fits = p->seen <= p->n_sinks
                    ? p->first_recent == p->n_sinks
                    : p->first_recent >= p->n_sinks && p->first_recent < p->seen &&
                          p->seen - p->first_recent <= p->window;
    bool evicted = p->first_recent > p->n_sinks;
    uint32_t asked = im->plan.options.sinks;
    bool pinned_well = p->n_sinks == asked || (p->n_sinks > asked && p->n_sinks <= p->seen);
    return fits && pinned_well && evicted == (p->evictions > 0) && p->evictions <= p->seen &&
           (im->plan.options.method != RILL_METHOD_DENSE || !evicted);
}

static bool counts_are_sane(const rill__policy *p) {
    if (p->evictions == 0) return p->messages_kept == 0 && p->messages_seen == p->n_starts;
    return p->messages_kept <= p->n_sinks && p->messages_seen <= p->seen + 1 &&
           p->messages_kept + p->n_starts <= p->messages_seen;
}

// Messages begin one after the other. An eviction leaves none that began before first_recent
// (drop_starts in policy.c), so that there are at most as many as tokens to begin at.
static void walk_starts(rill__archive *a, image *im) {
    const rill__policy *p = &im->policy;
    for (uint32_t i = 0; !a->loading && i < p->n_starts; i++)
        rill__archive_put(a, &p->starts[(p->starts_first + i) % p->starts_capacity],
                          sizeof *p->starts);
    if (!a->loading) return;
    uint64_t least = p->evictions > 0 ? p->first_recent : 0;
    im->starts = rill__archive_take(a, p->n_starts * sizeof least);
    for (uint32_t i = 0; i < p->n_starts && a->status == RILL_OK; i++) {
        uint64_t start;
        memcpy(&start, im->starts + i * sizeof start, sizeof start);
        rill__archive_require(a, start >= least && start <= p->seen, "messages",
                              "out of order, or evicted");
        least = start + 1;
    }
}

static void walk_visible(rill__archive *a, image *im) {
    rill__policy *p = &im->policy;
    rill__archive_u32(a, &p->n_sinks);
    rill__archive_u32(a, &p->window);
    rill__archive_u64(a, &p->seen);
    rill__archive_u64(a, &p->first_recent);
    rill__archive_u64(a, &p->evictions);
    rill__archive_u64(a, &p->messages_seen);
    rill__archive_u64(a, &p->messages_kept);
    rill__archive_u32(a, &p->n_starts);
    rill__archive_require(a, policy_is_sane(im), "visible tokens", "impossible numbers");
    rill__archive_require(a, counts_are_sane(p), "messages", "impossible numbers");
    if (a->status == RILL_OK) walk_starts(a, im);
    rill__archive_bool(a, &im->in_answer);
    rill__archive_u64(a, &im->system_end);
    rill__archive_require(a, im->system_end <= p->seen, "system message", "ends past the end");
}

static void walk_sampling(rill__archive *a, image *im, uint32_t vocab_size) {
    rill_sampling *o = &im->sampling;
    rill__archive_f32(a, &o->temperature);
    rill__archive_u32(a, &o->top_k);
    rill__archive_f32(a, &o->top_p);
    rill__archive_f32(a, &o->min_p);
    rill__archive_f32(a, &o->repetition_penalty);
    rill__archive_f32(a, &o->presence_penalty);
    rill__archive_f32(a, &o->frequency_penalty);
    rill__archive_u32(a, &o->penalty_window);
    rill__archive_u64(a, &o->seed);
    uint32_t n_bias = (uint32_t)o->n_bias;
    rill__archive_u32(a, &n_bias);
    if (!rill__archive_require(a, n_bias <= RILL_MAX_LOGIT_BIAS, "sampling", "too many biases"))
        return;
    o->n_bias = n_bias;
    if (a->loading)
        o->bias = rill__archive_take(a, n_bias * sizeof *o->bias);
    else
        rill__archive_put(a, o->bias, n_bias * sizeof *o->bias);
    rill_error why;
    if (a->loading && a->status == RILL_OK && rill__sampler_check(o, vocab_size, &why) != RILL_OK)
        rill__archive_require(a, false, "sampling", why.message);
    for (int i = 0; i < 4; i++) rill__archive_u64(a, &im->random[i]);
    const uint64_t *r = im->random;
    rill__archive_require(a, (r[0] | r[1] | r[2] | r[3]) != 0, "sampling", "a dead generator");
}

static size_t at_most(uint64_t n, size_t most) {
    return n < most ? (size_t)n : most;
}

static size_t first_tokens(const image *im) {
    return at_most(im->policy.seen, im->plan.capacity);
}

static size_t latest_tokens(const image *im) {
    return at_most(im->policy.seen, im->plan.history);
}

static const rill_token *take_tokens(rill__archive *a, size_t n, uint32_t vocab_size) {
    const rill_token *tokens = rill__archive_take(a, n * sizeof *tokens);
    for (size_t i = 0; i < n && a->status == RILL_OK; i++)
        rill__archive_require(a, (uint32_t)tokens[i] < vocab_size, "tokens",
                              "one is outside the vocabulary");
    return tokens;
}

// The first tokens and the latest, as they came.
static void walk_history(rill__archive *a, image *im, uint32_t vocab_size) {
    size_t n_first = first_tokens(im), n_latest = latest_tokens(im);
    if (a->loading) {
        im->first = take_tokens(a, n_first, vocab_size);
        im->latest = take_tokens(a, n_latest, vocab_size);
        return;
    }
    const rill__history *h = &im->saved->history;
    rill__archive_put(a, h->first, n_first * sizeof *h->first);
    for (uint64_t t = h->seen - n_latest; t < h->seen; t++)
        rill__archive_put(a, &h->latest[t % h->n_latest], sizeof *h->latest);
}

// True once a recomputing stream's cache holds nothing of use.
static bool recomputes(const image *im) {
    return im->plan.options.method == RILL_METHOD_RECOMPUTE && im->policy.evictions > 0;
}

static void walk_logits(rill__archive *a, image *im, uint32_t vocab_size) {
    rill__archive_bool(a, &im->logits_valid);
    bool must = im->policy.seen > 0 && !recomputes(im);
    rill__archive_require(a, im->logits_valid ? im->policy.seen > 0 : !must, "logits",
                          "there or missing against the rest");
    if (!im->logits_valid) return;
    if (a->loading)
        im->logits = rill__archive_take(a, vocab_size * sizeof *im->logits);
    else
        rill__archive_put(a, im->saved->logits, vocab_size * sizeof *im->logits);
}

// How many tokens' rows come before those of the recent ones.
static uint64_t first_group(const rill__policy *p) {
    return p->seen < p->n_sinks ? p->seen : p->n_sinks;
}

// Keys and values of tokens [first, first + count), layer by layer; `scratch` holds one layer's.
static void put_rows(rill__archive *a, const rill__cache *cache, uint64_t first, size_t count,
                     uint8_t *scratch) {
    size_t bytes = rill__cache_token_bytes(cache) / cache->n_layers * count;
    for (uint32_t layer = 0; layer < cache->n_layers && count > 0; layer++) {
        rill__cache_read(cache, layer, first, count, scratch);
        rill__archive_put(a, scratch, bytes);
    }
}

static void put_cache(rill__archive *a, const image *im) {
    const rill__policy *p = &im->policy;
    const rill__cache *cache = &im->saved->cache;
    size_t held = rill__policy_held(p), n_first = first_group(p);
    size_t bytes = rill__cache_token_bytes(cache) / cache->n_layers * held;
    uint8_t *scratch = rill__malloc(bytes);
    if (!scratch) {
        a->status = rill__fail_memory(a->err, "a layer of a snapshot", bytes);
        return;
    }
    put_rows(a, cache, 0, n_first, scratch);
    put_rows(a, cache, p->first_recent, held - n_first, scratch);
    rill__free(scratch);
    // What could not be read is no snapshot.
    if (a->status == RILL_OK) a->status = cache->backend->ops->synchronize(cache->backend, a->err);
}

static void walk_cache(rill__archive *a, image *im, const rill__description *d) {
    if (a->status != RILL_OK || recomputes(im) || im->policy.seen == 0) return;
    if (!a->loading) {
        put_cache(a, im);
        return;
    }
    rill__cache_options one = im->plan.cache;
    one.rows = 1;
    uint64_t token_bytes;
    // The whole cache's bytes did not overflow, and it has at least as many rows.
    if (rill__cache_bytes(d, &one, &token_bytes))
        im->rows = rill__archive_take(a, rill__policy_held(&im->policy) * token_bytes);
}

static void walk_state(rill__archive *a, image *im, const rill__description *d) {
    walk_visible(a, im);
    walk_sampling(a, im, d->vocab_size);
    if (a->status == RILL_OK) walk_history(a, im, d->vocab_size);
    if (a->status == RILL_OK) walk_logits(a, im, d->vocab_size);
    walk_cache(a, im, d);
}

rill_status rill_stream_save(const rill_stream *stream, const char *path, rill_error *err) {
    image im = {
        .saved = stream,
        .version = SNAPSHOT_VERSION,
        .plan = stream->plan,
        .policy = stream->policy,
        .in_answer = stream->in_answer,
        .system_end = stream->system_end,
        .sampling = stream->sampler.options,
        .logits_valid = stream->logits_valid,
    };
    memcpy(im.random, stream->sampler.random, sizeof im.random);
    const rill__model *model = stream->model->model;
    rill__archive archive;
    rill_status status = rill__stream_read_logits(stream, err);
    if (status != RILL_OK) return status;
    if (rill__archive_save(&archive, path, magic, err) == RILL_OK) {
        walk_header(&archive, model, &im.version);
        walk_options(&archive, im.version, &im.plan.options);
        walk_state(&archive, &im, &model->description);
    }
    return rill__archive_finish(&archive);
}

// Returns where the rows after these lie.
static const uint8_t *set_rows(rill__cache *cache, uint64_t first, size_t count,
                               const uint8_t *rows) {
    size_t bytes = rill__cache_token_bytes(cache) / cache->n_layers * count;
    for (uint32_t layer = 0; layer < cache->n_layers && count > 0; layer++) {
        rill__cache_write(cache, layer, first, count, rows);
        rows += bytes;
    }
    return rows;
}

// Makes the empty stream the one that was saved.
static rill_status restore(rill_stream *s, const image *im, rill_error *err) {
    rill_status status = rill__sampler_set(&s->sampler, &im->sampling, err);
    if (status != RILL_OK) return status;
    memcpy(s->sampler.random, im->random, sizeof im->random);

    rill__policy *p = &s->policy;
    uint64_t *starts = p->starts;
    uint32_t starts_capacity = p->starts_capacity;
    *p = im->policy;
    p->evict = im->plan.options.evict;
    p->starts = starts;
    p->starts_capacity = starts_capacity;
    if (p->n_starts > 0) memcpy(starts, im->starts, p->n_starts * sizeof *starts);
    s->in_answer = im->in_answer;
    s->system_end = im->system_end;

    rill__history *h = &s->history;
    size_t n_first = first_tokens(im), n_latest = latest_tokens(im);
    if (n_first > 0) memcpy(h->first, im->first, n_first * sizeof *h->first);
    h->seen = p->seen;
    for (size_t i = 0; i < n_latest; i++)
        h->latest[(h->seen - n_latest + i) % h->n_latest] = im->latest[i];

    s->logits_valid = im->logits_valid;
    if (im->logits)
        memcpy(s->logits, im->logits, s->model->model->description.vocab_size * sizeof *s->logits);
    if (s->plan.rolls) rill__cache_set_sinks(&s->cache, p->n_sinks);
    if (im->rows) {
        size_t n_sinks = first_group(p);
        const uint8_t *recent = set_rows(&s->cache, 0, n_sinks, im->rows);
        set_rows(&s->cache, p->first_recent, rill__policy_held(p) - n_sinks, recent);
    }
    return RILL_OK;
}

static rill_status load(rill__archive *a, rill_model *model, rill_stream **out) {
    image im = {0};
    rill_stream_options_default(&im.plan.options);
    walk_header(a, model->model, &im.version);
    walk_options(a, im.version, &im.plan.options);
    if (a->status == RILL_OK)
        a->status = rill__stream_plan_make(model, &im.plan.options, &im.plan, a->err);
    if (a->status == RILL_OK) walk_state(a, &im, &model->model->description);
    rill_status status = rill__archive_finish(a);
    // Only now is memory taken: a small file that speaks of a large window must hold what it says.
    rill_stream *s;
    if (status == RILL_OK) status = rill_stream_open(model, &im.plan.options, &s, a->err);
    if (status != RILL_OK) return status;
    status = restore(s, &im, a->err);
    if (status != RILL_OK)
        rill_stream_close(&s);
    else
        *out = s;
    return status;
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
