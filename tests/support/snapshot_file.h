// SPDX-License-Identifier: MIT
// Snapshot files taken apart: where their fields lie, and how a changed one gets a checksum that
// fits. The layout is that of src/stream/snapshot.c, written down a second time.
#ifndef RILL_TESTS_SNAPSHOT_FILE_H
#define RILL_TESTS_SNAPSHOT_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

// Counted from the file's beginning.
enum {
    AT_VERSION = 8,
    AT_FINGERPRINT = 12,
    AT_METHOD = 28,
    AT_SINKS = 32,
    AT_WINDOW = 36,
    AT_EVICT = 40,
    AT_KEY_TYPE = 44,
    AT_VALUE_TYPE = 48,
    AT_SINK_SCALE = 52,
    AT_SINK_CAP = 56,
    AT_CHUNK = 60,
    AT_START = 64,
    AT_OVER_CONTEXT = 72,
    AT_ROPE_SCALING = 76,
    AT_ROPE_FACTOR = 80,
    AT_SINKS_NOW = 84,
    AT_WINDOW_NOW = 88,
    AT_SEEN = 92,
    AT_FIRST_RECENT = 100,
    AT_EVICTIONS = 108,
    AT_MESSAGES_SEEN = 116,
    AT_MESSAGES_KEPT = 124,
    AT_N_STARTS = 132,
    AT_STARTS = 136,
};

// Counted from the end of the starts of messages, 8 bytes each.
enum {
    AT_IN_ANSWER = 0,
    AT_SYSTEM_END = 4,
    AT_TEMPERATURE = 12,
    AT_TOP_P = 20,
    AT_MIN_P = 24,
    AT_REPETITION_PENALTY = 28,
    AT_PENALTY_WINDOW = 40,
    AT_N_BIAS = 52,
    AT_BIAS = 56,
};

// The file's bytes, the caller's (free).
static inline char *snapshot_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) abort();
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    if (!bytes || fread(bytes, 1, *size, file) != *size) abort();
    fclose(file);
    return bytes;
}

// Writes the file as it is given.
static inline void snapshot_write(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) abort();
}

// Writes the file with these bytes but for its checksum, the last eight, which is made to fit.
static inline void snapshot_forge(const char *path, char *bytes, size_t size) {
    uint64_t checksum = XXH3_64bits(bytes, size - sizeof checksum);
    memcpy(bytes + size - sizeof checksum, &checksum, sizeof checksum);
    snapshot_write(path, bytes, size);
}

// Numbers as the file has them, `at` bytes in.
static inline void put_u32(char *bytes, size_t at, uint32_t value) {
    memcpy(bytes + at, &value, sizeof value);
}
static inline void put_u64(char *bytes, size_t at, uint64_t value) {
    memcpy(bytes + at, &value, sizeof value);
}

#endif
