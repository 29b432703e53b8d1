// SPDX-License-Identifier: MIT
// Eviction. By token, S(t) = { j <= t : j < n or j > t - m }. By message, the oldest whole message
// goes when a token finds the window full. Two lose their oldest tokens instead: a message longer
// than the window; and one of more than half the window when nothing but the message now read would
// be left, so that an answer sees what it answers.
#include "stream/policy.h"

#include <assert.h>
#include <string.h>

rill_status rill__policy_init(rill__policy *p, rill_evict evict, uint32_t n_sinks, uint32_t window,
                              rill_error *err) {
    memset(p, 0, sizeof *p);
    p->evict = evict;
    // A message has a token, so so many can be visible, and one more may just begin.
    size_t capacity = (size_t)n_sinks + window + 1;
    if (capacity > UINT32_MAX)
        return rill__fail_memory(err, "the starts of messages", capacity * sizeof *p->starts);
    p->starts = rill__map_resident(capacity * sizeof *p->starts);
    if (!p->starts)
        return rill__fail_memory(err, "the starts of messages", capacity * sizeof *p->starts);
    p->starts_capacity = (uint32_t)capacity;
    rill__policy_reset(p, n_sinks, window);
    return RILL_OK;
}

void rill__policy_deinit(rill__policy *p) {
    rill__unmap_memory(p->starts, p->starts_capacity * sizeof *p->starts);
    memset(p, 0, sizeof *p);
}

void rill__policy_reset(rill__policy *p, uint32_t n_sinks, uint32_t window) {
    p->n_sinks = n_sinks;
    p->window = window;
    p->seen = 0;
    p->first_recent = n_sinks;
    p->evictions = 0;
    p->messages_seen = 0;
    p->messages_kept = 0;
    p->starts_first = 0;
    p->n_starts = 0;
}

static uint64_t start_at(const rill__policy *p, uint32_t i) {
    return p->starts[(p->starts_first + i) % p->starts_capacity];
}

// Forgets the messages of which tokens before first_recent are gone, but for those among the sinks.
static void drop_starts(rill__policy *p) {
    while (p->n_starts > 0 && start_at(p, 0) < p->first_recent) {
        uint64_t end = p->n_starts > 1 ? start_at(p, 1) : p->seen;
        if (end <= p->n_sinks) p->messages_kept++;
        p->starts_first = (p->starts_first + 1) % p->starts_capacity;
        p->n_starts--;
    }
}

// The first start of a message past `token`, or `none`.
static uint64_t next_start(const rill__policy *p, uint64_t token, uint64_t none) {
    for (uint32_t i = 0; i < p->n_starts; i++)
        if (start_at(p, i) > token) return start_at(p, i);
    return none;
}

// The first token left once the oldest message went, for a token that must go at least.
static uint64_t past_oldest_message(const rill__policy *p, uint64_t oldest) {
    uint64_t next = next_start(p, p->first_recent, oldest);
    bool last = p->n_starts > 0 && next == start_at(p, p->n_starts - 1);
    return last && 2 * (next - p->first_recent) > p->window ? oldest : next;
}

static void evict_for(rill__policy *p, uint64_t token) {
    if (token < p->n_sinks || token - p->first_recent < p->window) return;
    uint64_t oldest = token - p->window + 1;
    if (p->evict == RILL_EVICT_MESSAGE) oldest = past_oldest_message(p, oldest);
    p->first_recent = oldest;
    p->evictions++;
    drop_starts(p);
}

void rill__policy_next(rill__policy *p, uint64_t start, rill__row *row) {
    uint64_t token = p->seen;
    evict_for(p, token);
    p->seen++;
    bool is_sink = token < p->n_sinks;
    *row = (rill__row){
        .n_sinks = is_sink ? (uint32_t)token + 1 : p->n_sinks,
        .token = token,
        .first_recent = is_sink ? token + 1 : p->first_recent,
        .stream_pos = start + token,
        .sink_pos = rill__policy_held(p) - 1,
    };
    assert(row->sink_pos < (uint64_t)p->n_sinks + p->window);
}

void rill__policy_begin_message(rill__policy *p) {
    if (p->n_starts > 0 && start_at(p, p->n_starts - 1) == p->seen) return;
    assert(p->n_starts < p->starts_capacity);
    p->starts[(p->starts_first + p->n_starts) % p->starts_capacity] = p->seen;
    p->n_starts++;
    p->messages_seen++;
}

void rill__policy_pin(rill__policy *p) {
    if (p->seen <= p->n_sinks) return;
    uint32_t grown = (uint32_t)p->seen - p->n_sinks;
    p->n_sinks += grown;
    p->window -= grown;
    p->first_recent = p->n_sinks;
}

uint64_t rill__policy_held(const rill__policy *p) {
    if (p->seen <= p->n_sinks) return p->seen;
    return p->n_sinks + (p->seen - p->first_recent);
}

uint64_t rill__policy_messages_held(const rill__policy *p) {
    return p->messages_kept + p->n_starts;
}
