// SPDX-License-Identifier: MIT
// Many rows of a run: a block has 64 queries of a key-value head, 16 a warp, and meets all that any
// of them sees, so that nothing is kept between kernels. See attend.cu.
//
// While a block of keys is multiplied, its values are on their way, and then the next keys. Caches
// of float16 are loaded where they are multiplied, into two places in turn; others as they are, and
// become float16 there (CONVERTED).
#include "backend/cuda/attend_launch.cuh"
#include "backend/cuda/attend_sums.cuh"

enum { QUERIES = WARP_QUERIES * TILE_WARPS };

// Columns of values that a block has: 256 are shared by two.
template <int D> constexpr int COLUMNS = D > 128 ? D / 2 : D;

template <int W>
constexpr uint32_t TILE_BYTES = BLOCK_KEYS *(W + TILE_PADDING) * (uint32_t)sizeof(__half);

// Keys or values on their way: two tiles in turn, or raw rows and a tile.
template <int W, bool CONVERTED> struct side {
    uint8_t *memory;
    uint32_t raw_bytes;
    uint32_t first_column;
    uint32_t columns;

    __device__ __forceinline__ uint8_t *tile(int block) const {
        return memory + (CONVERTED ? raw_bytes : block % 2 * TILE_BYTES<W>);
    }
};

template <int W, bool CONVERTED>
static __device__ __forceinline__ void load(const side<W, CONVERTED> &s, const cache_rows &c,
                                            const view &v, int block, int last) {
    if (block <= last) {
        stretch some = stretch_of(c, v, block * BLOCK_KEYS, BLOCK_KEYS);
        if (CONVERTED)
            load_raw<TILE_THREADS>(shared_address(s.memory), c, some);
        else
            load_halves<BLOCK_KEYS, W, TILE_THREADS>(shared_address(s.tile(block)), c, some,
                                                     s.first_column, s.columns);
    }
    copies_end();
}

// Waits for the block, and has the next one loaded. All copies but those begun last are waited for.
template <int W, bool CONVERTED>
static __device__ __forceinline__ uint32_t take(const side<W, CONVERTED> &s, const cache_rows &c,
                                                const view &v, int block, int last) {
    wait_for_copies<1>();
    __syncthreads();
    if (CONVERTED) {
        stretch some = stretch_of(c, v, block * BLOCK_KEYS, BLOCK_KEYS);
        convert<BLOCK_KEYS, W, TILE_THREADS>(s.tile(block), s.memory, c, some, s.first_column,
                                             s.columns);
        __syncthreads();
    }
    load(s, c, v, block + 1, last);
    return shared_address(s.tile(block));
}

template <int W> static __device__ __forceinline__ void join_sums(sums<W> &s, const sums<W> &more) {
    joint j[2];
    join_two(s.states, more.states, j);
#pragma unroll
    for (int n = 0; n < W / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s.values[n][i] = joined(s.values[n][i], more.values[n][i], j[i / 2]);
}

// A block's values, by 32 columns, join the sums.
template <int W>
static __device__ __forceinline__ void mix_block(sums<W> &s, const two_states &states,
                                                 const uint32_t weights[4][4], uint32_t tile) {
    joint j[2];
    join_two(s.states, states, j);
    uint32_t values = values_at<W>(tile);
#pragma unroll
    for (int n = 0; n < W / 8; n += 4) {
        float x[4][4] = {};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t at = values + (k * 16 * (W + TILE_PADDING) + n * 8) * sizeof(__half);
            mix(x[0], x[1], weights[k], at);
            mix(x[2], x[3], weights[k], at + 16 * sizeof(__half));
        }
#pragma unroll
        for (int m = 0; m < 4; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s.values[n + m][i] = joined(s.values[n + m][i], x[m][i], j[i / 2]);
    }
}

template <int D>
static __device__ __forceinline__ void score_frames(float s[8][4], uint32_t queries, uint32_t keys,
                                                    const sight *sights, int first, bool previous) {
    constexpr uint32_t stride = (D + TILE_PADDING) * sizeof(__half);
    score_block<D>(s, queries, keys);
    if (!previous) return;
#pragma unroll
    for (int n = 0; n < 8; n += 2)
        score_previous(s + n, sights, first + n * 8, [&](float previous[2][4]) {
            score<D>(previous[0], previous[1], queries + QUERIES * stride, keys + n * 8 * stride);
        });
}

// Recent tokens first, part by part, then the sinks, which are one part.
template <int D, bool CONVERTED>
static __global__ void __launch_bounds__(TILE_THREADS)
    attend_whole_kernel(const __grid_constant__ attend_args a,
                        const __grid_constant__ tile_list list, tile_raw raw) {
    constexpr int W = COLUMNS<D>;
    constexpr uint32_t key_bytes = TILE_BYTES<D>, value_bytes = TILE_BYTES<W>;
    extern __shared__ __align__(16) uint8_t shared[];
    __shared__ sight all_sights[QUERIES];
    __shared__ cache_rows key_rows, value_rows;
    let_next_begin();
    wait_for_previous();
    __shared__ tile t;
    __shared__ view v;
    // What is the same for all threads lies in shared memory: registers are for sums.
    if (threadIdx.x == 0) t = find_tile(a, list, blockIdx.x, blockIdx.y, QUERIES);
    __syncthreads();
    const rill__cuda_kv &kv = a.caches[t.run];
    if (threadIdx.x == 0) {
        key_rows = rows_of(kv, a.n_kv_heads, t.kv_head, false);
        value_rows = rows_of(kv, a.n_kv_heads, t.kv_head, true);
    }
    const uint32_t first_column = blockIdx.z * W;
    const uint32_t key_side = CONVERTED ? raw.keys + key_bytes : 2 * key_bytes;
    const uint32_t value_side = CONVERTED ? raw.values + value_bytes : 2 * value_bytes;
    const side<D, CONVERTED> keys = {shared, raw.keys, 0, a.head_dim};
    const side<W, CONVERTED> values = {shared + key_side, raw.values, first_column,
                                       min(a.head_dim - first_column, (uint32_t)W)};
    __half *queries = (__half *)(shared + key_side + value_side);
    const uint32_t warp = threadIdx.x / 32;
    const sight *sights = all_sights + warp * WARP_QUERIES;
    const uint32_t own_queries = shared_address(queries + warp * WARP_QUERIES * (D + TILE_PADDING));
    const bool idle = warp * WARP_QUERIES >= t.n;
    if (a.head_dim != D) clear_shared(shared, key_side + value_side, threadIdx.x, TILE_THREADS);
    sums<W> part, recent;
    clear(part);
    clear(recent);
    for (int frame = 0; frame < 2; frame++) {
        bool sinks = frame == 1;
        span seen = seen_by_tile<QUERIES>(a, t, sinks);
        if (seen.begin >= seen.end) continue;
        uint64_t base = seen.begin / PART_KEYS * PART_KEYS;
        __syncthreads();  // nobody works on the frame before
        if (threadIdx.x == 0)
            v = {(int)(seen.begin - base), (int)(seen.end - base),
                 (uint32_t)rill__cuda_kv_row(&kv, seen.begin)};
        __syncthreads();
        int block = v.begin / BLOCK_KEYS, last = (v.end - 1) / BLOCK_KEYS;
        load(keys, key_rows, v, block, last);
        load(values, value_rows, v, block, last);
        if (warp == 0) write_sights<QUERIES>(a, t, sinks, base, kv.sink_scale, all_sights);
        load_frame<D, QUERIES>(a, t, sinks, kv.sink_scale, key_rows.apart, queries);
        for (; block <= last; block++) {
            int first = block * BLOCK_KEYS;
            uint32_t key_tile = take(keys, key_rows, v, block, last), weights[4][4];
            bool works = !idle && sees(sights, first);
            two_states states;
            if (works) {
                float s[8][4];
                score_frames<D>(s, own_queries, key_tile, sights, first, a.q_previous && !sinks);
                states = weigh(s, sights, first, a.alibi, weights);
            }
            uint32_t value_tile = take(values, value_rows, v, block, last);
            if (works) mix_block(part, states, weights, value_tile);
            if (!sinks && (block % PART_BLOCKS == PART_BLOCKS - 1 || block == last)) {
                join_sums(recent, part);
                clear(part);
            }
        }
    }
    write(a, t, kv.sink_cap, first_column, part, recent.states,
          [&](int n, int i) { return recent.values[n][i]; });
}

template <int D, bool CONVERTED>
static bool launch(rill__cuda *cu, const attend_args &args, const tile_list &list,
                   const tile_raw &raw) {
    constexpr int W = COLUMNS<D>;
    size_t bytes = CONVERTED ? raw.keys + raw.values + TILE_BYTES<D> + TILE_BYTES<W>
                             : 2 * (TILE_BYTES<D> + TILE_BYTES<W>);
    bytes += QUERIES * (D + TILE_PADDING) * sizeof(__half) * (args.q_previous ? 2 : 1);
    if (!allow_shared(cu, (const void *)attend_whole_kernel<D, CONVERTED>, bytes)) return false;
    dim3 grid(list.first[list.n_runs], args.n_kv_heads, D / W);
    if (!grid.x) return true;
    rill__cuda_start(cu, "attend_whole", attend_whole_kernel<D, CONVERTED>, grid, TILE_THREADS,
                     bytes, args, list, raw);
    return true;
}

uint32_t rill__cuda_attend_whole_queries() {
    return QUERIES;
}

bool rill__cuda_attend_whole(rill__cuda *cu, const attend_args &args, const tile_list &list,
                             const cache_kinds &kinds) {
    tile_raw raw = {raw_bytes(BLOCK_KEYS, kinds.key_row_bytes),
                    raw_bytes(BLOCK_KEYS, kinds.value_row_bytes)};
    switch (attend_width(args.head_dim) * 2 + kinds.converted) {
    case 128: return launch<64, false>(cu, args, list, raw);
    case 129: return launch<64, true>(cu, args, list, raw);
    case 192: return launch<96, false>(cu, args, list, raw);
    case 193: return launch<96, true>(cu, args, list, raw);
    case 256: return launch<128, false>(cu, args, list, raw);
    case 257: return launch<128, true>(cu, args, list, raw);
    case 512: return launch<256, false>(cu, args, list, raw);
    case 513: return launch<256, true>(cu, args, list, raw);
    default: return false;
    }
}
