// SPDX-License-Identifier: MIT
// Opens models: source, family, description, weights, tokenizer, in this order.
#include "model/model.h"

#include "model/weights.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The last part of a path, without ".gguf".
static void name_from_path(const char *path, char *out, size_t capacity) {
    char whole[PATH_MAX];
    const char *text = realpath(path, whole) ? whole : path;  // "." has a name too
    const char *slash = strrchr(text, '/');
    const char *name = slash && slash[1] ? slash + 1 : text;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".gguf") == 0) length -= 5;
    snprintf(out, capacity, "%.*s", (int)(length < capacity ? length : capacity - 1), name);
}

static rill_status describe_directory(const rill__source *s, const rill__family **family,
                                      rill__description *d, uint32_t *biases, rill_error *err) {
    rill__config c = {.path = s->config_path, .object = s->config, .err = err};
    const char *type = rill__config_text(&c, "model_type", "");
    if (c.status == RILL_OK && *type == '\0')
        rill__config_fail(&c, RILL_EFORMAT, "model_type", "it is missing");
    if (c.status != RILL_OK) return c.status;
    *family = rill__family_find(type);
    if (!*family) {
        char known[256];
        rill__family_list(false, known, sizeof known);
        return rill__fail(err, RILL_EUNSUPPORTED, "%s: model_type: '%.60s'; %s are known", c.path,
                          type, known);
    }
    snprintf(d->family, sizeof d->family, "%s", (*family)->name);
    (*family)->read_config(&c, d, biases);
    return c.status;
}

static rill_status describe_gguf(const rill__source *s, const rill__family **family,
                                 rill__description *d, rill_error *err) {
    rill__metadata m = {.gguf = &s->gguf, .architecture = "", .err = err};
    char architecture[64];
    rill__metadata_text(&m, ".general.architecture", architecture, sizeof architecture);
    if (m.status == RILL_OK && architecture[0] == '\0')
        rill__metadata_fail(&m, RILL_EFORMAT, ".general.architecture", "it is missing");
    if (m.status != RILL_OK) return m.status;
    *family = rill__family_find_gguf(architecture);
    if (!*family) {
        char known[256];
        rill__family_list(true, known, sizeof known);
        return rill__fail(err, RILL_EUNSUPPORTED, "%s: general.architecture: '%s'; %s are known",
                          s->path, architecture, known);
    }
    snprintf(d->family, sizeof d->family, "%s", (*family)->name);
    m.architecture = (*family)->architecture;
    rill__metadata_text(&m, ".general.name", d->name, sizeof d->name);
    rill__metadata_describe(&m, *family, d);
    return m.status;
}

static rill_status open_weights(rill__model *m, rill_error *err) {
    const rill__source *s = m->file.source;
    const rill__family *family = NULL;
    uint32_t biases = 0;
    rill_status status = s->is_gguf ? describe_gguf(s, &family, &m->description, err)
                                    : describe_directory(s, &family, &m->description, &biases, err);
    if (status == RILL_OK)
        status =
            rill__description_check(&m->description, s->is_gguf ? s->path : s->config_path, err);
    if (status == RILL_OK) status = rill__weights_bind(m, family, s, biases, err);
    if (status != RILL_OK) return status;
    if (!m->description.name[0])
        name_from_path(s->path, m->description.name, sizeof m->description.name);
    rill__weights_summarise(m);
    return RILL_OK;
}

rill_status rill__model_open(const char *path, rill__model **out, rill_error *err) {
    rill__model *m = rill__calloc(1, sizeof *m);
    if (!m) return rill__fail_memory(err, "a model", sizeof *m);
    rill_status status = rill__source_open(path, &m->file.source, err);
    if (status == RILL_OK) status = open_weights(m, err);
    if (status == RILL_OK)
        status = m->file.source->is_gguf
                     ? rill__gguf_tokenizer(&m->file.source->gguf, &m->tokenizer, err)
                     : rill__tokenizer_open_directory(path, &m->tokenizer, err);
    if (status != RILL_OK) {
        rill__model_close(&m);
        return status;
    }
    *out = m;
    return RILL_OK;
}

// Whether a file begins as GGUF does.
static bool is_gguf(const char *path) {
    rill__mapping mapping;
    if (rill__mapping_open(path, &mapping, NULL) != RILL_OK) return false;
    bool is = mapping.size >= 4 && memcmp(mapping.data, "GGUF", 4) == 0;
    rill__mapping_close(&mapping);
    return is;
}

rill_status rill__model_open_tokenizer(const char *path, rill__model **out, rill_error *err) {
    rill__model *m = rill__calloc(1, sizeof *m);
    if (!m) return rill__fail_memory(err, "a model", sizeof *m);
    rill_status status;
    if (rill__directory_exists(path)) {
        status = rill__tokenizer_open_directory(path, &m->tokenizer, err);
    } else if (is_gguf(path)) {
        rill__gguf gguf;
        status = rill__gguf_open(path, &gguf, err);
        if (status == RILL_OK) {
            status = rill__gguf_tokenizer(&gguf, &m->tokenizer, err);
            rill__gguf_close(&gguf);
        }
    } else {
        status = rill__tokenizer_open_file(path, &m->tokenizer, err);
    }
    if (status == RILL_OK && !m->tokenizer)
        status = rill__fail(err, RILL_EUNSUPPORTED, "%s: there is no tokenizer in it", path);
    if (status != RILL_OK) {
        rill__model_close(&m);
        return status;
    }
    *out = m;
    return RILL_OK;
}

void rill__model_close(rill__model **model) {
    rill__model *m = *model;
    *model = NULL;
    if (!m) return;
    rill__tokenizer_close(&m->tokenizer);
    size_t n = m->parameters ? rill__parameters_count(m->description.n_layers) : 0;
    for (size_t i = 0; i < n; i++) {
        rill__free(m->parameters[i].weight_memory);
        rill__free(m->parameters[i].bias_memory);
    }
    rill__free(m->parameters);
    rill__description_deinit(&m->description);
    rill__source_close(&m->file.source);
    rill__unmap_memory(m->file.memory, m->file.memory_bytes);
    rill__free(m);
}

void rill__model_rest(const rill__model *m) {
    if (!m->file.source) return;
    rill__source_rest(m->file.source);
    const rill__tensor *embedding = &rill__model_parameter(m, RILL_WEIGHT_EMBEDDING, 0)->weight;
    rill__mapping_touch(embedding->data, embedding->bytes);
}

const rill__parameter *rill__model_parameter(const rill__model *m, rill__weight_role role,
                                             uint32_t layer) {
    return &m->parameters[rill__parameter_index(role, layer)];
}
