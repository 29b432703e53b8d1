// SPDX-License-Identifier: MIT
// The forms of conversations that rill knows, a row each.
#ifndef RILL_TOKENIZER_CHAT_ROWS_H
#define RILL_TOKENIZER_CHAT_ROWS_H

#include "rill/rill.h"

// Signs in the texts below. What stands between two RILL_CHAT_TOKEN signs is a special token; if
// the vocabulary has none of that name, it is plain text.
#define RILL_CHAT_TOKEN "\1"
#define RILL_CHAT_BOS   "\2"  // the begin token, if the model has one
#define RILL_CHAT_EOS   "\3"  // the end token

enum { RILL_CHAT_ROLES = 3 };  // by rill_role

typedef struct rill__chat_row {
    const char *name;
    const char *needs[2];  // found in a template's text: it is this one; NULL: none needed
    const char *begin[RILL_CHAT_ROLES];
    const char *close[RILL_CHAT_ROLES];  // of an assistant's: without its end token
    const char
        *user_after_system;  // begins a user message that the system message opened; NULL: begin
    const char *user_later;  // begins one that is not the first; NULL: begin
    const char *answer;      // invites an answer
    const char *end;         // ends one: the token before close[ASSISTANT]
    bool trim;               // white space around a message goes
} rill__chat_row;

// Ends with the two that are used for want of anything else: "chatml" by name, then "plain".
extern const rill__chat_row rill__chat_rows[];
extern const size_t rill__chat_n_rows;

#endif
