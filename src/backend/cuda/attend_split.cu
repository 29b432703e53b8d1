// SPDX-License-Identifier: MIT
// Few rows of a run, most of all one: a block has up to 16 queries of a key-value head and one part
// of what they see, so that one token keeps the whole device busy. See attend.cu.
//
// Each of a block's four warps has 64 keys of the part, for itself: their keys and then their
// values come in chunks of 16 tokens, CHUNKS of which are on their way at a time. The four are then
// joined in order and left in scratch memory; the last block of some queries to do so joins their
// parts, in order. Which one that is changes nothing.
#include "backend/cuda/attend_launch.cuh"

enum {
    QUERIES = WARP_QUERIES,
    CHUNK_KEYS = 16,
    BLOCK_CHUNKS = BLOCK_KEYS / CHUNK_KEYS,
};

template <int D> constexpr int CHUNKS = D > 128 ? 3 : 4;
template <int D> constexpr uint32_t STRIDE = (D + TILE_PADDING) * (uint32_t)sizeof(__half);
template <int D> constexpr uint32_t TILE_BYTES = CHUNK_KEYS *STRIDE<D>;
// Sums of values for the other warps, in place of what was loaded: rows of D + 8 floats.
template <int D> constexpr uint32_t RESULT_STRIDE = D + TILE_PADDING;
template <int D> constexpr uint32_t RESULT_BYTES = QUERIES *RESULT_STRIDE<D> * 4;

// What a warp loads and where to.
struct job {
    uint8_t *memory;  // CHUNKS places of place_bytes, and a tile if they are converted
    uint32_t place_bytes;
    const cache_rows *keys;  // in shared memory
    const cache_rows *values;
    view seen;
    int first;         // key of the block
    uint32_t columns;  // of a head
};

template <int D, bool CONVERTED>
static __device__ __forceinline__ void load(const job &j, int chunk) {
    if (chunk < 2 * BLOCK_CHUNKS) {
        const cache_rows &c = chunk < BLOCK_CHUNKS ? *j.keys : *j.values;
        stretch some =
            stretch_of(c, j.seen, j.first + chunk % BLOCK_CHUNKS * CHUNK_KEYS, CHUNK_KEYS);
        uint32_t to = shared_address(j.memory) + chunk % CHUNKS<D> * j.place_bytes;
        if (CONVERTED)
            load_raw<32>(to, c, some);
        else
            load_halves<CHUNK_KEYS, D, 32>(to, c, some, 0, j.columns);
    }
    copies_end();
}

// Waits for a chunk; returns its tile. All but the last CHUNKS - 1 copies are waited for.
template <int D, bool CONVERTED>
static __device__ __forceinline__ uint32_t take(const job &j, int chunk) {
    wait_for_copies<CHUNKS<D> - 1>();
    __syncwarp();
    uint8_t *place = j.memory + chunk % CHUNKS<D> * j.place_bytes;
    if (!CONVERTED) return shared_address(place);
    const cache_rows &c = chunk < BLOCK_CHUNKS ? *j.keys : *j.values;
    stretch some = stretch_of(c, j.seen, j.first + chunk % BLOCK_CHUNKS * CHUNK_KEYS, CHUNK_KEYS);
    __half *tile = (__half *)(j.memory + CHUNKS<D> * j.place_bytes);
    convert<CHUNK_KEYS, D, 32>(tile, place, c, some, 0, j.columns);
    __syncwarp();
    return shared_address(tile);
}

// A chunk is done with: the next one may take its place.
template <int D, bool CONVERTED>
static __device__ __forceinline__ void release(const job &j, int chunk) {
    __syncwarp();
    load<D, CONVERTED>(j, chunk + CHUNKS<D>);
}

template <int D, bool CONVERTED>
static __device__ __forceinline__ void begin_loading(const job &j) {
    if (j.columns != D) {
        clear_shared(j.memory, CHUNKS<D> * j.place_bytes + (CONVERTED ? TILE_BYTES<D> : 0),
                     threadIdx.x % 32, 32);
        __syncwarp();
    }
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS<D>; chunk++) load<D, CONVERTED>(j, chunk);
}

// The queries meet the block; `values` are the sums of its values.
template <int D, bool CONVERTED>
static __device__ __forceinline__ two_states meet_block(const job &j, uint32_t queries,
                                                        const sight *sights, bool alibi,
                                                        bool previous, float values[D / 8][4]) {
    float s[8][4];
    uint32_t weights[4][4];
#pragma unroll
    for (int i = 0; i < BLOCK_CHUNKS; i++) {
        uint32_t keys = take<D, CONVERTED>(j, i);
        score<D>(s[2 * i], s[2 * i + 1], queries, keys);
        if (previous)
            score_previous<D>(s[2 * i], s[2 * i + 1], queries + QUERIES * STRIDE<D>, keys, sights,
                              j.first + i * CHUNK_KEYS);
        release<D, CONVERTED>(j, i);
    }
    two_states states = weigh(s, sights, j.first, alibi, weights);
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) values[n][i] = 0;
#pragma unroll
    for (int i = 0; i < BLOCK_CHUNKS; i++) {
        uint32_t at = values_at<D>(take<D, CONVERTED>(j, BLOCK_CHUNKS + i));
#pragma unroll
        for (int n = 0; n < D / 8; n += 2)
            mix(values[n], values[n + 1], weights[i], at + n * 8 * sizeof(__half));
        release<D, CONVERTED>(j, BLOCK_CHUNKS + i);
    }
    return states;
}

// What the warps have, for all of them.
struct results {
    float greatest[TILE_WARPS][QUERIES];
    float sum[TILE_WARPS][QUERIES];
    float part_greatest[QUERIES];  // of the rounds before
    float part_sum[QUERIES];
};

template <int D>
static __device__ __forceinline__ void keep_block(results &all, float *out, uint32_t n_queries,
                                                  const two_states &states,
                                                  const float values[D / 8][4]) {
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        uint32_t q = lane / 4 + 8 * r;
        if (q >= n_queries) continue;
        if (lane % 4 == 0) {
            all.greatest[warp][q] = states.greatest[r];
            all.sum[warp][q] = states.sum[r];
        }
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            *(float2 *)(out + q * RESULT_STRIDE<D> + n * 8 + lane % 4 * 2) =
                float2{values[n][2 * r], values[n][2 * r + 1]};
    }
}

// The sum of values at one place and its softmax.
struct single {
    float greatest;
    float sum;
    float value;
};

static __device__ __forceinline__ void join_single(single &s, float greatest, float sum,
                                                   float value) {
    joint j = join(s.greatest, s.sum, greatest, sum);
    s.value = joined(s.value, value, j);
}

// Where the part of these queries is left.
struct place {
    float *states;  // [queries, 2]
    float *values;  // [queries, head_dim]
};

static __device__ __forceinline__ place place_of(const attend_args &a, const split_scratch &scratch,
                                                 uint32_t part) {
    size_t at = (size_t)blockIdx.y * gridDim.z + blockIdx.z;
    at = (at * scratch.parts + part) * scratch.queries;
    return {scratch.states + at * 2, scratch.values + at * a.head_dim};
}

// The warps' blocks join the rounds before.
template <int D>
static __device__ __forceinline__ void
join_blocks(const attend_args &a, results &all, const uint8_t *memory, uint32_t warp_bytes,
            uint32_t n_queries, bool first, const place &to) {
    for (uint32_t i = threadIdx.x; i < n_queries * a.head_dim; i += TILE_THREADS) {
        uint32_t q = i / a.head_dim, column = i % a.head_dim;
        single s = {-INFINITY, 0, 0};
        if (!first) s = {all.part_greatest[q], all.part_sum[q], to.values[i]};
#pragma unroll
        for (int b = 0; b < TILE_WARPS; b++) {
            if (all.greatest[b][q] == -INFINITY) continue;  // it may have left no values
            const float *values = (const float *)(memory + b * warp_bytes);
            join_single(s, all.greatest[b][q], all.sum[b][q],
                        values[q * RESULT_STRIDE<D> + column]);
        }
        to.values[i] = s.value;
    }
    if (threadIdx.x >= n_queries) return;
    uint32_t q = threadIdx.x;
    single s = {-INFINITY, 0, 0};
    if (!first) s = {to.states[2 * q], to.states[2 * q + 1], 0};
    for (int b = 0; b < TILE_WARPS; b++)
        if (all.greatest[b][q] != -INFINITY) join_single(s, all.greatest[b][q], all.sum[b][q], 0);
    to.states[2 * q] = s.greatest;
    to.states[2 * q + 1] = s.sum;
}

// True in all threads of the last of `n` blocks; its threads see what the others left.
static __device__ bool is_last(uint32_t *done, uint32_t n) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        // Comes round to zero by itself.
        last = atomicInc(done + (size_t)blockIdx.y * gridDim.z + blockIdx.z, n - 1) == n - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// All parts of the queries become their results.
static __device__ void finish(const attend_args &a, const tile &t, const split_scratch &scratch,
                              float cap, bool has_sinks, uint32_t n_parts) {
    for (uint32_t i = threadIdx.x; i < t.n * a.head_dim; i += TILE_THREADS) {
        uint32_t q = i / a.head_dim, column = i % a.head_dim, head = head_of_query(a, t, q);
        single sinks = {-INFINITY, 0, 0}, recent = sinks;
        if (has_sinks) {
            place p = place_of(a, scratch, 0);
            float2 state = __ldcg((const float2 *)p.states + q);
            sinks = {state.x, state.y, __ldcg(p.values + i)};
        }
#pragma unroll 8
        for (uint32_t part = 1; part <= n_parts; part++) {
            place p = place_of(a, scratch, part);
            float2 state = __ldcg((const float2 *)p.states + q);
            join_single(recent, state.x, state.y, __ldcg(p.values + i));
        }
        joint j = last_shares(a, head, cap, sinks.greatest, sinks.sum, recent.greatest, recent.sum);
        float x = last_value(sinks.value, recent.value, j);
        size_t at = ((size_t)row_of_query(a, t, q) * a.n_heads + head) * a.head_dim + column;
        a.out[at] = x;
        if (a.half) a.half[at] = __float2half_rn(x);
    }
}

// What a block has of what its queries see: the sinks, or a part of the recent tokens.
struct share {
    span seen;
    bool sinks;
    bool has_sinks;
    uint32_t n_parts;  // of recent tokens
};

static __device__ __forceinline__ share share_of(const attend_args &a, const tile &t,
                                                 uint32_t number) {
    span sinks = seen_by_tile<QUERIES>(a, t, true), recent = seen_by_tile<QUERIES>(a, t, false);
    share s = {{0, 0}, number == 0, sinks.begin < sinks.end, 0};
    uint64_t first = recent.begin / PART_KEYS;
    if (recent.begin < recent.end) s.n_parts = (uint32_t)((recent.end - 1) / PART_KEYS - first + 1);
    if (s.sinks) {
        s.seen = sinks;
    } else if (number <= s.n_parts) {
        uint64_t begin = (first + number - 1) * PART_KEYS, end = begin + PART_KEYS;
        s.seen = {begin > recent.begin ? begin : recent.begin, end < recent.end ? end : recent.end};
    }
    return s;
}

template <int D, bool CONVERTED>
static __global__ void __launch_bounds__(TILE_THREADS, D <= 64    ? 4
                                                       : D <= 128 ? 3
                                                                  : 2)
    attend_split_kernel(const __grid_constant__ attend_args a,
                        const __grid_constant__ tile_list list, split_scratch scratch,
                        uint32_t place_bytes, uint32_t warp_bytes) {
    extern __shared__ __align__(16) uint8_t shared[];
    __shared__ sight sights[QUERIES];
    __shared__ results all;
    __shared__ cache_rows caches[TILE_WARPS][2];
    let_next_begin();
    wait_for_previous();
    const tile t = find_tile(a, list, blockIdx.y, blockIdx.z, QUERIES);
    const share own = share_of(a, t, blockIdx.x);
    if (own.seen.begin >= own.seen.end) return;
    const rill__cuda_kv &kv = a.caches[t.run];
    const uint64_t base = own.seen.begin / PART_KEYS * PART_KEYS;
    const uint32_t warp = threadIdx.x / 32;
    __half *queries = (__half *)(shared + TILE_WARPS * warp_bytes);
    job j;
    j.memory = shared + warp * warp_bytes;
    j.place_bytes = place_bytes;
    if (threadIdx.x % 32 < 2)
        caches[warp][threadIdx.x % 32] =
            rows_of(kv, a.n_kv_heads, t.kv_head, threadIdx.x % 32 == 1);
    __syncwarp();
    j.keys = &caches[warp][0];
    j.values = &caches[warp][1];
    j.seen = {(int)(own.seen.begin - base), (int)(own.seen.end - base),
              (uint32_t)rill__cuda_kv_row(&kv, own.seen.begin)};
    j.columns = a.head_dim;
    const place to = place_of(a, scratch, blockIdx.x);
    // Only more than 256 sinks take more than one round.
    for (int round = 0; round * PART_KEYS < j.seen.end; round++) {
        j.first = (round * PART_BLOCKS + (int)warp) * BLOCK_KEYS;
        bool works = j.first < j.seen.end && j.first + BLOCK_KEYS > j.seen.begin;
        if (works) begin_loading<D, CONVERTED>(j);
        if (round == 0) {
            if (warp == 0) write_sights<QUERIES>(a, t, own.sinks, base, kv.sink_scale, sights);
            load_frame<D, QUERIES>(a, t, own.sinks, kv.sink_scale, queries);
            __syncthreads();
        }
        if (works) {
            float values[D / 8][4];
            two_states states =
                meet_block<D, CONVERTED>(j, shared_address(queries), sights, a.alibi,
                                         a.q_previous && !own.sinks, values);
            keep_block<D>(all, (float *)j.memory, t.n, states, values);
        } else if (threadIdx.x % 32 < QUERIES) {
            all.greatest[warp][threadIdx.x % 32] = -INFINITY;
        }
        __syncthreads();
        join_blocks<D>(a, all, shared, warp_bytes, t.n, round == 0, to);
        __syncthreads();
        if (threadIdx.x < t.n) {
            all.part_greatest[threadIdx.x] = to.states[2 * threadIdx.x];
            all.part_sum[threadIdx.x] = to.states[2 * threadIdx.x + 1];
        }
    }
    if (is_last(scratch.done, own.n_parts + own.has_sinks))
        finish(a, t, scratch, kv.sink_cap, own.has_sinks, own.n_parts);
}

static uint32_t greater(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

template <int D, bool CONVERTED>
static bool launch(rill__cuda *cu, const attend_args &args, const tile_list &list,
                   const split_scratch &scratch, uint32_t raw) {
    uint32_t place_bytes = CONVERTED ? raw : TILE_BYTES<D>;
    uint32_t warp_bytes =
        greater(CHUNKS<D> * place_bytes + (CONVERTED ? TILE_BYTES<D> : 0), RESULT_BYTES<D>);
    uint32_t bytes = TILE_WARPS * warp_bytes + QUERIES * STRIDE<D> * (args.q_previous ? 2 : 1);
    if (!allow_shared(cu, (const void *)attend_split_kernel<D, CONVERTED>, bytes)) return false;
    dim3 grid(scratch.parts, list.first[list.n_runs], args.n_kv_heads);
    if (!grid.y) return true;
    rill__cuda_start(cu, "attend_split", attend_split_kernel<D, CONVERTED>, grid, TILE_THREADS,
                     bytes, args, list, scratch, place_bytes, warp_bytes);
    return true;
}

bool rill__cuda_attend_split(rill__cuda *cu, const attend_args &args, const tile_list &list,
                             const split_scratch &scratch, bool converted, uint32_t key_row_bytes,
                             uint32_t value_row_bytes) {
    uint32_t raw = raw_bytes(CHUNK_KEYS, greater(key_row_bytes, value_row_bytes));
    switch (attend_width(args.head_dim) * 2 + converted) {
    case 128: return launch<64, false>(cu, args, list, scratch, raw);
    case 129: return launch<64, true>(cu, args, list, scratch, raw);
    case 192: return launch<96, false>(cu, args, list, scratch, raw);
    case 193: return launch<96, true>(cu, args, list, scratch, raw);
    case 256: return launch<128, false>(cu, args, list, scratch, raw);
    case 257: return launch<128, true>(cu, args, list, scratch, raw);
    case 512: return launch<256, false>(cu, args, list, scratch, raw);
    case 513: return launch<256, true>(cu, args, list, scratch, raw);
    default: return false;
    }
}
