// SPDX-License-Identifier: MIT
// How numbers are stored: block sizes, and conversion to and from float32, the plain way.
//
// Source of the layouts: GGUF's specification and ggml's block structures (ggml-common.h). The
// conversions are the specification of each type; faster ones live in the backends.
#ifndef RILL_FORMAT_TYPES_H
#define RILL_FORMAT_TYPES_H

#include "base/base.h"
#include "rill/rill.h"

// One row a type.
typedef struct rill__type_traits {
    rill_type type;
    const char *name;
    uint32_t block;        // values a block
    uint32_t block_bytes;  // bytes a block
    // n is a multiple of `block`. src needs no alignment.
    void (*to_float)(const void *src, float *dst, size_t n);
    // NULL for types that rill reads and does not write (q4_1, q5_0, q5_1, the k-quants, iq4,
    // mxfp4).
    void (*from_float)(const float *src, void *dst, size_t n);
} rill__type_traits;

// NULL if the type is unknown.
const rill__type_traits *rill__type_traits_get(rill_type type);

// Bytes of n values, false if n is not a whole number of blocks or the product overflows.
bool rill__type_bytes(rill_type type, uint64_t n, size_t *bytes);

// Between 16-bit floats, given as their bits, and float32; to float32 is exact.
float rill__f16_to_f32(uint16_t h);
uint16_t rill__f32_to_f16(float f);  // round to nearest even, overflow to infinity, NaN kept
float rill__bf16_to_f32(uint16_t h);
uint16_t rill__f32_to_bf16(float f);  // round to nearest even, NaN kept

#endif
