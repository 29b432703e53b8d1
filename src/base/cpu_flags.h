// SPDX-License-Identifier: MIT
// What the processor can do, found once at run time.
#ifndef RILL_BASE_CPU_FLAGS_H
#define RILL_BASE_CPU_FLAGS_H

#include "base/base.h"

// Bits of rill__cpu_flags, in rising order of tier.
enum {
    RILL_CPU_AVX2 = 1 << 0,  // AVX2 and FMA and F16C, enabled by the system
    RILL_CPU_AVX_VNNI = 1 << 1,
    RILL_CPU_AVX512 = 1 << 2,  // AVX-512 F, BW, DQ, VL, enabled by the system
    RILL_CPU_AVX512_VNNI = 1 << 3,
    RILL_CPU_AVX512_BF16 = 1 << 4,
    RILL_CPU_AMX_INT8 = 1 << 5,  // tiles, which the system lets this process use
    RILL_CPU_AMX_BF16 = 1 << 6,
    RILL_CPU_AMX = RILL_CPU_AMX_INT8 | RILL_CPU_AMX_BF16,
    RILL_CPU_NEON = 1 << 7,  // of 64-bit Arm
    RILL_CPU_DOTPROD = 1 << 8,
    RILL_CPU_I8MM = 1 << 9,
};

// The names of the tiers that a program for this kind of processor has.
#if defined(__aarch64__)
#define RILL_CPU_TIERS "ref|neon"
#elif defined(__x86_64__)
#define RILL_CPU_TIERS "ref|avx2|avx512|amx"
#else
#define RILL_CPU_TIERS "ref"
#endif

// What this processor can do. Asks the system for tiles where there are any.
unsigned rill__cpu_flags(void);
// The flags that a tier's name, one of RILL_CPU_TIERS, allows; "ref" allows none. False if the name
// is unknown.
bool rill__cpu_mask(const char *name, unsigned *mask);
// The highest tier in flags.
const char *rill__cpu_tier(unsigned flags);
// The processor's own name ("AMD EPYC ..."), NUL-terminated into out.
void rill__cpu_model(char *out, size_t capacity);

#endif
