// SPDX-License-Identifier: MIT
// Rings of weights in shared memory, for products of few rows on Hopper: each warp of a block has
// one for itself, which bulk copies keep full across all that the warp has to sum. Weights depend
// on nothing, so rings are filled before a kernel waits for the one before it; and a block takes
// about half of the shared memory, so that happens while the product before still runs.
#ifndef RILL_BACKEND_CUDA_PRODUCT_RING_CUH
#define RILL_BACKEND_CUDA_PRODUCT_RING_CUH

#include "backend/cuda/bulk.cuh"
#include "backend/cuda/product.cuh"

enum { STREAM_WARPS = 16, STREAM_THREADS = 32 * STREAM_WARPS };

// Shared memory of a block, of the 228 KB of a multiprocessor, of which the system takes 1 KB a
// block: more than half, so that no multiprocessor has two blocks and another none, or what is left
// beside such a block. A product is large unless it follows a large one.
static constexpr size_t STREAM_LARGE = 113 << 10, STREAM_SMALL = 112 << 10;
// What a block may have at most, where rows of x leave less of that for rings than these.
static constexpr size_t STREAM_MOST = 224 << 10, STREAM_RINGS = 48 << 10;

// Tiles that are sent at once: one or two kilobytes.
template <int KIND> static constexpr uint32_t chunk_tiles = KIND == RILL_KIND_HALF ? 1 : 2;

// ---- Rows of x ----------------------------------------------------------------------------------

// Where a pair of columns lies in shared memory, in words: of half a tile all rows; of these what a
// lane of mma has of two fragments' operand B.
static __device__ __forceinline__ uint32_t place_of_pair(uint32_t row, uint32_t n_rows,
                                                         uint32_t column) {
    uint32_t lane = column / 2 % 4, word = column / 8 % 4;
    return ((column / 32 * n_rows + row) * 4 + lane) * 4 + word;
}

// Columns [0, end) of x, zeros where it has none.
static __device__ __forceinline__ void halves_to_pairs(const product_args &a, uint32_t end,
                                                       uint32_t *to) {
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
// ---- Rings --------------------------------------------------------------------------------------

// The same in all lanes, and the compiler knows.
static __device__ __forceinline__ uint32_t warp_of_block() {
    return __shfl_sync(~0u, threadIdx.x / 32, 0);
}

// Where a segment of a row tile begins.
static __device__ __forceinline__ const uint8_t *
segment_at(const rill__cuda_packed &w, uint32_t tile, uint32_t segment, uint32_t tile_bytes) {
    return w.tiles + ((size_t)tile * w.column_tiles + segment * SEGMENT_TILES) * tile_bytes;
}

// A warp's ring of chunks. All lanes know all of it, one copies. The chunk whose turn it is is
// read, and sent for again. What comes next is the order's business: take() gives a segment.
template <int KIND> struct tile_ring {
    static constexpr uint32_t TILES = chunk_tiles<KIND>, BYTES = rill__cuda_layout<KIND>::bytes,
                              CHUNK = TILES * BYTES;
    const uint8_t *chunks;  // [depth]
    uint32_t memory;        // the same
    uint32_t barriers;      // [depth]
    uint32_t depth;
    uint64_t policy;
    const uint8_t *tiles;  // to send, of a segment
    uint32_t left;         // of them
    uint32_t slot;         // whose turn it is
    uint32_t parity;       // of its barrier

    // All warps' rings begin the block's memory. What is behind them.
    template <class Order>
    __device__ __forceinline__ uint8_t *begin(uint8_t *block, uint32_t warp, uint32_t n,
                                              Order &order) {
        depth = n;
        chunks = block + warp * depth * CHUNK;
        memory = shared_address(chunks);
        uint8_t *end = block + STREAM_WARPS * depth * CHUNK;
        barriers = shared_address(end) + 8 * depth * warp;
        policy = read_once_policy();
        left = slot = 0;
        if (is_leader()) {
            for (uint32_t i = 0; i < depth; i++) barrier_new(barriers + 8 * i, 1);
            barriers_made();
        }
        __syncwarp();
        for (uint32_t i = 0; i < depth; i++) send(order);
        parity = 0;
        return end + 8 * STREAM_WARPS * depth;
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
                copy_bulk_once(memory + slot * CHUNK, tiles, n, barrier, policy);
            }
            tiles += CHUNK;
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
        uint32_t v[4];
        unpack<KIND>(words, f, v);
        mma(c, v, b.x, b.y);
        unpack<KIND>(words, f + 1, v);
        mma(c, v, b.z, b.w);
    }
}

// The next segment in a warp's ring: `x` are the lane's pairs of its first tile, the sums go to
// part [row of x, 16].
template <int KIND, class Order>
static __device__ __forceinline__ void sum_segment(tile_ring<KIND> &ring, Order &order,
                                                   const uint32_t *x, uint32_t n_rows,
                                                   uint32_t n_tiles, float *part) {
    constexpr uint32_t TILES = chunk_tiles<KIND>;
    const uint32_t lane = threadIdx.x % 32, half_words = n_rows * 16;
    float c[4] = {};
    auto multiply = [&](const uint8_t *tile) {
        multiply_pairs<KIND>(tile_at<KIND>(tile, (int)lane), x, half_words, c);
        x += 2 * half_words;
    };
    for (uint32_t left = n_tiles; left > 0; left -= min(left, TILES)) {
        const uint8_t *from = ring.chunks + ring.slot * ring.CHUNK;
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
        if (n < n_rows) part[n * RILL_TILE_ROWS + lane / 4 + 8 * (i / 2)] = c[i];
    }
}
#endif

// ---- What is started ----------------------------------------------------------------------------

// A chunk of each warp's ring.
template <int KIND>
static constexpr size_t chunks_bytes =
    STREAM_WARPS *(chunk_tiles<KIND> *rill__cuda_layout<KIND>::bytes + sizeof(uint64_t));

static inline size_t shared_for_rings(const rill__cuda *cu) {
    bool small = cu->n_started > 0 && cu->large_started == cu->n_started;
    return small ? STREAM_SMALL : STREAM_LARGE;
}

// Matrices follow one another. Row tiles of all, or of gate where gate and up are activated.
static inline uint32_t number_tiles(product_args *a) {
    for (uint32_t m = 0; m < a->n_matrices; m++)
        a->first_tile[m + 1] =
            a->first_tile[m] + (a->weights[m].rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
    return a->first_tile[a->after == AFTER_ACTIVATE ? 1 : a->n_matrices];
}

template <class Plan>
static void start_rings(rill__cuda *cu, const char *name, void (*kernel)(product_args, Plan),
                        uint32_t blocks, size_t shared, const product_args &a, Plan p) {
    RILL_CUDA_TRY(cu, cudaFuncSetAttribute((const void *)kernel,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           (int)STREAM_MOST));
    // Else there may be room for one block alone.
    RILL_CUDA_TRY(cu, cudaFuncSetAttribute((const void *)kernel,
                                           cudaFuncAttributePreferredSharedMemoryCarveout,
                                           cudaSharedmemCarveoutMaxShared));
    rill__cuda_start(cu, name, kernel, dim3(blocks), STREAM_THREADS, shared, a, p);
    if (shared == STREAM_LARGE) cu->large_started = cu->n_started;
}

#endif
