// SPDX-License-Identifier: MIT
// Hopper's products of four warps together (PTX ISA, "Asynchronous Warpgroup Level Matrix").
#ifndef RILL_BACKEND_CUDA_WGMMA_CUH
#define RILL_BACKEND_CUDA_WGMMA_CUH

#include <stdint.h>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define RILL_WGMMA 1

// Rows of 64 halves in shared memory, 128 bytes each, whose 16-byte pieces lie exclusive-ored with
// the row's number modulo 8 (the 128-byte swizzle): 8 rows are 1024 bytes, aligned to as many. What
// is some bytes further on takes one addition, so that products of one address follow closely.
struct swizzled {
    uint32_t address;  // in 16 bytes

    __device__ __forceinline__ uint64_t at(uint32_t bytes) const {
        return (uint64_t)(address + (bytes >> 4)) | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
    }
};
static __device__ __forceinline__ swizzled swizzled_rows(uint32_t shared_address) {
    return {shared_address >> 4 | 1 << 16};
}

static __device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
static __device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Before wgmma reads what this thread wrote to shared memory, and then a barrier.
static __device__ __forceinline__ void wgmma_fence_shared() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
template <int PENDING> static __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

#define RILL_4(d, i)  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define RILL_16(d, i) RILL_4(d, i), RILL_4(d, i + 4), RILL_4(d, i + 8), RILL_4(d, i + 12)

// d[64, 32] {+}= a[64, 16] b[32, 16]: a in registers, as mma.m16n8k16 has it, b in shared memory.
static __device__ __forceinline__ void wgmma(float (&d)[16], const uint32_t (&a)[4], uint64_t b,
                                             int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %21, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
                 "{%16, %17, %18, %19}, %20, p, 1, 1, 0;\n}"
                 : RILL_16(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

// The same of 64 columns, and more below.
static __device__ __forceinline__ void wgmma(float (&d)[32], const uint32_t (&a)[4], uint64_t b,
                                             int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
                 "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}"
                 : RILL_16(d, 0), RILL_16(d, 16)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma(float (&d)[64], const uint32_t (&a)[4], uint64_t b,
                                             int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "{%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}"
                 : RILL_16(d, 0), RILL_16(d, 16), RILL_16(d, 32), RILL_16(d, 48)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

// Accumulators of 64 columns, as C fragments of mma.m16n8k16, and how they are named.
#define RILL_WGMMA_N64                                                                             \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define RILL_WGMMA_N8(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define RILL_WGMMA_ALL(d)                                                                          \
    RILL_WGMMA_N8(d[0]), RILL_WGMMA_N8(d[1]), RILL_WGMMA_N8(d[2]), RILL_WGMMA_N8(d[3]),            \
        RILL_WGMMA_N8(d[4]), RILL_WGMMA_N8(d[5]), RILL_WGMMA_N8(d[6]), RILL_WGMMA_N8(d[7])

// d[64, 64] {+}= a[64, 16] b[64, 16]: as above, with such accumulators.
static __device__ __forceinline__ void wgmma_rows(float (&d)[8][4], const uint32_t (&a)[4],
                                                  uint64_t b, int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " RILL_WGMMA_N64
                 ", {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}"
                 : RILL_WGMMA_ALL(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

// d[64, 64] {+}= a[64, 16] b[16, 64]: a in registers, b in shared memory, 16 rows of columns of d.
static __device__ __forceinline__ void wgmma_columns(float (&d)[8][4], const uint32_t (&a)[4],
                                                     uint64_t b, int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " RILL_WGMMA_N64
                 ", {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"
                 : RILL_WGMMA_ALL(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma(float (&d)[88], const uint32_t (&a)[4], uint64_t b,
                                             int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %93, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n176k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87}, "
                 "{%88, %89, %90, %91}, %92, p, 1, 1, 0;\n}"
                 : RILL_16(d, 0), RILL_16(d, 16), RILL_16(d, 32), RILL_16(d, 48), RILL_16(d, 64),
                   RILL_4(d, 80), RILL_4(d, 84)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

static __device__ __forceinline__ void wgmma(float (&d)[96], const uint32_t (&a)[4], uint64_t b,
                                             int add) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %101, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "
                 "{%96, %97, %98, %99}, %100, p, 1, 1, 0;\n}"
                 : RILL_16(d, 0), RILL_16(d, 16), RILL_16(d, 32), RILL_16(d, 48), RILL_16(d, 64),
                   RILL_16(d, 80)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

#undef RILL_16
#undef RILL_4

#endif
#endif
