// SPDX-License-Identifier: MIT
// Files that rill writes beside snapshots: converted models, and tensors.
#ifndef RILL_FILES_H
#define RILL_FILES_H

#include "rill/status.h"
#include "rill/type.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Called now and then with bytes done and bytes to do. Returns false to interrupt.
typedef bool (*rill_progress_fn)(void *user, uint64_t done, uint64_t total);

// How rill_convert stores matrices. (Vectors and routers stay f32, experts in mxfp4 stay mxfp4, and
// rows that do not divide into a type's blocks get another: docs/types.md.)
typedef struct rill_convert_options {
    rill_type type;    // default q8_0
    rill_mix mix;      // default RILL_MIX_NONE
    unsigned threads;  // that compute, the caller's included; 0 (default): as many as pay. They
                       // change no bit of the file.
} rill_convert_options;

// Fills options with the defaults above.
RILL_API void rill_convert_options_default(rill_convert_options *options);

// Converts a .gguf file or a Hugging Face directory to a GGUF file, metadata and names as GGUF's
// standard has them. options and progress may be NULL. Written as a snapshot is. RILL_EINVAL: no
// such type or mix. RILL_EINTERRUPTED if progress said so.
RILL_NODISCARD RILL_API rill_status rill_convert(const char *source, const char *target,
                                                 const rill_convert_options *options,
                                                 rill_progress_fn progress, void *user,
                                                 rill_error *err);

// Writes a safetensors file with one float32 tensor [rows, columns] of that name. Written as a
// snapshot is. RILL_EIO.
RILL_NODISCARD RILL_API rill_status rill_write_tensor(const char *path, const char *name,
                                                      const float *data, uint64_t rows,
                                                      uint64_t columns, rill_error *err);

#ifdef __cplusplus
}
#endif

#endif
