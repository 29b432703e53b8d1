// SPDX-License-Identifier: MIT
// The public model: files and weights together, with an owner count; what it says about itself.
#include "stream/handles.h"

#include <stdio.h>

rill_status rill__model_wrap(rill_device *device, rill__model *files, rill_model **out,
                             rill_error *err) {
    rill_model *model = rill__calloc(1, sizeof *model);
    rill_status status = RILL_OK;
    if (!model) status = rill__fail_memory(err, "a model", sizeof *model);
    if (status == RILL_OK && device)
        status = rill__network_open(device->backend, files, &model->network, err);
    if (status != RILL_OK) {
        rill__model_close(&files);
        rill__free(model);
        return status;
    }
    atomic_init(&model->references, 1);
    if (device)
        rill__model_rest(files);  // the backend has copies of what it likes in another order
    rill__passes_init(&model->passes);
    model->model = files;
    model->device = device;
    if (device) atomic_fetch_add(&device->references, 1);
    *out = model;
    return RILL_OK;
}

rill_status rill_model_open(rill_device *device, const char *path, rill_model **out,
                            rill_error *err) {
    rill__model *files;
    rill_status status = rill__model_open(path, &files, err);
    return status == RILL_OK ? rill__model_wrap(device, files, out, err) : status;
}

rill_status rill_model_open_synthetic(rill_device *device, const char *shape, rill_type type,
                                      rill_mix mix, uint64_t seed, rill_model **out,
                                      rill_error *err) {
    rill__model *files;
    rill_status status = rill__model_synthesize(shape, type, mix, seed, &files, err);
    return status == RILL_OK ? rill__model_wrap(device, files, out, err) : status;
}

rill_status rill_tokenizer_open(const char *path, rill_model **out, rill_error *err) {
    rill__model *files;
    rill_status status = rill__model_open_tokenizer(path, &files, err);
    return status == RILL_OK ? rill__model_wrap(NULL, files, out, err) : status;
}

rill_model *rill__model_ref(rill_model *model) {
    atomic_fetch_add(&model->references, 1);
    return model;
}

void rill_model_close(rill_model **model) {
    rill_model *m = *model;
    *model = NULL;
    if (!m || atomic_fetch_sub(&m->references, 1) != 1) return;
    rill__passes_deinit(&m->passes);
    if (m->device) rill__network_close(&m->network);
    rill__model_close(&m->model);
    rill_device_close(&m->device);
    rill__free(m);
}

rill_status rill_model_reserve(rill_model *model, uint32_t max_rows, rill_error *err) {
    if (!model->device)
        return rill__fail(err, RILL_EINVAL, "a tokenizer by itself cannot stream; open a model");
    if (max_rows == 0 || max_rows > RILL_MAX_ROWS)
        return rill__fail(err, RILL_EINVAL, "max_rows: %u; 1 to %d is right", max_rows,
                          RILL_MAX_ROWS);
    return rill__passes_reserve(&model->passes, &model->network, max_rows, 1, err);
}

// The narrowest window of any layer, 0 if none has one.
static uint32_t narrowest_window(const rill__description *d) {
    uint32_t narrowest = 0;
    for (uint32_t i = 0; i < d->n_layers; i++) {
        uint32_t window = rill__description_window(d, i);
        if (window && (!narrowest || window < narrowest)) narrowest = window;
    }
    return narrowest;
}

void rill_model_get_info(const rill_model *model, rill_model_info *out) {
    const rill__model *m = model->model;
    const rill__description *d = &m->description;
    *out = (rill_model_info){
        .n_layers = d->n_layers,
        .hidden_size = d->hidden_size,
        .n_heads = d->n_heads,
        .n_kv_heads = d->n_kv_heads,
        .head_dim = d->head_dim,
        .ffn_size = d->ffn_size,
        .vocab_size = d->vocab_size,
        .trained_context = d->trained_context,
        .trained_window = narrowest_window(d),
        .n_parameters = m->n_parameters,
        .weight_bytes = m->weight_bytes,
        .weight_type = m->weight_type,
        .has_tokenizer = m->tokenizer != NULL,
    };
    snprintf(out->family, sizeof out->family, "%s", d->family);
    snprintf(out->name, sizeof out->name, "%s", d->name);
    if (m->tokenizer)
        snprintf(out->chat_template, sizeof out->chat_template, "%s",
                 rill__tokenizer_chat_template(m->tokenizer));
}

const char *rill_model_warning(const rill_model *model, size_t index) {
    return model->model->tokenizer ? rill__tokenizer_warning(model->model->tokenizer, index) : NULL;
}
