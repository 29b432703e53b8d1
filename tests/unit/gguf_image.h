// SPDX-License-Identifier: MIT
// A GGUF file put together byte by byte, right or wrong, in a buffer.
#ifndef RILL_TESTS_GGUF_IMAGE_H
#define RILL_TESTS_GGUF_IMAGE_H

#include "format/gguf.h"

#include "scratch.h"

static uint8_t image[1 << 14];
static size_t used;

static inline void put(const void *data, size_t bytes) {
    assert_true(used + bytes <= sizeof image);
    memcpy(image + used, data, bytes);
    used += bytes;
}

static inline void put_number(uint64_t value, size_t bytes) {
    put(&value, bytes);
}

static inline void put_string(const char *text) {
    put_number(strlen(text), 8);
    put(text, strlen(text));
}

static inline void begin(uint32_t version, uint64_t n_tensors, uint64_t n_values) {
    used = 0;
    put("GGUF", 4);
    put_number(version, 4);
    put_number(n_tensors, 8);
    put_number(n_values, 8);
}

static inline void put_key(const char *key, uint32_t type) {
    put_string(key);
    put_number(type, 4);
}

static inline void put_array_key(const char *key, uint32_t type, uint64_t count) {
    put_key(key, RILL_GGUF_ARRAY);
    put_number(type, 4);
    put_number(count, 8);
}

static inline void put_tensor(const char *name, uint32_t type, uint64_t columns, uint64_t rows,
                              uint64_t offset) {
    put_string(name);
    put_number(2, 4);
    put_number(columns, 8);
    put_number(rows, 8);
    put_number(type, 4);
    put_number(offset, 8);
}

static inline void put_padding(size_t alignment) {
    while (used % alignment) put_number(0, 1);
}

static inline void put_data(size_t bytes) {
    for (size_t i = 0; i < bytes; i++) put_number(i * 7 + 1, 1);
}

static inline rill_status open_image(rill__gguf *g, rill_error *err) {
    *err = (rill_error){0};
    return rill__gguf_open(scratch_file("image.gguf", image, used), g, err);
}

// Two keys, one of them an array of strings, and two tensors.
static inline void make_small(uint32_t version) {
    begin(version, 2, 2);
    put_key("a.number", RILL_GGUF_U32);
    put_number(77, 4);
    put_array_key("a.list", RILL_GGUF_STRING, 3);
    put_string("one");
    put_string("");
    put_string("three");
    put_tensor("x", RILL_TYPE_F32, 3, 2, 0);
    put_tensor("y", RILL_TYPE_Q8_0, 32, 2, 32);
    put_padding(32);
    put_data(32 + 68);
}

#endif
