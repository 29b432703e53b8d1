// SPDX-License-Identifier: MIT
// config.json of a Hugging Face directory, beside the tiny model's weights.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool copied;
    if (!copied) fuzz_copy_model_file("model.safetensors");
    copied = true;
    fuzz_file("config.json", data, size);
    rill_model *model;
    rill_error err;
    if (rill_model_open(fuzz_device(), fuzz_directory(), &model, &err) != RILL_OK) return 0;
    fuzz_use_model(model);
    rill_model_close(&model);
    return 0;
}
