// SPDX-License-Identifier: MIT
// Activations to whole numbers, a block of 32 at a time.
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

static inline void store_bytes(int8_t *to, int16x8_t v, int parts) {
    if (parts == 1) {
        vst1_s8(to, vmovn_s16(v));
        return;
    }
    int16x8_t coarse = vrshrq_n_s16(v, 8);  // (v + 128) / 256, rounded down
    vst1_s8(to, vmovn_s16(coarse));
    vst1_s8(to + RILL_WHOLE_BLOCK, vmovn_s16(vsubq_s16(v, vshlq_n_s16(coarse, 8))));
}

static void quantize_whole_neon(const float *x, const rill__whole_rows *rows, size_t r) {
    const rill__whole_row row_at = rill__whole_row_at(rows, r), *row = &row_at;
    const float whole_most = (float)rill__whole_most(rows->parts);
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
        bool nought = !finite || greatest < RILL_WHOLE_LEAST;
        vf inverse = vf_set(nought ? 0 : whole_most / greatest);
        for (size_t run = 0; run < 2; run++) {
            size_t at = b * RILL_WHOLE_BLOCK + run * 16;
            int32_t sum = 0;
            for (size_t i = at; i < at + 16; i += 8) {
                int16x8_t v = nought ? vdupq_n_s16(0) : whole_8(x + i, inverse);
                vst1q_s16(row->x + i, pairs_0213(v));
                store_bytes(row->bytes + rill__whole_byte_at(i, rows->parts), v, rows->parts);
                sum += vaddlvq_s16(v);
            }
            row->sums[0][at / 16] = sum;
        }
        row->sums[1][b] = row->sums[0][2 * b] + row->sums[0][2 * b + 1];
    }
}
