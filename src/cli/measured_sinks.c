// SPDX-License-Identifier: MIT
// One small JSON file a model, below the cache folder of the XDG base directory specification.
#include "cli/measured_sinks.h"

#include "base/file.h"
#include "base/json.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CEILING = 65536, MOST_SINKS = 4096 };

// "rill-30m-q8_0-31200000-33000000.json"; letters that a file's name should not have become '_'.
static void file_name(const rill_model_info *m, char *out, size_t capacity) {
    snprintf(out, capacity, "%s-%s-%llu-%llu.json", m->name, rill_type_name(m->weight_type),
             (unsigned long long)m->n_parameters, (unsigned long long)m->weight_bytes);
    for (char *c = out; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c)) *c = '_';
    if (out[0] == '.') out[0] = '_';
}

// False if there is no home, or it is too long.
static bool file_path(const rill_model_info *m, char path[PATH_MAX]) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char name[256];
    int length = 0;
    file_name(m, name, sizeof name);
    if (cache && *cache == '/')
        length = snprintf(path, PATH_MAX, "%s/rill/sinks/%s", cache, name);
    else if (home && *home == '/')
        length = snprintf(path, PATH_MAX, "%s/.cache/rill/sinks/%s", home, name);
    return length > 0 && length < PATH_MAX;
}

// Creates the folders of `path`; the file's own name is left out.
static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

rill_status rill__measured_sinks_save(const rill_model_info *model,
                                      const rill__measured_sinks *found, char **path,
                                      rill_error *err) {
    char place[PATH_MAX];
    if (!file_path(model, place))
        return rill__fail(err, RILL_EIO,
                          "neither XDG_CACHE_HOME nor HOME names a folder to keep "
                          "the measured sinks in");
    make_folders(place);
    json_t *object = json_pack("{s:s, s:I, s:I, s:I, s:f, s:I}", "model", model->name, "sinks",
                               (json_int_t)found->sinks, "capacity", (json_int_t)found->capacity,
                               "tokens", (json_int_t)found->tokens, "perplexity", found->perplexity,
                               "parameters", (json_int_t)model->n_parameters);
    char text[1024];
    size_t length =
        object ? json_dumpb(object, text, sizeof text, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : 0;
    json_decref(object);
    *path = rill__strdup(place);
    rill_status status = length > 0 && length < sizeof text && *path
                             ? rill__file_write(place, text, length, err)
                             : rill__fail_memory(err, "measured sinks", sizeof text);
    if (status == RILL_OK) return RILL_OK;
    rill__free(*path);
    *path = NULL;
    return status;
}

bool rill__measured_sinks_load(const rill_model_info *model, rill__measured_sinks *out) {
    char path[PATH_MAX];
    json_t *object = NULL;
    const char *name = NULL;
    json_int_t sinks = -1, capacity = 0, tokens = 0, parameters = 0;
    double perplexity = 0;
    if (!file_path(model, path) || !rill__file_exists(path) ||
        rill__json_load(path, CEILING, &object, NULL) != RILL_OK)
        return false;
    bool right = json_unpack(object, "{s:s, s:I, s:I, s:I, s:F, s:I}", "model", &name, "sinks",
                             &sinks, "capacity", &capacity, "tokens", &tokens, "perplexity",
                             &perplexity, "parameters", &parameters) == 0 &&
                 strcmp(name, model->name) == 0 && (uint64_t)parameters == model->n_parameters &&
                 sinks >= 0 && sinks <= MOST_SINKS && capacity > 0 && capacity <= UINT32_MAX &&
                 tokens > 0;
    json_decref(object);
    if (!right) return false;
    *out = (rill__measured_sinks){.sinks = (uint32_t)sinks,
                                  .capacity = (uint32_t)capacity,
                                  .perplexity = perplexity,
                                  .tokens = (uint64_t)tokens};
    return true;
}

void rill__measured_sinks_apply(const rill_model_info *model, rill_stream_options *options,
                                bool silent) {
    rill__measured_sinks found;
    if (options->method != RILL_METHOD_STREAMING) return;
    bool measured = rill__measured_sinks_load(model, &found);
    if (measured) options->sinks = found.sinks;
    if (silent) return;
    if (measured)
        fprintf(stderr, "rill: sinks: %u, as measured for this model\n", found.sinks);
    else
        fprintf(stderr,
                "rill: sinks: 4: nothing was measured for this model yet; rill eval sinks MODEL -f "
                "TEXT does\n");
}
