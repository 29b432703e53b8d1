// SPDX-License-Identifier: MIT
// What measures on a text share: opening it, measuring one configuration, its curve in a figure.
#ifndef RILL_CLI_EVAL_TEXT_H
#define RILL_CLI_EVAL_TEXT_H

#include "cli/evaluation.h"

#include "eval/perplexity.h"

// A text under several configurations.
typedef struct rill__text_eval {
    rill__evaluation shared;
    rill__text *text;
    const rill__text_facts *facts;
    uint64_t total;    // tokens to predict: all but the first
    const char *name;  // of the text, for people: the file's without its folder
    rill__perplexity_options options;
    rill__eval_case *cases;
    size_t n_cases;
    rill__perplexity *results;  // [n_cases]
    size_t n_done;              // of them, to be shown
    rill__table *curve;
    size_t first_column;  // of the curve
} rill__text_eval;

// Opens the model and the journal.
RILL_NODISCARD rill_status rill__text_eval_open(rill__text_eval *p, const char *measure,
                                                const rill__settings *s, rill_error *err);
// Opens the text, of which at most n_tokens tokens are predicted (0: all). RILL_EINVAL if there is
// nothing to predict.
RILL_NODISCARD rill_status rill__text_eval_read(rill__text_eval *p, uint64_t n_tokens,
                                                rill_error *err);
// Makes room for the results of p->cases.
RILL_NODISCARD rill_status rill__text_eval_begin(rill__text_eval *p, rill_error *err);
// Measures case i into p->results[i], with the journal if there is one and a bar. *any becomes true
// if a token was predicted.
RILL_NODISCARD rill_status rill__text_eval_measure(rill__text_eval *p, size_t i, bool *any,
                                                   rill_error *err);

// Makes the table of curves, or of buckets with --bucket, and an empty figure on tokens and
// perplexity for --figure, with the trained context marked. `ways`: in the table configurations
// have a name of their own, their label.
RILL_NODISCARD rill_status rill__text_eval_curves(rill__text_eval *p, bool ways, rill_error *err);
// Adds the curve of case i to both, under that name in the figure.
void rill__text_eval_curve(rill__text_eval *p, size_t i, const char *name);
// A bucket's mean loss where configurations stand side by side: over what all of them predicted.
double rill__text_eval_bucket_mean(const rill__text_eval *p, const rill__bucket *b);
// "1,500 tokens, 5,704 bytes, 1,054 words" into `out`.
void rill__text_eval_size(const rill__text_eval *p, char *out, size_t capacity);

// Closes everything, reports `status` and returns the command's exit status.
int rill__text_eval_close(rill__text_eval *p, rill_status status, const rill_error *err);

#endif
