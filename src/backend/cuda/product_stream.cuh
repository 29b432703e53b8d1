// SPDX-License-Identifier: MIT
// Products of up to 8 rows on Hopper, where a step is as fast as its weights can be read: memory
// must never have nothing to do. See product.cuh.
//
// A multiprocessor has one block, and a block items in turn: 16 rows of weights, or of gate and up.
// An item's segments are dealt to the block's warps. Every warp has a ring of chunks of tiles in
// shared memory for itself, which bulk copies keep full across segments and items. Weights depend
// on nothing, so the ring is filled before the kernel waits for the one before it; and a block
// takes about half of the shared memory, so that happens while the product before still runs.
// What is behind that wait delays the next stage: memory is asked once, for x, and everything else
// has come before.
#ifndef RILL_BACKEND_CUDA_PRODUCT_STREAM_CUH
#define RILL_BACKEND_CUDA_PRODUCT_STREAM_CUH

#include "backend/cuda/product_ring.cuh"

enum { MOST_STREAM_ROWS = 8 };
static_assert((int)STREAM_THREADS == (int)FOURS_THREADS, "a block norms a row in its registers");

// Of a block's shared memory for sums of segments, at most.
static constexpr size_t STREAM_SUMS = 16 << 10;

struct stream_plan {
    uint32_t n_items;
    uint32_t n_segments;  // of a row
    uint32_t n_units;     // segments of an item
    uint32_t turn;        // items whose sums there is room for, at most one number a thread
    uint32_t depth;       // chunks of a warp's ring
};

// The only row, normed. `end` is where the last tile's columns end.
static __device__ __forceinline__ void norm_to_pairs(const product_args &a, uint32_t end,
                                                     uint32_t *to) {
    __shared__ float warps[64];
    rill__cuda_four weight[MOST_FOURS], x[MOST_FOURS];
#pragma unroll
    for (int k = 0; k < MOST_FOURS; k++)
        weight[k] = rill__cuda_load4(a.norm.weight, four_at(k), a.columns);
    wait_for_previous();
#pragma unroll
    for (int k = 0; k < MOST_FOURS; k++) x[k] = rill__cuda_load4(a.normed, four_at(k), a.columns);
    norm_state<float> s = norm_fours(a.norm, x, warps);
#pragma unroll
    for (int k = 0; k < MOST_FOURS; k++) {
        uint32_t at = four_at(k);
        if (at >= end) break;
        rill__cuda_four y = {};
        if (at < a.columns) y = norm_four(a.norm, s, x[k], weight[k], at);
        to[place_of_pair(0, 1, at)] = as_bits(__floats2half2_rn(y.x[0], y.x[1]));
        to[place_of_pair(0, 1, at + 2)] = as_bits(__floats2half2_rn(y.x[2], y.x[3]));
    }
}

#ifdef RILL_BULK
// ---- A warp's units -----------------------------------------------------------------------------

// Segment `part` of an item; gate's before up's. A block's items are gridDim.x apart, a warp's
// units STREAM_WARPS.
struct stream_unit {
    uint32_t item;
    uint32_t part;
};

static __device__ __forceinline__ stream_unit unit_at(uint32_t item, uint32_t part,
                                                      const stream_plan &p) {
    while (part >= p.n_units) {
        part -= p.n_units;
        item += gridDim.x;
    }
    return {item, part};
}

struct stream_place {
    uint32_t matrix;
    uint32_t tile;  // of rows, of the matrix
    uint32_t segment;
};

static __device__ __forceinline__ stream_place place_in(const product_args &a, const stream_plan &p,
                                                        stream_unit u) {
    if (a.after == AFTER_ACTIVATE) {
        uint32_t m = u.part >= p.n_segments;
        return {m, u.item, u.part - m * p.n_segments};
    }
    uint32_t m = matrix_of(a, u.item);
    return {m, u.item - a.first_tile[m], u.part};
}

// A warp's units from one on.
struct stream_order {
    const product_args &a;
    const stream_plan &p;
    stream_unit unit;

    __device__ __forceinline__ bool take(const uint8_t **tiles, uint32_t *n, uint32_t tile_bytes) {
        if (unit.item >= p.n_items) return false;
        stream_place at = place_in(a, p, unit);
        const rill__cuda_packed &w = a.weights[at.matrix];
        size_t tile = (size_t)at.tile * w.column_tiles + at.segment * SEGMENT_TILES;
        *tiles = w.tiles + tile * tile_bytes;
        *n = segment_tiles(w, at.segment);
        unit = unit_at(unit.item, unit.part + STREAM_WARPS, p);
        return true;
    }
};

// ---- A thread's number of a turn ----------------------------------------------------------------

struct stream_number {
    bool there;
    uint32_t matrix;
    uint32_t row;
    size_t at;  // of out
    finish_operands operands;
};

static __device__ __forceinline__ stream_number number_of(const product_args &a,
                                                          const stream_plan &p,
                                                          uint32_t first_item) {
    uint32_t item_numbers = a.n_rows * RILL_TILE_ROWS;
    stream_number n = {};
    stream_unit u = {first_item + threadIdx.x / item_numbers * gridDim.x, 0};
    if (threadIdx.x >= p.turn * item_numbers || u.item >= p.n_items) return n;
    stream_place place = place_in(a, p, u);
    uint32_t rows = a.weights[place.matrix].rows;
    n.matrix = place.matrix;
    n.row = place.tile * RILL_TILE_ROWS + threadIdx.x % RILL_TILE_ROWS;
    n.there = n.row < rows;
    n.at = (size_t)(threadIdx.x % item_numbers / RILL_TILE_ROWS) * rows + n.row;
    if (n.there) n.operands = scales_of(a, n.matrix, n.row);
    return n;
}
#endif

template <int KIND>
static __global__ void __launch_bounds__(STREAM_THREADS, 2)
    product_stream(const __grid_constant__ product_args a, const __grid_constant__ stream_plan p) {
#ifdef RILL_BULK
    extern __shared__ __align__(16) uint8_t memory[];
    const uint32_t lane = threadIdx.x % 32, warp = warp_of_block();
    const uint32_t column_tiles = a.weights[0].column_tiles, tile_words = a.n_rows * 32;
    const uint32_t unit_floats = a.n_rows * RILL_TILE_ROWS;

    let_next_begin();
    stream_unit unit = unit_at(blockIdx.x, warp, p);
    stream_order order = {a, p, unit};
    tile_ring<KIND> ring;
    uint32_t *const pairs = (uint32_t *)ring.begin(memory, warp, p.depth, order);
    float *const parts = (float *)(pairs + column_tiles * tile_words);
    stream_number number = number_of(a, p, blockIdx.x);
    if (a.normed) {
        norm_to_pairs(a, column_tiles * RILL_TILE_COLUMNS, pairs);
    } else {
        wait_for_previous();
        halves_to_pairs(a, column_tiles * RILL_TILE_COLUMNS, pairs);
    }
    __syncthreads();

    const uint32_t *x = pairs + ((lane / 4 < a.n_rows ? lane / 4 : 0) * 4 + lane % 4) * 4;
    uint32_t in_turn = warp;  // units
    for (uint32_t first = blockIdx.x;;) {
        if (number.there && a.after == AFTER_ADD)
            number.operands.before = a.out[number.matrix][number.at];
        for (; in_turn < p.turn * p.n_units && unit.item < p.n_items; in_turn += STREAM_WARPS) {
            uint32_t segment = unit.part < p.n_segments ? unit.part : unit.part - p.n_segments;
            sum_segment(ring, order, x + segment * SEGMENT_TILES * tile_words, a.n_rows,
                        segment_tiles(a.weights[0], segment), parts + in_turn * unit_floats);
            unit = unit_at(unit.item, unit.part + STREAM_WARPS, p);
        }
        in_turn -= p.turn * p.n_units;
        __syncthreads();
        if (number.there) {
            const float *sums = parts + threadIdx.x / unit_floats * p.n_units * unit_floats +
                                threadIdx.x % unit_floats;
            finish_product(a, number.matrix, number.row, number.at, sums, unit_floats, p.n_segments,
                           number.operands);
        }
        first += p.turn * gridDim.x;
        if (first >= p.n_items) break;
        number = number_of(a, p, first);
        __syncthreads();
    }
#endif
}

// What a block does with so much memory. No ring of two chunks: it does not fit.
template <int KIND>
static stream_plan stream_plan_of(const product_args &a, uint32_t blocks, size_t shared) {
    bool pairs = a.after == AFTER_ACTIVATE;
    uint32_t column_tiles = a.weights[0].column_tiles;
    stream_plan p = {};
    p.n_items = a.first_tile[pairs ? 1 : a.n_matrices];
    p.n_segments = (column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    p.n_units = p.n_segments * (pairs ? a.n_matrices : 1);
    size_t x = (size_t)a.n_rows * column_tiles * RILL_TILE_COLUMNS * sizeof(__half);
    size_t sums = p.n_units * a.n_rows * RILL_TILE_ROWS * sizeof(float);
    size_t chunks = chunks_bytes<KIND>;
    size_t turn = STREAM_THREADS / (a.n_rows * RILL_TILE_ROWS);
    if (turn > STREAM_SUMS / sums) turn = STREAM_SUMS / sums;
    if (turn > (p.n_items + blocks - 1) / blocks) turn = (p.n_items + blocks - 1) / blocks;
    if (turn == 0 || x + turn * sums + 2 * chunks > shared) turn = 1;
    p.turn = (uint32_t)turn;
    if (x + turn * sums < shared) p.depth = (uint32_t)((shared - x - turn * sums) / chunks);
    return p;
}

// False where it does not fit.
template <int KIND> static bool start_stream(rill__cuda *cu, const product_args *args) {
    product_args a = *args;
    uint32_t n_items = number_tiles(&a);
    uint32_t blocks = n_items < (uint32_t)cu->processors ? n_items : (uint32_t)cu->processors;
    size_t shared = shared_for_rings(cu);
    stream_plan p = stream_plan_of<KIND>(a, blocks, shared);
    if (p.depth * chunks_bytes<KIND> < STREAM_RINGS)
        p = stream_plan_of<KIND>(a, blocks, shared = STREAM_MOST);
    if (p.depth < 2) return false;
    start_rings(cu, "product_stream", product_stream<KIND>, blocks, shared, a, p);
    return true;
}

#endif
