// SPDX-License-Identifier: MIT
// The course that all measurements take.
#include "eval/job.h"

#include "base/clock.h"

rill_status rill__job_begin(rill__job *job, rill_model *model, rill_stream **stream,
                            rill_error *err) {
    rill_status status = RILL_OK;
    if (stream) *stream = NULL;
    if (stream && !rill__case_finished(job->journal))
        status = rill__case_load(job->journal, model, stream, err);
    // What is loaded says how long it took to come so far.
    job->before = rill__case_seconds(job->journal);
    job->began = rill__seconds();
    return status;
}

void rill__job_restart_clock(rill__job *job) {
    job->began = rill__seconds();
}

double rill__job_seconds(const rill__job *job) {
    if (rill__case_finished(job->journal)) return rill__case_seconds(job->journal);
    return job->began > 0 ? job->before + rill__seconds() - job->began : 0;
}

bool rill__job_tell(rill__job *job, uint64_t done, uint64_t total) {
    job->done = done;
    job->total = total;
    job->stopped = job->progress && !job->progress(job->user, done, total) && done < total;
    return job->stopped || (done < total && rill__case_due(job->journal));
}

rill_status rill__job_save(const rill__job *job, const rill_stream *stream, const char *what,
                           rill_error *err) {
    rill_status status = rill__case_save(job->journal, stream, rill__job_seconds(job), err);
    if (status != RILL_OK || !job->stopped) return status;
    return rill__fail(err, RILL_EINTERRUPTED, "interrupted after %llu of %llu %s",
                      (unsigned long long)job->done, (unsigned long long)job->total, what);
}

rill_status rill__job_finish(const rill__job *job, rill_error *err) {
    return rill__case_finish(job->journal, rill__job_seconds(job), err);
}
