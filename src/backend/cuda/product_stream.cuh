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

#include "backend/cuda/bulk.cuh"
#include "backend/cuda/product_few.cuh"

enum { STREAM_WARPS = 16, STREAM_THREADS = 32 * STREAM_WARPS, MOST_STREAM_ROWS = 8 };
static_assert((int)STREAM_THREADS == (int)FOURS_THREADS, "a block norms a row in its registers");

// Shared memory of a block, of the 228 KB of a multiprocessor, of which the system takes 1 KB a
// block: more than half, so that no multiprocessor has two blocks and another none, or what is left
// beside such a block. A product is large unless it follows a large one.
static constexpr size_t STREAM_LARGE = 113 << 10, STREAM_SMALL = 112 << 10;
// What a block may have at most, where rows of x leave less of that for rings than these.
static constexpr size_t STREAM_MOST = 224 << 10, STREAM_RINGS = 48 << 10;
// Of it for sums of segments, at most.
static constexpr size_t STREAM_SUMS = 16 << 10;

// Tiles that are sent at once: about two kilobytes.
template <int KIND>
static constexpr uint32_t chunk_tiles = KIND == RILL_KIND_HALF                      ? 1
                                        : rill__cuda_layout<KIND>::bytes * 4 > 2560 ? 2
                                                                                    : 4;
template <int KIND>
static constexpr uint32_t chunk_bytes = chunk_tiles<KIND> *rill__cuda_layout<KIND>::bytes;

struct stream_plan {
    uint32_t n_items;
    uint32_t n_segments;  // of a row
    uint32_t n_units;     // segments of an item
    uint32_t turn;        // items whose sums there is room for, at most one number a thread
    uint32_t depth;       // chunks of a warp's ring
};

// ---- Rows of x ----------------------------------------------------------------------------------

// Where a pair of columns lies in shared memory, in words: of half a tile all rows; of these what a
// lane of mma has of two fragments' operand B.
static __device__ __forceinline__ uint32_t place_of_pair(uint32_t row, uint32_t n_rows,
                                                         uint32_t column) {
    uint32_t lane = column / 2 % 4, word = column / 8 % 4;
    return ((column / 32 * n_rows + row) * 4 + lane) * 4 + word;
}

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

static __device__ __forceinline__ void halves_to_pairs(const product_args &a, uint32_t end,
                                                       uint32_t *to) {
    wait_for_previous();
    for (uint32_t i = threadIdx.x; i < a.n_rows * (end / 8); i += STREAM_THREADS) {
        uint32_t row = i / (end / 8), column = i % (end / 8) * 8;
        uint4 v = {};
        if (column < a.columns) v = *(const uint4 *)(a.x + (size_t)row * a.columns + column);
        uint32_t *pairs = to + place_of_pair(row, a.n_rows, column);
        pairs[0] = v.x;
        pairs[4] = v.y;
        pairs[8] = v.z;
        pairs[12] = v.w;
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

// A warp's ring of chunks. All lanes know all of it, one copies. The chunk whose turn it is is
// read, and sent for again.
template <int KIND> struct stream_ring {
    static constexpr uint32_t TILES = chunk_tiles<KIND>, BYTES = rill__cuda_layout<KIND>::bytes;
    uint32_t memory;    // [depth] chunks
    uint32_t barriers;  // [depth]
    uint32_t depth;
    uint64_t policy;
    const uint8_t *tiles;  // to send, of a unit
    uint32_t left;         // of them
    uint32_t slot;         // whose turn it is
    uint32_t parity;       // of its barrier

    template <class Order> __device__ __forceinline__ void begin(Order &order) {
        policy = read_once_policy();
        left = slot = 0;
        if (is_leader()) {
            for (uint32_t i = 0; i < depth; i++) barrier_new(barriers + 8 * i, 1);
            barriers_made();
        }
        __syncwarp();
        for (uint32_t i = 0; i < depth; i++) send(order);
        parity = 0;
    }

    __device__ __forceinline__ void arrive() const {
        await(barriers + 8 * slot, parity);
    }

    // The next chunk, where there is one, to the slot whose turn it was.
    template <class Order> __device__ __forceinline__ void send(Order &order) {
        if (left > 0 || order.take(&tiles, &left, BYTES)) {
            uint32_t n = min(left, TILES) * BYTES, barrier = barriers + 8 * slot;
            if (is_leader()) {
                arrive_expecting(barrier, n);
                copy_bulk_once(memory + slot * chunk_bytes<KIND>, tiles, n, barrier, policy);
            }
            tiles += chunk_bytes<KIND>;
            left -= min(left, TILES);
        }
        if (++slot < depth) return;
        slot = 0;
        parity ^= 1;
    }
};

// A tile times all rows. Lanes of columns of mma that are no rows have some other row's numbers,
// and nobody asks for their sums.
template <int KIND>
static __device__ __forceinline__ void
multiply_pairs(const tile_words<KIND> &words, const uint32_t *x, uint32_t half_words, float c[4]) {
#pragma unroll
    for (int f = 0; f < 4; f += 2) {
        uint4 b = *(const uint4 *)(x + f / 2 * half_words);
        uint32_t w[4];
        unpack<KIND>(words, f, w);
        mma(c, w, b.x, b.y);
        unpack<KIND>(words, f + 1, w);
        mma(c, w, b.z, b.w);
    }
}

// A segment: `x` are the lane's pairs of its first tile, the sums go to part [row of x, 16].
template <int KIND>
static __device__ __forceinline__ void sum_unit(const product_args &a, stream_ring<KIND> &ring,
                                                stream_order &order, const uint8_t *chunks,
                                                const uint32_t *x, uint32_t n_tiles, float *part) {
    constexpr uint32_t TILES = chunk_tiles<KIND>;
    uint32_t lane = threadIdx.x % 32, half_words = a.n_rows * 16;
    float c[4] = {};
    auto multiply = [&](const uint8_t *tile) {
        multiply_pairs<KIND>(tile_at<KIND>(tile, (int)lane), x, half_words, c);
        x += 2 * half_words;
    };
    for (uint32_t left = n_tiles; left > 0; left -= min(left, TILES)) {
        const uint8_t *from = chunks + ring.slot * chunk_bytes<KIND>;
        ring.arrive();
        if (left >= TILES) {
#pragma unroll
            for (uint32_t j = 0; j < TILES; j++) multiply(from + j * ring.BYTES);
        } else {
            for (uint32_t j = 0; j < left; j++) multiply(from + j * ring.BYTES);
        }
        __syncwarp();
        ring.send(order);
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t n = 2 * (lane % 4) + i % 2;
        if (n < a.n_rows) part[n * 16 + lane / 4 + 8 * (i / 2)] = c[i];
    }
}

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
    // The same in all lanes, and the compiler knows.
    const uint32_t lane = threadIdx.x % 32, warp = __shfl_sync(~0u, threadIdx.x / 32, 0);
    const uint32_t column_tiles = a.weights[0].column_tiles, tile_words = a.n_rows * 32;
    const uint32_t unit_floats = a.n_rows * RILL_TILE_ROWS;
    uint8_t *const chunks = memory + warp * p.depth * chunk_bytes<KIND>;
    uint64_t *const barriers = (uint64_t *)(memory + STREAM_WARPS * p.depth * chunk_bytes<KIND>);
    uint32_t *const pairs = (uint32_t *)(barriers + STREAM_WARPS * p.depth);
    float *const parts = (float *)(pairs + column_tiles * tile_words);

    let_next_begin();
    stream_unit unit = unit_at(blockIdx.x, warp, p);
    stream_ring<KIND> ring;
    ring.memory = (uint32_t)__cvta_generic_to_shared(chunks);
    ring.barriers = (uint32_t)__cvta_generic_to_shared(barriers + warp * p.depth);
    ring.depth = p.depth;
    stream_order order = {a, p, unit};
    ring.begin(order);
    stream_number number = number_of(a, p, blockIdx.x);
    if (a.normed)
        norm_to_pairs(a, column_tiles * RILL_TILE_COLUMNS, pairs);
    else
        halves_to_pairs(a, column_tiles * RILL_TILE_COLUMNS, pairs);
    __syncthreads();

    const uint32_t *x = pairs + ((lane / 4 < a.n_rows ? lane / 4 : 0) * 4 + lane % 4) * 4;
    uint32_t in_turn = warp;  // units
    for (uint32_t first = blockIdx.x; first < p.n_items; first += p.turn * gridDim.x) {
        if (number.there && a.after == AFTER_ADD)
            number.operands.before = a.out[number.matrix][number.at];
        for (; in_turn < p.turn * p.n_units && unit.item < p.n_items; in_turn += STREAM_WARPS) {
            uint32_t segment = unit.part < p.n_segments ? unit.part : unit.part - p.n_segments;
            sum_unit<KIND>(a, ring, order, chunks, x + segment * SEGMENT_TILES * tile_words,
                           segment_tiles(a.weights[0], segment), parts + in_turn * unit_floats);
            unit = unit_at(unit.item, unit.part + STREAM_WARPS, p);
        }
        in_turn -= p.turn * p.n_units;
        __syncthreads();
        if (number.there)
            finish_product(a, number.matrix, number.row, number.at,
                           parts + threadIdx.x / unit_floats * p.n_units * unit_floats +
                               threadIdx.x % unit_floats,
                           unit_floats, p.n_segments, number.operands);
        number = number_of(a, p, first + p.turn * gridDim.x);
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
    size_t slots = STREAM_WARPS * (chunk_bytes<KIND> + sizeof(uint64_t));
    size_t turn = STREAM_THREADS / (a.n_rows * RILL_TILE_ROWS);
    if (turn > STREAM_SUMS / sums) turn = STREAM_SUMS / sums;
    if (turn > (p.n_items + blocks - 1) / blocks) turn = (p.n_items + blocks - 1) / blocks;
    if (turn == 0 || x + turn * sums + 2 * slots > shared) turn = 1;
    p.turn = (uint32_t)turn;
    if (x + turn * sums < shared) p.depth = (uint32_t)((shared - x - turn * sums) / slots);
    return p;
}

// False where it does not fit.
template <int KIND> static bool start_stream(rill__cuda *cu, const product_args *args) {
    product_args a = *args;
    for (uint32_t m = 0; m < a.n_matrices; m++)
        a.first_tile[m + 1] =
            a.first_tile[m] + (a.weights[m].rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
    uint32_t n_items = a.first_tile[a.after == AFTER_ACTIVATE ? 1 : a.n_matrices];
    uint32_t blocks = n_items < (uint32_t)cu->processors ? n_items : (uint32_t)cu->processors;
    bool small = cu->n_started > 0 && cu->large_started == cu->n_started;
    size_t shared = small ? STREAM_SMALL : STREAM_LARGE;
    stream_plan p = stream_plan_of<KIND>(a, blocks, shared);
    if (p.depth * STREAM_WARPS * chunk_bytes<KIND> < STREAM_RINGS)
        p = stream_plan_of<KIND>(a, blocks, shared = STREAM_MOST);
    if (p.depth < 2) return false;
    const void *kernel = (const void *)product_stream<KIND>;
    RILL_CUDA_TRY(cu, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           (int)STREAM_MOST));
    // Else there may be room for one block alone.
    RILL_CUDA_TRY(cu, cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                           cudaSharedmemCarveoutMaxShared));
    rill__cuda_start(cu, "product_stream", product_stream<KIND>, dim3(blocks), STREAM_THREADS,
                     shared, a, p);
    if (shared == STREAM_LARGE) cu->large_started = cu->n_started;
    return true;
}

#endif
