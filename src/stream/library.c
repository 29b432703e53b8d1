// SPDX-License-Identifier: MIT
// What belongs to the library and to no object of it.
#include "rill/rill.h"

#include "format/safetensors.h"

const char *rill_version(void) {
    return RILL_VERSION;
}

rill_status rill_write_tensor(const char *path, const char *name, const float *data, uint64_t rows,
                              uint64_t columns, rill_error *err) {
    return rill__safetensors_write(path, name, data, rows, columns, err);
}
