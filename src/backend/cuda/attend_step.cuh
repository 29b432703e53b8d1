// SPDX-License-Identifier: MIT
// What warps of attend_step.cu load, turn and meet: see there.
#ifndef RILL_BACKEND_CUDA_ATTEND_STEP_CUH
#define RILL_BACKEND_CUDA_ATTEND_STEP_CUH

#include "backend/cuda/attend_launch.cuh"
#include "backend/cuda/attend_packed.cuh"
#include "backend/cuda/rotary.cuh"
#include "backend/cuda/values.cuh"

enum {
    STEP_WARPS = 8,
    STEP_THREADS = 32 * STEP_WARPS,
    STEP_QUERIES = 8,  // of a key-value head
    STEP_CHUNK = 16,   // keys
    HALF_CHUNKS = BLOCK_KEYS / STEP_CHUNK,
    STEP_CHUNKS = 2 * HALF_CHUNKS,  // of a block: keys, then values
};

// What comes to attend_args.
struct step_args {
    const float2 *table;  // [n_rows, 2, n_pairs]
    const float *k;       // [n_rows, n_kv_heads, head_dim]
    const float *v;
    uint32_t n_pairs;
    bool interleaved;
    uint32_t warps;   // that have blocks of keys at all
    uint32_t places;  // of a warp's ring
    uint32_t slots;   // blocks of keys that a block of threads has at most
    uint32_t parts;   // at most, the sinks among them
    uint32_t shift;   // blocks of threads of a cluster: two to that power
};

template <int D> constexpr uint32_t QUERY_STRIDE = (D + TILE_PADDING) * (uint32_t)sizeof(__half);
template <int D, int TYPE>
constexpr uint32_t ROW_BYTES = TYPE == RILL_TYPE_Q8_0   ? D / 32 * 34
                               : TYPE == RILL_TYPE_Q4_0 ? D / 32 * 18
                                                        : D * 2;
// Packed rows begin at multiples of 16 bytes: then those of 8 keys lie in different banks.
template <int D, int TYPE> constexpr uint32_t ROW_STRIDE = (ROW_BYTES<D, TYPE> + 15) / 16 * 16;
template <int D, int TYPE> constexpr uint32_t PLACE_BYTES = STEP_CHUNK *ROW_STRIDE<D, TYPE>;

#if __CUDA_ARCH__ >= 900

// ---- What a row sees ----------------------------------------------------------------------------

// Blocks of 64 keys, the sinks' first. Views are relative to multiples of 64.
struct step_view {
    cache_rows keys;
    const uint8_t *values;  // where their rows are
    view sinks, recent;
    uint32_t n_sinks;       // blocks
    uint32_t n_blocks;      // with those of recent tokens
    uint32_t in_part;       // blocks that the first part of recent tokens has before
                            // its first one
    uint32_t newest;        // its row in the cache
    int sink_place, place;  // the query's, relative as the views are
};

static __device__ __forceinline__ view view_of_block(const step_view &v, bool sinks) {
    return {sinks ? v.sinks.begin : v.recent.begin, sinks ? v.sinks.end : v.recent.end,
            sinks ? v.sinks.row : v.recent.row};
}

static __device__ __forceinline__ uint32_t blocks_of(const span &s) {
    if (s.begin >= s.end) return 0;
    return (uint32_t)((s.end + BLOCK_KEYS - 1) / BLOCK_KEYS - s.begin / BLOCK_KEYS);
}

template <int D, int TYPE>
static __device__ __forceinline__ step_view view_of(const attend_args &a, const rill__row &row,
                                                    const rill__cuda_kv &kv) {
    step_view v;
    v.keys = rows_of(kv, a.n_kv_heads, blockIdx.z, false);
    v.keys.row_bytes = ROW_BYTES<D, TYPE>;
    v.values = rows_of(kv, a.n_kv_heads, blockIdx.z, true).data;
    span sinks = seen_by_row(a.window, row, true), recent = seen_by_row(a.window, row, false);
    uint64_t sinks_base = sinks.begin / BLOCK_KEYS * BLOCK_KEYS;
    uint64_t base = recent.begin / BLOCK_KEYS * BLOCK_KEYS;
    v.n_sinks = blocks_of(sinks);
    v.n_blocks = v.n_sinks + blocks_of(recent);
    v.in_part = (uint32_t)(recent.begin / BLOCK_KEYS % PART_BLOCKS);
    v.sinks = {(int)(sinks.begin - sinks_base), (int)(sinks.end - sinks_base),
               (uint32_t)sinks.begin};
    v.recent = {(int)(recent.begin - base), (int)(recent.end - base),
                (uint32_t)rill__cuda_kv_row(&kv, recent.begin)};
    v.sink_place = (int)((int64_t)row.sink_pos - (int64_t)sinks_base);
    v.place = (int)((int64_t)row.token - (int64_t)base);
    const view last = view_of_block(v, v.n_blocks == v.n_sinks);
    v.newest = last.row + (uint32_t)(last.end - 1 - last.begin);
    if (v.newest >= v.keys.n_rows) v.newest -= v.keys.n_rows - v.keys.n_sinks;
    return v;
}

// A block of keys.
struct step_block {
    bool of_sinks;
    int first;  // key, relative as the view is
    int fresh;  // where in the block the newest token is; -1: elsewhere
    view all;
};

static __device__ __forceinline__ step_block block_at(const step_view &v, uint32_t number) {
    step_block b;
    b.of_sinks = number < v.n_sinks;
    b.first = (int)(b.of_sinks ? number : number - v.n_sinks) * BLOCK_KEYS;
    b.all = view_of_block(v, b.of_sinks);
    b.fresh = number + 1 == v.n_blocks ? b.all.end - 1 - b.first : -1;
    return b;
}

static __device__ __forceinline__ bool sees(const step_block &b, uint32_t chunk) {
    int first = b.first + (int)chunk * STEP_CHUNK;
    return b.all.begin < first + STEP_CHUNK && b.all.end > first;
}

// ---- Loads --------------------------------------------------------------------------------------

// A warp's ring of chunks. `block` and `chunk` are what it is asked for next.
struct step_ring {
    uint32_t memory;
    uint32_t places;
    uint32_t place;  // of the first chunk that is not done with
    uint32_t block, chunk;
    uint32_t step;  // between the warp's blocks
};

template <int D, int TYPE>
static __device__ __forceinline__ uint32_t tile_of(const step_ring &r, uint32_t later) {
    uint32_t n = r.place + later;
    return r.memory + (n < r.places ? n : n - r.places) * PLACE_BYTES<D, TYPE>;
}

// Rows of 16 bits: 16 bytes of eight rows lie in eight groups of banks.
template <int D>
static __device__ __forceinline__ uint32_t half_at(uint32_t tile, uint32_t row, uint32_t unit) {
    return tile + row * D * 2 + (unit ^ row % 8) * 16;
}

// N bytes to shared memory, or zeros.
template <int N>
static __device__ __forceinline__ void copy_unit(uint32_t to, const uint8_t *from, bool seen) {
    if (N == 16)
        copy_async(to, from, seen ? 16 : 0);
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(N),
                     "r"(seen ? N : 0)
                     : "memory");
}

// Where 16 bytes of rows of 16 bits, or a unit of packed ones, lie in a chunk.
template <int D, int TYPE, uint32_t UNIT>
static __device__ __forceinline__ uint32_t unit_at(uint32_t tile, uint32_t row, uint32_t unit) {
    if (is_packed(TYPE)) return tile + row * ROW_STRIDE<D, TYPE> + unit * UNIT;
    return half_at<D>(tile, row, unit);
}

// Rows that nobody sees are zeros.
template <int D, int TYPE>
static __device__ __forceinline__ void load_tile(uint32_t to, const cache_rows &c,
                                                 const stretch &s) {
    constexpr uint32_t ROW = ROW_BYTES<D, TYPE>, UNIT = ROW % 16 == 0 ? 16 : ROW % 8 == 0 ? 8 : 4;
    // Of a row, 8 or 16 units; packed rows have one more.
    constexpr uint32_t UNITS = ROW / UNIT / 8 * 8, ROWS = 32 / UNITS;
    static_assert(ROW / UNIT - UNITS < 2, "");
    uint32_t lane = threadIdx.x % 32, row = lane / UNITS, unit = lane % UNITS;
    const uint8_t *from = c.data + (size_t)(s.row - (uint32_t)s.begin) * ROW;
    // As a rule all are seen and lie one behind another.
    if (s.end - s.begin == STEP_CHUNK && s.row + STEP_CHUNK <= c.n_rows) {
        const uint8_t *own = from + row * ROW + unit * UNIT;
#pragma unroll
        for (uint32_t at = 0; at < STEP_CHUNK; at += ROWS)
            copy_unit<UNIT>(unit_at<D, TYPE, UNIT>(to, at + row, unit), own + at * ROW, true);
        if (ROW / UNIT > UNITS && lane < STEP_CHUNK)
            copy_unit<UNIT>(unit_at<D, TYPE, UNIT>(to, lane, UNITS),
                            from + lane * ROW + UNITS * UNIT, true);
        return;
    }
#pragma unroll 1
    for (uint32_t i = lane; i < STEP_CHUNK * (ROW / UNIT); i += 32) {
        row = i / (ROW / UNIT);
        unit = i % (ROW / UNIT);
        bool seen = (int)row >= s.begin && (int)row < s.end;
        uint32_t there = s.row + (seen ? row - (uint32_t)s.begin : 0);
        if (there >= c.n_rows) there -= c.n_rows - c.n_sinks;
        copy_unit<UNIT>(unit_at<D, TYPE, UNIT>(to, row, unit),
                        c.data + (size_t)there * ROW + unit * UNIT, seen);
    }
}

// Asks for the warp's next chunk that somebody sees.
template <int D, int TYPE>
static __device__ __forceinline__ void load_chunk(const step_view &v, step_ring &r, uint32_t to) {
    bool asked = false;
    while (!asked && r.block < v.n_blocks) {
        const step_block b = block_at(v, r.block);
        uint32_t chunk = r.chunk % HALF_CHUNKS;
        asked = sees(b, chunk);
        if (asked) {
            cache_rows rows = v.keys;
            if (r.chunk >= HALF_CHUNKS) rows.data = v.values;
            int first = b.first + (int)chunk * STEP_CHUNK;
            load_tile<D, TYPE>(to, rows, stretch_of(rows, b.all, first, STEP_CHUNK));
        }
        if (++r.chunk == STEP_CHUNKS) {
            r.chunk = 0;
            r.block += r.step;
        }
    }
    copies_end();
}

// The first n chunks are done with: others take their places.
template <int D, int TYPE>
static __device__ __forceinline__ void go_on(const step_view &v, step_ring &r, uint32_t n) {
    __syncwarp();
    for (; n; n--) {
        load_chunk<D, TYPE>(v, r, tile_of<D, TYPE>(r, 0));
        r.place = r.place + 1 < r.places ? r.place + 1 : 0;
    }
}

// Until no more than `n` of the last loads are on their way.
static __device__ __forceinline__ void wait_for_all_but(uint32_t n) {
    switch (n) {
    case 0: wait_for_copies<0>(); break;
    case 1: wait_for_copies<1>(); break;
    case 2: wait_for_copies<2>(); break;
    case 3: wait_for_copies<3>(); break;
    case 4: wait_for_copies<4>(); break;
    case 5: wait_for_copies<5>(); break;
    case 6: wait_for_copies<6>(); break;
    default: wait_for_copies<7>(); break;
    }
    __syncwarp();
}

// ---- Queries and the newest token ---------------------------------------------------------------

// Columns of a pair; what is not turned is counted in pairs, too.
static __device__ __forceinline__ uint2 step_columns(const step_args &p, uint32_t pair) {
    if (pair >= p.n_pairs || p.interleaved) return {2 * pair, 2 * pair + 1};
    return {pair, pair + p.n_pairs};
}

// Where a column of a query lies in its row: keys of packed types want quads' pairs apart
// (attend_rows.cuh).
template <int TYPE> static __device__ __forceinline__ uint32_t place_of_column(uint32_t c) {
    if (!is_packed(TYPE)) return c;
    return c / 16 * 16 + c % 4 / 2 * 8 + c % 16 / 4 * 2 + c % 2;
}

// The group's queries in both frames, a pair a thread: those that meet recent keys, a row of zeros,
// and those that meet sinks.
template <int D, int TYPE>
static __device__ __forceinline__ void turn_queries(const attend_args &a, const step_args &p,
                                                    float sink_scale, __half *to) {
    const float *q = a.q + ((size_t)blockIdx.y * a.n_heads + blockIdx.z * a.group) * D;
    const float2 *table = p.table + (size_t)blockIdx.y * 2 * p.n_pairs;
    float factor = __fmul_rn(a.scale, LOG2E), sink_factor = __fmul_rn(factor, sink_scale);
    for (uint32_t i = threadIdx.x; i < a.group * (D / 2); i += STEP_THREADS) {
        uint32_t query = i / (D / 2), pair = i % (D / 2);
        uint2 c = step_columns(p, pair);
        float2 x = {q[query * D + c.x], q[query * D + c.y]}, y = x, z = x;
        if (pair < p.n_pairs) {
            float2 sink = table[RILL_FRAME_SINK * p.n_pairs + pair];
            y = turned(x, table[RILL_FRAME_STREAM * p.n_pairs + pair]);
            z = turned(x, sink);
        }
        uint2 at = {place_of_column<TYPE>(c.x), place_of_column<TYPE>(c.y)};
        __half *row = to + query * (D + TILE_PADDING);
        __half *sink_row = row + (a.group + 1) * (D + TILE_PADDING);
        row[at.x] = __float2half_rn(__fmul_rn(y.x, factor));
        row[at.y] = __float2half_rn(__fmul_rn(y.y, factor));
        sink_row[at.x] = __float2half_rn(__fmul_rn(z.x, sink_factor));
        sink_row[at.y] = __float2half_rn(__fmul_rn(z.y, sink_factor));
    }
}

// A number of the newest token's key or value, as it is asked for: a pair, and how it is turned.
struct fresh_number {
    float2 x, turn;
    bool turns, second;
};

template <int D>
static __device__ __forceinline__ fresh_number ask_fresh(const attend_args &a, const step_args &p,
                                                         bool key, uint32_t column) {
    size_t at = ((size_t)blockIdx.y * a.n_kv_heads + blockIdx.z) * D;
    fresh_number n = {{0, 0}, {1, 0}, key && column < 2 * p.n_pairs, false};
    if (!n.turns) {
        n.x.x = (key ? p.k : p.v)[at + column];
        return n;
    }
    n.second = p.interleaved ? column % 2 : column >= p.n_pairs;
    uint32_t pair = p.interleaved ? column / 2 : column - (n.second ? p.n_pairs : 0);
    uint2 c = step_columns(p, pair);
    n.x = {p.k[at + c.x], p.k[at + c.y]};
    n.turn = p.table[((size_t)blockIdx.y * 2 + RILL_FRAME_STREAM) * p.n_pairs + pair];
    return n;
}

// Stores 32 columns of the newest token's key or value, one a lane, in the cache, and in `fresh` (a
// key, then a value) for those who meet it.
template <int D, int TYPE>
static __device__ __forceinline__ void store_fresh(const step_view &v, const fresh_number &n,
                                                   bool key, uint32_t block, uint8_t *fresh) {
    constexpr uint32_t BYTES = ROW_BYTES<D, TYPE> / (D / 32);
    uint32_t lane = threadIdx.x % 32;
    float2 x = n.turns ? turned(n.x, n.turn) : n.x;
    uint8_t *here = fresh + (key ? 0 : ROW_BYTES<D, TYPE>);
    rill__cuda_store_block(TYPE, here, block, lane, D, n.second ? x.y : x.x);
    __syncwarp();
    const uint8_t *keys = v.keys.data, *data = key ? keys : v.values;
    uint16_t *to = (uint16_t *)(data + (size_t)v.newest * ROW_BYTES<D, TYPE> + block * BYTES);
    if (lane < BYTES / 2) to[lane] = ((const uint16_t *)(here + block * BYTES))[lane];
}

// The newest token's row in place of what was loaded there, at `position` of a chunk.
template <int D, int TYPE>
static __device__ __forceinline__ void place_fresh(uint32_t tile, uint32_t position,
                                                   const uint8_t *fresh) {
    uint32_t lane = threadIdx.x % 32;
    if (is_packed(TYPE)) {
        uint32_t to = tile + position * ROW_STRIDE<D, TYPE>;
        for (uint32_t i = lane; i < ROW_BYTES<D, TYPE> / 4; i += 32)
            asm volatile("st.shared.u32 [%0], %1;" ::"r"(to + 4 * i),
                         "r"(((const uint32_t *)fresh)[i])
                         : "memory");
    } else if (lane < D / 8) {
        uint4 x = ((const uint4 *)fresh)[lane];
        asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(
                         half_at<D>(tile, position, lane)),
                     "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w)
                     : "memory");
    }
    __syncwarp();
}

// ---- Chunks of keys and values ------------------------------------------------------------------

// Logits of two chunks. `queries` is where the lane's share of them lies.
template <int D, int TYPE>
static __device__ __forceinline__ void score_chunks(float s[4][4], uint32_t queries,
                                                    const uint32_t tiles[2]) {
    uint32_t lane = threadIdx.x % 32;
    if constexpr (TYPE == RILL_TYPE_Q8_0 || TYPE == RILL_TYPE_Q4_0) {
        constexpr uint32_t STRIDE = ROW_STRIDE<D, TYPE>;
        uint32_t row = lane / 4 * STRIDE, quad = lane % 4;
        const packed_row<TYPE, true> rows[4] = {{tiles[0] + row, quad},
                                                {tiles[0] + row + 8 * STRIDE, quad},
                                                {tiles[1] + row, quad},
                                                {tiles[1] + row + 8 * STRIDE, quad}};
        score_rows<D, TYPE, true, 4>(s, queries, rows, D);
    } else {
        uint32_t at[2];
#pragma unroll
        for (int i = 0; i < 2; i++)
            at[i] = half_at<D>(tiles[i], lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
        for (uint32_t d = 0; d < D / 16; d++) {
            uint32_t q[4], k[2][4];
            load_matrices(q, queries + d * 32);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                load_matrices(k[i], at[i] ^ d * 32);
                as_halves<TYPE == RILL_TYPE_BF16>(k[i]);
            }
#pragma unroll
            for (int n = 0; n < 4; n++) mma(s[n], q, k[n / 2][n % 2 * 2], k[n / 2][n % 2 * 2 + 1]);
        }
    }
}

// Values of a chunk times their weights. Values are the first factor, so that eight queries take
// half of the products and sums that sixteen do: sums 4 i + e are of column g of 16 i (+ 8 if e >
// 1) and query 2t (+ 1 if e is odd); of packed types, of columns 4g + 2 (i % 2) (+ 1 if e > 1) of
// 32 (i / 2).
template <int D, int TYPE>
static __device__ __forceinline__ void mix_chunk(float sums[D / 16][4], const uint32_t weights[2],
                                                 uint32_t tile) {
    uint32_t lane = threadIdx.x % 32;
    if constexpr (TYPE == RILL_TYPE_Q8_0 || TYPE == RILL_TYPE_Q4_0) {
        constexpr uint32_t STRIDE = ROW_STRIDE<D, TYPE>;
        uint32_t row = tile + lane % 4 * 2 * STRIDE, quad = quad_of_lane<TYPE>();
        const packed_row<TYPE, true> rows[4] = {
            {row, quad}, {row + STRIDE, quad}, {row + 8 * STRIDE, quad}, {row + 9 * STRIDE, quad}};
        const uint32_t seen[2] = {~0u, ~0u};
#pragma unroll
        for (uint32_t b = 0; b < D / 32; b++) {
            uint32_t v[2][4];
            take_values(v, rows, seen, b);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const uint32_t x[4] = {v[0][2 * j], v[0][2 * j + 1], v[1][2 * j], v[1][2 * j + 1]};
                mma(sums[2 * b + j], x, weights[0], weights[1]);
            }
        }
    } else {
        uint32_t at = half_at<D>(tile, lane % 16, lane / 16);
#pragma unroll
        for (uint32_t i = 0; i < D / 16; i++) {
            uint32_t v[4];
            load_transposed(v, at ^ i * 32);
            as_halves<TYPE == RILL_TYPE_BF16>(v);
            const uint32_t x[4] = {v[0], v[2], v[1], v[3]};
            mma(sums[i], x, weights[0], weights[1]);
        }
    }
}

// Logits of a block, two chunks at a time. `queries` is where the lane's share of them lies; chunks
// are met in a loop, for which logits move through their registers: the code itself takes its time
// to come.
template <int D, int TYPE>
static __device__ __forceinline__ void score_keys(const step_view &v, step_ring &r,
                                                  const step_block &b, uint32_t queries,
                                                  const uint8_t *fresh, float s[8][2]) {
#pragma unroll 1
    for (uint32_t c = 0; c < HALF_CHUNKS; c += 2) {
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) s[n][e] = s[n + 4][e], s[n + 4][e] = 0;
        const uint32_t n = (uint32_t)sees(b, c) + sees(b, c + 1);
        if (n == 0) continue;
        // One that nobody sees is whatever the other is.
        const uint32_t tiles[2] = {tile_of<D, TYPE>(r, 0), tile_of<D, TYPE>(r, n - 1)};
        wait_for_all_but(r.places - n);
        if (b.fresh >= 0 && (uint32_t)b.fresh / (2 * STEP_CHUNK) == c / 2)
            place_fresh<D, TYPE>(b.fresh / STEP_CHUNK % 2 ? tiles[1] : tiles[0],
                                 b.fresh % STEP_CHUNK, fresh);
        float logits[4][4] = {};
        score_chunks<D, TYPE>(logits, queries, tiles);
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int e = 0; e < 2; e++) s[k + 4][e] = logits[k][e];
        go_on<D, TYPE>(v, r, n);
    }
}

// Values of a block times their weights.
template <int D, int TYPE>
static __device__ __forceinline__ void
mix_values(const step_view &v, step_ring &r, const step_block &b, uint32_t weights[HALF_CHUNKS][2],
           const uint8_t *fresh, float sums[D / 16][4]) {
#pragma unroll 1
    for (uint32_t c = 0; c < HALF_CHUNKS; c++) {
        if (sees(b, c)) {
            const uint32_t tile = tile_of<D, TYPE>(r, 0);
            wait_for_all_but(r.places - 1);
            if (b.fresh >= 0 && (uint32_t)b.fresh / STEP_CHUNK == c)
                place_fresh<D, TYPE>(tile, b.fresh % STEP_CHUNK, fresh);
            mix_chunk<D, TYPE>(sums, weights[0], tile);
            go_on<D, TYPE>(v, r, 1);
        }
#pragma unroll
        for (int k = 0; k < HALF_CHUNKS - 1; k++)
#pragma unroll
            for (int e = 0; e < 2; e++) weights[k][e] = weights[k + 1][e];
    }
}

#endif
#endif
