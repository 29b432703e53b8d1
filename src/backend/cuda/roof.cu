// SPDX-License-Identifier: MIT
// What the card can do at most: the roofs that figures are measured against.
//
// That of products is measured with random numbers, as real ones are: an H100 of 700 W then clocks
// to 1.6 GHz, and reaches 855 to 900 Tflop/s, with zeros up to 925 (cuBLAS in the same run, 8192^3
// of bfloat16 and random numbers: 804 at its best, 708 after some seconds).
#include "backend/cuda/burn.cuh"
#include "backend/cuda/host.h"

// Read at once: far more than the second-level cache has, if that much is free.
static const size_t MOST_READ = (size_t)2 << 30, LEAST_READ = (size_t)256 << 20;

// Fused multiply-adds in independent chains.
static __global__ void burn_f32(float *out, int rounds) {
    float x[16], a = (float)threadIdx.x * 1e-9f;
    for (int i = 0; i < 16; i++) x[i] = (float)i;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 16; i++) x[i] = fmaf(x[i], 0.999f, a);
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += x[i];
    if (sum == 1) *out = sum;
}

// mma.sync of bytes, m16n8k32.
static __global__ void burn_bytes(float *out, int rounds) {
    int c[8][4] = {};
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) a[i] = threadIdx.x * 7919u + (uint32_t)i * 0x01020304u;
    for (int i = 0; i < 2; i++) b[i] = threadIdx.x * 104729u + (uint32_t)i * 0x04030201u;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                         "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                         : "+r"(c[i][0]), "+r"(c[i][1]), "+r"(c[i][2]), "+r"(c[i][3])
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    int sum = 0;
    for (int i = 0; i < 32; i++) sum += c[i / 4][i % 4];
    if (sum == 1) *out = (float)sum;
}

// The shortest of some runs, in seconds: what the card can do when nothing disturbs it.
template <class Start>
static double shortest(rill__cuda *cu, cudaEvent_t begin, cudaEvent_t end, Start start) {
    double best = 1e9;
    for (int run = 0; run < 8; run++) {
        RILL_CUDA_TRY(cu, cudaEventRecord(begin, cu->stream));
        start();
        RILL_CUDA_TRY(cu, cudaEventRecord(end, cu->stream));
        RILL_CUDA_TRY(cu, cudaEventSynchronize(end));
        float ms = 0;
        RILL_CUDA_TRY(cu, cudaEventElapsedTime(&ms, begin, end));
        if (run > 0 && ms * 1e-3 < best) best = ms * 1e-3;
    }
    return best;
}

rill_status rill__cuda_measure(rill__backend *be, rill_roof *out, rill_error *err) {
    rill__cuda *cu = rill__cuda_of(be);
    void *memory = nullptr;
    size_t n_bytes = 2 * MOST_READ;
    rill_status status = RILL_ENOMEM;
    while (status == RILL_ENOMEM && n_bytes > LEAST_READ) {
        n_bytes /= 2;
        status = rill__cuda_take(cu, n_bytes, "what is read for the roof",
                                 RILL_CUDA_SMALLER_STREAMS, &memory, err);
    }
    if (status != RILL_OK) return status;
    cudaEvent_t begin = nullptr, end = nullptr;
    RILL_CUDA_TRY(cu, cudaEventCreate(&begin));
    RILL_CUDA_TRY(cu, cudaEventCreate(&end));
    unsigned blocks = (unsigned)cu->processors * 4, rounds = 20000;
    double read = shortest(cu, begin, end, [&] {
        read_all<<<blocks, 512, 0, cu->stream>>>((const uint4 *)memory, n_bytes / 16,
                                                 (uint32_t *)memory);
    });
    double f32 = shortest(cu, begin, end, [&] {
        burn_f32<<<blocks, 256, 0, cu->stream>>>((float *)memory, (int)rounds);
    });
    bool wgmma = cu->architecture == 90;
    double halves = shortest(cu, begin, end, [&] {
        if (wgmma)
            burn_wgmma<<<(unsigned)cu->processors, 256, WGMMA_BYTES + 1024, cu->stream>>>(
                (float *)memory, (int)rounds);
        else
            burn_halves<<<blocks, 256, 0, cu->stream>>>((float *)memory, (int)rounds);
    });
    double bytes = shortest(cu, begin, end, [&] {
        burn_bytes<<<blocks, 256, 0, cu->stream>>>((float *)memory, (int)rounds);
    });
    RILL_CUDA_STARTED(cu, "roof");
    double lanes = (double)blocks * 256 * rounds;
    out->read_bytes_per_second = (double)n_bytes / read;
    out->f32_flops_per_second = lanes * 16 * 2 / f32;
    double product =
        wgmma ? burnt_by_wgmma(cu->processors, (int)rounds) : lanes / 32 * 8 * (16 * 8 * 16 * 2);
    out->bf16_flops_per_second = product / halves;
    out->int8_ops_per_second = lanes / 32 * 8 * (16 * 8 * 32 * 2) / bytes;
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaFree(memory);
    return be->ops->synchronize(be, err);
}
