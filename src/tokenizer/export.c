// SPDX-License-Identifier: MIT
// A tokenizer as GGUF's arrays.
#include "tokenizer/reader.h"

#include <stdio.h>
#include <string.h>

static rill_status refuse(rill_error *err, const char *what) {
    return rill__fail(err, RILL_EUNSUPPORTED, "tokenizer: GGUF has no way to say %s", what);
}

static bool is_space_replace(const rill__normal_step *s) {
    return s->kind == RILL_NORMAL_REPLACE && !s->pattern && s->n_from == 1 && *s->from == ' ' &&
           s->n_to == 3 && memcmp(s->to, "\xe2\x96\x81", 3) == 0;
}

// Whether a tokenizer.json says what SentencePiece's rules say, and whether it puts a space in
// front.
static bool is_like_pieces(const rill__tokenizer *t, bool *prefix) {
    bool replaced = false;
    *prefix = false;
    for (size_t i = 0; i < t->n_normal; i++) {
        const rill__normal_step *s = &t->normal[i];
        bool mark = s->n_to == 3 && memcmp(s->to, "\xe2\x96\x81", 3) == 0;
        if (s->kind == RILL_NORMAL_PREPEND && mark)
            *prefix = true;
        else if (is_space_replace(s))
            replaced = true;
        else
            return false;
    }
    for (size_t i = 0; i < t->n_splits; i++) {
        const rill__split_step *s = &t->splits[i];
        if (s->kind == RILL_SPLIT_PREFIX && s->character == 0x2581 && i == 0)
            *prefix = true;
        else if (s->kind != RILL_SPLIT_CHARACTER || s->character != ' ')
            return false;  // spaces are marks by now, so a split at them does nothing
    }
    return replaced;
}

static rill_status choose_kind(const rill__tokenizer *t, rill__vocabulary *out, rill_error *err) {
    const char *model = "llama";
    bool prefix = t->pieces.add_dummy_prefix;
    if (t->scheme.kind == RILL_MODEL_UNIGRAM) {
        if (!t->pieces.active) return refuse(err, "this normalizer of a unigram tokenizer");
        model = "t5";
    } else if (!t->pieces.active && *t->pre) {
        model = "gpt2";
    } else if (!t->pieces.active && !is_like_pieces(t, &prefix)) {
        return refuse(err, "this pre-tokenizer");
    }
    if (t->scheme.word_prefix || t->scheme.word_suffix) return refuse(err, "marks inside words");
    snprintf(out->model, sizeof out->model, "%s", model);
    snprintf(out->pre, sizeof out->pre, "%s", *model == 'g' ? t->pre : "default");
    out->add_space_prefix = prefix;
    out->remove_extra_whitespaces = t->pieces.remove_extra_whitespaces;
    return RILL_OK;
}

// Sizes of what goes into the one block: texts, merges, the template, the charsmap.
static size_t memory_needed(const rill__tokenizer *t, size_t n_tokens, bool merges) {
    size_t bytes = t->chat_source_length + 1 + t->charsmap_blob_length;
    for (size_t id = 0; id < t->n_tokens; id++) bytes += t->texts.spans[id].length;
    for (size_t i = 0; merges && t->scheme.merges.slots && i <= t->scheme.merges.mask; i++) {
        const rill__merge *m = &t->scheme.merges.slots[i];
        if (m->left == UINT32_MAX) continue;
        bytes += t->texts.spans[m->left].length + t->texts.spans[m->right].length + 1;
    }
    return bytes + 24 * (n_tokens - t->n_tokens) + 24 * t->n_tokens;
}

static rill__text put(char **at, const char *text, size_t length) {
    rill__text out = {*at, length};
    if (length > 0) memcpy(*at, text, length);
    *at += length;
    return out;
}

static void put_tokens(const rill__tokenizer *t, size_t n_tokens, rill__vocabulary *out,
                       char **at) {
    for (size_t id = 0; id < n_tokens; id++) {
        rill__text text = {NULL, 0};
        if (id < t->n_tokens) text = rill__strings_get(&t->texts, id);
        bool hole = text.length == 0;
        char name[24];
        // Every token of a GGUF file has a text of its own.
        if (hole) text = (rill__text){name, (size_t)snprintf(name, sizeof name, "[PAD%zu]", id)};
        out->tokens[id] = put(at, text.data, text.length);
        out->kinds[id] = hole ? RILL_TOKEN_UNUSED : t->kinds[id];
        out->scores[id] = !hole && t->scores ? (float)t->scores[id] : 0;
    }
    out->n_tokens = n_tokens;
}

// By rank; every rank occurs once in a list that was read from a file.
static void put_merges(const rill__tokenizer *t, const rill__merge **order, size_t n,
                       rill__vocabulary *out, char **at) {
    for (size_t i = 0; i < n; i++) {
        if (!order[i]) continue;
        rill__text left = rill__strings_get(&t->texts, order[i]->left);
        rill__text right = rill__strings_get(&t->texts, order[i]->right);
        rill__text merge = put(at, left.data, left.length);
        (void)put(at, " ", 1);
        merge.length += 1 + put(at, right.data, right.length).length;
        out->merges[out->n_merges++] = merge;
    }
}

// Merges by rank become scores: what merges first scores highest.
static void scores_from_merges(const rill__tokenizer *t, rill__vocabulary *out) {
    for (size_t i = 0; t->scheme.merges.slots && i <= t->scheme.merges.mask; i++) {
        const rill__merge *m = &t->scheme.merges.slots[i];
        if (m->left == UINT32_MAX) continue;
        float score = -1 - (float)m->rank;
        if (out->scores[m->id] == 0 || score > out->scores[m->id]) out->scores[m->id] = score;
    }
}

static void put_rest(const rill__tokenizer *t, rill__vocabulary *out, char **at) {
    out->bos = t->bos >= 0 ? t->bos : rill__tokenizer_bos(t);
    out->eos = t->eos >= 0 ? t->eos : t->n_ends > 0 ? t->ends[0] : -1;
    out->unk = t->scheme.unknown;
    out->pad = t->pad;
    out->eot = t->eot;
    for (size_t i = 0; i < t->n_ends && out->eot < 0; i++)
        if (t->ends[i] != out->eos) out->eot = t->ends[i];
    out->add_bos = t->n_before > 0;
    out->add_eos = t->n_after > 0;
    if (t->chat_source) {
        out->chat_template = put(at, t->chat_source, t->chat_source_length).data;
        out->chat_template_length = t->chat_source_length;
        (void)put(at, "", 1);
    }
    if (t->charsmap_blob_length > 0) {
        out->charsmap =
            (const uint8_t *)put(at, (const char *)t->charsmap_blob, t->charsmap_blob_length).data;
        out->charsmap_length = t->charsmap_blob_length;
    }
}

static rill_status allocate(const rill__tokenizer *t, size_t n_tokens, size_t n_merges,
                            rill__vocabulary *out, rill_error *err) {
    size_t bytes = memory_needed(t, n_tokens, n_merges > 0);
    out->tokens = rill__calloc(n_tokens, sizeof *out->tokens);
    out->scores = rill__calloc(n_tokens, sizeof *out->scores);
    out->kinds = rill__calloc(n_tokens, 1);
    out->merges = n_merges ? rill__calloc(n_merges, sizeof *out->merges) : NULL;
    out->memory = rill__malloc(bytes);
    bool all =
        out->tokens && out->scores && out->kinds && out->memory && (out->merges || !n_merges);
    return all ? RILL_OK : rill__fail_memory(err, "a vocabulary", bytes);
}

rill_status rill__tokenizer_export(const rill__tokenizer *t, size_t n_tokens, rill__vocabulary *out,
                                   rill_error *err) {
    rill__vocabulary v = {.bos = -1, .eos = -1, .unk = -1, .pad = -1, .eot = -1};
    const rill__merge **order = NULL;
    if (n_tokens < t->n_tokens || n_tokens > RILL_MAX_TOKENS)
        return rill__fail(err, RILL_EINVAL, "%zu tokens: the tokenizer has %zu, and %d is the most",
                          n_tokens, t->n_tokens, RILL_MAX_TOKENS);
    rill_status status = choose_kind(t, &v, err);
    if (status != RILL_OK) return status;
    bool merges = strcmp(v.model, "gpt2") == 0;
    size_t n_ranks = 0;
    for (size_t i = 0; merges && t->scheme.merges.slots && i <= t->scheme.merges.mask; i++) {
        const rill__merge *m = &t->scheme.merges.slots[i];
        if (m->left != UINT32_MAX && m->rank >= n_ranks) n_ranks = (size_t)m->rank + 1;
    }
    status = allocate(t, n_tokens, n_ranks, &v, err);
    if (status == RILL_OK && n_ranks > 0) {
        order = rill__calloc(n_ranks, sizeof *order);
        if (!order) status = rill__fail_memory(err, "merges", n_ranks * sizeof *order);
    }
    if (status != RILL_OK) goto out;
    for (size_t i = 0; n_ranks > 0 && i <= t->scheme.merges.mask; i++)
        if (t->scheme.merges.slots[i].left != UINT32_MAX)
            order[t->scheme.merges.slots[i].rank] = &t->scheme.merges.slots[i];
    char *at = v.memory;
    put_tokens(t, n_tokens, &v, &at);
    put_merges(t, order, n_ranks, &v, &at);
    if (strcmp(v.model, "llama") == 0 && !t->pieces.active) scores_from_merges(t, &v);
    put_rest(t, &v, &at);
    *out = v;
out:
    rill__free(order);
    if (status != RILL_OK) rill__vocabulary_deinit(&v);
    return status;
}
