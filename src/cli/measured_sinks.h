// SPDX-License-Identifier: MIT
// What rill eval sinks found for a model, kept where rill run and rill chat find it: --sinks auto.
#ifndef RILL_CLI_MEASURED_SINKS_H
#define RILL_CLI_MEASURED_SINKS_H

#include "base/base.h"

#include "rill/rill.h"

typedef struct rill__measured_sinks {
    uint32_t sinks;     // fewest that are as good as any
    uint32_t capacity;  // sinks and window together, when it was measured
    double perplexity;
    uint64_t tokens;  // that were predicted
} rill__measured_sinks;

// Writes it to $XDG_CACHE_HOME/rill/sinks (~/.cache/rill/sinks), to a file named after the model,
// and the file's path to *path, the caller's (rill__free). RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__measured_sinks_save(const rill_model_info *model,
                                                     const rill__measured_sinks *found, char **path,
                                                     rill_error *err);
// Reads what was found for this very model: same name, parameters, bytes and type of weights.
// Returns false if there is none, or it cannot be read.
bool rill__measured_sinks_load(const rill_model_info *model, rill__measured_sinks *out);

// Sets options->sinks to what was found, or leaves the default, and says which on stderr unless
// `silent`.
void rill__measured_sinks_apply(const rill_model_info *model, rill_stream_options *options,
                                bool silent);

#endif
