// SPDX-License-Identifier: MIT
// Products of many rows with Hopper's wgmma, whose sums are the same bits as mma.sync's (both add
// 16 products and what is there in one step; tests/cuda/agreement_test.c holds it). See
// product.cuh.
//
// A block has warpgroups that multiply, 64 rows of weights each, and two warps that have copies
// brought to shared memory, weights as they are packed and rows of x, stages ahead; barriers tell
// what is full and what is empty, so nobody waits for a whole block. Two blocks of a cluster have
// the same rows of x and bring each other half of them. Blocks go from one piece of the output to
// the next until all is done.
#ifndef RILL_BACKEND_CUDA_PRODUCT_WIDE_CUH
#define RILL_BACKEND_CUDA_PRODUCT_WIDE_CUH

#include "backend/cuda/bulk.cuh"
#include "backend/cuda/product.cuh"
#include "backend/cuda/wgmma.cuh"

// How a block works: GROUPS warpgroups, N rows of x, in clusters of CLUSTER blocks.
template <int KIND, int N_ROWS, int N_GROUPS, int N_CLUSTER> struct wide_shape {
    using L = rill__cuda_layout<KIND>;
    static constexpr int kind = KIND, rows = N_ROWS, groups = N_GROUPS, cluster = N_CLUSTER;
    static constexpr int threads = 128 * groups + 128, row_tiles = 4 * groups;
    static constexpr int blocks = groups == 1 ? 2 : 1;  // of a multiprocessor
    // Registers of 65536 / blocks: warpgroups that multiply take what the copying one leaves.
    static constexpr int copying = groups == 1 ? 40 : 24, multiplying = groups == 1 ? 216 : 240;
    // A stage of weights has a few tiles of each row of tiles, 2 KB of codes.
    static constexpr uint32_t deep = 2048 / (L::code_words * 128);
    static constexpr uint32_t row_bytes = deep * L::bytes, weights_bytes = row_tiles * row_bytes;
    static constexpr uint32_t x_bytes = rows * RILL_TILE_COLUMNS * sizeof(__half);
    // What is activated passes through: of blocks of two warpgroups alone.
    static constexpr uint32_t swap_bytes = groups == 2 ? 16 << 10 : 0;
    static constexpr uint32_t room = (groups == 1 ? 112 << 10 : 226 << 10) - 1024 - 512;
    static constexpr int x_stages = groups == 1 ? (rows == 64 ? 5 : 3) : rows == 192 ? 5 : 7;
    static constexpr int weight_stages = (room - swap_bytes - x_stages * x_bytes) / weights_bytes;
    static constexpr uint32_t weights_at = x_stages * x_bytes,
                              swap_at = weights_at + weight_stages * weights_bytes,
                              barriers_at = swap_at + swap_bytes;
    // Dynamic shared memory, aligned to 1024 bytes by the kernel.
    static constexpr size_t bytes = barriers_at + 16 * (x_stages + weight_stages) + 1024;
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
static __device__ __forceinline__ bool take_piece(const wide_pieces &all, uint32_t *turn,
                                                  wide_piece *p) {
    if (*turn >= all.x * (all.weights / S::cluster)) return false;
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

// A warp whose lanes have a row of tiles each.
template <class S>
static __device__ void bring_weights(const product_args &a, const wide_pieces &all, uint32_t stages,
                                     ring<S::weight_stages> r) {
    uint32_t lane = threadIdx.x % 32, n_tiles = a.weights[0].column_tiles;
    wide_piece p;
    for (uint32_t turn = first_piece<S>(); take_piece<S>(all, &turn, &p);) {
        wide_place at = place_of_group<S>(a, p.weights, lane / 4 % S::groups);
        const rill__cuda_packed &w = a.weights[at.matrix];
        uint32_t tile = at.tile + lane % 4;
        bool mine = lane < S::row_tiles && tile * RILL_TILE_ROWS < w.rows;
        uint32_t n_rows = __popc(__ballot_sync(~0u, mine));
        for (uint32_t t = 0; t < n_tiles; t += S::deep, r.next()) {
            uint32_t n = min(S::deep, n_tiles - t);
            await(r.empty(), r.phase ^ 1);
            if (lane == 0) arrive_expecting(r.full(), n_rows * n * S::L::bytes);
            if (!mine) continue;
            size_t from = (size_t)tile * n_tiles + t;
            uint32_t to = stages + r.stage * S::weights_bytes + lane * S::row_bytes;
            copy_bulk(to, w.tiles + from * S::L::bytes, n * S::L::bytes, r.full());
        }
    }
}

// Rows of x, 64 columns at a time: a block brings its part of them to all of the cluster.
template <class S>
static __device__ void bring_rows(const product_args &a, const wide_pieces &all,
                                  const CUtensorMap *map, uint32_t stages, ring<S::x_stages> r) {
    constexpr uint32_t part = S::rows / S::cluster, everybody = (1 << S::cluster) - 1;
    uint32_t n_tiles = a.weights[0].column_tiles;
    uint32_t first = S::cluster > 1 ? block_in_cluster() * part : 0;
    bool leads = threadIdx.x % 32 == 0;
    wait_for_previous();
    wide_piece p;
    for (uint32_t turn = first_piece<S>(); take_piece<S>(all, &turn, &p);) {
        for (uint32_t t = 0; t < n_tiles; t++, r.next()) {
            await(r.empty(), r.phase ^ 1);
            if (!leads) continue;
            arrive_expecting(r.full(), S::x_bytes);
            uint32_t to = stages + r.stage * S::x_bytes + first * RILL_TILE_COLUMNS * 2;
            uint32_t column = t * RILL_TILE_COLUMNS, row = p.x_row0 + first;
            if (S::cluster > 1)
                copy_box_to(to, map, column, row, r.full(), everybody);
            else
                copy_box(to, map, column, row, r.full());
        }
    }
}

// A warp no longer reads a stage of x, of which other blocks bring parts.
template <class S>
static __device__ __forceinline__ void leave_rows(const ring<S::x_stages> &r, uint32_t stage,
                                                  int lane) {
    uint32_t barrier = r.barriers + 8 * (S::x_stages + stage);
    if (S::cluster > 1)
        arrive_at_if(lane < S::cluster, barrier, lane % S::cluster);
    else
        arrive_if(lane == 0, barrier);
}

// Fragment f of tile i of the stage of weights where a warp's row of tiles lies. Words of codes
// are kept from fragment to fragment, but not halves: those are as many as there are fragments.
template <class S>
static __device__ __forceinline__ void take_fragment(const uint8_t *from, uint32_t i, int f,
                                                     int lane, tile_words<S::kind> &words,
                                                     uint32_t (&v)[4]) {
    using L = rill__cuda_layout<S::kind>;
    from += i * L::bytes;
    if constexpr (L::half) {
        uint4 c = ((const uint4 *)from)[32 * f + lane];
        v[0] = c.x, v[1] = c.y, v[2] = c.z, v[3] = c.w;
    } else {
        if (f == 0) words = tile_at<S::kind>(from, lane);
        unpack<S::kind>(words, f, v);
    }
}

// What a warp has of the rings, from tile to tile.
template <class S> struct wide_rings {
    ring<S::x_stages> x;
    ring<S::weight_stages> weights;
    uint32_t stages;     // of x
    const uint8_t *row;  // the warp's row of tiles in the first stage of weights
    uint32_t last;       // the stage of x before
};

// Tile t's products, queued behind those of the tile before: once all of its fragments are taken,
// or one by one as soon as no more than three are in work.
template <class S, bool AT_ONCE>
static __device__ __forceinline__ void multiply_tile(wide_rings<S> &r, uint32_t t, uint32_t n_tiles,
                                                     int lane, float (&sum)[S::rows / 2],
                                                     uint32_t (&v)[4][4]) {
    uint32_t i = t % S::deep;
    if (i == 0) await(r.weights.full(), r.weights.phase);
    const uint8_t *from = r.row + r.weights.stage * S::weights_bytes;
    const swizzled x = swizzled_rows(r.stages + r.x.stage * S::x_bytes);
    tile_words<S::kind> words;
    if (AT_ONCE) {
#pragma unroll
        for (int f = 0; f < 4; f++) take_fragment<S>(from, i, f, lane, words, v[f]);
        await(r.x.full(), r.x.phase);
        wgmma_fence();
#pragma unroll
        for (int f = 0; f < 4; f++) wgmma(sum, v[f], x.at(32 * f), f > 0 || t % SEGMENT_TILES > 0);
        wgmma_commit();
    } else {
        await(r.x.full(), r.x.phase);
#pragma unroll
        for (int f = 0; f < 4; f++) {
            wgmma_wait<3>();  // nobody reads v[f] any more
            take_fragment<S>(from, i, f, lane, words, v[f]);
            wgmma_fence();
            wgmma(sum, v[f], x.at(32 * f), f > 0 || t % SEGMENT_TILES > 0);
            wgmma_commit();
        }
    }
    bool left = i == S::deep - 1 || t + 1 == n_tiles;
    arrive_if(lane == 0 && left, r.weights.empty());
    if (left) r.weights.next();
    wgmma_wait<AT_ONCE ? 1 : 3>();  // the tile before is done, up to its end
    if (t % SEGMENT_TILES > 0) leave_rows<S>(r.x, r.last, lane);
    r.last = r.x.stage;
    r.x.next();
}

// A warpgroup's sums: as product.cuh has them. Where registers suffice for two tiles' fragments, a
// tile is taken while the one before is multiplied; else a fragment while three are.
template <class S>
static __device__ __forceinline__ void sum_rows(wide_rings<S> &r, uint32_t n_tiles, int lane,
                                                float (&total)[S::rows / 2]) {
    constexpr bool at_once = S::rows <= 128;
    float sum[S::rows / 2] = {};
    uint32_t v[at_once ? 2 : 1][4][4];
    for (uint32_t t = 0; t < n_tiles;) {
        uint32_t end = min(t + SEGMENT_TILES, n_tiles);
        if (at_once) {
#pragma unroll 1
            for (; t + 1 < end; t += 2) {
                multiply_tile<S, true>(r, t, n_tiles, lane, sum, v[0]);
                multiply_tile<S, true>(r, t + 1, n_tiles, lane, sum, v[at_once]);
            }
        }
#pragma unroll 1
        for (; t < end; t++) multiply_tile<S, at_once>(r, t, n_tiles, lane, sum, v[0]);
        wgmma_wait<0>();
        leave_rows<S>(r.x, r.last, lane);
#pragma unroll
        for (int j = 0; j < S::rows / 2; j++) total[j] = __fadd_rn(total[j], sum[j]);
    }
}

// What a thread's sums become: number i is of row `row` + 8 (i % 4 / 2) of the matrix and row
// `x_row` + 8 (i / 4) + i % 2 of x.
struct wide_sums {
    uint32_t matrix;
    uint32_t rows;  // of the matrix
    uint32_t row;
    uint32_t x_row;
    uint32_t n_rows;  // of x

    __device__ __forceinline__ size_t at(uint32_t i) const {
        return (size_t)(x_row + 8 * (i / 4) + i % 2) * rows + row + 8 * (i % 4 / 2);
    }
    __device__ __forceinline__ bool inside(uint32_t i) const {
        return x_row + 8 * (i / 4) + i % 2 < n_rows && row + 8 * (i % 4 / 2) < rows;
    }
};

template <int N>
static __device__ __forceinline__ void finish_sums(const product_args &a, const wide_sums &s,
                                                   float (&y)[N]) {
    const rill__cuda_packed &w = a.weights[s.matrix];
    const float *bias = a.bias[s.matrix];
    float scales[2], biases[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        bool inside = s.row + 8 * i < s.rows;
        scales[i] = inside ? w.row_scales[s.row + 8 * i] : 0;
        biases[i] = inside && bias ? bias[s.row + 8 * i] : 0;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        y[i] = finished(y[i], scales[i % 4 / 2], a.inverse, nullptr, 0);
        if (bias) y[i] = __fadd_rn(y[i], biases[i % 4 / 2]);
    }
}

// Stored, or added to what is there, which is read many numbers at a time.
template <int N>
static __device__ __forceinline__ void store_sums(const product_args &a, const wide_sums &s,
                                                  const float (&y)[N]) {
    float *out = a.out[s.matrix];
#pragma unroll
    for (int part = 0; part < N; part += 32) {
        float z[32];
#pragma unroll
        for (int i = 0; i < 32; i++)
            z[i] = a.after == AFTER_ADD && s.inside(part + i) ? out[s.at(part + i)] : 0;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            float value = y[part + i];
            if (a.after == AFTER_ADD) value = __fadd_rn(z[i], value);
            if (s.inside(part + i)) out[s.at(part + i)] = value;
        }
    }
}

// Numbers [from, from + 4) of a thread, 16 rows and 8 rows of x of a warp, as float16: transposed,
// so that a lane has neighbours in memory.
static __device__ __forceinline__ void store_halves(__half *to, const wide_sums &s, uint32_t from,
                                                    const float y[4], int lane) {
    uint32_t pairs[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        pairs[i] = as_bits(__floats2half2_rn(y[2 * i] * RILL_CUDA_GATED_SCALE,
                                             y[2 * i + 1] * RILL_CUDA_GATED_SCALE));
        asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;" : "+r"(pairs[i]));
    }
    uint32_t x_row = s.x_row - 2 * (lane % 4) + 2 * from + lane / 4;
    uint32_t row = s.row - lane / 4 + 2 * (lane % 4);
    __half *at = to + (size_t)x_row * s.rows + row;
#pragma unroll
    for (int i = 0; i < 2; i++, row += 8, at += 8) {
        if (x_row >= s.n_rows || row >= s.rows) continue;
        if (s.rows % 2 == 0) {
            *(uint32_t *)at = pairs[i];
            continue;
        }
        at[0] = __low2half(as_half2(pairs[i]));
        if (row + 1 < s.rows) at[1] = __high2half(as_half2(pairs[i]));
    }
}

// Numbers pass through shared memory, 16 at a time. Where gate and up meet, a thread of either
// warpgroup has the same places as one of the other, and activates half of what both bring.
template <int N>
static __device__ __forceinline__ void activate_sums(const product_args &a, const wide_sums &s,
                                                     float *swap, int lane, const float (&y)[N]) {
    enum { PART = 16, APART = 128, GROUP = PART * APART };
    bool paired = is_paired(a);
    uint32_t group = threadIdx.x / 128;
    float *mine = swap + group * GROUP + threadIdx.x % 128;
    const float *gates = paired ? mine - group * GROUP : mine, *ups = gates + GROUP;
    uint32_t first = paired ? group * (PART / 2) : 0, n = paired ? PART / 2 : PART;
#pragma unroll
    for (int part = 0; part < N; part += PART) {
        if (paired) meet(1, 256);  // nobody reads what was there before
#pragma unroll
        for (int i = 0; i < PART; i++) mine[i * APART] = y[part + i];
        if (paired) meet(1, 256);
#pragma unroll 1
        for (uint32_t i = first; i < first + n; i += 4) {
            float z[4];
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                float gate = gates[(i + j) * APART], up = paired ? ups[(i + j) * APART] : 1;
                z[j] = activated(a.activation, gate, up, a.limit);
                if (a.out[0] && s.inside(part + i + j)) a.out[0][s.at(part + i + j)] = z[j];
            }
            if (a.half) store_halves(a.half, s, part + i, z, lane);
        }
    }
}

// A warpgroup that multiplies.
template <class S>
static __device__ __forceinline__ void multiply_rows(const product_args &a, const wide_pieces &all,
                                                     uint8_t *shared, ring<S::x_stages> xs,
                                                     ring<S::weight_stages> ws) {
    uint32_t warp = threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    wide_rings<S> r = {xs, ws, shared_address(shared), shared + S::weights_at + warp * S::row_bytes,
                       0};
    wide_piece p;
    wait_for_previous();
    for (uint32_t turn = first_piece<S>(); take_piece<S>(all, &turn, &p);) {
        float total[S::rows / 2] = {};
        sum_rows<S>(r, a.weights[0].column_tiles, lane, total);
        wide_place at = place_of_group<S>(a, p.weights, warp / 4);
        uint32_t rows = a.weights[at.matrix].rows;
        const wide_sums s = {at.matrix, rows, (at.tile + warp % 4) * RILL_TILE_ROWS + lane / 4,
                             p.x_row0 + 2 * (lane % 4), a.n_rows};
        finish_sums(a, s, total);
        if (S::groups == 2 && a.after == AFTER_ACTIVATE)
            activate_sums(a, s, (float *)(shared + S::swap_at), lane, total);
        else
            store_sums(a, s, total);
    }
}
#endif

template <class S>
static __global__ void __launch_bounds__(S::threads, S::blocks)
    product_wide(const __grid_constant__ product_args a, const __grid_constant__ CUtensorMap map,
                 wide_pieces all) {
#ifdef RILL_WGMMA
    extern __shared__ uint8_t unaligned[];
    uint8_t *shared = unaligned + (-shared_address(unaligned) & 1023);
    uint32_t base = shared_address(shared);
    ring<S::x_stages> xs = {base + S::barriers_at};
    ring<S::weight_stages> ws = {base + S::barriers_at + 16 * S::x_stages};
    let_next_begin();
    if (threadIdx.x == 0) {
        xs.make(1, S::row_tiles * S::cluster);
        ws.make(1, S::row_tiles);
        barriers_made();
    }
    S::cluster > 1 ? cluster_sync() : __syncthreads();
    if (threadIdx.x / 128 == S::groups) {
        leave_registers<S::copying>();
        if (threadIdx.x / 32 == S::row_tiles) bring_weights<S>(a, all, base + S::weights_at, ws);
        if (threadIdx.x / 32 == S::row_tiles + 1) bring_rows<S>(a, all, &map, base, xs);
    } else {
        take_registers<S::multiplying>();
        multiply_rows<S>(a, all, shared, xs, ws);
    }
    if (S::cluster > 1) cluster_sync();  // nobody's shared memory goes while others reach into it
#endif
}

// Rows of x as their copies see them: boxes of 64 columns and `box` rows, in the 128-byte swizzle.
// What is beyond the last column or row becomes zeros.
static inline bool map_rows(rill__cuda *cu, const product_args *a, uint32_t box, CUtensorMap *map) {
    static void *encode = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSuccess;
    if (!encode &&
        RILL_CUDA_TRY(cu, cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000,
                                                           cudaEnableDefault, &found)))
        return false;
    const cuuint64_t size[] = {a->columns, a->n_rows}, stride[] = {a->columns * sizeof(__half)};
    const cuuint32_t boxes[] = {RILL_TILE_COLUMNS, box}, steps[] = {1, 1};
    CUresult result = CUDA_ERROR_NOT_FOUND;
    if (encode)
        result = ((decltype(&cuTensorMapEncodeTiled))encode)(
            map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, (void *)a->x, size, stride, boxes, steps,
            CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
            CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return !rill__cuda_failed(cu, result ? cudaErrorInvalidValue : cudaSuccess,
                              "cuTensorMapEncodeTiled", __FILE__, __LINE__);
}

// Pieces of the output, for a shape.
template <class S> static wide_pieces pieces_of(const product_args *a) {
    bool paired = a->after == AFTER_ACTIVATE && a->n_matrices > 1;
    uint32_t tiles = paired ? 2 * a->first_tile[1] : a->first_tile[a->n_matrices];
    uint32_t together = S::row_tiles * S::cluster;
    return {(a->n_rows + S::rows - 1) / S::rows, (tiles + together - 1) / together * S::cluster};
}

template <class S> static void start_wide(rill__cuda *cu, const product_args *a) {
    CUtensorMap map;
    if (!map_rows(cu, a, S::rows / S::cluster, &map)) return;
    RILL_CUDA_TRY(cu,
                  cudaFuncSetAttribute((const void *)product_wide<S>,
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, (int)S::bytes));
    wide_pieces all = pieces_of<S>(a);
    uint32_t room = (uint32_t)cu->processors * S::blocks / S::cluster * S::cluster;
    uint32_t wanted = all.x * all.weights;
    rill__cuda_start_clusters(cu, "product_wide", product_wide<S>, S::cluster,
                              wanted < room ? wanted : room, S::threads, S::bytes, *a, map, all);
}

#endif
