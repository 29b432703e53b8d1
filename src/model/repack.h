// SPDX-License-Identifier: MIT
// Weights whose order in a file is not the one that rows are read in: copied once, when a model is
// opened.
#ifndef RILL_MODEL_REPACK_H
#define RILL_MODEL_REPACK_H

#include "model/family.h"
#include "model/source.h"

// Fills the roles' weights (or, with `bias`, their biases) of one layer from `t`, whose shape is
// checked, by RILL_LAYOUT_GROUPS. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__repack_groups(rill__model *m, const rill__weight_name *entry,
                                               uint32_t layer, bool bias, const rill__tensor *t,
                                               rill_error *err);
// The same by RILL_LAYOUT_OFFSET: a norm's weight, as float32.
RILL_NODISCARD rill_status rill__repack_offset(rill__model *m, const rill__weight_name *entry,
                                               uint32_t layer, const rill__tensor *t,
                                               rill_error *err);
// Finds and fills all weights and biases of RILL_LAYOUT_EXPERTS: NAME [experts, columns, rows] of
// floats, or NAME_blocks [experts, rows, columns / 32, 16] and NAME_scales [experts, rows,
// columns / 32] of MXFP4 (OCP Microscaling Formats 1.0); NAME_bias [experts, rows]. With several
// roles each one's rows stand in turn, role after role. The description has at least one expert.
RILL_NODISCARD rill_status rill__repack_experts(rill__model *m, const rill__source *source,
                                                const rill__weight_name *entry, uint32_t layer,
                                                rill_error *err);

#endif
