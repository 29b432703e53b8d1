// SPDX-License-Identifier: MIT
// UTF-8 against a second, table-free decoder written from RFC 3629's grammar, over every sequence
// of up to three bytes and every code point.
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static bool between(uint8_t b, uint8_t low, uint8_t high) {
    return b >= low && b <= high;
}

// Length of the well-formed character at b, 0 if there is none: RFC 3629, section 4, line by line.
static size_t grammar(const uint8_t *b, size_t n) {
    bool t1 = n > 1 && between(b[1], 0x80, 0xbf);
    bool t2 = n > 2 && between(b[2], 0x80, 0xbf);
    bool t3 = n > 3 && between(b[3], 0x80, 0xbf);
    if (n > 0 && b[0] < 0x80) return 1;
    if (n > 0 && between(b[0], 0xc2, 0xdf) && t1) return 2;
    if (n > 1 && t2 &&
        ((b[0] == 0xe0 && between(b[1], 0xa0, 0xbf)) || (between(b[0], 0xe1, 0xec) && t1) ||
         (b[0] == 0xed && between(b[1], 0x80, 0x9f)) || (between(b[0], 0xee, 0xef) && t1)))
        return 3;
    if (n > 1 && t2 && t3 &&
        ((b[0] == 0xf0 && between(b[1], 0x90, 0xbf)) || (between(b[0], 0xf1, 0xf3) && t1) ||
         (b[0] == 0xf4 && between(b[1], 0x80, 0x8f))))
        return 4;
    return 0;
}

// Whether some continuation makes the n bytes at b a character, tried by hand.
static bool can_be_completed(const uint8_t *b, size_t n) {
    static const uint8_t tries[] = {0x80, 0x90, 0xa0, 0xbf};
    for (size_t i = 0; i < 64; i++) {
        uint8_t whole[8] = {0};
        memcpy(whole, b, n);
        whole[n] = tries[i & 3];
        whole[n + 1] = tries[i >> 2 & 3];
        whole[n + 2] = tries[i >> 4];
        if (grammar(whole, n + 3) > n) return true;
    }
    return false;
}

static void check(const uint8_t *b, size_t n) {
    const char *s = (const char *)b;
    uint32_t code;
    size_t expected = grammar(b, n);
    assert_int_equal(rill__utf8_decode(s, n, &code), expected ? expected : 1);
    if (!expected) assert_int_equal(code, 0xfffd);
    bool valid = true;
    for (size_t i = 0; i < n && valid;) {
        size_t step = grammar(b + i, n - i);
        valid = step > 0;
        i += step;
    }
    assert_int_equal(rill__utf8_valid(s, n), valid);
    // The longest ending that is the beginning of a character.
    size_t tail = 0;
    for (size_t back = 1; back <= n && back <= 3; back++)
        if (grammar(b + n - back, back) == 0 && can_be_completed(b + n - back, back)) tail = back;
    assert_int_equal(rill__utf8_incomplete_tail(s, n), tail);
}

static void every_short_sequence_decodes_as_the_grammar_says(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 1u << 24; i += i < 1u << 16 ? 1 : 23) {
        uint8_t b[3] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)};
        if (i < 256) check(b, 1);
        if (i < 1u << 16) check(b, 2);
        check(b, 3);
    }
}

static void four_bytes_decode_as_the_grammar_says(void **state) {
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (unsigned first = 0xe0; first <= 0xff; first++) {
        for (size_t i = 0; i < 1000; i++) {
            uint8_t b[4] = {(uint8_t)first, edges[i % 10], edges[i / 10 % 10], edges[i / 100]};
            check(b, 4);
        }
    }
}

static void every_code_point_survives_the_round_trip(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0x110010; code++) {
        char text[4];
        uint32_t back;
        bool legal = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
        size_t n = rill__utf8_encode(code, text);
        assert_int_equal(rill__utf8_count(text, n), 1);
        assert_int_equal(grammar((const uint8_t *)text, n), n);
        assert_int_equal(rill__utf8_decode(text, n, &back), n);
        assert_int_equal(back, legal ? code : 0xfffd);
        for (size_t cut = 1; cut < n; cut++)
            assert_int_equal(rill__utf8_incomplete_tail(text, cut), cut);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_sequence_decodes_as_the_grammar_says),
        cmocka_unit_test(four_bytes_decode_as_the_grammar_says),
        cmocka_unit_test(every_code_point_survives_the_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
