// SPDX-License-Identifier: MIT
// What the parts of rill eval sinks share.
#ifndef RILL_CLI_EVAL_SINKS_H
#define RILL_CLI_EVAL_SINKS_H

#include "cli/evaluation.h"

#include "eval/attention.h"
#include "eval/sinks.h"

enum { RILL_MAX_TRIALS = 128 };

// A trial under its name; equal names, equal trials.
typedef struct rill__named_trial {
    char name[80];
    rill__sinks_trial result;
} rill__named_trial;

typedef struct rill__sinks_eval {
    rill__evaluation all;
    rill_token *tokens;  // the text: head and body
    rill__sinks_text text;
    char input[96];     // what the text is, for the journal
    uint32_t capacity;  // n + m where nothing else is said
    rill_type key_type, value_type;
    rill__attention *attention;  // NULL: not looked at
    rill__named_trial trials[RILL_MAX_TRIALS];
    size_t n_trials;
} rill__sinks_eval;

// Where attention goes: tables, the figure of heads, and that of positions.
RILL_NODISCARD rill_status rill__sinks_observe(rill__sinks_eval *e, rill_error *err);

// Perplexity by number of sinks and by choice of them, what is recommended, and with --memory the
// best within it: tables and a figure.
RILL_NODISCARD rill_status rill__sinks_try(rill__sinks_eval *e, rill_error *err);

// The text of a token on one line, quoted, for people.
void rill__sinks_show_token(const rill__sinks_eval *e, rill_token token, char *out,
                            size_t capacity);

#endif
