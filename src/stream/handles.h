// SPDX-License-Identifier: MIT
// What stands behind the public handles of a device and a model.
#ifndef RILL_STREAM_HANDLES_H
#define RILL_STREAM_HANDLES_H

#include "stream/passes.h"

#include <stdatomic.h>

// A backend, shared by the models on it.
struct rill_device {
    atomic_uint references;
    rill__backend *backend;
    bool exact;
};

// A model on a device, shared by its streams. Immutable after open but for the count and the room
// for passes, which has a lock.
struct rill_model {
    atomic_uint references;
    rill_device *device;  // NULL for a tokenizer by itself
    rill__model *model;
    rill__network network;
    rill__passes passes;
};

// Puts a model that was just opened on a device (NULL: only its tokenizer is of use); takes the
// model over in every case.
RILL_NODISCARD rill_status rill__model_wrap(rill_device *device, rill__model *files,
                                            rill_model **out, rill_error *err);

// Another owner of the same model; rill_model_close gives it back.
rill_model *rill__model_ref(rill_model *model);

#endif
