// SPDX-License-Identifier: MIT
// Addresses within shared memory, as PTX instructions take them.
#ifndef RILL_BACKEND_CUDA_SHARED_CUH
#define RILL_BACKEND_CUDA_SHARED_CUH

#include <stdint.h>

static __device__ __forceinline__ uint32_t shared_address(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

#endif
