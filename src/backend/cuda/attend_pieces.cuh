// SPDX-License-Identifier: MIT
// What a warp of attend_split.cu loads of a block of 64 keys, and how its queries meet it.
#ifndef RILL_BACKEND_CUDA_ATTEND_PIECES_CUH
#define RILL_BACKEND_CUDA_ATTEND_PIECES_CUH

#include "backend/cuda/attend_launch.cuh"
#include "backend/cuda/attend_packed.cuh"

enum {
    QUERIES = WARP_QUERIES,
    CHUNK_KEYS = 16,
    BLOCK_CHUNKS = BLOCK_KEYS / CHUNK_KEYS,
};

template <int D> constexpr uint32_t STRIDE = (D + TILE_PADDING) * (uint32_t)sizeof(__half);
template <int D> constexpr uint32_t TILE_BYTES = CHUNK_KEYS *STRIDE<D>;
// Sums of values for the other warps, in place of what was loaded: rows of D + 8 floats.
template <int D> constexpr uint32_t RESULT_STRIDE = D + TILE_PADDING;
template <int D> constexpr uint32_t RESULT_BYTES = QUERIES *RESULT_STRIDE<D> * 4;
// Blocks of a multiprocessor that registers are for.
template <int D> constexpr int BLOCKS = D <= 64 ? 4 : D <= 128 ? 3 : 2;

// Where what a warp loads lies: chunk i of halves at place i modulo `places`, which is 2, 4 or 8;
// or all keys at place 0 and all values at place 1, if one of both is packed.
struct ring {
    uint32_t places;
    uint32_t place_bytes;
    uint32_t warp_bytes;
};

// What a warp loads and where to.
struct job {
    uint32_t memory;
    ring chunks;
    const cache_rows *keys;  // in shared memory
    const cache_rows *values;
    view seen;
    int first;         // key of the block
    int fresh;         // tokens from here on are the pass's own
    uint32_t columns;  // of a head
};

// Loads of a block: chunks, or keys and values.
template <bool PACKED> constexpr uint32_t LOADS = PACKED ? 2 : 2 * BLOCK_CHUNKS;
template <bool PACKED> constexpr int LOAD_KEYS = PACKED ? (int)BLOCK_KEYS : (int)CHUNK_KEYS;

// What a load is of, which of its tokens are seen, and where it goes.
struct piece {
    const cache_rows &rows;
    stretch seen;
    uint32_t at;
};

template <bool PACKED>
static __device__ __forceinline__ uint32_t address_of(const job &j, uint32_t number) {
    return j.memory + (number & (j.chunks.places - 1)) * j.chunks.place_bytes;
}

template <bool PACKED>
static __device__ __forceinline__ piece piece_of(const job &j, uint32_t number) {
    const cache_rows &rows = number < LOADS<PACKED> / 2 ? *j.keys : *j.values;
    int first = j.first + (int)(number % (LOADS<PACKED> / 2)) * LOAD_KEYS<PACKED>;
    return {rows, stretch_of(rows, j.seen, first, LOAD_KEYS<PACKED>),
            address_of<PACKED>(j, number)};
}

template <int D, bool PACKED>
static __device__ __forceinline__ void load(const job &j, uint32_t number) {
    if (number < LOADS<PACKED>) {
        piece p = piece_of<PACKED>(j, number);
        if (PACKED && is_packed(p.rows.type))
            load_raw<32>(p.at, p.rows, p.seen);
        else
            load_halves<LOAD_KEYS<PACKED>, D, 32>(p.at, p.rows, p.seen, 0, j.columns);
    }
    copies_end();
}

// Waits for a load: all but the last places - 1. Returns where it is.
template <bool PACKED>
static __device__ __forceinline__ uint32_t take(const job &j, uint32_t number) {
    if (j.chunks.places == 8)
        wait_for_copies<7>();
    else if (j.chunks.places == 4)
        wait_for_copies<3>();
    else
        wait_for_copies<1>();
    __syncwarp();
    return address_of<PACKED>(j, number);
}

// It is done with: another may take its place.
template <int D, bool PACKED>
static __device__ __forceinline__ void release(const job &j, uint32_t number) {
    __syncwarp();
    load<D, PACKED>(j, number + j.chunks.places);
}

// How many of the first loads hold no token of this pass.
template <bool PACKED> static __device__ __forceinline__ uint32_t old_loads(const job &j) {
    uint32_t n = 0;
#pragma unroll 1
    for (; n < j.chunks.places; n++) {
        int end = j.first + ((int)(n % (LOADS<PACKED> / 2)) + 1) * LOAD_KEYS<PACKED>;
        if (min(end, j.seen.end) > j.fresh) break;
    }
    return n;
}

// What a warp has of keys or values: rows of 16 bits from `at` on, or packed ones.
struct half_block {
    int type;
    uint32_t at;
    raw_rows packed;
};

// Half of a block of a packed cache: all keys, or all values.
template <bool PACKED>
static __device__ __forceinline__ void take_half(const job &j, uint32_t number, half_block *h) {
    h->type = (number ? j.values : j.keys)->type;
    if (!PACKED) return;
    piece p = piece_of<PACKED>(j, number);
    h->at = p.at;
    if (is_packed(h->type)) h->packed = raw_rows_of(p.at, p.rows, p.seen);
}

template <int D, bool PACKED>
static __device__ __forceinline__ void score_any(float s[2][4], uint32_t queries,
                                                 const half_block &keys, uint32_t chunk,
                                                 uint32_t columns) {
    uint32_t at = keys.at + (PACKED ? chunk * TILE_BYTES<D> : 0);
    if (PACKED && keys.type == RILL_TYPE_Q8_0)
        score_packed<D, RILL_TYPE_Q8_0>(s, queries, keys.packed, (int)chunk * CHUNK_KEYS, columns);
    else if (PACKED && keys.type == RILL_TYPE_Q4_0)
        score_packed<D, RILL_TYPE_Q4_0>(s, queries, keys.packed, (int)chunk * CHUNK_KEYS, columns);
    else if (keys.type == RILL_TYPE_BF16)
        score<D, true>(s[0], s[1], queries, at);
    else
        score<D>(s[0], s[1], queries, at);
}

template <int D, bool BF16>
static __device__ __forceinline__ void mix_chunk(float values[D / 8][4], const uint32_t weights[4],
                                                 uint32_t tile) {
    uint32_t at = values_at<D>(tile);
#pragma unroll
    for (int n = 0; n < D / 8; n += 2)
        mix<BF16>(values[n], values[n + 1], weights, at + n * 8 * sizeof(__half));
}

template <int D, bool PACKED>
static __device__ __forceinline__ void mix_any(float values[D / 8][4], const uint32_t weights[4],
                                               const half_block &v, uint32_t chunk,
                                               uint32_t columns) {
    uint32_t at = v.at + (PACKED ? chunk * TILE_BYTES<D> : 0);
    if (PACKED && v.type == RILL_TYPE_Q8_0)
        mix_packed<D, RILL_TYPE_Q8_0>(values, weights, v.packed, (int)chunk * CHUNK_KEYS, columns);
    else if (PACKED && v.type == RILL_TYPE_Q4_0)
        mix_packed<D, RILL_TYPE_Q4_0>(values, weights, v.packed, (int)chunk * CHUNK_KEYS, columns);
    else if (v.type == RILL_TYPE_BF16)
        mix_chunk<D, true>(values, weights, at);
    else
        mix_chunk<D, false>(values, weights, at);
}

// The queries meet the block, whose first loads were asked for; `values` are the sums of its
// values. Chunks are met in a loop, for which logits and weights move through their registers:
// unrolled, the code itself would take longest to come.
template <int D, bool PACKED>
static __device__ __forceinline__ two_states meet_block(const job &j, uint32_t queries,
                                                        const sight *sights, bool alibi,
                                                        bool previous, float values[D / 8][4]) {
    float s[8][4] = {};
    half_block half;
    take_half<PACKED>(j, 0, &half);
#pragma unroll 1
    for (uint32_t i = 0; i < BLOCK_CHUNKS; i++) {
        // Of a packed cache all keys are one piece, and there is nothing else to load.
        uint32_t at = take<PACKED>(j, PACKED ? 0 : i);
        if (!PACKED) half.at = at;
#pragma unroll
        for (int n = 0; n < 6; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) s[n][e] = s[n + 2][e];
        score_any<D, PACKED>(s + 6, queries, half, i, j.columns);
        if (previous)
            score_previous(s + 6, sights, j.first + (int)i * CHUNK_KEYS, [&](float other[2][4]) {
                score_any<D, PACKED>(other, queries + QUERIES * STRIDE<D>, half, i, j.columns);
            });
        if (!PACKED) release<D, PACKED>(j, i);
    }
    uint32_t weights[BLOCK_CHUNKS][4];
    two_states states = weigh(s, sights, j.first, alibi, weights);
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) values[n][i] = 0;
    if (PACKED) wait_for_copies<0>();
    take_half<PACKED>(j, 1, &half);
#pragma unroll 1
    for (uint32_t i = 0; i < BLOCK_CHUNKS; i++) {
        uint32_t at = take<PACKED>(j, PACKED ? 1 : BLOCK_CHUNKS + i);
        if (!PACKED) half.at = at;
        mix_any<D, PACKED>(values, weights[0], half, i, j.columns);
#pragma unroll
        for (int k = 0; k < BLOCK_CHUNKS - 1; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) weights[k][e] = weights[k + 1][e];
        if (!PACKED) release<D, PACKED>(j, BLOCK_CHUNKS + i);
    }
    return states;
}

#endif
