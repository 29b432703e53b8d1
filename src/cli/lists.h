// SPDX-License-Identifier: MIT
// Options that take several values, with commas between: what `rill eval` and
// `rill bench` make their configurations of. Keys and values of a cache may have types of their
// own, K/V.
#ifndef RILL_CLI_LISTS_H
#define RILL_CLI_LISTS_H

#include "cli/settings.h"

#include "base/base.h"

// Each fills its list in s->lists in the place of what was there; RILL_EINVAL says what is right.
RILL_NODISCARD rill_status rill__lists_attention(rill__settings *s, const char *text,
                                                 rill_error *err);
RILL_NODISCARD rill_status rill__lists_sinks(rill__settings *s, const char *text, rill_error *err);
RILL_NODISCARD rill_status rill__lists_window(rill__settings *s, const char *text, rill_error *err);
RILL_NODISCARD rill_status rill__lists_distance(rill__settings *s, const char *text,
                                                rill_error *err);
RILL_NODISCARD rill_status rill__lists_capacity(rill__settings *s, const char *text,
                                                rill_error *err);
RILL_NODISCARD rill_status rill__lists_lengths(rill__settings *s, const char *text,
                                               rill_error *err);
RILL_NODISCARD rill_status rill__lists_evict(rill__settings *s, const char *text, rill_error *err);
RILL_NODISCARD rill_status rill__lists_cache_type(rill__settings *s, const char *text,
                                                  rill_error *err);
RILL_NODISCARD rill_status rill__lists_threads(rill__settings *s, const char *text,
                                               rill_error *err);
RILL_NODISCARD rill_status rill__lists_streams(rill__settings *s, const char *text,
                                               rill_error *err);
RILL_NODISCARD rill_status rill__lists_weight_types(rill__settings *s, const char *text,
                                                    rill_error *err);

// Reads whole numbers in [low, high] with commas between, at most RILL_MAX_LIST of them.
RILL_NODISCARD rill_status rill__lists_numbers(const char *text, uint32_t low, uint32_t high,
                                               uint32_t *out, size_t *n, rill_error *err);
// Reads a type, or two of them with one character between at `split` (the length of the first, or
// of the whole if there is one only). False if it is no such thing.
bool rill__lists_type_pair(const char *text, size_t split, rill_type *key, rill_type *value);

#endif
