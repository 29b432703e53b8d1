// SPDX-License-Identifier: MIT
// A model as the makers of the reference data had it.
//
// They cast whole models to the type in which the weights were to be stored, and RoPE's table of
// frequencies with them (tests/data/golden/README.md). Files hold no such table: whoever opens one
// has the frequencies of the formula. To compare with their numbers, the same rounding is done
// here.
//
// Falcon with ALiBi: the reference ran transformers' plain ("eager") attention, which adds ALiBi's
// biases twice, in FalconModel's mask and in FalconAttention; its fused path adds them once, as the
// model was trained. Slopes are doubled here.
#ifndef RILL_TESTS_REFERENCE_MODEL_H
#define RILL_TESTS_REFERENCE_MODEL_H

#include "rill/rill.h"

// Opens a directory with frequencies rounded to the type of the weights; `capacity` chooses among
// longrope's. Ends the program on failure.
rill_model *reference_model_open(rill_device *device, const char *directory, uint64_t capacity);

#endif
