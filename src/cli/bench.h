// SPDX-License-Identifier: MIT
// rill bench: cmd_bench.c says what each subcommand measures, bench_plan.c makes rows of that,
// bench_run.c measures them in turns, bench_results.c shows them.
#ifndef RILL_CLI_BENCH_H
#define RILL_CLI_BENCH_H

#include "cli/evaluation.h"
#include "cli/terminal.h"

#include <sys/types.h>

typedef enum rill__bench_kind {
    RILL_BENCH_COMMAND,  // somebody else's command line (--compare)
    RILL_BENCH_PREFILL,
    RILL_BENCH_DECODE,
    RILL_BENCH_RECOMPUTE,  // what --compare-recompute sets a row of decode in proportion to
} rill__bench_kind;

// What a row's speed is set in proportion to: the first row that is equal but for this.
typedef enum rill__bench_varied {
    RILL_BENCH_NOTHING,
    RILL_BENCH_CACHE,
    RILL_BENCH_THREADS,
    RILL_BENCH_STREAMS,
    RILL_BENCH_BUSY,
} rill__bench_varied;

// A model on a device of so many threads. Rows share them.
typedef struct rill__bench_machine {
    rill_type type;      // of synthetic weights
    uint32_t threads;    // 0: as many as pay
    size_t round;        // of the roof, from 1 on; 0: none yet
    uint64_t bytes;      // of the model and its rows' streams
    rill__session open;  // all NULL while it is closed; info stays
    rill_product product;
    const char *tier;
    char description[160];
    rill_roof roof;
} rill__bench_machine;

typedef struct rill__bench_row {
    rill__bench_kind kind;
    size_t machine;               // in bench.machines
    rill_stream_options options;  // resolved once its stream was opened
    uint32_t tokens;              // that a run reads or writes, in each of its streams
    uint32_t n_streams;           // that write together
    bool busy;                    // beside a busy process
    size_t base;                  // the row its ratio is to; its own where there is none
    rill_stream **streams;        // [n_streams]; NULL: to be opened, and filled
    double *rates;                // [runs] tokens a second
    rill_roof *roofs;             // [runs] of the same round
} rill__bench_row;

typedef struct rill__bench {
    rill__evaluation all;  // settings and tables; no session
    rill__settings *s;
    unsigned command;  // RILL_FOR_...
    rill__bench_varied varied;
    rill__bench_machine *machines;
    rill__bench_row *rows;
    size_t n_machines, n_rows;
    size_t n_done;     // rounds
    uint64_t random;   // state of the generator of tokens
    char folder[512];  // of snapshots of filled windows; empty: none yet
} rill__bench;

// What a subcommand measures.
typedef struct rill__bench_sweep {
    unsigned command;  // RILL_FOR_...
    bool prefill, decode;
    rill__bench_varied varied;
} rill__bench_sweep;

// Makes machines and rows of the lists in the settings.
RILL_NODISCARD rill_status rill__bench_plan(rill__bench *b, const rill__bench_sweep *sweep,
                                            rill_error *err);
// Measures all rows in turns, n_done rounds of them. What was done before a failure stays.
RILL_NODISCARD rill_status rill__bench_measure(rill__bench *b, rill_error *err);
// Prints what n_done rounds found.
RILL_NODISCARD rill_status rill__bench_show(rill__bench *b, rill_error *err);
// Closes all that is open.
void rill__bench_close(rill__bench *b);

// Runs a command line by /bin/sh and takes tokens a second from what it prints: the last number
// under "tokens_per_second" or "avg_ts", or the last line if that is a number. Ctrl-C ends it.
RILL_NODISCARD rill_status rill__bench_command(const char *line, double *rate, rill_error *err);
// The number in such an output; false if there is none.
bool rill__bench_rate(const char *output, double *rate);
// Starts a process that does nothing but compute; it ends with this one, however that ends.
RILL_NODISCARD rill_status rill__bench_busy_start(pid_t *out, rill_error *err);
void rill__bench_busy_stop(pid_t pid);

#endif
