// SPDX-License-Identifier: MIT
// A table of results: one definition of columns, printed for people, as CSV, or as JSON lines.
//
//   static const rill__column columns[] = {{"perplexity", "perplexity", NULL, RILL_COLUMN_REAL,
//   4}}; rill__table_new("perplexity", NULL, columns, 1, &table, &err); rill__table_row(table);
//   rill__table_number(table, 0, 12.3);
//   rill__table_print(table, RILL_TABLE_TEXT, &bytes, &err);
//
// Filling a table does not fail: memory that was not there is reported by rill__table_print.
#ifndef RILL_EVAL_TABLE_H
#define RILL_EVAL_TABLE_H

#include "base/base.h"
#include "base/buffer.h"

typedef enum rill__column_kind {
    RILL_COLUMN_TEXT,          // to the left
    RILL_COLUMN_COUNT,         // a whole number, 0 or more; people see 1,234,567
    RILL_COLUMN_REAL,          // people see `digits` after the point
    RILL_COLUMN_MILLISECONDS,  // machines see seconds
    RILL_COLUMN_BYTES,         // people see 144.0 MiB
    RILL_COLUMN_FLAG,          // 0 or 1: yes and no, true and false in JSON
    RILL_COLUMN_SHARE,         // 0 to 1; people see percents with `digits` after the point
} rill__column_kind;

typedef struct rill__column {
    const char *key;      // in CSV's first line and JSON; stable, never renamed
    const char *heading;  // for people; NULL: not shown to them
    const char *unit;     // below the heading; NULL: none
    rill__column_kind kind;
    int digits;
} rill__column;

typedef enum rill__table_form { RILL_TABLE_TEXT, RILL_TABLE_CSV, RILL_TABLE_JSON } rill__table_form;

typedef struct rill__table rill__table;

// A table without rows. Every JSON line begins with "eval": eval and "part": part, unless they are
// NULL. All arguments are borrowed for the table's life. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__table_new(const char *eval, const char *part,
                                           const rill__column *columns, size_t n_columns,
                                           rill__table **out, rill_error *err);
// Sets *table to NULL; NULL in it is allowed.
void rill__table_free(rill__table **table);

// What was given to rill__table_new: NULL for an evaluation's main table.
const char *rill__table_part(const rill__table *table);

// The line above the table for people.
void rill__table_title(rill__table *table, const char *format, ...) RILL_PRINTF(2, 3);
// A line below it, for people; any number of them.
void rill__table_note(rill__table *table, const char *format, ...) RILL_PRINTF(2, 3);

// Begins a row, all of its cells empty: "-" for people, null for JSON, nothing in CSV. A column
// that is empty in all rows is not shown to people.
void rill__table_row(rill__table *table);
// Fills a cell of the last row. Numbers that are not finite count as empty. Text is copied.
void rill__table_number(rill__table *table, size_t column, double value);
void rill__table_text(rill__table *table, size_t column, const char *text);

// Appends the table to `out`. CSV is RFC 4180's with a first line of keys and lines that end in LF;
// numbers for machines have as many digits as it takes to read the same double again.
// RILL_ENOMEM, also if something did not fit while the table was filled.
RILL_NODISCARD rill_status rill__table_print(const rill__table *table, rill__table_form form,
                                             rill__bytes *out, rill_error *err);

#endif
