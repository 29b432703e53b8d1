// SPDX-License-Identifier: MIT
// Reads a command line by the option table, and says what would have been right.
#include "cli/option.h"

#include "base/base.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>

enum { MAX_WORD = 32 };  // longer words are nobody's misspelling

size_t rill__edit_distance(const char *a, const char *b) {
    size_t n = strlen(b), row[MAX_WORD + 1];
    if (n > MAX_WORD) return MAX_WORD;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            size_t dropped = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = replaced < dropped ? replaced : dropped;
        }
    }
    return row[n];
}

const char *rill__nearest(const char *word, const char *const *words) {
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2;  // one slip in three letters, and one more
    if (strlen(word) > MAX_WORD) return NULL;
    for (; *words; words++) {
        size_t distance = rill__edit_distance(word, *words);
        if (distance < least) {
            least = distance;
            best = *words;
        }
    }
    return best;
}

static const rill__option *find_long(unsigned command, const char *name, size_t length) {
    for (const rill__option *o = rill__options; o->name; o++)
        if (o->commands & command && strlen(o->name) == length && !memcmp(o->name, name, length))
            return o;
    return NULL;
}

static const rill__option *find_letter(unsigned command, char letter) {
    for (const rill__option *o = rill__options; o->name; o++)
        if (o->commands & command && o->letter == letter) return o;
    return NULL;
}

bool rill__options_given(const rill__settings *s, unsigned command, const char *name) {
    const rill__option *o = find_long(command, name, strlen(name));
    return o && s->given[o - rill__options];
}

static rill_status unknown(unsigned command, const char *subcommand, const char *word,
                           rill_error *err) {
    const char *names[RILL_MAX_OPTIONS + 1];
    size_t n = 0;
    for (const rill__option *o = rill__options; o->name && n < RILL_MAX_OPTIONS; o++)
        if (o->commands & command) names[n++] = o->name;
    names[n] = NULL;
    char name[MAX_WORD + 1];
    snprintf(name, sizeof name, "%.*s",
             (int)strcspn(word, "=") < MAX_WORD ? (int)strcspn(word, "=") : MAX_WORD, word);
    const char *near = word[0] == '-' ? rill__nearest(name + strspn(name, "-"), names) : NULL;
    if (near)
        return rill__fail(err, RILL_EINVAL, "%.80s: no such option of rill %s: did you mean --%s?",
                          word, subcommand, near);
    return rill__fail(err, RILL_EINVAL, "%.80s: no such option of rill %s: see rill %s --help",
                      word, subcommand, subcommand);
}

static rill_status bad_number(const rill__option *o, const char *text, const char *kind,
                              rill_error *err) {
    if (o->kind == RILL_OPTION_FLOAT)
        return rill__fail(err, RILL_EINVAL, "--%s: '%.80s': wants %s", o->name, text, kind);
    if (o->high > 1e18)
        return rill__fail(err, RILL_EINVAL, "--%s: '%.80s': wants %s, %.0f or more", o->name, text,
                          kind, o->low);
    return rill__fail(err, RILL_EINVAL, "--%s: '%.80s': wants %s from %.12g to %.12g", o->name,
                      text, kind, o->low, o->high);
}

static rill_status read_choice(const rill__option *o, const char *text, void *at, rill_error *err) {
    size_t length = strlen(text);
    int index = 0;
    for (const char *word = o->choices; word; index++) {
        size_t n = strcspn(word, "|");
        if (n == length && !memcmp(word, text, n)) {
            memcpy(at, &index, sizeof index);
            return RILL_OK;
        }
        word = word[n] ? word + n + 1 : NULL;
    }
    return rill__fail(err, RILL_EINVAL, "--%s: '%.80s': wants %s", o->name, text, o->choices);
}

// Text is the value, NULL for a flag.
static rill_status set(const rill__option *o, const char *text, rill__settings *s,
                       rill_error *err) {
    void *at = (char *)s + o->offset;
    uint64_t whole;
    double real;
    s->given[o - rill__options] = true;
    switch (o->kind) {
    case RILL_OPTION_FLAG: *(bool *)at = true; return RILL_OK;
    case RILL_OPTION_TEXT:
        if (!*text && strcmp(o->metavar, "FILE") == 0)
            return rill__fail(err, RILL_EINVAL, "--%s: '': wants the name of a file", o->name);
        *(const char **)at = text;
        return RILL_OK;
    case RILL_OPTION_U32:
    case RILL_OPTION_U64:
        if (!rill__number_whole(text, &whole) || (double)whole < o->low || (double)whole > o->high)
            return bad_number(o, text, "a whole number", err);
        if (o->kind == RILL_OPTION_U64)
            *(uint64_t *)at = whole;
        else
            *(uint32_t *)at = (uint32_t)whole;
        return RILL_OK;
    case RILL_OPTION_FLOAT:
        if (!rill__number_real(text, &real) || real < o->low || real > o->high)
            return bad_number(o, text, "a number", err);
        *(float *)at = (float)real;
        return RILL_OK;
    case RILL_OPTION_CHOICE: return read_choice(o, text, at, err);
    case RILL_OPTION_CUSTOM: {
        rill_error inner = {0};
        rill_status status = o->parse(s, text, &inner);
        if (status != RILL_OK) return rill__fail(err, status, "--%s: %s", o->name, inner.message);
        return RILL_OK;
    }
    }
    return RILL_OK;
}

rill_status rill__options_parse(unsigned command, const char *name, int argc, char *const *argv,
                                rill__settings *s, rill_error *err) {
    bool only_positionals = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (only_positionals || word[0] != '-' || !word[1]) {
            if (s->n_positionals == RILL_MAX_POSITIONALS)
                return rill__fail(err, RILL_EINVAL, "%.80s: one word too many: see rill %s --help",
                                  word, name);
            s->positionals[s->n_positionals++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            only_positionals = true;
            continue;
        }
        // --name VALUE, --name=VALUE, -x VALUE, -xVALUE
        const rill__option *o;
        const char *value = NULL;
        if (word[1] == '-') {
            size_t length = strcspn(word + 2, "=");
            o = find_long(command, word + 2, length);
            value = word[2 + length] ? word + 3 + length : NULL;
        } else {
            o = find_letter(command, word[1]);
            value = word[2] ? word + 2 : NULL;
        }
        if (!o) return unknown(command, name, word, err);
        if (!o->metavar && value)
            return rill__fail(err, RILL_EINVAL, "--%s: takes no value, found '%.80s'", o->name,
                              value);
        if (o->metavar && !value) {
            if (i + 1 == argc)
                return rill__fail(err, RILL_EINVAL, "--%s: wants a value: %s", o->name, o->metavar);
            value = argv[++i];
        }
        rill_status status = set(o, value, s, err);
        if (status != RILL_OK) return status;
    }
    return RILL_OK;
}
