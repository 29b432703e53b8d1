// SPDX-License-Identifier: MIT
// A block's scale, as attention reads it from a cache: needs F16C.
#ifndef RILL_CPU_X86_SCALES_H
#define RILL_CPU_X86_SCALES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static inline float half_number(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

#endif
