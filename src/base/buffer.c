// SPDX-License-Identifier: MIT
// A growing run of bytes with a ceiling.
#include "base/buffer.h"

#include <string.h>

void rill__bytes_init(rill__bytes *b, size_t ceiling) {
    *b = (rill__bytes){.ceiling = ceiling ? ceiling : SIZE_MAX - 1};
}

void rill__bytes_deinit(rill__bytes *b) {
    rill__free(b->data);
    rill__bytes_init(b, b->ceiling);
}

void rill__bytes_reset(rill__bytes *b) {
    b->length = 0;
    if (b->data) b->data[0] = '\0';
}

rill_status rill__bytes_reserve(rill__bytes *b, size_t extra, rill_error *err) {
    size_t wanted;
    if (!rill__add_size(b->length, extra, &wanted) || wanted > b->ceiling)
        return rill__fail(err, RILL_ENOMEM, "a text grew past its limit of %zu bytes", b->ceiling);
    if (b->data && wanted <= b->capacity) return RILL_OK;
    size_t least = b->ceiling < 64 ? b->ceiling : 64;
    size_t capacity = b->capacity < least ? least : b->capacity;
    while (capacity < wanted) capacity = capacity > b->ceiling / 2 ? b->ceiling : 2 * capacity;
    char *data = rill__realloc(b->data, capacity + 1);
    if (!data) return rill__fail_memory(err, "a text", capacity + 1);
    data[b->length] = '\0';
    b->data = data;
    b->capacity = capacity;
    return RILL_OK;
}

rill_status rill__bytes_append(rill__bytes *b, const void *data, size_t length, rill_error *err) {
    rill_status status = rill__bytes_reserve(b, length, err);
    if (status != RILL_OK) return status;
    if (length) memcpy(b->data + b->length, data, length);
    b->length += length;
    b->data[b->length] = '\0';
    return RILL_OK;
}

char *rill__bytes_take(rill__bytes *b, size_t *length) {
    char *data = b->data;
    if (length) *length = b->length;
    rill__bytes_init(b, b->ceiling);
    return data;
}
