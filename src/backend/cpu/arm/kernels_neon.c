// SPDX-License-Identifier: MIT
// The NEON tier: what every 64-bit Arm processor has.
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/arm/attend_neon.h"
#include "backend/cpu/arm/burn_neon.h"
#include "backend/cpu/arm/quantize_neon.h"

#include "backend/cpu/simd/product_tmpl.h"
#include "backend/cpu/simd/rows_tmpl.h"
#include "backend/cpu/simd/words_tmpl.h"

#include "backend/cpu/simd/unpack_tmpl.h"
#include "backend/cpu/simd/whole_tmpl.h"

#include "backend/cpu/simd/expand_tmpl.h"
#include "backend/cpu/simd/row_tmpl.h"

#include "backend/cpu/simd/attend_tmpl.h"
#include "backend/cpu/simd/encode_tmpl.h"

BURN(burn_f32_neon, "fmla", "4s", 2 * LANES)
BURN(burn_int8_neon, "smlal", "4h", 2 * LANES)

void rill__cpu_kernels_neon(rill__cpu_kernels *k) {
#include "backend/cpu/simd/slots_tmpl.h"
    expand_slots_neon(k);
    row_slots_neon(k);
    k->quantize_whole = quantize_whole_neon;
    k->burn_int8 = burn_int8_neon;
}
