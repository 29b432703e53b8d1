// SPDX-License-Identifier: MIT
// The reference of every kernel: plain loops, double accumulation, no intrinsics. It is the
// specification that the tiers are tested against.
#include "backend/cpu/kernels.h"

#include <math.h>
#include <string.h>

static float float_at(const uint8_t *p) {
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

static void product_f32_c(const rill__tile *t) {
    for (size_t r = 0; r < t->n_rows; r++) {
        const float *x = (const float *)(const void *)(t->x + r * t->x_stride);
        for (size_t o = 0; o < t->n_out; o++) {
            const uint8_t *w = t->w + o * t->w_stride;
            double sum = 0;
            for (size_t i = 0; i < t->k; i++) sum += (double)float_at(w + i * sizeof(float)) * x[i];
            t->out[r * t->out_stride + o] = (float)sum;
        }
    }
}

static double exp_sum_c(float *x, size_t n, float greatest) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)exp((double)x[i] - greatest);
        sum += x[i];
    }
    return sum;
}

static void silu_c(const float *x, const float *up, float *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(x[i] / (1 + exp(-(double)x[i])) * (up ? up[i] : 1));
}

static void gelu_c(const float *x, const float *up, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double v = x[i];
        out[i] = (float)(0.5 * v * (1 + erf(v * 0.70710678118654752440)) * (up ? up[i] : 1));
    }
}

static void gelu_tanh_c(const float *x, const float *up, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double v = x[i], inner = 0.79788456080286535588 * (v + 0.044715 * v * v * v);
        out[i] = (float)(0.5 * v * (1 + tanh(inner)) * (up ? up[i] : 1));
    }
}

// Comparisons let a NaN through, as torch.clamp does; fmin would put the limit in its place.
static void clamped_swiglu_c(const float *x, const float *up, float *out, size_t n, float limit) {
    for (size_t i = 0; i < n; i++) {
        double gate = x[i] > limit ? limit : x[i];
        double other = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
        out[i] = (float)(gate / (1 + exp(-1.702 * gate)) * (other + 1));
    }
}

static void rms_norm_c(const float *x, const float *weight, float eps, float *out, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    double scale = 1 / sqrt(sum / (double)n + eps);
    for (size_t i = 0; i < n; i++) out[i] = (float)(x[i] * scale * weight[i]);
}

static double burn_f32_c(size_t rounds) {
    float a[8] = {0};
    for (size_t i = 0; i < rounds; i++) {
        for (int j = 0; j < 8; j++) a[j] = a[j] * 0.5f + 1.0f;
        __asm__ volatile("" : : "r"(a) : "memory");  // every round counts
    }
    return 16.0 * (double)rounds;
}

static double burn_int8_c(size_t rounds) {
    int8_t q[32] = {1, 2, 3};
    int32_t sum = 0;
    for (size_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : : "r"(q) : "memory");
        for (int j = 0; j < 32; j++) sum += q[j] * q[31 - j];
        __asm__ volatile("" : "+r"(sum));
    }
    return 64.0 * (double)rounds;
}

void rill__cpu_kernels_ref(rill__cpu_kernels *k) {
    for (int type = 0; type < RILL_CPU_TYPES; type++) {
        const rill__type_traits *traits = rill__type_traits_get((rill_type)type);
        k->decode[type] = traits ? traits->to_float : NULL;
        k->encode[type] = traits ? traits->from_float : NULL;
    }
    k->product[RILL_TYPE_F32] = product_f32_c;
    rill__cpu_whole_ref(k);
    k->exp_sum = exp_sum_c;
    k->silu = silu_c;
    k->gelu = gelu_c;
    k->gelu_tanh = gelu_tanh_c;
    k->clamped_swiglu = clamped_swiglu_c;
    k->burn_f32 = burn_f32_c;
    k->burn_bf16 = burn_f32_c;
    k->burn_int8 = burn_int8_c;
    k->rms_norm = rms_norm_c;
    rill__cpu_attend_ref(k);
}
