// SPDX-License-Identifier: MIT
// The thread pool: one a device, passed explicitly.
//
// Work is cut into numbered pieces, claimed one by one with an atomic counter, so a descheduled
// thread holds nobody up: the others take its share. Waiting spins briefly, then sleeps on a futex.
// The pool never changes a result: pieces are output rows or heads, or parts of a reduction that
// are the same for any number of threads.
#ifndef RILL_BASE_POOL_H
#define RILL_BASE_POOL_H

#include "base/base.h"

typedef struct rill__pool rill__pool;

// One piece of work. `thread` is in [0, rill__pool_threads): it picks a scratch area.
typedef void (*rill__pool_fn)(void *context, size_t piece, unsigned thread);

// The number of threads that pay here: processors this process may run on (affinity mask), no more
// than its cgroup's CPU quota (v1 and v2, rounded up), at least 1.
unsigned rill__cpu_count(void);

// n_threads counts the caller's own thread; 0 stands for rill__cpu_count(). If fewer threads can
// be started than asked for, the pool works with those (a result never depends on the count).
RILL_NODISCARD rill_status rill__pool_open(unsigned n_threads, rill__pool **out, rill_error *err);
void rill__pool_close(rill__pool **pool);
unsigned rill__pool_threads(const rill__pool *pool);

// Runs fn for every piece in [0, n_pieces), n_pieces < 2^32 - 1, and returns when all are done;
// what the pieces wrote is then visible to the caller. Allocates nothing. Threads: any; calls from
// several threads queue one behind another. Not from inside a piece.
void rill__pool_run(rill__pool *pool, size_t n_pieces, rill__pool_fn fn, void *context);

#endif
