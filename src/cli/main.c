// SPDX-License-Identifier: MIT
// rill: finds the subcommand, reads its options, runs it.
#include "cli/command.h"
#include "cli/terminal.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static int unknown_command(const char *word) {
    const char *names[32];
    size_t n = 0;
    for (; rill__commands[n] && n < 30; n++) names[n] = rill__commands[n]->name;
    names[n++] = "help";
    names[n] = NULL;
    const char *near = rill__nearest(word, names);
    if (near) return rill__usage("%.80s: no such command: did you mean rill %s?", word, near);
    return rill__usage("%.80s: no such command: see rill help", word);
}

static int finish(int status) {
    if (fflush(stdout) != 0) {
        perror("rill: standard output");
        return RILL_EXIT_FAILED;
    }
    return status;
}

static int help(const char *word) {
    const rill__command *command = word ? rill__command_find(word) : NULL;
    if (word && !command) return unknown_command(word);
    if (command)
        rill__help_command(command, stdout);
    else
        rill__help_overview(stdout);
    return finish(RILL_EXIT_OK);
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "");
    if (argc < 2) {
        rill__help_overview(stderr);
        return RILL_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        printf("rill %s\n", rill_version());
        return finish(RILL_EXIT_OK);
    }
    if (!strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h"))
        return help(argc > 2 ? argv[2] : NULL);
    const rill__command *command = rill__command_find(word);
    if (!command) return unknown_command(word);

    static rill__settings settings;  // 10 KiB and more: not for the stack
    rill_error err = {0};
    rill__settings_default(&settings);
    rill_status status =
        rill__options_parse(command->bit, command->name, argc - 2, argv + 2, &settings, &err);
    if (settings.help) return help(command->name);
    if (status != RILL_OK) return rill__usage("%s", err.message);
    if (settings.n_positionals > command->max_positionals)
        return rill__usage("%.80s: one word too many: see rill %s --help",
                           settings.positionals[command->max_positionals], command->name);
    rill__interrupt_install();
    return command->run(&settings);
}
