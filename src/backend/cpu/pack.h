// SPDX-License-Identifier: MIT
// Quantised weights in the order that the processor multiplies them in: sixteen rows beside
// each other, four bytes of each in turn, so that a row is a lane of a vector, nothing is ever
// added up across lanes, and a thread reads one unbroken stream of memory.
//
// A tile is RILL_CPU_TILE rows, a chunk up to RILL_CPU_CHUNK columns of them. A row's part of a
// chunk is its blocks' bytes as they are in a file (but for the fifth bits of q5_0 and q5_1, which
// are put in the order of columns that words have), cut into spans: the first span of all blocks
// (their scales), then the second, and so on, each filled up to whole words of four bytes. The
// chunk is [RILL_CPU_TILE / RILL_PACKED_ROWS, words, RILL_PACKED_ROWS] of those, a cache line for
// each word; a tile is its chunks, a matrix its tiles. So packed weights take the room of the
// file's, but for the filling and rows up to a whole tile.
#ifndef RILL_CPU_PACK_H
#define RILL_CPU_PACK_H

#include "format/types.h"

enum {
    RILL_PACKED_ROWS = 16,
    RILL_PACKED_ROW_MOST = 272,  // bytes of a row's part of a chunk, at most: q8_0's
};

// Bytes of one row's part of a chunk of k columns; 0: the type is not packed.
size_t rill__packed_row_bytes(rill_type type, size_t k);
// Bytes of a tile of that many columns.
size_t rill__packed_tile_bytes(rill_type type, size_t columns);

// Packs a tile: n_rows <= RILL_CPU_TILE rows of the file's blocks, row_bytes apart. Rows that are
// missing become zeros. Threads: any.
void rill__pack_tile(rill_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows,
                     size_t columns, uint8_t *to);
// One row of a chunk of k columns again as blocks.
void rill__unpack_row(rill_type type, const uint8_t *chunk, size_t k, size_t row, uint8_t *blocks);

#endif
