// SPDX-License-Identifier: MIT
// What methods, ways to evict and types of a cache are called: on the command line, in tables and
// in journals.
#ifndef RILL_EVAL_NAMES_H
#define RILL_EVAL_NAMES_H

#include "rill/rill.h"

enum {
    RILL_METHODS = RILL_METHOD_RECOMPUTE + 1,
    RILL_EVICTIONS = RILL_EVICT_MESSAGE + 1,
    RILL_TYPES_NAME = 24,
};

// "streaming", "window", "dense", "recompute".
const char *rill__method_name(rill_method method);
// The method of that name; false, *out untouched, if there is none.
bool rill__method_parse(const char *name, rill_method *out);

// "token", "message".
const char *rill__evict_name(rill_evict evict);
// The way of that name; false, *out untouched, if there is none.
bool rill__evict_parse(const char *name, rill_evict *out);

// "f16", or "f16/q8_0" where the types of keys and of values differ.
void rill__types_name(char out[RILL_TYPES_NAME], rill_type key, rill_type value);

#endif
