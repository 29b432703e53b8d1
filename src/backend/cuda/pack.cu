// SPDX-License-Identifier: MIT
// Packs matrices on the device: see pack.h for the order.
#include "backend/cuda/pack.h"

#include <cmath>
#include <cstring>

// A number of a raw row: scale * (code - the kind's bias) + min.
struct coded {
    uint32_t code;
    float scale;
    float min;
};

static __device__ float half_at(const uint8_t *p) {
    return __half2float(__ushort_as_half((unsigned short)(p[0] | p[1] << 8)));
}

// Blocks of 32: d, [m], [fifth bits], then nibbles, those of the first 16 numbers low.
static __device__ coded of_32(const uint8_t *row, size_t column, int block_bytes, bool min,
                              bool fifth) {
    const uint8_t *b = row + column / 32 * block_bytes;
    int i = (int)(column % 32), head = min ? 4 : 2;
    const uint8_t *bits = b + head, *nibbles = bits + (fifth ? 4 : 0);
    coded c = {(uint32_t)nibbles[i % 16] >> (i / 16 * 4) & 15, half_at(b),
               min ? half_at(b + 2) : 0};
    if (fifth) c.code |= (uint32_t)(bits[i / 8] >> (i % 8) & 1) << 4;
    return c;
}

static __device__ coded of_q8_0(const uint8_t *row, size_t column) {
    const uint8_t *b = row + column / 32 * 34;
    return coded{(uint32_t)((int8_t)b[2 + column % 32] + 128), half_at(b), 0};
}

// Super-blocks of 256 with eight scales and mins of six bits (k_quants.c).
static __device__ coded of_k(const uint8_t *row, size_t column, bool fifth) {
    const uint8_t *b = row + column / 256 * (fifth ? 176 : 144);
    int i = (int)(column % 256), j = i / 32, k = i % 32;
    const uint8_t *s = b + 4, *nibbles = b + (fifth ? 48 : 16);
    int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    uint32_t code = (uint32_t)nibbles[j / 2 * 32 + k] >> (j % 2 * 4) & 15;
    if (fifth) code |= (uint32_t)(b[16 + k] >> j & 1) << 4;
    return coded{code, half_at(b) * (float)scale, -half_at(b + 2) * (float)min};
}

static __device__ coded of_q6_k(const uint8_t *row, size_t column) {
    const uint8_t *b = row + column / 256 * 210;
    int i = (int)(column % 256), half = i / 128, k = i % 128, group = k / 32, at = k % 32;
    uint32_t low = (uint32_t)b[64 * half + at + 32 * (group & 1)] >> (4 * (group >> 1)) & 15;
    uint32_t high = (uint32_t)b[128 + 32 * half + at] >> (2 * group) & 3;
    float scale = (float)(int8_t)b[192 + 8 * half + at / 16 + 2 * group];
    return coded{low | high << 4, half_at(b + 208) * scale, 0};
}

// A block of 32: an exponent, then nibbles of e2m1.
static __device__ coded of_mxfp4(const uint8_t *row, size_t column) {
    const uint8_t *b = row + column / 32 * 17;
    int i = (int)(column % 32);
    return coded{(uint32_t)b[1 + i % 16] >> (i / 16 * 4) & 15, exp2f((float)b[0] - 127), 0};
}

static __device__ coded coded_at(int type, const uint8_t *row, size_t column) {
    switch (type) {
    case RILL_TYPE_Q4_0: return of_32(row, column, 18, false, false);
    case RILL_TYPE_Q4_1: return of_32(row, column, 20, true, false);
    case RILL_TYPE_Q5_0: return of_32(row, column, 22, false, true);
    case RILL_TYPE_Q5_1: return of_32(row, column, 24, true, true);
    case RILL_TYPE_Q8_0: return of_q8_0(row, column);
    case RILL_TYPE_Q4_K: return of_k(row, column, false);
    case RILL_TYPE_Q5_K: return of_k(row, column, true);
    case RILL_TYPE_Q6_K: return of_q6_k(row, column);
    case RILL_TYPE_MXFP4: return of_mxfp4(row, column);
    default: return coded{0, 0, 0};
    }
}

static __device__ float float_at(int type, const uint8_t *row, size_t column) {
    const uint8_t *p = row + 2 * column;
    if (type == RILL_TYPE_F16) return half_at(p);
    return __uint_as_float((uint32_t)(p[0] | p[1] << 8) << 16);
}

// Of the first 8 rows of a tile, and of the others.
struct units {
    float rows[2];
};

struct source {
    const uint8_t *raw;
    size_t row_bytes;
    int type;
    uint32_t rows;
    uint32_t columns;
};

// Powers of two that bring the greatest scale of a row (or a 16th of its greatest min, or its
// greatest bfloat16) to [2^14, 2^15). A block a row.
static __global__ void find_row_scales(source from, units of, float *row_scales) {
    __shared__ float greatest[256];
    const uint8_t *row = from.raw + blockIdx.x * from.row_bytes;
    float most = 0;
    for (uint32_t c = threadIdx.x; c < from.columns; c += blockDim.x) {
        if (from.type == RILL_TYPE_BF16) {
            most = fmaxf(most, fabsf(float_at(from.type, row, c)));
        } else {
            coded n = coded_at(from.type, row, c);
            most = fmaxf(most, fmaxf(fabsf(n.scale), fabsf(n.min) / 16));
        }
    }
    greatest[threadIdx.x] = most;
    __syncthreads();
    if (threadIdx.x) return;
    for (uint32_t i = 1; i < blockDim.x; i++) most = fmaxf(most, greatest[i]);
    int exponent = 0;
    if (most > 0 && isfinite(most)) frexpf(most, &exponent);
    row_scales[blockIdx.x] =
        from.type == RILL_TYPE_F16 ? 1 : ldexpf(of.rows[blockIdx.x % 16 / 8], exponent - 15);
}

static __device__ uint32_t bits_of(float x) {
    return __half_as_ushort(__float2half_rn(x));
}

// Row and first column of register j of fragment f for a lane, inside of a tile.
static __device__ uint32_t row_of(int lane, int j) {
    return lane / 4 + 8 * (j % 2);
}
static __device__ uint32_t column_of(int lane, int f, int j) {
    return 16 * f + 8 * (j / 2) + 2 * (lane % 4);
}

// A tile that is packed, and where its parts lie.
struct target {
    uint8_t *tile;
    uint32_t high_at;
    uint32_t scales_at;
    uint32_t bytes;
    int low;
    units of;
};

static __device__ void pack_half(const source &from, const rill__cuda_packed &to, uint8_t *tile,
                                 uint32_t row0, uint32_t column0, int lane) {
    for (int f = 0; f < 4; f++)
        for (int j = 0; j < 4; j++) {
            uint32_t row = row0 + row_of(lane, j), word = 0;
            for (int i = 0; i < 2 && row < from.rows; i++) {
                uint32_t column = column0 + column_of(lane, f, j) + i;
                if (column >= from.columns) continue;
                float x = float_at(from.type, from.raw + row * from.row_bytes, column);
                word |= bits_of(x / to.row_scales[row]) << (16 * i);
            }
            ((uint32_t *)tile)[(f * 32 + lane) * 4 + j] = word;
        }
}

// Where a code's bits go: see `codes_of` in weights.cuh. A nibble of a fragment's word is moved by
// whole bytes and around its end.
static __device__ void place_code(const rill__cuda_packed &to, int low, int f, int j, int i,
                                  uint32_t code, uint32_t *codes, uint32_t *high) {
    if (to.kind == RILL_KIND_8) {
        codes[2 * f + j / 2] |= code << (16 * (j % 2) + 8 * i);
        return;
    }
    uint32_t word = (code & 15) << (low + 4 * (j % 2) + 16 * i);
    codes[f] |= __funnelshift_l(word, word, j / 2 * 8);
    if (to.kind == RILL_KIND_6)
        high[f / 2] |= (code >> 4) << (2 * (f % 2 * 4 + j) + 16 * i);
    else if (to.kind == RILL_KIND_5 || to.kind == RILL_KIND_5_MIN)
        high[0] |= (code >> 4) << (4 * f + j + 16 * i);
}

static __device__ void pack_codes(const source &from, const rill__cuda_packed &to,
                                  const target &tile, uint32_t row0, uint32_t column0, int lane) {
    uint32_t codes[8] = {0}, high[2] = {0};
    for (int f = 0; f < 4; f++)
        for (int j = 0; j < 4; j++) {
            uint32_t row = row0 + row_of(lane, j);
            for (int i = 0; i < 2 && row < from.rows; i++) {
                uint32_t column = column0 + column_of(lane, f, j) + i;
                if (column >= from.columns) continue;
                coded n = coded_at(from.type, from.raw + row * from.row_bytes, column);
                place_code(to, tile.low, f, j, i, n.code, codes, high);
            }
        }
    int words = to.kind == RILL_KIND_8 ? 8 : 4;
    for (int w = 0; w < words; w++)
        ((uint32_t *)tile.tile)[(w / 4 * 32 + lane) * 4 + w % 4] = codes[w];
    int n_high = (int)(tile.scales_at - tile.high_at) / 128;
    for (int w = 0; w < n_high; w++)
        ((uint32_t *)(tile.tile + tile.high_at))[lane * n_high + w] = high[w];
}

// Scales, then mins: a word has a block's of rows g and g + 8.
static __device__ void pack_scales(const source &from, const rill__cuda_packed &to,
                                   const target &tile, uint32_t row0, uint32_t column0, int g) {
    int blocks = to.kind == RILL_KIND_6 ? 4 : 2;
    bool min = to.kind == RILL_KIND_4_MIN || to.kind == RILL_KIND_5_MIN;
    uint32_t *out = (uint32_t *)(tile.tile + tile.scales_at) + g * blocks * (min ? 2 : 1);
    for (int b = 0; b < blocks; b++) {
        uint32_t scales = 0, mins = 0, column = column0 + b * (64 / blocks);
        for (int i = 0; i < 2; i++) {
            uint32_t row = row0 + g + 8 * i;
            if (row >= from.rows || column >= from.columns) continue;
            coded n = coded_at(from.type, from.raw + row * from.row_bytes, column);
            scales |= bits_of(n.scale / to.row_scales[row] * tile.of.rows[i]) << (16 * i);
            mins |= bits_of(n.min / to.row_scales[row]) << (16 * i);
        }
        out[b] = scales;
        if (min) out[blocks + b] = mins;
    }
}

// A warp a tile. What is outside the matrix becomes codes and scales of 0; a kind's bias makes
// nothing of them, for their scale is 0.
static __global__ void pack(source from, rill__cuda_packed to, target first, size_t n_tiles) {
    size_t tile = (size_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (tile >= n_tiles) return;
    int lane = threadIdx.x % 32;
    uint32_t row0 = (uint32_t)(tile / to.column_tiles) * RILL_TILE_ROWS;
    uint32_t column0 = (uint32_t)(tile % to.column_tiles) * RILL_TILE_COLUMNS;
    target own = first;
    own.tile += tile * own.bytes;
    if (to.kind == RILL_KIND_HALF) {
        pack_half(from, to, own.tile, row0, column0, lane);
        return;
    }
    pack_codes(from, to, own, row0, column0, lane);
    if (lane < 8) pack_scales(from, to, own, row0, column0, lane);
}

static int kind_of(rill_type type) {
    switch (type) {
    case RILL_TYPE_F16:
    case RILL_TYPE_BF16: return RILL_KIND_HALF;
    case RILL_TYPE_Q4_0: return RILL_KIND_4;
    case RILL_TYPE_Q4_1:
    case RILL_TYPE_Q4_K: return RILL_KIND_4_MIN;
    case RILL_TYPE_Q5_0: return RILL_KIND_5;
    case RILL_TYPE_Q5_1:
    case RILL_TYPE_Q5_K: return RILL_KIND_5_MIN;
    case RILL_TYPE_Q6_K: return RILL_KIND_6;
    case RILL_TYPE_Q8_0: return RILL_KIND_8;
    case RILL_TYPE_MXFP4: return RILL_KIND_FP4;
    default: return -1;
    }
}

bool rill__cuda_packs(rill_type type) {
    return kind_of(type) >= 0;
}

template <int KIND> static target target_of() {
    using L = rill__cuda_layout<KIND>;
    return {nullptr, L::high_at, L::scales_at, L::bytes, L::low, {{L::unit(0), L::unit(8)}}};
}

static target target_of_kind(int kind) {
    switch (kind) {
    case RILL_KIND_HALF: return target_of<RILL_KIND_HALF>();
    case RILL_KIND_4: return target_of<RILL_KIND_4>();
    case RILL_KIND_4_MIN: return target_of<RILL_KIND_4_MIN>();
    case RILL_KIND_5: return target_of<RILL_KIND_5>();
    case RILL_KIND_5_MIN: return target_of<RILL_KIND_5_MIN>();
    case RILL_KIND_6: return target_of<RILL_KIND_6>();
    case RILL_KIND_8: return target_of<RILL_KIND_8>();
    default: return target_of<RILL_KIND_FP4>();
    }
}

// Rows that are no multiple of 16 bytes of halves would be read at odd addresses; such a matrix is
// multiplied as it is.
rill_status rill__cuda_pack(rill__cuda *cu, rill__weight *w, bool keep, const char *name,
                            rill_error *err) {
    if (w->columns % 8 != 0) return RILL_OK;
    rill__cuda_packed *p = (rill__cuda_packed *)rill__calloc(1, sizeof *p);
    if (!p) return rill__fail_memory(err, name, sizeof *p);
    size_t row_tiles = (w->rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
    p->kind = (rill__cuda_kind)kind_of(w->type);
    p->rows = (uint32_t)w->rows;
    p->columns = (uint32_t)w->columns;
    p->column_tiles = (uint32_t)((w->columns + RILL_TILE_COLUMNS - 1) / RILL_TILE_COLUMNS);
    w->packed = p;
    size_t n_tiles = row_tiles * p->column_tiles;
    target to = target_of_kind(p->kind);
    rill_status status = rill__cuda_take(cu, n_tiles * to.bytes, name, RILL_CUDA_SMALLER_WEIGHTS,
                                         (void **)&p->tiles, err);
    if (status == RILL_OK)
        status = rill__cuda_take(cu, row_tiles * RILL_TILE_ROWS * sizeof(float), name,
                                 RILL_CUDA_SMALLER_WEIGHTS, (void **)&p->row_scales, err);
    if (status != RILL_OK) return status;
    to.tile = p->tiles;
    const source from = {w->raw, w->row_bytes, w->type, p->rows, p->columns};
    find_row_scales<<<p->rows, 256, 0, cu->stream>>>(from, to.of, p->row_scales);
    pack<<<(unsigned)((n_tiles + 7) / 8), 256, 0, cu->stream>>>(from, *p, to, n_tiles);
    RILL_CUDA_STARTED(cu, name);
    RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
    if (keep) return RILL_OK;
    cudaFree(w->raw);
    w->raw = nullptr;
    return RILL_OK;
}

void rill__cuda_packed_free(rill__cuda_packed *packed) {
    if (!packed) return;
    cudaFree(packed->tiles);
    cudaFree(packed->row_scales);
    rill__free(packed);
}
