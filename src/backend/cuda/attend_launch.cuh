// SPDX-License-Identifier: MIT
// The ways of attention on tensor cores, and what starting them has in common. See attend.cu.
#ifndef RILL_BACKEND_CUDA_ATTEND_LAUNCH_CUH
#define RILL_BACKEND_CUDA_ATTEND_LAUNCH_CUH

#include "backend/cuda/launch.cuh"
#include "backend/cuda/attend_tile.cuh"

// What kernels are told of a call. (attend.cu)
attend_args rill__cuda_attend_args(const rill__cuda *cu, const rill__attention *a);

// What caches the runs of a call have.
struct cache_kinds {
    bool converted;                           // some are not float16
    bool halves;                              // some have numbers of 16 bits
    bool packed;                              // some are q8_0 or q4_0
    uint32_t key_row_bytes, value_row_bytes;  // the greatest
};

// All that the queries of a tile see, by one block. False: the device's shared memory is too small.
// (attend_whole.cu)
bool rill__cuda_attend_whole(rill__cuda *cu, const attend_args &args, const tile_list &list,
                             const cache_kinds &kinds);
uint32_t rill__cuda_attend_whole_queries();

// The same on Hopper, for some shapes. (attend_wide.cu)
bool rill__cuda_attend_wide(rill__cuda *cu, const attend_args &args, const tile_list &list,
                            const cache_kinds &kinds);
// Queries of a tile; 0: not for this call.
uint32_t rill__cuda_attend_wide_queries(const rill__cuda *cu, const attend_args &args);

// Where blocks that share queries leave their parts for the last of them.
struct split_scratch {
    uint32_t *done;    // [tiles, n_kv_heads] blocks that are done; zeros between kernels
    float *states;     // [tiles, n_kv_heads, parts, queries, 2]
    float *values;     // [tiles, n_kv_heads, parts, queries, head_dim]
    uint32_t parts;    // the sinks, and as many as rows may see
    uint32_t queries;  // that a tile has at most
};

// A block a part. (attend_split.cu)
bool rill__cuda_attend_split(rill__cuda *cu, const attend_args &args, const tile_list &list,
                             const split_scratch &scratch, const cache_kinds &kinds);

// Bytes that n raw rows take in shared memory: two runs of them, each with what comes before and
// behind to whole copies, and what eight_bytes reads beyond.
static inline uint32_t raw_bytes(uint32_t n, uint32_t row_bytes) {
    return (n * row_bytes + 64 + 15) / 16 * 16;
}

// Lets a kernel have that much shared memory. False: the device has less.
static inline bool allow_shared(rill__cuda *cu, const void *kernel, size_t bytes) {
    int most = 0;
    if (RILL_CUDA_TRY(cu, cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                                 cu->device)))
        return false;
    if (bytes + 2048 > (size_t)most) return false;
    if (bytes <= 40 * 1024) return true;
    return !RILL_CUDA_TRY(
        cu, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
}

// Columns behind a head's, and rows that nobody loads, are zeros.
static __device__ __forceinline__ void clear_shared(uint8_t *memory, uint32_t bytes,
                                                    uint32_t thread, uint32_t threads) {
    for (uint32_t i = thread * 16; i < bytes; i += threads * 16)
        *(uint4 *)(memory + i) = uint4{0, 0, 0, 0};
}

#endif
