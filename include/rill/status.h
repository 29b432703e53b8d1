// SPDX-License-Identifier: MIT
// Statuses, errors and memory: the conventions that every rill function follows.
#ifndef RILL_STATUS_H
#define RILL_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RILL_NODISCARD           __attribute__((warn_unused_result))
#define RILL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define RILL_API                 __attribute__((visibility("default")))
#else
#define RILL_NODISCARD
#define RILL_PRINTF(format, first)
#define RILL_API
#endif

// name, number, text. Numbers are part of the ABI and are never reused.
#define RILL_STATUS_MAP(X)                                                                         \
    X(OK, 0, "success")                                                                            \
    X(EINVAL, -1, "invalid argument")                                                              \
    X(ENOMEM, -2, "out of memory")                                                                 \
    X(EIO, -3, "input or output failed")                                                           \
    X(EFORMAT, -4, "malformed input")                                                              \
    X(EUNSUPPORTED, -5, "not supported")                                                           \
    X(EMISMATCH, -6, "belongs to something else")                                                  \
    X(ECONTEXT, -7, "the context is full")                                                         \
    X(EINTERRUPTED, -8, "interrupted")                                                             \
    X(EDEVICE, -9, "the device failed")

typedef enum rill_status {
#define RILL_STATUS_ENUM(name, number, text) RILL_##name = number,
    RILL_STATUS_MAP(RILL_STATUS_ENUM)
#undef RILL_STATUS_ENUM
} rill_status;

// What went wrong, in words. The message is one line: it names the file or field, what was found
// there and what would be right. Filled at the deepest level that knows the cause.
typedef struct rill_error {
    rill_status status;  // RILL_OK until something fails
    char message[504];   // NUL-terminated UTF-8, cut short if longer
} rill_error;

// Returns the fixed English text of a status ("out of memory"); never NULL. Threads: any.
RILL_API const char *rill_status_text(rill_status status);

// The three functions through which the whole library takes and returns heap memory.
typedef struct rill_allocator {
    void *(*alloc)(void *user, size_t bytes);  // NULL on failure; 64-byte aligned not required
    void *(*resize)(void *user, void *old, size_t bytes);  // as realloc
    void (*release)(void *user, void *memory);             // memory may be NULL
    void *user;                                            // handed to each of the three
} rill_allocator;

// Replaces the allocator of the process, NULL for the C library's. Call it before any other rill
// function and while nothing of rill's is alive. It then serves jansson too, in the whole process,
// so no value of jansson's may be alive either; without it a program's own memory functions for
// jansson stay in use. Threads: one, before others start.
RILL_API void rill_allocator_replace(const rill_allocator *allocator);

#ifdef __cplusplus
}
#endif

#endif
