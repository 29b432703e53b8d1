// SPDX-License-Identifier: MIT
// Records from a seed: any of them is computed from its number alone, so nothing is kept of the
// text so far but which of the last ones were asked for.
#include "eval/records.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { MAX_TEXT = 96, MAX_DISTANCES = 64, LINE_CEILING = 64 << 20 };

struct rill__records {
    // Of a made text; `distances` is options.distances.
    rill__records_options options;
    uint32_t distances[MAX_DISTANCES];
    uint64_t base;  // from which the contents are drawn
    uint64_t first_asked;
    uint64_t span;   // the longest distance + 1: records that can be asked for
    uint8_t *asked;  // [span] whether record number i was, at i % span
    char text[MAX_TEXT], answer[8];

    // Of a file.
    FILE *file;
    char *path;
    uint64_t line;       // number of the one that was read last
    rill__bytes buffer;  // that line
    json_t *object;      // what it says
    char *rest;          // of its "text": records not yet taken; the caller's item ends in it
    rill__bytes record;  // the one that was taken last

    uint64_t n_records, n_questions;  // taken so far
};

// ---- A text from a seed ---------------------------------------------------------------------

static uint64_t draw(uint64_t seed) {
    uint64_t state[4];
    rill__random_seed(state, seed);
    return rill__random_next(state);
}

static unsigned content(const rill__records *r, uint64_t index) {
    return 10000 + (unsigned)(draw(r->base + index) % 90000);
}

static void make_record(rill__records *r, rill__item *out) {
    snprintf(r->text, sizeof r->text, "line %" PRIu64 ": REGISTER_CONTENT is <%u>\n",
             r->options.first_line + r->n_records, content(r, r->n_records));
    *out = (rill__item){.kind = RILL_ITEM_RECORD, .text = r->text};
    r->asked[r->n_records++ % r->span] = false;
}

static uint64_t next_distance(const rill__records *r) {
    return r->distances[r->n_questions % r->options.n_distances];
}

// With several distances a record comes up again, when its answer stands in the text already: such
// a question waits for a record that nobody asked for.
static bool is_question_due(const rill__records *r) {
    return r->n_records >= r->first_asked + r->n_questions * r->options.every &&
           !r->asked[(r->n_records - 1 - next_distance(r)) % r->span];
}

static void make_question(rill__records *r, rill__item *out) {
    uint64_t distance = next_distance(r), index = r->n_records - 1 - distance;
    snprintf(r->text, sizeof r->text,
             "Question: what is the REGISTER_CONTENT in line %" PRIu64 "?\nAnswer: <",
             r->options.first_line + index);
    snprintf(r->answer, sizeof r->answer, "%u", content(r, index));
    *out = (rill__item){.kind = RILL_ITEM_QUESTION,
                        .text = r->text,
                        .answer = r->answer,
                        .end = ">\n",
                        .distance = distance};
    r->asked[index % r->span] = true;
    r->n_questions++;
}

static void make_item(rill__records *r, rill__item *out) {
    const rill__records_options *o = &r->options;
    bool all_asked = !o->n_records && r->n_questions == o->n_questions;
    if (!all_asked && is_question_due(r))
        make_question(r, out);
    else if (all_asked || (o->n_records && r->n_records == o->n_records))
        *out = (rill__item){.kind = RILL_ITEM_END};
    else
        make_record(r, out);
}

rill_status rill__records_make(const rill__records_options *options, rill__records **out,
                               rill_error *err) {
    rill__records *r = rill__calloc(1, sizeof *r);
    if (!r) return rill__fail_memory(err, "records", sizeof *r);
    uint32_t longest = 0;
    r->options = *options;
    r->options.n_distances =
        options->n_distances < MAX_DISTANCES ? options->n_distances : MAX_DISTANCES;
    for (size_t i = 0; i < r->options.n_distances; i++) {
        r->distances[i] = options->distances[i];
        longest = r->distances[i] > longest ? r->distances[i] : longest;
    }
    r->options.distances = r->distances;
    r->base = draw(options->seed);
    if (!r->options.first_line) r->options.first_line = 10000 + draw(r->base - 1) % 90000;
    r->span = (uint64_t)longest + 1;
    r->asked = rill__calloc(r->span, 1);
    if (!r->asked) {
        rill__free(r);
        return rill__fail_memory(err, "records that were asked for", r->span);
    }
    // The first multiple of `every` above the longest distance.
    r->first_asked = (longest / options->every + 1) * options->every;
    rill__bytes_init(&r->buffer, 0);
    rill__bytes_init(&r->record, 0);
    *out = r;
    return RILL_OK;
}

// ---- A text from a file ---------------------------------------------------------------------

rill_status rill__records_open(const char *path, rill__records **out, rill_error *err) {
    rill__records *r = rill__calloc(1, sizeof *r);
    char *copy = rill__strdup(path);
    if (!r || !copy) {
        rill__free(r);
        rill__free(copy);
        return rill__fail_memory(err, "records", sizeof *r);
    }
    r->path = copy;
    rill__bytes_init(&r->buffer, LINE_CEILING);
    rill__bytes_init(&r->record, LINE_CEILING);
    r->file = fopen(path, "re");
    if (r->file) {
        *out = r;
        return RILL_OK;
    }
    rill_status status = rill__fail(err, RILL_EIO, "%s: %s", path, strerror(errno));
    rill__records_close(&r);
    return status;
}

void rill__records_close(rill__records **records) {
    rill__records *r = *records;
    if (!r) return;
    if (r->file) fclose(r->file);
    json_decref(r->object);
    rill__free(r->asked);
    rill__free(r->path);
    rill__bytes_deinit(&r->buffer);
    rill__bytes_deinit(&r->record);
    rill__free(r);
    *records = NULL;
}

// The next line that is not blank; *end is true past the last.
static rill_status read_line(rill__records *r, bool *end, rill_error *err) {
    char piece[4096];
    rill_status status = RILL_OK;
    rill__bytes_reset(&r->buffer);
    for (;;) {
        if (!fgets(piece, sizeof piece, r->file)) {
            if (ferror(r->file))
                return rill__fail(err, RILL_EIO, "%s: %s", r->path, strerror(errno));
            *end = r->buffer.length == 0;
            if (!*end) r->line++;
            return RILL_OK;
        }
        size_t length = strlen(piece);
        status = rill__bytes_append(&r->buffer, piece, length, err);
        if (status != RILL_OK) return status;
        if (length && piece[length - 1] == '\n') {
            r->line++;
            if (r->buffer.data[strspn(r->buffer.data, " \t\r\n")]) break;
            rill__bytes_reset(&r->buffer);
        }
    }
    *end = false;
    return RILL_OK;
}

static rill_status bad_line(const rill__records *r, const char *what, rill_error *err) {
    return rill__fail(err, RILL_EFORMAT, "%s:%" PRIu64 ": %s", r->path, r->line, what);
}

static rill_status take_record(rill__records *r, rill__item *out, rill_error *err) {
    size_t length = strcspn(r->rest, "\n");
    rill__bytes_reset(&r->record);
    rill_status status =
        rill__bytes_append(&r->record, r->rest, length + (r->rest[length] == '\n'), err);
    if (status != RILL_OK) return status;
    r->rest += r->record.length;
    if (!*r->rest) r->rest = NULL;
    *out = (rill__item){.kind = RILL_ITEM_RECORD, .text = r->record.data};
    r->n_records++;
    return RILL_OK;
}

static rill_status take_question(rill__records *r, rill__item *out, rill_error *err) {
    const char *answer = json_string_value(json_object_get(r->object, "answer"));
    const char *end = json_string_value(json_object_get(r->object, "end"));
    const json_t *distance = json_object_get(r->object, "distance");
    if (!answer || !*answer) return bad_line(r, "\"answer\" is missing: wants a text", err);
    if (!end || !*end)
        return bad_line(r, "\"end\" is missing: wants the text behind the answer, as \">\\n\"",
                        err);
    if (!json_is_integer(distance) || json_integer_value(distance) < 0 ||
        (uint64_t)json_integer_value(distance) >= r->n_records)
        return bad_line(r, "\"distance\": wants a number of lines back, below that of the records",
                        err);
    *out = (rill__item){.kind = RILL_ITEM_QUESTION,
                        .text = json_string_value(json_object_get(r->object, "question")),
                        .answer = answer,
                        .end = end,
                        .distance = (uint64_t)json_integer_value(distance)};
    r->n_questions++;
    return RILL_OK;
}

static rill_status read_item(rill__records *r, rill__item *out, rill_error *err) {
    char name[512];
    bool end;
    if (r->rest) return take_record(r, out, err);
    rill_status status = read_line(r, &end, err);
    if (status != RILL_OK) return status;
    json_decref(r->object);
    r->object = NULL;
    if (end) {
        *out = (rill__item){.kind = RILL_ITEM_END};
        return RILL_OK;
    }
    snprintf(name, sizeof name, "%s:%" PRIu64, r->path, r->line);
    status = rill__json_parse(name, r->buffer.data, r->buffer.length, &r->object, err);
    if (status != RILL_OK) return status;
    const char *text = json_string_value(json_object_get(r->object, "text"));
    const char *question = json_string_value(json_object_get(r->object, "question"));
    if (!text == !question || (text && !*text) || (question && !*question))
        return bad_line(r, "wants one of \"text\" and \"question\", not empty", err);
    if (question) return take_question(r, out, err);
    // The item's text is taken from the object, which stays until the next line is read.
    rill__bytes_reset(&r->buffer);
    status = rill__bytes_append(&r->buffer, text, strlen(text), err);
    if (status != RILL_OK) return status;
    r->rest = r->buffer.data;
    return take_record(r, out, err);
}

void rill__item_stop(const rill__item *question, char out[RILL_MAX_CHARACTER]) {
    uint32_t code;
    size_t length = rill__utf8_decode(question->end, strlen(question->end), &code);
    memcpy(out, question->end, length);
    out[length] = 0;
}

// ---- Both -----------------------------------------------------------------------------------

rill_status rill__records_next(rill__records *r, rill__item *out, rill_error *err) {
    if (r->file) return read_item(r, out, err);
    make_item(r, out);
    return RILL_OK;
}

rill_status rill__records_rewind(rill__records *r, rill_error *err) {
    r->n_records = r->n_questions = r->line = 0;
    r->rest = NULL;
    if (r->asked) memset(r->asked, 0, r->span);
    if (r->file && fseeko(r->file, 0, SEEK_SET) != 0)
        return rill__fail(err, RILL_EIO, "%s: %s: wants a file, not a pipe", r->path,
                          strerror(errno));
    return RILL_OK;
}

rill_status rill__records_scan(rill__records *r, bool (*go_on)(void), rill__records_facts *out,
                               rill_error *err) {
    rill__item item;
    rill__records_facts facts = {0};
    rill_status status = rill__records_rewind(r, err);
    do {
        if (status == RILL_OK) status = rill__records_next(r, &item, err);
        if (status == RILL_OK && go_on && !go_on())
            status = rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        if (status != RILL_OK) return status;
        const char *texts[] = {item.text, item.answer, item.end};
        for (size_t i = 0; i < 3; i++)
            if (texts[i])
                facts.hash = XXH3_64bits_withSeed(texts[i], strlen(texts[i]) + 1, facts.hash);
        facts.hash += item.distance;
    } while (item.kind != RILL_ITEM_END);
    facts.n_records = r->n_records;
    facts.n_questions = r->n_questions;
    *out = facts;
    if (!facts.n_questions && r->file)
        return rill__fail(err, RILL_EFORMAT, "%s: no question in it", r->path);
    if (!facts.n_questions)
        return rill__fail(err, RILL_EINVAL,
                          "lines: %" PRIu64
                          " records and no question: the first comes after %" PRIu64,
                          facts.n_records, r->first_asked);
    return rill__records_rewind(r, err);
}

// ---- Writing --------------------------------------------------------------------------------

static rill_status write_object(rill__file_writer *w, json_t *object, rill_error *err) {
    rill__bytes line;
    rill__bytes_init(&line, 0);
    rill_status status = rill__json_append(object, JSON_COMPACT, &line, err);
    if (status == RILL_OK) status = rill__bytes_append(&line, "\n", 1, err);
    if (status == RILL_OK) status = rill__writer_write(w, line.data, line.length, err);
    json_decref(object);
    rill__bytes_deinit(&line);
    return status;
}

// The records since the last question as one object.
static rill_status write_text(rill__file_writer *w, rill__bytes *text, rill_error *err) {
    if (!text->length) return RILL_OK;
    rill_status status = write_object(w, json_pack("{s:s}", "text", text->data), err);
    rill__bytes_reset(text);
    return status;
}

static rill_status write_items(rill__records *r, rill__file_writer *w, rill__bytes *text,
                               rill_error *err) {
    for (;;) {
        rill__item item;
        rill_status status = rill__records_next(r, &item, err);
        if (status != RILL_OK) return status;
        if (item.kind == RILL_ITEM_RECORD) {
            status = rill__bytes_append(text, item.text, strlen(item.text), err);
        } else {
            status = write_text(w, text, err);
            if (status != RILL_OK || item.kind == RILL_ITEM_END) return status;
            status = write_object(w,
                                  json_pack("{s:s,s:s,s:s,s:I}", "question", item.text, "answer",
                                            item.answer, "end", item.end, "distance",
                                            (json_int_t)item.distance),
                                  err);
        }
        if (status != RILL_OK) return status;
    }
}

rill_status rill__records_write(rill__records *r, const char *path, rill_error *err) {
    rill__file_writer *w = NULL;
    rill__bytes text;
    rill__bytes_init(&text, 0);
    rill_status status = rill__records_rewind(r, err);
    if (status == RILL_OK) status = rill__writer_open(path, &w, err);
    if (status == RILL_OK) status = write_items(r, w, &text, err);
    rill__bytes_deinit(&text);
    if (status == RILL_OK) status = rill__writer_commit(&w, err);
    rill__writer_discard(&w);
    return status == RILL_OK ? rill__records_rewind(r, err) : status;
}
