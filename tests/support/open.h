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

// What $RILL_TEST_DEVICE names ("cuda"): tests of whole models and of streams run there. NULL: the
// CPU.
static inline const char *test_device(void) {
    const char *name = getenv("RILL_TEST_DEVICE");
    return name && *name ? name : NULL;
}

// A device with the kernels of a tier, "ref" or of tiers.h, or "device": the default ones of the
// device that is tested. Skips the test on a processor that lacks them, where the library would
// take lower ones.
static inline rill_device *test_device_of_tier(const char *tier, unsigned threads) {
    rill_error err;
    rill_device *device;
    bool other = strcmp(tier, "device") == 0;
    const rill_device_options options = {
        .device = test_device(), .cpu = other ? NULL : tier, .threads = threads};
    must(rill_device_open(&options, &device, &err), &err);
    if (!other && strcmp(rill_device_tier(device), tier) != 0) {
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
    rill_device_options o = *options;
    if (!o.device && !o.cpu) o.device = test_device();
    must(rill_device_open(&o, &device, &err), &err);
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
