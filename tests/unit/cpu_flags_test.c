// SPDX-License-Identifier: MIT
// The processor's flags, against what the compiler's runtime finds, and the tiers' names.
#include "base/cpu_flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void flags_agree_with_the_compilers_runtime(void **state) {
    (void)state;
#if defined(__x86_64__)
    unsigned flags = rill__cpu_flags();
    __builtin_cpu_init();
    assert_int_equal((flags & RILL_CPU_AVX2) != 0,
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    assert_int_equal((flags & RILL_CPU_AVX512) != 0, avx512);
    assert_int_equal((flags & RILL_CPU_AVX512_VNNI) != 0,
                     avx512 && __builtin_cpu_supports("avx512vnni"));
    assert_int_equal((flags & RILL_CPU_AVX512_BF16) != 0,
                     avx512 && __builtin_cpu_supports("avx512bf16"));
#elif defined(__aarch64__)
    assert_true(rill__cpu_flags() & RILL_CPU_NEON);  // compilers take it for granted
#else
    assert_int_equal(rill__cpu_flags(), 0);
#endif
}

static void masks_have_the_tiers_names(void **state) {
    (void)state;
    unsigned mask, all = rill__cpu_flags();
    assert_true(rill__cpu_mask("ref", &mask));
    assert_int_equal(mask, 0);
#if defined(__aarch64__)
    assert_true(rill__cpu_mask("neon", &mask));
    assert_int_equal(all & mask, all);
    assert_false(rill__cpu_mask("avx2", &mask));
#elif defined(__x86_64__)
    assert_true(rill__cpu_mask("avx2", &mask));
    assert_int_equal(mask, RILL_CPU_AVX2 | RILL_CPU_AVX_VNNI);
    assert_true(rill__cpu_mask("avx512", &mask));
    assert_int_equal(all & mask, all & ~(unsigned)RILL_CPU_AMX);
    assert_true(rill__cpu_mask("amx", &mask));
    assert_int_equal(all & mask, all);
    assert_false(rill__cpu_mask("neon", &mask));
#endif
    assert_false(rill__cpu_mask("AVX2", &mask));
    assert_false(rill__cpu_mask("sse9", &mask));
    assert_string_equal(rill__cpu_tier(0), "ref");
    assert_string_equal(rill__cpu_tier(RILL_CPU_NEON), "neon");
    assert_string_equal(rill__cpu_tier(RILL_CPU_NEON | RILL_CPU_I8MM), "neon");
    assert_string_equal(rill__cpu_tier(RILL_CPU_AVX2), "avx2");
    assert_string_equal(rill__cpu_tier(RILL_CPU_AVX2 | RILL_CPU_AVX512), "avx512");
    assert_string_equal(rill__cpu_tier(RILL_CPU_AVX2 | RILL_CPU_AVX512 | RILL_CPU_AMX_INT8),
                        "avx512");
    assert_string_equal(rill__cpu_tier(RILL_CPU_AVX2 | RILL_CPU_AVX512 | RILL_CPU_AMX), "amx");
}

static void model_name_fits(void **state) {
    (void)state;
    char whole[64] = "", cut[5];
    memset(cut, 'x', sizeof cut);
    rill__cpu_model(whole, sizeof whole);
    assert_true(strlen(whole) > 0);
    assert_true(whole[0] != ' ' && whole[strlen(whole) - 1] != ' ');
    rill__cpu_model(cut, sizeof cut);
    assert_true(strlen(cut) < sizeof cut);
    assert_memory_equal(whole, cut, strlen(cut));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_agree_with_the_compilers_runtime),
        cmocka_unit_test(masks_have_the_tiers_names),
        cmocka_unit_test(model_name_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
