// SPDX-License-Identifier: MIT
// Packed weights: a matrix in the order in which tensor cores take it.
//
// A tile is 16 rows and 64 columns, four fragments of the A operand of mma.m16n8k16: lane 4 g + t
// of a warp holds, of fragment f, in register j (0 to 3) the two numbers of row g + 8 (j % 2) and
// columns 16 f + 8 (j / 2) + 2 t + {0, 1}. A tile's numbers lie by lane, so a warp reads them in
// whole lines and nothing has to be moved between lanes; wgmma takes the same fragments, four row
// tiles at once. A tile's scales follow it, and tiles of a row of tiles one another, so that any
// number of them is one piece of memory: small pieces cost more than their bytes.
//
// A number is row_scale * (scale * (code - bias) / unit + min): codes as in the file, their order
// changed; scales and mins of blocks as float16, relative to the row's greatest scale, which is in
// [2^14, 2^15). Codes lie at the lower end of halves, a unit of them a 1, so a mask makes a float16
// of each: a number is rounded once, to the 11 bits of float16 or within 2^-18 of the row's
// greatest. float16 stays as it is; bfloat16 becomes float16 times a power of two of its row, which
// keeps all of its bits down to 2^-31 of the row's greatest number.
#ifndef RILL_BACKEND_CUDA_PACK_H
#define RILL_BACKEND_CUDA_PACK_H

#include "backend/cuda/host.h"

enum { RILL_TILE_ROWS = 16, RILL_TILE_COLUMNS = 64 };

enum rill__cuda_kind {
    RILL_KIND_HALF,
    RILL_KIND_4,      // q4_0
    RILL_KIND_4_MIN,  // q4_1, q4_K
    RILL_KIND_5,
    RILL_KIND_5_MIN,
    RILL_KIND_6,  // scales of 16 columns; all others of 32
    RILL_KIND_8,
    RILL_KIND_FP4,  // codes are e2m1
    RILL_KINDS
};

// What a kind's tile is made of, bytes a lane.
template <int KIND> struct rill__cuda_layout {
    static constexpr bool half = KIND == RILL_KIND_HALF;
    static constexpr bool four = KIND != RILL_KIND_HALF && KIND != RILL_KIND_8;
    static constexpr bool min = KIND == RILL_KIND_4_MIN || KIND == RILL_KIND_5_MIN;
    static constexpr int bias = KIND == RILL_KIND_4   ? 8
                                : KIND == RILL_KIND_5 ? 16
                                : KIND == RILL_KIND_6 ? 32
                                : KIND == RILL_KIND_8 ? 128
                                                      : 0;
    static constexpr int code_words = half ? 16 : four ? 4 : 8;
    static constexpr int high_words = KIND == RILL_KIND_6                              ? 2
                                      : KIND == RILL_KIND_5 || KIND == RILL_KIND_5_MIN ? 1
                                                                                       : 0;
    static constexpr int blocks = KIND == RILL_KIND_6 ? 4 : 2;  // of a tile's columns
    // Where a nibble of even registers begins in a half; of odd ones 4 bits above.
    static constexpr int low = four && high_words == 0 && KIND != RILL_KIND_FP4 ? 2 : 0;
    // Codes of a row of a tile that make a 1. Registers are even for its first 8 rows.
    static constexpr __host__ __device__ float unit(int row) {
        return half                    ? 1
               : KIND == RILL_KIND_FP4 ? 1 << 14
               : KIND == RILL_KIND_8   ? 1 << 24
                                       : 1 << ((row < 8 ? 24 : 20) - low);
    }
    // Halves of a row pair g, g + 8: [blocks][2], mins behind scales.
    static constexpr int scale_words = half ? 0 : blocks * (min ? 2 : 1);
    // A tile in memory: codes [code_words / 4, 32 lanes, 4], high bits [32 lanes, high_words] and
    // scales [8 (g), scale_words], words.
    static constexpr uint32_t high_at = code_words * 128;
    static constexpr uint32_t scales_at = high_at + high_words * 128;
    static constexpr uint32_t bytes = scales_at + scale_words * 32;
};

struct rill__cuda_packed {
    rill__cuda_kind kind;
    uint32_t rows;
    uint32_t columns;
    uint32_t column_tiles;
    uint8_t *tiles;     // [row tiles, column tiles], as the kind's layout has them
    float *row_scales;  // [row tiles * 16]
};

#endif
