// SPDX-License-Identifier: MIT
// Opens what a measure needs, describes its cases for the journal, and writes its results.
#include "cli/evaluation.h"

#include "cli/command.h"
#include "cli/shape.h"
#include "cli/terminal.h"

#include "base/file.h"

#include "eval/room.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

// A fingerprint of model and arithmetic: what comes out for a few tokens.
static rill_status probe(rill__evaluation *e, rill_error *err) {
    enum { TOKENS = 4 };
    rill_stream_options options;
    rill_stream *stream = NULL;
    rill_token tokens[TOKENS];
    const float *logits;
    rill_stream_options_default(&options);
    options.method = RILL_METHOD_WINDOW;
    options.window = TOKENS;
    for (int i = 0; i < TOKENS; i++) tokens[i] = (i + 1) % (rill_token)e->session.info.vocab_size;
    rill_status status = rill_stream_open(e->session.model, &options, &stream, err);
    if (status == RILL_OK) status = rill_stream_feed(stream, tokens, TOKENS, NULL, err);
    if (status == RILL_OK) status = rill_stream_logits(stream, &logits, err);
    if (status == RILL_OK)
        e->probe = XXH3_64bits(logits, e->session.info.vocab_size * sizeof *logits);
    rill_stream_close(&stream);
    return status;
}

// What a server is called, and the tokenizer to count its tokens with if one is named.
static rill_status open_server(rill__evaluation *e, rill_error *err) {
    const rill__settings *s = e->s;
    char *path = NULL;
    snprintf(e->session.info.name, sizeof e->session.info.name, "%s",
             s->server_model ? s->server_model : s->server);
    if (!s->n_positionals) return RILL_OK;
    rill_status status = rill__find_tokenizer(s->positionals[0], &path, err);
    if (status == RILL_OK) status = rill_tokenizer_open(path, &e->session.model, err);
    rill__free(path);
    return status;
}

static rill_status open_model(rill__evaluation *e, rill_error *err) {
    const rill__settings *s = e->s;
    if (s->server) return open_server(e, err);
    if (!s->shape) return rill__session_open_synthetic(&e->session, s, RILL_FOR_EVALS, err);
    if (s->n_positionals)
        return rill__fail(err, RILL_EINVAL, "--shape: %.80s is given too: one of them",
                          s->positionals[0]);
    return rill__shape_parse(s->shape, &e->session.info, err);
}

// The ending of a file's name; its end if there is none.
static const char *ending(const char *path) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    return dot && dot > (slash ? slash + 1 : path) ? dot : path + strlen(path);
}

// What no measure takes, before anything is opened.
static rill_status check_options(const rill__settings *s, rill_error *err) {
    const char *kind = s->figure ? ending(s->figure) : "";
    if (*kind && strcmp(kind, ".svg") != 0 && strcmp(kind, ".png") != 0)
        return rill__fail(err, RILL_EINVAL,
                          "--figure: %.80s: wants a name that ends in .svg or .png, or has no "
                          "ending, for both",
                          s->figure);
    if (s->csv && strcmp(s->csv, "-") == 0)
        return rill__fail(err, RILL_EINVAL,
                          "--csv: -: wants the name of a file; --json writes to standard output");
    bool window = s->lists.n_windows || s->stream.window;
    bool capacity = s->lists.n_capacities || s->capacity;
    if (window && capacity)
        return rill__fail(
            err, RILL_EINVAL,
            "--capacity: is --window and the sinks together: one of the two is right");
    return RILL_OK;
}

rill_status rill__evaluation_begin(rill__evaluation *e, const char *measure,
                                   const rill__settings *s, rill_error *err) {
    *e = (rill__evaluation){.s = s, .measure = measure};
    rill_status status = check_options(s, err);
    if (status == RILL_OK && s->figure) status = rill__figure_check(s->figure, err);
    if (status == RILL_OK && s->csv) status = rill__file_check_writable(s->csv, err);
    return status;
}

rill_status rill__evaluation_open(rill__evaluation *e, const char *measure, const rill__settings *s,
                                  rill_error *err) {
    rill_status status = rill__evaluation_begin(e, measure, s, err);
    if (status == RILL_OK) status = open_model(e, err);
    if (status == RILL_OK && s->journal) {
        status = rill__journal_open(s->journal, &e->journal, err);
        if (status == RILL_OK && e->session.device) status = probe(e, err);
    }
    return status;
}

const char *rill__evaluation_file_name(const rill__settings *s) {
    if (!s->file || !strcmp(s->file, "-")) return "standard input";
    const char *slash = strrchr(s->file, '/');
    return slash && slash[1] ? slash + 1 : s->file;
}

static size_t describe_stream(char *out, size_t capacity, const rill_stream_options *o) {
    return (size_t)snprintf(
        out, capacity,
        "stream: %s, sinks %u, window %u, cache %s/%s, scale %.9g, cap %.9g, evict %d, rope "
        "%d %.9g\n",
        rill__method_name(o->method), o->sinks, o->window, rill_type_name(o->key_type),
        rill_type_name(o->value_type), (double)o->sink_scale, (double)o->sink_cap, (int)o->evict,
        (int)o->rope_scaling, (double)o->rope_factor);
}

rill_status rill__evaluation_case(rill__evaluation *e, const char *name,
                                  const rill_stream_options *options, const char *input,
                                  size_t record_bytes, rill__case **out, rill_error *err) {
    char text[2048], full[160];
    const rill_model_info *info = &e->session.info;
    *out = NULL;
    if (!e->journal) return RILL_OK;
    snprintf(full, sizeof full, "%s-%s", e->measure, name);
    size_t n = (size_t)snprintf(text, sizeof text,
                                "rill eval %s\nmodel: %s, %s, %" PRIu64 " parameters in %" PRIu64
                                " bytes, %016" PRIx64 "\n",
                                e->measure, info->name, info->family, info->n_parameters,
                                info->weight_bytes, e->probe);
    if (options) n += describe_stream(text + n, sizeof text - n, options);
    snprintf(text + n, sizeof text - n, "input: %s\n", input);
    return rill__journal_case(e->journal, full, text, record_bytes, out, err);
}

rill_status rill__evaluation_stream_case(rill__evaluation *e, const char *name,
                                         const rill_stream_options *options, const char *input,
                                         size_t record_bytes, rill__case **out, rill_error *err) {
    rill_status status = rill__evaluation_case(e, name, options, input, record_bytes, out, err);
    if (status == RILL_OK && !rill__case_finished(*out))
        status = rill__room_check(e->session.model, options, NULL, err);
    if (status != RILL_OK) rill__case_close(out);
    return status;
}

rill_status rill__evaluation_table(rill__evaluation *e, const char *part,
                                   const rill__column *columns, size_t n_columns, unsigned readers,
                                   rill__table **out, rill_error *err) {
    if (e->n_tables == RILL_MAX_TABLES)
        return rill__fail(err, RILL_EINVAL, "more than %d tables", RILL_MAX_TABLES);
    rill_status status = rill__table_new(e->measure, part, columns, n_columns, out, err);
    if (status != RILL_OK) return status;
    e->tables[e->n_tables].table = *out;
    e->tables[e->n_tables++].readers = readers;
    return RILL_OK;
}

bool rill__evaluation_goes_on(rill_status status) {
    return status == RILL_ENOMEM || status == RILL_ECONTEXT;
}

void rill__evaluation_title(char *out, size_t capacity, const char *label, size_t i, size_t n) {
    snprintf(out, capacity, n > 1 ? "%s (%zu of %zu)" : "%s", label, i + 1, n);
}

rill_status rill__evaluation_figure(rill__evaluation *e, const char *part, rill__figure *figure,
                                    rill_error *err) {
    if (e->n_figures == RILL_MAX_FIGURES) {
        rill__figure_free(&figure);
        return rill__fail(err, RILL_EINVAL, "more than %d figures", RILL_MAX_FIGURES);
    }
    e->figures[e->n_figures].figure = figure;
    e->figures[e->n_figures++].part = part;
    return RILL_OK;
}

// Paths of parts: "-PART" in front of the ending.
static void part_path(char *out, size_t capacity, const char *path, const char *part) {
    int stem = (int)(ending(path) - path);
    snprintf(out, capacity, "%.*s%s%s%s", stem, path, part ? "-" : "", part ? part : "",
             path + stem);
}

static rill_status write_table(const rill__evaluation *e, const rill__table *table,
                               unsigned readers, bool first, rill_error *err) {
    char path[4096];
    rill__bytes text;
    rill__bytes_init(&text, 0);
    rill_status status = RILL_OK;
    if (readers & (e->s->json ? RILL_TO_JSON : RILL_TO_PEOPLE)) {
        if (!first && !e->s->json) status = rill__bytes_append(&text, "\n", 1, err);
        if (status == RILL_OK)
            status = rill__table_print(table, e->s->json ? RILL_TABLE_JSON : RILL_TABLE_TEXT, &text,
                                       err);
        if (status == RILL_OK) (void)rill__output(text.data ? text.data : "", text.length);
        rill__bytes_reset(&text);
    }
    if (status == RILL_OK && e->s->csv && readers & RILL_TO_CSV) {
        part_path(path, sizeof path, e->s->csv, rill__table_part(table));
        status = rill__table_print(table, RILL_TABLE_CSV, &text, err);
        if (status == RILL_OK) status = rill__file_write(path, text.data, text.length, err);
    }
    rill__bytes_deinit(&text);
    return status;
}

rill_status rill__evaluation_write(rill__evaluation *e, rill_error *err) {
    rill_status status = RILL_OK;
    rill__progress_clear();
    for (size_t i = 0; i < e->n_tables && status == RILL_OK; i++)
        status = write_table(e, e->tables[i].table, e->tables[i].readers, i == 0, err);
    if (status == RILL_OK && e->figure && e->s->figure)
        status = rill__figure_write(e->figure, e->s->figure, err);
    for (size_t i = 0; i < e->n_figures && e->s->figure && status == RILL_OK; i++) {
        char path[4096];
        part_path(path, sizeof path, e->s->figure, e->figures[i].part);
        status = rill__figure_write(e->figures[i].figure, path, err);
    }
    return status;
}

rill_status rill__evaluation_each(rill__evaluation *e, size_t n,
                                  const rill__evaluation_steps *steps, void *user,
                                  rill_error *err) {
    rill_error failure = {0}, unwritten = {0};
    rill_status failed = RILL_OK;
    bool ended = false, finished = false, shown = false;
    for (size_t i = 0; i < n && !ended; i++) {
        bool any = false;
        rill_status status = steps->measure(user, i, &any, err);
        ended = status != RILL_OK && !rill__evaluation_goes_on(status);
        finished = finished || status == RILL_OK;
        if (status != RILL_OK) {
            failed = status;
            failure = *err;
        }
        if (ended && !any) break;
        steps->show(user, i, status, err);
        shown = true;
    }
    rill_status written = shown && steps->finish ? steps->finish(user, &unwritten) : RILL_OK;
    if (shown && written == RILL_OK) written = rill__evaluation_write(e, &unwritten);
    // Why it ended is what people want to know first; what was lost, nevertheless.
    bool good = finished && !ended;
    if (!good && written != RILL_OK) rill__warn("%s", unwritten.message);
    *err = good ? unwritten : failure;
    return good ? written : failed;
}

int rill__evaluation_close(rill__evaluation *e, rill_status status, const rill_error *err) {
    for (size_t i = 0; i < e->n_tables; i++) rill__table_free(&e->tables[i].table);
    rill__figure_free(&e->figure);
    for (size_t i = 0; i < e->n_figures; i++) rill__figure_free(&e->figures[i].figure);
    rill__journal_close(&e->journal);
    rill__session_close(&e->session);
    if (status != RILL_OK) {
        rill__report(err);
        if (status == RILL_EINTERRUPTED && e->s->journal)
            fprintf(stderr, "rill: what was done is in %s: the same command goes on from there\n",
                    e->s->journal);
        return status == RILL_EINVAL         ? RILL_EXIT_USAGE
               : status == RILL_EINTERRUPTED ? RILL_EXIT_INTERRUPTED
                                             : RILL_EXIT_FAILED;
    }
    return rill__output_status();
}
