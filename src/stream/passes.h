// SPDX-License-Identifier: MIT
// Room for one pass over a model's weights. A model has one for all its streams, so that a thousand
// of them take it once; their passes go one after the other, as the device's threads do each
// whole.
#ifndef RILL_STREAM_PASSES_H
#define RILL_STREAM_PASSES_H

#include "engine/forward.h"
#include "rill/batch.h"

#include <pthread.h>

enum { RILL_MAX_ROWS = 65536 };  // of a pass

typedef struct rill__passes {
    pthread_mutex_t lock;       // held during a pass; guards all that follows
    rill__workspace workspace;  // of the widest batch so far
    rill_token *tokens;         // [workspace.max_rows], as the next three: a batch in the making
    rill__row *rows;
    rill__batch_part *parts;
    rill_feed **feeds;  // whose part it is
} rill__passes;

// Without any room.
void rill__passes_init(rill__passes *p);
void rill__passes_deinit(rill__passes *p);

// Bytes of room for max_rows rows; false if that overflows.
bool rill__passes_bytes(const rill__network *net, size_t max_rows, uint64_t *bytes);
// Makes room for max_rows rows that see up to max_visible tokens, unless there is as much. Threads:
// any. RILL_ENOMEM: all is as before.
RILL_NODISCARD rill_status rill__passes_reserve(rill__passes *p, const rill__network *net,
                                                size_t max_rows, size_t max_visible,
                                                rill_error *err);

#endif
