// SPDX-License-Identifier: MIT
// Backends of every tier for tests, and what they are fed with. Include after cmocka.h.
#ifndef RILL_TESTS_BACKENDS_H
#define RILL_TESTS_BACKENDS_H

#include "passes.h"
#include "support/tiers.h"

#include <stdint.h>
#include <string.h>

// What the backends have room for.
enum { RESERVED_ROWS = 450, RESERVED_TOKENS = 60, RESERVED_WIDTH = 544 };

static inline float random_float(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) * 0x1p-30 - 1);
}

static inline rill__backend *reserved(rill__backend *be) {
    rill_error err;
    assert_int_equal(be->ops->reserve(be, RESERVED_ROWS, RESERVED_TOKENS, RESERVED_WIDTH, &err),
                     RILL_OK);
    return be;
}

static inline rill__backend *open_backend(const char *tier, unsigned threads, bool exact) {
    const rill_device_options options = {.threads = threads, .exact = exact, .cpu = tier};
    rill__backend *be = NULL;
    rill_error err;
    assert_int_equal(rill__cpu_backend_open(&options, &be, &err), RILL_OK);
    return reserved(be);
}

// The kernels of a tier; skips the test on a processor that lacks them, where lower ones would be
// taken. "exact" is a tier here.
static inline rill__backend *open_tier(const char *tier, unsigned threads) {
    if (strcmp(tier, "exact") == 0) return open_backend(NULL, threads, true);
    if (strncmp(tier, DEVICE, strlen(DEVICE)) == 0) return reserved(open_named(tier, threads));
    rill__backend *be = open_backend(tier, threads, false);
    if (strcmp(be->ops->tier(be), tier) != 0) {
        be->ops->close(be);
        skip();
    }
    return be;
}

static inline rill__buffer *buffer_of(rill__backend *be, const float *x, size_t n) {
    rill__buffer *b = NULL;
    rill_error err;
    assert_int_equal(be->ops->buffer_new(be, n * sizeof *x, &b, &err), RILL_OK);
    if (x) be->ops->buffer_write(be, b, 0, x, n * sizeof *x);
    return b;
}

#endif
