// SPDX-License-Identifier: MIT
// Chooses the kernels for a processor.
#include "backend/cpu/kernels.h"

#include "base/cpu_flags.h"

#include <string.h>

static size_t lines(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

size_t rill__q16_row_bytes(size_t k) {
    return lines(k / RILL_Q16 * sizeof(float)) + lines(k / RILL_Q16_RUN * sizeof(int32_t)) + 4 * k;
}

rill__q16_row rill__q16_row_at(uint8_t *memory, size_t k) {
    uint8_t *sums = memory + lines(k / RILL_Q16 * sizeof(float));
    uint8_t *x = sums + lines(k / RILL_Q16_RUN * sizeof(int32_t));
    return (rill__q16_row){.d = (float *)(void *)memory,
                           .sums = (int32_t *)(void *)sums,
                           .x = (int16_t *)(void *)x,
                           .coarse = (int8_t *)x + 2 * k,
                           .fine = (int8_t *)x + 3 * k};
}

size_t rill__q16_group_bytes(size_t k, size_t lanes) {
    return lanes * (k / RILL_Q16 * sizeof(float) + k / RILL_Q16_RUN * sizeof(int32_t) +
                    k * sizeof(int16_t));
}

rill__q16_group rill__q16_group_at(uint8_t *memory, size_t k, size_t lanes) {
    uint8_t *sums = memory + lanes * (k / RILL_Q16) * sizeof(float);
    uint8_t *x = sums + lanes * (k / RILL_Q16_RUN) * sizeof(int32_t);
    return (rill__q16_group){
        .d = (float *)(void *)memory, .sums = (int32_t *)(void *)sums, .x = (int16_t *)(void *)x};
}

rill__whole_format rill__whole_format_of(rill_type type) {
    static const rill__whole_format formats[RILL_CPU_TYPES] = {
        [RILL_TYPE_Q4_0] = {32, 8, false},     [RILL_TYPE_Q4_1] = {32, 0, true},
        [RILL_TYPE_Q5_0] = {32, 16, false},    [RILL_TYPE_Q5_1] = {32, 0, true},
        [RILL_TYPE_Q8_0] = {32, 128, false},   [RILL_TYPE_Q2_K] = {16, 0, true},
        [RILL_TYPE_Q3_K] = {16, 4, false},     [RILL_TYPE_Q4_K] = {32, 0, true},
        [RILL_TYPE_Q5_K] = {32, 0, true},      [RILL_TYPE_Q6_K] = {16, 32, false},
        [RILL_TYPE_IQ4_NL] = {32, 127, false}, [RILL_TYPE_IQ4_XS] = {32, 127, false},
        [RILL_TYPE_MXFP4] = {32, 12, false},
    };
    return (unsigned)type < RILL_CPU_TYPES ? formats[type] : (rill__whole_format){0};
}

void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact) {
    memset(k, 0, sizeof *k);
    rill__cpu_kernels_ref(k);
    if (exact) {
        memset(k->unpack, 0, sizeof k->unpack);
        return;
    }
#if defined(__x86_64__)
    if (!(cpu_flags & RILL_CPU_AVX2)) return;
    rill__cpu_kernels_avx2(k);
    if (cpu_flags & RILL_CPU_AVX_VNNI) rill__cpu_kernels_avxvnni(k);
    if (!(cpu_flags & RILL_CPU_AVX512)) return;
    rill__cpu_kernels_avx512(k);
    if (!(cpu_flags & RILL_CPU_AVX512_VNNI)) return;
    rill__cpu_kernels_avx512vnni(k);
    if (!(cpu_flags & RILL_CPU_AVX512_BF16)) return;
    rill__cpu_kernels_avx512bf16(k);
    if ((cpu_flags & RILL_CPU_AMX) != RILL_CPU_AMX) return;
    rill__cpu_kernels_amx(k);
#elif defined(__aarch64__)
    if (!(cpu_flags & RILL_CPU_NEON)) return;
    rill__cpu_kernels_neon(k);
    if (!(cpu_flags & RILL_CPU_DOTPROD)) return;
    rill__cpu_kernels_neondot(k);
    if (!(cpu_flags & RILL_CPU_I8MM)) return;
    rill__cpu_kernels_neoni8mm(k);
#else
    (void)cpu_flags;
#endif
}
