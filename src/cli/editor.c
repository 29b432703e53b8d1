// SPDX-License-Identifier: MIT
// libedit, with a way out on Ctrl-C and a history file.
#include "cli/editor.h"

#include "cli/terminal.h"

#include "base/buffer.h"

#include <histedit.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 1000 };
static const size_t max_line = (size_t)64 << 20;

struct rill__editor {
    bool terminal;
    EditLine *edit;  // NULL when not on a terminal
    History *history;
    char history_path[PATH_MAX];  // "" for none
    rill__bytes line;
    bool ended;    // plain input: nothing more will come
    size_t typed;  // characters on the line when it was interrupted
};

static const char *prompt(EditLine *edit) {
    (void)edit;
    return "> ";
}

// libedit's own reader goes on after a signal; this one ends the line. -1 does that, and libedit
// forgets the line before it returns.
static int read_key(EditLine *edit, wchar_t *out) {
    rill__editor *e;
    mbstate_t state = {0};
    for (;;) {
        char byte;
        ssize_t n = rill__read_input(STDIN_FILENO, &byte, 1);
        if (n < 0 && el_get(edit, EL_CLIENTDATA, &e) == 0) {
            const LineInfo *line = el_line(edit);
            e->typed = (size_t)(line->lastchar - line->buffer);
        }
        if (n <= 0) return n < 0 ? -1 : 0;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-2) continue;
        if (used == (size_t)-1) *out = L'?';
        return 1;
    }
}

// Creates the folders of `path` from the home directory down; the file's own name is left out.
static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

static void find_history(rill__editor *e) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length = 0;
    if (state && *state == '/')
        length = snprintf(e->history_path, sizeof e->history_path, "%s/rill/history", state);
    else if (home && *home == '/')
        length =
            snprintf(e->history_path, sizeof e->history_path, "%s/.local/state/rill/history", home);
    if (length <= 0 || length >= (int)sizeof e->history_path)
        e->history_path[0] = 0;
    else
        make_folders(e->history_path);
}

static rill_status open_edit(rill__editor *e, rill_error *err) {
    HistEvent event;
    e->edit = el_init("rill", stdin, stdout, stderr);
    e->history = history_init();
    if (!e->edit || !e->history)
        return rill__fail(err, RILL_ENOMEM, "line editing: the terminal cannot be set up");
    el_set(e->edit, EL_PROMPT, prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(e->edit, EL_GETCFN, read_key);
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_HIST, history, e->history);
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    find_history(e);
    if (e->history_path[0]) history(e->history, &event, H_LOAD, e->history_path);
    return RILL_OK;
}

rill_status rill__editor_open(rill__editor **out, rill_error *err) {
    rill__editor *e = rill__calloc(1, sizeof *e);
    if (!e) return rill__fail_memory(err, "an editor of lines", sizeof *e);
    rill__bytes_init(&e->line, max_line);
    e->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    rill_status status = e->terminal ? open_edit(e, err) : RILL_OK;
    if (status != RILL_OK)
        rill__editor_close(&e);
    else
        *out = e;
    return status;
}

void rill__editor_close(rill__editor **editor) {
    rill__editor *e = *editor;
    *editor = NULL;
    if (!e) return;
    HistEvent event;
    if (e->history && e->history_path[0]) {
        mode_t mask = umask(0077);  // what people tell a model is theirs
        history(e->history, &event, H_SAVE, e->history_path);
        umask(mask);
    }
    if (e->edit) el_end(e->edit);
    if (e->history) history_end(e->history);
    rill__bytes_deinit(&e->line);
    rill__free(e);
}

bool rill__editor_is_terminal(const rill__editor *editor) {
    return editor->terminal;
}

static rill__line read_edited(rill__editor *e, const char **text, size_t *length) {
    int count = 0;
    HistEvent event;
    const char *line = el_gets(e->edit, &count);
    if (rill__interrupted()) {
        *length = e->typed;
        rill__output("\n", 1);
        el_reset(e->edit);
        return RILL_LINE_INTERRUPTED;
    }
    if (!line || count <= 0) return RILL_LINE_END;
    if (line[0] != '\n') history(e->history, &event, H_ENTER, line);
    *text = line;
    *length = strlen(line);
    if (*length && line[*length - 1] == '\n') {
        rill__bytes_reset(&e->line);
        if (rill__bytes_append(&e->line, line, --*length, NULL) != RILL_OK) return RILL_LINE_END;
        *text = e->line.data ? e->line.data : "";
    }
    return RILL_LINE_TEXT;
}

// Byte by byte is plenty for lines that a model must answer, and keeps what follows for others.
static rill__line read_plain(rill__editor *e, const char **text, size_t *length) {
    rill__bytes_reset(&e->line);
    *length = 0;
    while (!e->ended) {
        char byte;
        ssize_t n = rill__read_input(STDIN_FILENO, &byte, 1);
        if (rill__interrupted()) return RILL_LINE_INTERRUPTED;
        if (n <= 0 || (byte != '\n' && rill__bytes_append(&e->line, &byte, 1, NULL) != RILL_OK))
            e->ended = true;
        else if (byte == '\n')
            break;
    }
    if (e->ended && e->line.length == 0) return RILL_LINE_END;
    *text = e->line.data ? e->line.data : "";
    *length = e->line.length;
    return RILL_LINE_TEXT;
}

rill__line rill__editor_read(rill__editor *editor, const char **text, size_t *length) {
    return editor->edit ? read_edited(editor, text, length) : read_plain(editor, text, length);
}
