// SPDX-License-Identifier: MIT
// Opening models in tests: a failure fails the test with the library's own message.
#ifndef RILL_TESTS_OPEN_H
#define RILL_TESTS_OPEN_H

#include "rill/rill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Fails the test with the error's message unless all went well.
static inline void must(rill_status status, const rill_error *err) {
    if (status != RILL_OK) fail_msg("%s", err->message);
}

// A device with the kernels of a tier, "ref" or of tiers.h; skips the test on a processor that
// lacks them, where the library would take lower ones.
static inline rill_device *test_device_of_tier(const char *tier, unsigned threads) {
    rill_error err;
    rill_device *device;
    const rill_device_options options = {.cpu = tier, .threads = threads};
    must(rill_device_open(&options, &device, &err), &err);
    if (strcmp(rill_device_tier(device), tier) != 0) {
        rill_device_close(&device);
        skip();
    }
    return device;
}

// The caller owns the model, which keeps its device.
static inline rill_model *test_model(const char *path, const rill_device_options *options) {
    rill_error err;
    rill_device *device;
    rill_model *model;
    must(rill_device_open(options, &device, &err), &err);
    must(rill_model_open(device, path, &model, &err), &err);
    rill_device_close(&device);
    return model;
}

// The path of the model that comes with rill; static.
static inline const char *test_shipped_model(void) {
    static char path[512];
    const char *folder = getenv("RILL_MODEL");
    snprintf(path, sizeof path, "%s/rill-30m.gguf", folder ? folder : "models");
    return path;
}

#endif
