// SPDX-License-Identifier: MIT
// Published tokenizers, which are not ours to give away: $RILL_SHARED/tokenizers/real/NAME.json.xz
// and golden/NAME.jsonl (a line a text: text, ids, ids_special, decoded). Skipped without them.
#include "tokenizer_data.h"

static const char *shared;

static rill__tokenizer *open_packed(const char *name) {
    char command[1024];
    snprintf(command, sizeof command, "xz -dc '%s/tokenizers/real/%s.json.xz'", shared, name);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t capacity = 64 << 20, length;
    char *text = malloc(capacity);
    assert_non_null(text);
    length = fread(text, 1, capacity, pipe);
    assert_int_equal(pclose(pipe), 0);
    rill__tokenizer *t = NULL;
    rill_error err;
    if (rill__tokenizer_open_memory(name, text, length, &t, &err) != RILL_OK)
        fail_msg("%s", err.message);
    free(text);
    return t;
}

static void check_case(const char *name, const rill__tokenizer *t, const json_t *row, bool gguf) {
    const char *text = json_string_value(json_object_get(row, "text"));
    size_t length = json_string_length(json_object_get(row, "text"));
    const json_t *ids = json_object_get(row, "ids");
    unsigned flags = RILL_TEXT_PARSE_SPECIAL;
    assert_tokens(name, text, encode(t, text, length, flags), tokens_of(ids));
    assert_tokens(name, text, encode(t, text, length, flags | RILL_TEXT_ADD_SPECIAL),
                  tokens_of(json_object_get(row, "ids_special")));
    if (!gguf) assert_tokens(name, text, encode_pieces(t, text, length, flags, 3), tokens_of(ids));
    rill__tokens tokens = tokens_of(ids);
    const json_t *decoded = json_object_get(row, "decoded");
    assert_text(name, decode(t, tokens.ids, tokens.n), json_string_value(decoded),
                json_string_length(decoded));
    rill__tokens_deinit(&tokens);
}

static void check_all(const char *name, const rill__tokenizer *t, bool gguf) {
    char path[1024], *line = NULL;
    size_t capacity = 0, n = 0;
    snprintf(path, sizeof path, "%s/tokenizers/golden/%s.jsonl", shared, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (ssize_t length; (length = getline(&line, &capacity, file)) > 0; n++) {
        json_t *row = NULL;
        assert_int_equal(rill__json_parse(path, line, (size_t)length, &row, NULL), RILL_OK);
        check_case(name, t, row, gguf);
        json_decref(row);
    }
    assert_int_equal(n, 241);
    fclose(file);
    free(line);
}

static void published_tokenizers_are_exact(void **state) {
    (void)state;
    static const char *const names[] = {"llama2", "llama3", "qwen3", "gemma3", "gptoss"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rill__tokenizer *t = open_packed(names[i]), *again = NULL;
        check_all(names[i], t, false);
        rill__vocabulary v;
        rill_error err;
        if (rill__tokenizer_export(t, rill__tokenizer_size(t), &v, &err) != RILL_OK ||
            rill__tokenizer_open_vocabulary(names[i], &v, &again, &err) != RILL_OK)
            fail_msg("%s", err.message);
        rill__vocabulary_deinit(&v);
        check_all(names[i], again, true);
        rill__tokenizer_close(&again);
        rill__tokenizer_close(&t);
    }
}

int main(void) {
    shared = getenv("RILL_SHARED");
    if (!shared) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_tokenizers_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
