// SPDX-License-Identifier: MIT
// Products of a few rows, bound by memory: every warp reads weights of its own. See product.cuh.
#ifndef RILL_BACKEND_CUDA_PRODUCT_FEW_CUH
#define RILL_BACKEND_CUDA_PRODUCT_FEW_CUH

#include "backend/cuda/product.cuh"

// `x` points at the lane's first pair of its row in the tile's columns, and `rows` has all bits set
// where 8 n + lane / 4 is a row, for columns of mma that are none count as zeros. WHOLE: all of the
// tile's columns are there, `left` are otherwise.
template <int KIND, int NT, bool WHOLE>
static __device__ __forceinline__ void
multiply_tile(const tile_words<KIND> &words, const __half *const x[NT], const uint32_t rows[NT],
              uint32_t column0, uint32_t left, int lane, float c[NT][4]) {
#pragma unroll
    for (int f = 0; f < 4; f++) {
        uint32_t w[4];
        unpack<KIND>(words, f, w);
#pragma unroll
        for (int n = 0; n < NT; n++) {
            uint32_t b[2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32_t at = 16 * f + 8 * i;
                b[i] = WHOLE || at + 2 * (lane % 4) < left
                           ? *(const uint32_t *)(x[n] + column0 + at) & rows[n]
                           : 0;
            }
            mma(c[n], w, b[0], b[1]);
        }
    }
}

// The row of `normed` as halves in shared memory.
static __device__ void norm_to_shared(const product_args &a, __half *to) {
    __shared__ float warps[64];
    norm_state<float> s = norm_row<float>(a.norm, a.normed, warps);
    for (uint32_t at = 4 * threadIdx.x; at < a.columns; at += 4 * blockDim.x)
        rill__cuda_store4_halves(to, at, a.columns, norm_four(a.norm, s, a.normed, at), 1);
    __syncthreads();
}

// Where a block's work lies: 16 rows of one matrix, or of gate and up, half of its warps each.
struct few_place {
    uint32_t matrix;
    uint32_t tile;       // of the matrix
    uint32_t warp;       // among those of the matrix
    uint32_t n_warps;    // of a matrix
    uint32_t x_row0;     // of rows of x
    uint32_t n_rows;     // the end of rows of x
    uint32_t first_out;  // the first row of the matrix that is row 0 of out
    uint32_t rows;       // of out
};

static __device__ __forceinline__ few_place place_of(const product_args &a) {
    few_place p = {0, blockIdx.x, threadIdx.x / 32, blockDim.x / 32, 0, a.n_rows, 0, 0};
    if (a.after == AFTER_ACTIVATE) {
        p.n_warps /= a.n_matrices;
        p.matrix = p.warp / p.n_warps;
        p.warp %= p.n_warps;
    } else {
        p.matrix = matrix_of(a, blockIdx.x);
        p.tile -= a.first_tile[p.matrix];
    }
    p.rows = a.weights[p.matrix].rows;
    if (a.expert_of) {  // one row of x, and its expert's part of the matrix
        p.x_row0 = blockIdx.y;
        p.n_rows = blockIdx.y + 1;
        p.rows = a.part_rows;
    }
    return p;
}

// Matrices that a block multiplies.
static __host__ __device__ __forceinline__ uint32_t parts_of(const product_args &a) {
    return a.after == AFTER_ACTIVATE ? a.n_matrices : 1;
}

// Shared memory of a block: what every architecture from 8.0 on has.
static constexpr size_t MOST_FEW_SHARED = 99 << 10;

// How a warp gets the weights of a segment, of which it has one as a rule. Tiles of halves go to
// registers, some ahead of the one that is multiplied. All of a segment's codes are small enough to
// be sent to shared memory at once: memory is waited for once, and registers stay free for warps.
template <int KIND, int NT> struct few_tiles {
    static constexpr int AHEAD = NT > 1 ? 2 : 3;
    tile_words<KIND> ahead[AHEAD];

    __device__ __forceinline__ void begin(const rill__cuda_packed &w, size_t tile, uint32_t n,
                                          int lane, uint8_t *) {
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++)
            if (i < n) load_tile<KIND>(w, tile + i, lane, &ahead[i]);
    }
    __device__ __forceinline__ void arrive() {
    }
    __device__ __forceinline__ tile_words<KIND> take(const rill__cuda_packed &w, size_t tile,
                                                     uint32_t i, uint32_t n, int lane,
                                                     const uint8_t *) {
        tile_words<KIND> words = ahead[0];  // numbers that are known keep them in registers
#pragma unroll
        for (int j = 0; j + 1 < AHEAD; j++) ahead[j] = ahead[j + 1];
        if (i + AHEAD < n) load_tile<KIND>(w, tile + i + AHEAD, lane, &ahead[AHEAD - 1]);
        return words;
    }
};

static __device__ __forceinline__ void send(uint8_t *to, const void *from, uint32_t bytes,
                                            int lane) {
    for (uint32_t at = 16 * lane; at < bytes; at += 512)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                         (unsigned)__cvta_generic_to_shared(to + at)),
                     "l"((const uint8_t *)from + at));
}

// Shared memory of a warp's segment.
template <int KIND>
static constexpr uint32_t few_sent_bytes =
    KIND == RILL_KIND_HALF ? 0 : SEGMENT_TILES *rill__cuda_layout<KIND>::bytes;

template <int KIND> struct few_sent {
    static constexpr uint32_t BYTES = rill__cuda_layout<KIND>::bytes;

    __device__ __forceinline__ void begin(const rill__cuda_packed &w, size_t tile, uint32_t n,
                                          int lane, uint8_t *to) {
        __syncwarp();  // nobody reads the segment before any more
        send(to, w.tiles + tile * BYTES, n * BYTES, lane);
        asm volatile("cp.async.commit_group;");
    }
    __device__ __forceinline__ void arrive() {
        asm volatile("cp.async.wait_group 0;" ::: "memory");
        __syncwarp();
    }
    __device__ __forceinline__ tile_words<KIND> take(const rill__cuda_packed &, size_t, uint32_t i,
                                                     uint32_t, int lane, const uint8_t *from) {
        return tile_at<KIND>(from + i * BYTES, lane);
    }
};
template <int NT> struct few_tiles<RILL_KIND_4, NT> : few_sent<RILL_KIND_4> {};
template <int NT> struct few_tiles<RILL_KIND_4_MIN, NT> : few_sent<RILL_KIND_4_MIN> {};
template <int NT> struct few_tiles<RILL_KIND_5, NT> : few_sent<RILL_KIND_5> {};
template <int NT> struct few_tiles<RILL_KIND_5_MIN, NT> : few_sent<RILL_KIND_5_MIN> {};
template <int NT> struct few_tiles<RILL_KIND_6, NT> : few_sent<RILL_KIND_6> {};
template <int NT> struct few_tiles<RILL_KIND_8, NT> : few_sent<RILL_KIND_8> {};
template <int NT> struct few_tiles<RILL_KIND_FP4, NT> : few_sent<RILL_KIND_FP4> {};

// A warp's segments: sums go to parts[segment][8 NT columns of mma][16]. The first has begun.
template <int KIND, int NT, bool NORMED>
static __device__ __forceinline__ void sum_segments(const product_args &a, const few_place &p,
                                                    const __half *x, few_tiles<KIND, NT> &tiles,
                                                    uint8_t *sent, int lane, float *parts) {
    const rill__cuda_packed &w = a.weights[p.matrix];
    uint32_t n_segments = (w.column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    const __half *rows[NT];
    uint32_t is_row[NT];
    for (int n = 0; n < NT; n++) {
        uint32_t row = p.x_row0 + 8 * n + lane / 4;
        is_row[n] = row < p.n_rows ? ~0u : 0;
        rows[n] = x + 2 * (lane % 4);
        if (!NORMED) rows[n] += (size_t)(is_row[n] ? row : p.x_row0) * a.columns;
    }
    for (uint32_t s = p.warp; s < n_segments; s += p.n_warps) {
        float c[NT][4] = {};
        size_t at = (size_t)p.tile * w.column_tiles + s * SEGMENT_TILES;
        uint32_t n_tiles = segment_tiles(w, s);
        if (s != p.warp) tiles.begin(w, at, n_tiles, lane, sent);
        tiles.arrive();
#pragma unroll KIND == RILL_KIND_HALF ? SEGMENT_TILES : 1
        for (uint32_t i = 0; i < SEGMENT_TILES; i++) {
            if (i >= n_tiles) break;
            tile_words<KIND> words = tiles.take(w, at, i, n_tiles, lane, sent);
            uint32_t column = (s * SEGMENT_TILES + i) * RILL_TILE_COLUMNS,
                     left = a.columns - column;
            if (left >= RILL_TILE_COLUMNS)
                multiply_tile<KIND, NT, true>(words, rows, is_row, column, left, lane, c);
            else
                multiply_tile<KIND, NT, false>(words, rows, is_row, column, left, lane, c);
        }
        float *part = parts + s * (NT * 8 * 16);
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                part[(8 * n + 2 * (lane % 4) + i % 2) * 16 + lane / 4 + 8 * (i / 2)] = c[n][i];
    }
}

// A block has 16 rows of weights, its warps their segments; up to 8 NT rows of x.
template <int KIND, int NT, bool NORMED>
static __global__ void __launch_bounds__(32 * MOST_WARPS)
    product_few(const __grid_constant__ product_args a) {
    extern __shared__ float parts[];
    int lane = threadIdx.x % 32;
    few_place p = place_of(a);
    const rill__cuda_packed &w = a.weights[p.matrix];
    uint32_t n_segments = (w.column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    let_next_begin();
    if (a.expert_of) {
        wait_for_previous();
        p.first_out = a.expert_of[p.x_row0] * p.rows;
        p.tile += p.first_out / RILL_TILE_ROWS;
    }
    bool inside = p.tile * RILL_TILE_ROWS < w.rows;
    uint32_t part_floats = n_segments * (NT * 8 * 16);
    uint8_t *sent = (uint8_t *)(parts + parts_of(a) * part_floats);
    __half *x = (__half *)(sent + blockDim.x / 32 * few_sent_bytes<KIND>);
    sent += threadIdx.x / 32 * few_sent_bytes<KIND>;
    few_tiles<KIND, NT> tiles;
    if (inside && p.warp < n_segments) {
        size_t at = (size_t)p.tile * w.column_tiles + p.warp * SEGMENT_TILES;
        tiles.begin(w, at, segment_tiles(w, p.warp), lane, sent);
    }
    if (!a.expert_of) wait_for_previous();
    if (NORMED) norm_to_shared(a, x);
    if (inside)
        sum_segments<KIND, NT, NORMED>(a, p, NORMED ? x : a.x, tiles, sent, lane,
                                       parts + (a.after == AFTER_ACTIVATE ? p.matrix : 0) *
                                                   part_floats);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < NT * 8 * 16 && inside; i += blockDim.x) {
        uint32_t row = p.tile * RILL_TILE_ROWS + i % 16, x_row = p.x_row0 + i / 16;
        if (row < p.first_out || row - p.first_out >= p.rows || x_row >= p.n_rows) continue;
        size_t at = (size_t)x_row * p.rows + row - p.first_out;
        uint32_t first = a.after == AFTER_ACTIVATE ? 0 : p.matrix;
        finish_operands o = scales_of(a, first, row);
        if (a.after == AFTER_ADD) o.before = a.out[first][at];
        finish_product(a, first, row, at, parts + i, NT * 8 * 16, n_segments, o);
    }
}

template <int KIND>
static void start_few(rill__cuda *cu, const product_args *a, unsigned n_tiles, unsigned n_routed) {
    unsigned n_segments = (a->weights[0].column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    unsigned at_once = parts_of(*a), most = MOST_WARPS / at_once;
    int nt = n_routed || a->n_rows <= 8 ? 1 : a->n_rows <= 16 ? 2 : 4;
    unsigned threads;
    size_t bytes;
    do {  // fewer warps where a long row's parts leave too little shared memory
        unsigned rounds = (n_segments + most - 1) / most;
        threads = 32 * at_once * ((n_segments + rounds - 1) / rounds);
        bytes = (size_t)at_once * n_segments * nt * 8 * 16 * sizeof(float) +
                threads / 32 * few_sent_bytes<KIND>;
        if (a->normed) bytes += a->columns * sizeof(__half);
    } while (bytes > MOST_FEW_SHARED && (most /= 2) > 0);
    void (*kernel)(product_args) = nt == 1   ? product_few<KIND, 1, false>
                                   : nt == 2 ? product_few<KIND, 2, false>
                                             : product_few<KIND, 4, false>;
    if (a->normed) kernel = product_few<KIND, 1, true>;
    if (bytes > 48 << 10)
        RILL_CUDA_TRY(cu, cudaFuncSetAttribute((const void *)kernel,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               (int)bytes));
    rill__cuda_start(cu, "product_few", kernel, dim3(n_tiles, n_routed ? n_routed : 1), threads,
                     bytes, *a);
}

#endif
