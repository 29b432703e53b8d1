// SPDX-License-Identifier: MIT
// Lines from a person: edited and remembered on a terminal, plain otherwise.
#ifndef RILL_CLI_EDITOR_H
#define RILL_CLI_EDITOR_H

#include "base/base.h"

typedef struct rill__editor rill__editor;

// libedit with a history under $XDG_STATE_HOME/rill when stdin and stdout are terminals; else plain
// lines without a prompt. A history that cannot be read or written is done without.
RILL_NODISCARD rill_status rill__editor_open(rill__editor **out, rill_error *err);
// Takes NULL.
void rill__editor_close(rill__editor **editor);
// True on a terminal: the program talks to a person.
bool rill__editor_is_terminal(const rill__editor *editor);

typedef enum rill__line {
    RILL_LINE_TEXT,         // *text, without its newline, valid until the next call
    RILL_LINE_END,          // Ctrl-D, or the end of the input
    RILL_LINE_INTERRUPTED,  // Ctrl-C: the line, *length of it, was dropped
} rill__line;

// Waits for a line of the person or the pipe.
rill__line rill__editor_read(rill__editor *editor, const char **text, size_t *length);

#endif
