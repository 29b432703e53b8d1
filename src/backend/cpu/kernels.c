// SPDX-License-Identifier: MIT
// Chooses the kernels for a processor.
#include "backend/cpu/kernels.h"

#include "base/cpu_flags.h"

#include <string.h>

rill__whole_format rill__whole_format_of(rill_type type) {
    static const rill__whole_format formats[RILL_CPU_TYPES] = {
#define FORMAT(name, TYPE, run, zero) [RILL_TYPE_##TYPE] = {run, zero},
        RILL_WHOLE_TYPES(FORMAT)
#undef FORMAT
    };
    return (unsigned)type < RILL_CPU_TYPES ? formats[type] : (rill__whole_format){0};
}

void rill__cpu_kernels_init(rill__cpu_kernels *k, unsigned cpu_flags, bool exact) {
    memset(k, 0, sizeof *k);
    rill__cpu_kernels_ref(k);
    if (exact) {
        memset(k->expand, 0, sizeof k->expand);
        memset(k->product_row, 0, sizeof k->product_row);
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
