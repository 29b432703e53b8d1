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
