// SPDX-License-Identifier: MIT
// NEON with products of matrices of bytes (Armv8.6, FEAT_I8MM).
#define NAME(f) f##_neoni8mm
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/arm/burn_neon.h"
#include "backend/cpu/arm/pairs_neoni8mm.h"

#include "backend/cpu/simd/groups_tmpl.h"

BURN(burn_int8_neoni8mm, "smmla", "16b", 2 * 32)

void rill__cpu_kernels_neoni8mm(rill__cpu_kernels *k) {
    k->product_groups = product_groups_neoni8mm;
    k->put_lane = put_lane_neoni8mm;
    k->burn_int8 = burn_int8_neoni8mm;
}
