// SPDX-License-Identifier: MIT
// The product of tensor cores that all sums of float16 are made of (PTX ISA, mma.m16n8k16).
#ifndef RILL_BACKEND_CUDA_MMA_CUH
#define RILL_BACKEND_CUDA_MMA_CUH

#include <stdint.h>

// c[16, 8] += a[16, 16] b[16, 8], float16 summed in float32; fragments as the PTX ISA has them.
static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], uint32_t b0,
                                           uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
