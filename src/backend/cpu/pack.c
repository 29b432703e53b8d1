// SPDX-License-Identifier: MIT
// Packed weights: see pack.h. Layouts of the types' blocks are those of src/format (types.c,
// k_quants.c).
#include "backend/cpu/pack.h"

#include "backend/cpu/kernels.h"

#include <assert.h>
#include <string.h>

enum { SPANS = 3, WORD = 4 };

// Bytes [offset, offset + bytes) of each block.
typedef struct span {
    uint8_t offset;
    uint16_t bytes;
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
    if (spans[0].bytes == 0) spans[0].bytes = (uint16_t)rill__type_traits_get(type)->block_bytes;
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

// The usual lengths as constants: a call for each would take longer than all the rest.
static void copy(uint8_t *to, const uint8_t *from, size_t bytes) {
    if (bytes == 2)
        memcpy(to, from, 2);
    else if (bytes == 16)
        memcpy(to, from, 16);
    else if (bytes == 32)
        memcpy(to, from, 32);
    else
        memcpy(to, from, bytes);
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
            copy(to, blocks + b * traits->block_bytes + spans[i].offset, spans[i].bytes);
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

typedef uint32_t words __attribute__((vector_size(16)));

static words load_words(const uint8_t *p) {
    words w;
    memcpy(&w, p, sizeof w);
    return w;
}

// Four rows' words into four lanes beside each other, from `lane` on.
static void put_four(uint8_t rows[4][RILL_PACKED_ROW_MOST], size_t bytes, uint8_t *lane) {
    enum { LINE = WORD * RILL_PACKED_ROWS };
    size_t i = 0;
    for (; i + 4 * WORD <= bytes; i += 4 * WORD) {
        words a = load_words(rows[0] + i), b = load_words(rows[1] + i);
        words c = load_words(rows[2] + i), d = load_words(rows[3] + i);
        words low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        words low2 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        words high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        words high2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        const words out[4] = {__builtin_shufflevector(low, low2, 0, 1, 4, 5),
                              __builtin_shufflevector(low, low2, 2, 3, 6, 7),
                              __builtin_shufflevector(high, high2, 0, 1, 4, 5),
                              __builtin_shufflevector(high, high2, 2, 3, 6, 7)};
        for (size_t j = 0; j < 4; j++) memcpy(lane + (i / WORD + j) * LINE, &out[j], sizeof out[j]);
    }
    for (; i < bytes; i += WORD)
        for (size_t o = 0; o < 4; o++) memcpy(lane + i / WORD * LINE + o * WORD, rows[o] + i, WORD);
}

void rill__pack_tile(rill_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                     size_t columns, uint8_t *to) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    for (size_t c = 0; c < columns; c += RILL_CPU_CHUNK) {
        size_t left = columns - c, k = left < RILL_CPU_CHUNK ? left : RILL_CPU_CHUNK;
        size_t bytes = rill__packed_row_bytes(type, k);
        assert(bytes <= RILL_PACKED_ROW_MOST);
        const uint8_t *blocks = rows + c / traits->block * traits->block_bytes;
        for (size_t o = 0; o < RILL_CPU_TILE; o += 4) {
            uint8_t four[4][RILL_PACKED_ROW_MOST];
            for (size_t i = 0; i < 4; i++) {
                if (o + i < n_rows)
                    gather(type, blocks + (o + i) * row_bytes, k, four[i]);
                else
                    memset(four[i], 0, bytes);
            }
            put_four(four, bytes, to + lane_of(o, bytes));
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
