// SPDX-License-Identifier: MIT
// What a model needs beside its vocabulary: merges from scores, bytes, neighbours, pieces.
#include "tokenizer/parts.h"

#include "base/utf8.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

void rill__scheme_deinit(rill__scheme *s) {
    rill__merges_deinit(&s->merges);
    rill__trie_deinit(&s->pieces);
    rill__trie_deinit(&s->symbols);
    rill__free(s->word_prefix);
    rill__free(s->word_suffix);
    rill__free(s->joints);
}

// ---- Bytes ----------------------------------------------------------------------------------

void rill__scheme_find_bytes(rill__tokenizer *t) {
    rill__scheme *s = &t->scheme;
    for (unsigned byte = 0; byte < 256; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        char character[4];
        size_t n = rill__utf8_encode(rill__byte_character((uint8_t)byte), character);
        s->bytes[byte] = rill__index_find(&t->model, &t->texts, text, sizeof text);
        // SentencePiece keeps its byte tokens apart from those that text may become.
        if (s->bytes[byte] < 0)
            s->bytes[byte] = rill__index_find(&t->all, &t->texts, text, sizeof text);
        s->alphabet[byte] = rill__index_find(&t->model, &t->texts, character, n);
    }
}

// ---- Neighbours -----------------------------------------------------------------------------

static void mark_joint(rill__scheme *s, uint32_t before, uint32_t after) {
    size_t joint = rill__joint(before, after);
    s->joints[joint / 64] |= (uint64_t)1 << joint % 64;
}

// The units that a text is made of: characters, or the bytes they spell.
static uint32_t unit(const rill__scheme *s, uint32_t character) {
    int byte = s->byte_level ? rill__character_byte(character) : -1;
    return byte >= 0 ? (uint32_t)byte : character;
}

static bool byte_tokens_merge(const rill__scheme *s) {
    if (!s->byte_fallback || !s->merges.slots) return false;
    for (size_t i = 0; i <= s->merges.mask; i++) {
        const rill__merge *m = &s->merges.slots[i];
        if (m->left == UINT32_MAX) continue;
        for (int b = 0; b < 256; b++)
            if ((int32_t)m->left == s->bytes[b] || (int32_t)m->right == s->bytes[b]) return true;
    }
    return false;
}

// Characters that are unknown may leave nothing behind, and their neighbours then merge.
static bool drops_characters(const rill__scheme *s) {
    const int32_t *ids = s->byte_level ? s->alphabet : s->bytes;
    bool all = s->byte_level || s->byte_fallback;
    for (int b = 0; b < 256; b++) all = all && ids[b] >= 0;
    return s->kind == RILL_MODEL_BPE && s->unknown < 0 && !all;
}

rill_status rill__scheme_find_joints(rill__tokenizer *t, rill_error *err) {
    rill__scheme *s = &t->scheme;
    // With marks inside words a token's text is not what it covers.
    if (s->word_prefix || s->word_suffix || byte_tokens_merge(s) || drops_characters(s))
        return RILL_OK;
    s->joints = rill__calloc(RILL_CUT_BITS / 64, sizeof *s->joints);
    if (!s->joints) return rill__fail_memory(err, "a vocabulary", RILL_CUT_BITS / 8);
    for (size_t id = 0; id < t->n_tokens; id++) {
        rill__text text = rill__strings_get(&t->texts, id);
        if (text.length == 0) continue;
        uint32_t before, after;
        size_t i = rill__utf8_decode(text.data, text.length, &before);
        for (; i < text.length; before = after) {
            i += rill__utf8_decode(text.data + i, text.length - i, &after);
            mark_joint(s, unit(s, before), unit(s, after));
        }
    }
    return RILL_OK;
}

// ---- Merges from scores ---------------------------------------------------------------------

typedef struct ranked {
    double score;
    uint32_t id;
} ranked;

static int by_score(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool may_result(const rill__tokenizer *t, size_t id) {
    uint8_t kind = t->kinds[id];
    return kind == RILL_TOKEN_NORMAL || kind == RILL_TOKEN_USER_DEFINED ||
           kind == RILL_TOKEN_UNUSED;
}

// Characters that occur in tokens and are none themselves get ids of their own, so that they can
// merge.
static rill_status name_characters(rill__tokenizer *t, rill_error *err) {
    rill_status status = RILL_OK;
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        if (!may_result(t, id)) continue;
        size_t length = t->texts.spans[id].length;
        for (size_t i = 0, n; status == RILL_OK && i < length; i += n) {
            rill__text text = rill__strings_get(&t->texts, id);
            uint32_t c;
            n = rill__utf8_decode(text.data + i, length - i, &c);
            if (n == length || rill__index_find(&t->model, &t->texts, text.data + i, n) >= 0)
                continue;
            char copy[4];
            memcpy(copy, text.data + i, n);
            status = rill__strings_set(&t->texts, t->texts.n, copy, n, err);
            if (status == RILL_OK) rill__index_add(&t->model, &t->texts, (uint32_t)t->texts.n - 1);
        }
    }
    return status;
}

// Upper bound of the characters that name_characters may add.
static size_t count_characters(const rill__tokenizer *t) {
    size_t n = 0;
    for (size_t id = 0; id < t->n_tokens; id++) {
        size_t length = t->texts.spans[id].length;
        n += length > 1 && may_result(t, id) ? length : 0;
    }
    // There are only so many characters, and broken bytes.
    return n < 0x110100 ? n : 0x110100;
}

static rill_status index_results(rill__tokenizer *t, rill_error *err) {
    rill__index_deinit(&t->model);
    rill_status status = rill__index_init(&t->model, t->n_tokens + count_characters(t), err);
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++)
        if (may_result(t, id)) rill__index_add(&t->model, &t->texts, (uint32_t)id);
    return status == RILL_OK ? name_characters(t, err) : status;
}

static rill_status add_splits(rill__tokenizer *t, uint32_t id, uint32_t rank, rill_error *err) {
    rill__text text = rill__strings_get(&t->texts, id);
    rill_status status = RILL_OK;
    uint32_t c;
    if (text.length == 0) return RILL_OK;
    size_t i = rill__utf8_decode(text.data, text.length, &c);
    while (status == RILL_OK && i < text.length) {
        int32_t left = rill__index_find(&t->model, &t->texts, text.data, i);
        int32_t right = rill__index_find(&t->model, &t->texts, text.data + i, text.length - i);
        if (left >= 0 && right >= 0)
            status = rill__merges_add(&t->scheme.merges,
                                      (rill__merge){(uint32_t)left, (uint32_t)right, rank, id},
                                      true, err);
        i += rill__utf8_decode(text.data + i, text.length - i, &c);
    }
    return status;
}

rill_status rill__scheme_merge_by_score(rill__tokenizer *t, rill_error *err) {
    rill_status status = index_results(t, err);
    ranked *order = rill__malloc((t->n_tokens + 1) * sizeof *order);
    if (status == RILL_OK && !order)
        status = rill__fail_memory(err, "merges", t->n_tokens * sizeof *order);
    size_t n = 0;
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        if (!may_result(t, id)) continue;
        double score = t->scores ? t->scores[id] : 0;
        order[n++] = (ranked){score == score ? score : -DBL_MAX, (uint32_t)id};
        if (t->kinds[id] == RILL_TOKEN_UNUSED) t->scheme.has_unused = true;
    }
    if (status == RILL_OK && n > 0) qsort(order, n, sizeof *order, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; status == RILL_OK && i < n; i++) {
        if (i > 0 && order[i].score != order[i - 1].score) rank = (uint32_t)i;
        // Of tokens with one text the first counts, as in the index.
        rill__text text = rill__strings_get(&t->texts, order[i].id);
        if (rill__index_find(&t->model, &t->texts, text.data, text.length) == (int32_t)order[i].id)
            status = add_splits(t, order[i].id, rank, err);
    }
    rill__free(order);
    return status;
}

// ---- Pieces ---------------------------------------------------------------------------------

rill_status rill__scheme_index_pieces(rill__tokenizer *t, rill_error *err) {
    rill__scheme *s = &t->scheme;
    rill_status status = RILL_OK;
    double least = 0, most = (double)FLT_MIN;  // as Model's constructor starts in unigram_model.cc
    bool any = false;
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        rill__text text = rill__strings_get(&t->texts, id);
        bool counted = t->kinds[id] == RILL_TOKEN_NORMAL || !s->piece_scores;
        if (counted && (!any || t->scores[id] < least)) least = t->scores[id];
        if (counted && t->scores[id] > most) most = t->scores[id];
        any = any || counted;
        if (text.length == 0 || (s->piece_scores && !may_result(t, id))) continue;
        if (rill__index_find(&t->model, &t->texts, text.data, text.length) != (int32_t)id) continue;
        status = rill__trie_add(&s->pieces, text.data, text.length, (int32_t)id, err);
    }
    s->min_score = least;
    s->max_score = most;
    return status;
}
