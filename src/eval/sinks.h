// SPDX-License-Identifier: MIT
// Which tokens are kept for ever, and how many: choices to be tried on a text, and what follows
// from the perplexities that were measured.
#ifndef RILL_EVAL_SINKS_H
#define RILL_EVAL_SINKS_H

#include "rill/rill.h"

// Fewer sinks are as good as more while perplexity is within this share of the best.
#define RILL_SINKS_TOLERANCE 0.005

enum { RILL_SINKS_MOST_FED = 8, RILL_SINKS_MOST_CHOICES = 8 };

// A text to be predicted: what the tokenizer puts in front, and the text itself.
typedef struct rill__sinks_text {
    const rill_token *head;
    size_t n_head;  // 0 if the tokenizer puts nothing in front
    const rill_token *body;
    size_t n_body;
} rill__sinks_text;

// One way to choose the tokens that are kept. A stream keeps the first n tokens that it is fed, so
// others become sinks by being fed before the text.
typedef struct rill__sinks_choice {
    char key[24];                         // for machines and file names: "first_4", "most_3_0"
    char name[64];                        // for people: "the first 4 tokens"
    uint32_t n;                           // sinks
    rill_token fed[RILL_SINKS_MOST_FED];  // what is fed before the body
    size_t n_fed;                         // 0 to RILL_SINKS_MOST_FED
} rill__sinks_choice;

// The choices that a text offers, most interesting first: its first four tokens and the first, the
// tokens at the two positions of `by_attention` (positions in head and body together, most
// attention first; below n_head + n_body; in the keys; NULL: not known), the first four without
// what the tokenizer puts in front, `newline` four times (NULL: the model has none), and four
// tokens of the middle of the text. Returns how many were written to out[RILL_SINKS_MOST_CHOICES].
// The body has at least 16 tokens.
size_t rill__sinks_choices(const rill__sinks_text *text, const uint32_t by_attention[2],
                           const rill_token *newline, rill__sinks_choice *out);

// What was measured for one configuration.
typedef struct rill__sinks_trial {
    uint32_t sinks, window;
    rill_type key_type, value_type;
    uint64_t cache_bytes;
    double perplexity;  // not finite: it overflowed, or there is none
    const char *error;  // why there is none; NULL if there is one
} rill__sinks_trial;

// The trial of the lowest perplexity, of equal ones the first, into *best. False if no perplexity
// is finite: then there is none.
bool rill__sinks_best(const rill__sinks_trial *trials, size_t n, size_t *best);
// The trial with the fewest sinks whose perplexity is within RILL_SINKS_TOLERANCE of the best, into
// *fewest. False as above.
bool rill__sinks_fewest(const rill__sinks_trial *trials, size_t n, size_t *fewest);

// The bytes of the smallest cache with the sinks and types of `options`: that of a window of one
// token, as a stream takes it, room for its chunk included. Failures as rill_stream_estimate.
RILL_NODISCARD rill_status rill__sinks_least(const rill_model *model,
                                             const rill_stream_options *options, uint64_t *bytes,
                                             rill_error *err);
// The widest window, with the sinks and types of `options`, whose cache is at most `memory` bytes
// and whose capacity is at most `most` tokens. RILL_EINVAL if not even one token fits.
RILL_NODISCARD rill_status rill__sinks_widest(const rill_model *model,
                                              const rill_stream_options *options, uint64_t memory,
                                              uint32_t most, uint32_t *window, rill_error *err);

#endif
