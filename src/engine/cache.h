// SPDX-License-Identifier: MIT
// The sink cache: keys and values of one stream, in all layers, in memory that never grows.
//
// Mechanism only. Which tokens a token sees is the policy's (stream/policy.h); here is where the
// row of a token lies and how it comes out and in again. A layer and head has `rows` rows. A
// token's is rill__kv_row's: t < n for ever, then round a ring. As long as nothing has come round,
// that is row t for any n, so the prefix that is pinned may grow then without moving a byte.
#ifndef RILL_ENGINE_CACHE_H
#define RILL_ENGINE_CACHE_H

#include "engine/network.h"

typedef struct rill__cache_options {
    uint32_t n_sinks;   // n, rows that are never written again
    uint32_t rows;      // rows a head and layer: n + m + chunk - 1; more than n
    uint64_t capacity;  // C: no distance exceeds C - 1 (it chooses RoPE's frequencies)
    rill_rope_scaling rope_scaling;
    float rope_factor;
    rill_type key_type;  // as rill_stream_options
    rill_type value_type;
    float sink_scale;  // see rill__kv
    float sink_cap;
} rill__cache_options;

typedef struct rill__cache {
    rill__backend *backend;  // borrowed
    uint32_t n_layers;
    uint32_t n_kv_heads;
    rill__kv *layers;       // [n_layers]
    uint64_t *phase_steps;  // [2, rope.n_pairs]: of rope and of local_rope
    double *fade;           // [rope.n_pairs] xPos; else NULL
    rill__rope rope;        // points at phase_steps and fade
    rill__rope local_rope;  // of layers with a window, where the model has one for them
    uint32_t rows;
} rill__cache;

// Bytes that the keys and values of such a cache take; false if that overflows.
bool rill__cache_bytes(const rill__description *d, const rill__cache_options *options,
                       uint64_t *bytes);

// Takes all its memory. RILL_ENOMEM says how much was wanted.
RILL_NODISCARD rill_status rill__cache_open(const rill__network *net,
                                            const rill__cache_options *options, rill__cache *out,
                                            rill_error *err);
void rill__cache_close(rill__cache *cache);

// Makes the first n rows permanent. Only while no token has been overwritten.
void rill__cache_set_sinks(rill__cache *cache, uint32_t n_sinks);

// Bytes of one token's keys and values in all layers.
size_t rill__cache_token_bytes(const rill__cache *cache);

// Copies the rows of tokens [first, first + count), which are in the cache, out to or in from
// `bytes`, for one layer: [head][token] keys, then [head][token] values. The order does not depend
// on where the ring stands.
void rill__cache_read(const rill__cache *cache, uint32_t layer, uint64_t first, size_t count,
                      uint8_t *bytes);
void rill__cache_write(rill__cache *cache, uint32_t layer, uint64_t first, size_t count,
                       const uint8_t *bytes);

#endif
