// SPDX-License-Identifier: MIT
// --help, from the same table as the parser.
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

enum { OPTION_COLUMNS = 25, WORD_COLUMNS = 52 };

void rill__help_overview(void *out) {
    fprintf(
        out,
        "rill runs language models for ever: endless text in constant memory.\n\n"
        "  rill run                         let the shipped model write until Ctrl-C\n"
        "  rill run model.gguf -p 'It was'  your own model, your own beginning\n"
        "  rill chat                        talk; old messages are forgotten, and rill says so\n\n"
        "Commands:\n");
    for (size_t i = 0; rill__commands[i]; i++)
        if (!strchr(rill__commands[i]->name, ' '))
            fprintf(out, "  %-10s %s\n", rill__commands[i]->name, rill__commands[i]->summary);
    fprintf(out,
            "\nMODEL is a .gguf file or a Hugging Face directory. Without it: $RILL_MODEL, or the\n"
            "model that came with rill.\n\n"
            "  rill COMMAND --help              the options of a command\n"
            "  rill --version                   which rill this is\n");
}

// Words with | between, on as many lines as they take.
static void choice_lines(const char *words, FILE *out) {
    while (*words) {
        size_t n = strlen(words);
        if (n > WORD_COLUMNS) {
            n = WORD_COLUMNS;
            while (n > 0 && words[n - 1] != '|') n--;
        }
        fprintf(out, "  %*s %.*s\n", OPTION_COLUMNS, "", (int)n, words);
        words += n;
    }
}

static void option_line(const rill__option *o, FILE *out) {
    char left[64];
    char letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->metavar ? " " : "",
             o->metavar ? o->metavar : "");
    if (strlen(left) > OPTION_COLUMNS)
        fprintf(out, "  %s\n  %*s %s\n", left, OPTION_COLUMNS, "", o->help);
    else
        fprintf(out, "  %-*s %s\n", OPTION_COLUMNS, left, o->help);
    // The words of a choice are worth their line: nobody guesses them.
    if (o->choices && strchr(o->choices, '|')) choice_lines(o->choices, out);
}

void rill__help_command(const rill__command *command, void *out) {
    fprintf(out, "Usage: rill %s %s\n\n%s\n", command->name, command->usage, command->details);
    bool kinds = false;
    for (size_t i = 0; rill__commands[i]; i++) {
        const rill__command *kind = rill__commands[i];
        if (!rill__command_is_kind(kind, command)) continue;
        if (!kinds) fputc('\n', out);
        kinds = true;
        fprintf(out, "  rill %-18s %s\n", kind->name, kind->summary);
    }
    const char *heading = NULL;
    for (const rill__option *o = rill__options; o->name; o++) {
        if (!(o->commands & command->bit)) continue;
        if (!heading || strcmp(heading, o->heading) != 0) fprintf(out, "\n%s:\n", o->heading);
        heading = o->heading;
        option_line(o, out);
    }
}
