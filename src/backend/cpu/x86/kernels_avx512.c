// SPDX-License-Identifier: MIT
#include "backend/cpu/kernels.h"

void rill__cpu_kernels_avx512(rill__cpu_kernels *k, unsigned cpu_flags) {
    (void)k;
    (void)cpu_flags;
}
