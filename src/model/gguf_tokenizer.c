// SPDX-License-Identifier: MIT
// The vocabulary in a GGUF file (ggml's docs/gguf.md, "Tokenizer"), handed to the tokenizer.
#include "model/family.h"

#include <stdio.h>
#include <string.h>

// An array of that key, of the given type (or the other), as long as there are tokens. NULL if
// there is none.
static const rill__gguf_value *find_array(rill__metadata *m, const char *key, rill__gguf_type type,
                                          rill__gguf_type other, const rill__gguf_value *like) {
    const rill__gguf_value *v = rill__metadata_value(m, key);
    if (!v || m->status != RILL_OK) return NULL;
    if (!v->is_array || (v->type != type && v->type != other)) {
        rill__metadata_fail(m, RILL_EFORMAT, key, "an array of another type is right");
        return NULL;
    }
    if (like && v->count != like->count) {
        rill__metadata_fail(m, RILL_EFORMAT, key, "%llu entries; %llu, one a token, are right",
                            (unsigned long long)v->count, (unsigned long long)like->count);
        return NULL;
    }
    return v;
}

static rill__text *read_texts(rill__metadata *m, const rill__gguf_value *v) {
    rill__text *out = rill__calloc(v->count, sizeof *out);
    if (!out) {
        m->status = rill__fail_memory(m->err, "a vocabulary", v->count * sizeof *out);
        return NULL;
    }
    const uint8_t *at = v->data;
    for (uint64_t i = 0; i < v->count; i++) {
        rill__gguf_string text = rill__gguf_next_string(&at);
        out[i] = (rill__text){text.data, text.length};
    }
    return out;
}

static void read_arrays(rill__metadata *m, rill__vocabulary *v) {
    const rill__gguf_value *tokens =
        find_array(m, ".tokenizer.ggml.tokens", RILL_GGUF_STRING, RILL_GGUF_STRING, NULL);
    if (!tokens) {
        rill__metadata_fail(m, RILL_EFORMAT, ".tokenizer.ggml.tokens", "it is missing");
        return;
    }
    const rill__gguf_value *scores =
        find_array(m, ".tokenizer.ggml.scores", RILL_GGUF_F32, RILL_GGUF_F32, tokens);
    const rill__gguf_value *kinds =
        find_array(m, ".tokenizer.ggml.token_type", RILL_GGUF_I32, RILL_GGUF_U32, tokens);
    const rill__gguf_value *merges =
        find_array(m, ".tokenizer.ggml.merges", RILL_GGUF_STRING, RILL_GGUF_STRING, NULL);
    const rill__gguf_value *charsmap =
        find_array(m, ".tokenizer.ggml.precompiled_charsmap", RILL_GGUF_U8, RILL_GGUF_I8, NULL);
    if (m->status != RILL_OK) return;
    v->n_tokens = tokens->count;
    v->tokens = read_texts(m, tokens);
    if (merges && m->status == RILL_OK) {
        v->n_merges = merges->count;
        v->merges = read_texts(m, merges);
    }
    if (charsmap) {
        v->charsmap = charsmap->data;
        v->charsmap_length = charsmap->count;
    }
    v->scores = scores ? rill__calloc(v->n_tokens, sizeof *v->scores) : NULL;
    v->kinds = rill__calloc(v->n_tokens, 1);
    if (m->status == RILL_OK && ((scores && !v->scores) || !v->kinds))
        m->status = rill__fail_memory(m->err, "a vocabulary", v->n_tokens * sizeof *v->scores);
    if (m->status != RILL_OK) return;
    for (size_t i = 0; i < v->n_tokens; i++) {
        int64_t kind = kinds ? rill__gguf_array_integer(kinds, i) : RILL_TOKEN_NORMAL;
        bool known = kind >= RILL_TOKEN_NORMAL && kind <= RILL_TOKEN_BYTE;
        v->kinds[i] = known ? (uint8_t)kind : RILL_TOKEN_NORMAL;
        if (scores) v->scores[i] = rill__gguf_array_f32(scores, i);
    }
}

static int32_t read_id(rill__metadata *m, const char *key, size_t n_tokens) {
    uint32_t id = rill__metadata_u32(m, key, UINT32_MAX);
    // Some converters write -1 for none, and it comes back as the largest number.
    if (id == UINT32_MAX) return -1;
    if (id >= n_tokens)
        rill__metadata_fail(m, RILL_EFORMAT, key, "%u; below %zu, the number of tokens, is right",
                            id, n_tokens);
    return (int32_t)(id < n_tokens ? id : 0);
}

// Defaults are llama.cpp's (llama-vocab.cpp), since most files leave the switches out.
static void read_switches(rill__metadata *m, rill__vocabulary *v) {
    bool pieces = strcmp(v->model, "llama") == 0, unigram = strcmp(v->model, "t5") == 0;
    bool llama3 = strcmp(v->pre, "llama-bpe") == 0 || strcmp(v->pre, "llama3") == 0 ||
                  strcmp(v->pre, "llama-v3") == 0 || strcmp(v->pre, "tekken") == 0;
    v->add_bos =
        rill__metadata_bool(m, ".tokenizer.ggml.add_bos_token", pieces || (!unigram && llama3));
    v->add_eos = rill__metadata_bool(m, ".tokenizer.ggml.add_eos_token", unigram);
    v->add_space_prefix = rill__metadata_bool(m, ".tokenizer.ggml.add_space_prefix", pieces);
    v->remove_extra_whitespaces =
        rill__metadata_bool(m, ".tokenizer.ggml.remove_extra_whitespaces", false);
    v->bos = read_id(m, ".tokenizer.ggml.bos_token_id", v->n_tokens);
    v->eos = read_id(m, ".tokenizer.ggml.eos_token_id", v->n_tokens);
    v->unk = read_id(m, ".tokenizer.ggml.unknown_token_id", v->n_tokens);
    v->pad = read_id(m, ".tokenizer.ggml.padding_token_id", v->n_tokens);
    v->eot = read_id(m, ".tokenizer.ggml.eot_token_id", v->n_tokens);
    rill__gguf_string chat;
    if (rill__gguf_text(m->gguf, "tokenizer.chat_template", &chat)) {
        v->chat_template = chat.data;
        v->chat_template_length = chat.length;
    }
}

// A tokenizer may know fewer tokens than the model has rows, never more.
static void check_size(rill__metadata *m, const rill__vocabulary *v) {
    const rill__tensor *embedding = rill__gguf_tensor(m->gguf, "token_embd.weight");
    if (embedding && embedding->n_dims == 2 && v->n_tokens > embedding->shape[0])
        rill__metadata_fail(m, RILL_EFORMAT, ".tokenizer.ggml.tokens",
                            "%zu tokens; token_embd.weight has %llu rows", v->n_tokens,
                            (unsigned long long)embedding->shape[0]);
}

rill_status rill__gguf_tokenizer(const rill__gguf *gguf, rill__tokenizer **out, rill_error *err) {
    rill__metadata m = {.gguf = gguf, .architecture = "", .err = err};
    rill__vocabulary v = {.bos = -1};
    *out = NULL;
    rill__metadata_text(&m, ".tokenizer.ggml.model", v.model, sizeof v.model);
    // Two names for a model that works on ids alone (llama.cpp).
    if (m.status == RILL_OK &&
        (v.model[0] == '\0' || strcmp(v.model, "none") == 0 || strcmp(v.model, "no_vocab") == 0))
        return RILL_OK;
    rill__metadata_text(&m, ".tokenizer.ggml.pre", v.pre, sizeof v.pre);
    if (m.status == RILL_OK) read_arrays(&m, &v);
    if (m.status == RILL_OK) check_size(&m, &v);
    if (m.status == RILL_OK) read_switches(&m, &v);
    rill_status status = m.status;
    if (status == RILL_OK) status = rill__tokenizer_open_vocabulary(gguf->path, &v, out, err);
    rill__vocabulary_deinit(&v);
    return status;
}
