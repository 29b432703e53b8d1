// SPDX-License-Identifier: MIT
// What works along one row, for every tier: decoding, quantising, exponentials, norms. Include
// after a vec_*.h.
#include "backend/cpu/kernels.h"

#include <math.h>

static void NAME(decode_f16)(const void *src, float *dst, size_t n) {
    const uint8_t *p = src;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(dst + i, vf_load_f16(p + 2 * i));
    rill__type_traits_get(RILL_TYPE_F16)->to_float(p + 2 * i, dst + i, n - i);
}

static void NAME(decode_bf16)(const void *src, float *dst, size_t n) {
    const uint8_t *p = src;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(dst + i, vf_load_bf16(p + 2 * i));
    rill__type_traits_get(RILL_TYPE_BF16)->to_float(p + 2 * i, dst + i, n - i);
}

static inline float half_number(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

static void NAME(decode_q8_0)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += 32, b += 34) {
        vf d = vf_set(half_number(b));
        for (int j = 0; j < 32; j += LANES) vf_store(dst + i + j, vf_mul(d, vf_load_i8(b + 2 + j)));
    }
}

// dst[i] = d * q[i] + m for a block of bytes, rounded after each operation as the reference does.
static inline void decode_bytes(const uint8_t *q, float d, float m, float *dst, int n) {
    for (int j = 0; j < n; j += LANES)
        vf_store(dst + j, vf_add(vf_mul(vf_set(d), vf_load_u8(q + j)), vf_set(m)));
}

static inline void low_nibbles(const uint8_t *p, uint8_t *q) {
    for (int j = 0; j < 32; j++) q[j] = p[j] & 15;
}

static inline void high_nibbles(const uint8_t *p, uint8_t *q) {
    for (int j = 0; j < 32; j++) q[j] = p[j] >> 4;
}

// The low halves of 16 bytes, then the high ones.
static inline void all_nibbles(const uint8_t *p, uint8_t *q) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m256i both =
        _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
    _mm256_storeu_si256((__m256i *)(void *)q, _mm256_and_si256(both, _mm256_set1_epi8(15)));
}

static void NAME(decode_q4_1)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 32, b += 20) {
        all_nibbles(b + 4, q);
        decode_bytes(q, half_number(b), half_number(b + 2), dst + i, 32);
    }
}

// Value j's fifth bit is bit j of four bytes.
static inline void fifth_bits(const uint8_t *p, uint8_t *q) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    const __m256i byte_of =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i bits = _mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of);
    bits = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit_of), bit_of);
    __m256i *to = (__m256i *)(void *)q;
    bits = _mm256_and_si256(bits, _mm256_set1_epi8(16));
    _mm256_storeu_si256(to, _mm256_or_si256(_mm256_loadu_si256(to), bits));
}

static void NAME(decode_q5_1)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 32, b += 24) {
        all_nibbles(b + 8, q);
        fifth_bits(b + 4, q);
        decode_bytes(q, half_number(b), half_number(b + 2), dst + i, 32);
    }
}

// d * (q - bias) for whole q: the difference is exact.
static inline void decode_biased(const uint8_t *q, float d, float bias, float *dst, int n) {
    for (int j = 0; j < n; j += LANES)
        vf_store(dst + j, vf_mul(vf_set(d), vf_sub(vf_load_u8(q + j), vf_set(bias))));
}

static void NAME(decode_q4_0)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 32, b += 18) {
        all_nibbles(b + 2, q);
        decode_biased(q, half_number(b), 8, dst + i, 32);
    }
}

static void NAME(decode_q5_0)(const void *src, float *dst, size_t n) {
    const uint8_t *b = src;
    uint8_t q[32];
    for (size_t i = 0; i < n; i += 32, b += 22) {
        all_nibbles(b + 6, q);
        fifth_bits(b + 2, q);
        decode_biased(q, half_number(b), 16, dst + i, 32);
    }
}

static void NAME(quantize_q16)(const float *x, uint8_t *row, size_t n) {
    rill__q16_row out = rill__q16_row_at(row, n, 0);
    for (size_t b = 0; b < n / RILL_Q16; b++) {
        const float *from = x + b * RILL_Q16;
        vf most = vf_set(0), nothing = vf_set(0);  // x * 0 summed: NaN unless all are finite
        for (int i = 0; i < RILL_Q16; i += LANES) {
            vf v = vf_load(from + i);
            most = vf_max(most, vf_abs(v));
            nothing = vf_fma(v, vf_set(0), nothing);
        }
        float greatest = vf_greatest(most);
        bool finite = !isnan(vf_sum(nothing)), zero = !finite || greatest < RILL_Q16_LEAST;
        int8_t *coarse = (int8_t *)(uintptr_t)out.coarse + b * RILL_Q16;
        int8_t *fine = (int8_t *)(uintptr_t)out.fine + b * RILL_Q16;
        if (zero) {
            memset(coarse, 0, RILL_Q16);
            memset(fine, 0, RILL_Q16);
        } else {
            vf inverse = vf_set(127 * 128 / greatest);
            for (int i = 0; i < RILL_Q16; i += LANES) {
                vf whole = vf_round(vf_mul(vf_load(from + i), inverse));
                vf high = vf_round(vf_mul(whole, vf_set(0x1p-7f)));
                vf_store_i8(coarse + i, high);
                vf_store_i8(fine + i, vf_fma(high, vf_set(-128), whole));
            }
        }
        ((float *)(uintptr_t)out.d)[b] = finite ? greatest / (127 * 128) : NAN;
    }
}

// e^x within 2 ulp for x <= 88; 0 below -87.3. e^x = 2^n * e^r, |r| <= ln(2) / 2, by Taylor's
// polynomial of degree 7 (the error of the rest is below 2^-27).
static inline vf exp_lanes(vf x) {
    vf bounded = vf_max(vf_set(-87.3f), vf_min(vf_set(88.0f), x));
    vf n = vf_round(vf_mul(bounded, vf_set(1.44269504089f)));
    vf r = vf_fma(n, vf_set(-0x1.62e4p-1f), bounded);
    r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), r);  // the rest of ln 2
    vf p = vf_set(1.0f / 5040);
    p = vf_fma(p, r, vf_set(1.0f / 720));
    p = vf_fma(p, r, vf_set(1.0f / 120));
    p = vf_fma(p, r, vf_set(1.0f / 24));
    p = vf_fma(p, r, vf_set(1.0f / 6));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1));
    p = vf_fma(p, r, vf_set(1));
    return vf_from(vf_scale(p, n), x, -87.3f);
}

static double NAME(exp_sum)(float *x, size_t n, float greatest) {
    vf sums = vf_set(0), top = vf_set(greatest);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf e = exp_lanes(vf_sub(vf_load(x + i), top));
        vf_store(x + i, e);
        sums = vf_add(sums, e);
    }
    double sum = (double)vf_sum(sums);
    if (i < n) {
        vf_store_part(x + i, exp_lanes(vf_sub(vf_load_part(x + i, n - i), top)), n - i);
        for (; i < n; i++) sum += (double)x[i];
    }
    return sum;
}

// x / (1 + e^(-inner)) * up for one vector
static inline vf gated(vf x, vf inner, const float *up, size_t part) {
    vf y = vf_div(x, vf_add(vf_set(1), exp_lanes(vf_sub(vf_set(0), inner))));
    if (!up) return y;
    return vf_mul(y, part ? vf_load_part(up, part) : vf_load(up));
}

static void NAME(silu)(const float *x, const float *up, float *out, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i);
        vf_store(out + i, gated(v, v, up ? up + i : NULL, 0));
    }
    if (i < n) {
        vf v = vf_load_part(x + i, n - i);
        vf_store_part(out + i, gated(v, v, up ? up + i : NULL, n - i), n - i);
    }
}

// (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u))
static inline vf gelu_inner(vf x) {
    vf cube = vf_mul(vf_mul(x, x), x);
    return vf_mul(vf_set(2 * 0.797884560803f), vf_fma(cube, vf_set(0.044715f), x));
}

static void NAME(gelu_tanh)(const float *x, const float *up, float *out, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i);
        vf_store(out + i, gated(v, gelu_inner(v), up ? up + i : NULL, 0));
    }
    if (i < n) {
        vf v = vf_load_part(x + i, n - i);
        vf_store_part(out + i, gated(v, gelu_inner(v), up ? up + i : NULL, n - i), n - i);
    }
}

// Minimum and maximum give their second operand where one is NaN: that is the number here.
static inline vf clamped_lanes(vf x, vf up, float limit) {
    vf gate = vf_min(vf_set(limit), x);
    vf other = vf_max(vf_set(-limit), vf_min(vf_set(limit), up));
    return vf_mul(gated(gate, vf_mul(gate, vf_set(1.702f)), NULL, 0), vf_add(other, vf_set(1)));
}

static void NAME(clamped_swiglu)(const float *x, const float *up, float *out, size_t n,
                                 float limit) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(out + i, clamped_lanes(vf_load(x + i), vf_load(up + i), limit));
    if (i < n)
        vf_store_part(out + i,
                      clamped_lanes(vf_load_part(x + i, n - i), vf_load_part(up + i, n - i), limit),
                      n - i);
}

// x (1 + erf(x / sqrt(2))) / 2 = (x + |x| erf(|x| / sqrt(2))) / 2, with Abramowitz and Stegun's
// 7.1.26 for erf (within 1.5e-7).
static inline vf gelu_lanes(vf x, const float *up, size_t part) {
    vf z = vf_mul(vf_abs(x), vf_set(0.70710678118654752f));
    vf t = vf_div(vf_set(1), vf_fma(vf_set(0.3275911f), z, vf_set(1)));
    vf p = vf_fma(vf_set(1.061405429f), t, vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_mul(vf_fma(p, t, vf_set(0.254829592f)), t);
    vf rest = vf_mul(p, exp_lanes(vf_sub(vf_set(0), vf_mul(z, z))));
    vf y = vf_mul(vf_set(0.5f), vf_fma(vf_abs(x), vf_sub(vf_set(1), rest), x));
    if (!up) return y;
    return vf_mul(y, part ? vf_load_part(up, part) : vf_load(up));
}

static void NAME(gelu)(const float *x, const float *up, float *out, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(out + i, gelu_lanes(vf_load(x + i), up ? up + i : NULL, 0));
    if (i < n)
        vf_store_part(out + i, gelu_lanes(vf_load_part(x + i, n - i), up ? up + i : NULL, n - i),
                      n - i);
}

static void NAME(rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n) {
    size_t whole = n / LANES * LANES, rest = n - whole;
    vf sums = vf_set(0);
    for (size_t i = 0; i < whole; i += LANES) {
        vf v = vf_load(x + i);
        sums = vf_fma(v, v, sums);
    }
    if (rest) {
        vf v = vf_load_part(x + whole, rest);
        sums = vf_fma(v, v, sums);
    }
    vf scale = vf_set((float)(1 / sqrt((double)vf_sum(sums) / (double)n + (double)eps)));
    for (size_t i = 0; i < whole; i += LANES)
        vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), scale), vf_load(weight + i)));
    if (rest)
        vf_store_part(out + whole,
                      vf_mul(vf_mul(vf_load_part(x + whole, rest), scale),
                             vf_load_part(weight + whole, rest)),
                      rest);
}

// Three chains at a time are written out: an array of sums would live in memory.
#define BURN_3(a, b, c)                                                                            \
    __asm__ volatile("vfmadd132ps %3, %4, %0\n\tvfmadd132ps %3, %4, %1\n\tvfmadd132ps %3, %4, %2"  \
                     : "+v"(a), "+v"(b), "+v"(c)                                                   \
                     : "v"(half), "v"(one))

static double NAME(burn_f32)(size_t rounds) {
    vf half = vf_set(0.5f), one = vf_set(1);
    vf a = one, b = one, c = one, d = one, e = one, f = one, g = one, h = one, i = one;
    for (size_t round = 0; round < rounds; round++) {
        BURN_3(a, b, c);
        BURN_3(d, e, f);
        BURN_3(g, h, i);
    }
    return 2.0 * 9 * LANES * (double)rounds;
}
