// SPDX-License-Identifier: MIT
// A text of any length as tokens, read from its file again for every configuration: memory does not
// grow with it.
#ifndef RILL_EVAL_TEXT_H
#define RILL_EVAL_TEXT_H

#include "rill/rill.h"

#include "base/base.h"

typedef struct rill__text rill__text;

typedef struct rill__text_facts {
    uint64_t n_tokens;  // those asked for, or all
    // Of the text that all tokens but the first stand for: what is predicted.
    uint64_t bytes;
    uint64_t words;  // with white space between
    uint64_t hash;   // of the tokens
} rill__text_facts;

// Beside rill_encoder_open's flags: each byte of the text is a token, for models of random weights,
// which have no tokenizer.
enum { RILL__TEXT_BYTES = 1 << 16 };

// Opens a text and reads it once: at most max_tokens tokens of it (0: all). path "-" is standard
// input, kept in a temporary file. flags as rill_encoder_open's. `go_on` (NULL allowed) is asked
// now and then; false from it ends the call with RILL_EINTERRUPTED. The model must outlive the
// text. RILL_EIO, RILL_EUNSUPPORTED (a model without a tokenizer), RILL_ENOMEM.
RILL_NODISCARD rill_status rill__text_open(const rill_model *model, const char *path,
                                           unsigned flags, uint64_t max_tokens, bool (*go_on)(void),
                                           rill__text **out, rill_error *err);
// A text of n tokens in memory, which are borrowed. Bytes and words are not known of it: 0.
// RILL_ENOMEM.
RILL_NODISCARD rill_status rill__text_of_tokens(const rill_token *tokens, size_t n,
                                                rill__text **out, rill_error *err);
// Sets *text to NULL; NULL in it is allowed.
void rill__text_close(rill__text **text);

// Valid while the text lives.
const rill__text_facts *rill__text_get_facts(const rill__text *text);

// Goes to token number `index`: what rill__text_read gives next.
RILL_NODISCARD rill_status rill__text_seek(rill__text *text, uint64_t index, rill_error *err);
// Copies the next tokens, `capacity` of them unless the text ends before; *n is 0 only at its end.
RILL_NODISCARD rill_status rill__text_read(rill__text *text, rill_token *out, size_t capacity,
                                           size_t *n, rill_error *err);

// ---- Text that is put together --------------------------------------------------------------

// The model's tokens of a text that goes on where other text ended, or of one that begins. The
// caller's: rill_tokens_free.
RILL_NODISCARD rill_status rill__encode_piece(const rill_model *model, const char *text,
                                              bool begins, rill_token **tokens, size_t *n,
                                              rill_error *err);
// What the tokenizer puts in front of a text. The caller's: rill_tokens_free.
RILL_NODISCARD rill_status rill__encode_begin(const rill_model *model, rill_token **tokens,
                                              size_t *n, rill_error *err);

#endif
