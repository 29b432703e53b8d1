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
    for (size_t i = 0; rill__commands[i] && n < 30; i++)
        if (!strchr(rill__commands[i]->name, ' ')) names[n++] = rill__commands[i]->name;
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

// n words that name a command, or none.
static int help(int n, char *const *words) {
    int used;
    const rill__command *command = rill__command_find(n, words, &used);
    if (n > 0 && !command) return unknown_command(words[0]);
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
        return help(argc - 2, argv + 2);
    int n_words;
    const rill__command *command = rill__command_find(argc - 1, argv + 1, &n_words);
    if (!command) return unknown_command(word);

    static rill__settings settings;  // 10 KiB and more: not for the stack
    rill_error err = {0};
    rill__settings_default(&settings);
    rill_status status = rill__options_parse(command->bit, command->name, argc - 1 - n_words,
                                             argv + 1 + n_words, &settings, &err);
    if (settings.help) return help(n_words, argv + 1);
    if (status != RILL_OK) return rill__usage("%s", err.message);
    if (settings.n_positionals > command->max_positionals)
        return rill__usage("%.80s: one word too many: see rill %s --help",
                           settings.positionals[command->max_positionals], command->name);
    rill__interrupt_install();
    return command->run(&settings);
}
