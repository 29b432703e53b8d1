// SPDX-License-Identifier: MIT
// Names and places of the golden models.
#include "support/golden.h"

#include "support/tensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void stop(const char *path) {
    perror(path);
    abort();
}

// The weights of a golden model with some keys of its config.json replaced.
static void make_edited(const char *directory, const char *golden, json_t *edits) {
    char to[600], from[600];
    snprintf(to, sizeof to, "%s/model.safetensors", directory);
    snprintf(from, sizeof from, "%s/%s/model.safetensors", test_data("golden"), golden);
    if (!edits || symlink(from, to) != 0) stop(to);
    snprintf(from, sizeof from, "%s/%s/config.json", test_data("golden"), golden);
    json_t *config = json_load_file(from, 0, NULL);
    if (!config || json_object_update(config, edits) != 0) stop(from);
    snprintf(to, sizeof to, "%s/config.json", directory);
    if (json_dump_file(config, to, 0) != 0) stop(to);
    json_decref(config);
    json_decref(edits);
}

// A scale base so small that the first pair fades to an eighth over 32 tokens.
static json_t *xpos_keys(void) {
    return json_pack("{s:{s:s, s:f, s:i, s:f}}", "rope_parameters", "rope_type", "xpos",
                     "rope_theta", 10000.0, "xpos_scale_base", 20, "xpos_gamma", 0.4);
}

const char *golden_directory(const char *name) {
    static char path[512];
    bool xpos = strcmp(name, "llama-xpos") == 0, all = strcmp(name, "gpt-oss-all") == 0;
    if (!xpos && !all) {
        snprintf(path, sizeof path, "%s/%s", test_data("golden"), name);
        return path;
    }
    snprintf(path, sizeof path, "%s/%s", test_directory(), name);
    if (mkdir(path, 0700) != 0) return path;  // made before
    if (xpos)
        make_edited(path, "llama", xpos_keys());
    else
        make_edited(path, "gpt-oss", json_pack("{s:i}", "num_experts_per_tok", 4));
    return path;
}
