// SPDX-License-Identifier: MIT
// Which tokens a token sees: the sinks and the most recent ones, evicted by token or by message.
//
// Policy only: it counts tokens and knows no memory (that is engine/cache.h). The definition:
// docs/stream.md.
#ifndef RILL_STREAM_POLICY_H
#define RILL_STREAM_POLICY_H

#include "backend/backend.h"
#include "rill/rill.h"

// Invariant between calls: n_sinks <= first_recent; seen - first_recent <= window once seen >
// n_sinks.
typedef struct rill__policy {
    rill_evict evict;
    uint32_t n_sinks;        // n
    uint32_t window;         // m
    uint64_t seen;           // tokens so far: the next one is token `seen`
    uint64_t first_recent;   // the oldest recent token still visible
    uint64_t evictions;      // times that first_recent moved on
    uint64_t messages_seen;  // messages begun
    uint64_t messages_kept;  // messages wholly among the sinks
    uint64_t *starts;  // ring [starts_capacity]: first tokens of the messages that nothing was
                       // evicted from
    uint32_t starts_capacity;
    uint32_t starts_first;  // index of the oldest in the ring
    uint32_t n_starts;
} rill__policy;

// An empty stream. Takes memory for the messages that a window can hold. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__policy_init(rill__policy *p, rill_evict evict, uint32_t n_sinks,
                                             uint32_t window, rill_error *err);
void rill__policy_deinit(rill__policy *p);
// Forgets all, with these sizes (whose sum is what init had).
void rill__policy_reset(rill__policy *p, uint32_t n_sinks, uint32_t window);

// Takes in the next token: evicts for it, and says what it sees. `start`: position of token 0 in
// the stream frame.
void rill__policy_next(rill__policy *p, uint64_t start, rill__row *row);

// The next token begins a message.
void rill__policy_begin_message(rill__policy *p);

// Makes all tokens so far sinks; the sum of n and m stays. Legal while nothing was evicted and
// seen < n + m.
void rill__policy_pin(rill__policy *p);

// How many tokens the last one sees.
uint64_t rill__policy_held(const rill__policy *p);
// How many messages are wholly visible.
uint64_t rill__policy_messages_held(const rill__policy *p);

#endif
