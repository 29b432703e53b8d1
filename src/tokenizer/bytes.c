// SPDX-License-Identifier: MIT
// Bytes as characters (GPT-2) and as tokens of their own (SentencePiece).
#include "tokenizer/parts.h"

#include <string.h>

// Printable bytes of Latin-1 stand for themselves, the other 68 for U+0100 onwards, in order.
static bool is_itself(unsigned byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// How many bytes below this one are not themselves.
static unsigned others_below(unsigned byte) {
    if (byte <= 33) return byte;
    if (byte <= 126) return 33;
    if (byte <= 161) return byte - 94;
    return byte <= 173 ? 67 : 68;
}

uint32_t rill__byte_character(uint8_t byte) {
    return is_itself(byte) ? byte : 256 + others_below(byte);
}

int rill__character_byte(uint32_t c) {
    if (c < 256) return is_itself(c) ? (int)c : -1;
    if (c < 256 + 33) return (int)(c - 256);
    if (c < 256 + 67) return (int)(c - 256) + 94;
    return c == 256 + 67 ? 173 : -1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int rill__byte_token(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}
