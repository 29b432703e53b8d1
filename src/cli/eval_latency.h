// SPDX-License-Identifier: MIT
// rill eval latency in two files: eval_latency.c measures, eval_latency_results.c shows.
#ifndef RILL_CLI_EVAL_LATENCY_H
#define RILL_CLI_EVAL_LATENCY_H

#include "cli/evaluation.h"
#include "cli/terminal.h"

#include "eval/latency.h"

enum { RILL_LATENCY_KINDS = RILL_LATENCY_PREFILL + 1 };

// One kind at one capacity, all runs.
typedef struct rill__latency_series {
    rill__latency_case plan;        // resolved; of each run but for seed and roof
    double *seconds;                // [runs, plan.n]; NULL before the first run
    uint32_t n_runs;                // that were finished
    rill__latency_run run;          // what the latest of them saw
    uint64_t evicted;               // in all of them
    uint64_t resident;              // most of them
    rill__latency_summary summary;  // of them, if there are any
    rill_status status;             // why there are not all of them
    char message[504];              // as rill_error has it
} rill__latency_series;

// What takes turns: all kinds at one capacity, with one type of cache.
typedef struct rill__latency_group {
    uint32_t capacity;
    rill__latency_series series[RILL_LATENCY_KINDS];
} rill__latency_group;

typedef struct rill__latency_evaluation {
    rill__evaluation all;
    rill_roof roof;
    uint32_t n_runs;        // of each series
    uint64_t n_tokens;      // to time in each row, all runs together
    rill__lists groups_of;  // capacities and types: a group for each combination
    rill__latency_group *groups;
    size_t n_groups, n_done;                       // n_done: to be shown
    rill__latency_kind kinds[RILL_LATENCY_KINDS];  // of each group's series
    size_t n_kinds;
    rill__table *table;
    // One bar for all runs: tokens computed, and to be computed.
    rill__bar bar;
    char title[112];
    uint64_t done, total;
} rill__latency_evaluation;

// "streaming 512", or "streaming 512 q8_0" where there are several types, into `out`.
void rill__latency_label(const rill__latency_evaluation *e, const rill__latency_group *group,
                         size_t kind, char *out, size_t capacity);

// Makes the table. `user` of the others is the evaluation, as rill__evaluation_steps has it.
RILL_NODISCARD rill_status rill__latency_begin(rill__latency_evaluation *e, rill_error *err);
// Adds the rows of group i.
void rill__latency_show(void *user, size_t i, rill_status status, const rill_error *err);
// Adds title, notes and figures.
RILL_NODISCARD rill_status rill__latency_finish(void *user, rill_error *err);

#endif
