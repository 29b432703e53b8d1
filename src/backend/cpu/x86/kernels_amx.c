// SPDX-License-Identifier: MIT
// The AMX tier: products of tiles, 16 rows of 64 bytes each. Source: Intel SDM volume 1,
// chapter 18.
#include "backend/cpu/kernels.h"

#include <immintrin.h>
#include <string.h>

enum { TILE_ROWS = 16, TILE_BYTES = 64 };

// What LDTILECFG reads: all eight tiles whole.
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

// Compilers do not know that the instructions on tiles read memory (gcc 12 knows of 8 bytes of the
// configuration): what was stored for them to read needs this in between.
static void stored(const void *p) {
    __asm__ volatile("" : : "r"(p) : "memory");
}

// Tiles are a thread's own: whoever computes with them begins with `begin_tiles` and ends with
// _tile_release, which spares the system saving them.
static void begin_tiles(void) {
    tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = TILE_BYTES;
        config.rows[i] = TILE_ROWS;
    }
    stored(&config);
    _tile_loadconfig(&config);
}

// Six tiles of sums, as many as operands leave, hide the latency of a product.
static void begin_burning(void) {
    uint8_t operand[TILE_ROWS * TILE_BYTES];
    memset(operand, 0x3f, sizeof operand);  // bytes of 63, bfloat16 of 0.75
    stored(operand);
    begin_tiles();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_loadd(6, operand, TILE_BYTES);
    _tile_loadd(7, operand, TILE_BYTES);
}

static double burn_int8_amx(size_t rounds) {
    begin_burning();
    for (size_t round = 0; round < rounds; round++) {
        _tile_dpbssd(0, 6, 7);
        _tile_dpbssd(1, 6, 7);
        _tile_dpbssd(2, 6, 7);
        _tile_dpbssd(3, 6, 7);
        _tile_dpbssd(4, 6, 7);
        _tile_dpbssd(5, 6, 7);
    }
    _tile_release();
    return 2.0 * 6 * TILE_ROWS * TILE_ROWS * TILE_BYTES * (double)rounds;
}

static double burn_bf16_amx(size_t rounds) {
    begin_burning();
    for (size_t round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_release();
    return 2.0 * 6 * TILE_ROWS * TILE_ROWS * (TILE_BYTES / 2) * (double)rounds;
}

void rill__cpu_kernels_amx(rill__cpu_kernels *k) {
    k->burn_bf16 = burn_bf16_amx;
    k->burn_int8 = burn_int8_amx;
}
