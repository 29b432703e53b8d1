// SPDX-License-Identifier: MIT
// Reading settings: from a Hugging Face config.json, or from GGUF metadata. Each keeps its first
// failure, so that a family reads its settings one after another and looks at the status once.
#ifndef RILL_MODEL_CONFIG_H
#define RILL_MODEL_CONFIG_H

#include "base/json.h"
#include "format/gguf.h"

typedef struct rill__config {
    const char *path;      // leads the messages
    const json_t *object;  // the whole file, or a part of it
    rill_status status;
    rill_error *err;
} rill__config;

// A missing or null key gives `fallback`. A value of another kind or out of range is RILL_EFORMAT.
uint32_t rill__config_u32(rill__config *c, const char *key, uint32_t fallback);
double rill__config_real(rill__config *c, const char *key, double fallback);
bool rill__config_bool(rill__config *c, const char *key, bool fallback);
// Borrowed from the JSON.
const char *rill__config_text(rill__config *c, const char *key, const char *fallback);
// True if the key is there and not null.
bool rill__config_has(const rill__config *c, const char *key);
// A missing key is RILL_EFORMAT.
uint32_t rill__config_u32_needed(rill__config *c, const char *key);
// The part of that name as settings of their own (object NULL if there is none; what is no object
// is RILL_EFORMAT); failures go to the same place if the caller passes them on with
// rill__config_join.
rill__config rill__config_part(rill__config *c, const char *key);
void rill__config_join(rill__config *c, const rill__config *part);
// Latches a failure with "PATH: KEY: ..." in front.
void rill__config_fail(rill__config *c, rill_status status, const char *key, const char *format,
                       ...) RILL_PRINTF(4, 5);

typedef struct rill__metadata {
    const rill__gguf *gguf;
    const char *architecture;  // prefix of the keys
    rill_status status;
    rill_error *err;
} rill__metadata;

// Keys are given without the architecture: "block_count" reads "llama.block_count"; those that
// belong to none begin with a dot: ".general.name".
uint32_t rill__metadata_u32(rill__metadata *m, const char *key, uint32_t fallback);
uint32_t rill__metadata_u32_needed(rill__metadata *m, const char *key);
double rill__metadata_real(rill__metadata *m, const char *key, double fallback);
bool rill__metadata_bool(rill__metadata *m, const char *key, bool fallback);
// Copies a text, cut to the buffer; "" if it is missing.
void rill__metadata_text(rill__metadata *m, const char *key, char *out, size_t capacity);
const rill__gguf_value *rill__metadata_value(const rill__metadata *m, const char *key);
bool rill__metadata_has(const rill__metadata *m, const char *key);
void rill__metadata_fail(rill__metadata *m, rill_status status, const char *key, const char *format,
                         ...) RILL_PRINTF(4, 5);

#endif
