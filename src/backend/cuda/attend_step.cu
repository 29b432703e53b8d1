// SPDX-License-Identifier: MIT
// Attention of one row of each stream on Hopper, from what the projections left on: what
// rotate_store and the split way do, with the same bits, and with one wait instead of three. At one
// row a kernel's time is not what it does but what it waits for.
//
// A cluster of blocks has a row and a key-value head. What they see is cut into blocks of 64 keys,
// which are dealt to the warps of the cluster in turn. Each warp has a ring of chunks of 16 keys or
// values, filled before the kernel waits for the projections: all that is seen but the newest token
// was there before the pass. That one is turned and stored by the threads that meet it, and queries
// by each block for itself.
//
// What the warps have of their blocks stays in shared memory. From there the threads of the cluster
// join blocks to parts, and then parts, in order (attend_tile.cuh), some columns each.
#include "backend/cuda/attend_step.cuh"

enum { MOST_PLACES = 8, MOST_CLUSTER = 8 };

// Beside a product of a step (product_stream.cuh) there is so much shared memory.
static const size_t STEP_MEMORY = 112 << 10, MOST_STEP_MEMORY = 224 << 10;

// Floats of a query's row of sums.
template <int D> constexpr uint32_t SUMS_STRIDE = D + TILE_PADDING;

// Numbers of four columns of all queries: how many a block of the cluster has in the end.
struct step_share {
    uint32_t all, own;
};

static __host__ __device__ __forceinline__ step_share share_of(uint32_t numbers, uint32_t blocks) {
    return {numbers, (numbers + blocks - 1) / blocks};
}

// Where things lie in a block's shared memory. Rings come first; parts take their place.
struct step_layout {
    uint32_t queries;  // [2 frames, group + 1] rows
    uint32_t fresh;    // the newest token's key and value, as the cache has them
    uint32_t sums;     // [slots, group, SUMS_STRIDE] floats
    uint32_t states;   // [slots, group, 2] floats
    uint32_t bytes;
};

template <int D, int TYPE>
static __host__ __device__ __forceinline__ step_layout lay_out_step(const step_args &p,
                                                                    uint32_t group,
                                                                    const step_share &share) {
    step_layout l;
    uint32_t rings = p.warps * p.places * PLACE_BYTES<D, TYPE>, parts = p.parts * share.own * 24;
    l.queries = ((rings > parts ? rings : parts) + 15) / 16 * 16;
    l.fresh = l.queries + 2 * (group + 1) * QUERY_STRIDE<D>;
    l.sums = l.fresh + (2 * ROW_BYTES<D, TYPE> + 15) / 16 * 16;
    l.states = l.sums + p.slots * group * SUMS_STRIDE<D> * 4;
    l.bytes = l.states + p.slots * group * 8;
    return l;
}

#if __CUDA_ARCH__ >= 900

// ---- What a warp has of a block of keys ---------------------------------------------------------

template <int D, int TYPE>
static __device__ __forceinline__ void keep_sums(float *sums, float2 *states, uint32_t group,
                                                 const two_states &s, const float from[D / 16][4]) {
    uint32_t g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    if (t == 0 && g < group) states[g] = {s.greatest[0], s.sum[0]};
#pragma unroll
    for (int e = 0; e < 2; e++) {
        if (2 * t + e >= group) break;
        float *to = sums + (2 * t + e) * SUMS_STRIDE<D>;
        if (is_packed(TYPE)) {
#pragma unroll
            for (int i = 0; i < D / 16; i += 2)
                *(float4 *)(to + 16 * i + 4 * g) = {from[i][e], from[i][2 + e], from[i + 1][e],
                                                    from[i + 1][2 + e]};
        } else {
#pragma unroll
            for (int i = 0; i < D / 16; i++) {
                to[16 * i + g] = from[i][e];
                to[16 * i + 8 + g] = from[i][2 + e];
            }
        }
    }
}

// What the lane's query sees, relative to the block's first key.
static __device__ __forceinline__ sight look(const attend_args &a, const step_view &v,
                                             const step_block &b, float sink_scale) {
    int place = b.of_sinks ? v.sink_place : v.place;
    sight s = {b.all.begin - b.first, b.all.end - b.first, 0, place - b.first, 0};
    if (!a.alibi) return s;
    uint32_t query = min(threadIdx.x % 32 / 4, a.group - 1);
    s.slope = __fmul_rn(a.slopes[blockIdx.z * a.group + query], LOG2E);
    if (b.of_sinks) s.slope = __fmul_rn(s.slope, sink_scale);
    return s;
}

// ---- Joining ------------------------------------------------------------------------------------

static __device__ __forceinline__ void come_to_cluster() {
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");
}
// The same of who has only read, and has what it read.
static __device__ __forceinline__ void leave_cluster() {
    asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
static __device__ __forceinline__ void wait_for_cluster() {
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

// The same place in another block of the cluster.
template <class T>
static __device__ __forceinline__ const T *of_block(const T *here, uint32_t block) {
    const T *there;
    asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(here), "r"(block));
    return there;
}

// Four columns of a query: what some keys make of them.
struct step_quad {
    float greatest;
    float sum;
    float4 value;
};

// `join` N times, in order, with no branch: factors are found side by side. What sees nothing has
// the state -inf, 0 and finite values.
template <int N>
static __device__ __forceinline__ void join_quads(step_quad &s, const float2 states[N],
                                                  const float4 values[N]) {
    joint j[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        float most = fmaxf(s.greatest, states[i].x);
        bool none = states[i].x == -INFINITY;
        j[i].keep = none ? 1 : power_of_two(__fsub_rn(s.greatest, most));
        j[i].gain = none ? 0 : power_of_two(__fsub_rn(states[i].x, most));
        s.greatest = most;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        s.sum = joined(s.sum, states[i].y, j[i]);
        s.value = {joined(s.value.x, values[i].x, j[i]), joined(s.value.y, values[i].y, j[i]),
                   joined(s.value.z, values[i].z, j[i]), joined(s.value.w, values[i].w, j[i])};
    }
}

// Blocks [first, end) of keys, wherever in the cluster they were met. They are asked for several at
// a time: each answer takes as long as all.
template <int D>
static __device__ __forceinline__ step_quad join_blocks(const float *sums, const float2 *states,
                                                        uint32_t shift, uint32_t group,
                                                        uint32_t query, uint32_t column,
                                                        uint32_t first, uint32_t end) {
    step_quad s = {-INFINITY, 0, {0, 0, 0, 0}};
    for (; first < end; first += PART_BLOCKS) {
        float2 state[PART_BLOCKS];
        float4 value[PART_BLOCKS];
#pragma unroll
        for (uint32_t i = 0; i < PART_BLOCKS; i++) {
            uint32_t block = min(first + i, end - 1), from = block % (1u << shift);
            uint32_t row = (block >> shift) * group + query;
            state[i] = *of_block(states + row, from);
            value[i] = *(const float4 *)of_block(sums + row * SUMS_STRIDE<D> + column, from);
            if (first + i >= end) state[i] = {-INFINITY, 0};
        }
        join_quads<PART_BLOCKS>(s, state, value);
    }
    return s;
}

static __device__ __forceinline__ uint32_t recent_parts(const step_view &v) {
    return (v.n_blocks - v.n_sinks + v.in_part + PART_BLOCKS - 1) / PART_BLOCKS;
}

// Blocks become parts, the sinks first, of the numbers that are this block's.
template <int D>
static __device__ __forceinline__ void
make_parts(const step_view &v, uint32_t shift, uint32_t group, const float *sums,
           const float2 *states, const step_share &share, float4 *values, float2 *part_states) {
    for (uint32_t i = threadIdx.x; i < (1 + recent_parts(v)) * share.own; i += STEP_THREADS) {
        uint32_t part = i / share.own, number = blockIdx.x * share.own + i % share.own;
        if (number >= share.all) continue;
        uint32_t first = 0, end = v.n_sinks;
        if (part) {
            int begin = (int)((part - 1) * PART_BLOCKS) - (int)v.in_part;
            first = v.n_sinks + (uint32_t)max(begin, 0);
            end = min(v.n_sinks + (uint32_t)(begin + PART_BLOCKS), v.n_blocks);
        }
        step_quad s = join_blocks<D>(sums, states, shift, group, number / (D / 4),
                                     number % (D / 4) * 4, first, end);
        values[i] = s.value;
        part_states[i] = {s.greatest, s.sum};
    }
}

// Parts become results.
template <int D>
static __device__ __forceinline__ void finish(const attend_args &a, const step_view &v, float cap,
                                              const step_share &share, const float4 *values,
                                              const float2 *states) {
    enum { BATCH = 5 };  // parts at a time
    uint32_t n_parts = recent_parts(v);
    for (uint32_t i = threadIdx.x; i < share.own; i += STEP_THREADS) {
        uint32_t number = blockIdx.x * share.own + i;
        if (number >= share.all) break;
        step_quad recent = {-INFINITY, 0, {0, 0, 0, 0}};
        for (uint32_t first = 1; first <= n_parts; first += BATCH) {
            float2 state[BATCH];
            float4 value[BATCH];
#pragma unroll
            for (uint32_t k = 0; k < BATCH; k++) {
                uint32_t from = min(first + k, n_parts) * share.own + i;
                state[k] = first + k > n_parts ? float2{-INFINITY, 0} : states[from];
                value[k] = values[from];
            }
            join_quads<BATCH>(recent, state, value);
        }
        uint32_t head = blockIdx.z * a.group + number / (D / 4);
        joint j = last_shares(a, head, cap, states[i].x, states[i].y, recent.greatest, recent.sum);
        float4 x = values[i];
        x = {last_value(x.x, recent.value.x, j), last_value(x.y, recent.value.y, j),
             last_value(x.z, recent.value.z, j), last_value(x.w, recent.value.w, j)};
        size_t at = ((size_t)blockIdx.y * a.n_heads + head) * D + number % (D / 4) * 4;
        *(float4 *)(a.out + at) = x;
        if (a.half)
            *(uint2 *)(a.half + at) = {half_bits(__floats2half2_rn(x.x, x.y)),
                                       half_bits(__floats2half2_rn(x.z, x.w))};
    }
}
#endif

// ---- The kernel ---------------------------------------------------------------------------------

template <int D, int TYPE>
static __global__ void __launch_bounds__(STEP_THREADS, 2)
    attend_step_kernel(const __grid_constant__ attend_args a, const __grid_constant__ step_args p) {
#if __CUDA_ARCH__ >= 900
    extern __shared__ __align__(1024) uint8_t memory[];
    let_next_begin();
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = a.group;
    const rill__row row = a.rows[blockIdx.y];
    const rill__cuda_kv kv = a.caches[blockIdx.y];
    const step_share share = share_of(group * (D / 4), gridDim.x);
    const step_layout at = lay_out_step<D, TYPE>(p, group, share);
    const step_view v = view_of<D, TYPE>(a, row, kv);
    __half *const queries = (__half *)(memory + at.queries);
    uint8_t *const fresh = memory + at.fresh;
    float *const sums = (float *)(memory + at.sums);
    float2 *const states = (float2 *)(memory + at.states);

    const uint32_t end = warp < p.warps ? v.n_blocks : 0;
    step_ring ring = {shared_address(memory) + warp * p.places * PLACE_BYTES<D, TYPE>, p.places};
    ring.block = warp < p.warps ? blockIdx.x + gridDim.x * warp : v.n_blocks;
    ring.step = gridDim.x * p.warps;
#pragma unroll 1
    for (uint32_t i = 0; i < p.places; i++) load_chunk<D, TYPE>(v, ring, tile_of<D, TYPE>(ring, i));
    for (uint32_t i = threadIdx.x; i < 2 * D; i += STEP_THREADS)
        queries[(i / D * (group + 1) + group) * (D + TILE_PADDING) + i % D] = __half(0);
    // Who meets the newest token stores it, a warp 32 columns of its key or its value.
    static_assert(2 * D / 32 <= STEP_WARPS, "");
    const bool stores = (v.n_blocks - 1) % gridDim.x == blockIdx.x && warp < 2 * D / 32;
    const bool stores_key = warp < D / 32;
    const uint32_t column_block = warp % (D / 32);

    wait_for_previous();
    fresh_number number = {};
    if (stores) number = ask_fresh<D>(a, p, stores_key, column_block * 32 + lane);
    turn_queries<D, TYPE>(a, p, kv.sink_scale, queries);
    if (stores) store_fresh<D, TYPE>(v, number, stores_key, column_block, fresh);
    __syncthreads();

#pragma unroll 1
    for (uint32_t block = blockIdx.x + gridDim.x * warp, slot = warp; block < end;
         block += ring.step, slot += p.warps) {
        const step_block b = block_at(v, block);
        const uint32_t q_at = shared_address(queries) + lane / 16 * 16 +
                              (b.of_sinks * (group + 1) + min(lane % 16, group)) * QUERY_STRIDE<D>;
        float s[8][2] = {};
        score_keys<D, TYPE>(v, ring, b, q_at, fresh, s);
        const sight seen = look(a, v, b, kv.sink_scale);
        lower_and_mask<1>(s, &seen, 0, a.alibi);
        uint32_t weights[HALF_CHUNKS][2];
        const two_states state = soften<1>(s, weights);
        float values[D / 16][4] = {};
        mix_values<D, TYPE>(v, ring, b, weights, fresh + ROW_BYTES<D, TYPE>, values);
        keep_sums<D, TYPE>(sums + slot * group * SUMS_STRIDE<D>, states + slot * group, group,
                           state, values);
    }

    come_to_cluster();
    wait_for_cluster();
    float4 *const parts = (float4 *)memory;
    float2 *const part_states = (float2 *)(parts + p.parts * share.own);
    make_parts<D>(v, p.shift, group, sums, states, share, parts, part_states);
    leave_cluster();
    __syncthreads();
    finish<D>(a, v, kv.sink_cap, share, parts, part_states);
    wait_for_cluster();  // they may still read
#endif
}

// ---- Starting it --------------------------------------------------------------------------------

// How many blocks share a row's keys: as many as are at work at a time, if there are few rows. Two
// to that power.
static uint32_t cluster_of(const rill__cuda *cu, uint64_t tiles, uint32_t slots) {
    uint32_t n = 0;
    while (1u << n < MOST_CLUSTER && 1u << n < slots &&
           tiles << (n + 1) <= (uint64_t)cu->processors)
        n++;
    return n;
}

// False if there is too little room.
template <int D, int TYPE>
static bool start_step(rill__cuda *cu, const attend_args &args, step_args p, uint32_t n_rows) {
    size_t visible = cu->max_visible;
    if (args.window && args.window < visible) visible = args.window;
    uint32_t group = args.group, blocks = (uint32_t)((visible + 4 * BLOCK_KEYS - 4) / BLOCK_KEYS);
    p.shift = cluster_of(cu, (uint64_t)n_rows * args.n_kv_heads, blocks);
    uint32_t cluster = 1u << p.shift;
    step_share share = share_of(group * (D / 4), cluster);
    uint32_t bytes = 0;
    p.slots = (blocks + cluster - 1) / cluster;
    p.warps = p.slots < STEP_WARPS ? p.slots : (uint32_t)STEP_WARPS;
    p.parts = (uint32_t)((visible + 2 * PART_KEYS - 2) / PART_KEYS) + 1;
    for (size_t room : {STEP_MEMORY, MOST_STEP_MEMORY}) {
        for (p.places = MOST_PLACES; p.places > 1; p.places--) {
            bytes = lay_out_step<D, TYPE>(p, group, share).bytes;
            if (bytes <= room) break;
        }
        if (p.places > 1) break;
    }
    const void *kernel = (const void *)attend_step_kernel<D, TYPE>;
    if (p.places < 2 || !allow_shared(cu, kernel, bytes)) return false;
    // Else there may be room for one block alone.
    RILL_CUDA_TRY(cu, cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                           cudaSharedmemCarveoutMaxShared));
    rill__cuda_start_clusters(cu, "attend_step", attend_step_kernel<D, TYPE>, cluster,
                              dim3(cluster, n_rows, args.n_kv_heads), STEP_THREADS, bytes, args, p);
    return true;
}

// Whether the runs are of one row each, and their caches of one type, which is told.
static bool is_step(const rill__attention *a, rill_type *type) {
    *type = a->runs[0].kv[a->layer].key_type;
    if (a->n_rows != a->n_runs || a->n_rows > 65535) return false;
    for (size_t i = 0; i < a->n_runs; i++) {
        const rill__run *run = &a->runs[i];
        const rill__kv *kv = &run->kv[a->layer];
        if (run->first_row != i || kv->key_type != *type || kv->value_type != *type) return false;
    }
    return true;
}

bool rill__cuda_attend_step(rill__backend *be, const rill__attention *a) {
    rill__cuda *cu = rill__cuda_of(be);
    const rill__rope *rope = rill__run_rope(&a->runs[0], a->local);
    rill_type type;
    if (cu->architecture != 90 || cu->exact || a->weights || a->q_previous ||
        a->n_heads / a->n_kv_heads > STEP_QUERIES || a->n_kv_heads > 65535 || !is_step(a, &type))
        return false;
    if (a->alibi_slopes && a->n_heads > RILL_CUDA_ALIBI_HEADS) return false;
    step_args p = {};
    p.table = (const float2 *)(const void *)a->table->data;
    p.k = rill__cuda_floats(a->k);
    p.v = rill__cuda_floats(a->v);
    p.n_pairs = rope->n_pairs;
    p.interleaved = rope->interleaved;
    const attend_args args = rill__cuda_attend_args(cu, a);
    uint32_t n = (uint32_t)a->n_rows;
    bool started = false;
    switch ((uint32_t)type << 16 | a->head_dim) {
#define STEP(type, columns)                                                                        \
    case (uint32_t)(type) << 16 | (columns):                                                       \
        started = start_step<columns, type>(cu, args, p, n);                                       \
        break;
        STEP(RILL_TYPE_F16, 64)
        STEP(RILL_TYPE_F16, 128)
        STEP(RILL_TYPE_BF16, 64)
        STEP(RILL_TYPE_BF16, 128)
        STEP(RILL_TYPE_Q8_0, 64)
        STEP(RILL_TYPE_Q8_0, 128)
        STEP(RILL_TYPE_Q4_0, 64)
        STEP(RILL_TYPE_Q4_0, 128)
#undef STEP
    default: break;
    }
    if (started) rill__cuda_wrote_halves(a->out, 1);
    return started;
}
