// SPDX-License-Identifier: MIT
// Reading and writing a state's bytes, with a checksum (XXH3, 64 bits) over all of them at the end.
#include "stream/archive.h"

#include "base/file.h"

#include <string.h>

enum { MAGIC_BYTES = 8, CHECKSUM_BYTES = 8 };

rill_status rill__archive_save(rill__archive *a, const char *path, const char *magic,
                               rill_error *err) {
    memset(a, 0, sizeof *a);
    a->path = path;
    a->err = err;
    XXH3_64bits_reset(&a->hash);
    // A model or a text, whose name was given by mistake.
    if (rill__file_begins_otherwise(path, magic, MAGIC_BYTES))
        return a->status = rill__fail(err, RILL_EINVAL,
                                      "%s: is there, and is no snapshot: it stays as it is; "
                                      "another name is right",
                                      path);
    a->status = rill__writer_open(path, &a->writer, err);
    rill__archive_put(a, magic, MAGIC_BYTES);
    return a->status;
}

rill_status rill__archive_load(rill__archive *a, const char *path, const rill__mapping *file,
                               const char *magic, rill_error *err) {
    memset(a, 0, sizeof *a);
    a->path = path;
    a->err = err;
    a->loading = true;
    if (file->size < MAGIC_BYTES || memcmp(file->data, magic, MAGIC_BYTES) != 0)
        return a->status = rill__fail(err, RILL_EFORMAT, "%s: this is not a snapshot", path);
    uint64_t expected = 0;
    size_t body = file->size - MAGIC_BYTES;
    if (body >= CHECKSUM_BYTES)
        memcpy(&expected, file->data + file->size - CHECKSUM_BYTES, sizeof expected);
    if (body < CHECKSUM_BYTES || XXH3_64bits(file->data, file->size - CHECKSUM_BYTES) != expected)
        return a->status =
                   rill__fail(err, RILL_EFORMAT,
                              "%s: the snapshot is damaged or cut short: its checksum does not fit",
                              path);
    a->data = file->data + MAGIC_BYTES;
    a->left = body - CHECKSUM_BYTES;
    return RILL_OK;
}

rill_status rill__archive_finish(rill__archive *a) {
    if (a->loading) {
        rill__archive_require(a, a->left == 0, "length", "bytes are left over");
        return a->status;
    }
    if (a->status == RILL_OK) {
        uint64_t checksum = XXH3_64bits_digest(&a->hash);
        a->status = rill__writer_write(a->writer, &checksum, sizeof checksum, a->err);
    }
    if (a->status == RILL_OK)
        a->status = rill__writer_commit(&a->writer, a->err);
    else
        rill__writer_discard(&a->writer);
    return a->status;
}

void rill__archive_put(rill__archive *a, const void *data, size_t bytes) {
    if (a->status != RILL_OK || bytes == 0) return;
    XXH3_64bits_update(&a->hash, data, bytes);
    a->status = rill__writer_write(a->writer, data, bytes, a->err);
}

const void *rill__archive_take(rill__archive *a, size_t bytes) {
    if (!rill__archive_require(a, bytes <= a->left, "length", "the snapshot ends too early"))
        return NULL;
    const uint8_t *data = a->data;
    a->data += bytes;
    a->left -= bytes;
    return data;
}

static void walk_value(rill__archive *a, void *data, size_t bytes) {
    if (!a->loading) {
        rill__archive_put(a, data, bytes);
        return;
    }
    const void *from = rill__archive_take(a, bytes);
    if (from) memcpy(data, from, bytes);
}

void rill__archive_u32(rill__archive *a, uint32_t *value) {
    walk_value(a, value, sizeof *value);
}

void rill__archive_u64(rill__archive *a, uint64_t *value) {
    walk_value(a, value, sizeof *value);
}

void rill__archive_f32(rill__archive *a, float *value) {
    walk_value(a, value, sizeof *value);
}

void rill__archive_bool(rill__archive *a, bool *value) {
    uint32_t number = *value;
    rill__archive_u32(a, &number);
    if (rill__archive_require(a, number <= 1, "flag", "0 or 1 is right") && a->loading)
        *value = number == 1;
}

bool rill__archive_require(rill__archive *a, bool good, const char *field, const char *detail) {
    if (a->status == RILL_OK && a->loading && !good)
        a->status = rill__fail(a->err, RILL_EFORMAT, "%s: %s: %s", a->path, field, detail);
    return a->status == RILL_OK;
}
