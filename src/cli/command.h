// SPDX-License-Identifier: MIT
// A subcommand: one file with one const descriptor, and one line in commands.c.
#ifndef RILL_CLI_COMMAND_H
#define RILL_CLI_COMMAND_H

#include "cli/option.h"

#include "base/base.h"

// Exit statuses.
enum {
    RILL_EXIT_OK = 0,
    RILL_EXIT_FAILED = 1,
    RILL_EXIT_USAGE = 2,
    RILL_EXIT_INTERRUPTED = 130,
};

typedef struct rill__command {
    const char *name;     // one word, or two where the first is a command that has kinds
    unsigned bit;         // RILL_FOR_..., which options it takes
    const char *usage;    // what follows the name: "[MODEL] [options]"
    const char *summary;  // a few words, for `rill help`
    const char *details;  // paragraphs for --help and the manual; lines of at most 78 columns
    size_t max_positionals;
    // Does the work and returns an exit status. `s` may be changed.
    int (*run)(rill__settings *s);
} rill__command;

// All subcommands, NULL-ended.
extern const rill__command *const rill__commands[];
extern const rill__command rill__command_run, rill__command_chat, rill__command_logits,
    rill__command_tokenize, rill__command_info, rill__command_convert, rill__command_eval,
    rill__command_bench, rill__command_perplexity, rill__command_compare, rill__command_streameval,
    rill__command_arc, rill__command_sinks, rill__command_latency, rill__command_memory,
    rill__command_bench_decode, rill__command_bench_prefill, rill__command_bench_batch,
    rill__command_bench_cache, rill__command_bench_threads, rill__command_bench_neighbour;

// The subcommand that the first one or two of n words name, and in *n_words how many it took; NULL
// if there is none.
const rill__command *rill__command_find(int n, char *const *words, int *n_words);
// True if `command` is a kind of `group`: "eval perplexity" of "eval".
bool rill__command_is_kind(const rill__command *command, const rill__command *group);

// Prints help for one screen, and for a subcommand, on `out` (a FILE *).
void rill__help_overview(void *out);
void rill__help_command(const rill__command *command, void *out);

// Prints "rill: MESSAGE" on stderr, underscores of the library's field names turned into the dashes
// of options where the message begins with one; returns the exit status that suits err->status.
int rill__report(const rill_error *err);
// The same for a wrong command line.
int rill__usage(const char *format, ...) RILL_PRINTF(1, 2);
// Prints "rill: warning: ..." on stderr.
void rill__warn(const char *format, ...) RILL_PRINTF(1, 2);

#endif
