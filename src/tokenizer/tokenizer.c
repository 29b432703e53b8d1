// SPDX-License-Identifier: MIT
// A tokenizer as a whole: its life, and what it says of itself.
#include "tokenizer/parts.h"

#include "tokenizer/chat_rows.h"
#include "tokenizer/work.h"

#include <stdio.h>
#include <string.h>

rill__tokenizer *rill__tokenizer_new(void) {
    rill__tokenizer *t = rill__calloc(1, sizeof *t);
    if (!t) return NULL;
    rill__strings_init(&t->texts);
    t->scheme.unknown = t->bos = t->eos = t->pad = t->eot = -1;
    for (size_t i = 0; i < 256; i++) t->scheme.alphabet[i] = t->scheme.bytes[i] = -1;
    return t;
}

void rill__tokenizer_close(rill__tokenizer **pointer) {
    rill__tokenizer *t = *pointer;
    if (!t) return;
    *pointer = NULL;
    rill__strings_deinit(&t->texts);
    rill__index_deinit(&t->all);
    rill__index_deinit(&t->model);
    rill__free(t->kinds);
    rill__free(t->scores);
    rill__free(t->added);
    rill__trie_deinit(&t->added_raw);
    rill__trie_deinit(&t->added_normal);
    for (size_t i = 0; i < t->n_normal; i++) rill__normal_step_deinit(&t->normal[i]);
    for (size_t i = 0; i < t->n_splits; i++) rill__split_step_deinit(&t->splits[i]);
    rill__charsmap_deinit(&t->charsmap);
    rill__free(t->charsmap_blob);
    rill__scheme_deinit(&t->scheme);
    rill__strings_deinit(&t->decoding.outputs);
    rill__free(t->decoding.flags);
    rill__free(t->chat_source);
    for (size_t i = 0; i < t->n_warnings; i++) rill__free(t->warnings[i]);
    rill__free(t);
}

// ---- Building -------------------------------------------------------------------------------

rill_status rill__tokenizer_set_size(rill__tokenizer *t, rill_error *err) {
    t->n_tokens = t->texts.n;
    if (t->n_tokens == 0) return rill__fail(err, RILL_EFORMAT, "vocabulary: no tokens");
    if (!t->kinds) {
        t->kinds = rill__malloc(t->n_tokens);
        if (!t->kinds) return rill__fail_memory(err, "a vocabulary", t->n_tokens);
        memset(t->kinds, RILL_TOKEN_NORMAL, t->n_tokens);
    }
    rill_status status = rill__index_init(&t->all, t->n_tokens, err);
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++)
        rill__index_add(&t->all, &t->texts, (uint32_t)id);
    return status;
}

rill_status rill__tokenizer_set_added(rill__tokenizer *t, const rill__added *added,
                                      rill_error *err) {
    // Grows by powers of two: a list of n items has room up to the next one.
    if ((t->n_added & (t->n_added - 1)) == 0) {
        size_t capacity = t->n_added ? 2 * t->n_added : 1;
        rill__added *grown = rill__realloc(t->added, capacity * sizeof *grown);
        if (!grown) return rill__fail_memory(err, "added tokens", capacity * sizeof *grown);
        t->added = grown;
    }
    t->added[t->n_added++] = *added;
    return RILL_OK;
}

void rill__tokenizer_add_end(rill__tokenizer *t, rill_token id) {
    if (id < 0 || (size_t)id >= t->n_tokens || rill__tokenizer_is_end(t, id)) return;
    if (t->n_ends < RILL_MAX_ENDS) t->ends[t->n_ends++] = id;
}

rill_status rill__tokenizer_warn(rill__tokenizer *t, rill_error *err, const char *format, ...) {
    if (t->n_warnings == RILL_MAX_WARNINGS) return RILL_OK;
    rill_error line;
    char text[sizeof line.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    // Names come from files: this makes them printable.
    (void)rill__fail(&line, RILL_OK, "%s", text);
    char *copy = rill__strdup(line.message);
    if (!copy) return rill__fail_memory(err, "a warning", sizeof text);
    t->warnings[t->n_warnings++] = copy;
    return RILL_OK;
}

// A normalised added token is looked for as the normalizer would write it.
static rill_status add_normalized(rill__tokenizer *t, rill__encoder *e, size_t index,
                                  rill_error *err) {
    rill__text text = rill__strings_get(&t->texts, (size_t)t->added[index].id);
    rill_status status = RILL_OK;
    if (!e->matcher) status = rill__matcher_open(&e->matcher, err);
    if (status == RILL_OK) status = rill__normalize_steps(e, text.data, text.length, true, err);
    if (status != RILL_OK || e->forms[0].length == 0) return status;
    return rill__trie_add(&t->added_normal, e->forms[0].data, e->forms[0].length, (int32_t)index,
                          err);
}

static rill_status index_added(rill__tokenizer *t, rill_error *err) {
    rill__encoder e;
    rill__encoder_init(&e, t, 0);
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < t->n_added; i++) {
        const rill__added *a = &t->added[i];
        rill__text text = rill__strings_get(&t->texts, (size_t)a->id);
        t->any_left_strip = t->any_left_strip || a->left_strip;
        if (text.length == 0) continue;
        if (a->normalized && !t->pieces.active)
            status = add_normalized(t, &e, i, err);
        else
            status = rill__trie_add(&t->added_raw, text.data, text.length, (int32_t)i, err);
    }
    rill__encoder_deinit(&e);
    return status;
}

rill_status rill__tokenizer_finish(rill__tokenizer *t, rill_error *err) {
    rill_status status = index_added(t, err);
    if (status == RILL_OK) status = rill__scheme_find_joints(t, err);
    for (size_t id = 0; id < t->decoding.outputs.n; id++) {
        size_t length = t->decoding.outputs.spans[id].length;
        if (length > t->decoding.longest) t->decoding.longest = length;
    }
    rill__tokenizer_add_end(t, t->eos);
    rill__tokenizer_add_end(t, t->eot);
    if (status == RILL_OK) status = rill__tokenizer_choose_chat(t, err);
    return status;
}

// ---- Questions ------------------------------------------------------------------------------

size_t rill__tokenizer_size(const rill__tokenizer *t) {
    return t->n_tokens;
}

rill_token rill__tokenizer_bos(const rill__tokenizer *t) {
    return t->n_before > 0 ? t->before[0] : -1;
}

bool rill__tokenizer_is_end(const rill__tokenizer *t, rill_token token) {
    for (size_t i = 0; i < t->n_ends; i++)
        if (t->ends[i] == token) return true;
    return false;
}

bool rill__tokenizer_is_text(const rill__tokenizer *t, rill_token token) {
    return token >= 0 && (size_t)token < t->n_tokens && t->kinds[token] != RILL_TOKEN_CONTROL;
}

rill_token rill__tokenizer_find(const rill__tokenizer *t, const char *text, size_t length) {
    return rill__index_find(&t->all, &t->texts, text, length);
}

const char *rill__tokenizer_warning(const rill__tokenizer *t, size_t index) {
    return index < t->n_warnings ? t->warnings[index] : NULL;
}

const char *rill__tokenizer_chat_template(const rill__tokenizer *t) {
    return t->chat->name;
}
