// SPDX-License-Identifier: MIT
// Many rows of a run on Hopper: what attend_whole.cu does, with wgmma, whose sums are the same bits
// as mma.sync's. Heads are of up to 64 or 128 columns; there is no xPos. See attend.cu.
//
// A block has two warpgroups of 64 queries each, which share what they meet, and one that brings
// it: tiles of 64 keys or values, in the order in which they are wanted, to a ring in shared
// memory, whose barriers tell what is full and what is empty. So nobody waits for a whole block,
// and one warpgroup's softmax goes on beside the other's products. While a block of keys is
// weighed, the next one is multiplied already. Queries stay in registers; sums over parts are
// needed once in four blocks, so they lie in shared memory. Tiles lie in panels of 64 columns, as
// wgmma.cuh has them.
#include "backend/cuda/attend_launch.cuh"
#include "backend/cuda/attend_sums.cuh"
#include "backend/cuda/bulk.cuh"
#include "backend/cuda/wgmma.cuh"

enum {
    GROUPS = 2,
    GROUP_QUERIES = WARP_QUERIES * 4,
    QUERIES = GROUP_QUERIES * GROUPS,
    WORKERS = 128 * GROUPS,  // threads that multiply
    BRINGERS = 128,          // threads that bring tiles
    THREADS = WORKERS + BRINGERS,
    STAGES = 6,
    MOST_ON_THE_WAY = 3,  // tiles that are copied while one is announced
};

using tile_of_cache = swizzled_tile<BLOCK_KEYS>;
template <int D> constexpr uint32_t TILE_BYTES = BLOCK_KEYS *D *(uint32_t)sizeof(__half);
template <int D> constexpr uint32_t RECENT_BYTES = QUERIES *D *(uint32_t)sizeof(float);

#ifdef RILL_WGMMA

// What a block of threads knows of a tile, in two frames: the recent tokens, and then the sinks.
struct tile_facts {
    tile t;
    cache_rows keys, values;
    view views[2];
    sight sights[2][QUERIES];
};

// In shared memory. Facts of a tile are found while the one before is worked on.
struct common {
    tile_facts of[2];
    alignas(8) uint64_t stages[2 * STAGES];
    alignas(8) uint64_t facts[2 * 2];
};

// A block's tiles. Those of many tokens, a run's last ones, come first, so that the device is busy
// to the end.
struct turns {
    uint32_t n_heads;
    uint32_t n_tiles;
    uint32_t number;

    __device__ __forceinline__ bool are() const {
        return number < n_heads * n_tiles;
    }
    __device__ __forceinline__ void next() {
        number += gridDim.x;
    }
};

// Blocks that queries see, [begin, end).
struct blocks {
    int begin, end;
};
static __device__ __forceinline__ blocks blocks_of(int begin, int end) {
    if (begin >= end) return {0, 0};
    return {begin / BLOCK_KEYS, (end - 1) / BLOCK_KEYS + 1};
}

// ---- Bringing
// ------------------------------------------------------------------------------------

// By a warp for each of the frames, and one more.
static __device__ __forceinline__ void find_facts(const attend_args &a, const tile_list &list,
                                                  const turns &turn, tile_facts &f) {
    uint32_t warp = threadIdx.x % BRINGERS / 32, lane = threadIdx.x % 32;
    const tile t = find_tile(a, list, turn.n_tiles - 1 - turn.number / turn.n_heads,
                             turn.number % turn.n_heads, QUERIES);
    const rill__cuda_kv &kv = a.caches[t.run];
    if (warp < 2) {
        bool sinks = warp == 1;
        span seen = seen_by_tile<QUERIES>(a, t, sinks);
        uint64_t base = seen.begin / PART_KEYS * PART_KEYS;
        if (lane == 0)
            f.views[warp] = {(int)(seen.begin - base), (int)(seen.end - base),
                             seen.end ? (uint32_t)rill__cuda_kv_row(&kv, seen.begin) : 0};
        write_sights<QUERIES>(a, t, sinks, base, kv.sink_scale, f.sights[warp]);
    } else if (warp == 2 && lane < 2) {
        (lane ? f.values : f.keys) = rows_of(kv, a.n_kv_heads, t.kv_head, lane == 1);
    } else if (warp == 3 && lane == 0) {
        f.t = t;
    }
}

// Those that bring tiles: copies of several are on the way while one is announced.
template <int D> struct bringer {
    uint8_t *tiles;
    uint32_t columns;
    ring<STAGES> next;
    ring<STAGES> first;  // of those on the way
    int on_the_way;

    __device__ __forceinline__ void announce() {
        wgmma_fence_shared();
        __syncwarp();
        arrive_if(threadIdx.x % 32 == 0, first.full());
        first.next();
    }
    // The tile of a block; of none that is seen, an empty one.
    __device__ __forceinline__ void bring(const cache_rows &c, const view &v, int block) {
        stretch some = stretch_of(c, v, block * BLOCK_KEYS, BLOCK_KEYS);
        await(next.empty(), next.phase ^ 1);
        if (some.begin < some.end)
            load_halves<BLOCK_KEYS, D, BRINGERS, tile_of_cache>(
                shared_address(tiles + next.stage * TILE_BYTES<D>), c, some, 0, columns);
        copies_end();
        next.next();
        if (++on_the_way <= MOST_ON_THE_WAY) return;
        on_the_way--;
        wait_for_copies<MOST_ON_THE_WAY>();
        announce();
    }
    __device__ __forceinline__ void end() {
        wait_for_copies<0>();
        for (; on_the_way > 0; on_the_way--) announce();
    }
};

// The same of caches that are not float16: raw rows are on the way while those before them become
// halves.
template <int D> struct converter {
    uint8_t *tiles;
    uint32_t columns;
    ring<STAGES> next;
    uint8_t *raw;  // of the rows on the way; the others' is as far off as `other` says
    ptrdiff_t other;
    const cache_rows *rows;  // NULL: there are none
    stretch seen;

    __device__ __forceinline__ void announce(const cache_rows *c, const stretch &some,
                                             const uint8_t *from) {
        await(next.empty(), next.phase ^ 1);
        if (some.begin < some.end)
            convert<BLOCK_KEYS, D, BRINGERS, tile_of_cache>(tiles + next.stage * TILE_BYTES<D>,
                                                            from, *c, some, 0, columns);
        wgmma_fence_shared();
        __syncwarp();
        arrive_if(threadIdx.x % 32 == 0, next.full());
        next.next();
    }
    __device__ __forceinline__ void bring(const cache_rows &c, const view &v, int block) {
        stretch some = stretch_of(c, v, block * BLOCK_KEYS, BLOCK_KEYS), before = seen;
        const cache_rows *of_before = rows;
        const uint8_t *there = raw;
        raw += other, other = -other, rows = &c, seen = some;
        meet(2, BRINGERS);  // nobody reads what was there
        load_raw<BRINGERS>(shared_address(raw), c, some);
        copies_end();
        wait_for_copies<1>();
        meet(2, BRINGERS);  // what others asked for has come, too
        if (of_before) announce(of_before, before, there);
    }
    __device__ __forceinline__ void end() {
        wait_for_copies<0>();
        meet(2, BRINGERS);
        if (rows) announce(rows, seen, raw);
        rows = nullptr;
    }
};

// Of each tile of queries keys of a block, then, block for block, keys of the next one and values:
// as they are wanted.
template <class Bringer>
static __device__ __forceinline__ void bring_all(const attend_args &a, const tile_list &list,
                                                 turns turn, common &c, ring<2> facts, Bringer b) {
    for (; turn.are(); turn.next(), facts.next()) {
        tile_facts &f = c.of[facts.stage];
        await(facts.empty(), facts.phase ^ 1);
        find_facts(a, list, turn, f);
        meet(2, BRINGERS);
        arrive_if(threadIdx.x % BRINGERS == 0, facts.full());
        for (int frame = 0; frame < 2; frame++) {
            const view v = f.views[frame];
            blocks all = blocks_of(v.begin, v.end);
            if (all.begin < all.end) b.bring(f.keys, v, all.begin);
            for (int block = all.begin; block < all.end; block++) {
                b.bring(f.keys, v, block + 1);
                b.bring(f.values, v, block);
            }
        }
        b.end();
    }
}

// ---- Multiplying
// ---------------------------------------------------------------------------------

// Queries as A fragments, times what makes products logits in powers of two. Pairs of columns are
// in the keys' order.
template <int D> struct query_fragments { uint32_t x[D / 16][4]; };
template <int D>
static __device__ __forceinline__ void take_queries(const attend_args &a, const tile &t, bool sinks,
                                                    float sink_scale, bool apart,
                                                    query_fragments<D> &q) {
    float factor = __fmul_rn(a.scale, LOG2E);
    if (sinks) factor = __fmul_rn(factor, sink_scale);
    uint32_t lane = threadIdx.x % 32;
    // A quad's pairs, or pairs 8 columns apart.
    uint32_t first = lane % 4 * (apart ? 4 : 2), second = first + (apart ? 2 : 8);
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        uint32_t query = min(threadIdx.x / 32 * WARP_QUERIES + lane / 4 + 8 * r, t.n - 1);
        size_t row = (size_t)row_of_query(a, t, query) * a.n_heads + head_of_query(a, t, query);
        const float *from = (sinks ? a.q_sink : a.q) + row * a.head_dim;
#pragma unroll
        for (uint32_t d = 0; d < D / 16; d++)
#pragma unroll
            for (uint32_t pair = 0; pair < 2; pair++) {
                float2 x = {0, 0};
                if (16 * d < a.head_dim)
                    x = *(const float2 *)(from + 16 * d + (pair ? second : first));
                q.x[d][2 * pair + r] =
                    half_bits(__floats2half2_rn(__fmul_rn(x.x, factor), __fmul_rn(x.y, factor)));
            }
    }
}

// Logits of a warpgroup's queries and a block, begun.
template <int D>
static __device__ __forceinline__ void begin_scores(float (&s)[8][4], const query_fragments<D> &q,
                                                    uint32_t keys) {
    const swizzled rows = swizzled_rows(keys);
    wgmma_fence();
#pragma unroll
    for (uint32_t d = 0; d < D / 16; d++)
        wgmma_rows(s, q.x[d], rows.at(d / 4 * BLOCK_KEYS * 128 + d % 4 * 32), d > 0);
    wgmma_commit();
}

// Sums of the values of a block, begun.
template <int D>
static __device__ __forceinline__ void
begin_values(float (&x)[D / 64][8][4], const uint32_t (&weights)[4][4], uint32_t values) {
    const swizzled rows = swizzled_rows(values);
    wgmma_fence();
#pragma unroll
    for (uint32_t panel = 0; panel < D / 64; panel++)
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            wgmma_columns(x[panel], weights[k], rows.at(panel * BLOCK_KEYS * 128 + k * 16 * 128),
                          k > 0);
    wgmma_commit();
}

// The sums of parts so far: a thread's own floats are WORKERS apart.
template <int D>
static __device__ __forceinline__ void join_recent(two_states &recent, float *values,
                                                   const sums<D> &part) {
    joint j[2];
    join_two(recent, part.states, j);
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float *x = values + (n * 4 + i) * WORKERS + threadIdx.x;
            *x = joined(*x, part.values[n][i], j[i / 2]);
        }
}

// A warpgroup's way through the tiles.
struct worker {
    ring<STAGES> r;
    uint32_t tiles;
    uint32_t tile_bytes;

    // The next tile, once it is there.
    __device__ __forceinline__ uint32_t take() const {
        await(r.full(), r.phase);
        return tiles + r.stage * tile_bytes;
    }
    // Whoever leaves a tile has come to the next.
    __device__ __forceinline__ void leave(uint32_t stage) const {
        arrive_if(threadIdx.x % 32 == 0, r.barriers + 8 * (STAGES + stage));
    }
    __device__ __forceinline__ void pass() {
        take();
        leave(r.stage);
        r.next();
    }
};

// Blocks of a frame that any query of the warpgroup sees.
static __device__ __forceinline__ blocks seen_by_group(const sight *sights) {
    int begin = INT_MAX, end = 0;
    for (uint32_t i = threadIdx.x % 32; i < GROUP_QUERIES; i += 32) {
        if (sights[i].begin >= sights[i].end) continue;
        begin = min(begin, sights[i].begin);
        end = max(end, sights[i].end);
    }
    return blocks_of(__reduce_min_sync(~0u, begin), __reduce_max_sync(~0u, end));
}

// A block: s are its logits; those of the next one are begun.
template <int D>
static __device__ __forceinline__ void
meet_block(const attend_args &a, worker &w, const query_fragments<D> &q, const sight *sights,
           int block, float (&s)[8][4], float (&next)[8][4], sums<D> &part) {
    uint32_t keys = w.take(), keys_stage = w.r.stage;
    begin_scores<D>(next, q, keys);
    w.r.next();
    uint32_t weights[4][4];
    two_states states = weigh(s, sights, block * BLOCK_KEYS, a.alibi, weights);
    bool works = sees(sights, block * BLOCK_KEYS);
    float x[D / 64][8][4];
    begin_values<D>(x, weights, w.take());
    joint j[2];
    if (works) join_two(part.states, states, j);
    wgmma_wait<0>();
    w.leave(keys_stage);
    w.leave(w.r.stage);
    w.r.next();
    if (!works) return;
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            part.values[n][i] = joined(part.values[n][i], x[n / 8][n % 8][i], j[i / 2]);
}

template <int D>
static __device__ __forceinline__ void
attend_frame(const attend_args &a, const tile_facts &c, int frame, worker &w,
             const query_fragments<D> &q, float *recent_values, two_states &recent, sums<D> &part) {
    const sight *of_group = c.sights[frame] + threadIdx.x / 128 * GROUP_QUERIES;
    const sight *sights = c.sights[frame] + threadIdx.x / 32 * WARP_QUERIES;
    const blocks all = blocks_of(c.views[frame].begin, c.views[frame].end);
    const blocks own = seen_by_group(of_group);
    if (all.begin >= all.end) return;
    if (own.begin >= own.end) {
        for (int i = 2 * (all.end - all.begin) + 1; i > 0; i--) w.pass();
        return;
    }
    for (int i = 2 * (own.begin - all.begin) - 1; i > 0; i--) w.pass();
    float s[8][4], next[8][4];
    begin_scores<D>(s, q, w.take());
    wgmma_wait<0>();
    w.leave(w.r.stage);
    w.r.next();
    if (own.begin > all.begin) w.pass();  // values of the block before
    for (int block = own.begin; block < own.end; block++) {
        meet_block<D>(a, w, q, sights, block, s, next, part);
        if (frame == 0 && (block % PART_BLOCKS == PART_BLOCKS - 1 || block + 1 == own.end)) {
            join_recent<D>(recent, recent_values, part);
            clear(part);
        }
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[n][i] = next[n][i];
    }
    for (int i = 2 * (all.end - own.end); i > 0; i--) w.pass();
}

template <int D>
static __device__ __forceinline__ void multiply(const attend_args &a, const tile_facts &f,
                                                worker &w, float *recent_values) {
    const rill__cuda_kv &kv = a.caches[f.t.run];
    bool apart = f.keys.apart;
    query_fragments<D> q;
    take_queries<D>(a, f.t, false, kv.sink_scale, apart, q);
    for (uint32_t i = 0; i < D / 2; i++) recent_values[i * WORKERS + threadIdx.x] = 0;
    two_states recent = no_states();
    sums<D> part;
    clear(part);
    attend_frame<D>(a, f, 0, w, q, recent_values, recent, part);
    take_queries<D>(a, f.t, true, kv.sink_scale, apart, q);
    attend_frame<D>(a, f, 1, w, q, recent_values, recent, part);
    write(a, f.t, kv.sink_cap, 0, part, recent,
          [&](int n, int i) { return recent_values[(n * 4 + i) * WORKERS + threadIdx.x]; });
}

template <int D>
static __device__ __forceinline__ void multiply_all(const attend_args &a, turns turn,
                                                    const common &c, ring<2> facts, worker w,
                                                    float *recent_values) {
    for (; turn.are(); turn.next(), facts.next()) {
        await(facts.full(), facts.phase);
        multiply<D>(a, c.of[facts.stage], w, recent_values);
        __syncwarp();
        arrive_if(threadIdx.x % 32 == 0, facts.empty());
    }
}
#endif

// Recent tokens first, part by part, then the sinks, which are one part.
template <int D, bool CONVERTED>
static __global__ void __launch_bounds__(THREADS, 1)
    attend_wide_kernel(const __grid_constant__ attend_args a,
                       const __grid_constant__ tile_list list, uint32_t raw_bytes) {
#ifdef RILL_WGMMA
    extern __shared__ __align__(16) uint8_t unaligned[];
    __shared__ common c;
    let_next_begin();
    uint8_t *shared = unaligned + (-shared_address(unaligned) & 1023);
    uint8_t *tiles = shared + RECENT_BYTES<D>;
    ring<STAGES> stages = {shared_address(c.stages)};
    ring<2> facts = {shared_address(c.facts)};
    const turns turn = {a.n_kv_heads, list.first[list.n_runs], blockIdx.x};
    if (a.head_dim != D) {
        clear_shared(tiles, STAGES * TILE_BYTES<D>, threadIdx.x, THREADS);
        wgmma_fence_shared();
    }
    if (threadIdx.x == 0) {
        stages.make(BRINGERS / 32, WORKERS / 32);
        facts.make(1, WORKERS / 32);
        barriers_made();
    }
    __syncthreads();
    wait_for_previous();
    if (threadIdx.x >= WORKERS) {
        leave_registers<56>();  // of 168 that all begin with

        uint8_t *rows = tiles + STAGES * TILE_BYTES<D>;
        if constexpr (CONVERTED)
            bring_all(a, list, turn, c, facts,
                      converter<D>{tiles, a.head_dim, stages, rows, raw_bytes});
        else
            bring_all(a, list, turn, c, facts, bringer<D>{tiles, a.head_dim, stages, stages});
    } else {
        take_registers<224>();
        worker w = {stages, shared_address(tiles), TILE_BYTES<D>};
        multiply_all<D>(a, turn, c, facts, w, (float *)shared);
    }
#endif
}

template <int D, bool CONVERTED>
static bool launch(rill__cuda *cu, const attend_args &args, const tile_list &list, uint32_t raw) {
    size_t bytes = 1024 + RECENT_BYTES<D> + STAGES * TILE_BYTES<D> + (CONVERTED ? 2 * raw : 0);
    if (!allow_shared(cu, (const void *)attend_wide_kernel<D, CONVERTED>, bytes)) return false;
    uint32_t all = args.n_kv_heads * list.first[list.n_runs];
    if (!all) return true;
    uint32_t grid = all < (uint32_t)cu->processors ? all : (uint32_t)cu->processors;
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
    uint32_t raw = raw_bytes(BLOCK_KEYS, max(kinds.key_row_bytes, kinds.value_row_bytes));
    switch (attend_width(args.head_dim) * 2 + kinds.converted) {
    case 128: return launch<64, false>(cu, args, list, raw);
    case 129: return launch<64, true>(cu, args, list, raw);
    case 256: return launch<128, false>(cu, args, list, raw);
    case 257: return launch<128, true>(cu, args, list, raw);
    default: return false;
    }
}
