// SPDX-License-Identifier: MIT
// What one_tmpl.h asks of AVX2, and of AVX-VNNI where it is.
#include "backend/cpu/kernels.h"

#define OINLINE static inline __attribute__((always_inline))

// Lane i: the sum of all lanes of v[i].
OINLINE vi sums_of(const vi v[8]) {
    vi a = _mm256_hadd_epi32(v[0], v[1]), b = _mm256_hadd_epi32(v[2], v[3]);
    vi c = _mm256_hadd_epi32(v[4], v[5]), d = _mm256_hadd_epi32(v[6], v[7]);
    a = _mm256_hadd_epi32(a, b);
    c = _mm256_hadd_epi32(c, d);
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, c, 0x20),
                            _mm256_permute2x128_si256(a, c, 0x31));
}

// Eight runs of the scales of eight weight rows: lane i of out[r] is row i's run r.
OINLINE void turn(const float *d, size_t stride, vf out[8]) {
    vf a[8], b[8];
    for (size_t i = 0; i < 8; i++) a[i] = vf_load(d + i * stride);
    for (size_t i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (size_t i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        out[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
        out[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
    }
}

// Lane i: a run's sum of (q - zero) * x in weight row o + i; `sum` is that of x.
OINLINE vi one_run(const rill__whole *w, const rill__q16_row *x, size_t first, size_t o, size_t c,
                   size_t run, int32_t sum) {
    vi products[LANES];
    for (size_t i = 0; i < LANES; i++) products[i] = vi_set(0);
    for (size_t p = c; p < c + run; p += COLUMNS) {
        vi columns = vi_load(x->x + first + p);
        for (size_t i = 0; i < LANES; i++)
            products[i] = vi_madd(products[i], columns, vi_load_u8(w->q + (o + i) * w->stride + p));
    }
    return vi_sub(sums_of(products), vi_set(w->format.zero * sum));
}
