// SPDX-License-Identifier: MIT
// Rows of a cache on their way to tensor cores: copied to shared memory while something else is
// computed, and made float16 there unless they are.
//
// Copies are of 16 bytes. Rows of float16 are copied to where they are multiplied. Others are
// packed too closely for that (34 bytes to 32 numbers, say), so what is asked for is copied as it
// lies, from the multiple of 16 bytes before it on, and read from there.
//
// Keys of q8_0 and q4_0 lie in tiles in an order of their own, and so do the queries that meet
// them: of 16 columns, each quad's first pair and then each quad's second pair. Then four codes
// that lie together are what one lane of mma.m16n8k16 wants (attend_packed.cuh).
#ifndef RILL_BACKEND_CUDA_ATTEND_ROWS_CUH
#define RILL_BACKEND_CUDA_ATTEND_ROWS_CUH

#include "backend/cuda/attend.cuh"
#include "backend/cuda/shared.cuh"

// Halves behind a row of a tile: eight rows begin in eight groups of banks.
enum { TILE_PADDING = 8 };

// Where units of 8 columns lie in a tile of W columns, in bytes.
template <int W> struct padded_tile {
    static __device__ __forceinline__ uint32_t at(uint32_t row, uint32_t unit) {
        return (row * (W + TILE_PADDING) + unit * 8) * (uint32_t)sizeof(__half);
    }
};
// The same in panels of 64 columns and N rows, as wgmma.cuh has them.
template <int N> struct swizzled_tile {
    static __device__ __forceinline__ uint32_t at(uint32_t row, uint32_t unit) {
        return (unit / 8 * N + row) * 128 + (unit ^ row) % 8 * 16;
    }
};

// Keys or values of a head.
struct cache_rows {
    const uint8_t *data;
    const uint8_t *end;  // of the whole cache
    uint32_t row_bytes;
    int type;
    uint32_t n_sinks;
    uint32_t n_rows;
    bool apart;  // in tiles, the pairs of a quad are
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

static __device__ __forceinline__ uint32_t half_bits(__half2 h) {
    return *reinterpret_cast<uint32_t *>(&h);
}
static __device__ __forceinline__ __half2 half_pair(uint32_t bits) {
    return *reinterpret_cast<__half2 *>(&bits);
}

// Types of blocks of 32 numbers with a scale.
static __host__ __device__ __forceinline__ bool is_packed(int type) {
    return type == RILL_TYPE_Q8_0 || type == RILL_TYPE_Q4_0;
}

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
    c.apart = !values && is_packed(c.type);
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
template <int N, int W, int THREADS, class TILE = padded_tile<W>>
static __device__ __forceinline__ void load_halves(uint32_t to, const cache_rows &c,
                                                   const stretch &s, uint32_t first_column,
                                                   uint32_t columns) {
    const uint8_t *data = c.data + first_column * sizeof(__half);
    const uint32_t row_bytes = c.row_bytes;  // once: `c` lies where copies go
    // As a rule all are seen and lie one behind another, and a thread has a column.
    if (THREADS % (W / 8) == 0 && s.end - s.begin == N && s.row + N <= c.n_rows && columns == W) {
        constexpr uint32_t apart = THREADS / (W / 8);  // rows
        uint32_t at = threadIdx.x % THREADS / (W / 8), column = threadIdx.x % (W / 8);
        const uint8_t *from = data + (size_t)(s.row + at) * row_bytes + column * 16;
#pragma unroll
        for (uint32_t i = 0; i < N; i += apart, from += apart * row_bytes)
            copy_async(to + TILE::at(at + i, column), from, 16);
        return;
    }
#pragma unroll 2
    for (uint32_t i = threadIdx.x % THREADS; i < N * (W / 8); i += THREADS) {
        uint32_t at = i / (W / 8), column = i % (W / 8);
        if (column * 8 >= columns) continue;
        bool seen = (int)at >= s.begin && (int)at < s.end;
        uint32_t row = s.row + (at - (uint32_t)s.begin);
        if (row >= c.n_rows) row -= c.n_rows - c.n_sinks;
        const uint8_t *from = seen ? data + (size_t)row * row_bytes + column * 16 : data;
        copy_async(to + TILE::at(at, column), from, seen ? 16 : 0);
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
    int left = (int)min(end - from, (ptrdiff_t)n + 16);
#pragma unroll 4
    for (uint32_t i = threadIdx.x % THREADS * 16; i < n; i += THREADS * 16)
        copy_async(to + i, from + i, min(left - (int)i, 16));
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
    uint32_t before = (uint32_t)(uintptr_t)p & 3;
    const uint32_t *words = (const uint32_t *)(p - before);
    uint32_t a = words[0], b = words[1], c = words[2];
    return {__funnelshift_r(a, b, before * 8), __funnelshift_r(b, c, before * 8)};
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

// Two bfloat16 as halves.
static __device__ __forceinline__ uint32_t halves_of_bf16(uint32_t pair) {
    return half_bits(
        __floats2half2_rn(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)));
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
    return {halves_of_bf16(x.x), halves_of_bf16(x.y), halves_of_bf16(x.z), halves_of_bf16(x.w)};
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

// Columns [8 unit, 8 unit + 8) of a tile's row. If pairs are apart, the first ones of four quads
// are a unit, and the second ones the next.
template <class TILE>
static __device__ __forceinline__ void put_unit(uint8_t *tile, uint32_t row, uint32_t unit,
                                                const uint4 &x, bool apart) {
    if (apart) {
        uint32_t first = unit / 2 * 2, within = unit % 2 * 8;
        *(uint2 *)(tile + TILE::at(row, first) + within) = {x.x, x.z};
        *(uint2 *)(tile + TILE::at(row, first + 1) + within) = {x.y, x.w};
    } else {
        *(uint4 *)(tile + TILE::at(row, unit)) = x;
    }
}

// The same of a quad.
template <class TILE>
static __device__ __forceinline__ void put_quad(uint8_t *tile, uint32_t row, uint32_t column,
                                                const uint2 &x, bool apart) {
    uint32_t unit = column / 8;
    if (apart) {
        uint32_t first = unit / 2 * 2, within = column % 16;
        *(uint32_t *)(tile + TILE::at(row, first) + within) = x.x;
        *(uint32_t *)(tile + TILE::at(row, first + 1) + within) = x.y;
    } else {
        *(uint2 *)(tile + TILE::at(row, unit) + column % 8 * 2) = x;
    }
}

// N raw rows to halves, W columns from first_column on, those at `columns` and behind left out.
// Rows that nobody sees are zeros.
template <int N, int W, int THREADS, class TILE = padded_tile<W>>
static __device__ __forceinline__ void convert(uint8_t *to, const uint8_t *raw, const cache_rows &c,
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
        put_unit<TILE>(to, at, unit, x[0], c.apart);
        if (nibbles && column + 16 < columns) put_unit<TILE>(to, at, unit + 2, x[1], c.apart);
    }
}

#endif
