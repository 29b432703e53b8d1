// SPDX-License-Identifier: MIT
// A tokenizer as flat data: what GGUF files carry, and what is written into them.
#ifndef RILL_TOKENIZER_VOCABULARY_H
#define RILL_TOKENIZER_VOCABULARY_H

#include "base/base.h"
#include "rill/rill.h"

// GGUF's numbers (tokenizer.ggml.token_type).
typedef enum rill__token_kind {
    RILL_TOKEN_NORMAL = 1,
    RILL_TOKEN_UNKNOWN = 2,
    RILL_TOKEN_CONTROL = 3,
    RILL_TOKEN_USER_DEFINED = 4,
    RILL_TOKEN_UNUSED = 5,
    RILL_TOKEN_BYTE = 6,
} rill__token_kind;

typedef struct rill__text {
    const char *data;  // not terminated
    size_t length;
} rill__text;

typedef struct rill__vocabulary {
    char model[16];  // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "t5" (unigram)
    char pre[32];    // "gpt2" kind: which pre-tokenizer, "llama-bpe" ...; "" if unknown
    size_t n_tokens;
    rill__text *tokens;  // [n_tokens] as written: byte-level text for gpt2, metaspace for llama
    float *scores;       // [n_tokens] or NULL
    uint8_t *kinds;      // [n_tokens] rill__token_kind
    size_t n_merges;
    rill__text *merges;               // [n_merges] "left right"
    int32_t bos, eos, unk, pad, eot;  // -1 where there is none
    bool add_bos;
    bool add_eos;
    bool add_space_prefix;
    bool remove_extra_whitespaces;
    const char *chat_template;  // terminated; NULL if there is none
    size_t chat_template_length;
    const uint8_t *charsmap;  // SentencePiece's precompiled_charsmap; NULL if there is none
    size_t charsmap_length;
    void *memory;  // owned block behind the texts, of an exported vocabulary; else NULL
} rill__vocabulary;

// Frees the arrays and the memory behind them; leaves it zeroed.
void rill__vocabulary_deinit(rill__vocabulary *v);

#endif
