// SPDX-License-Identifier: MIT
// Pieces of an arena: aligned, zeroed, apart from each other, given back in any order.
#include "base/arena.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PIECES = 40 };

typedef struct piece {
    uint8_t *at;
    size_t bytes;
    rill__slab *slab;
} piece;

static bool is_filled(const piece *p, uint8_t with) {
    for (size_t i = 0; i < p->bytes; i++)
        if (p->at[i] != with) return false;
    return true;
}

static void pieces_keep_apart(void **state) {
    (void)state;
    rill__arena arena = {0};
    piece pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {  // some larger than all before them
        piece *p = &pieces[i];
        p->bytes = 1 + i * i * 797 % 300000;
        p->at = rill__arena_take(&arena, p->bytes, &p->slab);
        assert_non_null(p->at);
        assert_int_equal((uintptr_t)p->at % 64, 0);
        assert_true(is_filled(p, 0));
        memset(p->at, (int)i + 1, p->bytes);
    }
    for (size_t i = 0; i < PIECES; i++) {  // 7 and 40 have no common factor: each once
        piece *p = &pieces[i * 7 % PIECES];
        assert_true(is_filled(p, (uint8_t)(i * 7 % PIECES + 1)));
        rill__arena_give(&arena, p->slab);
    }
    rill__arena_give(&arena, NULL);
    assert_null(arena.last);
    assert_int_equal(arena.bytes, 0);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    rill__arena arena = {0};
    rill__slab *slab;
    assert_null(rill__arena_take(&arena, SIZE_MAX - 70, &slab));
    assert_null(arena.last);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_keep_apart),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
