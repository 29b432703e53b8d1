// SPDX-License-Identifier: MIT
// What tokenizers ask about characters, answered by utf8proc.
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <utf8proc.h>

bool rill__is_white_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return c == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

bool rill__is_numeric(uint32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool rill__is_punctuation(uint32_t c) {
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
               (c >= 123 && c <= 126);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool rill__is_mark(uint32_t c) {
    if (c < 0x300) return false;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

bool rill__is_word(uint32_t c) {
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_';
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    bool joiner = c == 0x200c || c == 0x200d;
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || joiner;
}

// Nothing before such a character can change it in any normal form: every character that composes
// with what stands before it, or that decomposes, is a mark, a Hangul vowel or tail, or has a
// decomposition of its own.
static bool stands_alone(uint32_t c) {
    if (c < 0x80) return true;
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    bool letter = p->category >= UTF8PROC_CATEGORY_LU && p->category <= UTF8PROC_CATEGORY_LO;
    bool number = p->category >= UTF8PROC_CATEGORY_ND && p->category <= UTF8PROC_CATEGORY_NO;
    bool mark_of_text = p->category >= UTF8PROC_CATEGORY_PC && p->category <= UTF8PROC_CATEGORY_PO;
    bool vowel_or_tail = (c >= 0x1160 && c <= 0x11ff) || (c >= 0xd7b0 && c <= 0xd7ff);
    return (letter || number || mark_of_text) && p->combining_class == 0 && !vowel_or_tail &&
           p->decomp_seqindex == UINT16_MAX && !(c >= 0xac00 && c <= 0xd7a3);
}

bool rill__is_inert(uint32_t before, uint32_t after) {
    return stands_alone(after) && (before < 0x80 || stands_alone(before)) &&
           utf8proc_grapheme_break((utf8proc_int32_t)before, (utf8proc_int32_t)after);
}

size_t rill__character_before(const char *text, size_t at, uint32_t *character) {
    size_t begin = at - 1;
    while (begin > 0 && at - begin < 4 && ((uint8_t)text[begin] & 0xc0) == 0x80) begin--;
    rill__utf8_decode(text + begin, at - begin, character);
    return begin;
}
