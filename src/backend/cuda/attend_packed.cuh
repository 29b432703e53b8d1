// SPDX-License-Identifier: MIT
// Rows of q8_0 and q4_0 as fragments of tensor cores (attend_tile.cuh), straight from where they
// were copied to: for few queries, a tile of halves in between would cost more than the products.
//
// A lane takes four codes that lie together. Of keys these are its four columns of 16, in the order
// of attend_rows.cuh; of values, where a lane needs two keys of one column side by side, four of
// each key are interleaved, and the four columns go to four products. So the sums of values of lane
// 4 g + t, product 4 b + j, lie in columns 32 b + 4 (2t) + j and 32 b + 4 (2t + 1) + j.
#ifndef RILL_BACKEND_CUDA_ATTEND_PACKED_CUH
#define RILL_BACKEND_CUDA_ATTEND_PACKED_CUH

#include "backend/cuda/attend_tile.cuh"

template <int TYPE> constexpr uint32_t BLOCK_BYTES = TYPE == RILL_TYPE_Q8_0 ? 34 : 18;
template <int TYPE> constexpr float BIAS = TYPE == RILL_TYPE_Q8_0 ? 128 : 8;

// Codes of columns [4 quad, 4 quad + 4) of a block, each a byte that is BIAS too great. Blocks
// begin at even addresses; the two bytes behind the codes may be read.
template <int TYPE>
static __device__ __forceinline__ uint32_t four_codes(const uint8_t *block, uint32_t quad) {
    const uint8_t *p = block + 2 + (TYPE == RILL_TYPE_Q8_0 ? quad : quad % 4) * 4;
    uint32_t before = (uint32_t)(uintptr_t)p & 2;
    const uint32_t *words = (const uint32_t *)(p - before);
    uint32_t codes = __funnelshift_r(words[0], words[1], before * 8);
    return TYPE == RILL_TYPE_Q8_0 ? codes ^ 0x80808080u : codes >> quad / 4 * 4 & 0x0f0f0f0fu;
}

// The row of a position in shared memory; of those that nobody sees, one that somebody does.
static __device__ __forceinline__ const uint8_t *
nearest_row(const uint8_t *raw, const cache_rows &c, const stretch &s, int position) {
    return raw_row(raw, c, s, min(max(position, s.begin), s.end - 1));
}

// Logits of 16 keys from `first` on. Those that nobody sees are anything: they are masked.
template <int D, int TYPE>
static __device__ __forceinline__ void score_packed(float low[4], float high[4], uint32_t queries,
                                                    const uint8_t *raw, const cache_rows &c,
                                                    const stretch &s, int first, uint32_t columns) {
    uint32_t lane = threadIdx.x % 32;
    queries += lane % 16 * (D + TILE_PADDING) * (uint32_t)sizeof(__half) + lane / 16 * 16;
#pragma unroll
    for (int i = 0; i < 4; i++) low[i] = high[i] = 0;
    if (s.begin >= s.end) return;
    const uint8_t *rows[2];
#pragma unroll
    for (int i = 0; i < 2; i++) rows[i] = nearest_row(raw, c, s, first + (int)lane / 4 + 8 * i);
#pragma unroll
    for (uint32_t b = 0; b < D / 32; b++) {
        if (b * 32 >= columns) break;
        uint32_t q[2][4];
        load_matrices(q[0], queries + b * 64);
        load_matrices(q[1], queries + b * 64 + 32);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint8_t *block = rows[i] + b * BLOCK_BYTES<TYPE>;
            __half2 scale = scale_at(block);
#pragma unroll
            for (uint32_t half = 0; half < 2; half++) {
                uint2 k =
                    scaled_bytes(four_codes<TYPE>(block, lane % 4 + 4 * half), BIAS<TYPE>, scale);
                mma(i ? high : low, q[half], k.x, k.y);
            }
        }
    }
}

// Values of 16 keys from `first` on times their weights, all columns. Those of keys that nobody
// sees are zeros.
template <int D, int TYPE>
static __device__ __forceinline__ void mix_packed(float values[D / 8][4], const uint32_t weights[4],
                                                  const uint8_t *raw, const cache_rows &c,
                                                  const stretch &s, int first, uint32_t columns) {
    if (s.begin >= s.end) return;
    uint32_t lane = threadIdx.x % 32;
    const uint8_t *rows[4];
    bool seen[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int key = first + (int)lane % 4 * 2 + i % 2 + i / 2 * 8;
        rows[i] = nearest_row(raw, c, s, key);
        seen[i] = key >= s.begin && key < s.end;
    }
#pragma unroll
    for (uint32_t b = 0; b < D / 32; b++) {
        if (b * 32 >= columns) break;
        uint2 v[2][2];  // of keys 2t, 2t + 1 and 8 more: two columns, and two more
#pragma unroll
        for (int pair = 0; pair < 2; pair++) {
            uint32_t codes[2];
            __half scales[2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint8_t *block = rows[2 * pair + i] + b * BLOCK_BYTES<TYPE>;
                codes[i] = four_codes<TYPE>(block, lane / 4);
                scales[i] = seen[2 * pair + i] ? *(const __half *)block : __half(0);
            }
            __half2 scale = __halves2half2(scales[0], scales[1]);
            v[pair][0] = scaled_bytes(__byte_perm(codes[0], codes[1], 0x5140), BIAS<TYPE>, scale);
            v[pair][1] = scaled_bytes(__byte_perm(codes[0], codes[1], 0x7362), BIAS<TYPE>, scale);
        }
#pragma unroll
        for (int j = 0; j < 2; j++) {
            mma(values[4 * b + 2 * j], weights, v[0][j].x, v[1][j].x);
            mma(values[4 * b + 2 * j + 1], weights, v[0][j].y, v[1][j].y);
        }
    }
}

#endif
