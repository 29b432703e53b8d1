// SPDX-License-Identifier: MIT
// Errors and memory: the one place that touches the process's allocator.
#include "base/base.h"

#include "base/utf8.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// gcc and clang say differently that AddressSanitizer is on.
#if defined(__SANITIZE_ADDRESS__)
#define RILL_GUARDED_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RILL_GUARDED_HEAP 1
#endif
#endif
#ifndef RILL_GUARDED_HEAP
#define RILL_GUARDED_HEAP 0
#endif

const char *rill_status_text(rill_status status) {
    switch (status) {
#define STATUS_TEXT(name, number, text)                                                            \
    case RILL_##name: return text;
        RILL_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

// Names and texts of hostile files end up in messages: whatever is not printable UTF-8 becomes '?',
// so that a message stays one line and cannot command a terminal.
static void make_printable(char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n = rill__utf8_decode(text + i, length - i, &code);
        bool invalid = n == 1 && (uint8_t)text[i] >= 0x80;
        if (invalid || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            text[i] = '?';
            if (n == 2)  // the controls U+0080 to U+009F
                text[i + 1] = '?';
        }
        i += n;
    }
}

rill_status rill__fail(rill_error *err, rill_status status, const char *format, ...) {
    if (!err) return status;
    // By way of a copy: the arguments may come from the message that is being replaced.
    char message[sizeof err->message];
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (wanted < 0) message[0] = '\0';
    if (wanted >= (int)sizeof message)
        message[sizeof message - 1 - rill__utf8_incomplete_tail(message, sizeof message - 1)] = 0;
    make_printable(message);
    memcpy(err->message, message, sizeof message);
    err->status = status;
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

bool rill__allocator_is_replaced(void) {
    return allocator.alloc != system_alloc;
}

static void *counted(void *memory) {
    if (memory) atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed);
    return memory;
}

void *rill__malloc(size_t bytes) {
    return counted(allocator.alloc(allocator.user, bytes ? bytes : 1));
}

void *rill__calloc(size_t count, size_t size) {
    size_t bytes;
    if (!rill__mul_size(count, size, &bytes)) return NULL;
    void *memory = rill__malloc(bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void *rill__realloc(void *memory, size_t bytes) {
    return counted(allocator.resize(allocator.user, memory, bytes ? bytes : 1));
}

void rill__free(void *memory) {
    allocator.release(allocator.user, memory);
}

char *rill__strdup(const char *text) {
    return rill__strndup(text, strlen(text));
}

char *rill__strndup(const char *text, size_t length) {
    char *copy = length < SIZE_MAX ? rill__malloc(length + 1) : NULL;
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

uint64_t rill__allocation_count(void) {
    return atomic_load_explicit(&n_allocations, memory_order_relaxed);
}

enum {
    LEAST_MAPPING = 1 << 20,  // below this a mapping of its own costs more than it gives
    LEAST_PAGE = 4096,
    HUGE_PAGE = 2 << 20,
    ALIGNMENT = 64,  // a cache line, and the widest vector
};

// A replaced allocator is given the large memory to provide as well: it may have limits, and a test
// can count it and make it fail. So does AddressSanitizer, which guards the ends of the heap's
// pieces.
static bool is_mapped(size_t bytes) {
#if RILL_GUARDED_HEAP
    (void)bytes;
    return false;
#else
    return bytes >= LEAST_MAPPING && !rill__allocator_is_replaced();
#endif
}

// Asks for all pages at once, which is many times cheaper than a fault for each; where the system
// cannot (Linux before 5.14), faults do it.
static void populate(void *memory, size_t bytes) {
    enum { POPULATE_WRITE = 23 };  // MADV_POPULATE_WRITE, which older headers lack
    size_t before = -(uintptr_t)memory & (LEAST_PAGE - 1);
    if (bytes < before + LEAST_PAGE) return;
    (void)madvise((char *)memory + before, (bytes - before) & ~(size_t)(LEAST_PAGE - 1),
                  POPULATE_WRITE);
}

// The piece of heap begins up to ALIGNMENT + 8 bytes earlier; where is kept just before the result.
static void *aligned_alloc_zeroed(size_t bytes) {
    size_t wanted;
    if (!rill__add_size(bytes, ALIGNMENT + sizeof(void *), &wanted)) return NULL;
    char *start = rill__malloc(wanted);
    if (!start) return NULL;
    char *aligned = start + sizeof(void *);
    aligned += -(uintptr_t)aligned & (ALIGNMENT - 1);
    ((void **)(void *)aligned)[-1] = start;
    populate(aligned, bytes);
    return memset(aligned, 0, bytes);
}

static void *map(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

// Begins where a huge page does, or no huge page would hold its ends.
static void *map_aligned(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), all;
    size_t wanted;
    if (!rill__add_size(bytes, page - 1, &wanted)) return NULL;
    wanted &= ~(page - 1);
    char *memory = rill__add_size(wanted, HUGE_PAGE, &all) ? map(all) : NULL;
    if (!memory) return NULL;
    size_t before = -(uintptr_t)memory & (HUGE_PAGE - 1);
    if (before > 0) munmap(memory, before);
    munmap(memory + before + wanted, HUGE_PAGE - before);
    return memory + before;
}

void *rill__map_memory(size_t bytes) {
    if (!is_mapped(bytes)) return aligned_alloc_zeroed(bytes);
    void *memory = bytes < HUGE_PAGE ? map(bytes) : map_aligned(bytes);
    if (!memory) return NULL;
    (void)madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: where it is refused, small pages do
    return counted(memory);
}

void *rill__map_resident(size_t bytes) {
    volatile char *memory = rill__map_memory(bytes);
    if (!memory || !is_mapped(bytes)) return (void *)(uintptr_t)memory;
    populate((void *)(uintptr_t)memory, bytes);
    for (size_t i = 0; i < bytes; i += LEAST_PAGE) memory[i] = 0;  // if that was refused
    return (void *)(uintptr_t)memory;
}

void rill__unmap_memory(void *memory, size_t bytes) {
    if (!memory) return;
    if (is_mapped(bytes))
        munmap(memory, bytes);
    else
        rill__free(((void **)memory)[-1]);
}
