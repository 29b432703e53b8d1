// SPDX-License-Identifier: MIT
// rill tokenize: text to ids, ids to text.
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/reader.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/number.h"

#include <stdio.h>
#include <string.h>

typedef struct id_printer {
    bool json;
    bool any;
} id_printer;

static rill_status print_ids(void *user, const rill_token *tokens, size_t n, rill_error *err) {
    id_printer *p = user;
    const char *between = p->json ? "," : " ";
    char line[4096];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%d", p->any ? between : "",
                                 tokens[i]);
        p->any = true;
        if (used > sizeof line - 32 || i + 1 == n) {
            if (!rill__output(line, used))
                return rill__fail(err, RILL_EINTERRUPTED, "standard output is closed");
            used = 0;
        }
    }
    return RILL_OK;
}

// The object is written as it comes, so that a text of any length takes no memory.
static rill_status encode(const rill_model *model, const rill__settings *s, rill_error *err) {
    id_printer printer = {.json = s->json};
    unsigned flags = RILL_TEXT_PARSE_SPECIAL | (s->special ? RILL_TEXT_ADD_SPECIAL : 0u);
    if (s->json) rill__outputf("{\"tokens\":[");
    rill_status status = rill__read_tokens(model, NULL, "-", flags, print_ids, &printer, err);
    if (status == RILL_OK || status == RILL_EINTERRUPTED) rill__outputf(s->json ? "]}\n" : "\n");
    return status;
}

static rill_status decode(const rill_model *model, const rill__settings *s, rill_error *err) {
    rill_token *tokens = NULL;
    char *text = NULL;
    size_t n = 0, length = 0;
    rill_status status = rill__read_ids(NULL, "-", &tokens, &n, err);
    if (status == RILL_OK) status = rill_decode(model, tokens, n, &text, &length, err);
    if (status == RILL_OK && s->json)
        (void)rill__machine_line(json_pack("{s:o}", "text", rill__machine_text(text, length)));
    else if (status == RILL_OK)
        rill__output(text, length);
    rill_text_free(text);
    rill__free(tokens);
    return status;
}

static int run(rill__settings *s) {
    rill_model *model = NULL;
    rill_error err = {0};
    char *path = NULL;
    const char *name = s->n_positionals ? s->positionals[0] : NULL;
    rill_status status = rill__find_tokenizer(name, &path, &err);
    if (status == RILL_OK) status = rill_tokenizer_open(path, &model, &err);
    rill__free(path);
    const char *warning;
    for (size_t i = 0; status == RILL_OK && (warning = rill_model_warning(model, i)); i++)
        rill__warn("%s", warning);
    if (status == RILL_OK) status = s->decode_ids ? decode(model, s, &err) : encode(model, s, &err);
    rill_model_close(&model);
    if (rill__output_closed()) return rill__output_status();
    return status == RILL_OK ? RILL_EXIT_OK : rill__report(&err);
}

const rill__command rill__command_tokenize = {
    .name = "tokenize",
    .bit = RILL_FOR_TOKENIZE,
    .usage = "[MODEL] [--special] [--decode] [--json] < text",
    .summary = "turn text into token ids, or back",
    .details =
        "Reads standard input and prints ids; with --decode reads ids and prints text. Special\n"
        "tokens written in the text are recognised. MODEL may be a directory with nothing but a\n"
        "tokenizer in it.",
    .max_positionals = 1,
    .run = run,
};
