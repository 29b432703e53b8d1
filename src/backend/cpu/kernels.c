// SPDX-License-Identifier: MIT
// Chooses the kernels for a processor.
#include "backend/cpu/kernels.h"

#include "base/cpu_flags.h"

#include <string.h>

size_t rill__q16_row_bytes(size_t k) {
    size_t bytes = k / RILL_Q16 * sizeof(float) + 2 * k;
    return (bytes + 63) & ~(size_t)63;
}

rill__q16_row rill__q16_row_at(const uint8_t *rows, size_t k, size_t row) {
    const uint8_t *at = rows + row * rill__q16_row_bytes(k);
    const int8_t *coarse = (const int8_t *)at + k / RILL_Q16 * sizeof(float);
    return (
        rill__q16_row){.d = (const float *)(const void *)at, .coarse = coarse, .fine = coarse + k};
}

void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact) {
    memset(k, 0, sizeof *k);
    rill__cpu_kernels_ref(k);
    if (exact) {
        memset(k->product_q16, 0, sizeof k->product_q16);
        return;
    }
#if defined(__x86_64__)
    if (!(cpu_flags & RILL_CPU_AVX2)) return;
    rill__cpu_kernels_avx2(k);
    if (!(cpu_flags & RILL_CPU_AVX512)) return;
    rill__cpu_kernels_avx512(k);
    if (!(cpu_flags & RILL_CPU_AVX512_VNNI)) return;
    rill__cpu_kernels_avx512vnni(k);
#else
    (void)cpu_flags;
#endif
}
