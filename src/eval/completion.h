// SPDX-License-Identifier: MIT
// A client of any server that speaks the OpenAI API's /v1/completions: text in, greedy text out.
#ifndef RILL_EVAL_COMPLETION_H
#define RILL_EVAL_COMPLETION_H

#include "base/base.h"
#include "base/buffer.h"

typedef struct rill__completer rill__completer;

typedef struct rill__completer_options {
    const char *url;    // "http://localhost:8080", with or without /v1 or /v1/completions behind
    const char *model;  // what the server calls its model; NULL: not said
    const char *key;    // sent as a bearer token; NULL: none
    uint32_t timeout;   // seconds that one answer may take; 0: 600
    // NULL, or asked now and then: false from it ends a request with RILL_EINTERRUPTED.
    bool (*go_on)(void);
} rill__completer_options;

// Connects to nothing yet. The options are copied. RILL_EINVAL if the URL is none of http or https,
// or the model's name is not UTF-8; RILL_ENOMEM.
RILL_NODISCARD rill_status rill__completer_open(const rill__completer_options *options,
                                                rill__completer **out, rill_error *err);
// Sets *completer to NULL; NULL in it is allowed.
void rill__completer_close(rill__completer **completer);

// Asks for at most max_tokens tokens after `prompt` (length bytes of UTF-8), the likeliest ones,
// `stop` ending them, and puts the text into `out`, in the place of what was there. RILL_EIO: no
// answer, or an error of HTTP; RILL_EFORMAT: an answer that is no completion, or longer than 16
// MiB; RILL_EINVAL: not UTF-8; RILL_EINTERRUPTED; RILL_ENOMEM. Messages but that of
// RILL_ENOMEM begin with the URL.
RILL_NODISCARD rill_status rill__completer_ask(rill__completer *completer, const char *prompt,
                                               size_t length, uint32_t max_tokens, const char *stop,
                                               rill__bytes *out, rill_error *err);

#endif
