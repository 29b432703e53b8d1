// SPDX-License-Identifier: MIT
// Kernels that begin while the one before them ends (programmatic dependent launch, CUDA
// programming guide): a token takes hundreds of short kernels, and what each needs that does not
// come from the one before, its weights above all, can be on its way already.
#ifndef RILL_BACKEND_CUDA_LAUNCH_CUH
#define RILL_BACKEND_CUDA_LAUNCH_CUH

#include "backend/cuda/cuda.h"

// Before a kernel of rill__cuda_start reads or writes what other kernels write or read. What was
// there before the pass's first kernel, and is not written in it, may be read earlier: weights, all
// of `rill__cuda_step`, and the rows of tokens that came in earlier passes.
static __device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
#endif
}

// From here on the next kernel's blocks may take what room is left.
static __device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// Starts a kernel that calls wait_for_previous, in clusters of so many blocks.
template <class... Parameters, class... Arguments>
static void rill__cuda_start_clusters(rill__cuda *cu, const char *name,
                                      void (*kernel)(Parameters...), unsigned cluster, dim3 grid,
                                      dim3 block, size_t shared, Arguments... arguments) {
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = cluster;
    attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = cu->stream;
    config.attrs = attributes;
    config.numAttrs = cu->architecture < 90 ? 0 : cluster > 1 ? 2 : 1;
    cu->n_started++;
    rill__cuda_failed(cu, cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), name,
                      __FILE__, __LINE__);
}

template <class... Parameters, class... Arguments>
static void rill__cuda_start(rill__cuda *cu, const char *name, void (*kernel)(Parameters...),
                             dim3 grid, dim3 block, size_t shared, Arguments... arguments) {
    rill__cuda_start_clusters(cu, name, kernel, 1, grid, block, shared, arguments...);
}

#endif
