// SPDX-License-Identifier: MIT
// The time, for measuring.
#include "base/clock.h"

#include <time.h>

double rill__seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
