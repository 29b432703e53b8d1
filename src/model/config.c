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

bool rill__config_has(const rill__config *c, const char *key) {
    return get(c, key) != NULL;
}

uint32_t rill__config_u32(rill__config *c, const char *key, uint32_t fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    double number = json_number_value(value);  // 32 and 32.0 are both met
    if (!json_is_number(value) || !(number >= 0 && number <= UINT32_MAX) ||
        number != floor(number)) {
        rill__config_fail(c, RILL_EFORMAT, key, "a whole number, 0 or more, is right");
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
        rill__config_fail(c, RILL_EFORMAT, key, "a number is right");
    return json_number_value(value);
}

bool rill__config_bool(rill__config *c, const char *key, bool fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    if (!json_is_boolean(value)) rill__config_fail(c, RILL_EFORMAT, key, "true or false is right");
    return json_is_true(value);
}

const char *rill__config_text(rill__config *c, const char *key, const char *fallback) {
    const json_t *value = get(c, key);
    if (!value) return fallback;
    if (!json_is_string(value)) {
        rill__config_fail(c, RILL_EFORMAT, key, "a text is right");
        return fallback;
    }
    return json_string_value(value);
}

rill__config rill__config_part(rill__config *c, const char *key) {
    const json_t *value = get(c, key);
    if (value && !json_is_object(value))
        rill__config_fail(c, RILL_EFORMAT, key, "an object is right");
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
        rill__metadata_fail(m, RILL_EFORMAT, key, "a whole number, 0 or more, is right");
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
        rill__metadata_fail(m, RILL_EFORMAT, key, "a number is right");
    return number;
}

bool rill__metadata_bool(rill__metadata *m, const char *key, bool fallback) {
    char name[160];
    bool value = fallback;
    if (rill__metadata_has(m, key) && !rill__gguf_bool(m->gguf, full_key(m, key, name), &value))
        rill__metadata_fail(m, RILL_EFORMAT, key, "a truth value is right");
    return value;
}

void rill__metadata_text(rill__metadata *m, const char *key, char *out, size_t capacity) {
    char name[160];
    rill__gguf_string text = {"", 0};
    if (rill__metadata_has(m, key) && !rill__gguf_text(m->gguf, full_key(m, key, name), &text))
        rill__metadata_fail(m, RILL_EFORMAT, key, "a text is right");
    snprintf(out, capacity, "%.*s", (int)(text.length < capacity ? text.length : capacity - 1),
             text.data);
}
