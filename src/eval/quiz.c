// SPDX-License-Identifier: MIT
// Questions with choices from JSON lines, in the shapes in which ARC was published.
#include "eval/arc.h"

#include "base/file.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { MAX_CHOICES = RILL_MAX_CHOICES, FILE_CEILING = 1 << 30 };

struct rill__quiz {
    rill__quiz_item *items;
    json_t **lines;        // [n]: what the items' texts belong to
    const char **choices;  // [n * MAX_CHOICES]
    size_t n, capacity;
    uint64_t hash;
};

// The choice called `label` when choices have no labels: A, B, C ... or 1, 2, 3 ...
static bool is_letter_or_number(const char *label, size_t index) {
    char letter[2] = {(char)('A' + index), 0}, number[24];
    snprintf(number, sizeof number, "%zu", index + 1);
    return strcmp(label, letter) == 0 || strcmp(label, number) == 0;
}

static const char *choice_text(const json_t *choices, size_t i) {
    const json_t *list = json_is_object(choices) ? json_object_get(choices, "text") : choices;
    const json_t *choice = json_array_get(list, i);
    return json_string_value(json_is_object(choice) ? json_object_get(choice, "text") : choice);
}

static const char *choice_label(const json_t *choices, size_t i) {
    if (json_is_object(choices))
        return json_string_value(json_array_get(json_object_get(choices, "label"), i));
    return json_string_value(json_object_get(json_array_get(choices, i), "label"));
}

// Fills an item from its line; NULL, or what is wrong with it.
static const char *read_item(const json_t *line, const char **choices, rill__quiz_item *out) {
    const json_t *question = json_object_get(line, "question"), *from = question;
    const char *key = json_string_value(json_object_get(line, "answerKey"));
    if (!json_is_object(question)) from = line;
    const json_t *all = json_object_get(from, "choices");
    const json_t *list = json_is_object(all) ? json_object_get(all, "text") : all;
    out->question =
        json_string_value(json_is_object(question) ? json_object_get(question, "stem") : question);
    out->n_choices = json_array_size(list);
    out->choices = choices;
    out->right = out->n_choices;
    if (!out->question || !*out->question) return "\"question\" is missing: wants a text";
    if (out->n_choices < 2 || out->n_choices > MAX_CHOICES)
        return "\"choices\": wants 2 to 26 of them, in \"text\" and \"label\", or as a list of "
               "texts";
    if (!key) return "\"answerKey\" is missing: wants the label of the right choice";
    for (size_t i = 0; i < out->n_choices; i++) {
        const char *label = choice_label(all, i);
        choices[i] = choice_text(all, i);
        if (!choices[i] || !*choices[i]) return "\"choices\": one of them has no text";
        if (label ? strcmp(label, key) == 0 : is_letter_or_number(key, i)) out->right = i;
    }
    return out->right < out->n_choices ? NULL : "\"answerKey\": no choice has this label";
}

static rill_status grow(rill__quiz *q, rill_error *err) {
    if (q->n < q->capacity) return RILL_OK;
    size_t wanted = q->capacity ? 2 * q->capacity : 256;
    json_t **lines = rill__realloc(q->lines, wanted * sizeof *lines);
    if (lines) q->lines = lines;
    rill__quiz_item *items = rill__realloc(q->items, wanted * sizeof *items);
    if (items) q->items = items;
    const char **choices = rill__realloc(q->choices, wanted * MAX_CHOICES * sizeof *choices);
    if (choices) q->choices = choices;
    if (!lines || !items || !choices)
        return rill__fail_memory(err, "questions", wanted * MAX_CHOICES * sizeof *choices);
    q->capacity = wanted;
    for (size_t i = 0; i < q->n; i++) q->items[i].choices = q->choices + i * MAX_CHOICES;
    return RILL_OK;
}

static void add_hash(rill__quiz *q, const rill__quiz_item *item) {
    q->hash = XXH3_64bits_withSeed(item->question, strlen(item->question) + 1, q->hash);
    for (size_t i = 0; i < item->n_choices; i++)
        q->hash = XXH3_64bits_withSeed(item->choices[i], strlen(item->choices[i]) + 1, q->hash);
    q->hash += item->right;
}

static rill_status add_line(rill__quiz *q, const char *name, const char *text, size_t length,
                            rill_error *err) {
    rill_status status = grow(q, err);
    if (status != RILL_OK) return status;
    json_t *line = NULL;
    status = rill__json_parse(name, text, length, &line, err);
    if (status != RILL_OK) return status;
    rill__quiz_item *item = &q->items[q->n];
    q->lines[q->n] = line;
    const char *wrong = read_item(line, q->choices + q->n * MAX_CHOICES, item);
    q->n++;
    if (wrong) return rill__fail(err, RILL_EFORMAT, "%s: %s", name, wrong);
    add_hash(q, item);
    return RILL_OK;
}

static rill_status read_lines(rill__quiz *q, const char *path, const char *text, uint64_t limit,
                              rill_error *err) {
    char name[512];
    rill_status status = RILL_OK;
    for (size_t number = 1; *text && status == RILL_OK && (!limit || q->n < limit); number++) {
        size_t length = strcspn(text, "\n");
        snprintf(name, sizeof name, "%.480s:%zu", path, number);
        if (strspn(text, " \t\r") < length) status = add_line(q, name, text, length, err);
        text += length + (text[length] == '\n');
    }
    if (status == RILL_OK && !q->n)
        status = rill__fail(err, RILL_EFORMAT, "%s: no question in it", path);
    return status;
}

rill_status rill__quiz_open(const char *path, uint64_t limit, rill__quiz **out, rill_error *err) {
    char *text = NULL;
    size_t length;
    rill__quiz *q = rill__calloc(1, sizeof *q);
    if (!q) return rill__fail_memory(err, "questions", sizeof *q);
    rill_status status = rill__file_read(path, FILE_CEILING, &text, &length, err);
    if (status == RILL_OK) status = read_lines(q, path, text, limit, err);
    rill__free(text);
    if (status == RILL_OK)
        *out = q;
    else
        rill__quiz_close(&q);
    return status;
}

void rill__quiz_close(rill__quiz **quiz) {
    rill__quiz *q = *quiz;
    if (!q) return;
    for (size_t i = 0; i < q->n; i++) json_decref(q->lines[i]);
    rill__free(q->lines);
    rill__free(q->items);
    rill__free(q->choices);
    rill__free(q);
    *quiz = NULL;
}

size_t rill__quiz_count(const rill__quiz *q) {
    return q->n;
}

const rill__quiz_item *rill__quiz_item_at(const rill__quiz *q, size_t index) {
    return &q->items[index];
}

uint64_t rill__quiz_hash(const rill__quiz *q) {
    return q->hash;
}
