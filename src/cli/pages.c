// SPDX-License-Identifier: MIT
// Writes, while building, the manual page and the completions from the option table.
//   rill_pages man FRAME | bash | zsh        on stdout
#include "cli/command.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static bool takes_files(const rill__option *o) {
    return o->choices && strcmp(o->choices, "FILE") == 0;
}

// ---- Manual ---------------------------------------------------------------------------------

// roff: a dash is a minus to be copied, a backslash and a leading dot or quote are marks.
static void roff(const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '-')
            fputs("\\-", stdout);
        else if (*c == '\\')
            fputs("\\e", stdout);
        else if ((*c == '.' || *c == '\'') && (c == text || c[-1] == '\n'))
            printf("\\&%c", *c);
        else
            putchar(*c);
    }
}

static void man_option(const rill__option *o) {
    fputs(".TP\n", stdout);
    if (o->letter) printf("\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", stdout);
    roff(o->name);
    fputs("\\fR", stdout);
    if (o->metavar) {
        fputs(" \\fI", stdout);
        roff(o->metavar);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    roff(o->help);
    if (o->choices && strchr(o->choices, '|')) {
        fputs(". One of ", stdout);
        for (const char *c = o->choices; *c; c++)
            fputs(*c == '|' ? ", " : (const char[]){*c, 0}, stdout);
    }
    fputs(".\n", stdout);
}

// Commands, each with the options that it alone takes; those of several follow once.
static void man_body(void) {
    puts(".SH COMMANDS");
    for (size_t i = 0; rill__commands[i]; i++) {
        const rill__command *c = rill__commands[i];
        printf(".SS ");
        printf("rill %s ", c->name);
        roff(c->usage);
        putchar('\n');
        roff(c->details);
        putchar('\n');
        for (const rill__option *o = rill__options; o->name; o++)
            if (o->commands == c->bit) man_option(o);
    }
    puts(".SH OPTIONS OF SEVERAL COMMANDS");
    const char *heading = NULL;
    for (const rill__option *o = rill__options; o->name; o++) {
        if ((o->commands & (o->commands - 1)) == 0) continue;
        if (!heading || strcmp(heading, o->heading) != 0) printf(".SS %s\n", o->heading);
        heading = o->heading;
        man_option(o);
        printf("(");
        bool any = false, evals = (o->commands & RILL_FOR_EVALS) == RILL_FOR_EVALS;
        if (evals) printf("eval"), any = true;
        for (size_t i = 0; rill__commands[i]; i++) {
            unsigned bit = rill__commands[i]->bit;
            if (!(o->commands & bit) || (evals && bit & (RILL_FOR_EVALS | RILL_FOR_EVAL))) continue;
            printf("%s%s", any ? ", " : "", rill__commands[i]->name);
            any = true;
        }
        puts(")");
    }
}

// The frame is the page but for one line, "@COMMANDS@".
static int man(const char *frame) {
    static const char mark[] = "@COMMANDS@\n";
    rill_error err;
    char *text;
    size_t length;
    if (rill__file_read(frame, 1 << 20, &text, &length, &err) != RILL_OK) {
        fprintf(stderr, "rill_pages: %s\n", err.message);
        return 1;
    }
    char *at = strstr(text, mark);
    if (at) {
        fwrite(text, 1, (size_t)(at - text), stdout);
        man_body();
        fputs(at + strlen(mark), stdout);
    } else {
        fprintf(stderr, "rill_pages: %s: no line @COMMANDS@\n", frame);
    }
    rill__free(text);
    return at ? 0 : 1;
}

// ---- Completions ----------------------------------------------------------------------------

static void words(const char *choices) {
    for (const char *c = choices; *c; c++) putchar(*c == '|' ? ' ' : *c);
}

// True if the command has kinds.
static bool is_group(const rill__command *command) {
    for (size_t i = 0; rill__commands[i]; i++)
        if (rill__command_is_kind(rill__commands[i], command)) return true;
    return false;
}

// The second word of a group; what is none of its kinds may be a model's file.
static void bash_kinds(const rill__command *group) {
    printf("    if [ \"$command\" = %s ]; then\n"
           "        case $COMP_CWORD:$word in\n"
           "        2:*/*) ;;\n"
           "        2:*) COMPREPLY=($(compgen -W \"",
           group->name);
    for (size_t i = 0; rill__commands[i]; i++)
        if (rill__command_is_kind(rill__commands[i], group))
            printf("%s ", strchr(rill__commands[i]->name, ' ') + 1);
    printf("--help\" -- \"$word\"))\n"
           "            [ ${#COMPREPLY[@]} -eq 0 ] || return ;;\n"
           "        esac\n"
           "        case ${COMP_WORDS[2]} in\n"
           "        ");
    bool any = false;
    for (size_t i = 0; rill__commands[i]; i++)
        if (rill__command_is_kind(rill__commands[i], group))
            printf("%s%s", any ? "|" : "", strchr(rill__commands[i]->name, ' ') + 1), any = true;
    printf(") command=\"%s ${COMP_WORDS[2]}\" ;;\n"
           "        esac\n"
           "    fi\n",
           group->name);
}

static void bash(void) {
    puts("# bash completion for rill, made from its option table.\n"
         "_rill() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
         "    COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; rill__commands[i]; i++)
        if (!strchr(rill__commands[i]->name, ' ')) printf("%s ", rill__commands[i]->name);
    puts("help --version\" -- \"$word\"))\n"
         "        return\n"
         "    fi\n"
         "    local command=${COMP_WORDS[1]}");
    for (size_t i = 0; rill__commands[i]; i++)
        if (is_group(rill__commands[i])) bash_kinds(rill__commands[i]);
    puts("    case $command:$before in");
    for (size_t i = 0; rill__commands[i]; i++) {
        for (const rill__option *o = rill__options; o->name; o++) {
            if (!(o->commands & rill__commands[i]->bit) || !o->metavar || takes_files(o)) continue;
            printf("    '%s':--%s) COMPREPLY=($(compgen -W \"", rill__commands[i]->name, o->name);
            if (o->choices) words(o->choices);
            puts("\" -- \"$word\")); return ;;");
        }
    }
    puts("    esac\n"
         "    case $word in\n"
         "    -*) ;;\n"
         "    *) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")); return "
         ";;\n"
         "    esac\n"
         "    case $command in");
    for (size_t i = 0; rill__commands[i]; i++) {
        printf("    '%s') COMPREPLY=($(compgen -W \"", rill__commands[i]->name);
        for (const rill__option *o = rill__options; o->name; o++)
            if (o->commands & rill__commands[i]->bit) printf("--%s ", o->name);
        puts("\" -- \"$word\")) ;;");
    }
    puts("    esac\n"
         "}\n"
         "complete -F _rill rill");
}

// Inside '...' of zsh, in a description in brackets.
static void zsh_text(const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void zsh_option(const rill__option *o) {
    if (o->letter) printf("            '-%c[", o->letter), zsh_text(o->help);
    for (int form = o->letter ? 0 : 1; form < 2; form++) {
        if (form == 1)
            printf("            '--%s%s[", o->name, o->metavar ? "=" : ""), zsh_text(o->help);
        putchar(']');
        if (o->metavar) {
            putchar(':');
            zsh_text(o->metavar);
            putchar(':');
            if (takes_files(o)) {
                fputs("_files", stdout);
            } else if (o->choices) {
                putchar('(');
                words(o->choices);
                putchar(')');
            }
        }
        puts("' \\");
    }
}

// The kinds of a group, or all commands that are no kind.
static void zsh_names(const rill__command *group) {
    for (size_t i = 0; rill__commands[i]; i++) {
        const rill__command *c = rill__commands[i];
        const char *space = strchr(c->name, ' ');
        if (group ? !rill__command_is_kind(c, group) : space != NULL) continue;
        printf("        '%s:", group ? space + 1 : c->name);
        zsh_text(c->summary);
        puts("'");
    }
}

// What a group's second word may be; what is none of its kinds may be a model's file.
static void zsh_kinds(const rill__command *group) {
    printf("    if [[ $command == %s ]]; then\n"
           "        local -a kinds\n"
           "        kinds=(\n",
           group->name);
    zsh_names(group);
    printf("        )\n"
           "        if (( CURRENT == 2 )); then\n"
           "            _describe 'kind' kinds\n"
           "            _files\n"
           "            return\n"
           "        fi\n"
           "        if (( ${kinds[(I)$words[2]:*]} )); then\n"
           "            command=\"%s $words[2]\"\n"
           "            shift words\n"
           "            (( CURRENT-- ))\n"
           "        fi\n"
           "    fi\n",
           group->name);
}

static void zsh(void) {
    puts("#compdef rill\n"
         "# zsh completion for rill, made from its option table.\n"
         "_rill() {\n"
         "    local -a commands\n"
         "    commands=(");
    zsh_names(NULL);
    puts("        'help:how to use rill'\n"
         "    )\n"
         "    if (( CURRENT == 2 )); then\n"
         "        _describe 'command' commands\n"
         "        return\n"
         "    fi\n"
         "    local command=$words[2]\n"
         "    shift words\n"
         "    (( CURRENT-- ))");
    for (size_t i = 0; rill__commands[i]; i++)
        if (is_group(rill__commands[i])) zsh_kinds(rill__commands[i]);
    puts("    case $command in");
    for (size_t i = 0; rill__commands[i]; i++) {
        printf("    '%s')\n        _arguments \\\n", rill__commands[i]->name);
        for (const rill__option *o = rill__options; o->name; o++)
            if (o->commands & rill__commands[i]->bit) zsh_option(o);
        puts("            '*:model or file:_files'\n"
             "        ;;");
    }
    puts("    esac\n"
         "}\n"
         "_rill \"$@\"");
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "man")) return man(argv[2]);
    if (argc == 2 && !strcmp(argv[1], "bash"))
        bash();
    else if (argc == 2 && !strcmp(argv[1], "zsh"))
        zsh();
    else
        return 2;
    return fflush(stdout) ? 1 : 0;
}
