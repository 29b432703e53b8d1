// SPDX-License-Identifier: MIT
// The processor's flags and their mask in the environment, against what the compiler's runtime
// finds.
#include "base/cpu_flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static unsigned flags_with(const char *mask) {
    unsigned flags = 0;
    if (mask)
        setenv("RILL_CPU", mask, 1);
    else
        unsetenv("RILL_CPU");
    assert_int_equal(rill__cpu_flags(&flags, NULL), RILL_OK);
    unsetenv("RILL_CPU");
    return flags;
}

static void flags_agree_with_the_compilers_runtime(void **state) {
    (void)state;
#if defined(__x86_64__)
    unsigned flags = flags_with(NULL);
    __builtin_cpu_init();
    assert_int_equal((flags & RILL_CPU_AVX2) != 0,
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    assert_int_equal((flags & RILL_CPU_AVX512) != 0, avx512);
    assert_int_equal((flags & RILL_CPU_AVX512_VNNI) != 0,
                     avx512 && __builtin_cpu_supports("avx512vnni"));
#else
    assert_int_equal(flags_with(NULL), 0);
#endif
}

static void mask_lowers_the_tier(void **state) {
    (void)state;
    unsigned all = flags_with(NULL);
    assert_int_equal(flags_with("ref"), 0);
    assert_int_equal(flags_with("avx2"), all & RILL_CPU_AVX2);
    assert_int_equal(flags_with("avx512"), all);
    assert_string_equal(rill__cpu_tier(0), "ref");
    assert_string_equal(rill__cpu_tier(RILL_CPU_AVX2), "avx2");
    assert_string_equal(rill__cpu_tier(RILL_CPU_AVX2 | RILL_CPU_AVX512), "avx512");
}

static void unknown_mask_is_refused_by_name(void **state) {
    (void)state;
    unsigned flags = 77;
    rill_error err;
    setenv("RILL_CPU", "sse9", 1);
    assert_int_equal(rill__cpu_flags(&flags, &err), RILL_EINVAL);
    unsetenv("RILL_CPU");
    assert_int_equal(flags, 77);
    assert_non_null(strstr(err.message, "sse9"));
    assert_non_null(strstr(err.message, "avx512"));
    unsigned mask;
    assert_false(rill__cpu_mask("AVX2", &mask));
    assert_true(rill__cpu_mask(NULL, &mask));
    assert_int_equal(mask, ~0u);
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
        cmocka_unit_test(mask_lowers_the_tier),
        cmocka_unit_test(unknown_mask_is_refused_by_name),
        cmocka_unit_test(model_name_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
