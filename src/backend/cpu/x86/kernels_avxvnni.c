// SPDX-License-Identifier: MIT
// AVX2 with AVX-VNNI: products of whole numbers and their sum in one instruction.
#define RILL_AVX_VNNI
#define NAME(f) f##_avxvnni
#include "backend/cpu/x86/vec_avx2.h"

#include "backend/cpu/x86/one_avx2.h"
#include "backend/cpu/x86/pairs_tmpl.h"

#include "backend/cpu/simd/groups_tmpl.h"
#include "backend/cpu/simd/one_tmpl.h"

void rill__cpu_kernels_avxvnni(rill__cpu_kernels *k) {
    k->product_one = product_one_avxvnni;
    k->product_groups = product_groups_avxvnni;
    k->put_lane = put_lane_avxvnni;
}
