// SPDX-License-Identifier: MIT
// The public device: a backend with an owner count.
#include "stream/handles.h"

#include "backend/open.h"

void rill_device_options_default(rill_device_options *options) {
    *options = (rill_device_options){.device = "auto"};
}

rill_status rill_device_open(const rill_device_options *options, rill_device **out,
                             rill_error *err) {
    rill_device_options defaults;
    rill_device_options_default(&defaults);
    if (!options) options = &defaults;
    rill_device *device = rill__calloc(1, sizeof *device);
    if (!device) return rill__fail_memory(err, "a device", sizeof *device);
    rill_status status = rill__backend_open(options, &device->backend, err);
    if (status != RILL_OK) {
        rill__free(device);
        return status;
    }
    atomic_init(&device->references, 1);
    device->exact = options->exact;
    *out = device;
    return RILL_OK;
}

void rill_device_close(rill_device **device) {
    rill_device *d = *device;
    *device = NULL;
    if (d && atomic_fetch_sub(&d->references, 1) == 1) {
        d->backend->ops->close(d->backend);
        rill__free(d);
    }
}

const char *rill_device_describe(const rill_device *device) {
    return device->backend->ops->describe(device->backend);
}

bool rill_device_memory(const rill_device *device, uint64_t *total, uint64_t *available) {
    const rill__backend_ops *ops = device->backend->ops;
    return ops->memory && ops->memory(device->backend, total, available);
}

unsigned rill_device_threads(const rill_device *device) {
    return device->backend->ops->threads(device->backend);
}

const char *rill_device_tier(const rill_device *device) {
    return device->backend->ops->tier(device->backend);
}

rill_product rill_device_product(const rill_device *device, rill_type weights) {
    return device->backend->ops->product(device->backend, weights);
}

rill_status rill_device_measure(rill_device *device, rill_roof *out, rill_error *err) {
    return device->backend->ops->measure(device->backend, out, err);
}
