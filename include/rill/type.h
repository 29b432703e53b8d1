// SPDX-License-Identifier: MIT
// Number formats: how numbers are stored, in weights and in caches. The numbers are GGUF's.
#ifndef RILL_TYPE_H
#define RILL_TYPE_H

#include "rill/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rill_type {
    RILL_TYPE_F32 = 0,
    RILL_TYPE_F16 = 1,
    RILL_TYPE_Q4_0 = 2,
    RILL_TYPE_Q4_1 = 3,
    RILL_TYPE_Q5_0 = 6,
    RILL_TYPE_Q5_1 = 7,
    RILL_TYPE_Q8_0 = 8,
    RILL_TYPE_Q2_K = 10,
    RILL_TYPE_Q3_K = 11,
    RILL_TYPE_Q4_K = 12,
    RILL_TYPE_Q5_K = 13,
    RILL_TYPE_Q6_K = 14,
    RILL_TYPE_IQ4_NL = 20,
    RILL_TYPE_IQ4_XS = 23,
    RILL_TYPE_BF16 = 30,
    RILL_TYPE_MXFP4 = 39,
} rill_type;

// "f32", "q4_K"...; "unknown" for a number that is none of the above.
RILL_API const char *rill_type_name(rill_type type);
// The reverse, in any case of letters. Returns false if there is no such type.
RILL_API bool rill_type_parse(const char *name, rill_type *out);

// A mix of weights: most matrices have one k-quant type, those that matter more a finer one. Small,
// medium, large: how many that is. docs/types.md says which. q2_K has M, q3_K S, M and L, q4_K and
// q5_K S and M.
typedef enum rill_mix {
    RILL_MIX_NONE,  // every matrix has the type itself
    RILL_MIX_S,
    RILL_MIX_M,
    RILL_MIX_L,
} rill_mix;

// "q4_K_M" for RILL_TYPE_Q4_K and RILL_MIX_M, "q4_K" without a mix; "unknown" if there is none
// such.
RILL_API const char *rill_mix_name(rill_type type, rill_mix mix);
// The reverse, in any case of letters. Returns false if there is no such type or mix.
RILL_API bool rill_mix_parse(const char *name, rill_type *type, rill_mix *mix);
// The names of all types and mixes, in order; NULL past the last.
RILL_API const char *rill_mix_list(size_t index);

#ifdef __cplusplus
}
#endif

#endif
