// SPDX-License-Identifier: MIT
// Text from anywhere, of any length, to tokens, in bounded memory.
#ifndef RILL_CLI_READER_H
#define RILL_CLI_READER_H

#include "rill/rill.h"

#include "base/base.h"

// Receives tokens as they are made. Anything but RILL_OK ends the reading and is passed on;
// RILL_EINTERRUPTED ends it without an error.
typedef rill_status (*rill__take_fn)(void *user, const rill_token *tokens, size_t n,
                                     rill_error *err);

// Encodes `text` (if not NULL), or else the file `path` ("-" is standard input), and hands the
// tokens on. flags as rill_encoder_open. RILL_EINTERRUPTED after Ctrl-C.
RILL_NODISCARD rill_status rill__read_tokens(const rill_model *model, const char *text,
                                             const char *path, unsigned flags, rill__take_fn take,
                                             void *user, rill_error *err);

// Ids, white space or commas between them, from a string or a file ("-" is standard input). *tokens
// is the caller's (rill__free). RILL_EINVAL names what is no id.
RILL_NODISCARD rill_status rill__read_ids(const char *text, const char *path, rill_token **tokens,
                                          size_t *n_tokens, rill_error *err);

#endif
