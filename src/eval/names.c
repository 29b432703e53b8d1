// SPDX-License-Identifier: MIT
// Names of methods and of types of a cache, once for all who print or read them.
#include "eval/names.h"

#include <stdio.h>
#include <string.h>

static const char *const methods[RILL_METHODS] = {
    [RILL_METHOD_STREAMING] = "streaming",
    [RILL_METHOD_WINDOW] = "window",
    [RILL_METHOD_DENSE] = "dense",
    [RILL_METHOD_RECOMPUTE] = "recompute",
};

const char *rill__method_name(rill_method method) {
    return methods[method];
}

bool rill__method_parse(const char *name, rill_method *out) {
    for (int i = 0; i < RILL_METHODS; i++) {
        if (strcmp(name, methods[i]) != 0) continue;
        *out = (rill_method)i;
        return true;
    }
    return false;
}

void rill__types_name(char out[RILL_TYPES_NAME], rill_type key, rill_type value) {
    snprintf(out, RILL_TYPES_NAME, key == value ? "%s" : "%s/%s", rill_type_name(key),
             rill_type_name(value));
}
