// SPDX-License-Identifier: MIT
// Files: mapped read-only, read whole with a ceiling, written so that a crash loses nothing.
#ifndef RILL_BASE_FILE_H
#define RILL_BASE_FILE_H

#include "base/base.h"

// A whole regular file, mapped read-only and shared. The pages are the kernel's.
typedef struct rill__mapping {
    const uint8_t *data;  // NULL for an empty file
    size_t size;          // bytes
} rill__mapping;

// Maps `path`. Fails with RILL_EIO (cannot open, not a regular file, the reason of the system in
// the message) or RILL_ENOMEM.
RILL_NODISCARD rill_status rill__mapping_open(const char *path, rill__mapping *out,
                                              rill_error *err);
// The pages read so far leave this process; they come again, from the kernel's cache as a rule,
// when they are read again. Threads: any.
void rill__mapping_rest(const rill__mapping *m);
// Brings bytes of a mapping into the process now, not page by page as they are read: a wish, which
// Linux before 5.14 does not grant. Threads: any.
void rill__mapping_touch(const void *at, size_t bytes);
// Takes what open gave, or a zeroed one; leaves it zeroed.
void rill__mapping_close(rill__mapping *m);

// Reads a whole file, or a pipe, of at most `ceiling` bytes; the result is NUL-terminated and the
// caller's (rill__free). RILL_EIO, RILL_EFORMAT if it is longer, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__file_read(const char *path, size_t ceiling, char **out,
                                           size_t *length, rill_error *err);

// True if `path` names something that exists (of any kind).
bool rill__file_exists(const char *path);
bool rill__directory_exists(const char *path);
// What a snapshot begins with (stream/snapshot.c): whoever will write one can look at once.
#define RILL_SNAPSHOT_MAGIC "RILLSNAP"
// True if it is a regular file that is not empty and does not begin with these n bytes, 64 at most.
bool rill__file_begins_otherwise(const char *path, const void *bytes, size_t n);
// True if both name the same thing, by whatever links.
bool rill__same_file(const char *a, const char *b);

// "dir" + "/" + "name", the caller's; NULL when memory is out.
char *rill__path_join(const char *directory, const char *name);

// A file that appears whole or not at all: bytes go to a temporary file in the same directory;
// commit flushes, fsyncs it, renames it over `path` and fsyncs the directory; discard unlinks it.
// Writing to something that is not a regular file (/dev/null, a pipe), or to a file that has no
// name (/proc/self/fd/N of one that was removed), goes straight there.
typedef struct rill__file_writer rill__file_writer;
RILL_NODISCARD rill_status rill__writer_open(const char *path, rill__file_writer **out,
                                             rill_error *err);
// Buffered. After a failure (RILL_EIO: a full disk ...) only discard is legal.
RILL_NODISCARD rill_status rill__writer_write(rill__file_writer *w, const void *data, size_t bytes,
                                              rill_error *err);
// Bytes written so far.
uint64_t rill__writer_offset(const rill__file_writer *w);
// Finishes; frees the writer and nulls the pointer in both cases. On failure `path` is as before.
RILL_NODISCARD rill_status rill__writer_commit(rill__file_writer **w, rill_error *err);
// Gives up: nothing of it remains on disk. NULL and half-built writers are legal.
void rill__writer_discard(rill__file_writer **w);

// A whole file at once, in the same way. RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__file_write(const char *path, const void *data, size_t bytes,
                                            rill_error *err);
// Whether a file can be made there: to know before hours of work. Leaves what is there as it is;
// what is no regular file is opened. RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__file_check_writable(const char *path, rill_error *err);

#endif
