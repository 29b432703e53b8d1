// SPDX-License-Identifier: MIT
// What a tokenizer consists of. Readers fill one in, rill__tokenizer_finish completes it, and
// nothing changes it afterwards.
//
// Text runs through: added tokens -> normalizer -> added tokens that want normalised text -> splits
// -> model. The names follow Hugging Face's tokenizer.json, whose behaviour is the reference for
// such files; SentencePiece's is for its own and for GGUF's "llama" and "t5" vocabularies.
#ifndef RILL_TOKENIZER_PARTS_H
#define RILL_TOKENIZER_PARTS_H

#include "tokenizer/charsmap.h"
#include "tokenizer/pattern.h"
#include "tokenizer/table.h"
#include "tokenizer/tokenizer.h"

enum {
    RILL_MAX_STEPS = 24,        // of a normalizer, of a pre-tokenizer, of a decoder
    RILL_MAX_STEP_BYTES = 256,  // of a literal in a step
    RILL_MAX_SPECIALS = 16,     // that a template puts before or after a text
    RILL_MAX_ENDS = 32,
    RILL_MAX_WARNINGS = 16,
    RILL_WORD_CEILING = 1 << 20,  // bytes after which a word is cut
};

// ---- Normalizer -----------------------------------------------------------------------------

typedef enum rill__normal_kind {
    RILL_NORMAL_NFC,
    RILL_NORMAL_NFD,
    RILL_NORMAL_NFKC,
    RILL_NORMAL_NFKD,
    RILL_NORMAL_LOWERCASE,
    RILL_NORMAL_STRIP_ACCENTS,
    RILL_NORMAL_REPLACE,   // `from` or pattern becomes `to`
    RILL_NORMAL_PREPEND,   // `to` in front of what is not empty
    RILL_NORMAL_STRIP,     // white space at the ends
    RILL_NORMAL_CHARSMAP,  // as Hugging Face applies it: grapheme by grapheme
} rill__normal_kind;

typedef struct rill__normal_step {
    rill__normal_kind kind;
    rill__pattern *pattern;  // of REPLACE, NULL for a literal
    char *from;
    size_t n_from;
    char *to;
    size_t n_to;
    bool left, right;  // of STRIP
} rill__normal_step;

// SentencePiece's NormalizerSpec.
typedef struct rill__piece_rules {
    bool active;  // this tokenizer normalises as SentencePiece does
    bool add_dummy_prefix;
    bool remove_extra_whitespaces;
    bool escape_whitespaces;
    bool space_as_suffix;  // the dummy space stands behind
} rill__piece_rules;

// ---- Pre-tokenizer --------------------------------------------------------------------------

typedef enum rill__split_kind {
    RILL_SPLIT_PATTERN,      // matches of a pattern
    RILL_SPLIT_CHARACTER,    // one character
    RILL_SPLIT_NUMERIC,      // characters of the categories N
    RILL_SPLIT_PUNCTUATION,  // ASCII's and the categories P
    RILL_SPLIT_WHITE_SPACE,
    RILL_SPLIT_PREFIX,  // no split: puts `character` in front if it is not there
    RILL_SPLIT_BYTES,   // no split: bytes become characters of GPT-2's alphabet
} rill__split_kind;

typedef enum rill__behavior {
    RILL_REMOVED,
    RILL_ISOLATED,
    RILL_MERGED_WITH_PREVIOUS,
    RILL_MERGED_WITH_NEXT,
    RILL_CONTIGUOUS,
} rill__behavior;

typedef struct rill__split_step {
    rill__split_kind kind;
    rill__behavior behavior;
    bool invert;         // what does not match is the delimiter
    bool first_only;     // PREFIX: only where the text begins
    uint32_t character;  // of CHARACTER and PREFIX
    rill__pattern *pattern;
} rill__split_step;

// ---- Model ----------------------------------------------------------------------------------

typedef enum rill__model_kind { RILL_MODEL_BPE, RILL_MODEL_UNIGRAM } rill__model_kind;

enum { RILL_CUT_BITS = 1 << 20 };

typedef struct rill__scheme {
    rill__model_kind kind;
    bool byte_level;        // the model takes bytes as they are, through `alphabet`
    bool byte_fallback;     // an unknown character becomes its bytes
    bool fuse_unknown;      // neighbouring unknown characters become one token
    bool ignore_merges;     // a word that is a token is that token
    bool piece_scores;      // unigram: float arithmetic and rules of SentencePiece
    int32_t unknown;        // -1 where there is none
    int32_t alphabet[256];  // byte_level: token of a byte, or -1
    int32_t bytes[256];     // byte_fallback: token of a byte, or -1
    char *word_prefix;      // of every symbol of a word but the first (BPE), NULL if there is none
    char *word_suffix;      // of the last symbol of a word, NULL if there is none
    rill__merges merges;
    bool has_unused;     // merges lead to tokens that must not be used
    rill__trie pieces;   // unigram
    rill__trie symbols;  // SentencePiece's user defined symbols: never cut, never merged
    double min_score, max_score;
    // A bit a pair of neighbours (characters, bytes if byte_level), by hash: clear where no token
    // has these two side by side, so that no token crosses between them. NULL: never cut there.
    uint64_t *joints;
} rill__scheme;

// The bit of `joints` for two pieces side by side.
static inline size_t rill__joint(uint32_t before, uint32_t after) {
    uint64_t h = ((uint64_t)before << 32 | after) * 0xd6e8feb86659fd93u;
    return (size_t)(h >> 40) & (RILL_CUT_BITS - 1);
}

// ---- Added tokens ---------------------------------------------------------------------------

typedef struct rill__added {
    rill_token id;
    bool special, left_strip, right_strip, single_word, normalized;
} rill__added;

// ---- Decoder --------------------------------------------------------------------------------

typedef enum rill__lead {
    RILL_LEAD_KEEP,
    RILL_LEAD_CHARACTERS,   // the first lead_count characters go where they are lead_character
    RILL_LEAD_FIRST_TOKEN,  // no spaces in the first token
    RILL_LEAD_ONE_SPACE,    // SentencePiece with a dummy prefix
    RILL_LEAD_ALL_SPACES,   // SentencePiece that removes extra white space
} rill__lead;

enum {
    RILL_OUTPUT_BYTES = 1,  // bytes that join with their neighbours' into characters
    RILL_OUTPUT_SPACE = 2,  // begins with a space that may go at the start
};

typedef struct rill__decoding {
    rill__strings outputs;  // by id
    uint8_t *flags;         // [n_tokens] RILL_OUTPUT_*
    bool byte_level;        // a broken character is one U+FFFD, otherwise one a byte
    rill__lead lead;
    uint32_t lead_character;
    unsigned lead_count;
    bool name_unknown;  // the unknown token is decoded as written, not as SentencePiece does
    size_t longest;     // bytes of the longest output
} rill__decoding;

// ---- The whole ------------------------------------------------------------------------------

struct rill__chat_row;

struct rill__tokenizer {
    size_t n_tokens;      // ids are below it; texts may have more, for the model's own use
    rill__strings texts;  // as written in the file
    rill__index all;      // every token
    rill__index model;    // those that the model may make
    uint8_t *kinds;       // [n_tokens] rill__token_kind
    double *scores;       // [n_tokens] or NULL

    rill__added *added;
    size_t n_added;
    rill__trie added_raw, added_normal;  // values are indices of `added`
    bool any_left_strip;

    rill__normal_step normal[RILL_MAX_STEPS];
    size_t n_normal;
    bool normal_whole;  // a run of text cannot be normalised in parts
    bool normal_inert;  // parts must end where characters do not combine
    rill__charsmap charsmap;
    uint8_t *charsmap_blob;  // as read, for export
    size_t charsmap_blob_length;
    rill__piece_rules pieces;

    rill__split_step splits[RILL_MAX_STEPS];
    size_t n_splits;
    char pre[32];  // GGUF's name of the pre-tokenizer, "" if it has none

    rill__scheme scheme;
    rill__decoding decoding;

    rill_token before[RILL_MAX_SPECIALS], after[RILL_MAX_SPECIALS];
    size_t n_before, n_after;
    rill_token bos, eos, pad, eot;  // -1 where there is none
    rill_token ends[RILL_MAX_ENDS];
    size_t n_ends;

    char *chat_source;  // the template's text, NULL if there is none
    size_t chat_source_length;
    const struct rill__chat_row *chat;
    char *warnings[RILL_MAX_WARNINGS];
    size_t n_warnings;
};

// Zeroed, with the ids at -1. NULL when memory is out.
rill__tokenizer *rill__tokenizer_new(void);
// Adds a token of a vocabulary. RILL_EFORMAT, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__tokenizer_set_added(rill__tokenizer *t, const rill__added *added,
                                                     rill_error *err);
// Adds an id to those that end a text; none if it is there already or outside the vocabulary.
void rill__tokenizer_add_end(rill__tokenizer *t, rill_token id);
// Keeps a warning; the seventeenth and later ones are dropped. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__tokenizer_warn(rill__tokenizer *t, rill_error *err,
                                                const char *format, ...) RILL_PRINTF(3, 4);
// Sets n_tokens once texts are there, makes `all`, and kinds (all normal) unless they are there.
RILL_NODISCARD rill_status rill__tokenizer_set_size(rill__tokenizer *t, rill_error *err);
// Builds what follows from the rest: `all`, the tries of added tokens, joints, the chat template.
RILL_NODISCARD rill_status rill__tokenizer_finish(rill__tokenizer *t, rill_error *err);
// Looks the chat template up anew, after chat_source was changed.
RILL_NODISCARD rill_status rill__tokenizer_choose_chat(rill__tokenizer *t, rill_error *err);

// scheme.c
void rill__scheme_deinit(rill__scheme *s);
// Marks which neighbours occur inside tokens; the model's index is complete.
RILL_NODISCARD rill_status rill__scheme_find_joints(rill__tokenizer *t, rill_error *err);
// Every way to make a token of two others, ranked by score as SentencePiece does (kinds normal,
// user defined and unused); characters without a token of their own get an id past n_tokens.
RILL_NODISCARD rill_status rill__scheme_merge_by_score(rill__tokenizer *t, rill_error *err);
// Finds the byte tokens "<0x00>" ... and GPT-2's alphabet among the tokens.
void rill__scheme_find_bytes(rill__tokenizer *t);
// Fills `pieces` from the model's tokens and min_score and max_score.
RILL_NODISCARD rill_status rill__scheme_index_pieces(rill__tokenizer *t, rill_error *err);

// bytes.c: GPT-2's alphabet of bytes (encoder.py of openai/gpt-2, bytes_to_unicode).
uint32_t rill__byte_character(uint8_t byte);
// -1 if the character stands for no byte.
int rill__character_byte(uint32_t character);
// The byte that "<0xHH>" stands for, -1 for any other text.
int rill__byte_token(const char *text, size_t length);

// The steps own what they point to.
void rill__normal_step_deinit(rill__normal_step *s);
void rill__split_step_deinit(rill__split_step *s);

// decode.c: fills `decoding` for texts that SentencePiece wrote.
RILL_NODISCARD rill_status rill__decoding_from_pieces(rill__tokenizer *t, rill_error *err);
// The same for byte-level texts.
RILL_NODISCARD rill_status rill__decoding_from_bytes(rill__tokenizer *t, rill_error *err);

#endif
