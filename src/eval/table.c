// SPDX-License-Identifier: MIT
// Tables: cells are kept as numbers and texts, and take their form when they are printed.
#include "eval/table.h"

#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBER = 48 };

typedef struct cell {
    char *text;     // NULL for a number
    double number;  // NAN: empty, if there is no text
} cell;

struct rill__table {
    const char *eval;
    const char *part;
    const rill__column *columns;
    size_t n_columns, n_rows;
    rill__bytes cells;  // of cell, [n_rows, n_columns]
    rill__bytes title, notes;
    bool failed;  // memory was out
};

rill_status rill__table_new(const char *eval, const char *part, const rill__column *columns,
                            size_t n_columns, rill__table **out, rill_error *err) {
    rill__table *t = rill__calloc(1, sizeof *t);
    if (!t) return rill__fail_memory(err, "a table", sizeof *t);
    t->eval = eval;
    t->part = part;
    t->columns = columns;
    t->n_columns = n_columns;
    rill__bytes_init(&t->cells, 0);
    rill__bytes_init(&t->title, 0);
    rill__bytes_init(&t->notes, 0);
    *out = t;
    return RILL_OK;
}

static cell *cell_at(const rill__table *t, size_t row, size_t column) {
    return (cell *)(void *)t->cells.data + row * t->n_columns + column;
}

void rill__table_free(rill__table **table) {
    rill__table *t = *table;
    if (!t) return;
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) rill__free(cell_at(t, 0, i)->text);
    rill__bytes_deinit(&t->cells);
    rill__bytes_deinit(&t->title);
    rill__bytes_deinit(&t->notes);
    rill__free(t);
    *table = NULL;
}

const char *rill__table_part(const rill__table *t) {
    return t->part;
}

RILL_PRINTF(2, 0) static bool add_line(rill__bytes *to, const char *format, va_list arguments) {
    char line[1024];
    vsnprintf(line, sizeof line, format, arguments);
    return rill__bytes_append(to, line, strlen(line), NULL) == RILL_OK &&
           rill__bytes_append(to, "\n", 1, NULL) == RILL_OK;
}

void rill__table_title(rill__table *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    rill__bytes_reset(&t->title);
    if (!add_line(&t->title, format, arguments)) t->failed = true;
    va_end(arguments);
}

void rill__table_note(rill__table *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!add_line(&t->notes, format, arguments)) t->failed = true;
    va_end(arguments);
}

void rill__table_row(rill__table *t) {
    const cell empty = {NULL, NAN};
    size_t length = t->cells.length;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (rill__bytes_append(&t->cells, &empty, sizeof empty, NULL) == RILL_OK) continue;
        t->cells.length = length;
        t->failed = true;
        return;
    }
    t->n_rows++;
}

void rill__table_number(rill__table *t, size_t column, double value) {
    if (t->n_rows && !t->failed) cell_at(t, t->n_rows - 1, column)->number = value;
}

void rill__table_text(rill__table *t, size_t column, const char *text) {
    if (!t->n_rows || t->failed) return;
    cell *c = cell_at(t, t->n_rows - 1, column);
    rill__free(c->text);
    c->text = rill__strdup(text);
    if (!c->text) t->failed = true;
}

static bool is_empty(const cell *c) {
    return !c->text && !isfinite(c->number);
}

// ---- For machines ---------------------------------------------------------------------------

// The fewest digits that are read as the same double.
static void shortest(char out[MAX_NUMBER], double value) {
    if (value == rint(value) && fabs(value) < 1e15) {
        snprintf(out, MAX_NUMBER, "%.0f", value);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, MAX_NUMBER, "%.*g", digits, value);
        if (strtod(out, NULL) == value) return;
    }
}

static rill_status append(rill__bytes *out, const char *text, rill_error *err) {
    return rill__bytes_append(out, text, strlen(text), err);
}

// RFC 4180: quotes only where they are needed.
static rill_status csv_text(rill__bytes *out, const char *text, rill_error *err) {
    if (!text[strcspn(text, ",\"\r\n")]) return append(out, text, err);
    rill_status status = append(out, "\"", err);
    for (; *text && status == RILL_OK; text++)
        status = *text == '"' ? append(out, "\"\"", err) : rill__bytes_append(out, text, 1, err);
    return status == RILL_OK ? append(out, "\"", err) : status;
}

static rill_status csv(const rill__table *t, rill__bytes *out, rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0; i < t->n_columns && status == RILL_OK; i++) {
        if (i) status = append(out, ",", err);
        if (status == RILL_OK) status = csv_text(out, t->columns[i].key, err);
    }
    if (status == RILL_OK) status = append(out, "\n", err);
    for (size_t row = 0; row < t->n_rows; row++) {
        for (size_t i = 0; i < t->n_columns && status == RILL_OK; i++) {
            const cell *c = cell_at(t, row, i);
            char number[MAX_NUMBER] = "";
            if (!is_empty(c) && !c->text) shortest(number, c->number);
            if (i) status = append(out, ",", err);
            if (status == RILL_OK) status = csv_text(out, c->text ? c->text : number, err);
        }
        if (status == RILL_OK) status = append(out, "\n", err);
    }
    return status;
}

static rill_status json_text(rill__bytes *out, const char *text, rill_error *err) {
    json_t *value = json_string(text);
    if (!value) value = json_string("?");  // bytes that are no UTF-8
    rill_status status = rill__json_append(value, JSON_ENCODE_ANY, out, err);
    json_decref(value);
    return status;
}

// "key": value, after a comma unless it is the first.
static rill_status json_pair(rill__bytes *out, const char *key, const cell *c, bool flag,
                             rill_error *err) {
    char number[MAX_NUMBER];
    bool first = out->length && out->data[out->length - 1] == '{';
    rill_status status = first ? RILL_OK : append(out, ",", err);
    if (status == RILL_OK) status = json_text(out, key, err);
    if (status == RILL_OK) status = append(out, ":", err);
    if (status != RILL_OK) return status;
    if (c->text) return json_text(out, c->text, err);
    if (is_empty(c)) return append(out, "null", err);
    if (flag) return append(out, c->number != 0 ? "true" : "false", err);
    shortest(number, c->number);
    return append(out, number, err);
}

static rill_status json(const rill__table *t, rill__bytes *out, rill_error *err) {
    const cell eval = {(char *)(uintptr_t)t->eval, NAN}, part = {(char *)(uintptr_t)t->part, NAN};
    rill_status status = RILL_OK;
    for (size_t row = 0; row < t->n_rows && status == RILL_OK; row++) {
        status = append(out, "{", err);
        if (status == RILL_OK && t->eval) status = json_pair(out, "eval", &eval, false, err);
        if (status == RILL_OK && t->part) status = json_pair(out, "part", &part, false, err);
        for (size_t i = 0; i < t->n_columns && status == RILL_OK; i++)
            status = json_pair(out, t->columns[i].key, cell_at(t, row, i),
                               t->columns[i].kind == RILL_COLUMN_FLAG, err);
        if (status == RILL_OK) status = append(out, "}\n", err);
    }
    return status;
}

// ---- For people -----------------------------------------------------------------------------

// A count or bytes: 0 or more, and what no such number is at its limit.
static uint64_t whole(double value) {
    const double limit = 18446744073709551616.0;  // 2^64
    return value >= limit ? UINT64_MAX : value > 0 ? (uint64_t)rint(value) : 0;
}

// The cell's text: its own, or in `number`.
static const char *shown(const rill__column *column, const cell *c, char number[MAX_NUMBER]) {
    if (c->text) return c->text;
    if (is_empty(c)) return "-";
    switch (column->kind) {
    case RILL_COLUMN_TEXT:
    case RILL_COLUMN_REAL:
        // A number that would be as wide as its line is no better for it: 3.1e+26.
        snprintf(number, MAX_NUMBER, fabs(c->number) < 1e12 ? "%.*f" : "%.*e", column->digits,
                 c->number);
        break;
    case RILL_COLUMN_MILLISECONDS:
        snprintf(number, MAX_NUMBER, "%.*f", column->digits, 1000 * c->number);
        break;
    case RILL_COLUMN_COUNT: rill__number_grouped(number, MAX_NUMBER, whole(c->number)); break;
    case RILL_COLUMN_BYTES: rill__number_bytes(number, MAX_NUMBER, whole(c->number)); break;
    case RILL_COLUMN_FLAG: return c->number != 0 ? "yes" : "no";
    case RILL_COLUMN_SHARE:
        snprintf(number, MAX_NUMBER, "%.*f%%", column->digits, 100 * c->number);
        break;
    }
    return number;
}

// Characters, not bytes.
static size_t width_of(const char *text) {
    return rill__utf8_count(text, strlen(text));
}

// 0 if nobody is shown the column.
static size_t column_width(const rill__table *t, size_t column) {
    const rill__column *c = &t->columns[column];
    char number[MAX_NUMBER];
    bool empty = true;
    if (!c->heading) return 0;
    size_t width = width_of(c->heading), unit = c->unit ? width_of(c->unit) : 0;
    if (unit > width) width = unit;
    for (size_t row = 0; row < t->n_rows; row++) {
        const cell *at = cell_at(t, row, column);
        size_t n = width_of(shown(c, at, number));
        if (n > width) width = n;
        empty = empty && is_empty(at);
    }
    return empty ? 0 : width;
}

// One word of a line, numbers and their headings to the right.
static rill_status put(rill__bytes *out, const rill__column *column, size_t width, bool first,
                       const char *text, rill_error *err) {
    size_t length = width_of(text);
    size_t before = first ? 0 : 2, after = 0;
    if (column->kind == RILL_COLUMN_TEXT)
        after = width - length;
    else
        before += width - length;
    rill_status status = RILL_OK;
    for (; before && status == RILL_OK; before--) status = append(out, " ", err);
    if (status == RILL_OK) status = append(out, text, err);
    for (; after && status == RILL_OK; after--) status = append(out, " ", err);
    return status;
}

static rill_status end_line(rill__bytes *out, rill_error *err) {
    while (out->length && out->data[out->length - 1] == ' ') out->data[--out->length] = 0;
    return append(out, "\n", err);
}

enum { HEADINGS = -2, UNITS = -1 };  // lines above row 0

static rill_status text_line(const rill__table *t, const size_t *widths, long row, rill__bytes *out,
                             rill_error *err) {
    bool first = true;
    rill_status status = RILL_OK;
    for (size_t i = 0; i < t->n_columns && status == RILL_OK; i++) {
        const rill__column *c = &t->columns[i];
        char number[MAX_NUMBER];
        if (!widths[i]) continue;
        const char *text = row == HEADINGS ? c->heading
                           : row == UNITS  ? (c->unit ? c->unit : "")
                                           : shown(c, cell_at(t, (size_t)row, i), number);
        status = put(out, c, widths[i], first, text, err);
        first = false;
    }
    return status == RILL_OK ? end_line(out, err) : status;
}

static rill_status text(const rill__table *t, rill__bytes *out, rill_error *err) {
    size_t *widths = rill__calloc(t->n_columns, sizeof *widths);
    if (!widths) return rill__fail_memory(err, "a table", t->n_columns * sizeof *widths);
    bool units = false;
    for (size_t i = 0; i < t->n_columns; i++) {
        widths[i] = column_width(t, i);
        units = units || (widths[i] && t->columns[i].unit);
    }
    rill_status status = RILL_OK;
    if (t->title.length) {
        status = rill__bytes_append(out, t->title.data, t->title.length, err);
        if (status == RILL_OK) status = append(out, "\n", err);
    }
    for (long row = HEADINGS; row < (long)t->n_rows && status == RILL_OK; row++)
        if (row != UNITS || units) status = text_line(t, widths, row, out, err);
    if (status == RILL_OK && t->notes.length) {
        status = append(out, "\n", err);
        if (status == RILL_OK)
            status = rill__bytes_append(out, t->notes.data, t->notes.length, err);
    }
    rill__free(widths);
    return status;
}

rill_status rill__table_print(const rill__table *t, rill__table_form form, rill__bytes *out,
                              rill_error *err) {
    if (t->failed) return rill__fail_memory(err, "a table", t->cells.length);
    switch (form) {
    case RILL_TABLE_CSV: return csv(t, out, err);
    case RILL_TABLE_JSON: return json(t, out, err);
    case RILL_TABLE_TEXT: break;
    }
    return text(t, out, err);
}
