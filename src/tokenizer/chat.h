// SPDX-License-Identifier: MIT
// Conversations as tokens, in the form that a model was trained on. The text of a message is never
// searched for special tokens, so nobody can write a turn that is not theirs.
#ifndef RILL_TOKENIZER_CHAT_H
#define RILL_TOKENIZER_CHAT_H

#include "tokenizer/tokenizer.h"

// Where a message stands. Some templates put the system message inside the first user message.
typedef enum rill__chat_place {
    RILL_CHAT_FIRST,         // nothing before it
    RILL_CHAT_AFTER_SYSTEM,  // right after the system message
    RILL_CHAT_LATER,
} rill__chat_place;

// Appends the tokens of one message. A begin token stands before the first, and before others where
// the template has one. RILL_EINVAL: a system message that is not the first. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__chat_message(const rill__tokenizer *t, rill_role role,
                                              rill__chat_place place, const char *text,
                                              size_t length, rill__tokens *out, rill_error *err);
// Appends what invites the assistant's answer.
RILL_NODISCARD rill_status rill__chat_answer_prefix(const rill__tokenizer *t, rill__tokens *out,
                                                    rill_error *err);
// Appends what closes it; `ended` says that the end token stands there already.
RILL_NODISCARD rill_status rill__chat_answer_suffix(const rill__tokenizer *t, bool ended,
                                                    rill__tokens *out, rill_error *err);

#endif
