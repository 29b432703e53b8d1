// SPDX-License-Identifier: MIT
// The double array of darts-clone (github.com/s-yata/darts-clone, include/darts.h): a unit holds a
// label in bits 0-7, whether a leaf follows in bit 8, and the offset of its children in bits 10-30,
// shifted by 8 more if bit 9 is set; a leaf holds a value in bits 0-30 and has bit 31 set.
#include "tokenizer/charsmap.h"

#include <string.h>

rill_status rill__charsmap_read(rill__charsmap *m, const char *name, const uint8_t *blob,
                                size_t length, rill_error *err) {
    *m = (rill__charsmap){0};
    if (length == 0) return RILL_OK;
    uint32_t bytes = 0;
    for (size_t i = 0; length >= 4 && i < 4; i++) bytes |= (uint32_t)blob[i] << 8 * i;
    if (length < 4 || bytes > length - 4 || bytes % 4 != 0)
        return rill__fail(err, RILL_EFORMAT,
                          "%s: precompiled_charsmap: a trie of %u bytes does not fit in %zu", name,
                          bytes, length);
    m->n_units = bytes / 4;
    m->n_texts = length - 4 - bytes;
    m->units = rill__calloc(m->n_units + 1, sizeof *m->units);
    m->texts = rill__malloc(m->n_texts + 1);
    if (!m->units || !m->texts) {
        rill__charsmap_deinit(m);
        return rill__fail_memory(err, "a precompiled_charsmap", length);
    }
    for (size_t i = 0; i < bytes; i++) m->units[i / 4] |= (uint32_t)blob[4 + i] << 8 * (i % 4);
    memcpy(m->texts, blob + 4 + bytes, m->n_texts);
    m->texts[m->n_texts] = '\0';
    return RILL_OK;
}

void rill__charsmap_deinit(rill__charsmap *m) {
    rill__free(m->units);
    rill__free(m->texts);
    *m = (rill__charsmap){0};
}

static size_t children(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

size_t rill__charsmap_find(const rill__charsmap *m, const char *text, size_t length, bool shortest,
                           const char **to, size_t *n_to, bool *open) {
    size_t best = 0, value = 0, i = 0;
    if (open) *open = false;
    if (m->n_units == 0) return 0;
    size_t at = children(m->units[0]);
    for (; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (at >= m->n_units || (m->units[at] & (1u << 31 | 0xff)) != byte) break;
        uint32_t unit = m->units[at];
        at ^= children(unit);
        if (!(unit >> 8 & 1)) continue;
        if (at >= m->n_units) break;
        size_t found = m->units[at] & 0x7fffffff;
        if (found > m->n_texts) break;
        best = i + 1;
        value = found;
        if (shortest) break;
    }
    if (open) *open = i == length;
    if (best == 0) return 0;
    *to = m->texts + value;
    *n_to = strlen(*to);
    return best;
}
