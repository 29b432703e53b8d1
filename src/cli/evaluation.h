// SPDX-License-Identifier: MIT
// What all measures of `rill eval` share: the model, the journal of --resume, and where tables and
// figures go.
#ifndef RILL_CLI_EVALUATION_H
#define RILL_CLI_EVALUATION_H

#include "cli/eval_cases.h"
#include "cli/session.h"

#include "eval/figure.h"
#include "eval/journal.h"
#include "eval/table.h"

enum {
    RILL_MAX_TABLES = 8,
    RILL_MAX_FIGURES = 4,
    // Who reads a table.
    RILL_TO_PEOPLE = 1,
    RILL_TO_JSON = 2,
    RILL_TO_CSV = 4,
    RILL_TO_ALL = 7,
};

typedef struct rill__evaluation {
    const rill__settings *s;
    const char *measure;  // "perplexity"
    rill__session session;
    rill__journal *journal;  // NULL without --resume
    uint64_t probe;          // what the model computes for a few tokens, with a journal
    struct {
        rill__table *table;
        unsigned readers;
    } tables[RILL_MAX_TABLES];
    size_t n_tables;
    rill__figure *figure;  // NULL, or what --figure draws
    struct {
        rill__figure *figure;
        const char *part;
    } figures[RILL_MAX_FIGURES];  // and what is drawn beside it
    size_t n_figures;
} rill__evaluation;

// Sees to the options alone, before anything is opened: that --csv can be written, and --figure
// drawn. `measure` is NULL for what is none of rill eval.
RILL_NODISCARD rill_status rill__evaluation_begin(rill__evaluation *e, const char *measure,
                                                  const rill__settings *s, rill_error *err);
// The same, then opens the model that s names, or makes a synthetic one (with --shape there is
// none: only session.info is filled in; with --server there is the name, and a tokenizer if MODEL
// is given), and the journal.
RILL_NODISCARD rill_status rill__evaluation_open(rill__evaluation *e, const char *measure,
                                                 const rill__settings *s, rill_error *err);

// What --file is called, for people: its name without its folder, or "standard input".
const char *rill__evaluation_file_name(const rill__settings *s);

// Opens the journal's case, NULL without --resume. `name` is short and its own within the measure;
// `input` is one line that says on what it is measured. The model and the stream's options (NULL: a
// case without a stream) are described here.
RILL_NODISCARD rill_status rill__evaluation_case(rill__evaluation *e, const char *name,
                                                 const rill_stream_options *options,
                                                 const char *input, size_t record_bytes,
                                                 rill__case **out, rill_error *err);
// The same for a stream that will be opened: RILL_ENOMEM if memory will not do for it. A finished
// case takes none, so it is opened however little there is.
RILL_NODISCARD rill_status rill__evaluation_stream_case(rill__evaluation *e, const char *name,
                                                        const rill_stream_options *options,
                                                        const char *input, size_t record_bytes,
                                                        rill__case **out, rill_error *err);

// Makes a table that belongs to the evaluation, for the readers named (RILL_TO_...). Part is NULL
// for the main one. Printed in the order in which they were added.
RILL_NODISCARD rill_status rill__evaluation_table(rill__evaluation *e, const char *part,
                                                  const rill__column *columns, size_t n_columns,
                                                  unsigned readers, rill__table **out,
                                                  rill_error *err);

// Hands over a figure, on failure too, that is drawn beside the main one, to FILE-PART. Part is
// borrowed.
RILL_NODISCARD rill_status rill__evaluation_figure(rill__evaluation *e, const char *part,
                                                   rill__figure *figure, rill_error *err);

// What a measure does with each of its configurations; `user` is its own.
typedef struct rill__evaluation_steps {
    // Measures number i. *any, false before, is asked for only if its failure is the end: whether
    // there is something to show of it all the same.
    rill_status (*measure)(void *user, size_t i, bool *any, rill_error *err);
    // Adds its rows. `status` and `err` are what measure returned.
    void (*show)(void *user, size_t i, rill_status status, const rill_error *err);
    // Adds what belongs to all of them: notes, figures. NULL: there is nothing.
    rill_status (*finish)(void *user, rill_error *err);
} rill__evaluation_steps;

// Measures n configurations one after the other and writes the results, if there are any. One that
// runs out of memory or context is a result, and the others go on; any other failure, and Ctrl-C,
// is the end: then those before are written, and it itself as far as it came. RILL_OK if one at
// least was finished and nothing ended it, else the last failure.
RILL_NODISCARD rill_status rill__evaluation_each(rill__evaluation *e, size_t n,
                                                 const rill__evaluation_steps *steps, void *user,
                                                 rill_error *err);

// True if a configuration that failed so is a result and not the end: memory or context ran out.
bool rill__evaluation_goes_on(rill_status status);
// "LABEL (2 of 6)" for a bar: configuration i of n, or the label alone if there is one only.
void rill__evaluation_title(char *out, size_t capacity, const char *label, size_t i, size_t n);

// Prints the tables, writes --csv (a part goes beside it, FILE-PART.csv) and draws --figure.
RILL_NODISCARD rill_status rill__evaluation_write(rill__evaluation *e, rill_error *err);

// Closes everything, reports `status` and returns the command's exit status.
int rill__evaluation_close(rill__evaluation *e, rill_status status, const rill_error *err);

#endif
