// SPDX-License-Identifier: MIT
// Settings by key, from JSON and from GGUF.
#include "model/config.h"

#include <math.h>
#include <stdio.h>

static const json_t *get(const rill__config *c, const char *key) {
    const json_t *value = json_object_get(c->object, key);
    return json_is_null(value) ? NULL : value;
}

void rill__config_fail(rill__config *c, rill_status status, const char *key, const char *format,
                       ...) {
    if (c->status != RILL_OK) return;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    c->status = rill__fail(c->err, status, "%s: %s: %s", c->path, key, text);
}

// What stands there instead, in the words of a message.
static const char *found(const json_t *value, char out[80]) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    case JSON_STRING: snprintf(out, 80, "'%.60s'", json_string_value(value)); break;
    case JSON_INTEGER: snprintf(out, 80, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); break;
    case JSON_REAL: snprintf(out, 80, "%g", json_real_value(value)); break;
    }
    return out;
}

// A value of the wrong kind or size; `right` says what would do.
static void refuse(rill__config *c, const char *key, const json_t *value, const char *right) {
    char text[80];
    rill__config_fail(c, RILL_EFORMAT, key, "%s; %s is right", found(value, text), right);
}

bool rill__config_has(const rill__config *c, const char *key) {
    return get(c, key) != NULL;
}

uint32_t rill__config_u32(rill__config *c, const char *key, uint32_t fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    double number = json_number_value(value);  // 32 and 32.0 are both met
    if (!json_is_number(value) || !(number >= 0 && number <= UINT32_MAX) ||
        number != floor(number)) {
        refuse(c, key, value, "a whole number from 0 to 4294967295");
        return fallback;
    }
    return (uint32_t)number;
}

uint32_t rill__config_u32_needed(rill__config *c, const char *key) {
    if (!get(c, key)) rill__config_fail(c, RILL_EFORMAT, key, "it is missing");
    return rill__config_u32(c, key, 0);
}

double rill__config_real(rill__config *c, const char *key, double fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        refuse(c, key, value, "a number");
    return json_number_value(value);
}

bool rill__config_bool(rill__config *c, const char *key, bool fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    if (!json_is_boolean(value)) refuse(c, key, value, "true or false");
    return json_is_true(value);
}

const char *rill__config_text(rill__config *c, const char *key, const char *fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    if (!json_is_string(value)) {
        refuse(c, key, value, "a text");
        return fallback;
    }
    return json_string_value(value);
}

rill__config rill__config_part(rill__config *c, const char *key) {
    const json_t *value = get(c, key);
    if (value && !json_is_object(value)) refuse(c, key, value, "an object");
    return (rill__config){.path = c->path,
                          .object = json_is_object(value) ? value : NULL,
                          .status = c->status,
                          .err = c->err};
}

void rill__config_join(rill__config *c, const rill__config *part) {
    if (c->status == RILL_OK) c->status = part->status;
}

// "llama" and "block_count" to "llama.block_count"; keys of no architecture begin with a dot.
static const char *full_key(const rill__metadata *m, const char *key, char out[160]) {
    if (key[0] == '.') return key + 1;
    snprintf(out, 160, "%s.%s", m->architecture, key);
    return out;
}

void rill__metadata_fail(rill__metadata *m, rill_status status, const char *key, const char *format,
                         ...) {
    if (m->status != RILL_OK) return;
    char text[256], name[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    m->status =
        rill__fail(m->err, status, "%s: %s: %s", m->gguf->path, full_key(m, key, name), text);
}

// A value of the wrong kind or size; `right` says what would do.
static void refuse_metadata(rill__metadata *m, const char *key, const char *right) {
    static const char *const kinds[RILL_GGUF_TYPES] = {
        "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "text", "list", "u64", "i64", "f64"};
    const rill__gguf_value *v = rill__metadata_value(m, key);
    char name[160], text[32];
    int64_t whole;
    double real;
    if (v->is_array)
        snprintf(text, sizeof text, "a list");
    else if (rill__gguf_integer(m->gguf, full_key(m, key, name), &whole))
        snprintf(text, sizeof text, "%lld", (long long)whole);
    else if (rill__gguf_real(m->gguf, full_key(m, key, name), &real))
        snprintf(text, sizeof text, "%g", real);
    else
        snprintf(text, sizeof text, "a %s", kinds[v->type]);
    rill__metadata_fail(m, RILL_EFORMAT, key, "%s; %s is right", text, right);
}

const rill__gguf_value *rill__metadata_value(const rill__metadata *m, const char *key) {
    char name[160];
    return rill__gguf_find(m->gguf, full_key(m, key, name));
}

bool rill__metadata_has(const rill__metadata *m, const char *key) {
    return rill__metadata_value(m, key) != NULL;
}

uint32_t rill__metadata_u32(rill__metadata *m, const char *key, uint32_t fallback) {
    char name[160];
    int64_t number;
    if (!rill__metadata_has(m, key)) return fallback;
    if (!rill__gguf_integer(m->gguf, full_key(m, key, name), &number) || number < 0 ||
        number > UINT32_MAX) {
        refuse_metadata(m, key, "a whole number from 0 to 4294967295");
        return fallback;
    }
    return (uint32_t)number;
}

uint32_t rill__metadata_u32_needed(rill__metadata *m, const char *key) {
    if (!rill__metadata_has(m, key)) rill__metadata_fail(m, RILL_EFORMAT, key, "it is missing");
    return rill__metadata_u32(m, key, 0);
}

double rill__metadata_real(rill__metadata *m, const char *key, double fallback) {
    char name[160];
    double number = fallback;
    if (rill__metadata_has(m, key) &&
        (!rill__gguf_real(m->gguf, full_key(m, key, name), &number) || !isfinite(number)))
        refuse_metadata(m, key, "a number");
    return number;
}

bool rill__metadata_bool(rill__metadata *m, const char *key, bool fallback) {
    char name[160];
    bool value = fallback;
    if (rill__metadata_has(m, key) && !rill__gguf_bool(m->gguf, full_key(m, key, name), &value))
        refuse_metadata(m, key, "a truth value");
    return value;
}

void rill__metadata_text(rill__metadata *m, const char *key, char *out, size_t capacity) {
    char name[160];
    rill__gguf_string text = {"", 0};
    if (rill__metadata_has(m, key) && !rill__gguf_text(m->gguf, full_key(m, key, name), &text))
        refuse_metadata(m, key, "a text");
    snprintf(out, capacity, "%.*s", (int)(text.length < capacity ? text.length : capacity - 1),
             text.data);
}
