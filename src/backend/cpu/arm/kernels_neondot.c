// SPDX-License-Identifier: MIT
// NEON with products of bytes (Armv8.2, FEAT_DotProd).
#define NAME(f) f##_neondot
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/arm/burn_neon.h"
#include "backend/cpu/arm/bytes_neondot.h"

#include "backend/cpu/simd/groups_tmpl.h"
#include "backend/cpu/simd/one_tmpl.h"

BURN(burn_int8_neondot, "sdot", "16b", 2 * 16)

void rill__cpu_kernels_neondot(rill__cpu_kernels *k) {
    k->product_one = product_one_neondot;
    k->product_groups = product_groups_neondot;
    k->put_lane = put_lane_neondot;
    k->burn_int8 = burn_int8_neondot;
}
