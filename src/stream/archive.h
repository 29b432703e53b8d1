// SPDX-License-Identifier: MIT
// One walk over a state that writes it to a file or reads it from one, so that saving and loading
// cannot disagree about the order. Numbers are little-endian, floats IEEE 754.
#ifndef RILL_STREAM_ARCHIVE_H
#define RILL_STREAM_ARCHIVE_H

#include "base/file.h"

#define XXH_STATIC_LINKING_ONLY  // the hash's state by value, so that it takes no memory of its own
#include <xxhash.h>

// Latches its first failure: after that every call does nothing, and values being read stay as they
// were.
typedef struct rill__archive {
    const char *path;           // leads the messages
    rill__file_writer *writer;  // when saving
    const uint8_t *data;        // when loading: what is left
    size_t left;                // bytes of it
    bool loading;
    rill_status status;
    rill_error *err;
    XXH3_state_t hash;  // when saving: of everything written so far
} rill__archive;

// Begin a walk with the magic, 8 characters. Loading verifies the checksum of the whole file before
// anything of it is believed.
RILL_NODISCARD rill_status rill__archive_save(rill__archive *a, const char *path, const char *magic,
                                              rill_error *err);
RILL_NODISCARD rill_status rill__archive_load(rill__archive *a, const char *path,
                                              const rill__mapping *file, const char *magic,
                                              rill_error *err);
// Ends a walk: returns its first failure. Saving: the file appears under its name, or not at all.
// Loading: fails with RILL_EFORMAT if something is left over.
RILL_NODISCARD rill_status rill__archive_finish(rill__archive *a);

// Saving only: writes bytes.
void rill__archive_put(rill__archive *a, const void *data, size_t bytes);
// Loading only: passes over bytes and returns where they lie in the file; NULL once something has
// failed. Aligned for 4 where all before it is a multiple of 4 bytes long.
const void *rill__archive_take(rill__archive *a, size_t bytes);

// Saving: writes the value, and leaves it as it is. Loading: reads it. Nothing is touched once
// something has failed.
void rill__archive_u32(rill__archive *a, uint32_t *value);
void rill__archive_u64(rill__archive *a, uint64_t *value);
void rill__archive_f32(rill__archive *a, float *value);
void rill__archive_bool(rill__archive *a, bool *value);

// Loading only: latches RILL_EFORMAT with "PATH: FIELD: DETAIL" unless `good`. Returns whether all
// is well so far.
bool rill__archive_require(rill__archive *a, bool good, const char *field, const char *detail);

#endif
