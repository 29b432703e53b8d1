// SPDX-License-Identifier: MIT
// A model's weights in a backend's own form: what the forward pass multiplies with.
#ifndef RILL_ENGINE_NETWORK_H
#define RILL_ENGINE_NETWORK_H

#include "backend/backend.h"
#include "model/model.h"

// A weight and its bias; NULL where the model has none.
typedef struct rill__linear {
    rill__weight *weight;
    rill__weight *bias;
} rill__linear;

// Immutable after open; any number of streams share it.
typedef struct rill__network {
    rill__backend *backend;          // borrowed
    const rill__description *model;  // borrowed from the model, as the weights' data is
    rill__linear *parameters;        // [n_parameters] by rill__parameter_index
    size_t n_parameters;
} rill__network;

// Hands every weight of the model to the backend. Model and backend must outlive the network.
// RILL_EUNSUPPORTED (a tensor type the backend does not know), RILL_ENOMEM.
RILL_NODISCARD rill_status rill__network_open(rill__backend *backend, const rill__model *model,
                                              rill__network *out, rill_error *err);
// Takes a zeroed or half-open network; leaves it zeroed.
void rill__network_close(rill__network *net);

// The parameter of a role; `layer` is ignored for global roles. Never NULL.
const rill__linear *rill__network_parameter(const rill__network *net, rill__weight_role role,
                                            uint32_t layer);

#endif
