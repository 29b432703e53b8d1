// SPDX-License-Identifier: MIT
// An allocator for tests: counts, knows what is alive, and fails on command.
//
//   failing_allocator_install();
//   for (uint64_t n = 1;; n++) {
//       failing_allocator_arm(n, false);              the n-th allocation from here fails
//       rill_status status = the scenario...
//       bool fired = failing_allocator_disarm();
//       assert_int_equal(failing_allocator_live_blocks(), 0);
//       if (!fired)
//           break;                                    fewer than n allocations: all were tried
//       assert_int_equal(status, RILL_ENOMEM);
//   }
//   failing_allocator_remove();
//
// Every allocation of the library passes here, that of large memory (rill__map_memory) and of
// jansson's too. A resize counts as one. Threads: any; install and remove when nothing is alive.
#ifndef RILL_TESTS_FAILING_ALLOCATOR_H
#define RILL_TESTS_FAILING_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Replaces the library's allocator, counters at zero, nothing armed. remove puts the C library's
// back.
void failing_allocator_install(void);
void failing_allocator_remove(void);

// Makes the n-th allocation from now (1 is the next) fail; with `for_good` all later ones too. 0:
// none.
void failing_allocator_arm(uint64_t n, bool for_good);
// No allocation fails from now on. Returns whether one did since arm.
bool failing_allocator_disarm(void);

// Allocations asked for since install, the failed ones too.
uint64_t failing_allocator_count(void);
// What is alive now: pieces and bytes. Both return to what they were if nothing leaked.
uint64_t failing_allocator_live_blocks(void);
uint64_t failing_allocator_live_bytes(void);
// The most bytes that were ever alive at once since install.
uint64_t failing_allocator_peak_bytes(void);

#endif
