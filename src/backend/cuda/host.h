// SPDX-License-Identifier: MIT
// The host's side of the CUDA backend: what backend.cu, pass.cu and pack.cu know of each other.
#ifndef RILL_BACKEND_CUDA_HOST_H
#define RILL_BACKEND_CUDA_HOST_H

#include "backend/cuda/cuda.h"

#include <pthread.h>

extern "C" {
#include "format/types.h"
}

// Graphs kept: a decode step of some streams, and of others with guesses, come back soon.
enum { RILL_CUDA_GRAPHS = 16 };

// What makes passes alike: two of the same shape differ in nothing but what `step` holds.
struct rill__cuda_shape {
    const void *room;
    size_t n_rows;
    size_t n_runs;
    size_t n_wanted;
    bool chooses;
    uint64_t runs;  // a hash of each run's rows and types
};

struct rill__cuda_graph {
    rill__cuda_shape shape;
    unsigned seen;         // times such a pass came; recorded at the second
    uint64_t last;         // the pass that used it last
    cudaGraphExec_t exec;  // NULL until recorded
};

struct rill__cuda_host {
    pthread_mutex_t lock;  // held through a pass: there is one `step`
    char description[320];
    char tier[16];
    // Memory of `step` on the device and what goes there, page-locked. [2]: what is new in every
    // pass, and what is so only when other streams come.
    uint8_t *device[2];
    uint8_t *staging[2];
    size_t bytes[2];
    size_t sent;  // bytes of the second part that the device has
    rill__cuda_graph graphs[RILL_CUDA_GRAPHS];
    rill__cuda_graph *recording;
    uint64_t n_passes;
};

// What to do where memory does not suffice.
#define RILL_CUDA_SMALLER_WEIGHTS "weights of a smaller type (rill convert --type q4_0)"
#define RILL_CUDA_SMALLER_STREAMS "fewer streams, a smaller window or a smaller cache type"

// Zeroed device memory; RILL_ENOMEM says what is free, and what `fits`.
rill_status rill__cuda_take(rill__cuda *cu, size_t bytes, const char *what, const char *fits,
                            void **out, rill_error *err);

// pass.cu
bool rill__cuda_begin(rill__backend *be, const rill__pass *pass);
void rill__cuda_end(rill__backend *be);
void rill__cuda_launch_recorded(rill__cuda *cu);
void rill__cuda_forget_graphs(rill__cuda *cu);
void rill__cuda_pass_close(rill__cuda *cu);

// pack.cu
bool rill__cuda_packs(rill_type type);
// Packs w->raw for products, and frees it unless it is to be kept for who reads rows. RILL_ENOMEM.
rill_status rill__cuda_pack(rill__cuda *cu, rill__weight *w, bool keep, const char *name,
                            rill_error *err);
void rill__cuda_packed_free(struct rill__cuda_packed *packed);

#endif
