// SPDX-License-Identifier: MIT
// What kernels are run on: numbers of every kind, weights of every type, at odd addresses.
#ifndef RILL_TESTS_OPERANDS_H
#define RILL_TESTS_OPERANDS_H

#include "backend/cpu/kernels.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_FLOATS = (1 << 17) + 64, ROWS = 21, OUTS = 32 };

typedef enum fill { NORMAL, CONSTANT, DENORMAL, LARGE, ZERO, SPECIAL, NANS, N_FILLS } fill;

static const char *const fill_names[] = {"normal", "constant", "denormal", "large",
                                         "zero",   "special",  "nans"};

// Operands, the same for the reference and the tier. Pointers are odd on purpose.
typedef struct operands {
    float *x;        // [MAX_FLOATS]
    float *y;        // [MAX_FLOATS]
    uint8_t *bytes;  // weights of the case's type, at an odd address
    size_t n;        // the size
    rill_type type;
    size_t n_rows;
    size_t n_outs;
    bool timing;   // then run leaves scale alone
    double scale;  // set by run
} operands;

static uint64_t random_state;

static inline uint64_t random_bits(void) {  // splitmix64 (Steele, Lea and Flood, 2014)
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline float random_float(void) {  // about normal
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += (double)(random_bits() >> 40) * 0x1p-24;
    return (float)((sum - 2) * 1.7);
}

static inline float filled(fill kind) {
    static const float special[] = {INFINITY, -INFINITY, NAN};
    switch (kind) {
    case CONSTANT: return 0.75f;
    case DENORMAL: return random_float() * 0x1p-130f;
    case LARGE: return random_float() * 0x1p20f;
    case ZERO: return random_bits() % 2 ? 0.0f : -0.0f;
    case NANS: return random_bits() % 40 ? random_float() : NAN;
    case SPECIAL: return random_bits() % 40 ? random_float() : special[random_bits() % 3];
    default: return random_float();
    }
}

static inline double norm_of(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static inline double largest_norm(const float *x, size_t rows, size_t n) {
    double most = 0;
    for (size_t r = 0; r < rows; r++) most = fmax(most, norm_of(x + r * n, n));
    return most;
}

// Weights of the case's type at in->bytes: rows of y encoded, or for types whose scales have codes
// that no encoder writes, random bits with sane halves.
static inline void encode(operands *in, size_t rows) {
    // Where the last of a block's halves begins, and how many there are: they stay below 2.
    static const uint8_t halves[RILL_CPU_TYPES][2] = {
        [RILL_TYPE_Q4_1] = {2, 2},   [RILL_TYPE_Q5_0] = {0, 1},   [RILL_TYPE_Q5_1] = {2, 2},
        [RILL_TYPE_Q2_K] = {82, 2},  [RILL_TYPE_Q3_K] = {108, 1}, [RILL_TYPE_Q4_K] = {2, 2},
        [RILL_TYPE_Q5_K] = {2, 2},   [RILL_TYPE_Q6_K] = {208, 1}, [RILL_TYPE_IQ4_NL] = {0, 1},
        [RILL_TYPE_IQ4_XS] = {0, 1},
    };
    const rill__type_traits *t = rill__type_traits_get(in->type);
    size_t n = rows * in->n, n_bytes = n / t->block * t->block_bytes;
    if (!halves[in->type][1]) {
        t->from_float(in->y, in->bytes, n);
        return;
    }
    for (size_t i = 0; i < n_bytes; i++) in->bytes[i] = (uint8_t)random_bits();
    const uint8_t *half = halves[in->type];
    for (size_t b = 0; in->type == RILL_TYPE_MXFP4 && b < n_bytes; b += t->block_bytes)
        in->bytes[b] = (uint8_t)(120 + random_bits() % 12);  // 2^-8 to 2^4
    for (size_t b = 0; b < n_bytes; b += t->block_bytes)
        for (size_t i = 0; i < half[1]; i++) in->bytes[b + half[0] - 2 * i + 1] &= 0xbf;
}

#endif
