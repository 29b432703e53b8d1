// SPDX-License-Identifier: MIT
// The readers of files: each fills in a tokenizer that rill__tokenizer_finish then completes.
#ifndef RILL_TOKENIZER_READER_H
#define RILL_TOKENIZER_READER_H

#include "base/json.h"
#include "tokenizer/parts.h"

// What a reader carries along.
typedef struct rill__reader {
    const char *name;  // leads the messages
    rill__tokenizer *t;
    rill_error *err;
} rill__reader;

// "NAME: FIELD: ..." with status RILL_EUNSUPPORTED or RILL_EFORMAT.
rill_status rill__reader_fail(const rill__reader *r, rill_status status, const char *field,
                              const char *format, ...) RILL_PRINTF(4, 5);

// A whole tokenizer.json.
RILL_NODISCARD rill_status rill__read_json(const rill__reader *r, const json_t *root);
// A SentencePiece model.
RILL_NODISCARD rill_status rill__read_pieces(const rill__reader *r, const uint8_t *data,
                                             size_t length);

// What follows from SentencePiece's texts, kinds, scores and rules: merges or pieces, symbols,
// decoding.
RILL_NODISCARD rill_status rill__finish_pieces(const rill__reader *r);

// Parts of tokenizer.json, each a value of that key (null allowed).
RILL_NODISCARD rill_status rill__read_normalizer(const rill__reader *r, const json_t *value);
RILL_NODISCARD rill_status rill__read_pre_tokenizer(const rill__reader *r, const json_t *value);
RILL_NODISCARD rill_status rill__read_post_processor(const rill__reader *r, const json_t *value);
RILL_NODISCARD rill_status rill__read_decoder(const rill__reader *r, const json_t *value);

// The value's "type", "" if it has none.
const char *rill__json_type(const json_t *value);
// A flag of an object, `fallback` where it is missing.
bool rill__json_flag(const json_t *value, const char *key, bool fallback);
// A string of an object as text, {NULL, 0} where it is missing.
rill__text rill__json_text(const json_t *value, const char *key);

// The next free step of a list; NULL, with a message, when there are too many.
rill__normal_step *rill__new_normal_step(const rill__reader *r, rill__normal_kind kind);
rill__split_step *rill__new_split_step(const rill__reader *r, rill__split_kind kind,
                                       rill__behavior behavior);
// Sets the texts of a step, copied.
RILL_NODISCARD rill_status rill__set_replace(const rill__reader *r, rill__normal_step *step,
                                             rill__text from, rill__text to);
// A step that isolates what a pattern matches.
RILL_NODISCARD rill_status rill__add_pattern_step(const rill__reader *r, const char *pattern,
                                                  size_t length, rill__behavior behavior,
                                                  bool invert);

// pre_names.c: the pre-tokenizers that GGUF knows by name.
// Builds the one of that name; false if there is none. *status is the result of building.
bool rill__use_pre_name(const rill__reader *r, const char *name, rill_status *status);
// Sets t->pre to the name of what was built, "" if it has none.
void rill__find_pre_name(rill__tokenizer *t);
extern const char rill__gpt2_pattern[];

// directory.c: what tokenizer_config.json and generation_config.json add.
RILL_NODISCARD rill_status rill__read_settings(const rill__reader *r, const char *directory);

#endif
