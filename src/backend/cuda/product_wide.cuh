// SPDX-License-Identifier: MIT
// Products of many rows with Hopper's wgmma, whose sums are the same bits as mma.sync's (both add
// 16 products and what is there in one step; tests/cuda/agreement_test.c holds it). See
// product.cuh.
//
// A block has warpgroups that multiply, 64 rows of weights each, and two warps that have copies
// brought to shared memory, weights as they are packed and rows of x, stages ahead; barriers tell
// what is full and what is empty, so nobody waits for a whole block. Two blocks of a cluster have
// the same rows of x and bring each other half of them. Blocks go from one piece of the output to
// the next until all is done; what is activated two more warps send out meanwhile.
#ifndef RILL_BACKEND_CUDA_PRODUCT_WIDE_CUH
#define RILL_BACKEND_CUDA_PRODUCT_WIDE_CUH

#include "backend/cuda/product_sums.cuh"

#ifdef RILL_WGMMA

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
// or two by two while the two before are in work.
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
        for (int f = 0; f < 4; f += 2) {
            wgmma_wait<1>();  // nobody reads v[f] and v[f + 1] any more
            take_fragment<S>(from, i, f, lane, words, v[f]);
            take_fragment<S>(from, i, f + 1, lane, words, v[f + 1]);
            wgmma_fence();
            wgmma(sum, v[f], x.at(32 * f), f > 0 || t % SEGMENT_TILES > 0);
            wgmma(sum, v[f + 1], x.at(32 * (f + 1)), 1);
            wgmma_commit();
        }
    }
    bool left = i == S::deep - 1 || t + 1 == n_tiles;
    arrive_if(left, r.weights.empty());  // each lane for what it has read itself
    if (left) r.weights.next();
    wgmma_wait<AT_ONCE ? 1 : 2>();  // the tile before is done, up to its end
    if (t % SEGMENT_TILES > 0) leave_rows<S>(r.x, r.last, lane);
    r.last = r.x.stage;
    r.x.next();
}

// A warpgroup's sums: as product.cuh has them. Where registers suffice for two tiles' fragments, a
// tile is taken while the one before is multiplied; else half of one.
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

// Two warps that send out a piece's sums while the next piece is multiplied.
enum { SENDERS = 64 };
template <class S>
static __device__ void send_pieces(const product_args &a, const wide_pieces &all, const float *sums,
                                   ring<1> r) {
    wide_piece p;
    wait_for_previous();
    for (uint32_t turn = first_piece<S>(); take_piece<S>(all, &turn, &p) && !is_end<S>(all, turn);
         r.next()) {
        await(r.full(), r.phase);
        activate_sums<S>(a, place_of_group<S>(a, p.weights, 0), p.x_row0, sums,
                         threadIdx.x % SENDERS, SENDERS);
        arrive_if(true, r.empty());
    }
}

// A piece is left to those that send; after the last there is nothing to multiply, and all that do
// send.
template <class S>
static __device__ __forceinline__ void leave_piece(const product_args &a, const wide_piece &p,
                                                   bool last, float *sums, ring<1> *r,
                                                   const float (&total)[S::rows / 2]) {
    int lane = threadIdx.x % 32;
    await(r->empty(), r->phase ^ 1);
    leave_sums<S>(sums, lane, total);
    arrive_if(!last, r->full());
    r->next();
    if (!last) return;
    meet(1, 128 * S::groups);
    activate_sums<S>(a, place_of_group<S>(a, p.weights, 0), p.x_row0, sums, threadIdx.x,
                     128 * S::groups);
}

// A warpgroup that multiplies.
template <class S>
static __device__ __forceinline__ void multiply_rows(const product_args &a, const wide_pieces &all,
                                                     uint8_t *shared, ring<S::x_stages> xs,
                                                     ring<S::weight_stages> ws, ring<1> out) {
    uint32_t warp = threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    wide_rings<S> r = {xs, ws, shared_address(shared), shared + S::weights_at + warp * S::row_bytes,
                       0};
    wide_piece p;
    wait_for_previous();
    for (uint32_t turn = first_piece<S>(); take_piece<S>(all, &turn, &p);) {
        float total[S::rows / 2] = {};
        sum_rows<S>(r, a.weights[0].column_tiles, lane, total);
        if constexpr (S::sends) {
            float *sums = (float *)(shared + S::sums_at);
            leave_piece<S>(a, p, is_end<S>(all, turn), sums, &out, total);
        } else {
            wide_place at = place_of_group<S>(a, p.weights, warp / 4);
            const wide_sums to = {at.matrix, a.weights[at.matrix].rows,
                                  (at.tile + warp % 4) * RILL_TILE_ROWS + lane / 4,
                                  p.x_row0 + 2 * (lane % 4), a.n_rows};
            finish_sums(a, to, total);
            store_sums(a, to, total);
        }
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
    ring<1> out = {base + S::barriers_at + 16 * (S::x_stages + S::weight_stages)};
    let_next_begin();
    if (threadIdx.x == 0) {
        xs.make(1, S::row_tiles * S::cluster);
        ws.make(1, 32 * S::row_tiles);
        out.make(32 * S::row_tiles, SENDERS);
        barriers_made();
    }
    S::cluster > 1 ? cluster_sync() : __syncthreads();
    if (threadIdx.x / 128 == S::groups) {
        leave_registers<S::copying>();
        uint32_t warp = threadIdx.x / 32 - S::row_tiles;
        if (warp == 0) bring_weights<S>(a, all, base + S::weights_at, ws);
        if (warp == 1) bring_rows<S>(a, all, &map, base, xs);
        if (S::sends && warp >= 2)
            send_pieces<S>(a, all, (const float *)(shared + S::sums_at), out);
    } else {
        take_registers<S::multiplying>();
        multiply_rows<S>(a, all, shared, xs, ws, out);
    }
    if (S::cluster > 1) cluster_sync();  // nobody's shared memory goes while others reach into it
#endif
}

// The driver's cuTensorMapEncodeTiled; NULL: it has none.
static inline void *find_map_encoder() {
    void *encode = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSuccess;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000,
                                         cudaEnableDefault, &found) == cudaSuccess)
        return encode;
    cudaGetLastError();
    return nullptr;
}

// Rows of x as their copies see them: boxes of 64 columns and `box` rows, in the 128-byte swizzle.
// What is beyond the last column or row becomes zeros.
static inline bool map_rows(rill__cuda *cu, const product_args *a, uint32_t box, CUtensorMap *map) {
    static void *const encode = find_map_encoder();
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
