// SPDX-License-Identifier: MIT
// jansson with our allocator and our messages.
#include "base/json.h"

#include "base/file.h"

#include <pthread.h>

// jansson reports a failed allocation as one or another error of syntax; this tells it apart.
static _Thread_local bool out_of_memory;

static void *json_memory(size_t bytes) {
    void *memory = rill__malloc(bytes);
    if (!memory) out_of_memory = true;
    return memory;
}

static void use_our_memory(void) {
    json_set_alloc_funcs(json_memory, rill__free);
}

rill_status rill__json_parse(const char *name, const char *text, size_t length, json_t **out,
                             rill_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_our_memory);
    json_error_t where = {.line = 0};
    out_of_memory = false;
    json_t *value = json_loadb(text, length, JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
    if (!value && out_of_memory) return rill__fail_memory(err, name, length);
    if (!value)
        return rill__fail(err, RILL_EFORMAT, "%s: line %d, column %d: %s", name, where.line,
                          where.column, where.text);
    *out = value;
    return RILL_OK;
}

rill_status rill__json_load(const char *path, size_t ceiling, json_t **out, rill_error *err) {
    char *text;
    size_t length;
    rill_status status = rill__file_read(path, ceiling, &text, &length, err);
    if (status != RILL_OK) return status;
    status = rill__json_parse(path, text, length, out, err);
    rill__free(text);
    return status;
}
