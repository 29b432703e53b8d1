// SPDX-License-Identifier: MIT
// What the processor can do, found once at run time.
#ifndef RILL_BASE_CPU_FLAGS_H
#define RILL_BASE_CPU_FLAGS_H

#include "base/base.h"

// Bits of rill__cpu_flags, in rising order of tier.
enum {
    RILL_CPU_AVX2 = 1 << 0,    // AVX2 and FMA and F16C, enabled by the system
    RILL_CPU_AVX512 = 1 << 1,  // AVX-512 F, BW, DQ, VL, enabled by the system
    RILL_CPU_AVX512_VNNI = 1 << 2,
    RILL_CPU_AVX512_BF16 = 1 << 3,
};

// The processor's flags, cut down by the mask in the environment variable RILL_CPU if it is set:
// "ref" (none), "avx2", "avx512" name the highest tier allowed. An unknown word fails with
// RILL_EINVAL and lists the legal ones.
RILL_NODISCARD rill_status rill__cpu_flags(unsigned *flags, rill_error *err);
// The flags of a tier's name as in RILL_CPU, all flags for NULL; false if the name is unknown.
bool rill__cpu_mask(const char *name, unsigned *mask);
// "avx512", "avx2" or "ref": the highest tier in flags.
const char *rill__cpu_tier(unsigned flags);
// The processor's own name ("AMD EPYC ..."), NUL-terminated into out.
void rill__cpu_model(char *out, size_t capacity);

#endif
