// SPDX-License-Identifier: MIT
// The normalizers of tokenizer.json, one after another over a stretch of text.
#include "tokenizer/work.h"

#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

typedef struct stretch {
    const char *text;
    size_t length;
} stretch;

void rill__normal_step_deinit(rill__normal_step *s) {
    rill__pattern_close(&s->pattern);
    rill__free(s->from);
    rill__free(s->to);
    *s = (rill__normal_step){0};
}

// ---- Normal forms ---------------------------------------------------------------------------

static bool all_below(stretch s, uint8_t limit) {
    for (size_t i = 0; i < s.length; i++)
        if ((uint8_t)s.text[i] >= limit) return false;
    return true;
}

// utf8proc works on code points: the longest decomposition of one has 18 of them, so a first pass
// asks how much room is needed.
static rill_status normal_form(rill__encoder *e, rill__normal_kind kind, stretch s,
                               rill__bytes *out, rill_error *err) {
    bool composed = kind == RILL_NORMAL_NFC || kind == RILL_NORMAL_NFKC;
    bool compatible = kind == RILL_NORMAL_NFKC || kind == RILL_NORMAL_NFKD;
    // U+0300, the first character that is not its own composed form, begins with this byte.
    if (all_below(s, kind == RILL_NORMAL_NFC ? 0xcc : 0x80))
        return rill__bytes_append(out, s.text, s.length, err);
    utf8proc_option_t options = UTF8PROC_STABLE;
    options |= composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (compatible) options |= UTF8PROC_COMPAT;
    const uint8_t *bytes = (const uint8_t *)s.text;
    utf8proc_ssize_t length = (utf8proc_ssize_t)s.length;
    utf8proc_ssize_t n = utf8proc_decompose(bytes, length, e->code_points,
                                            (utf8proc_ssize_t)e->n_code_points, options);
    if (n > (utf8proc_ssize_t)e->n_code_points) {
        rill_status status = rill__work_reserve(&e->code_points, &e->n_code_points, (size_t)n,
                                                sizeof *e->code_points, err);
        if (status != RILL_OK) return status;
        n = utf8proc_decompose(bytes, length, e->code_points, n, options);
    }
    if (n > 0) n = utf8proc_normalize_utf32(e->code_points, n, options);
    if (n < 0) return rill__fail(err, RILL_EFORMAT, "text: %s", utf8proc_errmsg(n));
    rill_status status = rill__bytes_reserve(out, 4 * (size_t)n, err);
    for (utf8proc_ssize_t i = 0; status == RILL_OK && i < n; i++)
        status = rill__work_put(out, (uint32_t)e->code_points[i], err);
    return status;
}

// ---- Characters -----------------------------------------------------------------------------

static rill_status lower(stretch s, rill__bytes *out, rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < s.length;) {
        uint32_t c;
        i += rill__utf8_decode(s.text + i, s.length - i, &c);
        // The one character whose lower case is two (Unicode's SpecialCasing.txt).
        if (c == 0x130)
            status = rill__bytes_append(out, "i\xcc\x87", 3, err);
        else
            status = rill__work_put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), err);
    }
    return status;
}

static rill_status drop_marks(stretch s, rill__bytes *out, rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < s.length;) {
        uint32_t c;
        i += rill__utf8_decode(s.text + i, s.length - i, &c);
        if (!rill__is_mark(c)) status = rill__work_put(out, c, err);
    }
    return status;
}

static rill_status strip(rill__encoder *e, const rill__normal_step *step, stretch s,
                         rill__bytes *out, rill_error *err) {
    uint32_t c;
    while (step->left && s.length > 0) {
        size_t n = rill__utf8_decode(s.text, s.length, &c);
        if (!rill__is_white_space(c)) break;
        s.text += n;
        s.length -= n;
        // What remains does not begin the text any more (Metaspace asks for that).
        e->run.at_zero = false;
    }
    while (step->right && s.length > 0) {
        size_t begin = rill__character_before(s.text, s.length, &c);
        if (!rill__is_white_space(c)) break;
        s.length = begin;
    }
    return rill__bytes_append(out, s.text, s.length, err);
}

static rill_status replace_literal(const rill__normal_step *step, stretch s, rill__bytes *out,
                                   rill_error *err) {
    rill_status status = RILL_OK;
    while (status == RILL_OK && s.length > 0) {
        const char *hit = step->n_from ? memmem(s.text, s.length, step->from, step->n_from) : NULL;
        size_t before = hit ? (size_t)(hit - s.text) : s.length;
        status = rill__bytes_append(out, s.text, before, err);
        if (!hit) break;
        if (status == RILL_OK) status = rill__bytes_append(out, step->to, step->n_to, err);
        s.text = hit + step->n_from;
        s.length -= before + step->n_from;
    }
    return status;
}

static rill_status replace_pattern(rill__encoder *e, const rill__normal_step *step, stretch s,
                                   rill__bytes *out, rill_error *err) {
    size_t done = 0, at = 0, begin = 0, end = 0;
    rill_status status = RILL_OK;
    while (at <= s.length) {
        rill__found found;
        status = rill__pattern_find(step->pattern, e->matcher, s.text, s.length, at, false, &found,
                                    &begin, &end, err);
        if (status != RILL_OK || found != RILL_FOUND_MATCH) break;
        status = rill__bytes_append(out, s.text + done, begin - done, err);
        if (status == RILL_OK) status = rill__bytes_append(out, step->to, step->n_to, err);
        if (status != RILL_OK) break;
        done = end;
        uint32_t c;
        // An empty match goes on behind the next character.
        at = end > begin || end >= s.length
                 ? end + (end == begin)
                 : end + rill__utf8_decode(s.text + end, s.length - end, &c);
    }
    if (status == RILL_OK) status = rill__bytes_append(out, s.text + done, s.length - done, err);
    return status;
}

// ---- Charsmap -------------------------------------------------------------------------------

// Hugging Face's reading of it: a grapheme of up to five bytes is looked up whole, then each of its
// characters; and it is the shortest sequence found that counts, which then stands for the whole.
static rill_status map_grapheme(const rill__charsmap *map, stretch g, rill__bytes *out,
                                rill_error *err) {
    const char *to;
    size_t n;
    if (g.length < 6 && rill__charsmap_find(map, g.text, g.length, true, &to, &n, NULL))
        return rill__bytes_append(out, to, n, err);
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < g.length;) {
        uint32_t c;
        size_t length = rill__utf8_decode(g.text + i, g.length - i, &c);
        if (rill__charsmap_find(map, g.text + i, length, true, &to, &n, NULL))
            status = rill__bytes_append(out, to, n, err);
        else
            status = rill__bytes_append(out, g.text + i, length, err);
        i += length;
    }
    return status;
}

static rill_status map_characters(const rill__charsmap *map, stretch s, rill__bytes *out,
                                  rill_error *err) {
    rill_status status = RILL_OK;
    while (status == RILL_OK && s.length > 0) {
        uint32_t c, next;
        utf8proc_int32_t state = 0;
        size_t n = rill__utf8_decode(s.text, s.length, &c);
        while (n < s.length) {
            size_t more = rill__utf8_decode(s.text + n, s.length - n, &next);
            if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)c, (utf8proc_int32_t)next,
                                                 &state))
                break;
            c = next;
            n += more;
        }
        status = map_grapheme(map, (stretch){s.text, n}, out, err);
        s.text += n;
        s.length -= n;
    }
    return status;
}

// ---- All steps ------------------------------------------------------------------------------

static rill_status apply(rill__encoder *e, const rill__normal_step *step, stretch s, bool begins,
                         rill__bytes *out, rill_error *err) {
    rill_status status = RILL_OK;
    switch (step->kind) {
    case RILL_NORMAL_NFC:
    case RILL_NORMAL_NFD:
    case RILL_NORMAL_NFKC:
    case RILL_NORMAL_NFKD: return normal_form(e, step->kind, s, out, err);
    case RILL_NORMAL_LOWERCASE: return lower(s, out, err);
    case RILL_NORMAL_STRIP_ACCENTS: return drop_marks(s, out, err);
    case RILL_NORMAL_STRIP: return strip(e, step, s, out, err);
    case RILL_NORMAL_CHARSMAP: return map_characters(&e->tokenizer->charsmap, s, out, err);
    case RILL_NORMAL_REPLACE:
        return step->pattern ? replace_pattern(e, step, s, out, err)
                             : replace_literal(step, s, out, err);
    case RILL_NORMAL_PREPEND:
        if (begins && s.length > 0) status = rill__bytes_append(out, step->to, step->n_to, err);
        return status == RILL_OK ? rill__bytes_append(out, s.text, s.length, err) : status;
    }
    return status;
}

rill_status rill__normalize_steps(rill__encoder *e, const char *text, size_t length, bool begins,
                                  rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    rill__bytes_reset(&e->forms[0]);
    rill_status status = rill__bytes_append(&e->forms[0], text, length, err);
    for (size_t i = 0; status == RILL_OK && i < t->n_normal; i++) {
        rill__bytes_reset(&e->forms[1]);
        stretch s = {e->forms[0].data ? e->forms[0].data : "", e->forms[0].length};
        status = apply(e, &t->normal[i], s, begins, &e->forms[1], err);
        rill__bytes swapped = e->forms[0];
        e->forms[0] = e->forms[1];
        e->forms[1] = swapped;
    }
    return status;
}

// The last place where the text may be cut, 0 if there is none.
static size_t last_inert(const char *text, size_t length) {
    uint32_t after, before;
    size_t at = length ? rill__character_before(text, length, &after) : 0;
    while (at > 0) {
        size_t begin = rill__character_before(text, at, &before);
        if (rill__is_inert(before, after)) return at;
        after = before;
        at = begin;
    }
    return 0;
}

rill_status rill__normalize(rill__encoder *e, const char *text, size_t length, bool final,
                            size_t *used, rill_error *err) {
    const rill__tokenizer *t = e->tokenizer;
    if (t->pieces.active) return rill__normalize_pieces(e, text, length, final, used, err);
    size_t n = length;
    if (!final && t->normal_whole)
        n = 0;
    else if (!final && t->normal_inert)
        n = last_inert(text, length);
    // What never ends is cut somewhere in the end.
    if (n == 0 && length > RILL_WORD_CEILING) {
        uint32_t c;
        n = rill__character_before(text, length, &c);
    }
    *used = n;
    if (n == 0) return RILL_OK;
    rill_status status;
    if (t->n_normal == 0) {
        status = rill__bytes_append(&e->normal, text, n, err);
    } else {
        bool begins = !e->run.begun && !(e->flags & RILL_TEXT_CONTINUES && e->run.at_zero);
        status = rill__normalize_steps(e, text, n, begins, err);
        if (status == RILL_OK)
            status = rill__bytes_append(&e->normal, e->forms[0].data ? e->forms[0].data : "",
                                        e->forms[0].length, err);
    }
    return status;
}
