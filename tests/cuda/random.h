// SPDX-License-Identifier: MIT
// Random numbers, weights and backends for tests of a GPU's operations. Include after cmocka.h.
#ifndef RILL_TESTS_CUDA_RANDOM_H
#define RILL_TESTS_CUDA_RANDOM_H

#include "base/kinds.h"
#include "format/types.h"
#include "kernels/passes.h"
#include "support/compare.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 1;
static bool small;

static const rill_type types[] = {RILL_TYPE_F32,  RILL_TYPE_F16,  RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                  RILL_TYPE_Q4_0, RILL_TYPE_Q4_1, RILL_TYPE_Q5_0, RILL_TYPE_Q5_1,
                                  RILL_TYPE_Q4_K, RILL_TYPE_Q5_K, RILL_TYPE_Q6_K, RILL_TYPE_MXFP4};
enum { N_TYPES = sizeof types / sizeof *types };

static inline float random_float(void) {  // splitmix64 (Steele, Lea and Flood, 2014)
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)((double)((z ^ z >> 31) >> 40) * 0x1p-23 - 1);
}

static inline size_t random_size(size_t most) {
    return 1 + (size_t)((double)(random_float() + 1) / 2 * (double)(most - 1) + 0.5);
}

static inline float *random_floats(size_t n) {
    float *x = calloc(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = random_float();
    return x;
}

static inline rill__buffer *buffer_of(rill__backend *be, const float *x, size_t n) {
    rill__buffer *b = NULL;
    rill_error err;
    if (be->ops->buffer_new(be, n * sizeof *x, &b, &err) != RILL_OK) fail_msg("%s", err.message);
    if (x) be->ops->buffer_write(be, b, 0, x, n * sizeof *x);
    return b;
}

// Random weights [rows, columns] (columns 0: a vector) of a type; its data is the caller's: free.
static inline rill__tensor random_tensor(rill_type type, size_t rows, size_t columns) {
    const rill__type_traits *t = rill__type_traits_get(type);
    size_t width = columns ? columns : rows, n = columns ? rows : 1;
    size_t row_bytes = width / t->block * t->block_bytes;
    uint8_t *data = calloc(n, row_bytes);
    float *row = calloc(width, sizeof *row);
    assert_true(data && row);
    for (size_t r = 0; r < n; r++) {
        float scale = 0.25f + random_float() * random_float();
        for (size_t c = 0; c < width; c++) row[c] = scale * random_float();
        t->from_float(row, data + r * row_bytes, width);
    }
    free(row);
    return (rill__tensor){.name = "random",
                          .type = type,
                          .n_dims = columns ? 2 : 1,
                          .shape = {rows, columns ? columns : 1, 1, 1},
                          .data = data,
                          .bytes = n * row_bytes};
}

static inline rill__weight *weight_of(rill__backend *be, const rill__tensor *t,
                                      rill__weight_use use) {
    rill__weight *w = NULL;
    rill_error err;
    if (be->ops->weight_new(be, t, use, &w, &err) != RILL_OK) fail_msg("%s", err.message);
    return w;
}

// The worst row's distance from what is right, relative to that row's norm.
static inline double worst_row(const float *got, const float *right, size_t n_rows, size_t width) {
    double worst = 0;
    for (size_t r = 0; r < n_rows; r++) {
        double off = 0, size = 0;
        for (size_t i = r * width; i < (r + 1) * width; i++) {
            off += ((double)got[i] - right[i]) * ((double)got[i] - right[i]);
            size += (double)right[i] * right[i];
        }
        double share = sqrt(off / (size + 1e-30));
        worst = share <= worst ? worst : share;  // a NaN stays
    }
    return worst;
}

static inline void check(const char *what, const float *got, const float *right, size_t n_rows,
                         size_t width, double bound) {
    double worst = worst_row(got, right, n_rows, width);
    if (!(worst <= bound)) fail_msg("%s: off by %.2g; %.2g is allowed", what, worst, bound);
}

static inline rill__backend *open_test_backend(const char *tier) {
    rill__backend *be = open_named(tier, 0);
    rill_error err;
    assert_int_equal(be->ops->reserve(be, 512, 64, 16384, &err), RILL_OK);
    return be;
}

// A test, with the exact kernels of the device and with the default ones.
#define ON_DEVICE(test)                                                                            \
    {#test " on " DEVICE_EXACT, test, NULL, NULL, (void *)(uintptr_t)DEVICE_EXACT}, {              \
#test " on " DEVICE, test, NULL, NULL, (void *)(uintptr_t)DEVICE                           \
    }

// Reads [SEED] [small]; false: there is no device to test, which was said.
static inline bool begin_device_tests(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "small") == 0)
            small = true;
        else
            random_state = strtoull(argv[i], NULL, 10);
    }
    if (test_device())
        printf("seed %llu\n", (unsigned long long)random_state);
    else
        printf("skipped: RILL_TEST_DEVICE names no device to test\n");
    return test_device();
}

#endif
