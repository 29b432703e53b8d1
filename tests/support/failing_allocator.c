// SPDX-License-Identifier: MIT
// Counts what the library allocates and fails on command. Each piece carries its size in front; a
// piece that was not made here, or was given back already, ends the program.
#include "failing_allocator.h"

#include "rill/status.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIVE = 0x5ca1ab1e, RELEASED = 0x0ddba11 };

typedef struct header {
    _Alignas(16) size_t bytes;
    size_t mark;  // ALIVE or RELEASED
} header;

static struct {
    pthread_mutex_t lock;
    uint64_t count;
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t until_failure;  // allocations left until one fails, itself included; 0: none will
    bool for_good;
    bool fired;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

// Counts an allocation and says whether it must fail. The lock is held.
static bool must_fail(void) {
    state.count++;
    if (state.until_failure == 0) return false;
    if (state.until_failure > 1) {
        state.until_failure--;
        return false;
    }
    state.fired = true;
    if (!state.for_good) state.until_failure = 0;
    return true;
}

static header *header_of(void *memory) {
    header *h = (header *)memory - 1;
    if (h->mark != ALIVE) {
        fprintf(stderr, "failing_allocator: %p is not alive\n", memory);
        abort();
    }
    return h;
}

static void count_alive(size_t bytes) {
    state.live_blocks++;
    state.live_bytes += bytes;
    if (state.live_bytes > state.peak_bytes) state.peak_bytes = state.live_bytes;
}

static void *alloc(void *user, size_t bytes) {
    (void)user;
    pthread_mutex_lock(&state.lock);
    bool fails = must_fail() || bytes > SIZE_MAX - sizeof(header);
    header *h = fails ? NULL : malloc(sizeof(header) + bytes);
    if (h) {
        *h = (header){.bytes = bytes, .mark = ALIVE};
        // Garbage, so that nobody relies on fresh memory being zero.
        memset(h + 1, 0xa5, bytes < 4096 ? bytes : 4096);
        count_alive(bytes);
    }
    pthread_mutex_unlock(&state.lock);
    return h ? h + 1 : NULL;
}

static void release(void *user, void *memory) {
    (void)user;
    if (!memory) return;
    pthread_mutex_lock(&state.lock);
    header *h = header_of(memory);
    state.live_blocks--;
    state.live_bytes -= h->bytes;
    h->mark = RELEASED;
    pthread_mutex_unlock(&state.lock);
    free(h);
}

// Always moves, so that nobody keeps an old pointer unpunished.
static void *resize(void *user, void *old, size_t bytes) {
    void *memory = alloc(user, bytes);
    if (!memory || !old) return memory;
    size_t old_bytes = header_of(old)->bytes;
    memcpy(memory, old, old_bytes < bytes ? old_bytes : bytes);
    release(user, old);
    return memory;
}

void failing_allocator_install(void) {
    static const rill_allocator failing = {alloc, resize, release, NULL};
    pthread_mutex_lock(&state.lock);
    state.count = state.live_blocks = state.live_bytes = state.peak_bytes = 0;
    state.until_failure = 0;
    state.for_good = state.fired = false;
    pthread_mutex_unlock(&state.lock);
    rill_allocator_replace(&failing);
}

void failing_allocator_remove(void) {
    rill_allocator_replace(NULL);
}

void failing_allocator_arm(uint64_t n, bool for_good) {
    pthread_mutex_lock(&state.lock);
    state.until_failure = n;
    state.for_good = for_good;
    state.fired = false;
    pthread_mutex_unlock(&state.lock);
}

bool failing_allocator_disarm(void) {
    pthread_mutex_lock(&state.lock);
    bool fired = state.fired;
    state.until_failure = 0;
    state.fired = false;
    pthread_mutex_unlock(&state.lock);
    return fired;
}

static uint64_t read_counter(const uint64_t *counter) {
    pthread_mutex_lock(&state.lock);
    uint64_t value = *counter;
    pthread_mutex_unlock(&state.lock);
    return value;
}

uint64_t failing_allocator_count(void) {
    return read_counter(&state.count);
}

uint64_t failing_allocator_live_blocks(void) {
    return read_counter(&state.live_blocks);
}

uint64_t failing_allocator_live_bytes(void) {
    return read_counter(&state.live_bytes);
}

uint64_t failing_allocator_peak_bytes(void) {
    return read_counter(&state.peak_bytes);
}
