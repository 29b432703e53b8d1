// SPDX-License-Identifier: MIT
// How products of many rows are cut into pieces of the output, and what blocks of threads need for
// them. See product_wide.cuh.
#ifndef RILL_BACKEND_CUDA_PRODUCT_PIECES_CUH
#define RILL_BACKEND_CUDA_PRODUCT_PIECES_CUH

#include "backend/cuda/bulk.cuh"
#include "backend/cuda/product.cuh"
#include "backend/cuda/wgmma.cuh"

// How a block works: GROUPS warpgroups, N rows of x, in clusters of CLUSTER blocks. What is
// activated is left in shared memory and sent out by two warps of their own while the next piece is
// multiplied, for it takes long; what is stored or added is not worth the room.
template <int KIND, int N_ROWS, int N_GROUPS, int N_CLUSTER, bool SENDS = false> struct wide_shape {
    using L = rill__cuda_layout<KIND>;
    static constexpr int kind = KIND, rows = N_ROWS, groups = N_GROUPS, cluster = N_CLUSTER;
    static constexpr bool sends = SENDS;
    static constexpr int threads = 128 * groups + 128, row_tiles = 4 * groups;
    static constexpr int blocks = groups == 1 ? 2 : 1;  // of a multiprocessor
    // Of the registers that a block begins with, 168 a thread or 128, warpgroups that multiply take
    // what the copying one leaves: more are never there, and they would wait for them for ever.
    static constexpr int copying = sends         ? 56
                                   : groups == 1 ? 40
                                                 : 24,
                         multiplying = sends         ? 224
                                       : groups == 1 ? 216
                                                     : 240;
    // A stage of weights has a few tiles of each row of tiles, 2 KB of codes.
    static constexpr uint32_t deep = 2048 / (L::code_words * 128);
    static constexpr uint32_t row_bytes = deep * L::bytes, weights_bytes = row_tiles * row_bytes;
    static constexpr uint32_t x_bytes = rows * RILL_TILE_COLUMNS * sizeof(__half);
    // Sums on their way out: rows of x, 4 floats longer than what they hold, so that a warp's go to
    // different banks.
    static constexpr uint32_t sums_columns = 64 * groups + 4,
                              sums_bytes = sends ? rows * sums_columns * sizeof(float) : 0;
    static constexpr uint32_t room =
        (groups == 1 ? 112 << 10 : 226 << 10) - 1024 - 512 - sums_bytes;
    static constexpr int x_stages = groups == 1  ? (rows <= 64 ? 320 / rows : 3)
                                    : rows > 128 ? (sends ? 3 : 5)
                                                 : (sends ? 5 : 7);
    static constexpr int weight_stages = (room - x_stages * x_bytes) / weights_bytes;
    static constexpr uint32_t weights_at = x_stages * x_bytes,
                              sums_at = weights_at + weight_stages * weights_bytes,
                              barriers_at = sums_at + sums_bytes;
    // Dynamic shared memory, aligned to 1024 bytes by the kernel.
    static constexpr size_t bytes = barriers_at + 16 * (x_stages + weight_stages + 1) + 1024;
};

// Pieces of the output: `x` times `weights` of them, neighbours in x first, for their weights are
// the same.
struct wide_pieces {
    uint32_t x;
    uint32_t weights;  // a multiple of the cluster
};

#ifdef RILL_WGMMA

// What a block does in its turn.
struct wide_piece {
    uint32_t x_row0;
    uint32_t weights;
};

template <class S> static __device__ __forceinline__ uint32_t first_piece() {
    return blockIdx.x / S::cluster;
}
template <class S>
static __device__ __forceinline__ bool is_end(const wide_pieces &all, uint32_t turn) {
    return turn >= all.x * (all.weights / S::cluster);
}
template <class S>
static __device__ __forceinline__ bool take_piece(const wide_pieces &all, uint32_t *turn,
                                                  wide_piece *p) {
    if (is_end<S>(all, *turn)) return false;
    p->x_row0 = *turn % all.x * S::rows;
    p->weights = *turn / all.x * S::cluster + (S::cluster > 1 ? block_in_cluster() : 0);
    *turn += gridDim.x / S::cluster;
    return true;
}

// Gate and up meet in a block: a warpgroup each.
static __device__ __forceinline__ bool is_paired(const product_args &a) {
    return a.after == AFTER_ACTIVATE && a.n_matrices > 1;
}

// A warpgroup's matrix, and its first row tile there.
struct wide_place {
    uint32_t matrix;
    uint32_t tile;
};
template <class S>
static __device__ __forceinline__ wide_place place_of_group(const product_args &a, uint32_t piece,
                                                            uint32_t group) {
    if (is_paired(a)) return {group, 4 * piece};
    uint32_t tile = S::row_tiles * piece, m = matrix_of(a, tile);
    return {m, tile - a.first_tile[m] + 4 * group};
}
#endif

#endif
