// SPDX-License-Identifier: MIT
// The bytes of keys and values: a cache that keeps everything beside one that keeps n + m tokens.
#ifndef RILL_EVAL_MEMORY_H
#define RILL_EVAL_MEMORY_H

#include "rill/rill.h"

typedef struct rill__memory_case {
    rill_type key_type, value_type;
    uint64_t tokens;  // length of the text
    uint32_t sinks;   // n
    uint32_t window;  // m
} rill__memory_case;

typedef struct rill__memory {
    uint64_t token_bytes;      // of one token, all layers
    uint64_t dense_bytes;      // of all tokens of the text
    uint64_t streaming_bytes;  // of n + m tokens, whatever the length of the text
    double saved;              // 1 - streaming / dense: below 0 where a text is shorter than n + m
} rill__memory;

// Fills *out for a model of those sizes (layers, heads of keys and values, head_dim). RILL_EINVAL
// if there are no tokens, or the bytes of one of the two caches are 2^64 or more.
RILL_NODISCARD rill_status rill__memory_compare(const rill_model_info *info,
                                                const rill__memory_case *c, rill__memory *out,
                                                rill_error *err);

#endif
