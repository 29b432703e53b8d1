// SPDX-License-Identifier: MIT
// Files that are not as they should be, the settings beside them, and memory that runs out
// anywhere.
#include "tokenizer_data.h"

#include "base/file.h"
#include "failing_allocator.h"
#include "tokenizer/chat.h"

#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/rill-tokenizer-XXXXXX";

static int make_directory(void **state) {
    (void)state;
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

static void put(const char *name, const char *text, size_t length) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static void copy_in(const char *name, const char *from, const char *ending) {
    char *data;
    size_t length;
    assert_int_equal(rill__file_read(data_path(from, ending), 1 << 24, &data, &length, NULL),
                     RILL_OK);
    put(name, data, length);
    rill__free(data);
}

// ---- Refusals -------------------------------------------------------------------------------

static void assert_refused(const char *json, rill_status status, const char *word) {
    rill__tokenizer *t = NULL;
    rill_error err;
    rill_status found = rill__tokenizer_open_memory("x.json", json, strlen(json), &t, &err);
    if (found != status || !strstr(err.message, word) || strncmp(err.message, "x.json: ", 8) != 0)
        fail_msg("%s\n-> %d %s", json, (int)found, found == RILL_OK ? "opened" : err.message);
    assert_null(strchr(err.message, '\n'));
}

#define MODEL                                                                                      \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

static void what_is_unknown_is_named(void **state) {
    (void)state;
    assert_refused("{\"model\":{\"type\":\"WordPiece\"}}", RILL_EUNSUPPORTED, "WordPiece");
    assert_refused("{" MODEL ",\"normalizer\":{\"type\":\"BertNormalizer\"}}", RILL_EUNSUPPORTED,
                   "BertNormalizer");
    assert_refused("{" MODEL ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", RILL_EUNSUPPORTED,
                   "UnicodeScripts");
    assert_refused("{" MODEL ",\"post_processor\":{\"type\":\"Other\"}}", RILL_EUNSUPPORTED,
                   "Other");
    assert_refused("{" MODEL ",\"decoder\":{\"type\":\"CTC\"}}", RILL_EUNSUPPORTED, "CTC");
    assert_refused("{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Odd\"}}",
                   RILL_EUNSUPPORTED, "Odd");
    assert_refused("{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
                   "{\"type\":\"Sequence\"}]}}",
                   RILL_EUNSUPPORTED, "Sequence");
}

static void what_is_damaged_is_refused(void **state) {
    (void)state;
    assert_refused("{", RILL_EFORMAT, "line 1");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}}", RILL_EFORMAT, "vocab");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4194304}}}", RILL_EFORMAT,
                   "vocab");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4000000}}}", RILL_EFORMAT,
                   "vocab");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0.5}}}", RILL_EFORMAT, "vocab");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a c\"]}}",
                   RILL_EFORMAT, "merges");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}}",
                   RILL_EFORMAT, "merges");
    assert_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}",
                   RILL_EFORMAT, "unk_id");
    assert_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", RILL_EFORMAT, "vocab");
    assert_refused("{" MODEL ",\"added_tokens\":[{\"id\":3}]}", RILL_EFORMAT, "added_tokens");
    assert_refused("{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"\",9]}}",
                   RILL_EFORMAT, "outside");
    assert_refused("{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\","
                   "\"precompiled_charsmap\":\"!\"}}",
                   RILL_EFORMAT, "base64");
    assert_refused("{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\","
                   "\"precompiled_charsmap\":\"/////w==\"}}",
                   RILL_EFORMAT, "trie");
}

// The message of a pattern's failure leads with the pattern.
static void patterns_are_checked(void **state) {
    (void)state;
    static const char json[] = "{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{"
                               "\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}}";
    rill__tokenizer *t = NULL;
    rill_error err;
    assert_int_equal(rill__tokenizer_open_memory("x", json, sizeof json - 1, &t, &err),
                     RILL_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "(a"));
}

static void a_pattern_that_explodes_is_an_error(void **state) {
    (void)state;
    rill__tokenizer *t = open_text("{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{"
                                   "\"Regex\":\"(a|aa)+(?=[bc])\"},\"behavior\":\"Isolated\"}}");
    char text[200];
    memset(text, 'a', sizeof text);
    rill__tokens tokens = {0};
    rill_error err;
    assert_int_equal(rill__tokenizer_encode(t, text, sizeof text, 0, &tokens, &err),
                     RILL_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "steps"));
    rill__tokens_deinit(&tokens);
    rill__tokenizer_close(&t);
}

static void damaged_pieces_are_refused(void **state) {
    (void)state;
    char *data;
    size_t length;
    assert_int_equal(rill__file_read(data_path("sp-bpe", ".model"), 1 << 24, &data, &length, NULL),
                     RILL_OK);
    rill__tokenizer *t = NULL;
    rill_error err;
    srand(9);
    for (size_t n = 0; n < length; n += 1 + length / 97) {
        rill_status status = rill__tokenizer_open_memory("x", data, n, &t, &err);
        assert_true(status == RILL_OK || status == RILL_EFORMAT || status == RILL_EUNSUPPORTED);
        rill__tokenizer_close(&t);
    }
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)rand() % length;
        char old = data[at];
        data[at] = (char)rand();
        if (rill__tokenizer_open_memory("x", data, length, &t, &err) == RILL_OK) {
            rill__tokens tokens = encode(t, "Hello world \xe4\xbd\xa0", 15, 0);
            rill__bytes text = decode(t, tokens.ids, tokens.n);
            rill__bytes_deinit(&text);
            rill__tokens_deinit(&tokens);
        }
        rill__tokenizer_close(&t);
        data[at] = old;
    }
    assert_int_equal(rill__tokenizer_open_memory("x", data, 0, &t, &err), RILL_EFORMAT);
    rill__free(data);
}

static void vocabularies_are_checked(void **state) {
    (void)state;
    rill__text tokens[] = {{"a", 1}, {"b", 1}};
    uint8_t kinds[] = {1, 77};
    rill__vocabulary v = {.model = "gpt2",
                          .pre = "no-such-thing",
                          .n_tokens = 2,
                          .tokens = tokens,
                          .kinds = kinds,
                          .bos = -1,
                          .eos = 1,
                          .unk = -1,
                          .pad = -1,
                          .eot = -1};
    rill__tokenizer *t = NULL;
    rill_error err;
    assert_int_equal(rill__tokenizer_open_vocabulary("x.gguf", &v, &t, &err), RILL_OK);
    assert_non_null(strstr(rill__tokenizer_warning(t, 0), "no-such-thing"));
    assert_true(rill__tokenizer_is_end(t, 1));
    rill__tokenizer_close(&t);
    v.eos = 2;
    assert_int_equal(rill__tokenizer_open_vocabulary("x.gguf", &v, &t, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "eos"));
    v.eos = -1;
    strcpy(v.model, "rwkv");
    assert_int_equal(rill__tokenizer_open_vocabulary("x.gguf", &v, &t, &err), RILL_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "rwkv"));
    v.n_tokens = 0;
    assert_int_equal(rill__tokenizer_open_vocabulary("x.gguf", &v, &t, &err), RILL_EFORMAT);
    // A pre-tokenizer that GGUF has no name for cannot be exported.
    t = open_text("{" MODEL ",\"pre_tokenizer\":{\"type\":\"Digits\"}}");
    assert_int_equal(rill__tokenizer_export(t, 3, &v, &err), RILL_EUNSUPPORTED);
    rill__tokenizer_close(&t);
}

// ---- Directories ----------------------------------------------------------------------------

static rill__tokenizer *open_here(void) {
    rill__tokenizer *t = NULL;
    rill_error err;
    if (rill__tokenizer_open_directory(directory, &t, &err) != RILL_OK) fail_msg("%s", err.message);
    return t;
}

static void a_directory_may_have_none(void **state) {
    (void)state;
    rill__tokenizer *t = open_here();
    assert_null(t);
}

static void settings_lie_beside(void **state) {
    (void)state;
    copy_in("tokenizer.json", "bpe-gpt2", ".json");
    put_text("tokenizer_config.json", "{\"eos_token\":{\"content\":\"<|im_end|>\"},"
                                      "\"chat_template\":[{\"name\":\"tool\",\"template\":\"x\"},"
                                      "{\"name\":\"default\",\"template\":\"<|im_start|>\"}]}");
    put_text("generation_config.json", "{\"eos_token_id\":[1,3,99999999]}");
    rill__tokenizer *t = open_here();
    assert_string_equal(rill__tokenizer_chat_template(t), "chatml");
    for (rill_token token = 0; (size_t)token < rill__tokenizer_size(t); token++)
        assert_int_equal(rill__tokenizer_is_end(t, token), token == 1 || token == 3);
    assert_false(rill__tokenizer_is_end(t, 99999999));
    assert_int_equal(rill__tokenizer_bos(t), 0);
    rill__tokenizer_close(&t);
    // The file by itself wins over the settings' template.
    put_text("chat_template.jinja", "{{ martian }}");
    t = open_here();
    assert_non_null(strstr(rill__tokenizer_warning(t, 0), "martian"));
    rill__tokenizer_close(&t);
    put_text("generation_config.json", "{");
    rill_error err;
    assert_int_equal(rill__tokenizer_open_directory(directory, &t, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "generation_config.json"));
}

static void a_piece_model_follows_its_settings(void **state) {
    (void)state;
    copy_in("tokenizer.model", "sp-bpe", ".model");
    rill__tokenizer *t = open_here();
    assert_int_equal(rill__tokenizer_bos(t), 1);
    assert_true(rill__tokenizer_is_end(t, 2));
    rill__tokens tokens = encode(t, "a</s>", 5, RILL_TEXT_PARSE_SPECIAL);
    assert_int_not_equal(tokens.ids[tokens.n - 1], 2);
    rill__tokens_deinit(&tokens);
    rill__tokenizer_close(&t);
    put_text("tokenizer_config.json",
             "{\"add_bos_token\":false,\"add_eos_token\":true,\"added_tokens_decoder\":{"
             "\"2\":{\"content\":\"</s>\",\"special\":true},\"9\":{\"content\":\"no\"}}}");
    t = open_here();
    assert_int_equal(rill__tokenizer_bos(t), -1);
    tokens = encode(t, "a</s>", 5, RILL_TEXT_PARSE_SPECIAL | RILL_TEXT_ADD_SPECIAL);
    assert_int_equal(tokens.ids[tokens.n - 1], 2);
    assert_int_equal(tokens.ids[tokens.n - 2], 2);
    rill__tokens_deinit(&tokens);
    rill__tokenizer_close(&t);
}

// ---- Memory ---------------------------------------------------------------------------------

static rill_status use_everything(const char *name, const char *ending) {
    static const char text[] =
        "It's <|im_start|>a  t\xc3\xa9xt o\xcc\x88 of\n123 \xe4\xbd\xa0 words.";
    rill__tokenizer *t = NULL, *again = NULL;
    rill__encoder *e = NULL;
    rill__tokens tokens = {0};
    rill__vocabulary v = {0};
    rill_error err;
    rill_status status = rill__tokenizer_open_file(data_path(name, ending), &t, &err);
    if (status == RILL_OK) status = rill__encoder_open(t, 3, &e, &err);
    for (size_t i = 0; status == RILL_OK && i < sizeof text; i += 5)
        status = rill__encoder_push(e, text + i, sizeof text - i < 5 ? sizeof text - i : 5,
                                    i + 5 >= sizeof text, &tokens, &err);
    if (status == RILL_OK)
        status = rill__chat_message(t, RILL_ROLE_USER, RILL_CHAT_FIRST, text, 20, &tokens, &err);
    if (status == RILL_OK) status = rill__tokenizer_export(t, 701, &v, &err);
    if (status == RILL_OK) {
        v.chat_template = "{{ martian }}";
        v.chat_template_length = 13;
        status = rill__tokenizer_open_vocabulary("x", &v, &again, &err);
    }
    rill__vocabulary_deinit(&v);
    rill__encoder_close(&e);
    rill__tokens_deinit(&tokens);
    rill__tokenizer_close(&again);
    rill__tokenizer_close(&t);
    return status;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    static const char *const names[][2] = {{"bpe-llama3", ".json"},
                                           {"bpe-falcon", ".json"},
                                           {"sp-bpe", ".model"},
                                           {"sp-unigram", ".model"}};
    failing_allocator_install();
    for (size_t i = 0; i < 4; i++) {
        bool fired = true;
        // The many small pieces of the JSON are the parser's own test; every 31st is enough here.
        for (uint64_t n = 1; fired; n += n > 200 && n < 4000 ? 31 : 1) {
            failing_allocator_arm(n, n % 2 == 0);
            rill_status status = use_everything(names[i][0], names[i][1]);
            fired = failing_allocator_disarm();
            assert_int_equal(failing_allocator_live_blocks(), 0);
            if (status != RILL_OK) assert_int_equal(status, RILL_ENOMEM);
            // A word's cache is the one thing that may be missing.
            if (!fired) assert_int_equal(status, RILL_OK);
        }
    }
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_unknown_is_named),
        cmocka_unit_test(what_is_damaged_is_refused),
        cmocka_unit_test(patterns_are_checked),
        cmocka_unit_test(a_pattern_that_explodes_is_an_error),
        cmocka_unit_test(damaged_pieces_are_refused),
        cmocka_unit_test(vocabularies_are_checked),
        cmocka_unit_test_setup_teardown(a_directory_may_have_none, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(settings_lie_beside, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_piece_model_follows_its_settings, make_directory,
                                        remove_directory),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
