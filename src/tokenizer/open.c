// SPDX-License-Identifier: MIT
// Opening: one file, or a directory with the settings that lie beside it.
#include "tokenizer/reader.h"

#include "base/file.h"

#include <string.h>

enum {
    MAX_FILE = 1 << 28,      // bytes of a tokenizer
    MAX_SETTINGS = 1 << 24,  // bytes of any other file
};

static rill_status read_memory(const rill__reader *r, const char *data, size_t length) {
    size_t i = 0;
    while (i < length && strchr(" \t\r\n", data[i]) && data[i]) i++;
    if (i == length || data[i] != '{') return rill__read_pieces(r, (const uint8_t *)data, length);
    json_t *root = NULL;
    rill_status status = rill__json_parse(r->name, data, length, &root, r->err);
    if (status == RILL_OK) status = rill__read_json(r, root);
    json_decref(root);
    return status;
}

// Finishes what a reader began: *out, or closed.
static rill_status conclude(const rill__reader *r, rill_status status, rill__tokenizer **out) {
    rill__tokenizer *t = r->t;
    if (status == RILL_OK) status = rill__tokenizer_finish(t, r->err);
    if (status == RILL_OK)
        *out = t;
    else
        rill__tokenizer_close(&t);
    return status;
}

rill_status rill__tokenizer_open_memory(const char *name, const char *data, size_t length,
                                        rill__tokenizer **out, rill_error *err) {
    rill__reader r = {name, rill__tokenizer_new(), err};
    if (!r.t) return rill__fail_memory(err, "a tokenizer", sizeof *r.t);
    return conclude(&r, read_memory(&r, data, length), out);
}

static rill_status read_file(const rill__reader *r) {
    char *data = NULL;
    size_t length = 0;
    rill_status status = rill__file_read(r->name, MAX_FILE, &data, &length, r->err);
    if (status == RILL_OK) status = read_memory(r, data, length);
    rill__free(data);
    return status;
}

rill_status rill__tokenizer_open_file(const char *path, rill__tokenizer **out, rill_error *err) {
    rill__reader r = {path, rill__tokenizer_new(), err};
    if (!r.t) return rill__fail_memory(err, "a tokenizer", sizeof *r.t);
    return conclude(&r, read_file(&r), out);
}

rill_status rill__tokenizer_open_directory(const char *directory, rill__tokenizer **out,
                                           rill_error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    char *path = NULL;
    for (size_t i = 0; i < 2; i++) {
        path = rill__path_join(directory, names[i]);
        if (!path) return rill__fail_memory(err, "a path", strlen(directory));
        if (rill__file_exists(path)) break;
        rill__free(path);
        path = NULL;
    }
    *out = NULL;
    if (!path) return RILL_OK;
    rill__reader r = {path, rill__tokenizer_new(), err};
    rill_status status = r.t ? read_file(&r) : rill__fail_memory(err, "a tokenizer", sizeof *r.t);
    if (status == RILL_OK) status = rill__read_settings(&r, directory);
    if (r.t) status = conclude(&r, status, out);
    rill__free(path);
    return status;
}

// ---- Settings -------------------------------------------------------------------------------

// A file of the directory as JSON; *out NULL if there is none.
static rill_status load(const rill__reader *r, const char *directory, const char *name,
                        json_t **out) {
    char *path = rill__path_join(directory, name);
    if (!path) return rill__fail_memory(r->err, "a path", strlen(directory));
    rill_status status = RILL_OK;
    *out = NULL;
    if (rill__file_exists(path)) status = rill__json_load(path, MAX_SETTINGS, out, r->err);
    rill__free(path);
    return status;
}

// "bos_token" and the like: a text, or an object with one. -1 if there is none, or it is no token.
static rill_token named_token(const rill__tokenizer *t, const json_t *settings, const char *key) {
    const json_t *value = json_object_get(settings, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (!json_is_string(value)) return -1;
    return rill__tokenizer_find(t, json_string_value(value), json_string_length(value));
}

static void read_names(rill__tokenizer *t, const json_t *settings) {
    const struct {
        const char *key;
        rill_token *id;
    } names[] = {{"bos_token", &t->bos}, {"eos_token", &t->eos}, {"pad_token", &t->pad}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rill_token id = named_token(t, settings, names[i].key);
        if (id >= 0) *names[i].id = id;
    }
}

// Whether a begin and an end token are added: tokenizer.json's template says so itself, and the
// settings only where it adds none; a SentencePiece model follows the settings.
static void read_adding(rill__tokenizer *t, const json_t *settings, bool pieces) {
    if (pieces && json_is_false(json_object_get(settings, "add_bos_token"))) t->n_before = 0;
    if (pieces && t->n_before > 0 && t->bos >= 0) t->before[0] = t->bos;
    if (rill__json_flag(settings, "add_bos_token", false) && t->n_before == 0 && t->bos >= 0)
        t->before[t->n_before++] = t->bos;
    if (rill__json_flag(settings, "add_eos_token", false) && t->n_after == 0 && t->eos >= 0)
        t->after[t->n_after++] = t->eos;
}

static rill_status read_ends(rill__tokenizer *t, const json_t *settings) {
    const json_t *ids = json_object_get(settings, "eos_token_id");
    if (json_is_integer(ids)) {
        json_int_t id = json_integer_value(ids);
        if (id >= 0 && id < RILL_MAX_TOKENS) rill__tokenizer_add_end(t, (rill_token)id);
    }
    for (size_t i = 0; i < json_array_size(ids) && i < RILL_MAX_ENDS; i++) {
        const json_t *item = json_array_get(ids, i);
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id >= 0 && id < RILL_MAX_TOKENS) rill__tokenizer_add_end(t, (rill_token)id);
    }
    return RILL_OK;
}

static rill_status keep_template(const rill__reader *r, const char *text, size_t length) {
    rill__free(r->t->chat_source);
    r->t->chat_source = rill__strndup(text, length);
    r->t->chat_source_length = length;
    return r->t->chat_source ? RILL_OK : rill__fail_memory(r->err, "a chat template", length);
}

// A text, or a list of named ones: the one named "default", else the first.
static rill_status read_template(const rill__reader *r, const json_t *settings) {
    const json_t *value = json_object_get(settings, "chat_template");
    const json_t *chosen = json_is_string(value) ? value : NULL;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const json_t *text = json_object_get(item, "template");
        if (json_is_string(text) && (!chosen || (name && strcmp(name, "default") == 0)))
            chosen = text;
    }
    if (!chosen) return RILL_OK;
    return keep_template(r, json_string_value(chosen), json_string_length(chosen));
}

static rill_status read_jinja(const rill__reader *r, const char *directory) {
    char *path = rill__path_join(directory, "chat_template.jinja"), *text = NULL;
    size_t length = 0;
    if (!path) return rill__fail_memory(r->err, "a path", strlen(directory));
    rill_status status = RILL_OK;
    if (rill__file_exists(path)) {
        status = rill__file_read(path, MAX_SETTINGS, &text, &length, r->err);
        if (status == RILL_OK) status = keep_template(r, text, length);
    }
    rill__free(text);
    rill__free(path);
    return status;
}

// Tokens that tokenizer_config.json adds to a SentencePiece model. A tokenizer.json lists its own.
static rill_status read_added(const rill__reader *r, const json_t *settings) {
    rill__tokenizer *t = r->t;
    const char *key;
    json_t *value;
    rill_status status = RILL_OK;
    json_object_foreach(json_object_get(settings, "added_tokens_decoder"), key, value) {
        char *end;
        unsigned long id = strtoul(key, &end, 10);
        rill__text text = rill__json_text(value, "content");
        // Only those that the model has: others would need a larger model.
        if (*end || !*key || id >= t->n_tokens || !text.data) continue;
        rill__text own = rill__strings_get(&t->texts, id);
        if (own.length != text.length || memcmp(own.data, text.data, own.length) != 0) continue;
        rill__added added = {
            .id = (rill_token)id,
            .special = rill__json_flag(value, "special", false),
            .left_strip = rill__json_flag(value, "lstrip", false),
            .right_strip = rill__json_flag(value, "rstrip", false),
            .single_word = rill__json_flag(value, "single_word", false),
        };
        status = rill__tokenizer_set_added(t, &added, r->err);
        if (status != RILL_OK) return status;
    }
    return status;
}

rill_status rill__read_settings(const rill__reader *r, const char *directory) {
    rill__tokenizer *t = r->t;
    bool pieces = t->pieces.active;
    json_t *map = NULL, *config = NULL, *generation = NULL;
    rill_status status = load(r, directory, "special_tokens_map.json", &map);
    if (status == RILL_OK) status = load(r, directory, "tokenizer_config.json", &config);
    if (status == RILL_OK) status = load(r, directory, "generation_config.json", &generation);
    if (status == RILL_OK && pieces) status = read_added(r, config);
    if (status == RILL_OK) {
        read_names(t, map);
        read_names(t, config);
        read_adding(t, config, pieces);
        rill__tokenizer_add_end(t, t->eos);
        status = read_ends(t, generation);
    }
    if (status == RILL_OK) status = read_template(r, config);
    if (status == RILL_OK) status = read_jinja(r, directory);
    json_decref(map);
    json_decref(config);
    json_decref(generation);
    return status;
}
