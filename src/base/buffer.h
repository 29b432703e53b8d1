// SPDX-License-Identifier: MIT
// A growing run of bytes with a ceiling.
#ifndef RILL_BASE_BUFFER_H
#define RILL_BASE_BUFFER_H

#include "base/base.h"

// Invariant: length <= capacity <= ceiling; data[length] == 0 whenever data is not NULL.
typedef struct rill__bytes {
    char *data;       // NULL while empty and never grown
    size_t length;    // bytes in use, without the closing NUL
    size_t capacity;  // bytes that fit without growing, without the closing NUL
    size_t ceiling;   // appending past it fails with RILL_ENOMEM
} rill__bytes;

// Starts empty; allocates nothing. `ceiling` in bytes, 0 for no ceiling but memory.
void rill__bytes_init(rill__bytes *b, size_t ceiling);
// Frees what it holds and leaves it empty, ready for use again.
void rill__bytes_deinit(rill__bytes *b);
// Drops the content, keeps the memory.
void rill__bytes_reset(rill__bytes *b);
// Makes room for `extra` more bytes. Returns RILL_ENOMEM, content unchanged, if it cannot.
RILL_NODISCARD rill_status rill__bytes_reserve(rill__bytes *b, size_t extra, rill_error *err);
RILL_NODISCARD rill_status rill__bytes_append(rill__bytes *b, const void *data, size_t length,
                                              rill_error *err);
// Hands the memory over to the caller (rill__free) and leaves b empty. Never NULL after an append.
char *rill__bytes_take(rill__bytes *b, size_t *length);

#endif
