// SPDX-License-Identifier: MIT
// The tiers above "ref" that programs for this kind of processor have, lowest first, and tests on
// each of them.
#ifndef RILL_TESTS_TIERS_H
#define RILL_TESTS_TIERS_H

#include <stdint.h>

// A cmocka test that gets the tier's name as its state.
#define TEST_ON(test, tier)                                                                        \
    { #test " on " tier, test, NULL, NULL, (void *)(uintptr_t)(tier) }

#if defined(__aarch64__)
#define TEST_TIERS          "neon"
#define TEST_HIGHEST        "neon"
#define TEST_ON_TIERS(test) TEST_ON(test, "neon")
#else
#define TEST_TIERS          "avx2", "avx512", "amx"
#define TEST_HIGHEST        "amx"
#define TEST_ON_TIERS(test) TEST_ON(test, "avx2"), TEST_ON(test, "avx512"), TEST_ON(test, "amx")
#endif

#endif
