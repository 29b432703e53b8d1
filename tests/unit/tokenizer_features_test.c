// SPDX-License-Identifier: MIT
// Every step that a tokenizer.json may hold: changed files, and what Hugging Face tokenizers makes
// of texts with each (tests/data/tokenizers/make_features.py).
#include "tokenizer_data.h"

static json_t *features;

static int load_features(void **state) {
    (void)state;
    features = load_json(data_path("features", ".json"));
    return 0;
}

static int free_features(void **state) {
    (void)state;
    json_decref(features);
    return 0;
}

// The base file with the variant's keys set; those under "+" of a model are set in the base's
// model.
static rill__tokenizer *open_variant(const json_t *variant) {
    const char *base = json_string_value(json_object_get(variant, "base"));
    json_t *file = json_object();
    if (base && strcmp(base, "bpe-gpt2") == 0) {
        json_decref(file);
        file = load_json(data_path(base, ".json"));
    } else if (base) {
        json_t *given = json_object_get(json_object_get(features, "bases"), base);
        assert_int_equal(json_object_update(file, given), 0);
    }
    json_t *set = json_object_get(variant, "set");
    json_t *more = json_object_get(json_object_get(set, "model"), "+");
    json_t *model = json_copy(json_object_get(file, "model"));
    assert_int_equal(json_object_update(file, set), 0);
    if (more) {
        assert_int_equal(json_object_update(model, more), 0);
        assert_int_equal(json_object_set(file, "model", model), 0);
    }
    json_decref(model);
    char *text = json_dumps(file, JSON_COMPACT);
    rill__tokenizer *t = open_text(text);
    json_decref(file);
    rill__free(text);
    return t;
}

static void check_row(const char *name, const rill__tokenizer *t, const json_t *text,
                      const json_t *row) {
    const char *s = json_string_value(text);
    size_t length = json_string_length(text);
    json_t *ids = json_array_get(row, 0), *special = json_array_get(row, 1);
    const json_t *decoded = json_array_get(row, 2);
    unsigned flags = RILL_TEXT_PARSE_SPECIAL;
    assert_tokens(name, s, encode(t, s, length, flags), tokens_of(ids));
    assert_tokens(name, s, encode(t, s, length, flags | RILL_TEXT_ADD_SPECIAL),
                  tokens_of(json_is_null(special) ? ids : special));
    for (size_t step = 0; step < 4; step++)
        assert_tokens(name, s, encode_pieces(t, s, length, flags, step), tokens_of(ids));
    rill__tokens tokens = tokens_of(ids);
    const json_t *wanted = json_is_null(decoded) ? text : decoded;
    assert_text(name, decode(t, tokens.ids, tokens.n), json_string_value(wanted),
                json_string_length(wanted));
    rill__tokens_deinit(&tokens);
}

static void every_step_does_as_the_reference(void **state) {
    (void)state;
    const json_t *texts = json_object_get(features, "texts");
    const json_t *variants = json_object_get(features, "variants");
    assert_int_equal(json_array_size(texts), 40);
    assert_in_range(json_array_size(variants), 70, 200);
    srand(3);
    for (size_t v = 0; v < json_array_size(variants); v++) {
        const json_t *variant = json_array_get(variants, v);
        char *name = json_dumps(json_object_get(variant, "set"), JSON_COMPACT);
        rill__tokenizer *t = open_variant(variant);
        for (size_t i = 0; i < 40; i++)
            check_row(name, t, json_array_get(texts, i),
                      json_array_get(json_object_get(variant, "rows"), i));
        rill__tokenizer_close(&t);
        rill__free(name);
    }
}

// The character that is put in front of a text may be an added token as well. It was not written,
// so it is none, however the text arrives.
static void prefix_is_no_added_token(void **state) {
    (void)state;
    rill__tokenizer *t = open_text(
        "{\"version\":\"1.0\",\"normalizer\":null,\"added_tokens\":[{\"id\":1,\"content\":"
        "\"\u2581\","
        "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":true,"
        "\"special\":false}],\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\","
        "\"prepend_scheme\":\"always\",\"split\":false},\"model\":{\"type\":\"Unigram\",\"unk_id\":"
        "0,"
        "\"vocab\":[[\"<unk>\",0],[\"\u2581\",-1],[\"a\",-2],[\"\u2581a\",-9]]}}");
    static const char text[] = "aa";
    rill__tokens whole = encode(t, text, 2, 0);
    assert_int_equal(whole.n, 3);
    for (size_t step = 0; step < 4; step++) {
        rill__tokens expected = encode(t, text, 2, 0);
        assert_tokens("prefix", text, encode_pieces(t, text, 2, 0, step), expected);
    }
    rill__tokens_deinit(&whole);
    rill__tokenizer_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_does_as_the_reference),
        cmocka_unit_test(prefix_is_no_added_token),
    };
    return cmocka_run_group_tests(tests, load_features, free_features);
}
