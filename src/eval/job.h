// SPDX-License-Identifier: MIT
// What goes along with every measurement: the journal that keeps it, whoever is told how far it is,
// and the time that it takes.
#ifndef RILL_EVAL_JOB_H
#define RILL_EVAL_JOB_H

#include "eval/journal.h"

// Zeroed: nothing is kept, and nobody is told. Good for one measurement.
typedef struct rill__job {
    rill__case *journal;  // NULL: no journal is kept
    // NULL, or called now and then with what is done and all that there is to do; false ends the
    // measurement with RILL_EINTERRUPTED, and what is done is in the journal then.
    rill_progress_fn progress;
    void *user;

    // The job's own.
    double began, before;  // the clock; seconds of the processes that it goes on from
    uint64_t done, total;  // as last told
    bool stopped;
} rill__job;

// Starts the clock, and takes up what the journal has: *stream is the one that it kept, or NULL.
// A measurement without a stream passes NULL for model and stream, and goes on after all records.
// Nothing is loaded of a finished case. Failures as rill__case_load.
RILL_NODISCARD rill_status rill__job_begin(rill__job *job, rill_model *model, rill_stream **stream,
                                           rill_error *err);
// Starts the clock again: what it took to come back to where the journal was is no work.
void rill__job_restart_clock(rill__job *job);
// Seconds so far, in all processes; 0 before it began. Of a finished case, what it took.
double rill__job_seconds(const rill__job *job);

// Tells how far it is. True if rill__job_save must be called before it goes on: it is time for
// that, or it was told to stop. Never at the end, which is saved by finishing.
bool rill__job_tell(rill__job *job, uint64_t done, uint64_t total);
// Makes safe what was done, with the stream that did it (NULL: none). RILL_EINTERRUPTED, and a
// message with how much of `what` ("tokens") is done, if it was told to stop. RILL_EIO.
RILL_NODISCARD rill_status rill__job_save(const rill__job *job, const rill_stream *stream,
                                          const char *what, rill_error *err);
// Finishes the journal's case. RILL_EIO.
RILL_NODISCARD rill_status rill__job_finish(const rill__job *job, rill_error *err);

#endif
