// SPDX-License-Identifier: MIT
// Writes GGUF version 3, little-endian, with the default alignment of 32 bytes.
#include "format/gguf_writer.h"

#include <string.h>

enum { ALIGNMENT = 32 };

static uint64_t aligned(uint64_t n) {
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void rill__gguf_writer_init(rill__gguf_writer *w, rill_error *err) {
    *w = (rill__gguf_writer){.err = err};
    rill__bytes_init(&w->values, 0);
    rill__bytes_init(&w->tensors, 0);
}

void rill__gguf_writer_deinit(rill__gguf_writer *w) {
    rill__bytes_deinit(&w->values);
    rill__bytes_deinit(&w->tensors);
    rill__writer_discard(&w->file);
}

static void append(rill__gguf_writer *w, rill__bytes *to, const void *data, size_t bytes) {
    if (w->status == RILL_OK) w->status = rill__bytes_append(to, data, bytes, w->err);
}

static void append_string(rill__gguf_writer *w, rill__bytes *to, const char *text, size_t length) {
    uint64_t n = length;
    append(w, to, &n, sizeof n);
    append(w, to, text, length);
}

static void put_key(rill__gguf_writer *w, const char *key, rill__gguf_type type) {
    uint32_t number = type;
    append_string(w, &w->values, key, strlen(key));
    append(w, &w->values, &number, sizeof number);
    w->n_values++;
}

void rill__gguf_put_u32(rill__gguf_writer *w, const char *key, uint32_t value) {
    put_key(w, key, RILL_GGUF_U32);
    append(w, &w->values, &value, sizeof value);
}

void rill__gguf_put_f32(rill__gguf_writer *w, const char *key, double value) {
    float number = (float)value;
    put_key(w, key, RILL_GGUF_F32);
    append(w, &w->values, &number, sizeof number);
}

void rill__gguf_put_bool(rill__gguf_writer *w, const char *key, bool value) {
    uint8_t byte = value;
    put_key(w, key, RILL_GGUF_BOOL);
    append(w, &w->values, &byte, sizeof byte);
}

void rill__gguf_put_text(rill__gguf_writer *w, const char *key, const char *text) {
    put_key(w, key, RILL_GGUF_STRING);
    append_string(w, &w->values, text, strlen(text));
}

void rill__gguf_put_array(rill__gguf_writer *w, const char *key, rill__gguf_type type,
                          uint64_t count) {
    uint32_t number = type;
    put_key(w, key, RILL_GGUF_ARRAY);
    append(w, &w->values, &number, sizeof number);
    append(w, &w->values, &count, sizeof count);
}

void rill__gguf_put_bytes(rill__gguf_writer *w, const void *data, size_t bytes) {
    append(w, &w->values, data, bytes);
}

void rill__gguf_put_value(rill__gguf_writer *w, const rill__gguf_value *value) {
    uint32_t array = RILL_GGUF_ARRAY, type = value->type;
    append_string(w, &w->values, value->key.data, value->key.length);
    if (value->is_array) append(w, &w->values, &array, sizeof array);
    append(w, &w->values, &type, sizeof type);
    if (value->is_array) append(w, &w->values, &value->count, sizeof value->count);
    append(w, &w->values, value->data, value->bytes);
    w->n_values++;
}

void rill__gguf_put_string(rill__gguf_writer *w, const char *text, size_t length) {
    append_string(w, &w->values, text, length);
}

void rill__gguf_add_tensor(rill__gguf_writer *w, const char *name, rill_type type, uint32_t n_dims,
                           const uint64_t *shape) {
    uint64_t count = 1;
    size_t bytes = 0;
    uint32_t number = (uint32_t)type;
    append_string(w, &w->tensors, name, strlen(name));
    append(w, &w->tensors, &n_dims, sizeof n_dims);
    for (uint32_t i = n_dims; i-- > 0;) {
        append(w, &w->tensors, &shape[i], sizeof *shape);
        count *= shape[i];
    }
    append(w, &w->tensors, &number, sizeof number);
    append(w, &w->tensors, &w->data_bytes, sizeof w->data_bytes);
    if (w->status == RILL_OK && !rill__type_bytes(type, count, &bytes))
        w->status = rill__fail(w->err, RILL_EINVAL, "tensor '%s' is not whole blocks of %s", name,
                               rill_type_name(type));
    w->data_bytes += aligned(bytes);
    w->n_tensors++;
}

static void write_file(rill__gguf_writer *w, const void *data, size_t bytes) {
    if (w->status == RILL_OK) w->status = rill__writer_write(w->file, data, bytes, w->err);
}

static void write_padding(rill__gguf_writer *w) {
    static const uint8_t zeros[ALIGNMENT];
    uint64_t at = rill__writer_offset(w->file);
    write_file(w, zeros, aligned(at) - at);
}

rill_status rill__gguf_writer_begin(rill__gguf_writer *w, const char *path) {
    if (w->status == RILL_OK) w->status = rill__writer_open(path, &w->file, w->err);
    if (w->status != RILL_OK) return w->status;
    const uint32_t version = 3;
    write_file(w, "GGUF", 4);
    write_file(w, &version, sizeof version);
    write_file(w, &w->n_tensors, sizeof w->n_tensors);
    write_file(w, &w->n_values, sizeof w->n_values);
    write_file(w, w->values.data, w->values.length);
    write_file(w, w->tensors.data, w->tensors.length);
    write_padding(w);
    return w->status;
}

rill_status rill__gguf_write_data(rill__gguf_writer *w, const void *data, size_t bytes) {
    write_file(w, data, bytes);
    return w->status;
}

rill_status rill__gguf_end_tensor(rill__gguf_writer *w) {
    write_padding(w);
    return w->status;
}

rill_status rill__gguf_writer_finish(rill__gguf_writer *w) {
    if (w->status == RILL_OK) w->status = rill__writer_commit(&w->file, w->err);
    return w->status;
}
