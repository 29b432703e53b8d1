// SPDX-License-Identifier: MIT
// Decoding of the k-quants and of the types with a table of levels, for every tier: include after
// rows_tmpl.h. Layouts and the order of operations are those of src/format/k_quants.c; 32 values at
// a time become bytes, and the bytes floats.
#include "backend/cpu/kernels.h"

static void NAME(decode_q2_k)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 256, b += 84) {
        float d = half_number(b + 80), dmin = half_number(b + 82);
        for (int part = 0; part < 8; part++) {
            const uint8_t *from = b + 16 + 32 * (part / 4), *s = b + 2 * part;
            int shift = 2 * (part % 4);
            for (int j = 0; j < 32; j++) q[j] = (uint8_t)(from[j] >> shift & 3);
            float *to = dst + i + part * 32;
            decode_bytes(q, d * (float)(s[0] & 15), -(dmin * (float)(s[0] >> 4)), to, 16);
            decode_bytes(q + 16, d * (float)(s[1] & 15), -(dmin * (float)(s[1] >> 4)), to + 16, 16);
        }
    }
}

static void NAME(decode_q3_k)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 256, b += 110) {
        float d = half_number(b + 108);
        const uint8_t *s = b + 96;
        int scales[16];
        for (int j = 0; j < 16; j++) {
            int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
            scales[j] = (low | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
        }
        for (int part = 0; part < 8; part++) {
            const uint8_t *from = b + 32 + 32 * (part / 4);
            int shift = 2 * (part % 4);
            for (int j = 0; j < 32; j++)
                q[j] = (uint8_t)((from[j] >> shift & 3) | (b[j] >> part & 1) << 2);
            float *to = dst + i + part * 32;
            decode_biased(q, d * (float)scales[2 * part], 4, to, 16);
            decode_biased(q + 16, d * (float)scales[2 * part + 1], 4, to + 16, 16);
        }
    }
}

// One super-block of q4_K, or of q5_K with the 32 bytes of its fifth bits.
static inline void decode_nibbles(const uint8_t *b, const uint8_t *fifth, const uint8_t *nibbles,
                                  float *dst) {
    float d = half_number(b), dmin = half_number(b + 2);
    const uint8_t *s = b + 4;
    uint8_t q[32];
    for (int j = 0; j < 8; j++) {
        int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        int minimum = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
        const uint8_t *from = nibbles + j / 2 * 32;
        if (j % 2)
            high_nibbles(from, q);
        else
            low_nibbles(from, q);
        for (int k = 0; fifth && k < 32; k++) q[k] = (uint8_t)(q[k] | (fifth[k] >> j & 1) << 4);
        decode_bytes(q, d * (float)scale, -(dmin * (float)minimum), dst + j * 32, 32);
    }
}

static void NAME(decode_q4_k)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 256, b += 144) decode_nibbles(b, NULL, b + 16, dst + i);
}

static void NAME(decode_q5_k)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 256, b += 176) decode_nibbles(b, b + 16, b + 48, dst + i);
}

static void NAME(decode_q6_k)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 256, b += 210) {
        float d = half_number(b + 208);
        for (int part = 0; part < 8; part++) {
            int half = part / 4, group = part % 4;
            const uint8_t *low = b + 64 * half + 32 * (group & 1), *high = b + 128 + 32 * half;
            const int8_t *scales = (const int8_t *)b + 192 + 8 * half + 2 * group;
            int low_shift = 4 * (group >> 1), high_shift = 2 * group;
            for (int j = 0; j < 32; j++)
                q[j] = (uint8_t)((low[j] >> low_shift & 15) | (high[j] >> high_shift & 3) << 4);
            float *to = dst + i + part * 32;
            decode_biased(q, d * (float)scales[0], 32, to, 16);
            decode_biased(q + 16, d * (float)scales[1], 32, to + 16, 16);
        }
    }
}

// 32 values of 16 bytes of nibbles: ggml's kvalues_iq4nl, 127 above what they are.
static inline void decode_levels(const uint8_t *nibbles, float d, float *dst) {
    static const uint8_t levels[16] = {0,   23,  44,  62,  78,  92,  105, 117,
                                       128, 140, 152, 165, 180, 196, 216, 240};
    uint8_t q[32];
    all_nibbles(nibbles, q);
    __m128i table = _mm_loadu_si128((const __m128i *)(const void *)levels);
    __m256i all = _mm256_loadu_si256((const __m256i *)(const void *)q);
    all = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), all);
    _mm256_storeu_si256((__m256i *)(void *)q, all);
    decode_biased(q, d, 127, dst, 32);
}

static void NAME(decode_iq4_nl)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 32, b += 18) decode_levels(b + 2, half_number(b), dst + i);
}

static void NAME(decode_iq4_xs)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 256, b += 136) {
        float d = half_number(b);
        int high = b[2] | b[3] << 8;
        for (int j = 0; j < 8; j++) {
            int scale = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (high >> (2 * j) & 3) << 4;
            decode_levels(b + 8 + 16 * j, d * (float)(scale - 32), dst + i + j * 32);
        }
    }
}
