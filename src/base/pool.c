// SPDX-License-Identifier: MIT
// The thread pool. Workers wait for the next piece of work by spinning for a moment, then on a
// futex.
//
// One 64-bit word says all about the work at hand: its number (the generation), how many of its
// pieces are claimed. A claim is one compare-and-swap on it, so a thread that was away while the
// work changed can never take a piece of the wrong one.
#include "base/pool.h"

#include "base/clock.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 1024 };

// The gap between two operations of a token; sleeping and waking costs about as much.
static const double SPIN_SECONDS = 40e-6;

typedef struct worker {
    rill__pool *pool;
    unsigned number;
    pthread_t thread;
} worker;

struct rill__pool {
    pthread_mutex_t queue;  // callers, one behind another
    unsigned n_threads;     // the caller's included
    int spins;              // pauses before sleeping; 0 where threads outnumber processors
    worker *workers;        // [n_threads - 1]

    // The work at hand. A thread that reads these while they change finds `claims` changed as well,
    // and claims nothing.
    _Atomic(rill__pool_fn) fn;
    _Atomic(void *) context;
    atomic_size_t n_pieces;

    _Alignas(64) atomic_uint_fast64_t claims;  // generation << 32 | pieces claimed
    _Alignas(64) atomic_uint_fast64_t done;    // pieces finished
    _Alignas(64) atomic_uint generation;       // futex: workers wait for a change
    atomic_uint sleepers;                      // workers on that futex
    atomic_uint finished;                      // futex: the last generation that was finished
    atomic_bool caller_sleeps;                 // on that futex
    atomic_bool stop;
};

static void futex_wait(atomic_uint *word, unsigned value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int n) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");  // waits for the pipeline, some 10 ns; "yield" does nothing on most
#endif
}

static void announce_end(rill__pool *pool, unsigned generation) {
    atomic_store(&pool->finished, generation);
    if (atomic_load(&pool->caller_sleeps)) futex_wake(&pool->finished, 1);
}

// Claims and does pieces of work number `generation` until none is left.
static void work(rill__pool *pool, unsigned generation, unsigned thread) {
    for (;;) {
        uint64_t claims = atomic_load_explicit(&pool->claims, memory_order_acquire);
        rill__pool_fn fn = atomic_load_explicit(&pool->fn, memory_order_acquire);
        void *context = atomic_load_explicit(&pool->context, memory_order_acquire);
        size_t n_pieces = atomic_load_explicit(&pool->n_pieces, memory_order_acquire);
        size_t piece = claims & UINT32_MAX;
        if (claims >> 32 != generation || piece >= n_pieces) return;
        if (!atomic_compare_exchange_strong(&pool->claims, &claims, claims + 1)) continue;
        fn(context, piece, thread);
        if (atomic_fetch_add(&pool->done, 1) + 1 == n_pieces) announce_end(pool, generation);
    }
}

static void *worker_main(void *argument) {
    worker *self = argument;
    rill__pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        unsigned generation;
        int spins = pool->spins;
        while ((generation = atomic_load_explicit(&pool->generation, memory_order_acquire)) ==
               seen) {
            if (spins-- > 0) {
                pause_briefly();
                continue;
            }
            atomic_fetch_add(&pool->sleepers, 1);
            futex_wait(&pool->generation, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
        }
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) return NULL;
        seen = generation;
        work(pool, generation, self->number);
    }
}

// How many pauses take about SPIN_SECONDS: from 5 to 150 cycles each, by the kind of processor.
static int count_spins(void) {
    enum { PROBE = 200, MAX_SPINS = 20000 };
    double least = 1;
    for (int attempt = 0; attempt < 3; attempt++) {
        double start = rill__seconds();
        for (int i = 0; i < PROBE; i++) pause_briefly();
        double taken = rill__seconds() - start;
        least = taken < least ? taken : least;
    }
    double spins = least > 0 ? SPIN_SECONDS * PROBE / least : MAX_SPINS;
    return spins < MAX_SPINS ? (int)spins + 1 : MAX_SPINS;
}

// Starts workers until there are n_threads or the system has no more. They leave all signals to the
// program's own threads, so that Ctrl-C interrupts a read there.
static void start_workers(rill__pool *pool, unsigned n_threads) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->n_threads < n_threads) {
        worker *w = &pool->workers[pool->n_threads - 1];
        *w = (worker){.pool = pool, .number = pool->n_threads};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break;
        pool->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

rill_status rill__pool_open(unsigned n_threads, rill__pool **out, rill_error *err) {
    unsigned processors = rill__cpu_count();
    if (n_threads == 0) n_threads = processors;
    if (n_threads > MAX_THREADS)
        return rill__fail(err, RILL_EINVAL, "threads: %u; at most %d is right", n_threads,
                          MAX_THREADS);
    // The counters have cache lines of their own, hence the alignment.
    rill__pool *pool = rill__map_memory(sizeof *pool);
    if (!pool) return rill__fail_memory(err, "a thread pool", sizeof *pool);
    pool->workers = rill__calloc(n_threads, sizeof *pool->workers);
    if (!pool->workers) {
        rill__unmap_memory(pool, sizeof *pool);
        return rill__fail_memory(err, "a thread pool", n_threads * sizeof *pool->workers);
    }
    pthread_mutex_init(&pool->queue, NULL);
    pool->spins = n_threads > 1 && n_threads <= processors ? count_spins() : 0;
    pool->n_threads = 1;
    start_workers(pool, n_threads);
    *out = pool;
    return RILL_OK;
}

void rill__pool_close(rill__pool **pool) {
    rill__pool *p = *pool;
    *pool = NULL;
    if (!p) return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->generation, 1);
    futex_wake(&p->generation, INT_MAX);
    for (unsigned i = 0; i + 1 < p->n_threads; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_mutex_destroy(&p->queue);
    rill__free(p->workers);
    rill__unmap_memory(p, sizeof *p);
}

unsigned rill__pool_threads(const rill__pool *pool) {
    return pool->n_threads;
}

static void wait_for_end(rill__pool *pool, unsigned generation) {
    int spins = pool->spins;
    unsigned finished;
    while ((finished = atomic_load(&pool->finished)) != generation) {
        if (spins-- > 0) {
            pause_briefly();
            continue;
        }
        atomic_store(&pool->caller_sleeps, true);
        if (atomic_load(&pool->finished) == finished) futex_wait(&pool->finished, finished);
        atomic_store(&pool->caller_sleeps, false);
    }
}

void rill__pool_run(rill__pool *pool, size_t n_pieces, rill__pool_fn fn, void *context) {
    if (n_pieces == 0) return;
    pthread_mutex_lock(&pool->queue);
    if (pool->n_threads == 1 || n_pieces == 1) {
        for (size_t i = 0; i < n_pieces; i++) fn(context, i, 0);
        pthread_mutex_unlock(&pool->queue);
        return;
    }
    assert(n_pieces < UINT32_MAX);
    unsigned generation = atomic_load(&pool->generation) + 1;
    // Closed while the fields change: nobody's old claim fits any more.
    atomic_store(&pool->claims, (uint64_t)generation << 32 | UINT32_MAX);
    atomic_store(&pool->fn, fn);
    atomic_store(&pool->context, context);
    atomic_store(&pool->n_pieces, n_pieces);
    atomic_store(&pool->done, 0);
    atomic_store(&pool->claims, (uint64_t)generation << 32);
    atomic_store(&pool->generation, generation);
    if (atomic_load(&pool->sleepers) > 0)
        futex_wake(&pool->generation, n_pieces > INT_MAX ? INT_MAX : (int)n_pieces - 1);
    work(pool, generation, 0);
    wait_for_end(pool, generation);
    pthread_mutex_unlock(&pool->queue);
}
