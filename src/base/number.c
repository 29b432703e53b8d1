// SPDX-License-Identifier: MIT
// Strict numbers in, readable numbers out.
#include "base/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool rill__number_whole(const char *text, uint64_t *out) {
    if (text[0] < '0' || text[0] > '9') return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno) return false;
    uint64_t unit = 1;
    if (*end == 'k' || *end == 'K')
        unit = 1000;
    else if (*end == 'M')
        unit = 1000000;
    if (unit > 1) end++;
    uint64_t product;
    if (*end || __builtin_mul_overflow((uint64_t)value, unit, &product)) return false;
    *out = product;
    return true;
}

bool rill__number_real(const char *text, double *out) {
    // strtod also takes blanks, hexadecimal, "nan" and "inf": none of them is meant here.
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (*end || end == text || (errno == ERANGE && fabs(value) > 1) || !isfinite(value))
        return false;
    *out = value;
    return true;
}

void rill__number_bytes(char *out, size_t capacity, uint64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    snprintf(out, capacity, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void rill__number_grouped(char *out, size_t capacity, uint64_t number) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < capacity; i++) {
        if (i && (length - i) % 3 == 0) out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
}
