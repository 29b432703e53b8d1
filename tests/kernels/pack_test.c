// SPDX-License-Identifier: MIT
// Packed weights unpack to the same bytes, for every type, width of a chunk and number of rows.
#include "backend/cpu/pack.h"

#include "base/clock.h"
#include "operands.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_COLUMNS = 800 };

static void check(rill_type type, size_t columns, size_t n_rows) {
    const rill__type_traits *t = rill__type_traits_get(type);
    size_t row_bytes = columns / t->block * t->block_bytes;
    size_t tile_bytes = rill__packed_tile_bytes(type, columns);
    uint8_t *rows = malloc(n_rows * row_bytes), *tile = malloc(tile_bytes);
    assert_true(rows && tile);
    for (size_t i = 0; i < n_rows * row_bytes; i++) rows[i] = (uint8_t)random_bits();
    memset(tile, 0xaa, tile_bytes);
    rill__pack_tile(type, rows, row_bytes, n_rows, columns, tile);
    const uint8_t *chunk = tile;
    for (size_t c = 0; c < columns; c += RILL_CPU_CHUNK) {
        size_t k = columns - c < RILL_CPU_CHUNK ? columns - c : RILL_CPU_CHUNK;
        size_t bytes = k / t->block * t->block_bytes;
        for (size_t o = 0; o < RILL_CPU_TILE; o++) {
            uint8_t got[RILL_PACKED_ROW_MOST], none[RILL_PACKED_ROW_MOST] = {0};
            rill__unpack_row(type, chunk, k, o, got);
            const uint8_t *expected = rows + o * row_bytes + c / t->block * t->block_bytes;
            assert_memory_equal(got, o < n_rows ? expected : none, bytes);
        }
        chunk += RILL_CPU_TILE * rill__packed_row_bytes(type, k);
    }
    assert_true(chunk == tile + tile_bytes);
    free(rows);
    free(tile);
}

static void unpacking_gives_what_was_packed(void **state) {
    (void)state;
    random_state = (uint64_t)(rill__seconds() * 1e6);
    printf("seed %llu\n", (unsigned long long)random_state);
    for (unsigned type = 0; type < RILL_CPU_TYPES; type++) {
        if (rill__whole_format_of((rill_type)type).run == 0) {
            assert_int_equal(rill__packed_row_bytes((rill_type)type, 256), 0);
            continue;
        }
        size_t block = rill__type_traits_get((rill_type)type)->block;
        for (size_t columns = block; columns <= MOST_COLUMNS; columns += block)
            check((rill_type)type, columns, 1 + random_bits() % RILL_CPU_TILE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(unpacking_gives_what_was_packed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
