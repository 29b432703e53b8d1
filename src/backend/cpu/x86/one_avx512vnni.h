// SPDX-License-Identifier: MIT
// The product of whole numbers with one row of activations, by AVX-512 VNNI: bytes of 64 columns a
// vector, both bytes of an activation; after each vector the lanes of sixteen weight rows are added
// up, a weight row to a lane.
#include "backend/cpu/kernels.h"

#define OINLINE static inline __attribute__((always_inline))

// Adds up the lanes of sixteen vectors, the lanes of a run at a time: lane i of sums[r] is run r of
// v[i], four lanes (run 16) or eight (run 32).
OINLINE void runs_of(const vi v[16], size_t run, vi sums[4]) {
    vi q[4];  // lane 4 l + j of q[k]: the four lanes from 4 l on of v[4 k + j]
    for (int k = 0; k < 4; k++) {
        const vi *r = v + 4 * k;
        vi a = vi_add(_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[0], r[1]));
        vi b = vi_add(_mm512_unpacklo_epi32(r[2], r[3]), _mm512_unpackhi_epi32(r[2], r[3]));
        q[k] = vi_add(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    vi even = _mm512_shuffle_i32x4(q[0], q[1], 0x88), odd = _mm512_shuffle_i32x4(q[0], q[1], 0xdd);
    vi even2 = _mm512_shuffle_i32x4(q[2], q[3], 0x88);
    vi odd2 = _mm512_shuffle_i32x4(q[2], q[3], 0xdd);
    if (run == 32) {
        vi a = vi_add(even, odd), b = vi_add(even2, odd2);
        sums[0] = _mm512_shuffle_i32x4(a, b, 0x88);
        sums[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
        return;
    }
    sums[0] = _mm512_shuffle_i32x4(even, even2, 0x88);
    sums[1] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
    sums[2] = _mm512_shuffle_i32x4(even, even2, 0xdd);
    sums[3] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
}

// Sixteen runs of the scales of sixteen weight rows: lane i of out[r] is row i's run r.
OINLINE void turn(const float *d, size_t stride, vf out[16]) {
    vf a[16], b[16];
    for (size_t i = 0; i < 16; i++) a[i] = vf_load(d + i * stride);
    for (size_t i = 0; i < 16; i += 4) {
        vf s = _mm512_unpacklo_ps(a[i], a[i + 1]), t = _mm512_unpacklo_ps(a[i + 2], a[i + 3]);
        vf u = _mm512_unpackhi_ps(a[i], a[i + 1]), v = _mm512_unpackhi_ps(a[i + 2], a[i + 3]);
        b[i] = _mm512_shuffle_ps(s, t, 0x44);
        b[i + 1] = _mm512_shuffle_ps(s, t, 0xee);
        b[i + 2] = _mm512_shuffle_ps(u, v, 0x44);
        b[i + 3] = _mm512_shuffle_ps(u, v, 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        vf even = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
        vf odd = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
        vf even2 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        vf odd2 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
        out[i] = _mm512_shuffle_f32x4(even, even2, 0x88);
        out[i + 4] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        out[i + 8] = _mm512_shuffle_f32x4(even, even2, 0xdd);
        out[i + 12] = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
}

// 64 columns from c on, or the 32 that are left; d and m begin at their runs.
OINLINE vf one_step(const rill__whole *w, const rill__q16_row *x, size_t first, size_t c,
                    size_t run, bool minima, __mmask64 some, size_t n, const vf *d, const vf *m,
                    vf out) {
    vi coarse = _mm512_maskz_loadu_epi8(some, x->coarse + first + c);
    vi fine = _mm512_maskz_loadu_epi8(some, x->fine + first + c);
    vi products[16], sums[4];
    for (size_t i = 0; i < 16; i++) {
        vi q = _mm512_maskz_loadu_epi8(some, w->q + i * w->stride + c);
        vi high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, coarse);
        products[i] = _mm512_dpbusd_epi32(_mm512_slli_epi32(high, 8), q, fine);
    }
    runs_of(products, run, sums);
    const int32_t *at = x->sums + (first + c) / RILL_Q16_RUN;
    for (size_t i = 0; i < n / run; i++) {
        int32_t sum = run == 32 ? at[2 * i] + at[2 * i + 1] : at[i];
        vi s = _mm512_sub_epi32(sums[i], vi_set(w->format.zero * sum));
        float dx = x->d[(first + c + i * run) / RILL_Q16];
        out = vf_fma(vi_float(s), vf_mul(d[i], vf_set(dx)), out);
        if (minima) out = vf_fnma(m[i], vf_set(dx * (float)sum), out);
    }
    return out;
}

OINLINE void one_any(const rill__whole *w, const rill__q16_row *x, size_t first, float *sums,
                     size_t run, bool minima) {
    vf out = vf_load(sums), d[16], m[16];
    for (size_t c = 0; c < w->k; c += 16 * run) {
        turn(w->d + c / run, w->runs, d);
        if (minima) turn(w->m + c / run, w->runs, m);
        size_t left = w->k - c, n = left < 16 * run ? left : 16 * run, i = 0;
        for (; i + 64 <= n; i += 64)
            out = one_step(w, x, first, c + i, run, minima, ~(__mmask64)0, 64, d + i / run,
                           m + i / run, out);
        if (i < n)
            out = one_step(w, x, first, c + i, run, minima, 0xffffffff, 32, d + i / run,
                           m + i / run, out);
    }
    vf_store(sums, out);
}

static void NAME(product_one)(const rill__whole *w, const rill__q16_row *x, size_t first,
                              float *sums) {
    RILL_WITH_FORMAT(w->format, one_any, w, x, first, sums);
}
