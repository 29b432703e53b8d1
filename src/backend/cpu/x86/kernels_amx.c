// SPDX-License-Identifier: MIT
// The AMX tier: products of tiles, 16 rows of 64 bytes each. Source: Intel SDM volume 1,
// chapter 18.
#define RILL_VNNI
#define NAME(f) f##_amx
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/simd/bytes_tmpl.h"

#include "backend/cpu/simd/whole_tmpl.h"

#include <math.h>

enum { TILE_ROWS = 16, TILE_BYTES = 64, Q_STRIDE = 4 * RILL_CPU_TILE, RUN = 32 };

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
// Tiles 0 to 3 are sums, of 4 or 5, `rows` rows of `depth` bytes, with 6 or 7, depth / 4 rows of
// `bytes` bytes.
static void begin_tiles(size_t rows, size_t depth, size_t bytes) {
    tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? depth : bytes);
        config.rows[i] = (uint8_t)(i < 6 ? rows : depth / 4);
    }
    stored(&config);
    _tile_loadconfig(&config);
}

// Six tiles of sums, as many as operands leave, hide the latency of a product.
static void begin_burning(void) {
    uint8_t operand[TILE_ROWS * TILE_BYTES];
    memset(operand, 0x3f, sizeof operand);  // bytes of 63, bfloat16 of 0.75
    stored(operand);
    begin_tiles(TILE_ROWS, TILE_BYTES, TILE_BYTES);
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

#define TINLINE static inline __attribute__((always_inline))

// ---- bfloat16: tiles 0 and 1 are the sums of both tiles of weights with the first group, 2 and 3
// with the second.

TINLINE void multiply(const uint16_t *x, const uint16_t *next, size_t lanes, bool two) {
    _tile_loadd(6, x, 4 * lanes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if (!two) return;
    _tile_loadd(7, next, 4 * lanes);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
}

// All columns of one group, or of two whole ones.
TINLINE void tile_groups(const rill__tiles *t, size_t g, size_t lanes, bool two) {
    enum { SUMS = RILL_TILE_OUTS * RILL_TILE_ROWS, STRIDE = RILL_TILE_ROWS * sizeof(float) };
    float *sums = t->sums + g * SUMS;
    size_t group = RILL_TILE_ROWS * t->k;
    const uint16_t *high = t->high + g * group, *low = t->low + g * group;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t c = 0; c < t->k; c += 32) {
        // Rows of weights lie far apart: the next pass's are asked for, in its order.
        for (size_t o = 0; o < RILL_TILE_OUTS && g == 0 && t->next; o++)
            _mm_prefetch(t->next + o * t->next_stride + 2 * c, _MM_HINT_T0);
        _tile_loadd(4, t->w + 2 * c, t->w_stride);
        _tile_loadd(5, t->w + TILE_ROWS * t->w_stride + 2 * c, t->w_stride);
        multiply(high + c * lanes, high + group + c * lanes, lanes, two);
        multiply(low + c * lanes, low + group + c * lanes, lanes, two);
    }
    _tile_stored(0, sums, STRIDE);
    _tile_stored(1, sums + SUMS / 2, STRIDE);
    if (two) {
        _tile_stored(2, sums + SUMS, STRIDE);
        _tile_stored(3, sums + SUMS + SUMS / 2, STRIDE);
    }
}

static void product_tiles_amx(const rill__tiles *t) {
    size_t whole = t->n_rows / RILL_TILE_ROWS, rest = t->n_rows % RILL_TILE_ROWS, g = 0;
    if (whole > 0) begin_tiles(TILE_ROWS, TILE_BYTES, 4 * RILL_TILE_ROWS);
    for (; g + 2 <= whole; g += 2) tile_groups(t, g, RILL_TILE_ROWS, true);
    if (g < whole) tile_groups(t, g, RILL_TILE_ROWS, false);
    if (rest > 0) {
        begin_tiles(TILE_ROWS, TILE_BYTES, 4 * rest);
        tile_groups(t, whole, rest, false);
    }
    _tile_release();
    stored(t->sums);
}

static __m512i high_parts(__m512 first, __m512 second) {
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

// What a high part leaves of x; nought where that is an infinity, so that a sum is one too.
static __m512 rest_of(__m512 x, __m256i high) {
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
    __m512 rest = _mm512_sub_ps(x, _mm512_castsi512_ps(bits));
    __m512 size = _mm512_abs_ps(_mm512_castsi512_ps(bits)), infinite = _mm512_set1_ps(INFINITY);
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(size, infinite, _CMP_LT_OQ), rest);
}

static void split_bf16_amx(const float *x, size_t n, uint16_t *high, uint16_t *low) {
    for (size_t i = 0; i < n; i += 32) {
        __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16);
        __m512i h = high_parts(a, b);
        _mm512_storeu_si512(high + i, h);
        _mm512_storeu_si512(low + i, high_parts(rest_of(a, _mm512_castsi512_si256(h)),
                                                rest_of(b, _mm512_extracti64x4_epi64(h, 1))));
    }
}

// ---- Whole numbers: both bytes of sixteen rows of activations with bytes of weights, a run of 32
// columns a product. Packed weights lie as tiles want them.

// What tiles of sums are stored in on their way to floats: two of each, in turn.
typedef struct tile_sums {
    int32_t coarse[2][TILE_ROWS * 16], fine[2][TILE_ROWS * 16];
} tile_sums;

// Rows of activations, x_rows <= TILE_ROWS of them, in the columns of a chunk.
typedef struct tile_rows {
    size_t stride;  // bytes from row to row
    size_t x_rows;
    rill__whole_row first;  // the first row's arrays, at the chunk's first column
    rill__ahead ahead;
} tile_rows;

// Starts the products of one run with half of the weight rows; `odd` ones have tiles of their own,
// so that neighbours overlap.
TINLINE void multiply_run(const uint8_t *q, const int8_t *x, size_t stride, bool odd) {
    if (odd) {
        _tile_zero(2);
        _tile_zero(3);
        _tile_loadd(7, q + TILE_BYTES, Q_STRIDE);
        _tile_dpbsud(2, 4, 7);
        _tile_dpbsud(3, 5, 7);
        return;
    }
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(6, q, Q_STRIDE);
    _tile_loadd(4, x, stride);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(5, x + RILL_WHOLE_BLOCK, stride);
    _tile_dpbsud(1, 5, 6);
}

TINLINE void store_run(bool odd, tile_sums *sums) {
    if (odd) {
        _tile_stored(2, sums->coarse[1], TILE_BYTES);
        _tile_stored(3, sums->fine[1], TILE_BYTES);
    } else {
        _tile_stored(0, sums->coarse[0], TILE_BYTES);
        _tile_stored(1, sums->fine[0], TILE_BYTES);
    }
    stored(sums);
}

// What lies `bytes` behind the first row's.
TINLINE const void *behind(const void *p, size_t bytes) {
    return (const uint8_t *)p + bytes;
}

// Adds the run at column c to the sums of all rows of activations with half of the weight rows.
TINLINE void add_run(const rill__whole *w, const tile_rows *x, size_t c, bool minima, bool odd,
                     const tile_sums *products, float *sums) {
    size_t at = c / RUN, half = odd ? TILE_ROWS : 0;
    __m512 d = _mm512_loadu_ps(w->d + at * RILL_CPU_TILE + half), m = d;
    if (minima) m = _mm512_loadu_ps(w->m + at * RILL_CPU_TILE + half);
    const float *dx = x->first.d + c / RILL_WHOLE_BLOCK;
    const int32_t *sum = x->first.sums[1] + at;
    const __m128i shift = _mm_cvtsi32_si128(minima ? 0 : __builtin_ctz(w->format.zero));
    for (size_t r = 0; r < x->x_rows; r++) {
        __m512i high = _mm512_slli_epi32(_mm512_loadu_si512(products->coarse[odd] + 16 * r), 8);
        __m512i s = _mm512_add_epi32(high, _mm512_loadu_si512(products->fine[odd] + 16 * r));
        __m512 scale = _mm512_set1_ps(*(const float *)behind(dx, r * x->stride));
        __m512i total = _mm512_set1_epi32(*(const int32_t *)behind(sum, r * x->stride));
        float *out = sums + r * RILL_CPU_TILE + half;
        if (!minima) s = _mm512_sub_epi32(s, _mm512_sll_epi32(total, shift));
        __m512 o =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(d, scale), _mm512_loadu_ps(out));
        if (minima) o = _mm512_fnmadd_ps(m, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(total)), o);
        _mm512_storeu_ps(out, o);
    }
}

TINLINE void tile_runs(const rill__whole *w, const tile_rows *x, float *sums, bool minima) {
    tile_sums products;
    ahead next = ahead_of(&x->ahead, 2 * w->k / RUN);
    // A product takes long: the next one is begun before it is stored, and it is stored before the
    // one in front of it is added. Two halves of the weight rows, run by run.
    size_t n = 2 * w->k / RUN;
    for (size_t i = 0; i < n + 2; i++) {
        size_t c = i / 2 * RUN;
        if (i < n) multiply_run(w->q + c * RILL_CPU_TILE, x->first.bytes + 2 * c, x->stride, i % 2);
        look_ahead(&next, true);
        if (i > 0 && i <= n) store_run((i - 1) % 2, &products);
        if (i > 1) add_run(w, x, c - RUN, minima, i % 2, &products, sums);
    }
}

// Few rows would leave most of a tile empty, and so do runs of 16; with one byte a number, sums are
// stored as often for half of the products. Vectors are faster then.
enum { LEAST_ROWS = 4 };

static bool suits_tiles(const rill__whole *w, const rill__whole_rows *rows) {
    return rows->parts == 2 && w->format.run == RUN;
}

static void product_tiled_amx(const rill__whole *w, const rill__whole_rows *rows, float *sums) {
    size_t stride = rill__whole_row_bytes(rows->columns, rows->parts), set_up = 0, r = 0;
    while (suits_tiles(w, rows) && rows->n_rows - r >= LEAST_ROWS) {
        size_t left = rows->n_rows - r;
        tile_rows x = {.stride = stride,
                       .x_rows = left < TILE_ROWS ? left : TILE_ROWS,
                       .first = rill__whole_row_at(rows, r)};
        x.ahead = ahead_share(&w->ahead, r, r + x.x_rows, rows->n_rows);
        x.first.d += w->first / RILL_WHOLE_BLOCK;
        x.first.sums[1] += w->first / RUN;
        x.first.bytes += 2 * w->first;
        if (x.x_rows != set_up) begin_tiles(x.x_rows, RUN, TILE_BYTES);
        set_up = x.x_rows;
        if (w->format.zero)
            tile_runs(w, &x, sums + r * RILL_CPU_TILE, false);
        else
            tile_runs(w, &x, sums + r * RILL_CPU_TILE, true);
        r += x.x_rows;
    }
    if (set_up) _tile_release();
    if (r == rows->n_rows) return;
    rill__whole_rows few = *rows;
    few.memory += r * stride;
    few.n_rows -= r;
    rill__whole last = *w;
    last.ahead = ahead_share(&w->ahead, r, rows->n_rows, rows->n_rows);
    product_whole_amx(&last, &few, sums + r * RILL_CPU_TILE);
}

void rill__cpu_kernels_amx(rill__cpu_kernels *k) {
    k->product_tiles = product_tiles_amx;
    k->split_bf16 = split_bf16_amx;
    k->product_whole = product_tiled_amx;
    k->burn_bf16 = burn_bf16_amx;
    k->burn_int8 = burn_int8_amx;
}
