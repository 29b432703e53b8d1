// SPDX-License-Identifier: MIT
// Opens the files of a model. A directory has config.json and its weights in model.safetensors, or
// cut into several files that model.safetensors.index.json names.
#include "model/source.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_NAME = 256,
    MAX_CONFIG = 16 << 20,
    MAX_INDEX = 256 << 20,
    MAX_SHARDS = 4096,
};

// A shard's own file name: nothing that leads out of the directory.
static bool is_plain_name(const char *name) {
    return name && *name && *name != '.' && !strchr(name, '/');
}

static rill_status open_shard(rill__source *s, const char *name, rill_error *err) {
    char *path = rill__path_join(s->path, name);
    if (!path) return rill__fail_memory(err, "a path", strlen(s->path) + strlen(name));
    rill_status status = rill__safetensors_open(path, &s->shards[s->n_shards], err);
    rill__free(path);
    if (status == RILL_OK) s->n_shards++;
    return status;
}

// The names of the files in the index, each once, as keys of an object.
static rill_status shard_names(const char *path, const json_t *map, json_t *names,
                               rill_error *err) {
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value) {
        const char *name = json_string_value(value);
        if (!is_plain_name(name))
            return rill__fail(err, RILL_EFORMAT,
                              "%s: weight_map: '%.60s': a file of the directory is right", path,
                              tensor);
        if (!json_object_get(names, name) && json_object_set_new(names, name, json_null()) != 0)
            return rill__fail_memory(err, path, strlen(name));
    }
    if (json_object_size(names) < 1 || json_object_size(names) > MAX_SHARDS)
        return rill__fail(err, RILL_EFORMAT, "%s: weight_map: %zu files; 1 to %d are right", path,
                          json_object_size(names), MAX_SHARDS);
    return RILL_OK;
}

// Collects the tensors of all files, those that the index (NULL: none) says lie there.
static rill_status collect_tensors(rill__source *s, const json_t *map, const json_t *names,
                                   rill_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_shards; i++) n += s->shards[i].n_tensors;
    s->tensors = rill__calloc(n, sizeof *s->tensors);
    if (!s->tensors) return rill__fail_memory(err, s->path, n * sizeof *s->tensors);
    void *at = names ? json_object_iter((json_t *)(uintptr_t)names) : NULL;
    for (size_t i = 0; i < s->n_shards; i++) {
        const char *file = at ? json_object_iter_key(at) : NULL;
        for (size_t j = 0; j < s->shards[i].n_tensors; j++) {
            const rill__tensor *t = &s->shards[i].tensors[j];
            const char *wanted = json_string_value(json_object_get(map, t->name));
            if (!map || (wanted && strcmp(wanted, file) == 0)) s->tensors[s->n_tensors++] = *t;
        }
        if (at) at = json_object_iter_next((json_t *)(uintptr_t)names, at);
    }
    rill__tensors_sort(s->tensors, s->n_tensors);
    return RILL_OK;
}

static rill_status open_sharded(rill__source *s, const char *path, rill_error *err) {
    json_t *index = NULL, *names = json_object();
    const json_t *map = NULL;
    rill_status status = names ? RILL_OK : rill__fail_memory(err, path, sizeof *names);
    if (status == RILL_OK) status = rill__json_load(path, MAX_INDEX, &index, err);
    if (status == RILL_OK) {
        map = json_object_get(index, "weight_map");
        if (!json_is_object(map))
            status = rill__fail(err, RILL_EFORMAT, "%s: weight_map: an object is right", path);
    }
    if (status == RILL_OK) status = shard_names(path, map, names, err);
    if (status == RILL_OK) {
        s->shards = rill__calloc(json_object_size(names), sizeof *s->shards);
        if (!s->shards) status = rill__fail_memory(err, path, MAX_SHARDS * sizeof *s->shards);
    }
    void *at = status == RILL_OK ? json_object_iter(names) : NULL;
    for (; at && status == RILL_OK; at = json_object_iter_next(names, at))
        status = open_shard(s, json_object_iter_key(at), err);
    if (status == RILL_OK) status = collect_tensors(s, map, names, err);
    json_decref(names);
    json_decref(index);
    return status;
}

static rill_status open_weights(rill__source *s, rill_error *err) {
    char *index = rill__path_join(s->path, "model.safetensors.index.json");
    char *whole = rill__path_join(s->path, "model.safetensors");
    rill_status status;
    if (!index || !whole) {
        status = rill__fail_memory(err, "a path", strlen(s->path));
    } else if (rill__file_exists(index) && !rill__file_exists(whole)) {
        status = open_sharded(s, index, err);
    } else if (!rill__file_exists(whole)) {
        status = rill__fail(err, RILL_EIO,
                            "%s: no weights: model.safetensors, or several files and "
                            "model.safetensors.index.json, are right",
                            s->path);
    } else {
        s->shards = rill__calloc(1, sizeof *s->shards);
        status = s->shards ? open_shard(s, "model.safetensors", err)
                           : rill__fail_memory(err, s->path, sizeof *s->shards);
        if (status == RILL_OK) status = collect_tensors(s, NULL, NULL, err);
    }
    rill__free(index);
    rill__free(whole);
    return status;
}

static rill_status open_directory(rill__source *s, rill_error *err) {
    s->config_path = rill__path_join(s->path, "config.json");
    if (!s->config_path) return rill__fail_memory(err, "a path", strlen(s->path));
    rill_status status = rill__json_load(s->config_path, MAX_CONFIG, &s->config, err);
    if (status != RILL_OK) return status;
    if (!json_is_object(s->config))
        return rill__fail(err, RILL_EFORMAT, "%s: an object is right", s->config_path);
    status = open_weights(s, err);
    return status;
}

rill_status rill__source_open(const char *path, rill__source **out, rill_error *err) {
    rill__source *s = rill__calloc(1, sizeof *s);
    if (!s) return rill__fail_memory(err, "a model", sizeof *s);
    s->path = rill__strdup(path);
    rill_status status = s->path ? RILL_OK : rill__fail_memory(err, "a path", strlen(path) + 1);
    if (status == RILL_OK && rill__directory_exists(path)) {
        status = open_directory(s, err);
    } else if (status == RILL_OK) {
        s->is_gguf = true;
        status = rill__gguf_open(s->path, &s->gguf, err);
    }
    if (status != RILL_OK) {
        rill__source_close(&s);
        return status;
    }
    *out = s;
    return RILL_OK;
}

void rill__source_close(rill__source **source) {
    rill__source *s = *source;
    *source = NULL;
    if (!s) return;
    if (s->is_gguf) rill__gguf_close(&s->gguf);
    for (size_t i = 0; i < s->n_shards; i++) rill__safetensors_close(&s->shards[i]);
    rill__free(s->shards);
    rill__free(s->tensors);
    json_decref(s->config);
    rill__free(s->config_path);
    rill__free(s->path);
    rill__free(s);
}

static const rill__tensor *find_tensor(const rill__source *s, const char *name) {
    if (s->is_gguf) return rill__gguf_tensor(&s->gguf, name);
    const char *dot = strchr(name, '.'), *rest = dot ? dot + 1 : name;
    char other[MAX_NAME];
    const rill__tensor *t = rill__tensors_find(s->tensors, s->n_tensors, name);
    if (!t) t = rill__tensors_find(s->tensors, s->n_tensors, rest);
    if (!t && snprintf(other, sizeof other, "language_model.%s", name) < MAX_NAME)
        t = rill__tensors_find(s->tensors, s->n_tensors, other);
    if (!t && snprintf(other, sizeof other, "model.language_model.%s", rest) < MAX_NAME)
        t = rill__tensors_find(s->tensors, s->n_tensors, other);
    return t;
}

void rill__source_rest(const rill__source *s) {
    if (s->is_gguf) rill__mapping_rest(&s->gguf.mapping);
    for (size_t i = 0; i < s->n_shards; i++) rill__mapping_rest(&s->shards[i].mapping);
}

const rill__tensor *rill__source_tensor(const rill__source *s, const char *name) {
    const rill__tensor *t = find_tensor(s, name);
    return t && t->type != RILL_TENSOR_BYTES ? t : NULL;
}

const rill__tensor *rill__source_bytes(const rill__source *s, const char *name) {
    const rill__tensor *t = find_tensor(s, name);
    return t && t->type == RILL_TENSOR_BYTES ? t : NULL;
}
