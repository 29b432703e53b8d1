// SPDX-License-Identifier: MIT
// The option table: parsing, --help, the manual page and the completions all come from it.
#ifndef RILL_CLI_OPTION_H
#define RILL_CLI_OPTION_H

#include "cli/settings.h"

// The subcommands, as bits: which of them take an option.
enum {
    RILL_FOR_RUN = 1 << 0,
    RILL_FOR_CHAT = 1 << 1,
    RILL_FOR_LOGITS = 1 << 2,
    RILL_FOR_TOKENIZE = 1 << 3,
    RILL_FOR_INFO = 1 << 4,
    RILL_FOR_CONVERT = 1 << 5,
    RILL_FOR_EVAL = 1 << 6,
    RILL_FOR_BENCH = 1 << 7,
    RILL_FOR_PERPLEXITY = 1 << 8,
    RILL_FOR_COMPARE = 1 << 9,
    RILL_FOR_STREAMEVAL = 1 << 10,
    RILL_FOR_ARC = 1 << 11,
    RILL_FOR_SINKS = 1 << 12,
    RILL_FOR_LATENCY = 1 << 13,
    RILL_FOR_MEMORY = 1 << 14,
    RILL_FOR_BENCH_DECODE = 1 << 15,
    RILL_FOR_BENCH_PREFILL = 1 << 16,
    RILL_FOR_BENCH_CACHE = 1 << 17,
    RILL_FOR_BENCH_THREADS = 1 << 18,
    RILL_FOR_BENCH_NEIGHBOUR = 1 << 19,
    RILL_FOR_BENCH_BATCH = 1 << 20,
    // What rill eval measures; RILL_FOR_EVAL itself is the word alone.
    RILL_FOR_EVALS = RILL_FOR_PERPLEXITY | RILL_FOR_COMPARE | RILL_FOR_STREAMEVAL | RILL_FOR_ARC |
                     RILL_FOR_SINKS | RILL_FOR_LATENCY | RILL_FOR_MEMORY,
    // What rill bench sweeps over, and rill bench alone.
    RILL_FOR_SWEEPS = RILL_FOR_BENCH_DECODE | RILL_FOR_BENCH_PREFILL | RILL_FOR_BENCH_BATCH |
                      RILL_FOR_BENCH_CACHE | RILL_FOR_BENCH_THREADS | RILL_FOR_BENCH_NEIGHBOUR,
    RILL_FOR_BENCHES = RILL_FOR_BENCH | RILL_FOR_SWEEPS,
};

typedef enum rill__option_kind {
    RILL_OPTION_FLAG,    // bool, no value
    RILL_OPTION_TEXT,    // const char *
    RILL_OPTION_U32,     // uint32_t in [low, high]
    RILL_OPTION_U64,     // uint64_t in [low, high]
    RILL_OPTION_FLOAT,   // float in [low, high]
    RILL_OPTION_CHOICE,  // an enum, numbered as the words of `choices`
    RILL_OPTION_CUSTOM,  // `parse` does it
} rill__option_kind;

typedef struct rill__option {
    const char *name;     // without the dashes
    char letter;          // short form, 0 if none
    const char *metavar;  // what stands for the value in help; NULL for a flag
    rill__option_kind kind;
    unsigned commands;  // RILL_FOR_... bits
    size_t offset;      // of the value in rill__settings
    double low, high;   // what a number may be at all, inclusive
    const char
        *choices;  // "a|b|c", or the words that completion offers; "FILE" and "DIR" are files
    const char *heading;  // group in --help
    const char *help;     // one line
    // Custom kinds: reads text into s; the message says what was wrong and what would be right.
    rill_status (*parse)(rill__settings *s, const char *text, rill_error *err);
} rill__option;

// All options; ended by a row whose name is NULL.
extern const rill__option rill__options[];

// Reads argv[0..argc) into s as options and positionals of the one subcommand whose bit is
// `command` and whose name is for messages. RILL_EINVAL names the option at fault, and the nearest
// one there is.
RILL_NODISCARD rill_status rill__options_parse(unsigned command, const char *name, int argc,
                                               char *const *argv, rill__settings *s,
                                               rill_error *err);

// True if the command line had `name` (without dashes), in the form that `command` takes.
bool rill__options_given(const rill__settings *s, unsigned command, const char *name);

// The edit distance of two words, and the word of a NULL-ended list that is nearest to `word`; NULL
// if none is near enough to be meant.
size_t rill__edit_distance(const char *a, const char *b);
const char *rill__nearest(const char *word, const char *const *words);

#endif
