// SPDX-License-Identifier: MIT
// Opens the processor that a name stands for.
#ifndef RILL_BACKEND_OPEN_H
#define RILL_BACKEND_OPEN_H

#include "backend/backend.h"

// options->device (NULL: "auto") is
//   cpu     this machine's processor
//   cuda    the first GPU; cuda:N another one, as CUDA numbers them
//   auto    the first GPU if there is one that can be used, otherwise the processor, and that also
//           where the reference is asked for (exact) or a tier of the CPU (cpu): nobody is told why
// RILL_EINVAL: no such name, or no GPU of that number. RILL_EUNSUPPORTED: the CUDA backend is not
// there, is another build's, or finds no GPU, with where it was looked for. Others as the backend.
RILL_NODISCARD rill_status rill__backend_open(const rill_device_options *options,
                                              rill__backend **out, rill_error *err);

#endif
