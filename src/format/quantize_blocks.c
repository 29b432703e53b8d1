// SPDX-License-Identifier: MIT
// Quantizers of the types with one scale for 32 values. See quantize.h; types.c has the layouts.
#include "format/quantize.h"

#include "format/quantize_parts.h"

enum { BLOCK = 32, HALF = BLOCK / 2 };

// The whole number nearest to x, halves away from zero; 0 for NaN.
static int8_t nearest(float x) {
    x = fabsf(x) < 127.5f ? x : 0;
    int whole = (int)x;
    float rest = x - (float)whole;
    return (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
}

void rill__q8_0_from_float(const float *src, void *dst, size_t n) {
    uint8_t *b = dst;
    for (size_t i = 0; i < n; i += BLOCK, b += 2 + BLOCK) {
        float d = fabsf(rill__extreme(src + i, BLOCK)) / 127, inverse = rill__inverse(d);
        rill__store_half(b, d);
        for (int j = 0; j < BLOCK; j++) b[2 + j] = (uint8_t)nearest(src[i + j] * inverse);
    }
}

// x + half rounded down, in [0, top]; 0 for NaN.
static uint8_t code(float x, float half, float top) {
    x += half;
    if (!(x > 0)) return 0;
    return (uint8_t)(x < top ? x : top);
}

// The low four bits of codes, two to a byte.
static void put_nibbles(uint8_t *b, const uint8_t *codes) {
    for (int j = 0; j < HALF; j++) b[j] = (uint8_t)((codes[j] & 15) | (codes[j + HALF] & 15) << 4);
}

// The fifth bits, in order.
static void put_fifths(uint8_t *b, const uint8_t *codes) {
    for (int j = 0; j < BLOCK / 8; j++) {
        b[j] = 0;
        for (int k = 0; k < 8; k++) b[j] |= (uint8_t)((codes[8 * j + k] >> 4) << k);
    }
}

// The value of greatest magnitude becomes 0, the code that is farthest from the middle.
static void centred(const float *x, int middle, uint8_t *b, uint8_t *codes) {
    float d = rill__extreme(x, BLOCK) / (float)-middle, inverse = rill__inverse(d);
    rill__store_half(b, d);
    for (int j = 0; j < BLOCK; j++)
        codes[j] = code(x[j] * inverse, (float)middle + 0.5f, (float)(2 * middle - 1));
}

void rill__q4_0_from_float(const float *src, void *dst, size_t n) {
    uint8_t *b = dst, codes[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, b += 2 + HALF) {
        centred(src + i, 8, b, codes);
        put_nibbles(b + 2, codes);
    }
}

void rill__q5_0_from_float(const float *src, void *dst, size_t n) {
    uint8_t *b = dst, codes[BLOCK];
    float x[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, b += 6 + HALF) {
        rill__load_numbers(src + i, x, BLOCK);
        centred(x, 16, b, codes);
        put_fifths(b + 2, codes);
        put_nibbles(b + 6, codes);
    }
}

// The least value becomes 0, the greatest `top`.
static void spanned(const float *src, int top, uint8_t *b, uint8_t *codes) {
    float x[BLOCK];
    rill__load_numbers(src, x, BLOCK);
    float least = x[0], greatest = x[0];
    for (int j = 1; j < BLOCK; j++) {
        least = x[j] < least ? x[j] : least;
        greatest = x[j] > greatest ? x[j] : greatest;
    }
    float d = (greatest - least) / (float)top, inverse = rill__inverse(d);
    rill__store_half(b, d);
    rill__store_half(b + 2, least);
    for (int j = 0; j < BLOCK; j++) codes[j] = code((x[j] - least) * inverse, 0.5f, (float)top);
}

void rill__q4_1_from_float(const float *src, void *dst, size_t n) {
    uint8_t *b = dst, codes[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, b += 4 + HALF) {
        spanned(src + i, 15, b, codes);
        put_nibbles(b + 4, codes);
    }
}

void rill__q5_1_from_float(const float *src, void *dst, size_t n) {
    uint8_t *b = dst, codes[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, b += 8 + HALF) {
        spanned(src + i, 31, b, codes);
        put_fifths(b + 4, codes);
        put_nibbles(b + 8, codes);
    }
}

// The exponent of the scale puts the greatest magnitude between 4 and 8: above 6, the greatest
// element, it is cut. (OCP Microscaling Formats 1.0, 6.3: the greatest power of two that is not
// above the greatest magnitude, over that of the element type, 4.)
static int scale_exponent(float greatest) {
    if (!(greatest > 0)) return 0;
    float e = floorf(log2f(greatest)) - 2 + 127;
    return e < 0 ? 0 : e > 254 ? 254 : (int)e;
}

// The nearest element, the lesser magnitude of two as near; 0 for NaN.
static uint8_t mxfp4_code(float x, float scale) {
    static const float middles[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    uint8_t magnitude = 0;
    for (int i = 0; i < 7; i++) magnitude = (uint8_t)(magnitude + (fabsf(x) > middles[i] * scale));
    return magnitude && x < 0 ? magnitude | 8 : magnitude;
}

void rill__mxfp4_from_float(const float *src, void *dst, size_t n) {
    uint8_t *b = dst, codes[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK, b += 1 + HALF) {
        int e = scale_exponent(fabsf(rill__extreme(src + i, BLOCK)));
        float scale = ldexpf(1, e - 127);
        b[0] = (uint8_t)e;
        for (int j = 0; j < BLOCK; j++) codes[j] = mxfp4_code(src[i + j], scale);
        put_nibbles(b + 1, codes);
    }
}
