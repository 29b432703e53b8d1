// SPDX-License-Identifier: MIT
// The list of subcommands, in the order of `rill help`.
#include "cli/command.h"

#include <string.h>

// clang-format off
const rill__command *const rill__commands[] = {
    &rill__command_run,
    &rill__command_chat,
    &rill__command_info,
    &rill__command_eval,
    &rill__command_perplexity,
    &rill__command_compare,
    &rill__command_streameval,
    &rill__command_arc,
    &rill__command_sinks,
    &rill__command_latency,
    &rill__command_memory,
    &rill__command_bench,
    &rill__command_bench_decode,
    &rill__command_bench_prefill,
    &rill__command_bench_batch,
    &rill__command_bench_cache,
    &rill__command_bench_threads,
    &rill__command_bench_neighbour,
    &rill__command_tokenize,
    &rill__command_logits,
    &rill__command_convert,
    NULL,
};
// clang-format on

bool rill__command_is_kind(const rill__command *command, const rill__command *group) {
    size_t length = strlen(group->name);
    return !strncmp(command->name, group->name, length) && command->name[length] == ' ';
}

const rill__command *rill__command_find(int n, char *const *words, int *n_words) {
    const rill__command *found = NULL;
    *n_words = 1;
    for (size_t i = 0; n > 0 && rill__commands[i]; i++) {
        const rill__command *c = rill__commands[i];
        if (!strcmp(c->name, words[0])) found = c;
        if (found && n > 1 && rill__command_is_kind(c, found) &&
            !strcmp(c->name + strlen(found->name) + 1, words[1])) {
            *n_words = 2;
            return c;
        }
    }
    return found;
}
