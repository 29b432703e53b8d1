// SPDX-License-Identifier: MIT
// Whether memory will do, before it is taken: a system that promises more than it has ends a
// process that believes it.
#ifndef RILL_EVAL_ROOM_H
#define RILL_EVAL_ROOM_H

#include "rill/rill.h"

#include "base/base.h"

// Bytes that this process can still take, by the system and by its control group; UINT64_MAX if
// nothing says.
uint64_t rill__room(void);
// RILL_ENOMEM with what is wanted and what there is if a stream of these options would not fit;
// other failures as rill_stream_estimate. `resolved` as there.
RILL_NODISCARD rill_status rill__room_check(const rill_model *model,
                                            const rill_stream_options *options,
                                            rill_stream_options *resolved, rill_error *err);

#endif
