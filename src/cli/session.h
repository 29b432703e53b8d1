// SPDX-License-Identifier: MIT
// What most subcommands begin with: find the model, open it, open a stream.
#ifndef RILL_CLI_SESSION_H
#define RILL_CLI_SESSION_H

#include "cli/settings.h"

#include "base/base.h"

typedef struct rill__session {
    rill_device *device;
    rill_model *model;
    rill_stream *stream;
    rill_model_info info;
} rill__session;

// The path of the model meant by `name`, the caller's (rill__free). NULL stands for $RILL_MODEL, or
// the model that came with rill. A folder that is no model but holds one .gguf file stands for
// that.
RILL_NODISCARD rill_status rill__find_model(const char *name, char **out, rill_error *err);
// The same where a folder with nothing but a tokenizer will do.
RILL_NODISCARD rill_status rill__find_tokenizer(const char *name, char **out, rill_error *err);

// Opens the device and the model of that name, and prints the model's warnings on stderr.
RILL_NODISCARD rill_status rill__session_open(rill__session *session, const rill__settings *s,
                                              const char *model, rill_error *err);
// The same, or with --synthetic a model of random weights. `command` is the subcommand's bit.
RILL_NODISCARD rill_status rill__session_open_synthetic(rill__session *session,
                                                        const rill__settings *s, unsigned command,
                                                        rill_error *err);
// Opens session->stream by s, or by the snapshot s->resume. `command` is the subcommand's bit.
// Warns if the stream sees more than the model was trained on, unless `silent`.
RILL_NODISCARD rill_status rill__session_stream(rill__session *session, rill__settings *s,
                                                unsigned command, bool silent, rill_error *err);
// Puts the snapshot's stream in the place of session->stream, which may be NULL; sampling options
// that were given hold for it. On failure the stream before stays.
RILL_NODISCARD rill_status rill__session_resume(rill__session *session, rill__settings *s,
                                                unsigned command, const char *path,
                                                rill_error *err);
// Warns if a stream of those (resolved) options sees more than the model was trained on at once.
void rill__warn_past_context(const rill__session *session, const rill_stream_options *o);
// Takes a zeroed session as well.
void rill__session_close(rill__session *session);

#endif
