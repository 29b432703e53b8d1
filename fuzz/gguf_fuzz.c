// SPDX-License-Identifier: MIT
// GGUF: the container, every value and tensor of it, and then the model that it may be.
#include "fuzz.h"

#include "format/gguf.h"

#include <stdlib.h>

static volatile uint64_t sink;  // what was read must not be optimised away

static void read_value(const rill__gguf *g, const rill__gguf_value *value) {
    const uint8_t *at = value->data;
    uint64_t n = value->count < 1000 ? value->count : 1000;
    for (uint64_t i = 0; i < n && value->is_array; i++) {
        if (value->type == RILL_GGUF_STRING) {
            rill__gguf_string text = rill__gguf_next_string(&at);
            for (size_t j = 0; j < text.length; j++) sink += (uint8_t)text.data[j];
        } else if (value->type == RILL_GGUF_F32) {
            sink += rill__gguf_array_f32(value, i) > 0;
        } else if (value->type != RILL_GGUF_ARRAY && value->type != RILL_GGUF_F64) {
            sink += (uint64_t)rill__gguf_array_integer(value, i);
        }
    }
    char key[256];
    int64_t whole;
    double real;
    bool flag;
    rill__gguf_string text;
    if (value->key.length >= sizeof key) return;
    for (size_t i = 0; i < value->key.length; i++) key[i] = value->key.data[i];
    key[value->key.length] = '\0';
    sink += rill__gguf_find(g, key) != NULL;
    sink += rill__gguf_integer(g, key, &whole) + rill__gguf_real(g, key, &real) +
            rill__gguf_bool(g, key, &flag);
    if (rill__gguf_text(g, key, &text))
        for (size_t j = 0; j < text.length; j++) sink += (uint8_t)text.data[j];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file("model.gguf", data, size);
    rill__gguf g;
    rill_error err;
    if (rill__gguf_open(path, &g, &err) != RILL_OK) return 0;
    for (size_t i = 0; i < g.n_values; i++) read_value(&g, &g.values[i]);
    for (size_t i = 0; i < g.n_tensors; i++) {
        const rill__tensor *t = &g.tensors[i];
        for (size_t j = 0; j < t->bytes; j += 64) sink += t->data[j];
        if (t->bytes) sink += t->data[t->bytes - 1];
        if (!rill__gguf_tensor(&g, t->name)) abort();
    }
    rill__gguf_close(&g);
    rill_model *model;
    if (rill_model_open(fuzz_device(), path, &model, &err) != RILL_OK) return 0;
    fuzz_use_model(model);
    rill_model_close(&model);
    return 0;
}
