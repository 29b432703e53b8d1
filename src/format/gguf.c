// SPDX-License-Identifier: MIT
// Reads GGUF. The file is walked once from front to back; every length is checked against what is
// left before anything is read or reserved for it.
#include "format/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ALIGNMENT = 1 << 16,
    MAX_KEY = 65535,  // the specification's
    MAX_NAME = 4096,  // the specification says 64; tools have gone past it
    MAX_DEPTH = 4,    // of arrays in arrays; the specification sets no limit
    MIN_VALUE = 8 + 4 + 1,
    MIN_TENSOR = 8 + 4 + 8 + 4 + 8,
};

static const uint8_t sizes[RILL_GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

// Types of tensors that exist, by number, to be able to name those that rill does not know.
static const char *const tensor_types[] = {
    "F32",   "F16",        "Q4_0",       "Q4_1",       "Q4_2",     "Q4_3",     "Q5_0",
    "Q5_1",  "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",     "Q4_K",     "Q5_K",
    "Q6_K",  "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "IQ4_NL",
    "IQ3_S", "IQ2_S",      "IQ4_XS",     "I8",         "I16",      "I32",      "I64",
    "F64",   "IQ1_M",      "BF16",       "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
    "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",
};

// What is left of the file.
typedef struct cursor {
    const char *path;
    const uint8_t *at;
    size_t left;
    rill_status status;
    rill_error *err;
} cursor;

static bool take(cursor *c, size_t bytes, const uint8_t **at, const char *what) {
    if (c->status != RILL_OK) return false;
    if (bytes > c->left) {
        c->status =
            rill__fail(c->err, RILL_EFORMAT, "%s: ends within %s: the file is cut short or damaged",
                       c->path, what);
        return false;
    }
    *at = c->at;
    c->at += bytes;
    c->left -= bytes;
    return true;
}

static uint64_t take_number(cursor *c, size_t bytes, const char *what) {
    const uint8_t *at;
    uint64_t value = 0;
    if (take(c, bytes, &at, what)) memcpy(&value, at, bytes);
    return value;
}

static rill__gguf_string take_string(cursor *c, const char *what) {
    uint64_t length = take_number(c, 8, what);
    const uint8_t *at = NULL;
    if (!take(c, length, &at, what)) return (rill__gguf_string){"", 0};
    return (rill__gguf_string){(const char *)at, length};
}

static void fail(cursor *c, const char *what, rill__gguf_string name, const char *why) {
    if (c->status == RILL_OK)
        c->status = rill__fail(c->err, RILL_EFORMAT, "%s: %s '%.*s': %s", c->path, what,
                               (int)(name.length < 80 ? name.length : 80), name.data, why);
}

// Passes over an array's elements, and those of the arrays inside.
static void skip_elements(cursor *c, uint64_t type, uint64_t count, unsigned depth) {
    const uint8_t *at;
    size_t bytes;
    if (type == RILL_GGUF_STRING) {
        for (uint64_t i = 0; i < count && c->status == RILL_OK; i++) take_string(c, "a text");
    } else if (type == RILL_GGUF_ARRAY && depth < MAX_DEPTH) {
        for (uint64_t i = 0; i < count && c->status == RILL_OK; i++) {
            uint64_t inner = take_number(c, 4, "an array's type");
            skip_elements(c, inner, take_number(c, 8, "an array's length"), depth + 1);
        }
    } else if (type < RILL_GGUF_TYPES && type != RILL_GGUF_ARRAY) {
        if (!rill__mul_size(count, sizes[type], &bytes)) bytes = SIZE_MAX;
        take(c, bytes, &at, "a value");
    } else if (c->status == RILL_OK) {
        c->status =
            rill__fail(c->err, RILL_EFORMAT,
                       "%s: a value of type %llu; types below %d and arrays at most %d deep "
                       "are right",
                       c->path, (unsigned long long)type, RILL_GGUF_TYPES, MAX_DEPTH);
    }
}

static void read_value(cursor *c, rill__gguf_value *v) {
    v->key = take_string(c, "a key");
    if (v->key.length > MAX_KEY) fail(c, "key", v->key, "longer than 65535 bytes");
    uint64_t type = take_number(c, 4, "a type");
    v->count = 1;
    if (type == RILL_GGUF_ARRAY) {
        v->is_array = true;
        type = take_number(c, 4, "an array's type");
        v->count = take_number(c, 8, "an array's length");
    }
    if (type >= RILL_GGUF_TYPES) {
        fail(c, "key", v->key, "a type that is not known");
        return;
    }
    v->type = (rill__gguf_type)type;
    v->data = c->at;
    skip_elements(c, type, v->count, 1);
    v->bytes = (size_t)(c->at - v->data);
}

// A tensor's entry. data holds its offset until the data's beginning is known.
static void read_tensor(cursor *c, rill__tensor *t, char **names, uint64_t *offset) {
    rill__gguf_string name = take_string(c, "a tensor's name");
    if (name.length == 0 || name.length > MAX_NAME || memchr(name.data, 0, name.length))
        fail(c, "tensor", name, "a name of 1 to 4096 bytes without NUL is right");
    uint64_t n_dims = take_number(c, 4, "a tensor's dimensions");
    if (n_dims < 1 || n_dims > RILL_TENSOR_MAX_DIMS)
        fail(c, "tensor", name, "1 to 4 dimensions are right");
    if (c->status != RILL_OK) return;
    *t = (rill__tensor){.name = *names, .n_dims = (uint32_t)n_dims, .shape = {1, 1, 1, 1}};
    memcpy(*names, name.data, name.length);
    (*names)[name.length] = '\0';
    *names += name.length + 1;
    uint64_t count = 1;
    for (uint64_t i = 0; i < n_dims; i++) {
        uint64_t n = take_number(c, 8, "a tensor's dimensions");
        t->shape[n_dims - 1 - i] = n;  // the file lists the fastest first
        if (n == 0 || __builtin_mul_overflow(count, n, &count))
            fail(c, "tensor", name, "a dimension that makes no sense");
    }
    uint64_t type = take_number(c, 4, "a tensor's type");
    *offset = take_number(c, 8, "a tensor's offset");
    if (c->status != RILL_OK) return;
    t->type = (rill_type)type;
    if (!rill__type_traits_get(t->type)) {
        size_t n_known = sizeof tensor_types / sizeof *tensor_types;
        c->status = rill__fail(c->err, RILL_EUNSUPPORTED,
                               "%s: tensor '%s': type %s (%llu); f32, f16, bf16, q8_0, q4_0, q4_1, "
                               "q5_0, q5_1, q2_K to q6_K, iq4_nl, iq4_xs and mxfp4 are known",
                               c->path, t->name, type < n_known ? tensor_types[type] : "unknown",
                               (unsigned long long)type);
    } else if (!rill__type_bytes(t->type, t->shape[n_dims - 1], &t->bytes) ||
               !rill__type_bytes(t->type, count, &t->bytes)) {
        fail(c, "tensor", name, "its rows are not whole blocks");
    }
}

static int compare_strings(rill__gguf_string a, rill__gguf_string b) {
    size_t n = a.length < b.length ? a.length : b.length;
    int order = memcmp(a.data, b.data, n);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int by_key(const void *a, const void *b) {
    return compare_strings(((const rill__gguf_value *)a)->key, ((const rill__gguf_value *)b)->key);
}

static void read_values(cursor *c, rill__gguf *g, uint64_t count) {
    if (count > c->left / MIN_VALUE) {
        c->status = rill__fail(c->err, RILL_EFORMAT, "%s: %llu keys do not fit its %zu bytes",
                               c->path, (unsigned long long)count, g->mapping.size);
        return;
    }
    g->values = rill__calloc(count, sizeof *g->values);
    if (!g->values) {
        c->status = rill__fail_memory(c->err, c->path, count * sizeof *g->values);
        return;
    }
    while (g->n_values < count && c->status == RILL_OK) read_value(c, &g->values[g->n_values++]);
    if (c->status != RILL_OK) return;
    qsort(g->values, g->n_values, sizeof *g->values, by_key);
    for (size_t i = 1; i < g->n_values; i++)
        if (by_key(&g->values[i - 1], &g->values[i]) == 0)
            fail(c, "key", g->values[i].key, "it occurs twice");
}

// Bytes that the names of the tensors take, terminated.
static size_t names_bytes(cursor c, uint64_t count) {
    size_t total = 0;
    for (uint64_t i = 0; i < count && c.status == RILL_OK; i++) {
        rill_error ignored;
        c.err = &ignored;
        total += take_string(&c, "").length + 1;
        uint64_t n_dims = take_number(&c, 4, "");
        const uint8_t *at;
        take(&c, n_dims <= RILL_TENSOR_MAX_DIMS ? n_dims * 8 + 12 : SIZE_MAX, &at, "");
    }
    return total;
}

static void place_tensors(cursor *c, rill__gguf *g, const uint64_t *offsets, uint64_t alignment) {
    size_t used = g->mapping.size - c->left;
    size_t padding = (alignment - used % alignment) % alignment;
    const uint8_t *data;
    if (g->n_tensors && !take(c, padding, &data, "the padding before the data")) return;
    for (size_t i = 0; i < g->n_tensors && c->status == RILL_OK; i++) {
        rill__tensor *t = &g->tensors[i];
        if (offsets[i] % alignment != 0)
            c->status =
                rill__fail(c->err, RILL_EFORMAT,
                           "%s: tensor '%s': offset %llu is not a multiple of the alignment "
                           "of %llu",
                           c->path, t->name, (unsigned long long)offsets[i],
                           (unsigned long long)alignment);
        else if (offsets[i] > c->left || t->bytes > c->left - offsets[i])
            c->status = rill__fail(c->err, RILL_EFORMAT,
                                   "%s: tensor '%s': its data end past the file's %zu bytes: the "
                                   "file is cut short or damaged",
                                   c->path, t->name, g->mapping.size);
        else
            t->data = c->at + offsets[i];
    }
}

static void read_tensors(cursor *c, rill__gguf *g, uint64_t count) {
    if (count > c->left / MIN_TENSOR) {
        c->status = rill__fail(c->err, RILL_EFORMAT, "%s: %llu tensors do not fit its %zu bytes",
                               c->path, (unsigned long long)count, g->mapping.size);
        return;
    }
    int64_t alignment = 32;
    bool given = rill__gguf_find(g, "general.alignment") != NULL;
    if (given && (!rill__gguf_integer(g, "general.alignment", &alignment) || alignment < 8 ||
                  alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0)) {
        c->status =
            rill__fail(c->err, RILL_EFORMAT,
                       "%s: general.alignment: a power of two from 8 to 65536 is right", c->path);
        return;
    }
    size_t bytes = names_bytes(*c, count);
    g->names = rill__malloc(bytes);
    g->tensors = rill__calloc(count, sizeof *g->tensors);
    uint64_t *offsets = rill__calloc(count, sizeof *offsets);
    if (!g->names || !g->tensors || !offsets) {
        c->status = rill__fail_memory(c->err, c->path, bytes + count * sizeof *g->tensors);
    } else {
        char *names = g->names;
        for (uint64_t i = 0; i < count && c->status == RILL_OK; i++)
            read_tensor(c, &g->tensors[i], &names, &offsets[i]);
        g->n_tensors = count;
        place_tensors(c, g, offsets, (uint64_t)alignment);
        if (c->status == RILL_OK)
            c->status = rill__tensors_check(c->path, g->tensors, g->n_tensors, c->err);
    }
    rill__free(offsets);
}

rill_status rill__gguf_open(const char *path, rill__gguf *out, rill_error *err) {
    *out = (rill__gguf){.path = path};
    rill_status status = rill__mapping_open(path, &out->mapping, err);
    if (status != RILL_OK) return status;
    cursor c = {.path = path, .at = out->mapping.data, .left = out->mapping.size, .err = err};
    const uint8_t *magic;
    if (c.left < 4 || !take(&c, 4, &magic, "the magic") || memcmp(magic, "GGUF", 4) != 0) {
        rill__gguf_close(out);
        return rill__fail(err, RILL_EFORMAT, "%s: not a GGUF file", path);
    }
    uint64_t version = take_number(&c, 4, "the version");
    if (c.status == RILL_OK && version != 2 && version != 3)
        c.status = rill__fail(err, RILL_EUNSUPPORTED,
                              "%s: GGUF version %llu; 2 and 3 (little-endian) are known", path,
                              (unsigned long long)version);
    uint64_t n_tensors = take_number(&c, 8, "the number of tensors");
    uint64_t n_values = take_number(&c, 8, "the number of keys");
    if (c.status == RILL_OK) read_values(&c, out, n_values);
    if (c.status == RILL_OK) read_tensors(&c, out, n_tensors);
    if (c.status != RILL_OK) rill__gguf_close(out);
    return c.status;
}

void rill__gguf_close(rill__gguf *g) {
    rill__free(g->values);
    rill__free(g->names);
    rill__free(g->tensors);
    rill__mapping_close(&g->mapping);
    *g = (rill__gguf){0};
}

const rill__tensor *rill__gguf_tensor(const rill__gguf *g, const char *name) {
    return rill__tensors_find(g->tensors, g->n_tensors, name);
}

const rill__gguf_value *rill__gguf_find(const rill__gguf *g, const char *key) {
    const rill__gguf_value wanted = {.key = {key, strlen(key)}};
    return g->n_values ? bsearch(&wanted, g->values, g->n_values, sizeof wanted, by_key) : NULL;
}

static bool integer_at(rill__gguf_type type, const uint8_t *data, int64_t *out) {
    uint64_t raw = 0;
    memcpy(&raw, data, sizes[type]);
    switch (type) {
    case RILL_GGUF_U8:
    case RILL_GGUF_U16:
    case RILL_GGUF_U32:
    case RILL_GGUF_U64: *out = (int64_t)raw; return raw <= INT64_MAX;
    case RILL_GGUF_I8: *out = (int8_t)raw; return true;
    case RILL_GGUF_I16: *out = (int16_t)raw; return true;
    case RILL_GGUF_I32: *out = (int32_t)raw; return true;
    case RILL_GGUF_I64: *out = (int64_t)raw; return true;
    default: return false;
    }
}

bool rill__gguf_integer(const rill__gguf *g, const char *key, int64_t *out) {
    const rill__gguf_value *v = rill__gguf_find(g, key);
    return v && !v->is_array && integer_at(v->type, v->data, out);
}

bool rill__gguf_real(const rill__gguf *g, const char *key, double *out) {
    const rill__gguf_value *v = rill__gguf_find(g, key);
    int64_t whole;
    if (!v || v->is_array) return false;
    if (v->type == RILL_GGUF_F32) {
        *out = rill__gguf_array_f32(v, 0);
    } else if (v->type == RILL_GGUF_F64) {
        memcpy(out, v->data, sizeof *out);
    } else if (integer_at(v->type, v->data, &whole)) {
        *out = (double)whole;
    } else {
        return false;
    }
    return true;
}

bool rill__gguf_bool(const rill__gguf *g, const char *key, bool *out) {
    const rill__gguf_value *v = rill__gguf_find(g, key);
    if (!v || v->is_array || v->type != RILL_GGUF_BOOL) return false;
    *out = *v->data != 0;
    return true;
}

bool rill__gguf_text(const rill__gguf *g, const char *key, rill__gguf_string *out) {
    const rill__gguf_value *v = rill__gguf_find(g, key);
    if (!v || v->is_array || v->type != RILL_GGUF_STRING) return false;
    const uint8_t *at = v->data;
    *out = rill__gguf_next_string(&at);
    return true;
}

rill__gguf_string rill__gguf_next_string(const uint8_t **at) {
    uint64_t length;
    memcpy(&length, *at, sizeof length);
    rill__gguf_string s = {(const char *)*at + sizeof length, length};
    *at += sizeof length + length;
    return s;
}

int64_t rill__gguf_array_integer(const rill__gguf_value *value, size_t i) {
    int64_t number = 0;
    integer_at(value->type, value->data + i * sizes[value->type], &number);
    return number;
}

float rill__gguf_array_f32(const rill__gguf_value *value, size_t i) {
    float number;
    memcpy(&number, value->data + i * sizeof number, sizeof number);
    return number;
}
