// SPDX-License-Identifier: MIT
// Weights to whole numbers, 32 at a time. Layouts are those of ref/whole_ref.c. The tiers above
// AVX2 share these: they wait for memory.
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/scales.h"

typedef __m256i bytes32;

static inline bytes32 load32(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline void store32(uint8_t *p, bytes32 v) {
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}
// Bits [shift, shift + n) of each byte, mask = 2^n - 1.
static inline bytes32 bits(bytes32 v, int shift, int mask) {
    return _mm256_and_si256(_mm256_srli_epi16(v, shift), _mm256_set1_epi8((char)mask));
}

// The low halves of 16 bytes, then the high ones.
static inline bytes32 nibbles(const uint8_t *p) {
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

// Value j's fifth bit is bit j of four bytes.
static inline bytes32 fifth_bits(const uint8_t *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    const __m256i byte_of =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of);
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit_of), bit_of);
    return _mm256_and_si256(v, _mm256_set1_epi8(16));
}

static inline bytes32 whole_q8_0(const uint8_t *b) {
    return _mm256_xor_si256(load32(b + 2), _mm256_set1_epi8(-128));
}
static inline bytes32 whole_q4_0(const uint8_t *b) {
    return nibbles(b + 2);
}
static inline bytes32 whole_q4_1(const uint8_t *b) {
    return nibbles(b + 4);
}
static inline bytes32 whole_q5_0(const uint8_t *b) {
    return _mm256_or_si256(nibbles(b + 6), fifth_bits(b + 2));
}
static inline bytes32 whole_q5_1(const uint8_t *b) {
    return _mm256_or_si256(nibbles(b + 8), fifth_bits(b + 4));
}
static inline bytes32 levels(__m128i table, const uint8_t *p) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), nibbles(p));
}
// ggml's kvalues_iq4nl, 127 above what they are.
static inline bytes32 levels_iq4(const uint8_t *p) {
    return levels(_mm_setr_epi8(0, 23, 44, 62, 78, 92, 105, 117, -128, -116, -104, -91, -76, -60,
                                -40, -16),
                  p);
}
static inline bytes32 whole_iq4_nl(const uint8_t *b) {
    return levels_iq4(b + 2);
}

// A type whose blocks of 32 begin with a half scale, and a half minimum of the other sign. Scales
// go eight at a time: one at a time they would take longer than all the rest.
#define UNPACK_BLOCKS(type, bytes, minima)                                                         \
    static void unpack_##type##_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) { \
        size_t blocks = n / 32;                                                                    \
        for (; blocks >= 8; blocks -= 8, b += 8 * (bytes), q += 256, d += 8) {                     \
            _mm256_storeu_ps(d, halves_of_8(b, bytes));                                            \
            if (minima) {                                                                          \
                __m256 sign = _mm256_set1_ps(-0.0f);                                               \
                _mm256_storeu_ps(m, _mm256_xor_ps(sign, halves_of_8(b + 2, bytes)));               \
                m += 8;                                                                            \
            }                                                                                      \
            for (size_t i = 0; i < 8; i++) store32(q + 32 * i, whole_##type(b + i * (bytes)));     \
        }                                                                                          \
        for (size_t i = 0; i < blocks; i++, b += (bytes)) {                                        \
            d[i] = half_number(b);                                                                 \
            if (minima) m[i] = -half_number(b + 2);                                                \
            store32(q + 32 * i, whole_##type(b));                                                  \
        }                                                                                          \
    }

UNPACK_BLOCKS(q8_0, 34, false)
UNPACK_BLOCKS(q4_0, 18, false)
UNPACK_BLOCKS(q4_1, 20, true)
UNPACK_BLOCKS(q5_0, 22, false)
UNPACK_BLOCKS(q5_1, 24, true)
UNPACK_BLOCKS(iq4_nl, 18, false)

// Sixteen signed bytes times a scale.
static inline void scales_16(__m128i bytes, float scale, float *d) {
    __m256 s = _mm256_set1_ps(scale);
    __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
    _mm256_storeu_ps(d, _mm256_mul_ps(s, low));
    _mm256_storeu_ps(d + 8, _mm256_mul_ps(s, high));
}

static void unpack_q2_k_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 256, b += 84, q += 256) {
        for (int half = 0; half < 2; half++) {
            bytes32 pairs = load32(b + 16 + 32 * half);
            for (int j = 0; j < 4; j++) store32(q + 128 * half + 32 * j, bits(pairs, 2 * j, 3));
        }
        __m128i both = _mm_loadu_si128((const __m128i *)(const void *)b);
        const __m128i low = _mm_set1_epi8(15);
        scales_16(_mm_and_si128(both, low), half_number(b + 80), d);
        scales_16(_mm_and_si128(_mm_srli_epi16(both, 4), low), half_number(b + 82), m);
        d += 16;
        m += 16;
    }
}

// Bit `shift` of each byte, at bit 2.
static inline bytes32 third_bits(bytes32 v, int shift) {
    bytes32 bit = _mm256_and_si256(_mm256_srli_epi16(v, shift), _mm256_set1_epi8(1));
    return _mm256_slli_epi16(bit, 2);
}

static void unpack_q3_k_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 256, b += 110, q += 256) {
        bytes32 high = load32(b);
        for (int part = 0; part < 8; part++) {
            bytes32 low = bits(load32(b + 32 + 32 * (part / 4)), 2 * (part % 4), 3);
            store32(q + 32 * part, _mm256_or_si256(low, third_bits(high, part)));
        }
        // Sixteen scales of 6 bits: low nibbles in two words, twice, then their high pairs.
        uint32_t w[3], six[4];
        memcpy(w, b + 96, sizeof w);
        six[0] = (w[0] & 0x0f0f0f0f) | (w[2] & 0x03030303) << 4;
        six[1] = (w[1] & 0x0f0f0f0f) | (w[2] >> 2 & 0x03030303) << 4;
        six[2] = (w[0] >> 4 & 0x0f0f0f0f) | (w[2] >> 4 & 0x03030303) << 4;
        six[3] = (w[1] >> 4 & 0x0f0f0f0f) | (w[2] >> 6 & 0x03030303) << 4;
        __m128i scales = _mm_loadu_si128((const __m128i *)(const void *)six);
        scales_16(_mm_sub_epi8(scales, _mm_set1_epi8(32)), half_number(b + 108), d);
        d += 16;
    }
}

static void unpack_q4_k_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 256, b += 144, q += 256) {
        for (int j = 0; j < 4; j++) {
            bytes32 both = load32(b + 16 + 32 * j);
            store32(q + 64 * j, bits(both, 0, 15));
            store32(q + 64 * j + 32, bits(both, 4, 15));
        }
        scales_k(b, d, m);
        d += 8;
        m += 8;
    }
}

// Bit j of each byte, at bit 4.
static inline bytes32 fifth_of(bytes32 v, int j) {
    return _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(v, j), _mm256_set1_epi8(1)), 4);
}

static void unpack_q5_k_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 256, b += 176, q += 256) {
        bytes32 fifth = load32(b + 16);
        for (int j = 0; j < 4; j++) {
            bytes32 both = load32(b + 48 + 32 * j);
            store32(q + 64 * j, _mm256_or_si256(bits(both, 0, 15), fifth_of(fifth, 2 * j)));
            store32(q + 64 * j + 32,
                    _mm256_or_si256(bits(both, 4, 15), fifth_of(fifth, 2 * j + 1)));
        }
        scales_k(b, d, m);
        d += 8;
        m += 8;
    }
}

static void unpack_q6_k_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 256, b += 210, q += 256) {
        for (int half = 0; half < 2; half++) {
            bytes32 high = load32(b + 128 + 32 * half);
            for (int group = 0; group < 4; group++) {
                bytes32 low = load32(b + 64 * half + 32 * (group & 1));
                bytes32 top = _mm256_slli_epi16(bits(high, 2 * group, 3), 4);
                store32(q + 128 * half + 32 * group,
                        _mm256_or_si256(bits(low, 4 * (group >> 1), 15), top));
            }
        }
        scales_16(_mm_loadu_si128((const __m128i *)(const void *)(b + 192)), half_number(b + 208),
                  d);
        d += 16;
    }
}

static void unpack_iq4_xs_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 256, b += 136) {
        float scale = half_number(b);
        int high = b[2] | b[3] << 8;
        for (int j = 0; j < 8; j++) {
            int six = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (high >> (2 * j) & 3) << 4;
            *d++ = scale * (float)(six - 32);
            store32(q + i + 32 * j, levels_iq4(b + 8 + 16 * j));
        }
    }
}

// 2^(e - 128), by its bits.
static inline float two_to(uint8_t e) {
    uint32_t word = e == 255 ? 0x7fc00000 : e > 1 ? (e - 1u) << 23 : 0x200000u << e;
    float f;
    memcpy(&f, &word, sizeof f);
    return f;
}

static void unpack_mxfp4_avx2(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    for (size_t i = 0; i < n; i += 32, b += 17) {
        *d++ = two_to(b[0]);
        store32(q + i, levels(table, b + 1));
    }
}

// Floats of what is unpacked: d * (q - zero) - m, rounded after each operation as the reference
// does; the difference is exact.
static void decode_whole_avx2(rill_type type, const uint8_t *w, size_t block_bytes, size_t block,
                              void (*unpack)(const uint8_t *, size_t, uint8_t *, float *, float *),
                              float *dst, size_t n) {
    const rill__whole_format f = rill__whole_format_of(type);
    uint8_t q[256];
    float d[16], m[16];
    for (size_t i = 0; i < n; i += block, w += block_bytes) {
        unpack(w, block, q, d, m);
        for (size_t c = 0; c < block; c += 8) {
            size_t at = c / f.run;
            vf v = vf_mul(vf_set(d[at]), vf_sub(vf_load_u8(q + c), vf_set(f.zero)));
            vf_store(dst + i + c, f.minima ? vf_sub(v, vf_set(m[at])) : v);
        }
    }
}

#define WHOLE_TYPE(name, TYPE, block, bytes)                                                       \
    static void decode_##name##_avx2(const void *src, float *dst, size_t n) {                      \
        decode_whole_avx2(RILL_TYPE_##TYPE, src, bytes, block, unpack_##name##_avx2, dst, n);      \
    }

WHOLE_TYPE(q8_0, Q8_0, 32, 34)
WHOLE_TYPE(q4_0, Q4_0, 32, 18)
WHOLE_TYPE(q4_1, Q4_1, 32, 20)
WHOLE_TYPE(q5_0, Q5_0, 32, 22)
WHOLE_TYPE(q5_1, Q5_1, 32, 24)
WHOLE_TYPE(q2_k, Q2_K, 256, 84)
WHOLE_TYPE(q3_k, Q3_K, 256, 110)
WHOLE_TYPE(q4_k, Q4_K, 256, 144)
WHOLE_TYPE(q5_k, Q5_K, 256, 176)
WHOLE_TYPE(q6_k, Q6_K, 256, 210)
WHOLE_TYPE(iq4_nl, IQ4_NL, 32, 18)
WHOLE_TYPE(iq4_xs, IQ4_XS, 256, 136)
WHOLE_TYPE(mxfp4, MXFP4, 32, 17)

static void unpack_slots_avx2(rill__cpu_kernels *k) {
#define WHOLE_SLOT(name, TYPE)                                                                     \
    k->unpack[RILL_TYPE_##TYPE] = unpack_##name##_avx2;                                            \
    k->decode[RILL_TYPE_##TYPE] = decode_##name##_avx2;
    WHOLE_SLOT(q8_0, Q8_0)
    WHOLE_SLOT(q4_0, Q4_0)
    WHOLE_SLOT(q4_1, Q4_1)
    WHOLE_SLOT(q5_0, Q5_0)
    WHOLE_SLOT(q5_1, Q5_1)
    WHOLE_SLOT(q2_k, Q2_K)
    WHOLE_SLOT(q3_k, Q3_K)
    WHOLE_SLOT(q4_k, Q4_K)
    WHOLE_SLOT(q5_k, Q5_K)
    WHOLE_SLOT(q6_k, Q6_K)
    WHOLE_SLOT(iq4_nl, IQ4_NL)
    WHOLE_SLOT(iq4_xs, IQ4_XS)
    WHOLE_SLOT(mxfp4, MXFP4)
}
