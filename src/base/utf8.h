// SPDX-License-Identifier: MIT
// UTF-8, one code point at a time. Normal forms and properties are utf8proc's and PCRE2's.
#ifndef RILL_BASE_UTF8_H
#define RILL_BASE_UTF8_H

#include "base/base.h"

// Decodes the code point at s (length > 0 bytes left). Returns its length in bytes, 1 to 4, and
// sets *code; for an invalid or cut-off sequence returns 1 and sets *code to U+FFFD.
// Overlong forms, surrogates and values past U+10FFFF are invalid.
size_t rill__utf8_decode(const char *s, size_t length, uint32_t *code);
// Encodes a code point (a surrogate or a value past U+10FFFF becomes U+FFFD) and returns its
// length.
size_t rill__utf8_encode(uint32_t code, char out[4]);
bool rill__utf8_valid(const char *s, size_t length);
// Characters of valid UTF-8: bytes that begin one.
size_t rill__utf8_count(const char *s, size_t length);
// How many bytes at the end of s are the beginning of a character that more bytes could complete:
// 0 to 3. What a streaming decoder holds back.
size_t rill__utf8_incomplete_tail(const char *s, size_t length);

#endif
