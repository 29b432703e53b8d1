// SPDX-License-Identifier: MIT
// What the parts of rill eval sinks share.
#ifndef RILL_CLI_EVAL_SINKS_H
#define RILL_CLI_EVAL_SINKS_H

#include "cli/evaluation.h"

#include "eval/attention.h"
#include "eval/names.h"
#include "eval/sinks.h"

enum {
    RILL_SIZES_TRIED = 3,  // of each type that fits into --memory
    // By number of sinks, by choice, by type and size within --memory, and there by number again.
    RILL_MAX_TRIALS = (2 + RILL_SIZES_TRIED) * RILL_MAX_LIST + RILL_SINKS_MOST_CHOICES,
};

// A configuration that was tried, under its name; equal names, equal configurations.
typedef struct rill__named_trial {
    char name[80];
    rill__sinks_trial result;
    rill_error failed;  // why it has no perplexity: result.error is its message
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

// The smallest number of sinks that is tried.
uint32_t rill__sinks_least_count(const rill__sinks_eval *e);

// The stream of a trial.
rill_stream_options rill__sinks_stream(const rill__sinks_eval *e, const rill__sinks_trial *trial);

// Whether the smallest cache with a trial's sinks and types fits into --memory; *least is its
// bytes.
RILL_NODISCARD rill_status rill__sinks_fits(const rill__sinks_eval *e,
                                            const rill__sinks_trial *trial, uint64_t *least,
                                            bool *fits, rill_error *err);

// The text of a token on one line, quoted, for people.
void rill__sinks_show_token(const rill__sinks_eval *e, rill_token token, char *out,
                            size_t capacity);

// The first of two failures, or success: its status, and its message in *err. What is finished is
// shown whatever ended the rest, and showing it may fail too: a warning then.
rill_status rill__sinks_first_failure(rill_status status, rill_error *err, rill_status later,
                                      const rill_error *failed);

// ---- Trials ---------------------------------------------------------------------------------

// What is fed before the text, under a name that says what it is.
typedef struct rill__sinks_fed {
    const char *name;
    const rill_token *tokens;
    size_t n;
} rill__sinks_fed;

// So many sinks at the plan's capacity and types; `sinks` is below the capacity.
rill__sinks_trial rill__sinks_at_capacity(const rill__sinks_eval *e, uint32_t sinks);

// Measures a trial, or takes what was measured under its name before; `number` of `count` is shown
// beside the bar. Memory or context that ran out is a result: the trial has an error. Other
// failures are the evaluation's.
RILL_NODISCARD rill_status rill__sinks_try(rill__sinks_eval *e, const rill__sinks_fed *fed,
                                           size_t number, size_t count, rill__sinks_trial *trial,
                                           rill_error *err);
// The same for trials[*done ... n), with what the tokenizer puts in front of the text. *done are
// then those that have a result, whatever ended it.
RILL_NODISCARD rill_status rill__sinks_try_first(rill__sinks_eval *e, rill__sinks_trial *trials,
                                                 size_t n, size_t *done, rill_error *err);

// Makes a table of trials; NULL is the main one.
RILL_NODISCARD rill_status rill__sinks_table(rill__sinks_eval *e, const char *part,
                                             rill__table **out, rill_error *err);
// Adds the first n of `planned` trials, and a note if that is not all of them. `choices` say what
// is kept, NULL: nothing does. *recommended (NULL: none is) is marked.
void rill__sinks_rows(const rill__sinks_eval *e, rill__table *table,
                      const rill__sinks_trial *trials, size_t n, size_t planned,
                      const char *const *choices, const size_t *recommended);

// ---- Parts, each a table or more ------------------------------------------------------------

// What is finished of a part is in its table when the part fails, too.

// Where attention goes: tables, the figure of heads, and that of positions. Memory that does not do
// for it is told and no failure.
RILL_NODISCARD rill_status rill__sinks_observe(rill__sinks_eval *e, rill_error *err);
// Perplexity by number of sinks, what is recommended, and its figure. *recommended is then how many
// sinks to search with: if nothing was recommended the fewest.
RILL_NODISCARD rill_status rill__sinks_by_count(rill__sinks_eval *e, uint32_t *recommended,
                                                rill_error *err);
// Perplexity by what is kept.
RILL_NODISCARD rill_status rill__sinks_by_choice(rill__sinks_eval *e, rill_error *err);
// What predicts best within --memory.
RILL_NODISCARD rill_status rill__sinks_by_memory(rill__sinks_eval *e, uint32_t sinks,
                                                 rill_error *err);

#endif
