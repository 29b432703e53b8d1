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
    // The same of src; see quantize.h for numbers that are not finite. dst needs no alignment.
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

// A number of 16 bits as files have it, the low byte first.
static inline uint16_t rill__load16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

// The reverse.
static inline void rill__store16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

// A 16-bit float as files have it.
static inline float rill__load_half(const uint8_t *p) {
    return rill__f16_to_f32(rill__load16(p));
}

// The reverse.
static inline void rill__store_half(uint8_t *p, float f) {
    rill__store16(p, rill__f32_to_f16(f));
}

#endif
