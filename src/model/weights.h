// SPDX-License-Identifier: MIT
// From tensors by name to weights by role.
#ifndef RILL_MODEL_WEIGHTS_H
#define RILL_MODEL_WEIGHTS_H

#include "model/family.h"
#include "model/source.h"

// Fills m->parameters (allocated here; m->description is complete) with views into the source's
// tensors. `biases` has a bit for each role that must have one in a directory; in GGUF a bias is
// used where there is one. RILL_EFORMAT names the tensor that is missing or of another shape, or
// the role that is needed (rill__weight_needed) and for which the family knows no tensor.
RILL_NODISCARD rill_status rill__weights_bind(rill__model *m, const rill__family *family,
                                              const rill__source *source, uint32_t biases,
                                              rill_error *err);
// n_parameters, weight_bytes, weight_type and the fingerprint, from description and parameters.
void rill__weights_summarise(rill__model *m);

#endif
