// SPDX-License-Identifier: MIT
// The parts of encoding between which text travels, and what a thread needs for them.
#ifndef RILL_TOKENIZER_WORK_H
#define RILL_TOKENIZER_WORK_H

#include "tokenizer/parts.h"

typedef struct rill__symbol {
    uint32_t id;       // a token, or one of the marks of bpe.c
    int32_t previous;  // index, -1 at the ends
    int32_t next;
} rill__symbol;

typedef struct rill__candidate {
    uint64_t order;  // rank << 32 | position: the least goes first
    uint32_t left, right;
} rill__candidate;

typedef struct rill__lattice_node {
    double score;
    int32_t id;
    uint32_t begin;  // where the best token that ends here begins; UINT32_MAX: nothing ends here
} rill__lattice_node;

// Words that were encoded before: a slot a hash, the newest stays.
enum { RILL_CACHE_SLOTS = 1 << 13, RILL_CACHE_WORD = 48, RILL_CACHE_TOKENS = 12 };

typedef struct rill__cached_word {
    uint8_t length;  // bytes, 0 for a free slot
    uint8_t n_tokens;
    char text[RILL_CACHE_WORD];
    uint32_t tokens[RILL_CACHE_TOKENS];
} rill__cached_word;

// Text between two added tokens.
typedef struct rill__run {
    bool begun;         // some of it was normalised
    bool part_begun;    // some of it, since a normalised added token, was split
    bool at_zero;       // the text begins with it
    size_t prefix;      // bytes in front of `normal` that were put there: no text
    bool word_before;   // what was split last ended in a letter
    bool in_word;       // the model has taken a part of the present word
    bool last_unknown;  // the present word's last token is the unknown one
    double score;       // unigram: of the best way so far through the present word
    bool pieces_begun;  // SentencePiece: something that is not white space came
    bool space_before;
    size_t n_pending;  // spaces that go if nothing follows them
} rill__run;

struct rill__encoder {
    const rill__tokenizer *tokenizer;
    unsigned flags;
    bool begun;        // the specials in front are out
    bool eat_space;    // after an added token that takes the white space behind it
    bool word_before;  // what was taken last ended in a letter
    char tail[8];      // bytes of a cut character
    size_t n_tail;
    rill__bytes raw;      // valid text that was not taken yet
    rill__bytes normal;   // normalised, not split yet
    size_t retry_raw_at;  // bytes in `raw` from which another try may pay
    size_t retry_at;      // bytes in `normal` from which another try may pay
    rill__run run;
    rill__tokens *out;  // of the present call
    // workspace
    rill__matcher *matcher;
    rill__bytes scratch[RILL_MAX_STEPS];
    rill__bytes forms[2];
    int32_t *code_points;  // [n_code_points]
    size_t n_code_points;
    rill__symbol *symbols;
    size_t n_symbols, symbol_capacity;
    rill__candidate *heap;
    size_t n_heap, heap_capacity;
    rill__lattice_node *lattice;
    size_t lattice_capacity;
    rill__merge *unused;  // merges that led to unused tokens
    size_t n_unused, unused_capacity;
    rill__tokens word;
    rill__cached_word *cache;
    size_t n_words;  // encoded so far: the cache is made when it pays
};

// An encoder at the beginning of a text, borrowing t; deinit frees what it holds.
void rill__encoder_init(rill__encoder *e, const rill__tokenizer *t, unsigned flags);
void rill__encoder_deinit(rill__encoder *e);
// Makes room for n items of `size` bytes in *items. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__work_reserve(void *items, size_t *capacity, size_t n, size_t size,
                                              rill_error *err);
// Appends a character's bytes.
RILL_NODISCARD rill_status rill__work_put(rill__bytes *out, uint32_t character, rill_error *err);
// Drops the first n bytes.
void rill__work_drop(rill__bytes *b, size_t n);

// normalize.c: appends to e->normal; *used says how much of the text it took, all if `final`.
RILL_NODISCARD rill_status rill__normalize(rill__encoder *e, const char *text, size_t length,
                                           bool final, size_t *used, rill_error *err);
// The normalizer's steps on a text that begins and ends here: the result is in e->forms[0].
RILL_NODISCARD rill_status rill__normalize_steps(rill__encoder *e, const char *text, size_t length,
                                                 bool begins, rill_error *err);
// pieces.c: the same as SentencePiece does it.
RILL_NODISCARD rill_status rill__normalize_pieces(rill__encoder *e, const char *text, size_t length,
                                                  bool final, size_t *used, rill_error *err);
// split.c: cuts text into words from step `step` on and hands them to the model. Without `final`
// the text goes on, and only what more text cannot change is taken.
RILL_NODISCARD rill_status rill__split(rill__encoder *e, size_t step, const char *text,
                                       size_t length, bool final, size_t *used, rill_error *err);
// model.c: a word, or a part of one.
RILL_NODISCARD rill_status rill__model_take(rill__encoder *e, const char *text, size_t length,
                                            bool final, size_t *used, rill_error *err);
// bpe.c: appends the tokens of a stretch that no token crosses the ends of to e->word.
RILL_NODISCARD rill_status rill__bpe(rill__encoder *e, const char *text, size_t length, bool first,
                                     bool last, rill_error *err);
// unigram.c: the same.
RILL_NODISCARD rill_status rill__unigram(rill__encoder *e, const char *text, size_t length,
                                         rill_error *err);
// model.c: appends an unknown character's tokens to e->word.
RILL_NODISCARD rill_status rill__model_unknown(rill__encoder *e, const char *text, size_t length,
                                               rill_error *err);

// Unicode questions (unicode.c).
bool rill__is_white_space(uint32_t c);
bool rill__is_numeric(uint32_t c);
bool rill__is_punctuation(uint32_t c);
bool rill__is_word(uint32_t c);
bool rill__is_mark(uint32_t c);
// Whether text may be cut between the two: neither normal forms nor graphemes join them.
bool rill__is_inert(uint32_t before, uint32_t after);
// The character before `at` > 0 in valid UTF-8, and where it begins.
size_t rill__character_before(const char *text, size_t at, uint32_t *character);

#endif
