// SPDX-License-Identifier: MIT
// What tests of single operations ask of any backend: to be opened by name, and to be told of a
// pass, which the CUDA backend wants. Include after cmocka.h.
#ifndef RILL_TESTS_PASSES_H
#define RILL_TESTS_PASSES_H

#include "backend/backend.h"
#include "backend/open.h"

#include <stdlib.h>
#include <string.h>

// What stands in the place of a tier's name for the device of $RILL_TEST_DEVICE (scripts/gpu.sh).
#define DEVICE       "device"
#define DEVICE_EXACT "device, exact"

// NULL: the CPU is tested.
static inline const char *test_device(void) {
    const char *name = getenv("RILL_TEST_DEVICE");
    return name && *name ? name : NULL;
}

// The kernels of a tier of the CPU, "exact", or of the device. Fails the test if there is none.
static inline rill__backend *open_named(const char *tier, unsigned threads) {
    rill_error err;
    rill__backend *be = NULL;
    bool device = strncmp(tier, DEVICE, strlen(DEVICE)) == 0;
    bool exact = strcmp(tier, "exact") == 0 || strcmp(tier, DEVICE_EXACT) == 0;
    const rill_device_options options = {.device = device ? test_device() : "cpu",
                                         .threads = threads,
                                         .exact = exact,
                                         .cpu = exact || device ? NULL : tier};
    if (rill__backend_open(&options, &be, &err) != RILL_OK) fail_msg("%s", err.message);
    return be;
}

// What weights or a cache of such a type keep of n numbers, whole blocks.
static inline void round_to(rill_type type, float *x, size_t n) {
    const rill__type_traits *t = rill__type_traits_get(type);
    uint8_t *kept = calloc(n / t->block, t->block_bytes);
    assert_non_null(kept);
    t->from_float(x, kept, n);
    t->to_float(kept, x, n);
    free(kept);
}

// Begins a pass of rows that are one or more runs, each with the cache of one layer or (buffers
// NULL) none. Buffers and weights are made before it and freed behind it. `pass` lives as long.
static inline void begin_rows(rill__backend *be, rill__pass *pass, const rill__row *rows,
                              size_t n_rows, const rill__run *runs, size_t n_runs) {
    static const rill_token tokens[4096];
    static const uint32_t wanted[1];
    assert_true(n_rows <= sizeof tokens / sizeof *tokens);
    *pass = (rill__pass){.tokens = tokens,
                         .rows = rows,
                         .runs = runs,
                         .wanted = wanted,
                         .n_rows = n_rows,
                         .n_runs = n_runs,
                         .n_wanted = 1,
                         .n_layers = runs->kv->keys ? 1 : 0,
                         .observed = true};
    // Observed: nothing is replayed.
    if (be->ops->begin) assert_false(be->ops->begin(be, pass));
}

// Rows whose place in a stream is of no account.
static inline void begin_free_rows(rill__backend *be, rill__pass *pass, size_t n_rows) {
    static const rill__row rows[4096];
    static const rill__kv kv;
    static rill__run run;
    run = (rill__run){.n_rows = n_rows, .kv = &kv};
    begin_rows(be, pass, rows, n_rows, &run, 1);
}

// The same with tokens and wanted rows that operations are given.
static inline void begin_rows_of(rill__backend *be, rill__pass *pass, const rill_token *tokens,
                                 const uint32_t *wanted, size_t n_rows) {
    static const rill__row rows[4096];
    static const rill__kv kv;
    static rill__run run;
    assert_true(n_rows <= sizeof rows / sizeof *rows);
    run = (rill__run){.n_rows = n_rows, .kv = &kv};
    *pass = (rill__pass){.tokens = tokens,
                         .rows = rows,
                         .runs = &run,
                         .wanted = wanted,
                         .n_rows = n_rows,
                         .n_runs = 1,
                         .n_wanted = n_rows,
                         .observed = true};
    if (be->ops->begin) assert_false(be->ops->begin(be, pass));
}

// Waits for the pass's operations; fails the test if one of them failed.
static inline void end_pass(rill__backend *be) {
    rill_error err;
    if (be->ops->synchronize(be, &err) != RILL_OK) fail_msg("%s", err.message);
    if (be->ops->end) be->ops->end(be);
}

#endif
