// SPDX-License-Identifier: MIT
// Safetensors: the header and the data it points at, then the tiny model with these weights.
#include "fuzz.h"

#include "format/safetensors.h"

#include <stdlib.h>

static volatile uint64_t sink;  // what was read must not be optimised away

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file("model.safetensors", data, size);
    rill__safetensors s;
    rill_error err;
    if (rill__safetensors_open(path, &s, &err) != RILL_OK) return 0;
    for (size_t i = 0; i < s.n_tensors; i++) {
        const rill__tensor *t = &s.tensors[i];
        for (size_t j = 0; j < t->bytes; j += 64) sink += t->data[j];
        if (t->bytes) sink += t->data[t->bytes - 1];
        if (!rill__tensors_find(s.tensors, s.n_tensors, t->name)) abort();
    }
    rill__safetensors_close(&s);
    static bool copied;
    if (!copied) fuzz_copy_model_file("config.json");
    copied = true;
    rill_model *model;
    if (rill_model_open(fuzz_device(), fuzz_directory(), &model, &err) != RILL_OK) return 0;
    fuzz_use_model(model);
    rill_model_close(&model);
    return 0;
}
