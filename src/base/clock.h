// SPDX-License-Identifier: MIT
// The time, for measuring.
#ifndef RILL_BASE_CLOCK_H
#define RILL_BASE_CLOCK_H

// Seconds on a clock that only moves forward; the zero is arbitrary.
double rill__seconds(void);

#endif
