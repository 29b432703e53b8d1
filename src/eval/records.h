// SPDX-License-Identifier: MIT
// StreamEval's text: records that never end and, every few of them, a question about one that
// stands some lines back.
//
//   line 1047: REGISTER_CONTENT is <31415>
//   Question: what is the REGISTER_CONTENT in line 1027?
//   Answer: <27182>
//
// Made from a seed, or read from a file in the two-line format of docs/streameval.md: an object
// with "text" (records), then one with "question", "answer", "end" and "distance", again and again.
#ifndef RILL_EVAL_RECORDS_H
#define RILL_EVAL_RECORDS_H

#include "base/base.h"

typedef struct rill__records rill__records;

typedef struct rill__records_options {
    uint64_t seed;
    uint64_t first_line;  // its number; 0: drawn from the seed, five digits
    uint64_t every;       // records between two questions, in the mean at least; 1 or more
    // Lines back, taken in turns: 0 asks for the record just above the question. The first question
    // comes when the longest of them can be asked. No record is asked for twice: a question that
    // would comes some records later.
    const uint32_t *distances;
    size_t n_distances;
    // The text ends with question number n_questions, or with record number n_records; one of the
    // two is 0.
    uint64_t n_questions;
    uint64_t n_records;
} rill__records_options;

typedef enum rill__item_kind {
    RILL_ITEM_RECORD,
    RILL_ITEM_QUESTION,
    RILL_ITEM_END
} rill__item_kind;

// Texts are valid until the next item is taken.
typedef struct rill__item {
    rill__item_kind kind;
    const char *text;    // a record with its line feed, or a question up to where its answer begins
    const char *answer;  // of a question
    const char *end;     // what follows the answer: ">\n"
    uint64_t distance;   // of a question: lines back to the record that it asks for
} rill__item;

// The first character of a question's `end`: an answer ends before it, or with the text.
enum { RILL_MAX_CHARACTER = 5 };
void rill__item_stop(const rill__item *question, char out[RILL_MAX_CHARACTER]);

// Makes the text. The options are copied. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__records_make(const rill__records_options *options,
                                              rill__records **out, rill_error *err);
// Reads it from a file. RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__records_open(const char *path, rill__records **out,
                                              rill_error *err);
// Sets *records to NULL; NULL in it is allowed.
void rill__records_close(rill__records **records);

// Takes the next item; RILL_ITEM_END past the last. RILL_EFORMAT names file and line; RILL_EIO,
// RILL_ENOMEM.
RILL_NODISCARD rill_status rill__records_next(rill__records *records, rill__item *out,
                                              rill_error *err);
// Goes back to the first item. RILL_EIO.
RILL_NODISCARD rill_status rill__records_rewind(rill__records *records, rill_error *err);

typedef struct rill__records_facts {
    uint64_t n_records;
    uint64_t n_questions;
    uint64_t hash;  // of all texts
} rill__records_facts;

// Reads all items, checks that there are questions, and goes back. Failures as
// rill__records_next; RILL_EFORMAT or, of a made text,
// RILL_EINVAL if there is no question. `go_on` (NULL allowed) is asked now and
// then; false from it is RILL_EINTERRUPTED.
RILL_NODISCARD rill_status rill__records_scan(rill__records *records, bool (*go_on)(void),
                                              rill__records_facts *out, rill_error *err);

// Writes all items to a file in the two-line format, and goes back. RILL_EIO.
RILL_NODISCARD rill_status rill__records_write(rill__records *records, const char *path,
                                               rill_error *err);

#endif
