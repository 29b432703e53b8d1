// SPDX-License-Identifier: MIT
// StreamEval on a server: it is sent the text so far, cut to whole lines that fit, at every
// question.
#include "eval/streameval.h"

#include "eval/text.h"

#include "base/utf8.h"

#include <string.h>

enum { SLACK = 16 };  // tokens that an answer may take beyond its characters

// A record, or a question with its answer: what is sent whole or not at all.
typedef struct line {
    size_t start;  // in the text that is held
    size_t n_bytes;
    uint64_t n_units;  // tokens, or characters
    uint64_t n_characters;
} line;

typedef struct asking {
    rill__completer *server;
    const rill__server_context *context;
    rill__job *job;
    rill__streameval *out;
    rill__bytes text;  // the latest lines
    line *lines;       // of it
    size_t n_lines, lines_capacity;
    rill__spans records;
    uint64_t n_units;  // of the text so far
    bool begun;
    uint64_t n_questions;
    rill__bytes reply;
} asking;

static rill_status count_units(const asking *a, const char *text, uint64_t *n, rill_error *err) {
    rill_token *tokens;
    size_t n_tokens;
    if (!a->context->tokenizer) {
        *n = rill__utf8_count(text, strlen(text));
        return RILL_OK;
    }
    rill_status status =
        rill__encode_piece(a->context->tokenizer, text, !a->begun, &tokens, &n_tokens, err);
    if (status != RILL_OK) return status;
    rill_tokens_free(tokens);
    *n = n_tokens;
    return RILL_OK;
}

// Adds text to the last line, or begins one.
static rill_status add_text(asking *a, const char *text, bool begins_line, uint64_t *n_units,
                            rill_error *err) {
    size_t length = strlen(text);
    rill_status status = count_units(a, text, n_units, err);
    if (status != RILL_OK) return status;
    if (begins_line) {
        if (a->n_lines == a->lines_capacity) {
            size_t wanted = a->lines_capacity ? 2 * a->lines_capacity : 256;
            line *grown = rill__realloc(a->lines, wanted * sizeof *grown);
            if (!grown) return rill__fail_memory(err, "lines", wanted * sizeof *grown);
            a->lines = grown;
            a->lines_capacity = wanted;
        }
        a->lines[a->n_lines++] = (line){.start = a->text.length};
    }
    status = rill__bytes_append(&a->text, text, length, err);
    if (status != RILL_OK) return status;
    line *last = &a->lines[a->n_lines - 1];
    last->n_bytes += length;
    last->n_units += *n_units;
    last->n_characters += rill__utf8_count(text, length);
    a->n_units += *n_units;
    a->begun = true;
    return RILL_OK;
}

// The first line to send, and in *n_units how much those sent are.
static size_t first_sent(const asking *a, uint64_t *n_units) {
    const rill__server_context *limit = a->context;
    uint64_t units = 0, characters = 0;
    size_t i = a->n_lines;
    while (i > 0) {
        const line *l = &a->lines[i - 1];
        // The question is sent in any case.
        bool fits = (!limit->characters || characters + l->n_characters <= limit->characters) &&
                    (!limit->tokens || units + l->n_units <= limit->tokens);
        if (!fits && i < a->n_lines) break;
        units += l->n_units;
        characters += l->n_characters;
        i--;
    }
    *n_units = units;
    return i;
}

// Forgets lines that will never be sent again, half of what is held at a time.
static void drop_lines(asking *a, size_t first) {
    if (first < a->n_lines / 2 || first == 0) return;
    size_t cut = a->lines[first].start;
    memmove(a->text.data, a->text.data + cut, a->text.length - cut + 1);
    a->text.length -= cut;
    a->n_lines -= first;
    memmove(a->lines, a->lines + first, a->n_lines * sizeof *a->lines);
    for (size_t i = 0; i < a->n_lines; i++) a->lines[i].start -= cut;
}

static void judge(const asking *s, const rill__item *item, const char *end, rill__answer *a) {
    const char *given = s->reply.data ? s->reply.data : "";
    const char *stop = strstr(given, end);
    size_t n_given = stop ? (size_t)(stop - given) : strlen(given), n = strlen(item->answer);
    for (size_t i = 0; i < n; i++) a->n_matching += i < n_given && given[i] == item->answer[i];
    a->n_characters = (uint32_t)n;
    a->right = n_given == n && a->n_matching == n;
}

static rill_status ask(asking *s, const rill__item *item, rill_error *err) {
    const rill__span *record = &s->records.items[s->records.n - 1 - item->distance];
    char stop[RILL_MAX_CHARACTER];
    uint64_t sent;
    size_t first = first_sent(s, &sent), at = s->lines[first].start;
    uint64_t begin = s->n_units - sent, end = record->start + record->length;
    uint64_t from = record->start > begin ? record->start : begin;
    rill__answer a = {
        .place = s->n_units,
        .n_records = s->records.n,
        .distance = (uint32_t)item->distance,
        .back = (uint32_t)(s->n_units - record->start),
        .record = (uint32_t)record->length,
        .visible_first = (uint32_t)(end > from ? end - from : 0),
    };
    a.visible_last = a.visible_first;
    rill__item_stop(item, stop);
    rill_status status =
        rill__completer_ask(s->server, s->text.data + at, s->text.length - at,
                            (uint32_t)strlen(item->answer) + SLACK, stop, &s->reply, err);
    if (status != RILL_OK) return status;
    judge(s, item, stop, &a);
    drop_lines(s, first);
    return rill__streameval_take(s->out, s->job->journal, &a, err);
}

static rill_status take_question(asking *s, const rill__item *item, uint64_t index,
                                 rill_error *err) {
    uint64_t n;
    rill_status status = add_text(s, item->text, true, &n, err);
    bool known = index < s->out->n_answers;
    if (status == RILL_OK && !known) status = ask(s, item, err);
    if (status == RILL_OK) status = add_text(s, item->answer, false, &n, err);
    if (status == RILL_OK) status = add_text(s, item->end, false, &n, err);
    return status;
}

static rill_status take_record(asking *s, const rill__item *item, rill_error *err) {
    uint64_t start = s->n_units, n = 0;
    rill_status status = add_text(s, item->text, true, &n, err);
    return status == RILL_OK ? rill__spans_add(&s->records, start, n, err) : status;
}

// What was answered is safe, whatever stopped the evaluation.
static rill_status save(const asking *s, rill_status why, rill_error *err) {
    rill_error failed;
    rill_status status = rill__job_save(s->job, NULL, "questions", &failed);
    if (why != RILL_OK || status == RILL_OK) return why;
    if (err) *err = failed;
    return status;
}

static rill_status read_on(asking *s, rill__records *records, rill_error *err) {
    for (uint64_t index = 0;;) {
        rill__item item;
        rill_status status = rill__records_next(records, &item, err);
        if (status != RILL_OK || item.kind == RILL_ITEM_END) return status;
        if (item.kind == RILL_ITEM_RECORD) {
            status = take_record(s, &item, err);
            if (status != RILL_OK) return status;
            continue;
        }
        status = take_question(s, &item, index++, err);
        bool asked = status == RILL_OK && index == s->out->n_answers;
        bool due = asked && rill__job_tell(s->job, index, s->n_questions);
        if (status != RILL_OK || due) status = save(s, status, err);
        if (status != RILL_OK) return status;
    }
}

rill_status rill__streameval_ask(rill__completer *server, const rill__server_context *context,
                                 rill__records *records, rill__job *job, rill__streameval *out,
                                 rill_error *err) {
    asking s = {.server = server, .context = context, .job = job, .out = out};
    rill__records_facts facts = {0};
    *out = (rill__streameval){0};
    rill__bytes_init(&s.text, 0);
    rill__bytes_init(&s.reply, 0);
    rill_status status = rill__job_begin(job, NULL, NULL, err);
    if (status == RILL_OK) status = rill__streameval_recall(out, job->journal, err);
    if (status == RILL_OK) status = rill__records_scan(records, NULL, &facts, err);
    s.n_questions = facts.n_questions;
    if (status == RILL_OK && !rill__case_finished(job->journal)) {
        status = read_on(&s, records, err);
        if (status == RILL_OK) status = rill__job_finish(job, err);
    }
    out->seconds = rill__job_seconds(job);
    rill__bytes_deinit(&s.text);
    rill__bytes_deinit(&s.reply);
    rill__spans_deinit(&s.records);
    rill__free(s.lines);
    return status;
}
