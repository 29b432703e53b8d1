// SPDX-License-Identifier: MIT
// Chooses the kernels for a processor.
#include "backend/cpu/kernels.h"

#include "base/cpu_flags.h"

#include <string.h>

size_t rill__q8_row_bytes(size_t k) {
    size_t bytes = k / RILL_Q8 * (sizeof(float) + sizeof(int32_t)) + k;
    return (bytes + 63) & ~(size_t)63;
}

rill__q8_row rill__q8_row_at(const uint8_t *rows, size_t k, size_t row) {
    const uint8_t *at = rows + row * rill__q8_row_bytes(k);
    size_t n_blocks = k / RILL_Q8;
    return (rill__q8_row){
        .d = (const float *)(const void *)at,
        .sums = (const int32_t *)(const void *)(at + n_blocks * sizeof(float)),
        .q = (const int8_t *)at + n_blocks * (sizeof(float) + sizeof(int32_t)),
    };
}

void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact) {
    memset(k, 0, sizeof *k);
    rill__cpu_kernels_ref(k);
    if (exact) {
        memset(k->product_q8, 0, sizeof k->product_q8);
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
