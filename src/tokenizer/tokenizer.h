// SPDX-License-Identifier: MIT
// Text to tokens and back. A tokenizer is immutable once open: any number of threads may use it,
// each with an encoder or a decoder of its own.
#ifndef RILL_TOKENIZER_TOKENIZER_H
#define RILL_TOKENIZER_TOKENIZER_H

#include "base/buffer.h"
#include "tokenizer/vocabulary.h"

typedef struct rill__tokenizer rill__tokenizer;

// The tokenizer of a directory: tokenizer.json, else tokenizer.model; tokenizer_config.json,
// special_tokens_map.json, generation_config.json and chat_template.jinja are read beside it. *out
// is NULL if the directory has none. RILL_EFORMAT, RILL_EUNSUPPORTED (a part that rill does not
// know, by name), RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__tokenizer_open_directory(const char *directory,
                                                          rill__tokenizer **out, rill_error *err);
// A tokenizer.json (a file that begins with '{') or a SentencePiece model by itself.
RILL_NODISCARD rill_status rill__tokenizer_open_file(const char *path, rill__tokenizer **out,
                                                     rill_error *err);
// The same from memory; `name` leads the messages. Nothing of the text is kept.
RILL_NODISCARD rill_status rill__tokenizer_open_memory(const char *name, const char *data,
                                                       size_t length, rill__tokenizer **out,
                                                       rill_error *err);
// From GGUF's arrays; nothing of `v` is kept. `name` leads the messages.
RILL_NODISCARD rill_status rill__tokenizer_open_vocabulary(const char *name,
                                                           const rill__vocabulary *v,
                                                           rill__tokenizer **out, rill_error *err);
void rill__tokenizer_close(rill__tokenizer **t);

// What a GGUF file needs of it, padded to n_tokens (a model's vocabulary may be larger, never
// smaller: RILL_EINVAL): free it with rill__vocabulary_deinit. RILL_EUNSUPPORTED if GGUF cannot say
// it.
RILL_NODISCARD rill_status rill__tokenizer_export(const rill__tokenizer *t, size_t n_tokens,
                                                  rill__vocabulary *out, rill_error *err);

// Ids are below this.
size_t rill__tokenizer_size(const rill__tokenizer *t);
// The begin token that it puts in front of a text, -1 if it puts none.
rill_token rill__tokenizer_bos(const rill__tokenizer *t);
bool rill__tokenizer_is_end(const rill__tokenizer *t, rill_token token);
// False for signs to the model (begin, end, turns of a chat) and for ids that are not its own.
bool rill__tokenizer_is_text(const rill__tokenizer *t, rill_token token);
// The id of a token as written ("<|im_end|>"), -1 if there is none.
rill_token rill__tokenizer_find(const rill__tokenizer *t, const char *text, size_t length);
// One line each; NULL past the last.
const char *rill__tokenizer_warning(const rill__tokenizer *t, size_t index);
// Name of the chat template: "chatml" ...; see tokenizer/chat.h.
const char *rill__tokenizer_chat_template(const rill__tokenizer *t);
// The most bytes that one token's text can complete: what rill__decoder_push appends at most.
size_t rill__tokenizer_max_text(const rill__tokenizer *t);

// A growing list of tokens.
typedef struct rill__tokens {
    rill_token *ids;
    size_t n;
    size_t capacity;
} rill__tokens;

// Appends an id (RILL_ENOMEM); deinit frees the list and leaves it empty.
RILL_NODISCARD rill_status rill__tokens_push(rill__tokens *list, rill_token id, rill_error *err);
void rill__tokens_deinit(rill__tokens *list);

// Appends the tokens of UTF-8 text (invalid bytes become U+FFFD). flags: RILL_TEXT_*. A stretch of
// 1 MiB that its tokenizer would take as one word is cut there, whatever comes after.
// RILL_ENOMEM; RILL_EUNSUPPORTED if a pattern of the file takes more steps than are allowed.
RILL_NODISCARD rill_status rill__tokenizer_encode(const rill__tokenizer *t, const char *text,
                                                  size_t length, unsigned flags, rill__tokens *out,
                                                  rill_error *err);

// Encodes text that arrives in pieces; the tokens are those of rill__tokenizer_encode on the whole,
// however it is cut (characters may be cut too). Holds back what more text could change: as a rule
// a word, at most about 2 MiB.
typedef struct rill__encoder rill__encoder;

// The tokenizer must outlive it. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__encoder_open(const rill__tokenizer *t, unsigned flags,
                                              rill__encoder **out, rill_error *err);
void rill__encoder_close(rill__encoder **e);
// Appends the tokens that this text completes; `end` says that no more comes, after which the
// encoder is as new. After a failure only close is legal.
RILL_NODISCARD rill_status rill__encoder_push(rill__encoder *e, const char *text, size_t length,
                                              bool end, rill__tokens *out, rill_error *err);

// Turns tokens into text one by one; text comes out in whole UTF-8 characters.
typedef struct rill__decoder {
    const rill__tokenizer *tokenizer;
    char held[4];  // bytes of a character that is not whole yet
    size_t n_held;
    bool at_start;        // nothing was written yet: a first space may go
    unsigned n_stripped;  // characters that went so far
} rill__decoder;

// To decode what stands in the middle of a text, set at_start to false after init.
void rill__decoder_init(rill__decoder *d, const rill__tokenizer *t);
// Appends the text that this token completes. Special tokens appear as written. A token outside the
// vocabulary is RILL_EINVAL. Allocates nothing if `out` has room for rill__tokenizer_max_text
// bytes.
RILL_NODISCARD rill_status rill__decoder_push(rill__decoder *d, rill_token token, rill__bytes *out,
                                              rill_error *err);
// Appends U+FFFD for a character that never became whole.
RILL_NODISCARD rill_status rill__decoder_end(rill__decoder *d, rill__bytes *out, rill_error *err);

#endif
