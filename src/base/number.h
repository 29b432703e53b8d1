// SPDX-License-Identifier: MIT
// Numbers as people type them, read strictly.
#ifndef RILL_BASE_NUMBER_H
#define RILL_BASE_NUMBER_H

#include "base/base.h"

// A whole number, digits with an optional k or M (1024's powers are not meant: 1k is 1000). Returns
// false, *out untouched, for anything else: signs, blanks, rest, more than 64 bits.
bool rill__number_whole(const char *text, uint64_t *out);
// A finite number in decimal notation, whole text.
bool rill__number_real(const char *text, double *out);

// "703.1 MiB" into out, for people.
void rill__number_bytes(char *out, size_t capacity, uint64_t bytes);
// "1,234,567" into out.
void rill__number_grouped(char *out, size_t capacity, uint64_t number);

#endif
