// SPDX-License-Identifier: MIT
// How many streams of a model fit beside it, by what they see and how it is stored.
#ifndef RILL_CLI_FITS_H
#define RILL_CLI_FITS_H

#include "cli/settings.h"

#include "base/base.h"

#include <jansson.h>

enum { RILL_FITS_CAPACITIES = 5, RILL_FITS_TYPES = 3 };

typedef struct rill__fits {
    const char *device;  // rill_device_describe
    uint64_t total;      // bytes of its memory; 0: unknown
    uint64_t available;  // bytes that are free, the model's weights being there
    size_t n_capacities;
    uint32_t capacities[RILL_FITS_CAPACITIES];  // sinks and window together
    rill_type types[RILL_FITS_TYPES];           // of keys and values
    // Of one stream more on this model, and how many there may be.
    uint64_t stream_bytes[RILL_FITS_CAPACITIES][RILL_FITS_TYPES];
    uint64_t n_streams[RILL_FITS_CAPACITIES][RILL_FITS_TYPES];
} rill__fits;

// For streams as s says but for types: what s sees, or what is recommended, among usual capacities
// up to what the model was trained on. The device's name is borrowed. Failures as
// rill_stream_estimate.
RILL_NODISCARD rill_status rill__fits_find(const rill_device *device, const rill_model *model,
                                           const rill__settings *s, rill__fits *out,
                                           rill_error *err);
// For people, on stdout; and as keys of an object.
void rill__fits_print(const rill__fits *f);
void rill__fits_machine(const rill__fits *f, json_t *object);

#endif
