// SPDX-License-Identifier: MIT
// Few rows of a run, most of all one: a block has up to 16 queries of a key-value head and one part
// of what they see, so that one token keeps the whole device busy. See attend.cu.
//
// Each of a block's four warps has 64 keys of the part, for itself: their keys and then their
// values come in chunks of 16 tokens, as many of which are on their way at a time as have room; of
// packed caches all are. The first are asked for while the kernel before this one still runs,
// unless they hold tokens of this pass: it rotates the query and stores the newest token, and all
// others are there.
//
// The four warps are joined in order and left in scratch memory; the last block of some queries to
// do so joins their parts, in order. Which one that is changes nothing.
#include "backend/cuda/attend_pieces.cuh"

#include <climits>

// What the warps have, for all of them.
struct results {
    float greatest[TILE_WARPS][QUERIES];
    float sum[TILE_WARPS][QUERIES];
    float part_greatest[QUERIES];  // of the rounds before
    float part_sum[QUERIES];
};

// Columns of packed values lie as attend_packed.cuh says.
template <int D>
static __device__ __forceinline__ void keep_block(results &all, float *out, uint32_t n_queries,
                                                  const two_states &states,
                                                  const float values[D / 8][4], bool packed) {
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        uint32_t q = lane / 4 + 8 * r;
        if (q >= n_queries) continue;
        if (lane % 4 == 0) {
            all.greatest[warp][q] = states.greatest[r];
            all.sum[warp][q] = states.sum[r];
        }
        float *to = out + q * RESULT_STRIDE<D> + lane % 4 * (packed ? 8 : 2);
        if (packed) {
#pragma unroll
            for (int n = 0; n < D / 8; n += 4)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; i++)
                    *(float4 *)(to + n * 8 + i % 2 * 4) = {values[n][i], values[n + 1][i],
                                                           values[n + 2][i], values[n + 3][i]};
        } else {
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                *(float2 *)(to + n * 8) = {values[n][2 * r], values[n][2 * r + 1]};
        }
    }
}

// The sums of values of four columns, and their softmax.
struct quad {
    float greatest;
    float sum;
    float4 value;
};

static __device__ __forceinline__ void join_quad(quad &s, float greatest, float sum, float4 value) {
    joint j = join(s.greatest, s.sum, greatest, sum);
    s.value = {joined(s.value.x, value.x, j), joined(s.value.y, value.y, j),
               joined(s.value.z, value.z, j), joined(s.value.w, value.w, j)};
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
    for (uint32_t i = threadIdx.x; i < n_queries * (D / 4); i += TILE_THREADS) {
        uint32_t q = i / (D / 4), column = i % (D / 4) * 4;
        if (column >= a.head_dim) continue;
        float4 *value = (float4 *)(to.values + q * a.head_dim + column);
        quad s = {-INFINITY, 0, {0, 0, 0, 0}};
        if (!first) s = {all.part_greatest[q], all.part_sum[q], *value};
#pragma unroll
        for (int b = 0; b < TILE_WARPS; b++) {
            if (all.greatest[b][q] == -INFINITY) continue;  // it may have left no values
            const float *values = (const float *)(memory + b * warp_bytes);
            join_quad(s, all.greatest[b][q], all.sum[b][q],
                      *(const float4 *)(values + q * RESULT_STRIDE<D> + column));
        }
        *value = s.value;
        if (column == 0) ((float2 *)to.states)[q] = {s.greatest, s.sum};
    }
}

// True in all threads of the last of `n` blocks; its threads see what the others left.
static __device__ bool is_last(uint32_t *done, uint32_t n) {
    __shared__ bool last;
    __syncthreads();
    // What the block's threads wrote comes before the barrier, and so before the count. It comes
    // round to zero by itself.
    if (threadIdx.x == 0) {
        uint32_t before;
        asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                     : "=r"(before)
                     : "l"(done + (size_t)blockIdx.y * gridDim.z + blockIdx.z), "r"(n - 1)
                     : "memory");
        last = before == n - 1;
    }
    __syncthreads();
    return last;
}

// Recent parts [1, n_parts] join, in order. They are asked for many at a time: each answer takes as
// long as all.
static __device__ __forceinline__ quad join_parts(const attend_args &a,
                                                  const split_scratch &scratch, uint32_t n_parts,
                                                  uint32_t q, size_t at) {
    enum { BATCH = 10 };
    quad s = {-INFINITY, 0, {0, 0, 0, 0}};
    for (uint32_t first = 1; first <= n_parts; first += BATCH) {
        float2 states[BATCH];
        float4 values[BATCH];
#pragma unroll
        for (uint32_t b = 0; b < BATCH; b++) {
            states[b] = {-INFINITY, 0};
            values[b] = {0, 0, 0, 0};
            if (first + b > n_parts) continue;
            place p = place_of(a, scratch, first + b);
            states[b] = __ldcg((const float2 *)p.states + q);
            values[b] = __ldcg((const float4 *)(p.values + at));
        }
#pragma unroll
        for (uint32_t b = 0; b < BATCH; b++) join_quad(s, states[b].x, states[b].y, values[b]);
    }
    return s;
}

// All parts of the queries become their results.
template <int D>
static __device__ void finish(const attend_args &a, const tile &t, const split_scratch &scratch,
                              float cap, bool has_sinks, uint32_t n_parts) {
    for (uint32_t i = threadIdx.x; i < t.n * (D / 4); i += TILE_THREADS) {
        uint32_t q = i / (D / 4), column = i % (D / 4) * 4, head = head_of_query(a, t, q);
        if (column >= a.head_dim) continue;
        size_t at_part = q * a.head_dim + column;
        quad sinks = {-INFINITY, 0, {0, 0, 0, 0}};
        if (has_sinks) {
            place p = place_of(a, scratch, 0);
            float2 state = __ldcg((const float2 *)p.states + q);
            sinks = {state.x, state.y, __ldcg((const float4 *)(p.values + at_part))};
        }
        quad recent = join_parts(a, scratch, n_parts, q, at_part);
        joint j = last_shares(a, head, cap, sinks.greatest, sinks.sum, recent.greatest, recent.sum);
        float4 x = {last_value(sinks.value.x, recent.value.x, j),
                    last_value(sinks.value.y, recent.value.y, j),
                    last_value(sinks.value.z, recent.value.z, j),
                    last_value(sinks.value.w, recent.value.w, j)};
        size_t at = ((size_t)row_of_query(a, t, q) * a.n_heads + head) * a.head_dim + column;
        *(float4 *)(a.out + at) = x;
        if (a.half)
            *(uint2 *)(a.half + at) = {half_bits(__floats2half2_rn(x.x, x.y)),
                                       half_bits(__floats2half2_rn(x.z, x.w))};
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
    span sinks, recent;
    seen_by_few(a, t, &sinks, &recent);
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

// The first token of a run's that this pass stores, relative to a part's first.
static __device__ __forceinline__ int fresh_of(const attend_args &a, const tile &t, uint64_t base) {
    uint64_t token = a.rows[t.first_row].token;
    return token <= base ? 0 : token - base > INT_MAX ? INT_MAX : (int)(token - base);
}

template <int D, bool PACKED>
static __global__ void __launch_bounds__(TILE_THREADS, BLOCKS<D>)
    attend_split_kernel(const __grid_constant__ attend_args a,
                        const __grid_constant__ tile_list list, split_scratch scratch,
                        ring chunks) {
    extern __shared__ __align__(16) uint8_t shared[];
    __shared__ sight sights[QUERIES];
    __shared__ results all;
    __shared__ cache_rows caches[TILE_WARPS][2];
    let_next_begin();
    const tile t = find_tile(a, list, blockIdx.y, blockIdx.z, QUERIES);
    const share own = share_of(a, t, blockIdx.x);
    if (own.seen.begin >= own.seen.end) return;
    const rill__cuda_kv &kv = a.caches[t.run];
    const uint64_t base = own.seen.begin / PART_KEYS * PART_KEYS;
    const uint32_t warp = threadIdx.x / 32;
    __half *queries = (__half *)(shared + TILE_WARPS * chunks.warp_bytes);
    job j;
    uint8_t *const memory = shared + warp * chunks.warp_bytes;
    j.memory = shared_address(memory);
    j.chunks = chunks;
    if (threadIdx.x % 32 < 2)
        caches[warp][threadIdx.x % 32] =
            rows_of(kv, a.n_kv_heads, t.kv_head, threadIdx.x % 32 == 1);
    __syncwarp();
    j.keys = &caches[warp][0];
    j.values = &caches[warp][1];
    j.seen = {(int)(own.seen.begin - base), (int)(own.seen.end - base),
              (uint32_t)rill__cuda_kv_row(&kv, own.seen.begin)};
    j.fresh = fresh_of(a, t, base);
    j.columns = a.head_dim;
    const place to = place_of(a, scratch, blockIdx.x);
    // Only more than 256 sinks take more than one round.
    for (int round = 0; round * PART_KEYS < j.seen.end; round++) {
        j.first = (round * PART_BLOCKS + (int)warp) * BLOCK_KEYS;
        bool works = j.first < j.seen.end && j.first + BLOCK_KEYS > j.seen.begin;
        if (works && j.columns != D) {
            clear_shared(memory, chunks.places * chunks.place_bytes, threadIdx.x % 32, 32);
            __syncwarp();
        }
        if (round == 0 && warp == 0)
            write_sights<QUERIES>(a, t, own.sinks, base, kv.sink_scale, sights);
        uint32_t chunk = 0;
#pragma unroll 1
        for (int fresh = round > 0; fresh < 2; fresh++) {
            uint32_t end = !works ? 0 : fresh ? chunks.places : old_loads<PACKED>(j);
            if (fresh) wait_for_previous();
#pragma unroll 1
            for (; chunk < end; chunk++) load<D, PACKED>(j, chunk);
        }
        if (round == 0) {
            load_frame<D, QUERIES>(a, t, own.sinks, kv.sink_scale, j.keys->apart, queries);
            __syncthreads();
        }
        if (works) {
            float values[D / 8][4];
            two_states states = meet_block<D, PACKED>(j, shared_address(queries), sights, a.alibi,
                                                      a.q_previous && !own.sinks, values);
            bool packed = PACKED && is_packed(j.values->type);
            keep_block<D>(all, (float *)memory, t.n, states, values, packed);
        } else if (threadIdx.x % 32 < QUERIES) {
            all.greatest[warp][threadIdx.x % 32] = -INFINITY;
        }
        __syncthreads();
        join_blocks<D>(a, all, shared, chunks.warp_bytes, t.n, round == 0, to);
        if ((round + 1) * PART_KEYS >= j.seen.end) break;
        __syncthreads();
        if (threadIdx.x < t.n) {
            all.part_greatest[threadIdx.x] = to.states[2 * threadIdx.x];
            all.part_sum[threadIdx.x] = to.states[2 * threadIdx.x + 1];
        }
    }
    if (is_last(scratch.done, own.n_parts + own.has_sinks))
        finish<D>(a, t, scratch, kv.sink_cap, own.has_sinks, own.n_parts);
}

static uint32_t greater(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

// As many places as leave room for the blocks that are there at a time.
template <int D>
static ring ring_of(const rill__cuda *cu, uint32_t queries_bytes, uint64_t blocks) {
    uint32_t at_once = (uint32_t)((blocks + cu->processors - 1) / cu->processors);
    if (at_once > BLOCKS<D>) at_once = BLOCKS<D>;
    if (at_once < 1) at_once = 1;
    ring r = {16, TILE_BYTES<D>, 0};
    do {
        r.places /= 2;
        r.warp_bytes = greater(r.places * r.place_bytes, RESULT_BYTES<D>);
    } while (r.places > 2 &&
             at_once * (TILE_WARPS * r.warp_bytes + queries_bytes + 3072) > cu->shared_bytes);
    return r;
}

// Room for all keys and values of a block.
template <int D> static ring places_of(const cache_kinds &kinds) {
    ring r = {2, raw_bytes(BLOCK_KEYS, greater(kinds.key_row_bytes, kinds.value_row_bytes)), 0};
    if (kinds.halves) r.place_bytes = greater(r.place_bytes, BLOCK_CHUNKS * TILE_BYTES<D>);
    r.warp_bytes = greater(2 * r.place_bytes, RESULT_BYTES<D>);
    return r;
}

template <int D, bool PACKED>
static bool launch(rill__cuda *cu, const attend_args &args, const tile_list &list,
                   const split_scratch &scratch, const cache_kinds &kinds) {
    dim3 grid(scratch.parts, list.first[list.n_runs], args.n_kv_heads);
    uint32_t queries_bytes = QUERIES * STRIDE<D> * (args.q_previous ? 2 : 1);
    ring r = PACKED ? places_of<D>(kinds)
                    : ring_of<D>(cu, queries_bytes, (uint64_t)grid.x * grid.y * grid.z);
    uint32_t bytes = TILE_WARPS * r.warp_bytes + queries_bytes;
    if (!allow_shared(cu, (const void *)attend_split_kernel<D, PACKED>, bytes)) return false;
    if (!grid.y) return true;
    rill__cuda_start(cu, "attend_split", attend_split_kernel<D, PACKED>, grid, TILE_THREADS, bytes,
                     args, list, scratch, r);
    return true;
}

bool rill__cuda_attend_split(rill__cuda *cu, const attend_args &args, const tile_list &list,
                             const split_scratch &scratch, const cache_kinds &kinds) {
    switch (attend_width(args.head_dim) * 2 + kinds.packed) {
    case 128: return launch<64, false>(cu, args, list, scratch, kinds);
    case 129: return launch<64, true>(cu, args, list, scratch, kinds);
    case 192: return launch<96, false>(cu, args, list, scratch, kinds);
    case 193: return launch<96, true>(cu, args, list, scratch, kinds);
    case 256: return launch<128, false>(cu, args, list, scratch, kinds);
    case 257: return launch<128, true>(cu, args, list, scratch, kinds);
    case 512: return launch<256, false>(cu, args, list, scratch, kinds);
    case 513: return launch<256, true>(cu, args, list, scratch, kinds);
    default: return false;
    }
}
