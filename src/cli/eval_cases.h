// SPDX-License-Identifier: MIT
// Configurations of an evaluation: one for each combination of the lists on the command line.
#ifndef RILL_CLI_EVAL_CASES_H
#define RILL_CLI_EVAL_CASES_H

#include "cli/settings.h"

#include "base/base.h"

#include "eval/names.h"

// Of streaming, where nothing else is said: as the library has it.
enum { RILL_DEFAULT_SINKS = 4 };

typedef struct rill__eval_case {
    rill_stream_options stream;   // resolved
    bool official;                // the window is one more than was asked for: --official
    char label[64];               // for people: "streaming 4+508", "dense", "window 0+512 q8_0"
    char counts[24];              // "4+508"; "" for dense that keeps all
    char types[RILL_TYPES_NAME];  // "f16", "f16/q8_0"
    char name[112];               // for the journal: all of these
} rill__eval_case;

// One choice of each list; NULL where an option was not given.
typedef struct rill__combination {
    const rill_method *method;
    const uint32_t *sinks;
    const uint32_t *window, *capacity;  // one of them, or neither
    const rill_type *key_type, *value_type;
    const rill_evict *evict;
} rill__combination;

// How many combinations of the lists there are, 1 or more, and number i of them. Methods change
// slowest, then sinks, sizes, types, and evictions.
size_t rill__combinations(const rill__lists *l);
rill__combination rill__combination_at(const rill__lists *l, size_t i);
// Puts what was given into *o. RILL_EINVAL as rill__capacity_fill.
RILL_NODISCARD rill_status rill__combination_fill(const rill__combination *c,
                                                  rill_stream_options *o, rill_error *err);

// Chooses o->window so that it and o's sinks, or those that o's method has by default, are
// `capacity` tokens. RILL_EINVAL if no room is left for a window.
RILL_NODISCARD rill_status rill__capacity_fill(uint32_t capacity, rill_stream_options *o,
                                               rill_error *err);

// Makes the configurations that s asks for. Window and dense have no sinks, recompute those that
// are given, streaming 4 if none are. Dense keeps dense_tokens (what it will read), unless it is
// alone and --window or --capacity says otherwise. With --official m is one more. Combinations that
// come out alike are one. *cases is the caller's (rill__free). RILL_EINVAL names the option at
// fault.
RILL_NODISCARD rill_status rill__eval_cases(const rill__settings *s, const rill_model *model,
                                            uint64_t dense_tokens, rill__eval_case **cases,
                                            size_t *n_cases, rill_error *err);

#endif
