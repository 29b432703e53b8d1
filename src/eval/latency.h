// SPDX-License-Identifier: MIT
// How long a token takes with a full cache: each one timed by itself, none left out.
#ifndef RILL_EVAL_LATENCY_H
#define RILL_EVAL_LATENCY_H

#include "eval/job.h"

// What is timed: a method, or a reading.
typedef enum rill__latency_kind {
    // One token with a full cache, which evicts another. Filled with n + m tokens before.
    RILL_LATENCY_STREAMING = RILL_METHOD_STREAMING,
    RILL_LATENCY_WINDOW = RILL_METHOD_WINDOW,
    // One token, the last of them filling the cache: dense attention evicts nothing and ends there.
    RILL_LATENCY_DENSE = RILL_METHOD_DENSE,
    // One token of a full window: a pass over all that is visible.
    RILL_LATENCY_RECOMPUTE = RILL_METHOD_RECOMPUTE,
    // No token but a plain reading of n + m tokens by a fresh stream: what recompute is
    // measured against, done once before so that neither pays for first touching its memory.
    RILL_LATENCY_PREFILL,
} rill__latency_kind;

// "streaming", "window", "dense", "recompute", "prefill".
const char *rill__latency_kind_name(rill__latency_kind kind);

typedef struct rill__latency_case {
    rill__latency_kind kind;
    // Sinks (of streaming; others have none), window, types, chunk. The method is the kind's.
    rill_stream_options stream;
    size_t n;        // tokens, or readings, to time; dense: at most n + m
    uint64_t seed;   // of the tokens
    rill_roof roof;  // the machine's limits, as measured by this process
    // Seconds, for tests; NULL: the clock of the machine.
    double (*clock)(void *user);
    void *clock_user;
} rill__latency_case;

// Resolves c->stream, the method and what follows from it included. RILL_EINVAL names what is out
// of range: a cache of fewer than 2 tokens, none or too many to time. Others as
// rill_stream_estimate.
RILL_NODISCARD rill_status rill__latency_resolve(const rill_model *model, rill__latency_case *c,
                                                 rill_error *err);
// Tokens that a run of a resolved case computes, filling included: how long it will take, roughly.
uint64_t rill__latency_work(const rill__latency_case *c);

// What one run saw beside the times.
typedef struct rill__latency_run {
    uint64_t evictions;       // while timing: filling makes none
    uint64_t held_first;      // tokens that the first one timed saw, itself among them
    uint64_t held_last;       // and the last one
    uint64_t cache_bytes;     // keys and values, as taken
    uint64_t stream_bytes;    // all that the stream took
    uint64_t resident_bytes;  // of the process, at the end: weights, stream, everything
    uint32_t chunk;           // tokens read together
    rill_type key_type, value_type;
    rill_roof roof;  // as the case had it
} rill__latency_run;

// Opens a stream, fills it, and writes the seconds of each of the n tokens (from the token's
// arrival to the logits after it) to seconds[n]. The case is a resolved one. `progress` (NULL
// allowed) is called between tokens, off the clock, with tokens computed and to be computed, as
// rill__latency_work counts them; false ends it with RILL_EINTERRUPTED. Other failures as
// rill_stream_open and rill_stream_feed.
RILL_NODISCARD rill_status rill__latency_measure(rill_model *model, const rill__latency_case *c,
                                                 double *seconds, rill__latency_run *out,
                                                 rill_progress_fn progress, void *user,
                                                 rill_error *err);

// The size of the journal's one record of a run: what it saw, and the times.
size_t rill__latency_record(const rill__latency_case *c);

// The same with the job's case: what was finished there is read, not measured again; what was not
// is measured from its beginning. Failures of the journal as well.
RILL_NODISCARD rill_status rill__latency_resume(rill_model *model, const rill__latency_case *c,
                                                const rill__job *job, double *seconds,
                                                rill__latency_run *out, rill_error *err);

// The value at a rank, in thousandths, of n (1 or more) sorted values: the least that at least so
// many of them do not exceed. 500 is the median, 990 the 99th percentile, 1000 the worst.
double rill__percentile(const double *sorted, size_t n, unsigned thousandths);

typedef struct rill__latency_summary {
    size_t n;  // all runs' tokens
    double p50, p99, worst, mean;
    double low, high;    // lowest and highest median of a run
    double first, last;  // median of the first and of the last tenth of each run's tokens
} rill__latency_summary;

// Fills *out from seconds[n_runs][n]. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__latency_summarize(const double *seconds, size_t n_runs, size_t n,
                                                   rill__latency_summary *out, rill_error *err);

#endif
