// SPDX-License-Identifier: MIT
// A stream's options: checked against the model, defaults filled in, sizes worked out.
#ifndef RILL_STREAM_OPTIONS_H
#define RILL_STREAM_OPTIONS_H

#include "engine/forward.h"
#include "stream/handles.h"

// What resolved options mean for memory.
typedef struct rill__stream_plan {
    rill_stream_options options;  // no automatic values left
    uint32_t capacity;            // C = n + m
    bool rolls;                   // rows of the cache are written over when tokens are evicted
    rill__cache_options cache;
    size_t history;  // tokens remembered: the visible ones and the penalties' window
    rill_stream_bytes bytes;
} rill__stream_plan;

// RILL_EINVAL names the option at fault and what would be right. `options` may be NULL.
RILL_NODISCARD rill_status rill__stream_plan_make(const rill_model *model,
                                                  const rill_stream_options *options,
                                                  rill__stream_plan *out, rill_error *err);

#endif
