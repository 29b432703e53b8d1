// SPDX-License-Identifier: MIT
// Many rows of a run on Hopper: what attend_whole.cu does, with wgmma, whose sums are the same bits
// as mma.sync's. Heads are of up to 64 or 128 columns; there is no xPos. See attend.cu.
//
// Two warpgroups have 64 queries each and share what they meet. While a block of keys is weighed,
// the next one is multiplied already; tiles lie in panels of 64 columns, as wgmma.cuh has them.
// Sums over parts are needed once in four blocks, so they lie in shared memory.
#include "backend/cuda/attend_launch.cuh"
#include "backend/cuda/attend_sums.cuh"
#include "backend/cuda/wgmma.cuh"

enum {
    GROUPS = 2,
    GROUP_QUERIES = WARP_QUERIES * 4,
    QUERIES = GROUP_QUERIES * GROUPS,
    THREADS = 128 * GROUPS,
};

using tile_of_cache = swizzled_tile<BLOCK_KEYS>;
using tile_of_queries = swizzled_tile<QUERIES>;
template <int D> constexpr uint32_t TILE_BYTES = BLOCK_KEYS *D *(uint32_t)sizeof(__half);
template <int D> constexpr uint32_t QUERY_BYTES = QUERIES *D *(uint32_t)sizeof(__half);
template <int D> constexpr uint32_t RECENT_BYTES = QUERIES *D *(uint32_t)sizeof(float);

#ifdef RILL_WGMMA

// Keys or values on their way: two tiles in turn, or raw rows and a tile.
template <int D, bool CONVERTED> struct side {
    uint8_t *memory;
    uint32_t raw_bytes;
    uint32_t columns;

    __device__ __forceinline__ uint8_t *tile(int block) const {
        return memory + (CONVERTED ? 0 : block % 2 * TILE_BYTES<D>);
    }
    __device__ __forceinline__ uint8_t *raw() const {
        return memory + TILE_BYTES<D>;
    }
};

template <int D, bool CONVERTED>
static __device__ __forceinline__ void load(const side<D, CONVERTED> &s, const cache_rows &c,
                                            const view &v, int block, int last) {
    if (block > last) return;
    stretch some = stretch_of(c, v, block * BLOCK_KEYS, BLOCK_KEYS);
    if (CONVERTED)
        load_raw<THREADS>(shared_address(s.raw()), c, some);
    else
        load_halves<BLOCK_KEYS, D, THREADS, tile_of_cache>(shared_address(s.tile(block)), c, some,
                                                           0, s.columns);
}

// Raw rows that have come become halves.
template <int D, bool CONVERTED>
static __device__ __forceinline__ void unpack(const side<D, CONVERTED> &s, const cache_rows &c,
                                              const view &v, int block, int last) {
    if (!CONVERTED || block > last) return;
    stretch some = stretch_of(c, v, block * BLOCK_KEYS, BLOCK_KEYS);
    convert<BLOCK_KEYS, D, THREADS, tile_of_cache>(s.tile(block), s.raw(), c, some, 0, s.columns);
}

// Logits of a warpgroup's queries and a block, begun.
template <int D>
static __device__ __forceinline__ void begin_scores(float (&s)[8][4], uint32_t queries,
                                                    uint32_t keys) {
    wgmma_fence();
#pragma unroll
    for (uint32_t d = 0; d < D / 16; d++)
        wgmma_rows(s, swizzled_rows(queries + d / 4 * QUERIES * 128 + d % 4 * 32),
                   swizzled_rows(keys + d / 4 * BLOCK_KEYS * 128 + d % 4 * 32), d > 0);
    wgmma_commit();
}

// Sums of the values of a block, 64 columns, begun.
static __device__ __forceinline__ void
begin_values(float (&x)[8][4], const uint32_t (&weights)[4][4], uint32_t panel) {
    wgmma_fence();
#pragma unroll
    for (uint32_t k = 0; k < 4; k++)
        wgmma_columns(x, weights[k], swizzled_rows(panel + k * 16 * 128), k > 0);
    wgmma_commit();
}

// 64 columns of a block join the sums.
template <int D>
static __device__ __forceinline__ void join_panel(sums<D> &s, const float (&x)[8][4], int panel,
                                                  const joint j[2]) {
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s.values[8 * panel + n][i] = joined(s.values[8 * panel + n][i], x[n][i], j[i / 2]);
}

// A block's values join the sums, if the warp sees any of them.
template <int D>
static __device__ __forceinline__ void mix_block(sums<D> &s, const two_states &states,
                                                 const uint32_t (&weights)[4][4], uint32_t values,
                                                 bool works) {
    float x[D / 64][8][4];
#pragma unroll
    for (uint32_t panel = 0; panel < D / 64; panel++)
        begin_values(x[panel], weights, values + panel * BLOCK_KEYS * 128);
    joint j[2];
    if (works) join_two(s.states, states, j);
    if (D > 64) {
        wgmma_wait<1>();
        if (works) join_panel<D>(s, x[0], 0, j);
    }
    wgmma_wait<0>();
    if (works) join_panel<D>(s, x[D / 64 - 1], D / 64 - 1, j);
}

// The sums of parts so far: a thread's own floats are THREADS apart.
template <int D>
static __device__ __forceinline__ void join_recent(two_states &recent, float *values,
                                                   const sums<D> &part) {
    joint j[2];
    join_two(recent, part.states, j);
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float *x = values + (n * 4 + i) * THREADS + threadIdx.x;
            *x = joined(*x, part.values[n][i], j[i / 2]);
        }
}

// What a block of threads has in shared memory, as the same for all of them.
struct common {
    tile t;
    view v;
    cache_rows keys, values;
    sight sights[QUERIES];
};

template <int D, bool CONVERTED>
static __device__ __forceinline__ void
attend_frame(const attend_args &a, common &c, bool sinks, const side<D, CONVERTED> &keys,
             const side<D, CONVERTED> &values, __half *queries, float *recent_values,
             two_states &recent, sums<D> &part) {
    const rill__cuda_kv &kv = a.caches[c.t.run];
    span seen = seen_by_tile<QUERIES>(a, c.t, sinks);
    if (seen.begin >= seen.end) return;
    uint64_t base = seen.begin / PART_KEYS * PART_KEYS;
    __syncthreads();  // nobody works on the frame before
    if (threadIdx.x == 0)
        c.v = {(int)(seen.begin - base), (int)(seen.end - base),
               (uint32_t)rill__cuda_kv_row(&kv, seen.begin)};
    if (threadIdx.x < 32) write_sights<QUERIES>(a, c.t, sinks, base, kv.sink_scale, c.sights);
    __syncthreads();
    const uint32_t warp = threadIdx.x / 32;
    const sight *sights = c.sights + warp * WARP_QUERIES;
    const uint32_t own_queries = shared_address(queries) + warp / 4 * GROUP_QUERIES * 128;
    const bool idle = warp * WARP_QUERIES >= c.t.n;
    int block = c.v.begin / BLOCK_KEYS, last = (c.v.end - 1) / BLOCK_KEYS;
    load(keys, c.keys, c.v, block, last);
    copies_end();
    load_frame<D, QUERIES, THREADS, tile_of_queries>(a, c.t, sinks, kv.sink_scale, c.keys.apart,
                                                     queries);
    wait_for_copies<0>();
    __syncthreads();
    unpack(keys, c.keys, c.v, block, last);
    wgmma_fence_shared();
    __syncthreads();
    load(keys, c.keys, c.v, block + 1, last);
    load(values, c.values, c.v, block, last);
    copies_end();
    float s[8][4], next[8][4];
    begin_scores<D>(s, own_queries, shared_address(keys.tile(block)));
    wgmma_wait<0>();
    for (; block <= last; block++) {
        wait_for_copies<0>();
        __syncthreads();  // all have come, and nobody reads the tiles before
        if (CONVERTED) {
            unpack(keys, c.keys, c.v, block + 1, last);
            unpack(values, c.values, c.v, block, last);
            wgmma_fence_shared();
            __syncthreads();
        } else {
            wgmma_fence_shared();
        }
        load(keys, c.keys, c.v, block + 2, last);
        load(values, c.values, c.v, block + 1, last);
        copies_end();
        begin_scores<D>(next, own_queries, shared_address(keys.tile(block + 1)));
        uint32_t weights[4][4];
        two_states states = weigh(s, sights, block * BLOCK_KEYS, a.alibi, weights);
        bool works = !idle && sees(sights, block * BLOCK_KEYS);
        mix_block<D>(part, states, weights, shared_address(values.tile(block)), works);
        if (!sinks && (block % PART_BLOCKS == PART_BLOCKS - 1 || block == last)) {
            join_recent<D>(recent, recent_values, part);
            clear(part);
        }
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[n][i] = next[n][i];
    }
}
#endif

// Recent tokens first, part by part, then the sinks, which are one part.
template <int D, bool CONVERTED>
static __global__ void __launch_bounds__(THREADS, 1)
    attend_wide_kernel(const __grid_constant__ attend_args a,
                       const __grid_constant__ tile_list list, tile_raw raw) {
#ifdef RILL_WGMMA
    extern __shared__ __align__(16) uint8_t unaligned[];
    __shared__ common c;
    let_next_begin();
    wait_for_previous();
    uint8_t *shared = unaligned + (-shared_address(unaligned) & 1023);
    if (threadIdx.x == 0) c.t = find_tile(a, list, blockIdx.x, blockIdx.y, QUERIES);
    __syncthreads();
    if (threadIdx.x < 2)
        (threadIdx.x ? c.values : c.keys) =
            rows_of(a.caches[c.t.run], a.n_kv_heads, c.t.kv_head, threadIdx.x == 1);
    const uint32_t key_side = CONVERTED ? TILE_BYTES<D> + raw.keys : 2 * TILE_BYTES<D>;
    const uint32_t value_side = CONVERTED ? TILE_BYTES<D> + raw.values : 2 * TILE_BYTES<D>;
    __half *queries = (__half *)shared;
    float *recent_values = (float *)(shared + QUERY_BYTES<D>);
    uint8_t *sides = shared + QUERY_BYTES<D> + RECENT_BYTES<D>;
    const side<D, CONVERTED> keys = {sides, raw.keys, a.head_dim};
    const side<D, CONVERTED> values = {sides + key_side, raw.values, a.head_dim};
    if (a.head_dim != D) clear_shared(sides, key_side + value_side, threadIdx.x, THREADS);
    for (uint32_t i = 0; i < D / 2; i++) recent_values[i * THREADS + threadIdx.x] = 0;
    two_states recent = no_states();
    sums<D> part;
    clear(part);
    attend_frame<D, CONVERTED>(a, c, false, keys, values, queries, recent_values, recent, part);
    attend_frame<D, CONVERTED>(a, c, true, keys, values, queries, recent_values, recent, part);
    write(a, c.t, a.caches[c.t.run].sink_cap, 0, part, recent,
          [&](int n, int i) { return recent_values[(n * 4 + i) * THREADS + threadIdx.x]; });
#endif
}

template <int D, bool CONVERTED>
static bool launch(rill__cuda *cu, const attend_args &args, const tile_list &list,
                   const tile_raw &raw) {
    size_t sides = CONVERTED ? 2 * TILE_BYTES<D> + raw.keys + raw.values : 4 * TILE_BYTES<D>;
    size_t bytes = 1024 + QUERY_BYTES<D> + RECENT_BYTES<D> + sides;
    if (!allow_shared(cu, (const void *)attend_wide_kernel<D, CONVERTED>, bytes)) return false;
    dim3 grid(list.first[list.n_runs], args.n_kv_heads);
    if (!grid.x) return true;
    rill__cuda_start(cu, "attend_wide", attend_wide_kernel<D, CONVERTED>, grid, THREADS, bytes,
                     args, list, raw);
    return true;
}

uint32_t rill__cuda_attend_wide_queries(const rill__cuda *cu, const attend_args &args) {
    int width = attend_width(args.head_dim);
    bool can = cu->architecture == 90 && !args.q_previous && (width == 64 || width == 128);
    return can ? QUERIES : 0;
}

bool rill__cuda_attend_wide(rill__cuda *cu, const attend_args &args, const tile_list &list,
                            const cache_kinds &kinds) {
    // Tiles behind raw rows begin where wgmma wants them.
    tile_raw raw = {(raw_bytes(BLOCK_KEYS, kinds.key_row_bytes) + 1023) / 1024 * 1024,
                    raw_bytes(BLOCK_KEYS, kinds.value_row_bytes)};
    switch (attend_width(args.head_dim) * 2 + kinds.converted) {
    case 128: return launch<64, false>(cu, args, list, raw);
    case 129: return launch<64, true>(cu, args, list, raw);
    case 256: return launch<128, false>(cu, args, list, raw);
    case 257: return launch<128, true>(cu, args, list, raw);
    default: return false;
    }
}
