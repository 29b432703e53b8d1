// SPDX-License-Identifier: MIT
// The perplexity of a text after other tokens were fed: what a choice of sinks is judged by.
#ifndef RILL_EVAL_TRIAL_H
#define RILL_EVAL_TRIAL_H

#include "eval/journal.h"

// The size of a journal's record of a trial: a loss, as a double.
enum { RILL_TRIAL_RECORD = sizeof(double) };

typedef struct rill__trial {
    rill_stream_options stream;
    const rill_token *fed;  // read first, not predicted
    size_t n_fed;
    const rill_token *tokens;  // read then; all but the first are predicted, so that every choice
    size_t n_tokens;           // of what is fed is judged by the same ones. 2 or more
} rill__trial;

// Reads both with a new stream, or goes on where the case (NULL: no journal) was, and computes
// exp of the mean loss, and the bytes of the stream's cache. `progress` (NULL allowed) is called
// now and then with tokens done; false ends it with RILL_EINTERRUPTED, what is done is in the
// journal then. Other failures as rill_stream_open, rill_stream_feed and the journal's.
RILL_NODISCARD rill_status rill__trial_measure(rill_model *model, const rill__trial *trial,
                                               rill__case *c, rill_progress_fn progress, void *user,
                                               double *perplexity, uint64_t *cache_bytes,
                                               rill_error *err);

#endif
