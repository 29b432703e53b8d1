// SPDX-License-Identifier: MIT
// rill run: endless text on stdout, a status line on stderr.
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/reader.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEED_PIECE = 256 };  // tokens between two looks at Ctrl-C and the status line

typedef struct run_state {
    rill__session session;
    const rill__settings *settings;
    double started;     // of the phase, reading or writing
    uint64_t before;    // tokens seen when the phase began
    uint64_t at_start;  // tokens seen when the stream was opened
    uint64_t written;
    rill_generate_result result;
    const char *phase;
    bool ends_line;  // the last text written ended a line
} run_state;

static void show_status(run_state *r) {
    rill_stream_report report;
    char seen[32], evicted[32], cache[32];
    rill_stream_get_report(r->session.stream, &report);
    rill__number_grouped(seen, sizeof seen, report.seen);
    rill__number_grouped(evicted, sizeof evicted, report.evicted);
    rill__number_bytes(cache, sizeof cache, report.bytes.cache);
    double seconds = rill__seconds() - r->started;
    rill__status_show("%s: %s tokens seen, %llu held, %s evicted | cache %s | %.1f tokens/s",
                      r->phase, seen, (unsigned long long)report.held, evicted, cache,
                      seconds > 0 ? (double)(report.seen - r->before) / seconds : 0.0);
}

static void begin_phase(run_state *r, const char *phase) {
    rill_stream_report report;
    rill_stream_get_report(r->session.stream, &report);
    r->phase = phase;
    r->before = report.seen;
    r->started = rill__seconds();
}

static rill_status take_prompt(void *user, const rill_token *tokens, size_t n, rill_error *err) {
    run_state *r = user;
    for (size_t i = 0; i < n; i += FEED_PIECE) {
        size_t piece = n - i < FEED_PIECE ? n - i : FEED_PIECE;
        if (rill__interrupted())
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted while reading");
        rill_status status = rill_stream_feed(r->session.stream, tokens + i, piece, NULL, err);
        if (status != RILL_OK) return status;
        if (rill__status_due()) show_status(r);
    }
    return RILL_OK;
}

static bool write_text(void *user, rill_token token, const char *text, size_t length) {
    run_state *r = user;
    bool ok = true;
    r->written += token >= 0;
    if (r->settings->json)
        ok = rill__machine_line(json_pack("{s:s, s:i, s:o}", "event", "text", "token", (int)token,
                                          "text", rill__machine_text(text, length)));
    else if (length)
        ok = rill__output(text, length);
    if (length) r->ends_line = text[length - 1] == '\n';
    if (rill__status_due()) show_status(r);
    return ok && !rill__interrupted();
}

// What stopped it, for people on stderr or for machines on stdout.
static void summary(run_state *r) {
    rill_stream_report report;
    rill_stream_get_report(r->session.stream, &report);
    double seconds = rill__seconds() - r->started;
    double rate = seconds > 0 && r->written ? (double)r->written / seconds : 0;
    const char *why = rill__output_closed() ? "closed" : rill_stop_name(r->result.stop);
    if (r->settings->json) {
        json_t *object = json_pack("{s:s, s:s, s:I, s:f, s:I, s:I}", "event", "summary", "stop",
                                   why, "written", (json_int_t)r->written, "tokens_per_second",
                                   rate, "drafted", (json_int_t)r->result.n_drafted, "accepted",
                                   (json_int_t)r->result.n_accepted);
        rill__machine_report(object, &report);
        (void)rill__machine_line(object);
        return;
    }
    if (rill__output_closed()) return;
    char seen[32], evicted[32], cache[32];
    rill__number_grouped(seen, sizeof seen, report.seen);
    rill__number_grouped(evicted, sizeof evicted, report.evicted);
    rill__number_bytes(cache, sizeof cache, report.bytes.cache);
    // On a terminal only: what goes to a file is the text alone, so that pieces of it join.
    if (!r->ends_line && isatty(STDOUT_FILENO)) rill__output("\n", 1);
    fprintf(
        stderr,
        "rill: stopped (%s): %llu tokens written, %.1f tokens/s; %s seen, %llu held, %s evicted, "
        "cache %s\n",
        why, (unsigned long long)r->written, rate, seen, (unsigned long long)report.held, evicted,
        cache);
    if (r->result.stop == RILL_STOP_MEMORY)
        rill__warn("--attention: dense ends when its %u tokens are full; streaming never does",
                   report.capacity);
}

// Hours of writing that cannot be saved at the end would be lost: find out now.
static rill_status check_save(const char *path, rill_error *err) {
    const char *magic = RILL_SNAPSHOT_MAGIC;
    if (path && rill__file_begins_otherwise(path, magic, strlen(magic)))
        return rill__fail(
            err, RILL_EINVAL,
            "--save: %s is there, and is no snapshot: it stays as it is; another name "
            "is right",
            path);
    return path ? rill__file_check_writable(path, err) : RILL_OK;
}

static rill_status read_prompt(run_state *r, const char *path, rill_error *err) {
    const rill__settings *s = r->settings;
    rill_stream *stream = r->session.stream;
    const rill_model *model = r->session.model;
    rill_stream_report report;
    rill_status status = RILL_OK;
    begin_phase(r, "reading");
    rill_stream_get_report(stream, &report);
    r->at_start = report.seen;
    unsigned flags = report.seen ? RILL_TEXT_CONTINUES : RILL_TEXT_ADD_SPECIAL;
    if (s->prompt || path)
        status = rill__read_tokens(model, s->prompt, path, flags, take_prompt, r, err);
    else if (!report.seen)
        status = rill__read_tokens(model, "", NULL, flags, take_prompt, r, err);
    rill_stream_get_report(stream, &report);
    // A model without a begin token starts from an empty line.
    if (status == RILL_OK && !report.seen)
        status = rill__read_tokens(model, "\n", NULL, 0, take_prompt, r, err);
    return status;
}

static rill_status read_and_write(run_state *r, const char *path, rill_error *err) {
    const rill__settings *s = r->settings;
    rill_status status = read_prompt(r, path, err);
    if (status == RILL_EINTERRUPTED) {
        r->result.stop = RILL_STOP_INTERRUPTED;
        return RILL_OK;
    }
    if (status != RILL_OK) return status;
    rill_generate_options options;
    rill_generate_options_default(&options);
    options.max_tokens = s->max_tokens;
    options.draft = s->draft;
    options.until_end = s->until_end;
    options.stops = s->stops;
    options.n_stops = s->n_stops;
    begin_phase(r, "writing");
    return rill_stream_generate(r->session.stream, &options, write_text, r, &r->result, err);
}

// MODEL and "-" in either order.
static rill_status sort_positionals(const rill__settings *s, const char **model, const char **path,
                                    rill_error *err) {
    *model = NULL;
    *path = s->file;
    for (size_t i = 0; i < s->n_positionals; i++) {
        const char *word = s->positionals[i];
        bool input = strcmp(word, "-") == 0;
        if ((input && *path) || (!input && *model))
            return rill__fail(err, RILL_EINVAL, "%.80s: one word too many: see rill run --help",
                              word);
        *(input ? path : model) = word;
    }
    if (s->prompt && *path)
        return rill__fail(err, RILL_EINVAL, "--prompt: %s is to be read as well: give one of them",
                          *path);
    return RILL_OK;
}

// After a failure only if something new was read: an empty stream must not replace a snapshot.
static bool worth_saving(const run_state *r, rill_status status) {
    rill_stream_report report;
    rill_stream_get_report(r->session.stream, &report);
    return status == RILL_OK || report.seen > r->at_start;
}

// People write their text, or its file, where the model's name belongs.
static void hint_at_text(const char *model, rill_error *err) {
    size_t n = strlen(err->message);
    if (model && !rill__directory_exists(model) &&
        (err->status == RILL_EIO || err->status == RILL_EFORMAT))
        snprintf(err->message + n, sizeof err->message - n,
                 "; a text goes with -p, a text file with -f");
}

static void warn_unread_input(void) {
    struct stat in;
    if (fstat(STDIN_FILENO, &in) == 0 && S_ISREG(in.st_mode) && in.st_size > 0)
        rill__warn("standard input is not read: add - to read it");
}

static int run(rill__settings *s) {
    run_state r = {.settings = s, .ends_line = true, .result.stop = RILL_STOP_ERROR};
    rill_error err = {0}, save_err = {0};
    const char *model, *path;
    rill_status status = sort_positionals(s, &model, &path, &err);
    if (status == RILL_OK) status = check_save(s->save, &err);
    bool any_text = path || s->prompt || s->resume;
    if (status == RILL_OK && !any_text) warn_unread_input();
    if (status == RILL_OK) {
        status = rill__session_open(&r.session, s, model, &err);
        if (status != RILL_OK && !any_text) hint_at_text(model, &err);
    }
    if (status == RILL_OK && !r.session.info.has_tokenizer)
        status = rill__fail(&err, RILL_EUNSUPPORTED, "%s: no tokenizer: run needs one",
                            r.session.info.name);
    if (status == RILL_OK) status = rill__session_stream(&r.session, s, RILL_FOR_RUN, false, &err);
    if (status != RILL_OK) {
        rill__session_close(&r.session);
        return rill__report(&err);
    }

    rill__status_open();
    status = read_and_write(&r, path, &err);
    rill__status_close();
    if (status == RILL_OK) summary(&r);
    rill_stop stop = r.result.stop;
    int exit_status = status != RILL_OK                                     ? rill__report(&err)
                      : stop == RILL_STOP_MEMORY || stop == RILL_STOP_ERROR ? RILL_EXIT_FAILED
                      : rill__interrupted()                                 ? RILL_EXIT_INTERRUPTED
                                                                            : rill__output_status();
    if (s->save && worth_saving(&r, status) &&
        rill_stream_save(r.session.stream, s->save, &save_err) != RILL_OK)
        exit_status = rill__report(&save_err);
    rill__session_close(&r.session);
    return exit_status;
}

const rill__command rill__command_run = {
    .name = "run",
    .bit = RILL_FOR_RUN,
    .usage = "[MODEL] [-p TEXT | -f FILE | -] [options]",
    .summary = "write for ever, from a prompt of any length",
    .details =
        "Reads the prompt (not printed again; it may be longer than the window, or endless),\n"
        "then writes until Ctrl-C, -n, --stop or --until-end. Memory stays the same for ever.\n"
        "Without a prompt the model begins by itself.",
    .max_positionals = 2,
    .run = run,
};
