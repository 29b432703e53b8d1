// SPDX-License-Identifier: MIT
// rill chat: a conversation that never ends and says what it has forgotten.
#include "cli/command.h"
#include "cli/editor.h"
#include "cli/machine.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/buffer.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>

enum { EXCERPT = 60 };  // bytes of the oldest visible text that /stats shows

typedef struct chat {
    rill__session session;
    rill__settings *settings;
    rill__editor *editor;
    rill__bytes answer;  // of this turn, for --json
    bool warned;         // that something was forgotten
    bool leave;
    bool ends_line;
} chat;

static bool for_people(const chat *c) {
    return !c->settings->json;
}

// ---- Turns ----------------------------------------------------------------------------------

static rill_status begin(chat *c, rill_error *err) {
    const char *text = c->settings->system;
    if (!text) return RILL_OK;
    return rill_stream_feed_message(c->session.stream, RILL_ROLE_SYSTEM, text, strlen(text),
                                    c->settings->pin_system, err);
}

static bool write_answer(void *user, rill_token token, const char *text, size_t length) {
    chat *c = user;
    (void)token;
    bool ok = true;
    if (c->settings->json)
        ok = rill__bytes_append(&c->answer, text, length, NULL) == RILL_OK;
    else if (length)
        ok = rill__output(text, length);
    if (length) c->ends_line = text[length - 1] == '\n';
    return ok && !rill__interrupted();
}

// A message that the model cannot see whole; `length`: its tokens.
static void warn_long(const chat *c, uint64_t length) {
    rill_stream_report report;
    rill_stream_get_report(c->session.stream, &report);
    uint64_t most = report.held - report.sinks;
    if (length > most)
        rill__warn("this message has %llu tokens: the model sees the last %llu of them",
                   (unsigned long long)length, (unsigned long long)most);
}

static void warn_forgotten(chat *c) {
    rill_stream_report report;
    rill_stream_get_report(c->session.stream, &report);
    if (!report.evicted || c->warned) return;
    c->warned = true;
    rill__warn("the window of %u tokens is full: the model no longer sees the beginning of this "
               "conversation; /stats says what it does",
               report.capacity);
}

static rill_status answer(chat *c, const char *text, size_t length, rill_error *err) {
    rill_stream *stream = c->session.stream;
    rill_generate_options options;
    rill_generate_result result = {0};
    rill_generate_options_default(&options);
    options.max_tokens = c->settings->max_tokens;
    options.draft = c->settings->draft;
    options.stops = c->settings->stops;
    options.n_stops = c->settings->n_stops;
    rill__bytes_reset(&c->answer);
    c->ends_line = true;
    rill_stream_report before, after;
    rill_stream_get_report(stream, &before);
    rill_status status = rill_stream_feed_message(stream, RILL_ROLE_USER, text, length, false, err);
    rill_stream_get_report(stream, &after);
    if (status == RILL_OK) status = rill_stream_begin_answer(stream, err);
    if (status == RILL_OK) warn_long(c, after.seen - before.seen);
    if (status != RILL_OK) return status;
    status = rill_stream_generate(stream, &options, write_answer, c, &result, err);
    // Also after a failure, so that the conversation can go on.
    rill_status ended = rill_stream_end_answer(stream, status == RILL_OK ? err : NULL);
    if (status == RILL_OK) status = ended;
    if (status != RILL_OK) return status;
    if (for_people(c)) {
        if (!c->ends_line) rill__output("\n", 1);
        if (result.stop == RILL_STOP_INTERRUPTED && !rill__output_closed())
            fputs("rill: the answer was cut short\n", stderr);
        else if (result.stop == RILL_STOP_MEMORY)
            rill__warn("the context is full: /reset begins anew");
    } else {
        rill_stream_report report;
        rill_stream_get_report(stream, &report);
        const char *said = c->answer.data ? c->answer.data : "";
        json_t *object =
            json_pack("{s:s, s:o, s:s, s:I, s:I, s:I}", "event", "answer", "text",
                      rill__machine_text(said, c->answer.length), "stop",
                      rill_stop_name(result.stop), "written", (json_int_t)result.n_tokens,
                      "drafted", (json_int_t)result.n_drafted, "accepted",
                      (json_int_t)result.n_accepted);
        rill__machine_report(object, &report);
        (void)rill__machine_line(object);
    }
    warn_forgotten(c);
    return RILL_OK;
}

// ---- Commands -------------------------------------------------------------------------------

// The first words of what is still visible past the sinks, on one line.
static rill_status oldest_text(chat *c, char *out, size_t capacity, rill_error *err) {
    rill_stream_report report;
    rill_stream_get_report(c->session.stream, &report);
    size_t n = (size_t)report.held, skip = report.sinks < n ? report.sinks : 0;
    rill_token *tokens = rill__calloc(n ? n : 1, sizeof *tokens);
    char *text = NULL;
    size_t length = 0;
    if (!tokens) return rill__fail_memory(err, "visible tokens", n * sizeof *tokens);
    n = rill_stream_visible(c->session.stream, tokens, n);
    skip = skip < n ? skip : 0;
    // A token is seldom less than a byte of text: as many as fit the excerpt are enough.
    size_t shown = n - skip < EXCERPT ? n - skip : EXCERPT;
    rill_status status = rill_decode(c->session.model, tokens + skip, shown, &text, &length, err);
    rill__free(tokens);
    if (status != RILL_OK) return status;
    size_t used = 0;
    for (size_t i = 0; i < length && used + 1 < capacity; i++)
        out[used++] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
    // Not half a character at the end.
    while (used < length && used > 0 && ((unsigned char)text[used] & 0xC0) == 0x80) used--;
    out[used] = 0;
    rill_text_free(text);
    return RILL_OK;
}

static rill_status do_stats(chat *c, const char *argument, rill_error *err) {
    (void)argument;
    char excerpt[EXCERPT + 1] = "", bytes[32];
    rill_stream_report report;
    rill_status status = oldest_text(c, excerpt, sizeof excerpt, err);
    if (status != RILL_OK) return status;
    rill_stream_get_report(c->session.stream, &report);
    rill__number_bytes(bytes, sizeof bytes, report.bytes.cache);
    if (!for_people(c)) {
        json_t *object = json_pack("{s:s, s:o}", "event", "stats", "oldest",
                                   rill__machine_text(excerpt, strlen(excerpt)));
        rill__machine_report(object, &report);
        (void)rill__machine_line(object);
        return RILL_OK;
    }
    rill__outputf("  sees       %llu tokens of %u (%u kept for ever), %llu whole message%s\n"
                  "  forgotten  %llu tokens, %llu messages wholly or in part\n"
                  "  read       %llu tokens in all; the cache takes %s and will not grow\n"
                  "  oldest     \"%s\"\n",
                  (unsigned long long)report.held, report.capacity, report.sinks,
                  (unsigned long long)report.messages_held, report.messages_held == 1 ? "" : "s",
                  (unsigned long long)report.evicted,
                  (unsigned long long)(report.messages_seen - report.messages_held),
                  (unsigned long long)report.seen, bytes, excerpt);
    return RILL_OK;
}

static rill_status need_file(const char *argument, const char *command, rill_error *err) {
    if (*argument) return RILL_OK;
    return rill__fail(err, RILL_EINVAL, "/%s: wants a file name", command);
}

static rill_status do_save(chat *c, const char *argument, rill_error *err) {
    rill_status status = need_file(argument, "save", err);
    if (status == RILL_OK) status = rill_stream_save(c->session.stream, argument, err);
    if (status == RILL_OK && for_people(c)) rill__outputf("saved to %s\n", argument);
    return status;
}

static rill_status do_load(chat *c, const char *argument, rill_error *err) {
    rill_status status = need_file(argument, "load", err);
    if (status == RILL_OK)
        status = rill__session_resume(&c->session, c->settings, RILL_FOR_CHAT, argument, err);
    if (status != RILL_OK) return status;
    c->warned = false;
    if (for_people(c)) rill__outputf("loaded %s\n", argument);
    return RILL_OK;
}

static rill_status do_reset(chat *c, const char *argument, rill_error *err) {
    (void)argument;
    rill_stream_reset(c->session.stream);
    c->warned = false;
    if (for_people(c))
        rill__outputf("all forgotten%s\n", c->settings->system ? " but the system text" : "");
    return begin(c, err);
}

static rill_status do_quit(chat *c, const char *argument, rill_error *err) {
    (void)argument;
    (void)err;
    c->leave = true;
    return RILL_OK;
}

static rill_status do_help(chat *c, const char *argument, rill_error *err);

static const struct {
    const char *name;
    const char *help;
    rill_status (*run)(chat *c, const char *argument, rill_error *err);
} commands[] = {
    {"stats", "what the model still sees, and what it has forgotten", do_stats},
    {"save", "FILE: save this conversation", do_save},
    {"load", "FILE: go on with a saved one", do_load},
    {"reset", "forget everything but the system text", do_reset},
    {"help", "these commands", do_help},
    {"quit", "leave (Ctrl-D too)", do_quit},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static rill_status do_help(chat *c, const char *argument, rill_error *err) {
    (void)c;
    (void)argument;
    (void)err;
    for (size_t i = 0; i < N_COMMANDS; i++)
        rill__outputf("  /%-6s %s\n", commands[i].name, commands[i].help);
    rill__outputf("  Ctrl-C stops an answer; anything else is said to the model\n");
    return RILL_OK;
}

static rill_status command_line(chat *c, const char *line, rill_error *err) {
    size_t length = strcspn(line, " ");
    const char *argument = line + length + strspn(line + length, " ");
    const char *names[N_COMMANDS + 1] = {NULL};
    char word[32];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strlen(commands[i].name) == length && !memcmp(commands[i].name, line, length))
            return commands[i].run(c, argument, err);
    }
    snprintf(word, sizeof word, "%.*s", (int)(length < 31 ? length : 31), line);
    const char *near = rill__nearest(word, names);
    return rill__fail(err, RILL_EINVAL, "/%s: no such command: %s%s", word,
                      near ? "did you mean /" : "see /", near ? near : "help");
}

// ---- The loop -------------------------------------------------------------------------------

// Returns the exit status.
static int converse(chat *c) {
    int interrupts = 0;  // at the prompt, one after another
    int failures = 0;
    while (!c->leave && !rill__output_closed()) {
        const char *line = NULL;
        size_t length = 0;
        rill_error err = {0};
        rill__line kind = rill__editor_read(c->editor, &line, &length);
        if (kind == RILL_LINE_END) break;
        if (kind == RILL_LINE_INTERRUPTED) {
            // With something on the line only that is dropped.
            interrupts = length > 0 ? 0 : interrupts + 1;
            if (interrupts > 1 || rill__terminated() || !rill__editor_is_terminal(c->editor))
                return RILL_EXIT_INTERRUPTED;
            if (interrupts) fputs("(Ctrl-C again or Ctrl-D to leave)\n", stderr);
            rill__interrupt_clear();
            continue;
        }
        interrupts = 0;
        if (length == 0) continue;
        rill_status status =
            line[0] == '/' ? command_line(c, line + 1, &err) : answer(c, line, length, &err);
        if (rill__interrupted() && (rill__terminated() || !rill__editor_is_terminal(c->editor)))
            return RILL_EXIT_INTERRUPTED;
        rill__interrupt_clear();
        // On a terminal one may try again; a script is told at the end.
        if (status != RILL_OK) failures |= rill__report(&err) != RILL_EXIT_OK;
    }
    if (rill__output_status()) return RILL_EXIT_FAILED;
    return failures && !rill__editor_is_terminal(c->editor) ? RILL_EXIT_FAILED : RILL_EXIT_OK;
}

static void greet(const chat *c) {
    if (!rill__editor_is_terminal(c->editor) || !for_people(c)) return;
    rill_stream_report report;
    rill_stream_get_report(c->session.stream, &report);
    rill__outputf("%s, seeing %u tokens at once. /help lists commands, Ctrl-D leaves.\n",
                  c->session.info.name, report.capacity);
}

static int run(rill__settings *s) {
    chat c = {.settings = s};
    rill_error err = {0};
    rill__bytes_init(&c.answer, 0);
    if (!rill__options_given(s, RILL_FOR_CHAT, "evict") && !s->resume)
        s->stream.evict = RILL_EVICT_MESSAGE;
    rill_status status =
        rill__session_open(&c.session, s, s->n_positionals ? s->positionals[0] : NULL, &err);
    if (status == RILL_OK && !c.session.info.has_tokenizer)
        status = rill__fail(&err, RILL_EUNSUPPORTED, "%s: no tokenizer: chat needs one",
                            c.session.info.name);
    if (status == RILL_OK) status = rill__session_stream(&c.session, s, RILL_FOR_CHAT, false, &err);
    if (status == RILL_OK && !s->resume) status = begin(&c, &err);
    if (status == RILL_OK) status = rill__editor_open(&c.editor, &err);
    int exit_status;
    if (status == RILL_OK) {
        greet(&c);
        exit_status = converse(&c);
    } else {
        exit_status = rill__report(&err);
    }
    rill__editor_close(&c.editor);
    rill__bytes_deinit(&c.answer);
    rill__session_close(&c.session);
    return exit_status;
}

const rill__command rill__command_chat = {
    .name = "chat",
    .bit = RILL_FOR_CHAT,
    .usage = "[MODEL] [options]",
    .summary = "talk with a model; it says what it has forgotten",
    .details =
        "A line is a message. Old messages go whole when the window is full; --system stays.\n"
        "/stats tells what the model still sees; /help lists the other commands.",
    .max_positionals = 1,
    .run = run,
};
