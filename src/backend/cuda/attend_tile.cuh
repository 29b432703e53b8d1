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

#include "backend/cuda/attend.cuh"

enum {
    BLOCK_KEYS = 64,
    PART_KEYS = 256,  // joined by themselves first
    PART_BLOCKS = PART_KEYS / BLOCK_KEYS,
    WARP_QUERIES = 16,
    TILE_WARPS = 4,
    TILE_THREADS = 32 * TILE_WARPS,
    TILE_RUNS = 256,
    TILE_PADDING = 8,  // halves behind a row: eight rows begin in eight groups of banks
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

// Keys or values of a head.
struct cache_rows {
    const uint8_t *data;
    const uint8_t *end;  // of the whole cache
    uint32_t row_bytes;
    int type;
    uint32_t n_sinks;
    uint32_t n_rows;
};

// What the queries of a tile see together, relative to a part's first token.
struct view {
    int begin, end;
    uint32_t row;  // of the cache, of token `begin`
};

// Positions of a load that somebody sees.
struct stretch {
    int begin, end;
    uint32_t row;
};

static __device__ __forceinline__ uint32_t shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

// 16 bytes to shared memory, zeros behind the first n.
static __device__ __forceinline__ void copy_async(uint32_t to, const void *from, int n) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(n)
                 : "memory");
}
static __device__ __forceinline__ void copies_end() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int LATER> static __device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
}

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

static __device__ __forceinline__ void multiply(float c[4], const uint32_t a[4], uint32_t b0,
                                                uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

static __device__ __forceinline__ uint32_t half_bits(__half2 h) {
    return *reinterpret_cast<uint32_t *>(&h);
}
static __device__ __forceinline__ __half2 half_pair(uint32_t bits) {
    return *reinterpret_cast<__half2 *>(&bits);
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
// none. `to` has rows of D + TILE_PADDING.
template <int D, int QUERIES>
static __device__ __forceinline__ void load_queries(const attend_args &a, const tile &t,
                                                    const float *from, float factor, __half *to) {
    for (uint32_t i = threadIdx.x; i < QUERIES * (D / 4); i += TILE_THREADS) {
        uint32_t q = i / (D / 4), column = i % (D / 4) * 4;
        float4 x = {0, 0, 0, 0};
        if (q < t.n && column < a.head_dim)
            x = *(const float4 *)(from +
                                  ((size_t)row_of_query(a, t, q) * a.n_heads +
                                   head_of_query(a, t, q)) *
                                      a.head_dim +
                                  column);
        uint2 halves = {
            half_bits(__floats2half2_rn(__fmul_rn(x.x, factor), __fmul_rn(x.y, factor))),
            half_bits(__floats2half2_rn(__fmul_rn(x.z, factor), __fmul_rn(x.w, factor)))};
        *(uint2 *)(to + q * (D + TILE_PADDING) + column) = halves;
    }
}

// All queries that keys of a tile meet; q_previous lies behind the others.
template <int D, int QUERIES>
static __device__ __forceinline__ void load_frame(const attend_args &a, const tile &t, bool sinks,
                                                  float sink_scale, __half *to) {
    float factor = __fmul_rn(a.scale, LOG2E);
    if (sinks) factor = __fmul_rn(factor, sink_scale);
    load_queries<D, QUERIES>(a, t, sinks ? a.q_sink : a.q, factor, to);
    if (a.q_previous && !sinks)
        load_queries<D, QUERIES>(a, t, a.q_previous, factor, to + QUERIES * (D + TILE_PADDING));
}

// ---- Rows of a cache, to shared memory

static __device__ __forceinline__ cache_rows rows_of(const rill__cuda_kv &kv, uint32_t n_kv_heads,
                                                     uint32_t kv_head, bool values) {
    cache_rows c;
    const uint8_t *data = values ? kv.values : kv.keys;
    size_t n = (size_t)kv.n_sinks + kv.ring_rows;
    c.row_bytes = values ? kv.value_row_bytes : kv.key_row_bytes;
    c.data = data + kv_head * n * c.row_bytes;
    c.end = data + n_kv_heads * n * c.row_bytes;
    c.type = values ? kv.value_type : kv.key_type;
    c.n_sinks = kv.n_sinks;
    c.n_rows = (uint32_t)n;
    return c;
}

// What is seen of n positions from `first` on.
static __device__ __forceinline__ stretch stretch_of(const cache_rows &c, const view &v, int first,
                                                     int n) {
    stretch s;
    s.begin = min(max(v.begin - first, 0), n);
    s.end = min(max(v.end - first, 0), n);
    s.row = v.row + (uint32_t)(first + s.begin - v.begin);
    if (s.row >= c.n_rows) s.row -= c.n_rows - c.n_sinks;
    return s;
}

// Rows of float16 where they are multiplied: N positions, W columns, `columns` of which are there.
template <int N, int W, int THREADS>
static __device__ __forceinline__ void load_halves(uint32_t to, const cache_rows &c,
                                                   const stretch &s, uint32_t first_column,
                                                   uint32_t columns) {
    const uint8_t *data = c.data + first_column * sizeof(__half);
#pragma unroll
    for (uint32_t i = threadIdx.x % THREADS; i < N * (W / 8); i += THREADS) {
        uint32_t at = i / (W / 8), column = i % (W / 8);
        if (column * 8 >= columns) continue;
        bool seen = (int)at >= s.begin && (int)at < s.end;
        uint32_t row = s.row + (at - (uint32_t)s.begin);
        if (row >= c.n_rows) row -= c.n_rows - c.n_sinks;
        const uint8_t *from = seen ? data + (size_t)row * c.row_bytes + column * 16 : c.data;
        copy_async(to + (at * (W + TILE_PADDING) + column * 8) * sizeof(__half), from,
                   seen ? 16 : 0);
    }
}

// Rows before the ring ends, and where those behind it go: at a multiple of 16 bytes.
static __device__ __forceinline__ uint32_t before_end(const cache_rows &c, const stretch &s) {
    return min((uint32_t)(s.end - s.begin), c.n_rows - s.row);
}
static __device__ __forceinline__ uint32_t misaligned(const uint8_t *p) {
    return (uint32_t)((uintptr_t)p & 15);
}
static __device__ __forceinline__ uint32_t second_place(const cache_rows &c, const stretch &s) {
    const uint8_t *from = c.data + (size_t)s.row * c.row_bytes;
    return (misaligned(from) + before_end(c, s) * c.row_bytes + 15) & ~15u;
}

template <int THREADS>
static __device__ __forceinline__ void load_bytes(uint32_t to, const uint8_t *from, uint32_t n,
                                                  const uint8_t *end) {
    uint32_t before = misaligned(from);
    from -= before;
    n += before;
    for (uint32_t i = threadIdx.x % THREADS * 16; i < n; i += THREADS * 16) {
        ptrdiff_t left = end - (from + i);
        copy_async(to + i, from + i, left < 16 ? (int)left : 16);
    }
}

// Rows of any type as they are.
template <int THREADS>
static __device__ __forceinline__ void load_raw(uint32_t to, const cache_rows &c,
                                                const stretch &s) {
    if (s.begin >= s.end) return;
    uint32_t n = (uint32_t)(s.end - s.begin), first = before_end(c, s);
    load_bytes<THREADS>(to, c.data + (size_t)s.row * c.row_bytes, first * c.row_bytes, c.end);
    if (first < n)
        load_bytes<THREADS>(to + second_place(c, s), c.data + (size_t)c.n_sinks * c.row_bytes,
                            (n - first) * c.row_bytes, c.end);
}

static __device__ __forceinline__ const uint8_t *raw_row(const uint8_t *raw, const cache_rows &c,
                                                         const stretch &s, int position) {
    uint32_t i = (uint32_t)(position - s.begin), first = before_end(c, s);
    if (i < first) return raw + misaligned(c.data + (size_t)s.row * c.row_bytes) + i * c.row_bytes;
    return raw + second_place(c, s) + misaligned(c.data + (size_t)c.n_sinks * c.row_bytes) +
           (i - first) * c.row_bytes;
}

// Eight bytes at an even address; the four behind them may be read, too.
static __device__ __forceinline__ uint2 eight_bytes(const uint8_t *p) {
    uint32_t shift = ((uint32_t)(uintptr_t)p & 3) * 8;
    const uint32_t *words = (const uint32_t *)((uintptr_t)p & ~(uintptr_t)3);
    uint32_t a = words[0], b = words[1], c = words[2];
    return {__funnelshift_r(a, b, shift), __funnelshift_r(b, c, shift)};
}

// Four whole numbers of a byte each, less `bias`, times a scale: 1024 + a byte is a float16 with
// the byte as its last bits.
static __device__ __forceinline__ uint2 scaled_bytes(uint32_t bytes, float bias, __half2 scale) {
    __half2 offset = __float2half2_rn(1024 + bias);
    __half2 low = half_pair(__byte_perm(bytes, 0x64646464u, 0x4140));
    __half2 high = half_pair(__byte_perm(bytes, 0x64646464u, 0x4342));
    return {half_bits(__hmul2(__hsub2(low, offset), scale)),
            half_bits(__hmul2(__hsub2(high, offset), scale))};
}

static __device__ __forceinline__ __half2 scale_at(const uint8_t *block) {
    return __half2half2(*(const __half *)block);
}

// Columns [8 unit, 8 unit + 8) of a row as halves.
static __device__ __forceinline__ uint4 eight_halves(const uint8_t *row, int type, uint32_t unit) {
    if (type == RILL_TYPE_Q8_0) {
        const uint8_t *block = row + unit / 4 * 34;
        uint2 codes = eight_bytes(block + 2 + unit % 4 * 8);
        __half2 scale = scale_at(block);
        uint2 a = scaled_bytes(codes.x ^ 0x80808080u, 128, scale);
        uint2 b = scaled_bytes(codes.y ^ 0x80808080u, 128, scale);
        return {a.x, a.y, b.x, b.y};
    }
    uint4 x = *(const uint4 *)(row + unit * 16);
    if (type == RILL_TYPE_F16) return x;
    uint32_t *words = &x.x;
#pragma unroll
    for (int i = 0; i < 4; i++)
        words[i] = half_bits(__floats2half2_rn(__uint_as_float(words[i] << 16),
                                               __uint_as_float(words[i] & 0xffff0000u)));
    return x;
}

// q4_0: eight bytes have eight columns, and eight more 16 behind.
static __device__ __forceinline__ void sixteen_halves(const uint8_t *row, uint32_t unit,
                                                      uint4 out[2]) {
    const uint8_t *block = row + unit / 2 * 18;
    uint2 codes = eight_bytes(block + 2 + unit % 2 * 8);
    __half2 scale = scale_at(block);
#pragma unroll
    for (int high = 0; high < 2; high++) {
        uint2 a = scaled_bytes(codes.x >> (4 * high) & 0x0f0f0f0fu, 8, scale);
        uint2 b = scaled_bytes(codes.y >> (4 * high) & 0x0f0f0f0fu, 8, scale);
        out[high] = {a.x, a.y, b.x, b.y};
    }
}

// N raw rows to halves, W columns from first_column on, those at `columns` and behind left out.
// Rows that nobody sees are zeros.
template <int N, int W, int THREADS>
static __device__ __forceinline__ void convert(__half *to, const uint8_t *raw, const cache_rows &c,
                                               const stretch &s, uint32_t first_column,
                                               uint32_t columns) {
    // Of q4_0, units of the first 16 columns of a block have those behind, too.
    bool nibbles = c.type == RILL_TYPE_Q4_0;
    constexpr uint32_t units = W / 8;
    for (uint32_t i = threadIdx.x % THREADS; i < (nibbles ? N * units / 2 : N * units);
         i += THREADS) {
        uint32_t at = i / units, unit = i % units;
        if (nibbles) {
            at = i / (units / 2);
            unit = i % (units / 2) / 2 * 4 + i % 2;
        }
        uint32_t column = unit * 8;
        if (column >= columns) continue;
        uint4 x[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
        if ((int)at >= s.begin && (int)at < s.end) {
            const uint8_t *row = raw_row(raw, c, s, (int)at);
            uint32_t first = first_column / 8 + unit;
            if (nibbles)
                sixteen_halves(row, first / 4 * 2 + first % 2, x);
            else
                x[0] = eight_halves(row, c.type, first);
        }
        __half *out = to + at * (W + TILE_PADDING) + column;
        *(uint4 *)out = x[0];
        if (nibbles && column + 16 < columns) *(uint4 *)(out + 16) = x[1];
    }
}

// ---- Products and weights

// Logits of 16 keys, of tiles in shared memory.
template <int D>
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
        multiply(low, q, k[0], k[1]);
        multiply(high, q, k[2], k[3]);
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
            multiply(s[n], q, k[0], k[1]);
            multiply(s[n + 1], q, k[2], k[3]);
        }
    }
}

// xPos: logits of 16 keys from `first` on in place of those that meet q_previous.
template <int D>
static __device__ __forceinline__ void score_previous(float low[4], float high[4], uint32_t queries,
                                                      uint32_t keys, const sight *sights,
                                                      int first) {
    uint32_t lane = threadIdx.x % 32;
    int own[2] = {sights[lane / 4].own - first, sights[lane / 4 + 8].own - first};
    if (!__any_sync(~0u, own[0] > 0 || own[1] > 0)) return;
    float a[4], b[4];
    score<D>(a, b, queries, keys);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int key = (int)(lane % 4) * 2 + i % 2;
        if (key < own[i / 2]) low[i] = a[i];
        if (key + 8 < own[i / 2]) high[i] = b[i];
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

static __device__ __forceinline__ void lower_and_mask(float s[8][4], const sight *sights, int first,
                                                      bool alibi) {
    int g = (int)(threadIdx.x % 32 / 4), t = (int)(threadIdx.x % 4);
    int begin[2], end[2];
    bool all = true;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const sight &v = sights[g + 8 * r];
        begin[r] = v.begin - first;
        end[r] = v.end - first;
        all = all && begin[r] <= 0 && end[r] >= BLOCK_KEYS;
        if (!alibi) continue;
        float slope = -v.slope;
        int farthest = v.place - first - 2 * t;
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
        for (int i = 0; i < 4; i++) {
            int key = n * 8 + 2 * t + i % 2;
            if (key < begin[i / 2] || key >= end[i / 2]) s[n][i] = -INFINITY;
        }
}

// Logits of the block at `first` to weights, in the order of A fragments; returns the block's
// states.
static __device__ __forceinline__ two_states weigh(float s[8][4], const sight *sights, int first,
                                                   bool alibi, uint32_t weights[4][4]) {
    lower_and_mask(s, sights, first, alibi);
    two_states b;
#pragma unroll
    for (int r = 0; r < 2; r++) {
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
            weights[n / 2][n % 2 * 2 + r] = half_bits(__floats2half2_rn(low, high));
        }
        sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 1));
        b.sum[r] = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 2));
        b.greatest[r] = greatest;
    }
    return b;
}

// 16 keys' values of 16 columns, times their weights.
static __device__ __forceinline__ void mix(float low[4], float high[4], const uint32_t weights[4],
                                           uint32_t values) {
    uint32_t v[4];
    load_transposed(v, values);
    multiply(low, weights, v[0], v[1]);
    multiply(high, weights, v[2], v[3]);
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
