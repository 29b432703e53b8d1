// SPDX-License-Identifier: MIT
// Errors, memory, and the allocator that tests use to make it fail.
#include "base/base.h"

#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

static void every_status_has_its_text(void **state) {
    (void)state;
#define CHECK(name, number, text)                                                                  \
    assert_int_equal(RILL_##name, number);                                                         \
    assert_string_equal(rill_status_text(RILL_##name), text);
    RILL_STATUS_MAP(CHECK)
#undef CHECK
    assert_string_equal(rill_status_text((rill_status)-1000), "unknown status");
}

static void fail_fills_the_error(void **state) {
    (void)state;
    rill_error err = {RILL_OK, ""};
    assert_int_equal(rill__fail(&err, RILL_EFORMAT, "%s: %d", "a.gguf", 7), RILL_EFORMAT);
    assert_int_equal(err.status, RILL_EFORMAT);
    assert_string_equal(err.message, "a.gguf: 7");
    assert_int_equal(rill__fail(NULL, RILL_EIO, "unseen"), RILL_EIO);
    assert_int_equal(rill__fail_memory(&err, "a cache", 12345), RILL_ENOMEM);
    assert_non_null(strstr(err.message, "a cache"));
    assert_non_null(strstr(err.message, "12345"));
}

static void fail_takes_its_own_message_as_an_argument(void **state) {
    (void)state;
    rill_error err;
    assert_int_equal(rill__fail(&err, RILL_EIO, "inner"), RILL_EIO);
    assert_int_equal(rill__fail(&err, RILL_EIO, "outer: %s", err.message), RILL_EIO);
    assert_string_equal(err.message, "outer: inner");
}

static void message_is_one_printable_line(void **state) {
    (void)state;
    rill_error err;
    (void)rill__fail(&err, RILL_EFORMAT, "a\nb\x1b[2Jc\xff\xc3\xa4\xc2\x9b!\x7f");
    assert_string_equal(err.message, "a?b?[2Jc?\xc3\xa4?"
                                     "?!?");
}

static void long_message_is_cut_between_characters(void **state) {
    (void)state;
    char text[600] = "x";
    for (size_t i = 1; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xc3\xa4", 3);
    for (size_t skip = 0; skip < 2; skip++) {
        rill_error err;
        (void)rill__fail(&err, RILL_EFORMAT, "%s", text + skip);
        size_t length = strlen(err.message);
        assert_in_range(length, sizeof err.message - 2, sizeof err.message - 1);
        assert_memory_equal(err.message, text + skip, length);
        assert_int_equal(length % 2, 1 - skip);
    }
}

static void memory_survives_impossible_sizes(void **state) {
    (void)state;
    assert_null(rill__calloc(SIZE_MAX / 2, 3));
    assert_null(rill__map_memory(SIZE_MAX - 8));
    assert_null(rill__strndup("x", SIZE_MAX));
    size_t untouched = 5;
    assert_false(rill__mul_size(SIZE_MAX, 2, &untouched));
    assert_false(rill__add_size(SIZE_MAX, 1, &untouched));
    assert_int_equal(untouched, 5);
    assert_true(rill__mul_size(6, 7, &untouched));
    assert_int_equal(untouched, 42);
}

static void strings_are_copied(void **state) {
    (void)state;
    char *whole = rill__strdup("abc"), *part = rill__strndup("abcdef", 2), *none = rill__strdup("");
    assert_string_equal(whole, "abc");
    assert_string_equal(part, "ab");
    assert_string_equal(none, "");
    rill__free(whole);
    rill__free(part);
    rill__free(none);
    rill__free(NULL);
}

// Sizes on both sides of the one from which a mapping of its own is taken.
static const size_t map_sizes[] = {1, 63, 4096, (1 << 20) - 1, 1 << 20, (3 << 20) + 5};

static void mapped_memory_is_zeroed_and_aligned(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof map_sizes / sizeof *map_sizes; i++) {
        size_t n = map_sizes[i];
        uint64_t before = rill__allocation_count();
        uint8_t *memory = rill__map_memory(n);
        assert_non_null(memory);
        assert_int_equal(rill__allocation_count(), before + 1);
        assert_int_equal((uintptr_t)memory % 64, 0);
        for (size_t j = 0; j < n; j++) assert_int_equal(memory[j], 0);
        memset(memory, 0xff, n);
        rill__unmap_memory(memory, n);
    }
    rill__unmap_memory(NULL, 1 << 20);
}

static void allocations_are_counted(void **state) {
    (void)state;
    uint64_t before = rill__allocation_count();
    void *a = rill__malloc(0), *b = rill__calloc(2, 8);
    assert_non_null(a);
    b = rill__realloc(b, 100);
    assert_int_equal(rill__allocation_count(), before + 3);
    rill__free(a);
    rill__free(b);
    assert_int_equal(rill__allocation_count(), before + 3);
}

static void failing_allocator_knows_what_lives(void **state) {
    (void)state;
    failing_allocator_install();
    char *a = rill__malloc(10);
    void *b = rill__map_memory(2 << 20);
    assert_int_equal(failing_allocator_live_blocks(), 2);
    assert_in_range(failing_allocator_live_bytes(), (2 << 20) + 10, (2 << 20) + 10 + 128);
    memcpy(a, "012345678", 10);
    a = rill__realloc(a, 100);
    assert_string_equal(a, "012345678");
    assert_int_equal(failing_allocator_count(), 3);
    rill__free(a);
    rill__unmap_memory(b, 2 << 20);
    assert_int_equal(failing_allocator_live_blocks(), 0);
    assert_int_equal(failing_allocator_live_bytes(), 0);
    assert_true(failing_allocator_peak_bytes() >= (2 << 20) + 110);
    failing_allocator_remove();
}

static void failing_allocator_fails_once_or_for_good(void **state) {
    (void)state;
    failing_allocator_install();
    failing_allocator_arm(2, false);
    void *a = rill__malloc(1);
    assert_non_null(a);
    assert_null(rill__realloc(a, 2));
    a = rill__realloc(a, 3);
    assert_non_null(a);
    assert_true(failing_allocator_disarm());
    failing_allocator_arm(1, true);
    assert_null(rill__malloc(1));
    assert_null(rill__map_memory(4 << 20));
    assert_null(rill__map_memory(4));
    assert_null(rill__strdup("x"));
    assert_true(failing_allocator_disarm());
    assert_false(failing_allocator_disarm());
    rill__free(a);
    assert_int_equal(failing_allocator_live_blocks(), 0);
    failing_allocator_remove();
}

static void *allocate_in_thread(void *unused) {
    for (size_t i = 0; i < 1000; i++) rill__free(rill__realloc(rill__malloc(i), i + 1));
    return unused;
}

static void failing_allocator_counts_across_threads(void **state) {
    (void)state;
    failing_allocator_install();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_in_thread, NULL), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(failing_allocator_count(), 8000);
    assert_int_equal(failing_allocator_live_blocks(), 0);
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_text),
        cmocka_unit_test(fail_fills_the_error),
        cmocka_unit_test(fail_takes_its_own_message_as_an_argument),
        cmocka_unit_test(message_is_one_printable_line),
        cmocka_unit_test(long_message_is_cut_between_characters),
        cmocka_unit_test(memory_survives_impossible_sizes),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(mapped_memory_is_zeroed_and_aligned),
        cmocka_unit_test(allocations_are_counted),
        cmocka_unit_test(failing_allocator_knows_what_lives),
        cmocka_unit_test(failing_allocator_fails_once_or_for_good),
        cmocka_unit_test(failing_allocator_counts_across_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
