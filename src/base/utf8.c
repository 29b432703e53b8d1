// SPDX-License-Identifier: MIT
// UTF-8 as RFC 3629 has it.
#include "base/utf8.h"

static const uint32_t replacement = 0xfffd;

// Length that the first byte announces, 0 for a byte that cannot be first.
static size_t announced(uint8_t first) {
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) return 2;
    if ((first & 0xf0) == 0xe0) return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

// Whether the second byte is legal after the first: no overlong forms, no surrogates, no more than
// U+10FFFF.
static bool second_fits(uint8_t first, uint8_t second) {
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

size_t rill__utf8_decode(const char *s, size_t length, uint32_t *code) {
    const uint8_t *b = (const uint8_t *)s;
    size_t n = announced(b[0]);
    *code = replacement;
    if (n == 0 || n > length) return 1;
    if (n == 1) {
        *code = b[0];
        return 1;
    }
    if (!second_fits(b[0], b[1])) return 1;
    uint32_t value = b[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80) return 1;
        value = value << 6 | (b[i] & 0x3f);
    }
    *code = value;
    return n;
}

size_t rill__utf8_encode(uint32_t code, char out[4]) {
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) code = replacement;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)((0xf00u >> n & 0xf0) | code);
    return n;
}

bool rill__utf8_valid(const char *s, size_t length) {
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n = rill__utf8_decode(s + i, length - i, &code);
        if (n == 1 && (uint8_t)s[i] >= 0x80) return false;
        i += n;
    }
    return true;
}

size_t rill__utf8_count(const char *s, size_t length) {
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

size_t rill__utf8_incomplete_tail(const char *s, size_t length) {
    const uint8_t *b = (const uint8_t *)s;
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        uint8_t first = b[length - back];
        if ((first & 0xc0) == 0x80) continue;
        size_t n = announced(first);
        if (n <= back || (back > 1 && !second_fits(first, b[length - back + 1]))) return 0;
        return back;
    }
    return 0;
}
