// SPDX-License-Identifier: MIT
// Vocabularies of GGUF files (ggml's docs/gguf.md, "Tokenizer"): read into a tokenizer, and made of
// one.
#include "tokenizer/reader.h"

#include <string.h>

void rill__vocabulary_deinit(rill__vocabulary *v) {
    rill__free(v->tokens);
    rill__free(v->scores);
    rill__free(v->kinds);
    rill__free(v->merges);
    rill__free(v->memory);
    *v = (rill__vocabulary){0};
}

// ---- Reading --------------------------------------------------------------------------------

static rill_status copy_tokens(const rill__reader *r, const rill__vocabulary *v) {
    rill__tokenizer *t = r->t;
    rill_status status = RILL_OK;
    if (v->n_tokens == 0 || v->n_tokens > RILL_MAX_TOKENS)
        return rill__reader_fail(r, RILL_EFORMAT, "tokenizer.ggml.tokens",
                                 "%zu tokens: 1 to %d are allowed", v->n_tokens, RILL_MAX_TOKENS);
    for (size_t id = 0; status == RILL_OK && id < v->n_tokens; id++)
        status = rill__strings_set(&t->texts, id, v->tokens[id].length ? v->tokens[id].data : "",
                                   v->tokens[id].length, r->err);
    if (status == RILL_OK) status = rill__tokenizer_set_size(t, r->err);
    if (status != RILL_OK) return status;
    t->scores = rill__calloc(v->n_tokens, sizeof *t->scores);
    if (!t->scores)
        return rill__fail_memory(r->err, "a vocabulary", v->n_tokens * sizeof *t->scores);
    for (size_t id = 0; id < v->n_tokens; id++) {
        t->scores[id] = v->scores && v->scores[id] == v->scores[id] ? (double)v->scores[id] : 0;
        if (v->kinds && v->kinds[id] >= RILL_TOKEN_NORMAL && v->kinds[id] <= RILL_TOKEN_BYTE)
            t->kinds[id] = v->kinds[id];
    }
    return RILL_OK;
}

// Tokens that are recognised in text: control tokens when asked for, in the "gpt2" kind user
// defined ones always (SentencePiece looks for its own itself).
static rill_status add_added(const rill__reader *r, bool user_defined) {
    rill__tokenizer *t = r->t;
    rill_status status = RILL_OK;
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        bool control = t->kinds[id] == RILL_TOKEN_CONTROL || t->kinds[id] == RILL_TOKEN_UNKNOWN;
        if (!control && !(user_defined && t->kinds[id] == RILL_TOKEN_USER_DEFINED)) continue;
        rill__added added = {.id = (rill_token)id, .special = control};
        status = rill__tokenizer_set_added(t, &added, r->err);
    }
    return status;
}

static rill_status read_byte_level(const rill__reader *r, const rill__vocabulary *v) {
    rill__tokenizer *t = r->t;
    rill_status status = rill__index_init(&t->model, t->n_tokens, r->err);
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++)
        rill__index_add(&t->model, &t->texts, (uint32_t)id);
    for (size_t i = 0; status == RILL_OK && i < v->n_merges; i++) {
        rill__text text = v->merges[i];
        // The space between the halves; the first byte may itself be one.
        const char *space = text.length > 1 ? memchr(text.data + 1, ' ', text.length - 1) : NULL;
        if (!space)
            return rill__reader_fail(r, RILL_EFORMAT, "tokenizer.ggml.merges",
                                     "entry %zu: a pair is \"left right\"", i);
        size_t n = (size_t)(space - text.data);
        char joined[RILL_MAX_TOKEN_BYTES];
        int32_t left = rill__index_find(&t->model, &t->texts, text.data, n);
        int32_t right = rill__index_find(&t->model, &t->texts, space + 1, text.length - n - 1);
        // Converters leave merges of tokens that are not there; such can never happen.
        if (left < 0 || right < 0 || text.length - 1 > sizeof joined) continue;
        memcpy(joined, text.data, n);
        memcpy(joined + n, space + 1, text.length - n - 1);
        int32_t id = rill__index_find(&t->model, &t->texts, joined, text.length - 1);
        if (id < 0) continue;
        rill__merge merge = {(uint32_t)left, (uint32_t)right, (uint32_t)i, (uint32_t)id};
        status = rill__merges_add(&t->scheme.merges, merge, true, r->err);
    }
    if (status != RILL_OK) return status;
    rill__scheme_find_bytes(t);
    if (!rill__use_pre_name(r, v->pre, &status)) {
        status = rill__tokenizer_warn(t, r->err,
                                      "%s: tokenizer.ggml.pre '%s' is not known: words are cut as "
                                      "'default' does it, and tokens may differ",
                                      r->name, v->pre);
        if (status == RILL_OK) (void)rill__use_pre_name(r, "default", &status);
    }
    if (status == RILL_OK) rill__find_pre_name(t);
    if (status == RILL_OK) status = add_added(r, true);
    return status == RILL_OK ? rill__decoding_from_bytes(t, r->err) : status;
}

static rill_status read_piece_vocabulary(const rill__reader *r, const rill__vocabulary *v,
                                         bool unigram) {
    rill__tokenizer *t = r->t;
    t->scheme.kind = unigram ? RILL_MODEL_UNIGRAM : RILL_MODEL_BPE;
    t->pieces =
        (rill__piece_rules){true, v->add_space_prefix, v->remove_extra_whitespaces, true, false};
    for (size_t id = 0; id < t->n_tokens; id++)
        if (t->kinds[id] == RILL_TOKEN_BYTE) t->scheme.byte_fallback = true;
    // Where every character has its bytes, the unknown token comes from its name alone.
    t->decoding.name_unknown = t->scheme.byte_fallback;
    if (v->charsmap_length > 0) {
        t->charsmap_blob = rill__malloc(v->charsmap_length);
        if (!t->charsmap_blob)
            return rill__fail_memory(r->err, "a precompiled_charsmap", v->charsmap_length);
        memcpy(t->charsmap_blob, v->charsmap, v->charsmap_length);
        t->charsmap_blob_length = v->charsmap_length;
        rill_status status =
            rill__charsmap_read(&t->charsmap, r->name, v->charsmap, v->charsmap_length, r->err);
        if (status != RILL_OK) return status;
    }
    rill_status status = add_added(r, false);
    return status == RILL_OK ? rill__finish_pieces(r) : status;
}

static rill_status read_ids(const rill__reader *r, const rill__vocabulary *v) {
    rill__tokenizer *t = r->t;
    const struct {
        const char *name;
        int32_t from;
        int32_t *to;
    } ids[] = {{"bos", v->bos, &t->bos},
               {"eos", v->eos, &t->eos},
               {"pad", v->pad, &t->pad},
               {"eot", v->eot, &t->eot},
               {"unknown", v->unk, &t->scheme.unknown}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (ids[i].from >= 0 && (size_t)ids[i].from >= t->n_tokens)
            return rill__reader_fail(r, RILL_EFORMAT, ids[i].name,
                                     "token %d: the vocabulary has %zu", ids[i].from, t->n_tokens);
        *ids[i].to = ids[i].from >= 0 ? ids[i].from : -1;
    }
    if (v->add_bos && t->bos >= 0) t->before[t->n_before++] = t->bos;
    if (v->add_eos && t->eos >= 0) t->after[t->n_after++] = t->eos;
    return RILL_OK;
}

static rill_status read_kind(const rill__reader *r, const rill__vocabulary *v) {
    if (strcmp(v->model, "gpt2") == 0) return read_byte_level(r, v);
    if (strcmp(v->model, "llama") == 0) return read_piece_vocabulary(r, v, false);
    if (strcmp(v->model, "t5") == 0) return read_piece_vocabulary(r, v, true);
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "tokenizer.ggml.model",
                             "'%.15s': llama, gpt2 and t5 are known", v->model);
}

rill_status rill__tokenizer_open_vocabulary(const char *name, const rill__vocabulary *v,
                                            rill__tokenizer **out, rill_error *err) {
    rill__reader r = {name, rill__tokenizer_new(), err};
    if (!r.t) return rill__fail_memory(err, "a tokenizer", sizeof *r.t);
    rill_status status = copy_tokens(&r, v);
    if (status == RILL_OK) status = read_ids(&r, v);
    if (status == RILL_OK) status = read_kind(&r, v);
    if (status == RILL_OK && v->chat_template) {
        r.t->chat_source = rill__strndup(v->chat_template, v->chat_template_length);
        r.t->chat_source_length = v->chat_template_length;
        if (!r.t->chat_source)
            status = rill__fail_memory(err, "a chat template", v->chat_template_length);
    }
    if (status == RILL_OK) status = rill__tokenizer_finish(r.t, err);
    if (status == RILL_OK)
        *out = r.t;
    else
        rill__tokenizer_close(&r.t);
    return status;
}
