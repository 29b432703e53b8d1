// SPDX-License-Identifier: MIT
// jansson with our error messages.
#ifndef RILL_BASE_JSON_H
#define RILL_BASE_JSON_H

#include "base/base.h"
#include "base/buffer.h"

#include <jansson.h>

// Parses `text`; `name` (a path) leads the message, which gives line and column. The caller owns
// the value (json_decref). RILL_EFORMAT or RILL_ENOMEM. Depth is bounded by jansson (2048), so a
// hostile file cannot exhaust the stack. Threads: any.
//
// jansson's functions for memory belong to the whole process. The first call puts ours in front of
// those that are set then, for good. They hand on to them: a program's own values, made before or
// later, are not touched. While rill_allocator_replace is in force they use that allocator, for the
// program's values as well, which therefore must not outlive the change either way.
RILL_NODISCARD rill_status rill__json_parse(const char *name, const char *text, size_t length,
                                            json_t **out, rill_error *err);
// Reads and parses a file of at most `ceiling` bytes.
RILL_NODISCARD rill_status rill__json_load(const char *path, size_t ceiling, json_t **out,
                                           rill_error *err);

// Appends a value as text, with jansson's flags (JSON_COMPACT ...). RILL_ENOMEM, also if `value` is
// NULL: what jansson gives where memory was out.
RILL_NODISCARD rill_status rill__json_append(const json_t *value, size_t flags, rill__bytes *out,
                                             rill_error *err);

#endif
