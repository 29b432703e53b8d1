// SPDX-License-Identifier: MIT
// The CUDA backend is a shared object of its own, so that librill runs where no driver is: what it
// exports, how it is found, and what makes the two a pair.
#ifndef RILL_BACKEND_CUDA_LIBRARY_H
#define RILL_BACKEND_CUDA_LIBRARY_H

#include "backend/backend.h"

#include <stdio.h>

#define RILL_CUDA_LIBRARY "librill-cuda.so"

// What it exports, by these names. Its version is what rill__cuda_library_version says there.
#define RILL_CUDA_VERSION_SYMBOL "rill__cuda_backend_version"
#define RILL_CUDA_OPEN_SYMBOL    "rill__cuda_backend_open"
typedef const char *rill__cuda_version_function(void);
typedef rill_status rill__cuda_open_function(const rill_device_options *options, int device,
                                             rill__backend **out, rill_error *err);

enum { RILL_CUDA_VERSION_BYTES = 64 };

// What both must say: the version of rill, and a hash (FNV-1a) of the sizes of what they lay out
// alike, since while one version is worked on, a shared object left from yesterday has other ones.
static inline void rill__cuda_library_version(const char *version,
                                              char out[RILL_CUDA_VERSION_BYTES]) {
    const size_t sizes[] = {sizeof(rill__backend_ops), sizeof(rill_device_options),
                            sizeof(rill__tensor),      sizeof(rill__row),
                            sizeof(rill__kv),          sizeof(rill__rope),
                            sizeof(rill__run),         sizeof(rill__projection),
                            sizeof(rill__stage),       sizeof(rill__attention),
                            sizeof(rill__experts),     sizeof(rill__adjustment),
                            sizeof(rill__choice),      sizeof(rill__pass),
                            sizeof(rill_roof),         sizeof(rill_product),
                            sizeof(rill_error)};
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        hash = (hash ^ sizes[i]) * 1099511628211u;
    snprintf(out, RILL_CUDA_VERSION_BYTES, "%s (%016llx)", version, (unsigned long long)hash);
}

// Opens GPU `device` through the shared object: of $RILL_CUDA_LIBRARY if that is set, otherwise the
// first one found beside librill or the running program, in the build folder of a source tree, or
// where the system's loader looks. It stays loaded until the process ends. Failures as
// rill__backend_open. Threads: any.
RILL_NODISCARD rill_status rill__cuda_library_open(const rill_device_options *options, int device,
                                                   rill__backend **out, rill_error *err);

#endif
