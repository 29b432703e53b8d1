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
    char input[96];  // what the text is, for the journal
    // The plan: what is tried.
    uint32_t capacity;               // n + m where nothing else is said
    rill_type key_type, value_type;  // likewise
    uint32_t counts[RILL_MAX_LIST];  // of sinks, each below the capacity
    size_t n_counts;
    rill_type key_types[RILL_MAX_LIST], value_types[RILL_MAX_LIST];  // of --memory
    size_t n_types;
    // What came of it.
    rill__attention *attention;  // NULL: not looked at
    rill__named_trial trials[RILL_MAX_TRIALS];
    size_t n_trials;
} rill__sinks_eval;

// Fills in what will be tried, from the command line and the open model. RILL_EINVAL: options that
// cannot be: sinks without room, memory that is too small for every type.
RILL_NODISCARD rill_status rill__sinks_plan(rill__sinks_eval *e, rill_error *err);

// The stream of a trial.
rill_stream_options rill__sinks_stream(const rill__sinks_eval *e, const rill__sinks_trial *trial);

// The smallest number of sinks that is tried.
uint32_t rill__sinks_least_count(const rill__sinks_eval *e);

// Whether the smallest cache with a trial's sinks and types fits into --memory; *least is its
// bytes.
RILL_NODISCARD rill_status rill__sinks_fits(const rill__sinks_eval *e,
                                            const rill__sinks_trial *trial, uint64_t *least,
                                            bool *fits, rill_error *err);

// Where attention goes: tables, the figure of heads, and that of positions.
RILL_NODISCARD rill_status rill__sinks_observe(rill__sinks_eval *e, rill_error *err);

// Perplexity by number of sinks and by choice of them, what is recommended, and with --memory the
// best within it: tables and a figure.
RILL_NODISCARD rill_status rill__sinks_try(rill__sinks_eval *e, rill_error *err);

// The text of a token on one line, quoted, for people.
void rill__sinks_show_token(const rill__sinks_eval *e, rill_token token, char *out,
                            size_t capacity);

#endif
