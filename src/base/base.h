// SPDX-License-Identifier: MIT
// Errors and memory: what every other file of the library stands on.
//
// A function that can fail returns rill_status and takes `rill_error *err` last; err may be NULL.
// The deepest level that knows the cause writes the message, upper levels only forward the status.
#ifndef RILL_BASE_H
#define RILL_BASE_H

#include "rill/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

// Fills err (unless NULL) with status and the formatted message, and returns status, so that a
// failing function ends with `return rill__fail(err, RILL_EFORMAT, "%s: ...", path, ...)`.
// Arguments may point into err itself. Control characters and bytes that are not UTF-8 become '?'.
rill_status rill__fail(rill_error *err, rill_status status, const char *format, ...)
    RILL_PRINTF(3, 4);

// The common failure: returns RILL_ENOMEM with a message that names what and how much was wanted.
rill_status rill__fail_memory(rill_error *err, const char *what, size_t bytes);

// Heap memory through the process's allocator (rill_allocator_replace). All return NULL on failure;
// rill__calloc checks the product. rill__free takes NULL.
void *rill__malloc(size_t bytes);
void *rill__calloc(size_t count, size_t size);
void *rill__realloc(void *memory, size_t bytes);
void rill__free(void *memory);
char *rill__strdup(const char *text);
char *rill__strndup(const char *text, size_t length);  // always NUL-terminated

// Whether rill_allocator_replace has put another allocator in the C library's place.
bool rill__allocator_is_replaced(void);

// Number of successful allocations of this process so far (rill__malloc and the rest, and
// rill__map_memory): what the "decoding allocates nothing" test reads.
uint64_t rill__allocation_count(void);

// Large zeroed memory, 64-byte aligned: a mapping of its own from 1 MiB on, huge pages asked for. A
// replaced allocator (rill_allocator_replace) provides all of it instead. NULL on failure. Give it
// back with the same number of bytes; NULL is taken.
void *rill__map_memory(size_t bytes);
// The same, resident from the start: what is used little by little does not grow then. For all that
// a stream keeps.
void *rill__map_resident(size_t bytes);
void rill__unmap_memory(void *memory, size_t bytes);  // of either

// Overflow-checked size arithmetic: false, and *out untouched, when the result does not fit.
static inline bool rill__mul_size(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}
static inline bool rill__add_size(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

#endif
