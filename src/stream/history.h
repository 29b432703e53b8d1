// SPDX-License-Identifier: MIT
// The tokens of a stream that somebody may still ask for: the first ones, of which some are sinks,
// and the latest.
#ifndef RILL_STREAM_HISTORY_H
#define RILL_STREAM_HISTORY_H

#include "base/base.h"
#include "rill/rill.h"

typedef struct rill__history {
    rill_token *first;   // [n_first] tokens 0, 1 ...
    rill_token *latest;  // ring [n_latest]: token t at t % n_latest
    size_t n_first;
    size_t n_latest;
    uint64_t seen;  // tokens so far
} rill__history;

// Empty. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__history_init(rill__history *h, size_t n_first, size_t n_latest,
                                              rill_error *err);
void rill__history_deinit(rill__history *h);
void rill__history_push(rill__history *h, rill_token token);
// Token t, which is among the first n_first or the latest n_latest.
rill_token rill__history_get(const rill__history *h, uint64_t t);

#endif
