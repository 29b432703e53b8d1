// SPDX-License-Identifier: MIT
// Numbers as people type them, strictly, and as they read them.
#include "base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void whole_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t number;
    } right[] = {{"0", 0},     {"007", 7},      {"12k", 12000},
                 {"3K", 3000}, {"5M", 5000000}, {"18446744073709551615", UINT64_MAX}};
    static const char *const wrong[] = {"",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.5",
                                        "k",
                                        "1kk",
                                        "1kB",
                                        "0x10",
                                        "18446744073709551616",
                                        "18446744073709551615k"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        uint64_t n = 99;
        assert_true(rill__number_whole(right[i].text, &n));
        assert_true(n == right[i].number);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t n = 99;
        if (rill__number_whole(wrong[i], &n)) fail_msg("'%s'", wrong[i]);
        assert_int_equal(n, 99);
    }
}

static void real_numbers(void **state) {
    (void)state;
    static const char *const wrong[] = {"",    " 1", "1 ",    "nan", "inf",
                                        "0x1", "1e", "1e999", "1,5", "--1"};
    double x = 9;
    assert_true(rill__number_real("-1.5e2", &x) && x == -150);
    assert_true(rill__number_real("1e-400", &x) && x == 0);
    x = 9;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (rill__number_real(wrong[i], &x)) fail_msg("'%s'", wrong[i]);
        assert_true(x == 9);
    }
}

static void for_people(void **state) {
    (void)state;
    static const struct {
        uint64_t number;
        const char *grouped, *bytes;
    } rows[] = {
        {0, "0", "0 bytes"},
        {999, "999", "999 bytes"},
        {1000, "1,000", "1000 bytes"},
        {1536, "1,536", "1.5 KiB"},
        {1234567, "1,234,567", "1.2 MiB"},
        {UINT64_MAX, "18,446,744,073,709,551,615", "16.0 EiB"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rill__number_grouped(text, sizeof text, rows[i].number);
        assert_string_equal(text, rows[i].grouped);
        rill__number_bytes(text, sizeof text, rows[i].number);
        assert_string_equal(text, rows[i].bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(real_numbers),
        cmocka_unit_test(for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
