// SPDX-License-Identifier: MIT
// A librill-cuda.so without CUDA: GPUs 0 and 1, or none with RILL_FAKE_GPUS=0, with room for
// nothing. FAKE_VERSION makes it another build's, FAKE_NOTHING one that exports nothing of what
// librill wants.
#include "backend/cuda_library.h"

#include <stdlib.h>
#include <string.h>

#ifndef FAKE_NOTHING
#define EXPORT __attribute__((visibility("default")))

EXPORT rill__cuda_version_function rill__cuda_backend_version;
EXPORT rill__cuda_open_function rill__cuda_backend_open;

typedef struct fake {
    rill__backend base;
    char description[32];
} fake;

static const char *describe(const rill__backend *be) {
    return ((const fake *)(const void *)be)->description;
}

static void fake_close(rill__backend *be) {
    free(be);
}

const char *rill__cuda_backend_version(void) {
#ifdef FAKE_VERSION
    return FAKE_VERSION;
#else
    static char version[RILL_CUDA_VERSION_BYTES];
    rill__cuda_library_version(RILL_VERSION, version);
    return version;
#endif
}

static rill_status refuse(rill_error *err, rill_status status, const char *message) {
    if (err) err->status = status;
    if (err) snprintf(err->message, sizeof err->message, "%s", message);
    return status;
}

static bool no_memory(rill__backend *be, uint64_t *total, uint64_t *available) {
    (void)be;
    *total = *available = 0;
    return true;
}

static rill_status no_room(rill__backend *be, const rill__tensor *tensor, rill__weight_use use,
                           rill__weight **out, rill_error *err) {
    (void)be, (void)tensor, (void)use, (void)out;
    return refuse(err, RILL_ENOMEM, "cuda:0: no room");
}

static void free_nothing(rill__backend *be, rill__weight *weight) {
    (void)be, (void)weight;
}

static const rill__backend_ops ops = {.name = "cuda",
                                      .close = fake_close,
                                      .describe = describe,
                                      .memory = no_memory,
                                      .weight_new = no_room,
                                      .weight_free = free_nothing};

rill_status rill__cuda_backend_open(const rill_device_options *options, int device,
                                    rill__backend **out, rill_error *err) {
    const char *gpus = getenv("RILL_FAKE_GPUS");
    if (gpus && strcmp(gpus, "0") == 0)
        return refuse(err, RILL_EUNSUPPORTED, "device: cuda: no GPU can be used");
    if (device > 1) return refuse(err, RILL_EINVAL, "device: there is no such GPU");
    fake *be = calloc(1, sizeof *be);
    if (!be) return refuse(err, RILL_ENOMEM, "out of memory");
    be->base.ops = &ops;
    snprintf(be->description, sizeof be->description, "cuda:%d fake%s", device,
             options->exact ? ", exact" : "");
    *out = &be->base;
    return RILL_OK;
}
#endif
