// SPDX-License-Identifier: MIT
// tokenizer.json, and the files read beside it: tokenizer_config.json and generation_config.json
// get the same bytes.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rill__tokenizer *t = NULL;
    rill_error err;
    const char *path = fuzz_file("tokenizer.json", data, size);
    if (rill__tokenizer_open_file(path, &t, &err) != RILL_OK) return 0;
    fuzz_use_tokenizer(t, data, size);
    rill__tokenizer_close(&t);
    fuzz_file("tokenizer_config.json", data, size);
    fuzz_file("generation_config.json", data, size);
    if (rill__tokenizer_open_directory(fuzz_directory(), &t, &err) == RILL_OK)
        rill__tokenizer_close(&t);
    return 0;
}
