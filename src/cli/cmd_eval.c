// SPDX-License-Identifier: MIT
// rill eval: the word alone; each measure is a command of its own in eval_MEASURE.c.
#include "cli/command.h"

#include <string.h>

static int run(rill__settings *s) {
    const char *names[16];
    size_t n = 0, skip = strlen(rill__command_eval.name) + 1;
    for (size_t i = 0; rill__commands[i] && n < 15; i++)
        if (rill__command_is_kind(rill__commands[i], &rill__command_eval))
            names[n++] = rill__commands[i]->name + skip;
    names[n] = NULL;
    if (!s->n_positionals)
        return rill__usage("eval: wants a measure, as rill eval perplexity: see rill eval --help");
    const char *near = rill__nearest(s->positionals[0], names);
    if (near)
        return rill__usage("eval: %.80s: no such evaluation: did you mean rill eval %s?",
                           s->positionals[0], near);
    return rill__usage("eval: %.80s: no such evaluation: see rill eval --help", s->positionals[0]);
}

const rill__command rill__command_eval = {
    .name = "eval",
    .bit = RILL_FOR_EVAL,
    .usage = "MEASURE [MODEL] [options]",
    .summary = "measure how well a model streams",
    .details =
        "Each measure prints a table: for people, as JSON lines (--json), into a file (--csv),\n"
        "drawn (--figure). Options that take a LIST, 0,1,2,4, measure every combination in one\n"
        "call. With --resume DIR an interrupted evaluation goes on where it was.",
    .max_positionals = RILL_MAX_POSITIONALS,
    .run = run,
};
