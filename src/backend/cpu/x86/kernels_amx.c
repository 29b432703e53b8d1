// SPDX-License-Identifier: MIT
// The AMX tier: products of tiles, 16 rows of 64 bytes each. Source: Intel SDM volume 1,
// chapter 18.
#include "backend/cpu/kernels.h"

#include <immintrin.h>
#include <math.h>
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
// Tiles 0 to 3 are sums, 4 and 5 weights, w_bytes a row, 6 and 7 activations: x_rows rows of
// `lanes` words of 4 bytes.
static void begin_tiles(size_t x_rows, size_t w_bytes, size_t lanes) {
    tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? w_bytes : 4 * lanes);
        config.rows[i] = (uint8_t)(i < 6 ? TILE_ROWS : x_rows);
    }
    stored(&config);
    _tile_loadconfig(&config);
}

// Six tiles of sums, as many as operands leave, hide the latency of a product.
static void begin_burning(void) {
    uint8_t operand[TILE_ROWS * TILE_BYTES];
    memset(operand, 0x3f, sizeof operand);  // bytes of 63, bfloat16 of 0.75
    stored(operand);
    begin_tiles(TILE_ROWS, TILE_BYTES, TILE_ROWS);
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
    if (whole > 0) begin_tiles(TILE_ROWS, TILE_BYTES, RILL_TILE_ROWS);
    for (; g + 2 <= whole; g += 2) tile_groups(t, g, RILL_TILE_ROWS, true);
    if (g < whole) tile_groups(t, g, RILL_TILE_ROWS, false);
    if (rest > 0) {
        begin_tiles(TILE_ROWS, TILE_BYTES, rest);
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

// ---- Whole numbers: bytes of weights with both bytes of activations, a run of columns a product.

// q - zero of all rows as signed bytes, [RILL_CPU_TILE, k], at `wide`.
static void narrow(const rill__whole *w, int8_t *to) {
    const __m256i zero = _mm256_set1_epi8((char)w->format.zero);
    for (size_t o = 0; o < RILL_CPU_TILE; o++)
        for (size_t c = 0; c < w->k; c += 32) {
            __m256i q = _mm256_loadu_si256((const __m256i *)(w->q + o * w->stride + c));
            _mm256_storeu_si256((__m256i *)(to + o * w->k + c), _mm256_sub_epi8(q, zero));
        }
}

// What tiles of sums are stored in on their way to floats: two of each, in turn.
typedef struct tile_sums {
    int32_t coarse[2][TILE_ROWS * 16], fine[2][TILE_ROWS * 16];
} tile_sums;

// Starts the products of one run; `odd` ones have tiles of their own, so that neighbours overlap.
TINLINE void multiply_run(const int8_t *w, size_t stride, const int8_t *coarse, const int8_t *fine,
                          bool odd) {
    if (odd) {
        _tile_zero(2);
        _tile_zero(3);
        _tile_loadd(5, w, stride);
        _tile_loadd(6, coarse, TILE_BYTES);
        _tile_dpbssd(2, 5, 6);
        _tile_loadd(7, fine, TILE_BYTES);
        _tile_dpbssd(3, 5, 7);
        return;
    }
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(4, w, stride);
    _tile_loadd(6, coarse, TILE_BYTES);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, fine, TILE_BYTES);
    _tile_dpbssd(1, 4, 7);
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

// Adds run r, at column c, to the sums of sixteen weight rows.
TINLINE void add_run(const rill__whole *w, const rill__q16_group *x, size_t c, size_t run,
                     bool minima, size_t odd, const tile_sums *products, __m512 out[TILE_ROWS]) {
    const float *d = w->d + c / run, *m = w->m + c / run;
    __m512 dx = _mm512_loadu_ps(x->d + c / RILL_Q16 * 16), scaled = dx;
    if (minima) {
        const int32_t *at = x->sums + c / RILL_Q16_RUN * 16;
        __m512i sum = _mm512_loadu_si512(at);
        if (run > RILL_Q16_RUN) sum = _mm512_add_epi32(sum, _mm512_loadu_si512(at + 16));
        scaled = _mm512_mul_ps(dx, _mm512_cvtepi32_ps(sum));
    }
    for (size_t o = 0; o < TILE_ROWS; o++) {
        __m512i high = _mm512_slli_epi32(_mm512_loadu_si512(products->coarse[odd] + 16 * o), 8);
        __m512i s = _mm512_add_epi32(high, _mm512_loadu_si512(products->fine[odd] + 16 * o));
        __m512 scale = _mm512_mul_ps(dx, _mm512_set1_ps(d[o * w->runs]));
        out[o] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), scale, out[o]);
        if (minima) out[o] = _mm512_fnmadd_ps(_mm512_set1_ps(m[o * w->runs]), scaled, out[o]);
    }
}

TINLINE void tile_runs(const rill__whole_product *p, size_t run, bool minima) {
    const rill__whole *w = p->w;
    const int8_t *bytes = (const int8_t *)p->wide;
    tile_sums products;
    begin_tiles(run / 4, run, TILE_ROWS);
    for (size_t g = 0; g < p->n_groups; g++) {
        uint8_t *memory = p->x + g * rill__q16_group_bytes(p->x_columns, 16);
        rill__q16_group x = rill__q16_group_at(memory, p->x_columns, 16);
        x.d += p->first / RILL_Q16 * 16;
        x.sums += p->first / RILL_Q16_RUN * 16;
        const int8_t *coarse = (const int8_t *)x.x + p->first * 16;
        const int8_t *fine = coarse + p->x_columns * 16;
        float *sums = p->sums + g * RILL_CPU_TILE * 16;
        __m512 out[TILE_ROWS];
        for (size_t o = 0; o < TILE_ROWS; o++) out[o] = _mm512_loadu_ps(sums + 16 * o);
        // A product takes long: the next one is begun before it is stored, and it is stored before
        // the one in front of it is added.
        size_t n = w->k / run;
        for (size_t r = 0; r < n + 2; r++) {
            size_t c = r * run;
            if (r < n) multiply_run(bytes + c, w->k, coarse + 16 * c, fine + 16 * c, r % 2);
            if (r > 0 && r <= n) store_run((r - 1) % 2, &products);
            if (r > 1) add_run(w, &x, c - 2 * run, run, minima, r % 2, &products, out);
        }
        for (size_t o = 0; o < TILE_ROWS; o++) _mm512_storeu_ps(sums + 16 * o, out[o]);
    }
    _tile_release();
}

static void put_lane_amx(const rill__q16_row *row, size_t k, size_t lane, rill__q16_group *group) {
    int8_t *coarse = (int8_t *)group->x + 4 * lane, *fine = coarse + 16 * k;
    for (size_t i = 0; i < k / RILL_Q16; i++) group->d[16 * i + lane] = row->d[i];
    for (size_t i = 0; i < k / RILL_Q16_RUN; i++) group->sums[16 * i + lane] = row->sums[i];
    for (size_t i = 0; i < k; i += 4) {
        memcpy(coarse + 16 * i, row->coarse + i, 4);
        memcpy(fine + 16 * i, row->fine + i, 4);
    }
}

static void product_groups_amx(const rill__whole_product *p) {
    narrow(p->w, (int8_t *)p->wide);
    stored(p->wide);
    RILL_WITH_FORMAT(p->w->format, tile_runs, p);
}

void rill__cpu_kernels_amx(rill__cpu_kernels *k) {
    k->product_tiles = product_tiles_amx;
    k->split_bf16 = split_bf16_amx;
    k->product_groups = product_groups_amx;
    k->put_lane = put_lane_amx;
    k->groups_from = 4;
    k->burn_bf16 = burn_bf16_amx;
    k->burn_int8 = burn_int8_amx;
}
