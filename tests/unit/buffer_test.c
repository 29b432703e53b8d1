// SPDX-License-Identifier: MIT
// The growing run of bytes.
#include "base/buffer.h"

#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void append_keeps_every_byte(void **state) {
    (void)state;
    rill__bytes b;
    rill__bytes_init(&b, 0);
    assert_null(b.data);
    for (size_t i = 0; i < 5000; i++) {
        char c = (char)(i % 251);
        assert_int_equal(rill__bytes_append(&b, &c, 1, NULL), RILL_OK);
        assert_int_equal(b.length, i + 1);
        assert_true(b.length <= b.capacity);
        assert_int_equal(b.data[b.length], 0);
    }
    for (size_t i = 0; i < 5000; i++) assert_int_equal((uint8_t)b.data[i], i % 251);
    rill__bytes_deinit(&b);
    assert_null(b.data);
    assert_int_equal(b.length, 0);
}

static void ceiling_is_exact(void **state) {
    (void)state;
    const char text[200] = {1};
    for (size_t ceiling = 1; ceiling < 200; ceiling += 9) {
        rill__bytes b;
        rill_error err;
        rill__bytes_init(&b, ceiling);
        assert_int_equal(rill__bytes_append(&b, text, ceiling, &err), RILL_OK);
        assert_true(b.capacity <= ceiling);
        assert_int_equal(rill__bytes_append(&b, text, 1, &err), RILL_ENOMEM);
        assert_int_equal(b.length, ceiling);
        assert_int_equal(rill__bytes_append(&b, text, SIZE_MAX, &err), RILL_ENOMEM);
        assert_int_equal(rill__bytes_append(&b, text, 0, &err), RILL_OK);
        rill__bytes_deinit(&b);
    }
}

static void reset_keeps_the_memory(void **state) {
    (void)state;
    rill__bytes b;
    rill__bytes_init(&b, 0);
    rill__bytes_reset(&b);
    assert_int_equal(rill__bytes_append(&b, "hello", 5, NULL), RILL_OK);
    const char *data = b.data;
    rill__bytes_reset(&b);
    assert_int_equal(b.length, 0);
    assert_string_equal(b.data, "");
    assert_int_equal(rill__bytes_append(&b, "bye", 3, NULL), RILL_OK);
    assert_ptr_equal(b.data, data);
    assert_string_equal(b.data, "bye");
    rill__bytes_deinit(&b);
}

static void take_hands_over(void **state) {
    (void)state;
    rill__bytes b;
    size_t length = 7;
    rill__bytes_init(&b, 100);
    assert_int_equal(rill__bytes_append(&b, "", 0, NULL), RILL_OK);
    char *text = rill__bytes_take(&b, &length);
    assert_string_equal(text, "");
    assert_int_equal(length, 0);
    rill__free(text);
    assert_null(b.data);
    assert_int_equal(b.ceiling, 100);
    assert_int_equal(rill__bytes_append(&b, "again", 5, NULL), RILL_OK);
    text = rill__bytes_take(&b, NULL);
    assert_string_equal(text, "again");
    rill__free(text);
}

static void content_survives_a_failed_reserve(void **state) {
    (void)state;
    failing_allocator_install();
    rill__bytes b;
    rill_error err;
    rill__bytes_init(&b, 0);
    assert_int_equal(rill__bytes_append(&b, "kept", 4, &err), RILL_OK);
    failing_allocator_arm(1, false);
    assert_int_equal(rill__bytes_reserve(&b, 1000, &err), RILL_ENOMEM);
    assert_true(failing_allocator_disarm());
    assert_string_equal(b.data, "kept");
    assert_int_equal(rill__bytes_reserve(&b, 1000, &err), RILL_OK);
    assert_true(b.capacity >= 1004);
    rill__bytes_deinit(&b);
    assert_int_equal(failing_allocator_live_blocks(), 0);
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_keeps_every_byte),
        cmocka_unit_test(ceiling_is_exact),
        cmocka_unit_test(reset_keeps_the_memory),
        cmocka_unit_test(take_hands_over),
        cmocka_unit_test(content_survives_a_failed_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
