// SPDX-License-Identifier: MIT
// Chooses the kernels for a processor.
#include "backend/cpu/kernels.h"

#include "base/cpu_flags.h"

#include <string.h>

rill__whole_format rill__whole_format_of(rill_type type) {
    static const rill__whole_format formats[RILL_CPU_TYPES] = {
        [RILL_TYPE_Q4_0] = {32, 8},     [RILL_TYPE_Q4_1] = {32, 0},
        [RILL_TYPE_Q5_0] = {32, 16},    [RILL_TYPE_Q5_1] = {32, 0},
        [RILL_TYPE_Q8_0] = {32, 128},   [RILL_TYPE_Q2_K] = {16, 0},
        [RILL_TYPE_Q3_K] = {16, 4},     [RILL_TYPE_Q4_K] = {32, 0},
        [RILL_TYPE_Q5_K] = {32, 0},     [RILL_TYPE_Q6_K] = {16, 32},
        [RILL_TYPE_IQ4_NL] = {32, 128}, [RILL_TYPE_IQ4_XS] = {32, 128},
        [RILL_TYPE_MXFP4] = {32, 16},
    };
    return (unsigned)type < RILL_CPU_TYPES ? formats[type] : (rill__whole_format){0};
}

void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact) {
    memset(k, 0, sizeof *k);
    rill__cpu_kernels_ref(k);
    if (exact) {
        memset(k->expand, 0, sizeof k->expand);
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
