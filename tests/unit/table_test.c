// SPDX-License-Identifier: MIT
// Tables: one definition, three forms.
#include "eval/table.h"

#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const rill__column columns[] = {
    {"method", "method", NULL, RILL_COLUMN_TEXT, 0},
    {"tokens", "tokens", NULL, RILL_COLUMN_COUNT, 0},
    {"loss", "loss", "nats", RILL_COLUMN_REAL, 3},
    {"cache_bytes", "cache", NULL, RILL_COLUMN_BYTES, 0},
    {"share", "share", NULL, RILL_COLUMN_SHARE, 1},
    {"official", NULL, NULL, RILL_COLUMN_FLAG, 0},
    {"never", "never filled", NULL, RILL_COLUMN_REAL, 1},
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static rill__table *sample(void) {
    rill__table *t;
    assert_int_equal(rill__table_new("test", "part", columns, N_COLUMNS, &t, NULL), RILL_OK);
    rill__table_title(t, "A table of %d rows", 2);
    rill__table_row(t);
    rill__table_text(t, 0, "dense, \"caf\xc3\xa9\"");
    rill__table_number(t, 1, 1234567);
    rill__table_number(t, 2, 0.1);
    rill__table_number(t, 3, 1.5 * 1024 * 1024);
    rill__table_number(t, 4, 0.795);
    rill__table_number(t, 5, 1);
    rill__table_row(t);
    rill__table_text(t, 0, "window");
    rill__table_number(t, 1, 12);
    rill__table_number(t, 2, INFINITY);
    rill__table_number(t, 5, 0);
    rill__table_note(t, "a note");
    return t;
}

static char *printed(rill__table_form form) {
    rill__bytes out;
    rill_error err;
    size_t length;
    rill__table *t = sample();
    rill__bytes_init(&out, 0);
    if (rill__table_print(t, form, &out, &err) != RILL_OK) fail_msg("%s", err.message);
    rill__table_free(&t);
    assert_null(t);
    return rill__bytes_take(&out, &length);
}

static void people_see_aligned_columns(void **state) {
    (void)state;
    char *text = printed(RILL_TABLE_TEXT);
    assert_string_equal(text, "A table of 2 rows\n"
                              "\n"
                              "method            tokens   loss    cache  share\n"
                              "                           nats\n"
                              "dense, \"caf\xc3\xa9\"  1,234,567  0.100  1.5 MiB  79.5%\n"
                              "window                12      -        -      -\n"
                              "\n"
                              "a note\n");
    rill__free(text);
}

static void csv_is_quoted_where_it_must_be(void **state) {
    (void)state;
    char *text = printed(RILL_TABLE_CSV);
    assert_string_equal(text, "method,tokens,loss,cache_bytes,share,official,never\n"
                              "\"dense, \"\"caf\xc3\xa9\"\"\",1234567,0.1,1572864,0.795,1,\n"
                              "window,12,,,,0,\n");
    rill__free(text);
}

static void json_is_an_object_a_line(void **state) {
    (void)state;
    char *text = printed(RILL_TABLE_JSON);
    char *second = strchr(text, '\n');
    assert_non_null(second);
    json_t *a = json_loadb(text, (size_t)(second - text), 0, NULL);
    json_t *b = json_loads(second, 0, NULL);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(json_string_value(json_object_get(a, "eval")), "test");
    assert_string_equal(json_string_value(json_object_get(a, "part")), "part");
    assert_string_equal(json_string_value(json_object_get(a, "method")), "dense, \"caf\xc3\xa9\"");
    assert_int_equal(json_integer_value(json_object_get(a, "tokens")), 1234567);
    assert_true(json_number_value(json_object_get(a, "loss")) == 0.1);
    assert_true(json_is_true(json_object_get(a, "official")));
    assert_true(json_is_false(json_object_get(b, "official")));
    assert_true(json_is_null(json_object_get(b, "loss")));
    assert_int_equal(json_object_size(b), N_COLUMNS + 2);
    json_decref(a);
    json_decref(b);
    rill__free(text);
}

static void numbers_for_machines_are_read_as_the_same(void **state) {
    (void)state;
    const double numbers[] = {0.1,        1.0 / 3, 3.6152002155348066, 1e-300, -2.5e17,
                              1e15 + 0.5, 5e-324};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        rill__bytes out;
        rill__table *t;
        rill__bytes_init(&out, 0);
        assert_int_equal(rill__table_new("test", NULL, columns + 2, 1, &t, NULL), RILL_OK);
        rill__table_row(t);
        rill__table_number(t, 0, numbers[i]);
        assert_int_equal(rill__table_print(t, RILL_TABLE_CSV, &out, NULL), RILL_OK);
        assert_true(strtod(strchr(out.data, '\n') + 1, NULL) == numbers[i]);
        rill__bytes_deinit(&out);
        rill__table_free(&t);
    }
}

static void memory_that_was_not_there_is_reported(void **state) {
    (void)state;
    failing_allocator_install();
    for (uint64_t n = 1;; n++) {
        rill__bytes out;
        rill__table *t = NULL;
        rill__bytes_init(&out, 0);
        failing_allocator_arm(n, false);
        rill_status status = rill__table_new("test", NULL, columns, 2, &t, NULL);
        if (status == RILL_OK) {
            rill__table_title(t, "title");
            rill__table_row(t);
            rill__table_text(t, 0, "text");
            rill__table_note(t, "note");
            status = rill__table_print(t, RILL_TABLE_TEXT, &out, NULL);
        }
        bool fired = failing_allocator_disarm();
        rill__table_free(&t);
        rill__bytes_deinit(&out);
        assert_int_equal(failing_allocator_live_blocks(), 0);
        if (!fired) break;
        assert_int_equal(status, RILL_ENOMEM);
    }
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(people_see_aligned_columns),
        cmocka_unit_test(csv_is_quoted_where_it_must_be),
        cmocka_unit_test(json_is_an_object_a_line),
        cmocka_unit_test(numbers_for_machines_are_read_as_the_same),
        cmocka_unit_test(memory_that_was_not_there_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
