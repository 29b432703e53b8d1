// SPDX-License-Identifier: MIT
// Decoding of the k-quants and of the two types with a table, the plain way: one loop a level of a
// super-block's structure. See k_quants.h for the source.
#include "format/k_quants.h"

#include "format/types.h"

// q2_K: 16 bytes, each a scale (low) and a minimum (high) of 4 bits for 16 values; 64 bytes of
// pairs of bits, 128 values to 32 bytes; half d, half dmin. x = d * scale * q - dmin * minimum.
void rill__q2_k_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += RILL_SUPER_BLOCK, b += 84) {
        float d = rill__load_half(b + 80), dmin = rill__load_half(b + 82);
        for (int k = 0; k < RILL_SUPER_BLOCK; k++) {
            int half = k / 128, pair = k % 128 / 32, column = k % 32;
            uint8_t scale = b[k / 16];
            int value = b[16 + 32 * half + column] >> (2 * pair) & 3;
            dst[i + (size_t)k] =
                d * (float)(scale & 15) * (float)value - dmin * (float)(scale >> 4);
        }
    }
}

// The j-th of sixteen scales of 6 bits that q3_K packs into 12 bytes, less 32.
static int q3_k_scale(const uint8_t *s, int j) {
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    return (low | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
}

// q3_K: 32 bytes of third bits, 64 of pairs of bits, 12 of scales, half d.
// x = d * scale * (pair - 4 * !third bit).
void rill__q3_k_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += RILL_SUPER_BLOCK, b += 110) {
        float d = rill__load_half(b + 108);
        for (int k = 0; k < RILL_SUPER_BLOCK; k++) {
            int half = k / 128, pair = k % 128 / 32, column = k % 32;
            int value = b[32 + 32 * half + column] >> (2 * pair) & 3;
            if (!(b[column] >> (4 * half + pair) & 1)) value -= 4;
            dst[i + (size_t)k] = d * (float)q3_k_scale(b + 96, k / 16) * (float)value;
        }
    }
}

// The j-th of eight 6-bit scales and minima that q4_K and q5_K pack into 12 bytes.
static void q4_k_scale(const uint8_t *s, int j, float *scale, float *minimum) {
    if (j < 4) {
        *scale = (float)(s[j] & 63);
        *minimum = (float)(s[j + 4] & 63);
    } else {
        *scale = (float)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *minimum = (float)((s[j + 4] >> 4) | (s[j] >> 6) << 4);
    }
}

// q4_K: half d, half dmin; 12 bytes of scales; 128 bytes of nibbles, 64 values to 32 bytes.
// q5_K has 32 bytes of fifth bits before the nibbles: bit j of byte k is value 32 j + k's.
// x = d * scale * q - dmin * minimum.
static void nibbles_to_float(const uint8_t *b, const uint8_t *fifth, const uint8_t *nibbles,
                             float *dst) {
    float d = rill__load_half(b), dmin = rill__load_half(b + 2);
    for (int j = 0; j < 8; j++) {
        float scale, minimum;
        q4_k_scale(b + 4, j, &scale, &minimum);
        const uint8_t *q = nibbles + j / 2 * 32;
        for (int k = 0; k < 32; k++) {
            int value = j % 2 ? q[k] >> 4 : q[k] & 15;
            if (fifth) value |= (fifth[k] >> j & 1) << 4;
            dst[j * 32 + k] = d * scale * (float)value - dmin * minimum;
        }
    }
}

void rill__q4_k_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += RILL_SUPER_BLOCK, b += 144)
        nibbles_to_float(b, NULL, b + 16, dst + i);
}

void rill__q5_k_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += RILL_SUPER_BLOCK, b += 176)
        nibbles_to_float(b, b + 16, b + 48, dst + i);
}

// q6_K: 128 bytes of low nibbles, 64 of high pairs, 16 int8 scales, half d. x = d * scale * (q -
// 32).
void rill__q6_k_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += RILL_SUPER_BLOCK, b += 210) {
        float d = rill__load_half(b + 208);
        for (int half = 0; half < 2; half++) {
            const uint8_t *low = b + 64 * half, *high = b + 128 + 32 * half;
            const int8_t *scales = (const int8_t *)b + 192 + 8 * half;
            for (int k = 0; k < 128; k++) {
                int column = k % 32, group = k / 32;
                int nibble = low[column + 32 * (group & 1)] >> (4 * (group >> 1)) & 15;
                int value = nibble | (high[column] >> (2 * group) & 3) << 4;
                dst[i + (size_t)half * 128 + k] =
                    d * (float)scales[column / 16 + 2 * group] * (float)(value - 32);
            }
        }
    }
}

// Sixteen levels, closer together near zero (ggml's kvalues_iq4nl).
static const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

// 32 values of 16 bytes of nibbles, low halves first. x = d * level.
static void levels_to_float(float d, const uint8_t *nibbles, float *dst) {
    for (int j = 0; j < 16; j++) {
        dst[j] = d * (float)levels[nibbles[j] & 15];
        dst[j + 16] = d * (float)levels[nibbles[j] >> 4];
    }
}

// iq4_nl: half d; 16 bytes of nibbles.
void rill__iq4_nl_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 32, b += 18) levels_to_float(rill__load_half(b), b + 2, dst + i);
}

// iq4_xs: half d; for each of eight groups of 32 a scale of 6 bits: the high two in the next 2
// bytes, the low four in the next 4; 128 bytes of nibbles. x = d * (scale - 32) * level.
void rill__iq4_xs_to_float(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += RILL_SUPER_BLOCK, b += 136) {
        float d = rill__load_half(b);
        int high = b[2] | b[3] << 8;
        for (int j = 0; j < 8; j++) {
            int scale = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (high >> (2 * j) & 3) << 4;
            levels_to_float(d * (float)(scale - 32), b + 8 + 16 * j, dst + i + (size_t)j * 32);
        }
    }
}
