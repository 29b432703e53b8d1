// SPDX-License-Identifier: MIT
// Packed weights: see pack.h. Layouts of the types' blocks are those of src/format (types.c,
// k_quants.c).
#include "backend/cpu/pack.h"

#include "backend/cpu/kernels.h"

#include <string.h>

enum { SPANS = 3, WORD = 4, ROW_BYTES_MOST = RILL_CPU_CHUNK / 32 * 34 };

// Bytes [offset, offset + bytes) of each block.
typedef struct span {
    uint8_t offset;
    uint8_t bytes;
    bool bits;  // 32 bits, one a column: bit 4 j + i goes to bit j of byte i
} span;

// Types whose blocks are cut: scales apart from the rest, so that words are whole. Others' blocks
// are one span.
static const span cut_spans[RILL_CPU_TYPES][SPANS] = {
    [RILL_TYPE_Q4_0] = {{0, 2, false}, {2, 16, false}},
    [RILL_TYPE_Q5_0] = {{0, 2, false}, {2, 4, true}, {6, 16, false}},
    [RILL_TYPE_Q5_1] = {{0, 4, false}, {4, 4, true}, {8, 16, false}},
    [RILL_TYPE_Q4_1] = {{0, 4, false}, {4, 16, false}},
    [RILL_TYPE_Q8_0] = {{0, 2, false}, {2, 32, false}},
    [RILL_TYPE_IQ4_NL] = {{0, 2, false}, {2, 16, false}},
    [RILL_TYPE_MXFP4] = {{0, 1, false}, {1, 16, false}},
};

static void spans_of(rill_type type, span spans[SPANS]) {
    memcpy(spans, cut_spans[type], sizeof cut_spans[type]);
    if (spans[0].bytes == 0) spans[0].bytes = (uint8_t)rill__type_traits_get(type)->block_bytes;
}

static size_t whole_words(size_t bytes) {
    return (bytes + WORD - 1) / WORD * WORD;
}

size_t rill__packed_row_bytes(rill_type type, size_t k) {
    if (rill__whole_format_of(type).run == 0) return 0;
    span spans[SPANS];
    spans_of(type, spans);
    size_t blocks = k / rill__type_traits_get(type)->block, bytes = 0;
    for (size_t i = 0; i < SPANS; i++) bytes += whole_words(blocks * spans[i].bytes);
    return bytes;
}

size_t rill__packed_tile_bytes(rill_type type, size_t columns) {
    size_t chunks = columns / RILL_CPU_CHUNK, rest = columns % RILL_CPU_CHUNK;
    return RILL_CPU_TILE * (chunks * rill__packed_row_bytes(type, RILL_CPU_CHUNK) +
                            rill__packed_row_bytes(type, rest));
}

// The four bits that stand eight apart, from bit i on: see span.bits.
static uint32_t turned(uint32_t bits) {
    uint32_t out = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t t = bits >> i & 0x11111111;  // bit j at 4 j
        t = (t | t >> 3) & 0x03030303;
        t = (t | t >> 6) & 0x000f000f;
        out |= ((t | t >> 12) & 0xff) << (8 * i);
    }
    return out;
}

static uint32_t turned_back(uint32_t bits) {
    uint32_t out = 0;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 4; i++) out |= (bits >> (8 * i + j) & 1) << (4 * j + i);
    return out;
}

// A row's part of a chunk.
static void gather(rill_type type, const uint8_t *blocks, size_t k, uint8_t *row) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    size_t n = k / traits->block;
    span spans[SPANS];
    spans_of(type, spans);
    for (size_t i = 0; i < SPANS; i++) {
        uint8_t *to = row;
        for (size_t b = 0; b < n && spans[i].bytes; b++, to += spans[i].bytes) {
            memcpy(to, blocks + b * traits->block_bytes + spans[i].offset, spans[i].bytes);
            if (!spans[i].bits) continue;
            uint32_t bits;
            memcpy(&bits, to, sizeof bits);
            bits = turned(bits);
            memcpy(to, &bits, sizeof bits);
        }
        size_t bytes = whole_words(n * spans[i].bytes);
        memset(to, 0, (size_t)(row + bytes - to));
        row += bytes;
    }
}

// Where a row's first word lies in a chunk with so many bytes a row.
static size_t lane_of(size_t row, size_t bytes) {
    return row / RILL_PACKED_ROWS * RILL_PACKED_ROWS * bytes + row % RILL_PACKED_ROWS * WORD;
}

void rill__pack_tile(rill_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                     size_t columns, uint8_t *to) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    for (size_t c = 0; c < columns; c += RILL_CPU_CHUNK) {
        size_t left = columns - c, k = left < RILL_CPU_CHUNK ? left : RILL_CPU_CHUNK;
        size_t bytes = rill__packed_row_bytes(type, k);
        const uint8_t *blocks = rows + c / traits->block * traits->block_bytes;
        if (n_rows < RILL_CPU_TILE) memset(to, 0, RILL_CPU_TILE * bytes);
        for (size_t o = 0; o < n_rows; o++) {
            uint8_t row[ROW_BYTES_MOST];
            gather(type, blocks + o * row_bytes, k, row);
            uint8_t *lane = to + lane_of(o, bytes);
            for (size_t i = 0; i < bytes; i += WORD)
                memcpy(lane + i * RILL_PACKED_ROWS, row + i, WORD);
        }
        to += RILL_CPU_TILE * bytes;
    }
}

void rill__unpack_row(rill_type type, const uint8_t *chunk, size_t k, size_t row, uint8_t *blocks) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    size_t n = k / traits->block, from = 0;
    const uint8_t *lane = chunk + lane_of(row, rill__packed_row_bytes(type, k));
    span spans[SPANS];
    spans_of(type, spans);
    for (size_t i = 0; i < SPANS; i++) {
        for (size_t at = 0; at < n * spans[i].bytes; at++) {
            size_t word = (from + at) / WORD, byte = (from + at) % WORD;
            blocks[at / spans[i].bytes * traits->block_bytes + spans[i].offset +
                   at % spans[i].bytes] = lane[word * RILL_PACKED_ROWS * WORD + byte];
        }
        for (size_t b = 0; b < n && spans[i].bits; b++) {
            uint8_t *at = blocks + b * traits->block_bytes + spans[i].offset;
            uint32_t bits;
            memcpy(&bits, at, sizeof bits);
            bits = turned_back(bits);
            memcpy(at, &bits, sizeof bits);
        }
        from += whole_words(n * spans[i].bytes);
    }
}
