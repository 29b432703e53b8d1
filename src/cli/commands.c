// SPDX-License-Identifier: MIT
// The list of subcommands, in the order of `rill help`.
#include "cli/command.h"

#include <string.h>

const rill__command *const rill__commands[] = {
    &rill__command_run,    &rill__command_chat,    &rill__command_info,
    &rill__command_eval,   &rill__command_bench,   &rill__command_tokenize,
    &rill__command_logits, &rill__command_convert, NULL,
};

const rill__command *rill__command_find(const char *name) {
    for (size_t i = 0; rill__commands[i]; i++)
        if (!strcmp(rill__commands[i]->name, name)) return rill__commands[i];
    return NULL;
}
