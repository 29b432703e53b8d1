// SPDX-License-Identifier: MIT
// Hopper's copies into shared memory that run by themselves, and the barriers that tell when they
// have come (PTX ISA: mbarrier, cp.async.bulk, cp.async.bulk.tensor), within a block and within a
// cluster of blocks. Addresses are of the shared window, as 32 bits.
#ifndef RILL_BACKEND_CUDA_BULK_CUH
#define RILL_BACKEND_CUDA_BULK_CUH

#include "backend/cuda/shared.cuh"

#include <cuda.h>
#include <stdint.h>

#if __CUDA_ARCH__ >= 900
#define RILL_BULK 1

// ---- Barriers -----------------------------------------------------------------------------------

static __device__ __forceinline__ void barrier_new(uint32_t barrier, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
// Behind barrier_new, before anybody uses the barriers.
static __device__ __forceinline__ void barriers_made() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Predicated, not branches: ptxas gives up on wgmmas that are in flight where threads part.
static __device__ __forceinline__ void arrive_if(bool so, uint32_t barrier) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %1, 0;\n"
                 "@p mbarrier.arrive.shared::cta.b64 _, [%0];\n}" ::"r"(barrier),
                 "r"((int)so)
                 : "memory");
}
// At the same place in the shared memory of another block of the cluster.
static __device__ __forceinline__ void arrive_at_if(bool so, uint32_t barrier, uint32_t block) {
    asm volatile("{\n.reg .pred p;\n.reg .b32 there;\nsetp.ne.b32 p, %2, 0;\n"
                 "mapa.shared::cluster.u32 there, %0, %1;\n"
                 "@p mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
                 "r"(block), "r"((int)so)
                 : "memory");
}
// Arrives, and announces so many bytes of copies.
static __device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}
// Until the barrier's phase (0, 1, 0, ...) is over.
static __device__ __forceinline__ void await(uint32_t barrier, uint32_t phase) {
    asm volatile("{\n.reg .pred p;\nagain:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra again;\n}" ::"r"(barrier),
                 "r"(phase)
                 : "memory");
}

// Stages of shared memory that some warps fill and others empty, in turn: where one of them stands.
// `barriers`: one a stage that is full, behind them one a stage that is empty again.
template <int STAGES> struct ring {
    uint32_t barriers;
    uint32_t stage = 0;
    uint32_t phase = 0;

    __device__ __forceinline__ uint32_t full() const {
        return barriers + 8 * stage;
    }
    __device__ __forceinline__ uint32_t empty() const {
        return barriers + 8 * (STAGES + stage);
    }
    __device__ __forceinline__ void next() {
        if (++stage < STAGES) return;
        stage = 0;
        phase ^= 1;
    }
    // For one thread: makes the barriers.
    __device__ __forceinline__ void make(uint32_t fillers, uint32_t emptiers) const {
        for (int i = 0; i < STAGES; i++) {
            barrier_new(barriers + 8 * i, fillers);
            barrier_new(barriers + 8 * (STAGES + i), emptiers);
        }
    }
};

// ---- Copies -------------------------------------------------------------------------------------

// A multiple of 16 bytes.
static __device__ __forceinline__ void copy_bulk(uint32_t to, const void *from, uint32_t bytes,
                                                 uint32_t barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
}

// What is read once leaves the second-level cache first.
static __device__ __forceinline__ uint64_t read_once_policy() {
    uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
static __device__ __forceinline__ void copy_bulk_once(uint32_t to, const void *from, uint32_t bytes,
                                                      uint32_t barrier, uint64_t policy) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
                 : "memory");
}

// A map's box at a column and a row.
static __device__ __forceinline__ void copy_box(uint32_t to, const CUtensorMap *map,
                                                uint32_t column, uint32_t row, uint32_t barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                 "l"(map), "r"(column), "r"(row), "r"(barrier)
                 : "memory");
}
// The same to several blocks of the cluster at once, and their barriers.
static __device__ __forceinline__ void copy_box_to(uint32_t to, const CUtensorMap *map,
                                                   uint32_t column, uint32_t row, uint32_t barrier,
                                                   uint32_t blocks) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
                 "l"(map), "r"(column), "r"(row), "r"(barrier), "h"((uint16_t)blocks)
                 : "memory");
}

// ---- Blocks and warpgroups ----------------------------------------------------------------------

// True in one lane of the warp, of which the compiler knows that it is one.
static __device__ __forceinline__ bool is_leader() {
    uint32_t leader;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(leader));
    return leader;
}
static __device__ __forceinline__ uint32_t block_in_cluster() {
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
static __device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// Threads that meet at one of a block's 16 barriers.
static __device__ __forceinline__ void meet(int which, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(which), "r"(threads) : "memory");
}
template <int N> static __device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> static __device__ __forceinline__ void leave_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

#endif
#endif
