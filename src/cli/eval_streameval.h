// SPDX-License-Identifier: MIT
// rill eval streameval in two files: eval_streameval.c measures, eval_streameval_results.c shows.
#ifndef RILL_CLI_EVAL_STREAMEVAL_H
#define RILL_CLI_EVAL_STREAMEVAL_H

#include "cli/evaluation.h"

#include "eval/streameval.h"

typedef struct rill__streameval_result {
    rill__eval_case *configuration;  // NULL: a server
    rill__streameval measured;
    rill_status status;
    char message[504];  // what went wrong, as rill_error has it
} rill__streameval_result;

typedef struct rill__streameval_evaluation {
    rill__evaluation shared;
    rill__records *records;
    rill__records_facts facts;
    uint64_t n_tokens;  // of the text; 0 for a server
    rill__eval_case *cases;
    size_t n_cases;
    rill__streameval_result *results;  // [n_cases]
    size_t n_done;
} rill__streameval_evaluation;

// Makes tables and figures of the n_done results. `user` is the evaluation.
RILL_NODISCARD rill_status rill__streameval_show(void *user, rill_error *err);

#endif
