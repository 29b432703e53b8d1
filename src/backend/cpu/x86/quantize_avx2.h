// SPDX-License-Identifier: MIT
// Activations to whole numbers, a block of 32 at a time, for all tiers from AVX2 on.
#include "backend/cpu/kernels.h"

#include <math.h>

// The sum of 16 numbers of 16 bits.
static inline int32_t sum_of_16(__m256i v) {
    __m256i pairs = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

// 16 floats to numbers of 16 bits.
static inline __m256i whole_16(const float *x, __m256 inverse) {
    __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
    __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), inverse));
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
}

static inline void store_bytes(int8_t *to, __m256i low, __m256i high) {
    __m256i v = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)to, v);
}

static void quantize_whole_avx2(const float *x, const rill__whole_rows *rows, size_t r) {
    const rill__whole_row at = rill__whole_row_at(rows, r), *row = &at;
    const float whole_most = (float)rill__whole_most(rows->parts);
    const __m256i half = _mm256_set1_epi16(128);
    for (size_t b = 0; b < rows->columns / RILL_WHOLE_BLOCK; b++) {
        const float *from = x + b * RILL_WHOLE_BLOCK;
        vf most = vf_set(0), nothing = vf_set(0);  // x * 0 summed: NaN unless all are finite
        for (int i = 0; i < RILL_WHOLE_BLOCK; i += LANES) {
            vf v = vf_load(from + i);
            most = vf_max(most, vf_abs(v));
            nothing = vf_fma(v, vf_set(0), nothing);
        }
        float greatest = vf_greatest(most);
        bool finite = !isnan(vf_sum(nothing));
        row->d[b] = finite ? greatest / whole_most : NAN;
        __m256i v[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        if (finite && greatest >= RILL_WHOLE_LEAST) {
            vf inverse = vf_set(whole_most / greatest);
            v[0] = whole_16(from, inverse);
            v[1] = whole_16(from + 16, inverse);
        }
        for (int i = 0; i < 2; i++) {
            __m256i pairs = _mm256_shufflelo_epi16(_mm256_shufflehi_epi16(v[i], 0xd8), 0xd8);
            _mm256_storeu_si256((__m256i *)(void *)(row->x + b * RILL_WHOLE_BLOCK + 16 * i), pairs);
            row->sums[0][2 * b + (size_t)i] = sum_of_16(v[i]);
        }
        row->sums[1][b] = row->sums[0][2 * b] + row->sums[0][2 * b + 1];
        int8_t *bytes = row->bytes + rill__whole_byte_at(b * RILL_WHOLE_BLOCK, rows->parts);
        if (rows->parts == 1) {
            store_bytes(bytes, v[0], v[1]);
            continue;
        }
        __m256i coarse[2], fine[2];
        for (int i = 0; i < 2; i++) {
            coarse[i] = _mm256_srai_epi16(_mm256_add_epi16(v[i], half), 8);
            fine[i] = _mm256_sub_epi16(v[i], _mm256_slli_epi16(coarse[i], 8));
        }
        store_bytes(bytes, coarse[0], coarse[1]);
        store_bytes(bytes + RILL_WHOLE_BLOCK, fine[0], fine[1]);
    }
}
