// SPDX-License-Identifier: MIT
// Names of methods, of what goes at once, and of types of a cache, once for all who print or read
// them.
#include "eval/names.h"

#include <stdio.h>
#include <string.h>

static const char *const methods[RILL_METHODS] = {
    [RILL_METHOD_STREAMING] = "streaming",
    [RILL_METHOD_WINDOW] = "window",
    [RILL_METHOD_DENSE] = "dense",
    [RILL_METHOD_RECOMPUTE] = "recompute",
};

static const char *const evictions[RILL_EVICTIONS] = {
    [RILL_EVICT_TOKEN] = "token",
    [RILL_EVICT_MESSAGE] = "message",
};

// The index of a name; n if it is not there.
static int find(const char *name, const char *const *names, int n) {
    int i = 0;
    while (i < n && strcmp(name, names[i]) != 0) i++;
    return i;
}

const char *rill__method_name(rill_method method) {
    return methods[method];
}

bool rill__method_parse(const char *name, rill_method *out) {
    int i = find(name, methods, RILL_METHODS);
    if (i < RILL_METHODS) *out = (rill_method)i;
    return i < RILL_METHODS;
}

const char *rill__evict_name(rill_evict evict) {
    return evictions[evict];
}

bool rill__evict_parse(const char *name, rill_evict *out) {
    int i = find(name, evictions, RILL_EVICTIONS);
    if (i < RILL_EVICTIONS) *out = (rill_evict)i;
    return i < RILL_EVICTIONS;
}

void rill__types_name(char out[RILL_TYPES_NAME], rill_type key, rill_type value) {
    snprintf(out, RILL_TYPES_NAME, key == value ? "%s" : "%s/%s", rill_type_name(key),
             rill_type_name(value));
}
