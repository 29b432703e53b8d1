// SPDX-License-Identifier: MIT
// The sizes of a model that one does not have.
#ifndef RILL_CLI_SHAPE_H
#define RILL_CLI_SHAPE_H

#include "base/base.h"

#include "rill/rill.h"

// Reads the value of --shape, the name of a known shape or layers=24,hidden=768,heads=12,..., into
// *m. RILL_EINVAL says what was wrong.
RILL_NODISCARD rill_status rill__shape_parse(const char *text, rill_model_info *m, rill_error *err);

#endif
