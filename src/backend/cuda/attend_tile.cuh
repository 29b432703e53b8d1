// SPDX-License-Identifier: MIT
// Tiles of queries, keys and values on tensor cores: the arithmetic that both ways of attend.cu
// share, so that they give the same bits.
//
// 16 queries meet a block of 64 keys, cut where token numbers are multiples of 64. mma.m16n8k16 has
// float16 inputs and float32 accumulators; with lane = 4 g + t its fragments are
//
//     A (16 x 16, queries x dims or keys): rows g, g + 8; columns 2t, 2t + 1, and 8 more
//     B (16 x 8, dims x keys, or keys x dims): rows 2t, 2t + 1, and 8 more; column g
//     C (16 x 8): rows g, g + 8; columns 2t, 2t + 1
//
// so two C of 8 keys side by side are one A of 16 keys: weights go from the first product to the
// second without leaving their lanes. Of a block alone, with logits in powers of two (queries carry
// log2 e),
//
//     m_b = max_j s_j,   w_j = 2^(s_j - m_b),   l_b = sum_j w_j,   o_b = sum_j w_j v_j,
//
// and it joins those before it by
//
//     m' = max(m, m_b),   l' = l 2^(m - m') + l_b 2^(m_b - m'),   o' the same.
//
// A key that a query does not see has the logit -inf, so its weight is 0, and a block of which it
// sees nothing leaves what it has as it is. Cache rows that no query of a tile sees are zeros.
#ifndef RILL_BACKEND_CUDA_ATTEND_TILE_CUH
#define RILL_BACKEND_CUDA_ATTEND_TILE_CUH

#include "backend/cuda/attend_rows.cuh"
#include "backend/cuda/mma.cuh"

enum {
    BLOCK_KEYS = 64,
    PART_KEYS = 256,  // joined by themselves first
    PART_BLOCKS = PART_KEYS / BLOCK_KEYS,
    WARP_QUERIES = 16,
    TILE_WARPS = 4,
    TILE_THREADS = 32 * TILE_WARPS,
    TILE_RUNS = 256,
};
constexpr float LOG2E = 1.44269504088896340736f;

// Which run a tile of queries is in: run i has tiles [first[i], first[i + 1]). A run's queries are
// its rows times the heads of a group, row by row.
struct tile_list {
    uint32_t n_runs;
    uint32_t first_run;
    uint32_t first[TILE_RUNS + 1];
};

// What kernels know beside their arguments: bytes that the raw rows of a load may take.
struct tile_raw {
    uint32_t keys;
    uint32_t values;
};

// Some queries of a run and a key-value head.
struct tile {
    uint32_t run;
    uint32_t first;      // query
    uint32_t n;          // queries
    uint32_t first_row;  // the run's
    uint32_t kv_head;
};

// What a query sees, relative to the first token of a part.
struct sight {
    int begin, end;
    int own;    // xPos: keys before it meet q_previous
    int place;  // the query's own, for distances
    float slope;
};

static __device__ __forceinline__ void load_matrices(uint32_t x[4], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}
static __device__ __forceinline__ void load_transposed(uint32_t x[4], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}

static __device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ---- Which queries, and what they see

static __device__ __forceinline__ tile find_tile(const attend_args &a, const tile_list &list,
                                                 uint32_t number, uint32_t kv_head,
                                                 uint32_t queries) {
    uint32_t low = 0, high = list.n_runs;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (list.first[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    tile t;
    t.run = list.first_run + low;
    t.first = (number - list.first[low]) * queries;
    rill__cuda_run run = a.runs[t.run];
    uint32_t left = run.n_rows * a.group - t.first;
    t.n = left < queries ? left : queries;
    t.first_row = run.first_row;
    t.kv_head = kv_head;
    return t;
}

static __device__ __forceinline__ uint32_t row_of_query(const attend_args &a, const tile &t,
                                                        uint32_t query) {
    return t.first_row + (t.first + query) / a.group;
}
static __device__ __forceinline__ uint32_t head_of_query(const attend_args &a, const tile &t,
                                                         uint32_t query) {
    return t.kv_head * a.group + (t.first + query) % a.group;
}

// Tokens that any of the queries sees; every warp finds out for itself.
template <int QUERIES>
static __device__ __forceinline__ span seen_by_tile(const attend_args &a, const tile &t,
                                                    bool sinks) {
    unsigned long long begin = ~0ull, end = 0;
    for (uint32_t q = threadIdx.x % 32; q < QUERIES; q += 32) {
        if (q >= t.n) break;
        span s = seen_by_row(a.window, a.rows[row_of_query(a, t, q)], sinks);
        if (s.begin >= s.end) continue;
        begin = s.begin < begin ? s.begin : begin;
        end = s.end > end ? s.end : end;
    }
    for (int step = 16; step; step /= 2) {
        unsigned long long b = __shfl_xor_sync(~0u, begin, step);
        unsigned long long e = __shfl_xor_sync(~0u, end, step);
        begin = b < begin ? b : begin;
        end = e > end ? e : end;
    }
    span all = {0, 0};
    if (end) all = {begin, end};
    return all;
}

// The same of at most 16 queries, the sinks and the recent tokens at once.
static __device__ __forceinline__ void seen_by_few(const attend_args &a, const tile &t, span *sinks,
                                                   span *recent) {
    uint32_t q = threadIdx.x % 16;
    bool first = threadIdx.x % 32 < 16;
    unsigned long long begin = ~0ull, end = 0;
    if (q < t.n) {
        span s = seen_by_row(a.window, a.rows[row_of_query(a, t, q)], first);
        if (s.begin < s.end) begin = s.begin, end = s.end;
    }
    for (int step = 8; step && t.n > 1; step /= 2) {
        unsigned long long b = __shfl_xor_sync(~0u, begin, step);
        unsigned long long e = __shfl_xor_sync(~0u, end, step);
        begin = b < begin ? b : begin;
        end = e > end ? e : end;
    }
    if (!end) begin = 0;
    *sinks = {__shfl_sync(~0u, begin, 0), __shfl_sync(~0u, end, 0)};
    *recent = {__shfl_sync(~0u, begin, 16), __shfl_sync(~0u, end, 16)};
}

// By one warp. Queries behind the last see what it sees, so that they ask for no masks.
template <int QUERIES>
static __device__ __forceinline__ void write_sights(const attend_args &a, const tile &t, bool sinks,
                                                    uint64_t base, float sink_scale, sight *out) {
    for (uint32_t i = threadIdx.x % 32; i < QUERIES; i += 32) {
        uint32_t q = i < t.n ? i : t.n - 1;
        const rill__row &row = a.rows[row_of_query(a, t, q)];
        span s = seen_by_row(a.window, row, sinks);
        sight v = {0, 0, 0, 0, 0};
        if (s.begin < s.end) {
            v.begin = (int)((int64_t)s.begin - (int64_t)base);
            v.end = (int)((int64_t)s.end - (int64_t)base);
        }
        uint64_t own = sinks ? 0 : own_fade_block(a, t.run, row.token);
        if (own > base) v.own = (int)(own - base);
        v.place = (int)((int64_t)(sinks ? row.sink_pos : row.token) - (int64_t)base);
        if (a.alibi) {
            v.slope = __fmul_rn(a.slopes[head_of_query(a, t, q)], LOG2E);
            if (sinks) v.slope = __fmul_rn(v.slope, sink_scale);
        }
        out[i] = v;
    }
}

// Queries in float16, times what makes products logits in powers of two; zeros where there are
// none.
template <int D, int QUERIES, int THREADS, class TILE>
static __device__ __forceinline__ void load_queries(const attend_args &a, const tile &t,
                                                    const float *from, float factor, bool apart,
                                                    uint8_t *to) {
// Rows that are not there are read from others, so that no load waits for a branch.
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < QUERIES * (D / 4); i += THREADS) {
        uint32_t q = i / (D / 4), column = i % (D / 4) * 4, there = min(q, t.n - 1);
        size_t row = (size_t)row_of_query(a, t, there) * a.n_heads + head_of_query(a, t, there);
        float4 x = *(const float4 *)(from + row * a.head_dim + min(column, a.head_dim - 4));
        if (q >= t.n || column >= a.head_dim) x = {0, 0, 0, 0};
        uint2 halves = {
            half_bits(__floats2half2_rn(__fmul_rn(x.x, factor), __fmul_rn(x.y, factor))),
            half_bits(__floats2half2_rn(__fmul_rn(x.z, factor), __fmul_rn(x.w, factor)))};
        put_quad<TILE>(to, q, column, halves, apart);
    }
}

// All queries that keys of a tile meet, in the keys' order; q_previous lies behind the others.
template <int D, int QUERIES, int THREADS = TILE_THREADS, class TILE = padded_tile<D>>
static __device__ __forceinline__ void load_frame(const attend_args &a, const tile &t, bool sinks,
                                                  float sink_scale, bool apart, __half *to) {
    float factor = __fmul_rn(a.scale, LOG2E);
    if (sinks) factor = __fmul_rn(factor, sink_scale);
    load_queries<D, QUERIES, THREADS, TILE>(a, t, sinks ? a.q_sink : a.q, factor, apart,
                                            (uint8_t *)to);
    if (a.q_previous && !sinks)
        load_queries<D, QUERIES, THREADS, TILE>(a, t, a.q_previous, factor, apart,
                                                (uint8_t *)(to + QUERIES * (D + TILE_PADDING)));
}

// ---- Products and weights

// Four pairs of halves, or of bfloat16, which become halves.
template <bool BF16> static __device__ __forceinline__ void as_halves(uint32_t x[4]) {
#pragma unroll
    for (int i = 0; BF16 && i < 4; i++) x[i] = halves_of_bf16(x[i]);
}

// Logits of 16 keys, of tiles in shared memory.
template <int D, bool BF16 = false>
static __device__ __forceinline__ void score(float low[4], float high[4], uint32_t queries,
                                             uint32_t keys) {
    constexpr uint32_t stride = (D + TILE_PADDING) * sizeof(__half);
    uint32_t lane = threadIdx.x % 32;
    queries += lane % 16 * stride + lane / 16 * 16;
    keys += (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 16;
#pragma unroll
    for (int i = 0; i < 4; i++) low[i] = high[i] = 0;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
        uint32_t q[4], k[4];
        load_matrices(q, queries + d * 32);
        load_matrices(k, keys + d * 32);
        as_halves<BF16>(k);
        mma(low, q, k[0], k[1]);
        mma(high, q, k[2], k[3]);
    }
}

// The same of a whole block.
template <int D>
static __device__ __forceinline__ void score_block(float s[8][4], uint32_t queries, uint32_t keys) {
    constexpr uint32_t stride = (D + TILE_PADDING) * sizeof(__half);
    uint32_t lane = threadIdx.x % 32;
    queries += lane % 16 * stride + lane / 16 * 16;
    keys += (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 16;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] = 0;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
        uint32_t q[4];
        load_matrices(q, queries + d * 32);
#pragma unroll
        for (int n = 0; n < 8; n += 2) {
            uint32_t k[4];
            load_matrices(k, keys + n * 8 * stride + d * 32);
            mma(s[n], q, k[0], k[1]);
            mma(s[n + 1], q, k[2], k[3]);
        }
    }
}

// xPos: logits of 16 keys from `first` on in place of those that meet q_previous.
// `score_them(logits)` makes those.
template <class Score>
static __device__ __forceinline__ void score_previous(float s[2][4], const sight *sights, int first,
                                                      Score score_them) {
    uint32_t lane = threadIdx.x % 32;
    int own[2] = {sights[lane / 4].own - first, sights[lane / 4 + 8].own - first};
    if (!__any_sync(~0u, own[0] > 0 || own[1] > 0)) return;
    float previous[2][4];
    score_them(previous);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int key = (int)(lane % 4) * 2 + i % 2;
        if (key < own[i / 2]) s[0][i] = previous[0][i];
        if (key + 8 < own[i / 2]) s[1][i] = previous[1][i];
    }
}

// A softmax of two queries of a lane.
struct two_states {
    float greatest[2];
    float sum[2];
};

static __device__ __forceinline__ two_states no_states() {
    return {{-INFINITY, -INFINITY}, {0, 0}};
}

// R: how many queries a lane has, of which it sees `seen`.
template <int R>
static __device__ __forceinline__ void lower_and_mask(float s[8][2 * R], const sight seen[R],
                                                      int first, bool alibi) {
    int t = (int)(threadIdx.x % 4), begin[R], end[R];
    bool all = true;
#pragma unroll
    for (int r = 0; r < R; r++) {
        begin[r] = seen[r].begin - first;
        end[r] = seen[r].end - first;
        all = all && begin[r] <= 0 && end[r] >= BLOCK_KEYS;
        if (!alibi) continue;
        float slope = -seen[r].slope;
        int farthest = seen[r].place - first - 2 * t;
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                s[n][2 * r + e] = __fmaf_rn(slope, (float)(farthest - n * 8 - e), s[n][2 * r + e]);
    }
    if (__all_sync(~0u, all)) return;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 2 * R; i++) {
            int key = n * 8 + 2 * t + i % 2;
            if (key < begin[i / 2] || key >= end[i / 2]) s[n][i] = -INFINITY;
        }
}

// Logits of a block to weights, in the order of A fragments; returns the block's states.
template <int R>
static __device__ __forceinline__ two_states soften(float s[8][2 * R], uint32_t weights[4][2 * R]) {
    two_states b = no_states();
#pragma unroll
    for (int r = 0; r < R; r++) {
        float greatest = fmaxf(s[0][2 * r], s[0][2 * r + 1]);
#pragma unroll
        for (int n = 1; n < 8; n++) greatest = fmaxf(greatest, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
        greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 1));
        greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 2));
        float from = greatest == -INFINITY ? 0 : greatest, sum = 0;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            float low = power_of_two(__fsub_rn(s[n][2 * r], from));
            float high = power_of_two(__fsub_rn(s[n][2 * r + 1], from));
            sum = __fadd_rn(sum, __fadd_rn(low, high));
            weights[n / 2][n % 2 * R + r] = half_bits(__floats2half2_rn(low, high));
        }
        sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 1));
        b.sum[r] = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 2));
        b.greatest[r] = greatest;
    }
    return b;
}

// The same of the block at `first`, with what queries see in shared memory.
static __device__ __forceinline__ two_states weigh(float s[8][4], const sight *sights, int first,
                                                   bool alibi, uint32_t weights[4][4]) {
    uint32_t g = threadIdx.x % 32 / 4;
    const sight seen[2] = {sights[g], sights[g + 8]};
    lower_and_mask<2>(s, seen, first, alibi);
    return soften<2>(s, weights);
}

// 16 keys' values of 16 columns, times their weights.
template <bool BF16 = false>
static __device__ __forceinline__ void mix(float low[4], float high[4], const uint32_t weights[4],
                                           uint32_t values) {
    uint32_t v[4];
    load_transposed(v, values);
    as_halves<BF16>(v);
    mma(low, weights, v[0], v[1]);
    mma(high, weights, v[2], v[3]);
}

// Where a lane reads its share of `mix`, in a tile of W columns.
template <int W> static __device__ __forceinline__ uint32_t values_at(uint32_t tile) {
    uint32_t lane = threadIdx.x % 32;
    return tile + (lane % 16 * (W + TILE_PADDING) + lane / 16 * 8) * sizeof(__half);
}

// ---- Putting softmaxes together

// How what is there and what comes are multiplied.
struct joint {
    float keep;
    float gain;
};

static __device__ __forceinline__ joint join(float &greatest, float &sum, float more_greatest,
                                             float more_sum) {
    joint j = {1, 0};
    if (more_greatest == -INFINITY) return j;  // nothing is seen
    float most = fmaxf(greatest, more_greatest);
    j.keep = power_of_two(__fsub_rn(greatest, most));
    j.gain = power_of_two(__fsub_rn(more_greatest, most));
    sum = __fmaf_rn(sum, j.keep, __fmul_rn(more_sum, j.gain));
    greatest = most;
    return j;
}

static __device__ __forceinline__ float joined(float x, float more, joint j) {
    return __fmaf_rn(x, j.keep, __fmul_rn(more, j.gain));
}

// What the sums of values of sinks and recent tokens are multiplied by in the end: backend.h,
// `attend`.
static __device__ __forceinline__ joint last_shares(const attend_args &a, uint32_t head, float cap,
                                                    float sinks_greatest, float sinks_sum,
                                                    float greatest, float sum) {
    float most = fmaxf(sinks_greatest, greatest), learned = 0;
    if (a.off_by_one) most = fmaxf(most, 0);
    if (a.sink_logits) {
        learned = __fmul_rn(a.sink_logits[head], LOG2E);
        most = fmaxf(most, learned);
    }
    float of_sinks = power_of_two(__fsub_rn(sinks_greatest, most));
    float of_recent = power_of_two(__fsub_rn(greatest, most));
    float mass = __fmul_rn(sinks_sum, of_sinks), rest = __fmul_rn(sum, of_recent), factor = 1;
    if (a.off_by_one) rest = __fadd_rn(rest, power_of_two(-most));
    if (a.sink_logits) rest = __fadd_rn(rest, power_of_two(__fsub_rn(learned, most)));
    if (mass > __fmul_rn(cap, __fadd_rn(mass, rest)) && rest > 0)
        factor = __fdiv_rn(__fmul_rn(cap, rest), __fmul_rn(__fsub_rn(1, cap), mass));
    float inverse = __fdiv_rn(1, __fmaf_rn(mass, factor, rest));
    return {__fmul_rn(__fmul_rn(of_sinks, factor), inverse), __fmul_rn(of_recent, inverse)};
}

static __device__ __forceinline__ float last_value(float sinks, float recent, joint j) {
    return __fmaf_rn(sinks, j.keep, __fmul_rn(recent, j.gain));
}

// Columns of the kernel that a head's are padded to with zeros; 0: none.
static inline int attend_width(uint32_t head_dim) {
    return head_dim % 16     ? 0
           : head_dim <= 64  ? 64
           : head_dim <= 96  ? 96
           : head_dim <= 128 ? 128
           : head_dim <= 256 ? 256
                             : 0;
}

#endif
