// SPDX-License-Identifier: MIT
// Pre-tokenizers that GGUF knows by name (tokenizer.ggml.pre). The patterns are those of the
// models' own tokenizer.json files; which name stands for which is llama.cpp's convention
// (llama-vocab.cpp).
#include "tokenizer/reader.h"

#include <string.h>

const char rill__gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char llama3_pattern[] =
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL;
static const char qwen2_pattern[] =
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL;

#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"

static const char gpt4o_pattern[] =
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER
    "+" LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL;
static const char tekken_pattern[] =
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
    "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL;

enum { MAX_PARTS = 5 };

// A part is a pattern that isolates what it matches, or one of these signs.
static const char digits_alone[] = "\1";   // every digit by itself
static const char digits_joined[] = "\2";  // digits apart from the rest
static const char punctuation[] = "\3";    // punctuation apart from the rest
static const char as_bytes[] = "\4";       // bytes become characters here, not in the model

typedef struct pre_row {
    const char *names;  // separated by spaces; the first is the one that is written
    const char *parts[MAX_PARTS];
    bool composed;     // NFC first
    bool whole_words;  // a word that is a token is that token
} pre_row;

static const pre_row rows[] = {
    {"gpt-2 gpt2 phi-2 olmo jina-es jina-de jina-v2-es jina-v2-de jina-v2-code gigachat "
     "roberta-bpe",
     {rill__gpt2_pattern},
     false,
     false},
    {"mpt gpt-neox", {rill__gpt2_pattern}, true, false},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral dbrx smaug-bpe midm-2.0 lfm2",
     {llama3_pattern},
     false,
     true},
    {"qwen2 deepseek-r1-qwen stablelm2 megrez kormo", {qwen2_pattern}, true, false},
    {"gpt-4o llama4", {gpt4o_pattern}, false, true},
    {"tekken", {tekken_pattern}, false, true},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b",
     {digits_alone, rill__gpt2_pattern},
     false,
     false},
    {"falcon",
     {punctuation, rill__gpt2_pattern, as_bytes, digits_joined, "[0-9][0-9][0-9]"},
     false,
     false},
    {"default",
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", rill__gpt2_pattern, "\\p{N}+", "[0-9][0-9][0-9]"},
     false,
     false},
};

static bool has_name(const char *names, const char *name) {
    size_t n = strlen(name);
    if (n == 0) return false;  // it would be found at the very end, and past it
    for (const char *at = names; (at = strstr(at, name)); at++)
        if ((at == names || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

static rill_status add_part(const rill__reader *r, const char *part) {
    rill__split_kind kind = RILL_SPLIT_NUMERIC;
    rill__behavior behavior = part == digits_alone ? RILL_ISOLATED : RILL_CONTIGUOUS;
    if (*part > 4) return rill__add_pattern_step(r, part, strlen(part), RILL_ISOLATED, false);
    if (part == punctuation) kind = RILL_SPLIT_PUNCTUATION;
    if (part == as_bytes) kind = RILL_SPLIT_BYTES;
    return rill__new_split_step(r, kind, behavior) ? RILL_OK : RILL_EUNSUPPORTED;
}

bool rill__use_pre_name(const rill__reader *r, const char *name, rill_status *status) {
    const pre_row *row = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !row; i++)
        if (has_name(rows[i].names, name)) row = &rows[i];
    if (!row) return false;
    bool spelled = false;
    *status = RILL_OK;
    for (size_t i = 0; *status == RILL_OK && i < MAX_PARTS && row->parts[i]; i++) {
        spelled = spelled || row->parts[i] == as_bytes;
        *status = add_part(r, row->parts[i]);
    }
    if (*status == RILL_OK && row->composed) {
        r->t->normal_inert = true;
        if (!rill__new_normal_step(r, RILL_NORMAL_NFC)) *status = RILL_EUNSUPPORTED;
    }
    r->t->scheme.byte_level = !spelled;
    r->t->scheme.ignore_merges = row->whole_words;
    return true;
}

static bool is_part(const rill__split_step *s, const char *part) {
    if (s->invert) return false;
    if (part == digits_alone) return s->kind == RILL_SPLIT_NUMERIC && s->behavior == RILL_ISOLATED;
    if (part == digits_joined)
        return s->kind == RILL_SPLIT_NUMERIC && s->behavior == RILL_CONTIGUOUS;
    if (part == punctuation)
        return s->kind == RILL_SPLIT_PUNCTUATION && s->behavior == RILL_CONTIGUOUS;
    if (part == as_bytes) return s->kind == RILL_SPLIT_BYTES;
    return s->kind == RILL_SPLIT_PATTERN && s->behavior == RILL_ISOLATED &&
           strcmp(rill__pattern_text(s->pattern), part) == 0;
}

void rill__find_pre_name(rill__tokenizer *t) {
    t->pre[0] = '\0';
    bool composed = t->n_normal == 1 && t->normal[0].kind == RILL_NORMAL_NFC;
    if (t->n_normal > 0 && !composed) return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = 0;
        while (n < MAX_PARTS && rows[i].parts[n]) n++;
        bool same = rows[i].composed == composed && n == t->n_splits;
        for (size_t k = 0; same && k < n; k++) same = is_part(&t->splits[k], rows[i].parts[k]);
        if (!same) continue;
        // The first of the names.
        memcpy(t->pre, rows[i].names, strcspn(rows[i].names, " "));
        t->pre[strcspn(rows[i].names, " ")] = '\0';
        return;
    }
}
