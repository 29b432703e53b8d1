// SPDX-License-Identifier: MIT
// JSON: messages with a place, hostile depth, NUL in strings, and memory that runs out anywhere.
#include "base/json.h"

#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static rill_status parse(const char *text, json_t **out, rill_error *err) {
    return rill__json_parse("x.json", text, strlen(text), out, err);
}

static void values_come_back(void **state) {
    (void)state;
    json_t *value;
    assert_int_equal(parse("{\"a\": [1, 2.5, \"\\u00e4\\u0000b\"], \"b\": null}", &value, NULL),
                     RILL_OK);
    json_t *a = json_object_get(value, "a");
    assert_int_equal(json_integer_value(json_array_get(a, 0)), 1);
    assert_true(json_real_value(json_array_get(a, 1)) == 2.5);
    json_t *text = json_array_get(a, 2);
    assert_int_equal(json_string_length(text), 4);
    assert_memory_equal(json_string_value(text), "\xc3\xa4\0b", 4);
    assert_true(json_is_null(json_object_get(value, "b")));
    json_decref(value);
    assert_int_equal(parse("3", &value, NULL), RILL_OK);
    json_decref(value);
}

static void errors_give_the_place(void **state) {
    (void)state;
    json_t *value = NULL;
    rill_error err;
    assert_int_equal(parse("{\"a\": 1,\n  \"b\" 2}", &value, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "x.json: line 2, column"));
    assert_int_equal(parse("", &value, &err), RILL_EFORMAT);
    assert_int_equal(parse("[1] [2]", &value, &err), RILL_EFORMAT);
    assert_int_equal(parse("[\"\xff\"]", &value, &err), RILL_EFORMAT);
    assert_int_equal(parse("[1e999]", &value, &err), RILL_EFORMAT);
    assert_null(value);
}

static void hostile_depth_is_refused(void **state) {
    (void)state;
    size_t n = 1000000;
    char *text = malloc(n);
    memset(text, '[', n);
    json_t *value = NULL;
    rill_error err;
    assert_int_equal(rill__json_parse("deep.json", text, n, &value, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "depth"));
    memset(text, ']', n);
    memset(text, '[', 1000);
    assert_int_equal(rill__json_parse("deep.json", text, 2000, &value, &err), RILL_OK);
    json_decref(value);
    free(text);
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    const char *text =
        "{\"list\": [1, 2.5, \"three\", {\"four\": [true, false, null]}],"
        " \"a long text with \\u00e4 and \\n\": \"0123456789012345678901234567890\"}";
    failing_allocator_install();
    bool fired = true;
    uint64_t n = 0;
    while (fired) {
        json_t *value = NULL;
        rill_error err;
        failing_allocator_arm(++n, false);
        rill_status status = parse(text, &value, &err);
        fired = failing_allocator_disarm();
        assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
        json_decref(value);
        assert_int_equal(failing_allocator_live_blocks(), 0);
    }
    assert_true(n > 20);
    failing_allocator_remove();
}

// A program's own pair of functions for jansson's memory, whose pieces are only theirs.
enum { MARK = 0x600d900d };
static int program_pieces;

static void *program_malloc(size_t bytes) {
    size_t *piece = malloc(bytes + 2 * sizeof *piece);
    piece[0] = MARK;
    program_pieces++;
    return piece + 2;
}

static void program_free(void *memory) {
    if (!memory) return;
    size_t *piece = (size_t *)memory - 2;
    if (piece[0] != MARK) abort();
    piece[0] = 0;
    program_pieces--;
    free(piece);
}

// First of all: the first parse is what sets jansson's functions.
static void a_program_keeps_its_own_memory_for_jansson(void **state) {
    (void)state;
    json_set_alloc_funcs(program_malloc, program_free);
    json_t *before = json_pack("{s: [i, s]}", "mine", 1, "text"), *value;
    int n_before = program_pieces;
    assert_true(n_before > 0);
    assert_int_equal(parse("{\"a\": [1, \"b\"]}", &value, NULL), RILL_OK);
    assert_true(program_pieces > n_before);
    json_t *after = json_pack("[s]", "mine too");
    json_decref(value);
    json_decref(before);
    json_decref(after);
    assert_int_equal(program_pieces, 0);
    assert_int_equal(parse("[1, 2", &value, NULL), RILL_EFORMAT);
    assert_int_equal(program_pieces, 0);
}

static void large_values_come_back(void **state) {
    (void)state;
    enum { N = 30000 };
    char *text = malloc(N * 32), *end = text;
    *end++ = '{';
    for (int i = 0; i < N; i++) end += sprintf(end, "%s\"key %d\": [%d, {}]", i ? "," : "", i, i);
    *end++ = '}';
    failing_allocator_install();
    json_t *value;
    assert_int_equal(rill__json_parse("x", text, (size_t)(end - text), &value, NULL), RILL_OK);
    for (int i = 0; i < N; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        json_t *list = json_object_get(value, key);
        assert_int_equal(json_integer_value(json_array_get(list, 0)), i);
    }
    json_decref(value);
    assert_int_equal(failing_allocator_live_blocks(), 0);
    for (uint64_t n = 1; n < 200000; n = n * 2 + 1) {
        failing_allocator_arm(n, false);
        assert_int_equal(rill__json_parse("x", text, (size_t)(end - text), &value, NULL),
                         RILL_ENOMEM);
        assert_true(failing_allocator_disarm());
        assert_int_equal(failing_allocator_live_blocks(), 0);
    }
    failing_allocator_remove();
    free(text);
}

static void files_are_loaded_up_to_a_ceiling(void **state) {
    (void)state;
    char path[] = "/tmp/rill-json-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\": 5}", 8), 8);
    close(fd);
    json_t *value = NULL;
    rill_error err;
    assert_int_equal(rill__json_load(path, 8, &value, &err), RILL_OK);
    assert_int_equal(json_integer_value(json_object_get(value, "a")), 5);
    json_decref(value);
    value = NULL;
    assert_int_equal(rill__json_load(path, 7, &value, &err), RILL_EFORMAT);
    unlink(path);
    assert_int_equal(rill__json_load(path, 8, &value, &err), RILL_EIO);
    assert_non_null(strstr(err.message, path));
    assert_null(value);
}

// As text again, behind what is there; NULL stands for memory that was out.
static void values_are_written(void **state) {
    (void)state;
    rill__bytes out;
    rill_error err;
    json_t *value = json_pack("{s:i}", "a", 5);
    rill__bytes_init(&out, 12);
    assert_int_equal(rill__json_append(value, JSON_COMPACT, &out, &err), RILL_OK);
    assert_string_equal(out.data, "{\"a\":5}");
    assert_int_equal(rill__json_append(NULL, JSON_COMPACT, &out, &err), RILL_ENOMEM);
    assert_int_equal(rill__json_append(value, JSON_COMPACT, &out, &err), RILL_ENOMEM);
    rill__bytes_deinit(&out);
    json_decref(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_keeps_its_own_memory_for_jansson),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(errors_give_the_place),
        cmocka_unit_test(hostile_depth_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(large_values_come_back),
        cmocka_unit_test(files_are_loaded_up_to_a_ceiling),
        cmocka_unit_test(values_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
