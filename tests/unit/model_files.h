// SPDX-License-Identifier: MIT
// Models on disk for tests, made out of the golden ones: a tensor left out, of another shape or
// number format, cut into several files; metadata of a GGUF changed or left out.
#ifndef RILL_TESTS_MODEL_FILES_H
#define RILL_TESTS_MODEL_FILES_H

#include "base/file.h"
#include "base/json.h"
#include "format/gguf_writer.h"
#include "model/model.h"

#include "scratch.h"

#include <sys/stat.h>

// One a family, and what the others lack.
static const char *const goldens[] = {
    "llama",
    "llama-bias-headdim",
    "llama-gqa-llama3",
    "mistral-swa",
    "phi3",
    "phi3-longrope",
    "qwen2",
    "qwen3",
    "gpt-neox",
    "gpt-neox-sequential",
    "falcon-7b",
    "falcon-40b",
    "falcon-rw",
    "mpt",
    "mpt-clip",
    "gemma3",
    "gpt-oss",
};
enum { GOLDENS = sizeof goldens / sizeof *goldens };

static inline rill__model *open_model(const char *path) {
    rill__model *m = NULL;
    rill_error err;
    if (rill__model_open(path, &m, &err) != RILL_OK) fail_msg("%s", err.message);
    return m;
}

// The model is refused with one line that begins with its path and holds the words.
static inline void check_refused(const char *path, rill_status right, const char *first,
                                 const char *second) {
    rill__model *m = NULL;
    rill_error err = {0};
    rill_status status = rill__model_open(path, &m, &err);
    if (status != right || strncmp(err.message, path, strlen(path)) != 0 ||
        strchr(err.message, '\n') || !strstr(err.message, first) || !strstr(err.message, second))
        fail_msg("'%s', '%s' expected; status %d: %s", first, second, (int)status, err.message);
    assert_null(m);
}

// Logits after each of n tokens of a fixed text, by the reference's kernels.
static inline void logits_of(const char *path, size_t n, uint32_t vocabulary, float *out) {
    rill_device *device;
    rill_model *model;
    rill_stream *stream;
    rill_error err;
    rill_stream_options o;
    rill_token tokens[64];
    assert_true(n <= sizeof tokens / sizeof *tokens);
    for (uint32_t i = 0; i < n; i++) tokens[i] = (rill_token)((i * 37 + 1) % vocabulary);
    rill_stream_options_default(&o);
    o.sinks = 2;
    o.window = 10;
    const rill_device_options exact = {.exact = true, .threads = 1};
    assert_int_equal(rill_device_open(&exact, &device, &err), RILL_OK);
    if (rill_model_open(device, path, &model, &err) != RILL_OK) fail_msg("%s", err.message);
    if (rill_stream_open(model, &o, &stream, &err) != RILL_OK) fail_msg("%s", err.message);
    assert_int_equal(rill_stream_feed(stream, tokens, n, out, &err), RILL_OK);
    rill_stream_close(&stream);
    rill_model_close(&model);
    rill_device_close(&device);
}

// What to do to one tensor, by its name; the rest stays as it is. Zeroed: nothing.
typedef struct tensor_edit {
    const char *name;
    bool drop;
    const char *renamed;
    const char *dtype;  // a number format of as many bytes
    const char *shape;  // "[64, 2]": of as many values
} tensor_edit;

// A safetensors file that is being put together.
typedef struct tensor_file {
    json_t *header;
    char *data;
    size_t bytes;
} tensor_file;

// A fresh directory below the scratch one.
static inline const char *make_empty_directory(void) {
    static unsigned count;
    char name[32];
    snprintf(name, sizeof name, "model-%u", count++);
    const char *path = scratch_path(name);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

// The same with the config.json of a golden model. "NAME/": the tests' data keep models as
// golden/NAME.
static inline const char *make_model_directory(const char *golden) {
    char command[1200];
    const char *path = make_empty_directory();
    snprintf(command, sizeof command, "cp %s/config.json %s/", test_data("golden", golden), path);
    assert_int_equal(system(command), 0);
    return path;
}

static inline void add_edited(tensor_file *file, const char *name, const json_t *entry,
                              const char *data, const tensor_edit *e) {
    bool meant = e->name && strcmp(e->name, name) == 0;
    if (meant && e->drop) return;
    json_t *out = json_deep_copy(entry), *place = json_object_get(out, "data_offsets");
    size_t from = (size_t)json_integer_value(json_array_get(place, 0));
    size_t n = (size_t)json_integer_value(json_array_get(place, 1)) - from;
    memcpy(file->data + file->bytes, data + from, n);
    json_object_set_new(out, "data_offsets",
                        json_pack("[II]", (json_int_t)file->bytes, (json_int_t)(file->bytes + n)));
    if (meant && e->dtype) json_object_set_new(out, "dtype", json_string(e->dtype));
    if (meant && e->shape) json_object_set_new(out, "shape", json_loads(e->shape, 0, NULL));
    json_object_set_new(file->header, meant && e->renamed ? e->renamed : name, out);
    file->bytes += n;
}

static inline void write_tensors(const tensor_file *file, const char *path) {
    char *text = json_dumps(file->header, JSON_COMPACT);
    uint64_t length = strlen(text);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(&length, 1, 8, out), 8);
    assert_int_equal(fwrite(text, 1, length, out), length);
    assert_int_equal(fwrite(file->data, 1, file->bytes, out), file->bytes);
    assert_int_equal(fclose(out), 0);
    rill__free(text);
}

// Writes the weights of a golden model as DIRECTORY/FILE with the edit done; of `parts` parts, into
// which tensors are dealt in turn, this one. `map` (NULL: none) gets an entry for each tensor.
static inline void write_edited(const char *golden, const char *directory, const char *name,
                                const tensor_edit *e, size_t part, size_t parts, json_t *map) {
    char from[128], path[512], *bytes;
    size_t size, i = 0;
    uint64_t length;
    rill_error err;
    json_t *header, *entry;
    const char *key;
    snprintf(from, sizeof from, "%s/model.safetensors", golden);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(rill__file_read(test_data("golden", from), 1 << 22, &bytes, &size, &err),
                     RILL_OK);
    memcpy(&length, bytes, 8);
    assert_int_equal(rill__json_parse("header", bytes + 8, length, &header, &err), RILL_OK);
    tensor_file file = {.header = json_object(), .data = malloc(size)};
    assert_non_null(file.data);
    json_object_foreach(header, key, entry) {
        if (strcmp(key, "__metadata__") != 0 && i++ % parts == part)
            add_edited(&file, key, entry, bytes + 8 + length, e);
    }
    json_object_foreach(file.header, key, entry) {
        if (map) json_object_set_new(map, key, json_string(name));
    }
    write_tensors(&file, path);
    json_decref(file.header);
    json_decref(header);
    free(file.data);
    rill__free(bytes);
}

// A model in one file with the edit done; returns the directory.
static inline const char *edited_model(const char *golden, const tensor_edit *e) {
    const char *path = make_model_directory(golden);
    write_edited(golden, path, "model.safetensors", e, 0, 1, NULL);
    return path;
}

static inline void write_json(const char *directory, const char *name, const json_t *value) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(json_dump_file(value, path, 0), 0);
}

// A model in three files with their index.
static inline const char *sharded_model(const char *golden) {
    const char *path = make_model_directory(golden);
    const tensor_edit nothing = {0};
    json_t *index = json_object(), *map = json_object();
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05zu-of-00003.safetensors", i + 1);
        write_edited(golden, path, name, &nothing, i, 3, map);
    }
    json_object_set_new(index, "weight_map", map);
    write_json(path, "model.safetensors.index.json", index);
    json_decref(index);
    return path;
}

// What to do to a GGUF file: leave out a key, put others in (their function comes after the rest),
// leave out a tensor or give it another shape of as many values. Zeroed: nothing.
typedef struct gguf_edit {
    const char *key;
    void (*more)(rill__gguf_writer *w);
    const char *tensor;
    bool drop;
    uint32_t n_dims;  // 0: as it was
    uint64_t shape[2];
} gguf_edit;

static inline bool is_meant(const gguf_edit *e, const rill__tensor *t) {
    return e->tensor && strcmp(e->tensor, t->name) == 0;
}

static inline void copy_header(const rill__gguf *g, const gguf_edit *e, rill__gguf_writer *w) {
    for (size_t i = 0; i < g->n_values; i++) {
        const rill__gguf_string *key = &g->values[i].key;
        if (!e->key || strlen(e->key) != key->length || memcmp(e->key, key->data, key->length) != 0)
            rill__gguf_put_value(w, &g->values[i]);
    }
    if (e->more) e->more(w);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const rill__tensor *t = &g->tensors[i];
        bool other = is_meant(e, t) && e->n_dims;
        if (!is_meant(e, t) || !e->drop)
            rill__gguf_add_tensor(w, t->name, t->type, other ? e->n_dims : t->n_dims,
                                  other ? e->shape : t->shape);
    }
}

// Writes SOURCE as NAME in the scratch directory with the edit done and returns its path.
static inline const char *edited_gguf(const char *source, const char *name, const gguf_edit *e) {
    const char *path = scratch_path(name);
    rill__gguf g;
    rill__gguf_writer w;
    rill_error err;
    assert_int_equal(rill__gguf_open(source, &g, &err), RILL_OK);
    rill__gguf_writer_init(&w, &err);
    copy_header(&g, e, &w);
    assert_int_equal(rill__gguf_writer_begin(&w, path), RILL_OK);
    for (size_t i = 0; i < g.n_tensors; i++) {
        const rill__tensor *t = &g.tensors[i];
        if (is_meant(e, t) && e->drop) continue;
        assert_int_equal(rill__gguf_write_data(&w, t->data, t->bytes), RILL_OK);
        assert_int_equal(rill__gguf_end_tensor(&w), RILL_OK);
    }
    assert_int_equal(rill__gguf_writer_finish(&w), RILL_OK);
    rill__gguf_writer_deinit(&w);
    rill__gguf_close(&g);
    return path;
}

// The golden model as GGUF in the scratch directory; its path in a static buffer.
static inline const char *gguf_of(const char *golden, rill_type type) {
    static char path[256];
    rill_error err;
    snprintf(path, sizeof path, "%s/%s.gguf", scratch_directory, golden);
    if (rill_convert(test_data("golden", golden), path, &(rill_convert_options){.type = type}, NULL,
                     NULL, &err) != RILL_OK)
        fail_msg("%s", err.message);
    return path;
}

#endif
