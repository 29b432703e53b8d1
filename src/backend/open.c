// SPDX-License-Identifier: MIT
// Names of devices.
#include "backend/open.h"

#include "backend/cuda_library.h"
#include "base/number.h"

#include <string.h>

enum { MAX_GPUS = 256 };

typedef enum kind { AUTO, CPU, CUDA } kind;

static bool parse_name(const char *name, kind *out, int *device) {
    static const char prefix[] = "cuda:";
    uint64_t number = 0;
    *device = 0;
    if (strcmp(name, "auto") == 0) {
        *out = AUTO;
    } else if (strcmp(name, "cpu") == 0) {
        *out = CPU;
    } else if (strcmp(name, "cuda") == 0) {
        *out = CUDA;
    } else if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        if (!rill__number_whole(name + sizeof prefix - 1, &number) || number >= MAX_GPUS)
            return false;
        *out = CUDA;
        *device = (int)number;
    } else {
        return false;
    }
    return true;
}

rill_status rill__backend_open(const rill_device_options *options, rill__backend **out,
                               rill_error *err) {
    const char *name = options->device ? options->device : "auto";
    kind what;
    int device;
    if (!parse_name(name, &what, &device))
        return rill__fail(err, RILL_EINVAL,
                          "device: there is no '%.60s'; auto, cpu, cuda and cuda:0 to cuda:%d are "
                          "known",
                          name, MAX_GPUS - 1);
    if (what == CUDA) return rill__cuda_library_open(options, device, out, err);
    if (what == AUTO && !options->exact && !options->cpu &&
        rill__cuda_library_open(options, device, out, NULL) == RILL_OK)
        return RILL_OK;
    return rill__cpu_backend_open(options, out, err);
}
