// SPDX-License-Identifier: MIT
// SentencePiece's tokenizer.model.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rill__tokenizer *t = NULL;
    rill_error err;
    const char *path = fuzz_file("tokenizer.model", data, size);
    if (rill__tokenizer_open_file(path, &t, &err) != RILL_OK) return 0;
    fuzz_use_tokenizer(t, data, size);
    rill__tokenizer_close(&t);
    return 0;
}
