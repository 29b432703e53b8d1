// SPDX-License-Identifier: MIT
// Errors and memory: the one place that touches the process's allocator.
#include "base/base.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *rill_status_text(rill_status status) {
    switch (status) {
#define STATUS_TEXT(name, number, text)                                                            \
    case RILL_##name:                                                                              \
        return text;
        RILL_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

rill_status rill__fail(rill_error *err, rill_status status, const char *format, ...) {
    if (err) {
        err->status = status;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(err->message, sizeof err->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

rill_status rill__fail_memory(rill_error *err, const char *what, size_t bytes) {
    return rill__fail(err, RILL_ENOMEM, "out of memory: %s takes %zu bytes", what, bytes);
}

static void *system_alloc(void *user, size_t bytes) {
    (void)user;
    return malloc(bytes);
}

static void *system_resize(void *user, void *old, size_t bytes) {
    (void)user;
    return realloc(old, bytes);
}

static void system_release(void *user, void *memory) {
    (void)user;
    free(memory);
}

static const rill_allocator system_allocator = {system_alloc, system_resize, system_release, NULL};
static rill_allocator allocator = {system_alloc, system_resize, system_release, NULL};
static atomic_uint_fast64_t n_allocations;

void rill_allocator_replace(const rill_allocator *replacement) {
    allocator = replacement ? *replacement : system_allocator;
}

static void *counted(void *memory) {
    if (memory)
        atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed);
    return memory;
}

void *rill__malloc(size_t bytes) {
    return counted(allocator.alloc(allocator.user, bytes ? bytes : 1));
}

void *rill__calloc(size_t count, size_t size) {
    size_t bytes;
    if (!rill__mul_size(count, size, &bytes))
        return NULL;
    void *memory = rill__malloc(bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

void *rill__realloc(void *memory, size_t bytes) {
    return counted(allocator.resize(allocator.user, memory, bytes ? bytes : 1));
}

void rill__free(void *memory) { allocator.release(allocator.user, memory); }

char *rill__strdup(const char *text) { return rill__strndup(text, strlen(text)); }

char *rill__strndup(const char *text, size_t length) {
    char *copy = rill__malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

uint64_t rill__allocation_count(void) {
    return atomic_load_explicit(&n_allocations, memory_order_relaxed);
}

// Below this a mapping costs more than it gives.
enum { LEAST_MAPPING = 1 << 20 };

void *rill__map_memory(size_t bytes) {
    // The hook is asked in every case, so that a test can make any of these fail too.
    void *small = rill__malloc(bytes < LEAST_MAPPING ? bytes + 64 + sizeof(void *) : 1);
    if (!small)
        return NULL;
    if (bytes < LEAST_MAPPING) {
        uintptr_t aligned = ((uintptr_t)small + sizeof(void *) + 63) & ~(uintptr_t)63;
        ((void **)aligned)[-1] = small;
        return memset((void *)aligned, 0, bytes);
    }
    rill__free(small);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: where it is refused, small pages do
    return memory;
}

void rill__unmap_memory(void *memory, size_t bytes) {
    if (memory && bytes < LEAST_MAPPING)
        rill__free(((void **)memory)[-1]);
    else if (memory)
        munmap(memory, bytes);
}
