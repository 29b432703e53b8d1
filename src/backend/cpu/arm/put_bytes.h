// SPDX-License-Identifier: MIT
// Activations of a group as bytes.
#ifndef RILL_PUT_BYTES_H
#define RILL_PUT_BYTES_H

#include "backend/cpu/arm/vec_neon.h"
#include "backend/cpu/kernels.h"

// A lane of [k / width, 2, lanes, width]: coarse bytes and then fine ones.
static inline void put_bytes(const rill__q16_row *row, size_t k, size_t lane, size_t width,
                             int16_t *x) {
    int8_t *to = (int8_t *)x + lane * width;
    for (size_t i = 0; i < k; i += width, to += 2 * LANES * width) {
        memcpy(to, row->coarse + i, width);
        memcpy(to + LANES * width, row->fine + i, width);
    }
}

#endif
