// SPDX-License-Identifier: MIT
// Which type each matrix of a model gets: all the same one, or a mix, as data.
#ifndef RILL_MODEL_MIX_H
#define RILL_MODEL_MIX_H

#include "model/family.h"

// Whether there is such a type and such a mix of it.
bool rill__mix_exists(rill_type type, rill_mix mix);

// GGUF's general.file_type (llama.cpp's llama_ftype) of a file of that type and mix.
uint32_t rill__mix_file_type(rill_type type, rill_mix mix);

// The type of a matrix whose rows have so many columns; `roles` are those that its rows serve, more
// than one where weights are fused. Rows that do not divide into blocks get the type that
// docs/types.md names. The mix exists.
rill_type rill__mix_choose(const rill__description *d, rill_type type, rill_mix mix,
                           const rill__weight_role *roles, uint32_t n_roles, uint32_t layer,
                           uint64_t columns);

#endif
