// SPDX-License-Identifier: MIT
// Configurations of an evaluation: one for each combination of the lists on the command line.
#ifndef RILL_CLI_EVAL_CASES_H
#define RILL_CLI_EVAL_CASES_H

#include "cli/settings.h"

#include "base/base.h"

#include "eval/names.h"

typedef struct rill__eval_case {
    rill_stream_options stream;   // resolved
    char label[64];               // for people: "streaming 4+508", "dense", "window 0+512 q8_0"
    char counts[24];              // "4+508"; "" for dense
    char types[RILL_TYPES_NAME];  // "f16", "f16/q8_0"
    char name[112];               // for the journal: all of these
} rill__eval_case;

// Makes the configurations that s asks for. Window and dense have no sinks, recompute those that
// are given, streaming 4 if none are. Dense keeps dense_tokens (what it will read), unless it is
// alone and --window says otherwise. With --official m is one more. Combinations that come out
// alike are one. *cases is the caller's (rill__free). RILL_EINVAL names the option at fault.
RILL_NODISCARD rill_status rill__eval_cases(const rill__settings *s, const rill_model *model,
                                            uint64_t dense_tokens, rill__eval_case **cases,
                                            size_t *n_cases, rill_error *err);

#endif
