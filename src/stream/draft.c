// SPDX-License-Identifier: MIT
// Guesses by prompt lookup (Saxena, 2023; Yang et al., Inference with Reference, 2023): where the
// last three tokens stood together before, what followed them follows again.
#include "stream/draft.h"

#include "base/clock.h"

#include <string.h>

enum {
    SEQUENCE = 3,      // tokens that must have stood together before
    PLACES = 1 << 13,  // sequences that are remembered; later ones take the place of others
    BACKLOG = 64,      // old sequences taken in with each token, which takes about 1 us
};
static const uint64_t nowhere = UINT64_MAX;

// What is known before anything was measured, and what measurements fall back to: between a large
// model, where memory is the limit and a row more is nearly free, and a small one, where it costs
// as much as the first.
static const double usual_cost = 0.5;
static const double forget = 1.0 / 512;  // a token: a disturbed measurement does not last
static const double learn = 1.0 / 8;     // weight of the latest guess, and of the latest pass

rill_status rill__draft_open(rill__draft *d, rill_stream *s, uint32_t most, rill_error *err) {
    *d = (rill__draft){.s = s, .oldest = s->policy.seen, .from = nowhere};
    if (s->pace.seconds == 0) s->pace.cost = usual_cost;
    const rill_stream_options *o = &s->plan.options;
    if (most != RILL_DRAFT_AUTO && most > RILL_MAX_DRAFT)
        return rill__fail(err, RILL_EINVAL, "draft: %u tokens; at most %d is right", most,
                          RILL_MAX_DRAFT);
    d->adaptive = most == RILL_DRAFT_AUTO;
    if (d->adaptive) most = RILL_MAX_DRAFT;
    // A pass of fewer rows than a chunk overwrites nothing that is visible before it.
    if (most + 2 > o->chunk) most = o->chunk > 2 ? o->chunk - 2 : 0;
    if (o->method == RILL_METHOD_RECOMPUTE || s->attention) most = 0;
    if (most == 0) return RILL_OK;
    size_t bytes = (1 + most) * (size_t)s->model->model->description.vocab_size * sizeof(float);
    d->logits = rill__map_resident(bytes);
    d->places = rill__map_resident(PLACES * sizeof *d->places);
    d->most = most;
    if (d->logits && d->places) return RILL_OK;
    rill__draft_close(d);
    return rill__fail_memory(err, "guesses", bytes + PLACES * sizeof *d->places);
}

void rill__draft_close(rill__draft *d) {
    if (!d->s) return;
    size_t vocab_size = d->s->model->model->description.vocab_size;
    rill__unmap_memory(d->logits, (1 + d->most) * vocab_size * sizeof *d->logits);
    rill__unmap_memory(d->places, PLACES * sizeof *d->places);
    memset(d, 0, sizeof *d);
}

// ---- Where sequences stood ------------------------------------------------------------------

static uint64_t *place_of(const rill__draft *d, rill_token a, rill_token b, rill_token c) {
    uint64_t hash = (uint32_t)a * 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 29) ^ (uint32_t)b) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 29) ^ (uint32_t)c) * 0x94d049bb133111ebu;
    return &d->places[hash >> 51];
}
_Static_assert(PLACES == 1 << (64 - 51), "a place for each hash");

// Takes in the sequence that the last token ended, and some that ended before this began.
static void take_in(rill__draft *d) {
    const rill__history *h = &d->s->history;
    if (h->seen < SEQUENCE) return;
    rill_token b = rill__history_get(h, h->seen - 2), c = rill__history_get(h, h->seen - 1);
    *place_of(d, rill__history_get(h, h->seen - 3), b, c) = h->seen;
    if (d->oldest < SEQUENCE) return;
    if (h->seen - (d->oldest - SEQUENCE) > h->n_latest) {  // older ones are forgotten
        d->oldest = 0;
        return;
    }
    c = rill__history_get(h, d->oldest - 1);
    b = rill__history_get(h, d->oldest - 2);
    for (int i = 0; i < BACKLOG && d->oldest >= SEQUENCE; i++) {
        if (h->seen - (d->oldest - SEQUENCE) > h->n_latest) {
            d->oldest = 0;
            return;
        }
        rill_token a = rill__history_get(h, d->oldest - 3);
        uint64_t *place = place_of(d, a, b, c);
        if (*place == 0) *place = d->oldest;
        c = b;
        b = a;
        d->oldest--;
    }
}

// What followed the last two tokens and this one, which is yet to be read.
static uint64_t look_up(const rill__draft *d, rill_token token) {
    const rill__history *h = &d->s->history;
    if (h->seen < SEQUENCE - 1) return nowhere;
    rill_token a = rill__history_get(h, h->seen - 2), b = rill__history_get(h, h->seen - 1);
    uint64_t place = *place_of(d, a, b, token);
    if (place == 0 || h->seen - (place - 3) > h->n_latest) return nowhere;
    bool same = rill__history_get(h, place - 3) == a && rill__history_get(h, place - 2) == b &&
                rill__history_get(h, place - 1) == token;
    return same ? place : nowhere;
}

// ---- What pays ------------------------------------------------------------------------------

static void approach(double *mean, double value) {
    *mean += learn * (value - *mean);
}

// Guesses cost nothing, only computing them ahead does: whether they come true is known either way.
static void follow(rill__draft *d, rill_token token) {
    if (d->from != nowhere) {
        bool hit = rill__history_get(&d->s->history, d->from) == token;
        approach(&d->s->pace.hits, hit);
        d->from = hit ? d->from + 1 : nowhere;
    }
    if (d->from == nowhere) d->from = look_up(d, token);
}

// How many guesses are worth computing: the k-th is needed with probability hits^k, and must save
// more of a pass then than it costs.
static size_t how_many(const rill__draft *d, uint64_t wanted) {
    const rill_stream *s = d->s;
    if (d->from == nowhere) return 0;
    size_t n = 0, most = wanted < d->most ? (size_t)wanted : d->most;
    if (!s->plan.rolls && s->plan.capacity - s->policy.seen - 1 < most)
        most = (size_t)(s->plan.capacity - s->policy.seen - 1);
    if (!d->adaptive) return most;
    for (double needed = s->pace.hits; n < most && needed > s->pace.cost; n++)
        needed *= s->pace.hits;
    return n;
}

static void measure(rill__pace *p, size_t n_rows, double seconds) {
    if (p->seconds == 0) p->seconds = seconds / (double)n_rows;
    if (n_rows > 1) {
        double more = (seconds / p->seconds - 1) / (double)(n_rows - 1);
        approach(&p->cost, more > 0 ? more : 0);
        return;
    }
    approach(&p->seconds, seconds);
    p->cost += forget * (usual_cost - p->cost);
}

// ---- Reading --------------------------------------------------------------------------------

// The token and n guesses: what followed where it stood before, and, past the end of that, the
// guesses themselves.
static void fill(rill__draft *d, rill_token token, size_t n) {
    const rill__history *h = &d->s->history;
    d->tokens[0] = token;
    for (size_t i = 0; i < n; i++) {
        uint64_t at = d->from + i;
        d->tokens[1 + i] = at < h->seen ? rill__history_get(h, at) : d->tokens[at - h->seen];
    }
}

rill_status rill__draft_read(rill__draft *d, rill_token token, uint64_t wanted, rill_error *err) {
    rill_stream *s = d->s;
    if (d->most == 0) return rill_stream_feed(s, &token, 1, NULL, err);
    size_t vocab_size = s->model->model->description.vocab_size;
    rill_status status = RILL_OK;
    uint64_t seen = s->policy.seen;
    size_t used = (size_t)(seen - d->first);
    follow(d, token);
    if (used < d->n && d->tokens[used] == token) {
        d->n_accepted++;
    } else {
        size_t n = how_many(d, wanted);
        double started = rill__seconds();
        fill(d, token, n);
        d->n = n > 0 ? n + 1 : 0;
        d->first = seen;
        used = 0;
        status = n > 0 ? rill__stream_look_ahead(s, d->tokens, n + 1, d->logits, err)
                       : rill_stream_feed(s, &token, 1, NULL, err);
        if (status == RILL_OK) measure(&s->pace, n + 1, rill__seconds() - started);
        d->n_drafted += n;
    }
    if (status != RILL_OK) return status;
    if (d->n > 0) rill__stream_accept(s, token, d->logits + used * vocab_size);
    take_in(d);
    return RILL_OK;
}
