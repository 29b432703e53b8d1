// SPDX-License-Identifier: MIT
// Lists of values: cut at commas, each item read as the option's single value would be.
#include "cli/lists.h"

#include "base/number.h"

#include "eval/names.h"

#include <string.h>

enum { MAX_ITEM = 32 };

// Copies the item at *rest and moves on; false at the end. One that is too long to be any is given
// as an empty one, which nobody takes: its beginning might be another.
static bool next_item(const char **rest, char item[MAX_ITEM]) {
    if (!*rest) return false;
    size_t length = strcspn(*rest, ",");
    size_t kept = length < MAX_ITEM ? length : 0;
    memcpy(item, *rest, kept);
    item[kept] = 0;
    *rest = (*rest)[length] ? *rest + length + 1 : NULL;
    return true;
}

static rill_status too_many(rill_error *err) {
    return rill__fail(err, RILL_EINVAL, "more than %d values", RILL_MAX_LIST);
}

rill_status rill__lists_numbers(const char *text, uint32_t low, uint32_t high, uint32_t *out,
                                size_t *n, rill_error *err) {
    char item[MAX_ITEM];
    const char *rest = text;
    *n = 0;
    while (next_item(&rest, item)) {
        uint64_t number;
        if (!rill__number_whole(item, &number) || number < low || number > high)
            return rill__fail(err, RILL_EINVAL,
                              "'%.80s': wants whole numbers from %u to %u with commas between",
                              text, low, high);
        if (*n == RILL_MAX_LIST) return too_many(err);
        out[(*n)++] = (uint32_t)number;
    }
    return RILL_OK;
}

rill_status rill__lists_sinks(rill__settings *s, const char *text, rill_error *err) {
    return rill__lists_numbers(text, 0, UINT32_MAX - 1, s->lists.sinks, &s->lists.n_sinks, err);
}

rill_status rill__lists_window(rill__settings *s, const char *text, rill_error *err) {
    return rill__lists_numbers(text, 1, UINT32_MAX - 1, s->lists.windows, &s->lists.n_windows, err);
}

rill_status rill__lists_capacity(rill__settings *s, const char *text, rill_error *err) {
    return rill__lists_numbers(text, 1, UINT32_MAX - 1, s->lists.capacities, &s->lists.n_capacities,
                               err);
}

rill_status rill__lists_distance(rill__settings *s, const char *text, rill_error *err) {
    return rill__lists_numbers(text, 0, 1000000, s->lists.distances, &s->lists.n_distances, err);
}

rill_status rill__lists_threads(rill__settings *s, const char *text, rill_error *err) {
    return rill__lists_numbers(text, 1, UINT32_MAX - 1, s->lists.threads, &s->lists.n_threads, err);
}

rill_status rill__lists_streams(rill__settings *s, const char *text, rill_error *err) {
    return rill__lists_numbers(text, 1, 1024, s->lists.streams, &s->lists.n_streams, err);
}

rill_status rill__lists_weight_types(rill__settings *s, const char *text, rill_error *err) {
    rill__lists *l = &s->lists;
    char item[MAX_ITEM];
    const char *rest = text;
    l->n_weight_types = 0;
    while (next_item(&rest, item)) {
        if (l->n_weight_types == RILL_MAX_LIST) return too_many(err);
        if (!rill_type_parse(item, &l->weight_types[l->n_weight_types]))
            return rill__fail(err, RILL_EINVAL,
                              "'%.80s': wants types of weights, as f16, q8_0 or q4_K, with commas "
                              "between",
                              text);
        l->n_weight_types++;
    }
    return RILL_OK;
}

rill_status rill__lists_lengths(rill__settings *s, const char *text, rill_error *err) {
    char item[MAX_ITEM];
    const char *rest = text;
    s->lists.n_lengths = 0;
    while (next_item(&rest, item)) {
        uint64_t number;
        if (!rill__number_whole(item, &number) || number == 0)
            return rill__fail(err, RILL_EINVAL,
                              "'%.80s': wants whole numbers, 1 or more, with commas between, as "
                              "1k,10k,1M",
                              text);
        if (s->lists.n_lengths == RILL_MAX_LIST) return too_many(err);
        s->lists.lengths[s->lists.n_lengths++] = number;
    }
    return RILL_OK;
}

rill_status rill__lists_attention(rill__settings *s, const char *text, rill_error *err) {
    rill__lists *l = &s->lists;
    char item[MAX_ITEM];
    const char *rest = text;
    l->n_methods = 0;
    while (next_item(&rest, item)) {
        rill_method method;
        bool good = rill__method_parse(item, &method);
        for (size_t i = 0; i < l->n_methods && good; i++) good = l->methods[i] != method;
        if (!good)
            return rill__fail(err, RILL_EINVAL,
                              "'%.80s': wants streaming|window|dense|recompute, or several of them "
                              "with commas between",
                              text);
        l->methods[l->n_methods++] = method;
    }
    return RILL_OK;
}

rill_status rill__lists_evict(rill__settings *s, const char *text, rill_error *err) {
    rill__lists *l = &s->lists;
    char item[MAX_ITEM];
    const char *rest = text;
    l->n_evictions = 0;
    while (next_item(&rest, item)) {
        rill_evict evict;
        bool good = rill__evict_parse(item, &evict);
        for (size_t i = 0; i < l->n_evictions && good; i++) good = l->evictions[i] != evict;
        if (!good)
            return rill__fail(err, RILL_EINVAL,
                              "'%.80s': wants token, message, or both with a comma between", text);
        l->evictions[l->n_evictions++] = evict;
    }
    return RILL_OK;
}

bool rill__lists_type_pair(const char *text, size_t split, rill_type *key, rill_type *value) {
    char first[MAX_ITEM];
    if (split >= sizeof first) return false;
    memcpy(first, text, split);
    first[split] = 0;
    return rill_type_parse(first, key) &&
           rill_type_parse(text[split] ? text + split + 1 : text, value);
}

rill_status rill__lists_cache_type(rill__settings *s, const char *text, rill_error *err) {
    rill__lists *l = &s->lists;
    char item[MAX_ITEM];
    const char *rest = text;
    l->n_types = 0;
    while (next_item(&rest, item)) {
        if (l->n_types == RILL_MAX_LIST) return too_many(err);
        if (!rill__lists_type_pair(item, strcspn(item, "/"), &l->key_types[l->n_types],
                                   &l->value_types[l->n_types]))
            return rill__fail(
                err, RILL_EINVAL,
                "'%.80s': wants f32, f16, bf16, q8_0 or q4_0, K/V where keys and values differ, "
                "or several of these with commas between",
                text);
        l->n_types++;
    }
    return RILL_OK;
}
