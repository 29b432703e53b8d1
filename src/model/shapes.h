// SPDX-License-Identifier: MIT
// Named shapes: models known by their sizes alone, to reckon and to measure with.
#ifndef RILL_MODEL_SHAPES_H
#define RILL_MODEL_SHAPES_H

#include "model/description.h"

// Fills d (nothing in it is owned) with the shape of that name; fewer layers may be asked for
// behind a colon: "mpt-7b:2". ALiBi's slopes are left to whoever computes with it
// (rill__alibi_slopes). False if there is no such shape.
bool rill__shape_describe(const char *name, rill__description *d);
// "llama-1b, llama-7b ...", for messages.
void rill__shape_list(char *out, size_t capacity);

#endif
