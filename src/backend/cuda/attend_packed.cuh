// SPDX-License-Identifier: MIT
// Rows of q8_0 and q4_0 as fragments of tensor cores (attend_tile.cuh), straight from where they
// were copied to: for few queries, a tile of halves in between would cost more than the products.
//
// A lane takes four codes that lie together. Of keys these are its four columns of 16, in the order
// of attend_rows.cuh; of values, where a lane needs two keys of one column side by side, four of
// each key are interleaved, and the four columns go to four products. So the sums of values of lane
// 4 g + t, product 4 b + j, lie in columns 32 b + 4 (2t) + j and 32 b + 4 (2t + 1) + j.
//
// A key takes some dozen instructions a lane, and reading it as long as 80 of them last: addresses
// are of the shared window, with what is the same for all blocks of a row added up once.
#ifndef RILL_BACKEND_CUDA_ATTEND_PACKED_CUH
#define RILL_BACKEND_CUDA_ATTEND_PACKED_CUH

#include "backend/cuda/attend_tile.cuh"

template <int TYPE> constexpr uint32_t BLOCK_BYTES = TYPE == RILL_TYPE_Q8_0 ? 34 : 18;
template <int TYPE> constexpr float BIAS = TYPE == RILL_TYPE_Q8_0 ? 128 : 8;

static __device__ __forceinline__ uint32_t shared_word(uint32_t at) {
    uint32_t x;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(at));
    return x;
}
static __device__ __forceinline__ uint32_t shared_half(uint32_t at) {
    uint16_t x;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(x) : "r"(at));
    return x;
}

// Where the raw rows of a load lie: positions from `turn` on are `jump` further.
struct raw_rows {
    uint32_t at;  // of position 0
    uint32_t row_bytes;
    int turn;
    uint32_t jump;
    stretch seen;
};

static __device__ __forceinline__ raw_rows raw_rows_of(uint32_t raw, const cache_rows &c,
                                                       const stretch &s) {
    uint32_t before = misaligned(c.data + (size_t)s.row * c.row_bytes), first = before_end(c, s);
    raw_rows r;
    r.row_bytes = c.row_bytes;
    r.at = raw + before - (uint32_t)s.begin * c.row_bytes;
    r.turn = s.begin + (int)first;
    r.jump = second_place(c, s) + misaligned(c.data + (size_t)c.n_sinks * c.row_bytes) - before -
             first * c.row_bytes;
    r.seen = s;
    return r;
}

// The row of a position; of those that nobody sees, one that somebody does.
static __device__ __forceinline__ uint32_t nearest_row(const raw_rows &r, int position) {
    position = min(max(position, r.seen.begin), r.seen.end - 1);
    return r.at + (uint32_t)position * r.row_bytes + (position >= r.turn ? r.jump : 0);
}

// Codes of a row that four lanes or eight share. Blocks begin at even addresses, so that words are
// put together from two, but in every second block. WORDS: rows begin at multiples of 4.
template <int TYPE, bool WORDS> struct packed_row {
    uint32_t row;
    uint32_t even, odd;  // where the lane's first word of blocks 0 and 1 begins
    uint32_t even_shift, odd_shift;

    __device__ __forceinline__ packed_row(uint32_t at, uint32_t quad) {
        uint32_t within = WORDS ? 0 : at & 2;
        row = at;
        even = at - within + 4 * quad + 2 * within;
        odd = at - within + 4 * quad + BLOCK_BYTES<TYPE> + 2;
        even_shift = 16 - 8 * within;
        odd_shift = 8 * within;
    }
    // Four bytes of codes of block b, `offset` bytes (a multiple of 4) behind the lane's quad. The
    // two bytes behind the codes may be read.
    __device__ __forceinline__ uint32_t codes(uint32_t b, uint32_t offset) const {
        uint32_t at = b % 2 ? odd + (b - 1) * BLOCK_BYTES<TYPE> : even + b * BLOCK_BYTES<TYPE>;
        if (WORDS && b % 2) return shared_word(at + offset);
        return __funnelshift_r(shared_word(at + offset), shared_word(at + offset + 4),
                               b % 2 ? odd_shift : even_shift);
    }
    __device__ __forceinline__ uint32_t scale(uint32_t b) const {
        return shared_half(row + b * BLOCK_BYTES<TYPE>);
    }
};

// Pairs of halves in which the last bits are codes, less what is too much, times scales.
static __device__ __forceinline__ uint32_t scaled_pair(uint32_t pair, __half2 offset,
                                                       __half2 scale) {
    return half_bits(__hmul2(__hsub2(half_pair(pair), offset), scale));
}

// Logits of 8 keys a row that a lane has. `queries` is where the lane's share of them lies.
template <int D, int TYPE, bool WORDS, int ROWS>
static __device__ __forceinline__ void score_rows(float s[ROWS][4], uint32_t queries,
                                                  const packed_row<TYPE, WORDS> *rows,
                                                  uint32_t columns) {
#pragma unroll
    for (uint32_t b = 0; b < D / 32; b++) {
        if (b * 32 >= columns) break;
        uint32_t q[2][4];
        load_matrices(q[0], queries + b * 64);
        load_matrices(q[1], queries + b * 64 + 32);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            uint32_t scale = rows[i].scale(b), codes[2];
            __half2 scales = half_pair(scale | scale << 16);
            codes[0] = rows[i].codes(b, 0);
            if (TYPE == RILL_TYPE_Q8_0) {
                codes[1] = rows[i].codes(b, 16) ^ 0x80808080u;
                codes[0] ^= 0x80808080u;
            } else {
                codes[1] = codes[0] >> 4 & 0x0f0f0f0fu;
                codes[0] &= 0x0f0f0f0fu;
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                uint2 k = scaled_bytes(codes[half], BIAS<TYPE>, scales);
                mma(s[i], q[half], k.x, k.y);
            }
        }
    }
}

// Logits of 16 keys from `first` on. Those that nobody sees are anything: they are masked.
template <int D, int TYPE>
static __device__ __forceinline__ void
score_packed(float s[2][4], uint32_t queries, const raw_rows &keys, int first, uint32_t columns) {
    uint32_t lane = threadIdx.x % 32;
    queries += lane % 16 * (D + TILE_PADDING) * (uint32_t)sizeof(__half) + lane / 16 * 16;
#pragma unroll
    for (int i = 0; i < 4; i++) s[0][i] = s[1][i] = 0;
    if (keys.seen.begin >= keys.seen.end) return;
    const packed_row<TYPE, false> rows[2] = {{nearest_row(keys, first + (int)lane / 4), lane % 4},
                                             {nearest_row(keys, first + (int)lane / 4 + 8),
                                              lane % 4}};
    score_rows<D, TYPE, false, 2>(s, queries, rows, columns);
}

// Four columns of two keys, from four codes of each: pairs of keys.
template <int TYPE>
static __device__ __forceinline__ void pairs_of_keys(uint32_t a, uint32_t b, uint32_t nibble,
                                                     __half2 scale, uint32_t out[4]) {
    constexpr bool q8 = TYPE == RILL_TYPE_Q8_0;
    constexpr uint32_t mask = q8 ? 0x00ff00ffu : 0x000f000fu;
    // 1024 + a code that is BIAS too great.
    constexpr uint32_t magic = q8 ? 0x64806480u : 0x64006400u;
    __half2 offset = __float2half2_rn(1024 + BIAS<TYPE>);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t both = __byte_perm(a, b, i ? 0x7632 : 0x5410);
        if (!q8) both >>= nibble;
        out[2 * i] = scaled_pair((both & mask) ^ magic, offset, scale);
        out[2 * i + 1] = scaled_pair((both >> 8 & mask) ^ magic, offset, scale);
    }
}

// A lane's numbers of 16 keys in columns [32 b, 32 b + 32): of its keys 2t, 2t + 1 (v[0]) and 8
// more, four columns, at the quad of quad_of_lane. `seen` is what is left of two rows' scales.
template <int TYPE, bool WORDS>
static __device__ __forceinline__ void take_values(uint32_t v[2][4],
                                                   const packed_row<TYPE, WORDS> rows[4],
                                                   const uint32_t seen[2], uint32_t b) {
    uint32_t nibble = TYPE == RILL_TYPE_Q4_0 ? threadIdx.x % 32 / 16 * 4 : 0;
#pragma unroll
    for (int pair = 0; pair < 2; pair++) {
        const packed_row<TYPE, WORDS> &one = rows[2 * pair], &other = rows[2 * pair + 1];
        uint32_t scales = (one.scale(b) | other.scale(b) << 16) & seen[pair];
        pairs_of_keys<TYPE>(one.codes(b, 0), other.codes(b, 0), nibble, half_pair(scales), v[pair]);
    }
}

template <int TYPE> static __device__ __forceinline__ uint32_t quad_of_lane() {
    uint32_t quad = threadIdx.x % 32 / 4;
    return TYPE == RILL_TYPE_Q4_0 ? quad % 4 : quad;
}

// Values of 16 keys from `first` on times their weights, all columns. Those of keys that nobody
// sees are zeros.
template <int D, int TYPE>
static __device__ __forceinline__ void mix_packed(float values[D / 8][4], const uint32_t weights[4],
                                                  const raw_rows &r, int first, uint32_t columns) {
    if (r.seen.begin >= r.seen.end) return;
    uint32_t quad = quad_of_lane<TYPE>();
    int key = first + (int)(threadIdx.x % 4) * 2;
    const packed_row<TYPE, false> rows[4] = {{nearest_row(r, key), quad},
                                             {nearest_row(r, key + 1), quad},
                                             {nearest_row(r, key + 8), quad},
                                             {nearest_row(r, key + 9), quad}};
    uint32_t seen[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int k = key + i % 2 + i / 2 * 8;
        if (k >= r.seen.begin && k < r.seen.end) seen[i / 2] |= 0xffffu << 16 * (i % 2);
    }
#pragma unroll
    for (uint32_t b = 0; b < D / 32; b++) {
        if (b * 32 >= columns) break;
        uint32_t v[2][4];
        take_values(v, rows, seen, b);
#pragma unroll
        for (int j = 0; j < 4; j++) mma(values[4 * b + j], weights, v[0][j], v[1][j]);
    }
}

#endif
