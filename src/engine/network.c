// SPDX-License-Identifier: MIT
// Moves a model's weights into a backend, role by role, and finds them again.
#include "engine/network.h"

#include <string.h>

static rill_status upload(rill__backend *be, const rill__tensor *tensor, rill__weight_use use,
                          rill__weight **out, rill_error *err) {
    if (!tensor->data) return RILL_OK;
    return be->ops->weight_new(be, tensor, use, out, err);
}

static rill__weight_use use_of(const rill__description *d, rill__weight_role role) {
    if (role == RILL_WEIGHT_ROUTER) return RILL_USE_ROUTER;
    if (role != RILL_WEIGHT_EMBEDDING) return RILL_USE_PRODUCTS;
    return d->tied_embeddings ? RILL_USE_BOTH : RILL_USE_ROWS;
}

rill_status rill__network_open(rill__backend *backend, const rill__model *model, rill__network *out,
                               rill_error *err) {
    const rill__description *d = &model->description;
    rill__network net = {.backend = backend, .model = d};
    net.n_parameters = rill__parameters_count(d->n_layers);
    net.parameters = rill__calloc(net.n_parameters, sizeof *net.parameters);
    if (!net.parameters)
        return rill__fail_memory(err, "the table of weights",
                                 net.n_parameters * sizeof *net.parameters);

    for (int role = 0; role < RILL_WEIGHTS; role++) {
        uint32_t n_layers = role < RILL_WEIGHTS_GLOBAL ? 1 : d->n_layers;
        for (uint32_t layer = 0; layer < n_layers; layer++) {
            const rill__parameter *from =
                rill__model_parameter(model, (rill__weight_role)role, layer);
            rill__linear *to =
                &net.parameters[rill__parameter_index((rill__weight_role)role, layer)];
            rill__weight_use use = use_of(d, (rill__weight_role)role);
            rill_status status = upload(backend, &from->weight, use, &to->weight, err);
            if (status == RILL_OK) status = upload(backend, &from->bias, use, &to->bias, err);
            if (status != RILL_OK) {
                rill__network_close(&net);
                return status;
            }
        }
    }
    *out = net;
    return RILL_OK;
}

void rill__network_close(rill__network *net) {
    for (size_t i = 0; net->parameters && i < net->n_parameters; i++) {
        net->backend->ops->weight_free(net->backend, net->parameters[i].weight);
        net->backend->ops->weight_free(net->backend, net->parameters[i].bias);
    }
    rill__free(net->parameters);
    memset(net, 0, sizeof *net);
}

const rill__linear *rill__network_parameter(const rill__network *net, rill__weight_role role,
                                            uint32_t layer) {
    return &net->parameters[rill__parameter_index(role, layer)];
}
