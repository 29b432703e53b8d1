// SPDX-License-Identifier: MIT
// tokenizer.json (huggingface/tokenizers): vocabulary, merges, added tokens. Its steps are read in
// read_steps.c and read_decoder.c.
#include "tokenizer/reader.h"

#include <string.h>

rill_status rill__reader_fail(const rill__reader *r, rill_status status, const char *field,
                              const char *format, ...) {
    rill_error line;
    char text[sizeof line.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return rill__fail(r->err, status, "%s: %s: %s", r->name, field, text);
}

const char *rill__json_type(const json_t *value) {
    const char *type = json_string_value(json_object_get(value, "type"));
    return type ? type : "";
}

bool rill__json_flag(const json_t *value, const char *key, bool fallback) {
    const json_t *flag = json_object_get(value, key);
    return json_is_boolean(flag) ? json_is_true(flag) : fallback;
}

rill__text rill__json_text(const json_t *value, const char *key) {
    const json_t *text = json_object_get(value, key);
    return (rill__text){json_string_value(text), json_string_length(text)};
}

// An id from the file: RILL_EFORMAT unless it is a whole number that an id may be.
static rill_status read_id(const rill__reader *r, const char *field, const json_t *value,
                           uint32_t *out) {
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (id < 0 || id >= RILL_MAX_TOKENS)
        return rill__reader_fail(r, RILL_EFORMAT, field, "ids are whole numbers from 0 to %d",
                                 RILL_MAX_TOKENS - 1);
    *out = (uint32_t)id;
    return RILL_OK;
}

// A lone huge id must not make a table of millions.
static rill_status check_density(const rill__reader *r, size_t n_entries) {
    if (r->t->texts.n <= 16 * n_entries + (1 << 16)) return RILL_OK;
    return rill__reader_fail(r, RILL_EFORMAT, "model.vocab", "%zu tokens with ids up to %zu",
                             n_entries, r->t->texts.n - 1);
}

// ---- BPE ------------------------------------------------------------------------------------

static rill_status read_object_vocabulary(const rill__reader *r, const json_t *vocab) {
    const char *key;
    json_t *value;
    rill_status status = RILL_OK;
    for (void *at = json_object_iter((json_t *)vocab); at && status == RILL_OK;
         at = json_object_iter_next((json_t *)vocab, at)) {
        uint32_t id = 0;
        key = json_object_iter_key(at);
        value = json_object_iter_value(at);
        status = read_id(r, "model.vocab", value, &id);
        if (status == RILL_OK)
            status = rill__strings_set(&r->t->texts, id, key, json_object_iter_key_len(at), r->err);
    }
    return status == RILL_OK ? check_density(r, json_object_size(vocab)) : status;
}

// The model's own tokens by text: those of the vocabulary, not the added ones past it.
static rill_status index_model(const rill__reader *r, size_t n) {
    rill__tokenizer *t = r->t;
    rill_status status = rill__index_init(&t->model, n, r->err);
    for (size_t id = 0; status == RILL_OK && id < n; id++)
        rill__index_add(&t->model, &t->texts, (uint32_t)id);
    return status;
}

static bool merge_halves(const json_t *entry, rill__text *left, rill__text *right) {
    if (json_is_array(entry) && json_array_size(entry) == 2) {
        const json_t *a = json_array_get(entry, 0), *b = json_array_get(entry, 1);
        *left = (rill__text){json_string_value(a), json_string_length(a)};
        *right = (rill__text){json_string_value(b), json_string_length(b)};
        return left->data && right->data;
    }
    const char *text = json_string_value(entry);
    size_t length = json_string_length(entry);
    const char *space = text ? memchr(text, ' ', length) : NULL;
    if (!space) return false;
    *left = (rill__text){text, (size_t)(space - text)};
    *right = (rill__text){space + 1, length - left->length - 1};
    return true;
}

static rill_status add_merge(const rill__reader *r, rill__text left, rill__text right,
                             size_t rank) {
    rill__tokenizer *t = r->t;
    char joined[2 * RILL_MAX_TOKEN_BYTES];
    // Of the right half the mark of inner symbols is dropped.
    size_t mark = t->scheme.word_prefix ? strlen(t->scheme.word_prefix) : 0;
    if (mark > right.length) mark = right.length;
    int32_t a = rill__index_find(&t->model, &t->texts, left.data, left.length);
    int32_t b = rill__index_find(&t->model, &t->texts, right.data, right.length);
    int32_t id = -1;
    if (a >= 0 && b >= 0) {
        memcpy(joined, left.data, left.length);
        memcpy(joined + left.length, right.data + mark, right.length - mark);
        id = rill__index_find(&t->model, &t->texts, joined, left.length + right.length - mark);
    }
    if (id < 0)
        return rill__reader_fail(r, RILL_EFORMAT, "model.merges",
                                 "entry %zu: '%.40s' and '%.40s' and what they make must all be in "
                                 "the vocabulary",
                                 rank, left.data, right.data);
    rill__merge merge = {(uint32_t)a, (uint32_t)b, (uint32_t)rank, (uint32_t)id};
    return rill__merges_add(&t->scheme.merges, merge, false, r->err);
}

static rill_status read_merges(const rill__reader *r, const json_t *merges) {
    rill_status status = RILL_OK;
    size_t n = json_array_size(merges);
    for (size_t i = 0; status == RILL_OK && i < n; i++) {
        rill__text left, right;
        if (!merge_halves(json_array_get(merges, i), &left, &right))
            return rill__reader_fail(r, RILL_EFORMAT, "model.merges",
                                     "entry %zu: a pair is \"left right\" or [\"left\", \"right\"]",
                                     i);
        status = add_merge(r, left, right, i);
    }
    return status;
}

static rill_status copy_mark(const rill__reader *r, const json_t *model, const char *key,
                             char **out) {
    rill__text text = rill__json_text(model, key);
    if (text.length == 0) return RILL_OK;
    if (text.length > RILL_MAX_STEP_BYTES)
        return rill__reader_fail(r, RILL_EFORMAT, key, "longer than %d bytes", RILL_MAX_STEP_BYTES);
    *out = rill__strndup(text.data, text.length);
    return *out ? RILL_OK : rill__fail_memory(r->err, key, text.length);
}

static rill_status read_bpe(const rill__reader *r, const json_t *model) {
    rill__scheme *s = &r->t->scheme;
    s->kind = RILL_MODEL_BPE;
    s->byte_fallback = rill__json_flag(model, "byte_fallback", false);
    s->fuse_unknown = rill__json_flag(model, "fuse_unk", false);
    s->ignore_merges = rill__json_flag(model, "ignore_merges", false);
    rill_status status = copy_mark(r, model, "continuing_subword_prefix", &s->word_prefix);
    if (status == RILL_OK) status = copy_mark(r, model, "end_of_word_suffix", &s->word_suffix);
    if (status == RILL_OK) status = read_object_vocabulary(r, json_object_get(model, "vocab"));
    if (status == RILL_OK) status = index_model(r, r->t->texts.n);
    if (status == RILL_OK) status = read_merges(r, json_object_get(model, "merges"));
    rill__text unknown = rill__json_text(model, "unk_token");
    if (status == RILL_OK)
        s->unknown = rill__index_find(&r->t->model, &r->t->texts, unknown.data, unknown.length);
    return status;
}

// ---- Unigram --------------------------------------------------------------------------------

static rill_status read_unigram(const rill__reader *r, const json_t *model) {
    rill__tokenizer *t = r->t;
    const json_t *vocab = json_object_get(model, "vocab");
    size_t n = json_array_size(vocab);
    rill_status status = RILL_OK;
    t->scheme.kind = RILL_MODEL_UNIGRAM;
    t->scheme.byte_fallback = rill__json_flag(model, "byte_fallback", false);
    t->scheme.fuse_unknown = true;
    if (n == 0 || n > RILL_MAX_TOKENS)
        return rill__reader_fail(r, RILL_EFORMAT, "model.vocab", "%zu tokens: 1 to %d are allowed",
                                 n, RILL_MAX_TOKENS);
    t->scores = rill__calloc(n, sizeof *t->scores);
    if (!t->scores) return rill__fail_memory(r->err, "a vocabulary", n * sizeof *t->scores);
    for (size_t i = 0; status == RILL_OK && i < n; i++) {
        const json_t *entry = json_array_get(vocab, i);
        const json_t *text = json_array_get(entry, 0), *score = json_array_get(entry, 1);
        if (!json_is_string(text) || !json_is_number(score))
            return rill__reader_fail(r, RILL_EFORMAT, "model.vocab",
                                     "entry %zu: a token is [\"text\", score]", i);
        t->scores[i] = json_number_value(score);
        status = rill__strings_set(&t->texts, i, json_string_value(text), json_string_length(text),
                                   r->err);
    }
    if (status == RILL_OK) status = index_model(r, n);
    const json_t *unknown = json_object_get(model, "unk_id");
    if (json_is_integer(unknown)) {
        json_int_t id = json_integer_value(unknown);
        if (id < 0 || (uint64_t)id >= n)
            return rill__reader_fail(r, RILL_EFORMAT, "model.unk_id", "outside the vocabulary");
        t->scheme.unknown = (int32_t)id;
    }
    return status;
}

// ---- Added tokens ---------------------------------------------------------------------------

static rill_status read_added(const rill__reader *r, const json_t *list) {
    rill_status status = RILL_OK;
    size_t n = json_array_size(list), n_entries = r->t->texts.n + n;
    for (size_t i = 0; status == RILL_OK && i < n; i++) {
        const json_t *entry = json_array_get(list, i);
        rill__text text = rill__json_text(entry, "content");
        uint32_t id = 0;
        status = read_id(r, "added_tokens", json_object_get(entry, "id"), &id);
        if (status != RILL_OK) break;
        if (!text.data)
            return rill__reader_fail(r, RILL_EFORMAT, "added_tokens", "entry %zu has no content",
                                     i);
        // A text that the model knows keeps the model's id.
        int32_t known = rill__index_find(&r->t->model, &r->t->texts, text.data, text.length);
        if (known >= 0)
            id = (uint32_t)known;
        else
            status = rill__strings_set(&r->t->texts, id, text.data, text.length, r->err);
        rill__added added = {
            .id = (rill_token)id,
            .special = rill__json_flag(entry, "special", false),
            .left_strip = rill__json_flag(entry, "lstrip", false),
            .right_strip = rill__json_flag(entry, "rstrip", false),
            .single_word = rill__json_flag(entry, "single_word", false),
            .normalized = rill__json_flag(entry, "normalized", true),
        };
        if (status == RILL_OK) status = rill__tokenizer_set_added(r->t, &added, r->err);
    }
    return status == RILL_OK ? check_density(r, n_entries) : status;
}

static void set_kinds(rill__tokenizer *t) {
    for (size_t i = 0; i < t->n_added; i++)
        t->kinds[t->added[i].id] =
            t->added[i].special ? RILL_TOKEN_CONTROL : RILL_TOKEN_USER_DEFINED;
    if (t->scheme.byte_fallback)
        for (int b = 0; b < 256; b++)
            if (t->scheme.bytes[b] >= 0) t->kinds[t->scheme.bytes[b]] = RILL_TOKEN_BYTE;
    if (t->scheme.unknown >= 0) t->kinds[t->scheme.unknown] = RILL_TOKEN_UNKNOWN;
}

// Scores for the added tokens too, which have none.
static rill_status extend_scores(const rill__reader *r, size_t n) {
    rill__tokenizer *t = r->t;
    if (!t->scores || t->n_tokens <= n) return RILL_OK;
    double *scores = rill__realloc(t->scores, t->n_tokens * sizeof *scores);
    if (!scores) return rill__fail_memory(r->err, "a vocabulary", t->n_tokens * sizeof *scores);
    for (size_t i = n; i < t->n_tokens; i++) scores[i] = 0;
    t->scores = scores;
    return RILL_OK;
}

rill_status rill__read_json(const rill__reader *r, const json_t *root) {
    const json_t *model = json_object_get(root, "model");
    // Files from before 2020 have no type: a model with merges is BPE.
    const char *type = rill__json_type(model);
    rill_status status;
    if (strcmp(type, "BPE") == 0 || (!*type && json_object_get(model, "merges")))
        status = read_bpe(r, model);
    else if (strcmp(type, "Unigram") == 0)
        status = read_unigram(r, model);
    else
        return rill__reader_fail(r, RILL_EUNSUPPORTED, "model.type",
                                 "'%.40s': BPE and Unigram are known", type);
    size_t n_model = r->t->texts.n;
    if (status == RILL_OK) status = read_added(r, json_object_get(root, "added_tokens"));
    if (status == RILL_OK) status = rill__tokenizer_set_size(r->t, r->err);
    if (status == RILL_OK) status = extend_scores(r, n_model);
    if (status != RILL_OK) return status;
    rill__scheme_find_bytes(r->t);
    set_kinds(r->t);
    if (r->t->scheme.kind == RILL_MODEL_UNIGRAM) status = rill__scheme_index_pieces(r->t, r->err);
    if (status == RILL_OK) status = rill__read_normalizer(r, json_object_get(root, "normalizer"));
    if (status == RILL_OK)
        status = rill__read_pre_tokenizer(r, json_object_get(root, "pre_tokenizer"));
    if (status == RILL_OK)
        status = rill__read_post_processor(r, json_object_get(root, "post_processor"));
    if (status == RILL_OK) status = rill__read_decoder(r, json_object_get(root, "decoder"));
    return status;
}
