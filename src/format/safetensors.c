// SPDX-License-Identifier: MIT
// Reads and writes safetensors. Nothing in the header is believed before it is checked.
#include "format/safetensors.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

static const uint64_t max_header = (uint64_t)100 << 20;  // the format's own limit

static const struct {
    const char *name;
    uint32_t bytes;
    bool known;
    rill_type type;
} dtypes[] = {
    {"F32", 4, true, RILL_TYPE_F32},      {"F16", 2, true, RILL_TYPE_F16},
    {"BF16", 2, true, RILL_TYPE_BF16},    {"F64", 8, false, RILL_TYPE_F32},
    {"I64", 8, false, RILL_TYPE_F32},     {"I32", 4, false, RILL_TYPE_F32},
    {"I16", 2, false, RILL_TYPE_F32},     {"I8", 1, false, RILL_TYPE_F32},
    {"U64", 8, false, RILL_TYPE_F32},     {"U32", 4, false, RILL_TYPE_F32},
    {"U16", 2, false, RILL_TYPE_F32},     {"U8", 1, true, RILL_TENSOR_BYTES},
    {"BOOL", 1, false, RILL_TYPE_F32},    {"F8_E4M3", 1, false, RILL_TYPE_F32},
    {"F8_E5M2", 1, false, RILL_TYPE_F32},
};

static bool read_number(const json_t *value, uint64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

// The product of a shape's dimensions; false if it is not a list of sizes or overflows.
static bool read_shape(const json_t *shape, rill__tensor *t, uint64_t *count, size_t *n_dims) {
    *count = 1;
    *n_dims = json_array_size(shape);
    if (!json_is_array(shape)) return false;
    for (size_t i = 0; i < *n_dims; i++) {
        uint64_t n;
        if (!read_number(json_array_get(shape, i), &n) || __builtin_mul_overflow(*count, n, count))
            return false;
        if (i < RILL_TENSOR_MAX_DIMS) t->shape[i] = n;
    }
    return true;
}

static rill_status bad(rill_error *err, const char *path, const char *name, const char *why) {
    return rill__fail(err, RILL_EFORMAT, "%s: tensor '%s': %s", path, name, why);
}

// One entry of the header. *keep says whether rill computes with such a tensor.
static rill_status read_entry(const char *path, const char *name, const json_t *entry,
                              const uint8_t *data, uint64_t data_bytes, rill__tensor *t, bool *keep,
                              rill_error *err) {
    *t = (rill__tensor){.shape = {1, 1, 1, 1}};
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    size_t d = 0, n_types = sizeof dtypes / sizeof *dtypes;
    while (d < n_types && (!dtype || strcmp(dtype, dtypes[d].name) != 0)) d++;
    if (d == n_types)
        return rill__fail(err, dtype ? RILL_EUNSUPPORTED : RILL_EFORMAT,
                          "%s: tensor '%s': dtype '%s'; F32, F16 and BF16 are known", path, name,
                          dtype ? dtype : "(missing)");
    uint64_t count, bytes, begin, end;
    size_t n_dims;
    if (!read_shape(json_object_get(entry, "shape"), t, &count, &n_dims) ||
        __builtin_mul_overflow(count, (uint64_t)dtypes[d].bytes, &bytes))
        return bad(err, path, name, "its shape is not a list of sizes");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (json_array_size(offsets) != 2 || !read_number(json_array_get(offsets, 0), &begin) ||
        !read_number(json_array_get(offsets, 1), &end) || begin > end || end > data_bytes)
        return bad(err, path, name,
                   "its data_offsets lie outside the file; is the file cut short?");
    if (end - begin != bytes)
        return rill__fail(err, RILL_EFORMAT,
                          "%s: tensor '%s': %llu bytes of data, its shape needs %llu", path, name,
                          (unsigned long long)(end - begin), (unsigned long long)bytes);
    *keep = dtypes[d].known && n_dims >= 1 && n_dims <= RILL_TENSOR_MAX_DIMS && bytes > 0;
    t->name = name;
    t->type = dtypes[d].type;
    t->n_dims = (uint32_t)n_dims;
    t->data = data + begin;
    t->bytes = bytes;
    return RILL_OK;
}

// Fills the table; names are copied into one block, since the JSON goes away.
static rill_status read_header(const char *path, json_t *header, const uint8_t *data,
                               uint64_t data_bytes, rill__safetensors *out, rill_error *err) {
    size_t names_bytes = 0;
    const char *key;
    json_t *entry;
    json_object_foreach(header, key, entry) names_bytes += strlen(key) + 1;
    out->names = rill__malloc(names_bytes);
    out->tensors = rill__calloc(json_object_size(header), sizeof *out->tensors);
    if (!out->names || !out->tensors) return rill__fail_memory(err, path, names_bytes);
    char *names = out->names;
    json_object_foreach(header, key, entry) {
        if (strcmp(key, "__metadata__") == 0) continue;
        size_t length = strlen(key) + 1;
        memcpy(names, key, length);
        bool keep = false;
        rill_status status = read_entry(path, names, entry, data, data_bytes,
                                        &out->tensors[out->n_tensors], &keep, err);
        if (status != RILL_OK) return status;
        out->n_tensors += keep;
        names += length;
    }
    return rill__tensors_check(path, out->tensors, out->n_tensors, err);
}

rill_status rill__safetensors_open(const char *path, rill__safetensors *out, rill_error *err) {
    *out = (rill__safetensors){0};
    rill_status status = rill__mapping_open(path, &out->mapping, err);
    if (status != RILL_OK) return status;
    const rill__mapping *m = &out->mapping;
    uint64_t length = 0;
    if (m->size >= sizeof length) memcpy(&length, m->data, sizeof length);
    json_t *header = NULL;
    if (m->size < sizeof length || length > m->size - sizeof length || length > max_header) {
        status = rill__fail(err, RILL_EFORMAT,
                            "%s: its header of %llu bytes does not fit a file of %zu: not "
                            "safetensors, or cut short",
                            path, (unsigned long long)length, m->size);
    } else {
        status =
            rill__json_parse(path, (const char *)m->data + sizeof length, length, &header, err);
    }
    if (status == RILL_OK && !json_is_object(header))
        status = rill__fail(err, RILL_EFORMAT, "%s: its header is not an object", path);
    if (status == RILL_OK)
        status = read_header(path, header, m->data + sizeof length + length,
                             m->size - sizeof length - length, out, err);
    json_decref(header);
    if (status != RILL_OK) rill__safetensors_close(out);
    return status;
}

void rill__safetensors_close(rill__safetensors *s) {
    rill__free(s->tensors);
    rill__free(s->names);
    rill__mapping_close(&s->mapping);
    *s = (rill__safetensors){0};
}

rill_status rill__safetensors_write(const char *path, const char *name, const float *data,
                                    uint64_t rows, uint64_t columns, rill_error *err) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    uint64_t count, bytes;
    if (strlen(name) > 128 || name[strspn(name, plain)] != '\0')
        return rill__fail(err, RILL_EINVAL,
                          "%s: a tensor's name has letters, digits, '_', '.' and '-'", path);
    if (__builtin_mul_overflow(rows, columns, &count) ||
        __builtin_mul_overflow(count, (uint64_t)sizeof *data, &bytes))
        return rill__fail(err, RILL_EINVAL, "%s: %llu rows of %llu numbers are too many", path,
                          (unsigned long long)rows, (unsigned long long)columns);
    char text[512];
    int n = snprintf(text, sizeof text,
                     "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%llu,%llu],\"data_offsets\":[0,%llu]}}",
                     name, (unsigned long long)rows, (unsigned long long)columns,
                     (unsigned long long)bytes);
    // Padded with spaces so that the numbers are aligned.
    uint64_t length = ((uint64_t)n + 7) / 8 * 8;
    memset(text + n, ' ', length - (uint64_t)n);
    rill__file_writer *writer = NULL;
    rill_status status = rill__writer_open(path, &writer, err);
    if (status == RILL_OK) status = rill__writer_write(writer, &length, sizeof length, err);
    if (status == RILL_OK) status = rill__writer_write(writer, text, length, err);
    if (status == RILL_OK) status = rill__writer_write(writer, data, bytes, err);
    if (status == RILL_OK)
        status = rill__writer_commit(&writer, err);
    else
        rill__writer_discard(&writer);
    return status;
}
