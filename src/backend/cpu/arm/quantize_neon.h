// SPDX-License-Identifier: MIT
// Activations to whole numbers of 16 bits, a block of 32 at a time.
#include "backend/cpu/arm/vec_neon.h"
#include "backend/cpu/kernels.h"

#include <math.h>

// 8 floats to numbers of 16 bits.
static inline int16x8_t whole_8(const float *x, vf inverse) {
    int32x4_t low = vcvtnq_s32_f32(vf_mul(vf_load(x), inverse));
    int32x4_t high = vcvtnq_s32_f32(vf_mul(vf_load(x + 4), inverse));
    return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}

// Of every four numbers 0, 2, 1, 3.
static inline int16x8_t pairs_0213(int16x8_t v) {
    static const uint8_t order[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    return vreinterpretq_s16_u8(vqtbl1q_u8(vreinterpretq_u8_s16(v), vld1q_u8(order)));
}

static void quantize_q16_neon(const float *x, size_t n, rill__q16_row *row) {
    for (size_t b = 0; b < n / RILL_Q16; b++) {
        const float *from = x + b * RILL_Q16;
        vf most = vf_set(0), nothing = vf_set(0);  // x * 0 summed: NaN unless all are finite
        for (int i = 0; i < RILL_Q16; i += LANES) {
            vf v = vf_load(from + i);
            most = vf_max(most, vf_abs(v));
            nothing = vf_fma(v, vf_set(0), nothing);
        }
        float greatest = vf_greatest(most);
        bool finite = !isnan(vf_sum(nothing));
        row->d[b] = finite ? greatest / RILL_Q16_MOST : NAN;
        bool nought = !finite || greatest < RILL_Q16_LEAST;
        vf inverse = vf_set(nought ? 0 : RILL_Q16_MOST / greatest);
        for (size_t run = 0; run < 2; run++) {
            size_t at = b * RILL_Q16 + run * 16;
            int32_t sum = 0;
            for (size_t i = at; i < at + 16; i += 8) {
                int16x8_t v = nought ? vdupq_n_s16(0) : whole_8(x + i, inverse);
                int16x8_t coarse = vrshrq_n_s16(v, 8);  // (v + 128) / 256, rounded down
                int8_t *bytes = row->bytes + b * RILL_Q16 + i;
                vst1q_s16(row->x + i, pairs_0213(v));
                vst1_s8(bytes, vmovn_s16(coarse));
                vst1_s8(bytes + RILL_Q16, vmovn_s16(vsubq_s16(v, vshlq_n_s16(coarse, 8))));
                sum += vaddlvq_s16(v);
            }
            row->sums[0][at / 16] = sum;
        }
        row->sums[1][b] = row->sums[0][2 * b] + row->sums[0][2 * b + 1];
    }
}
