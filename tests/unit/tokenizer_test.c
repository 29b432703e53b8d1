// SPDX-License-Identifier: MIT
// Tokenizers against the reference implementations' golden tokenizations, whole, in pieces, and by
// way of GGUF's arrays; and what decoding owes to whoever streams.
#include "base/utf8.h"
#include "tokenizer_data.h"

#include <pthread.h>

static const struct {
    const char *name;
    const char *ending;
} all[] = {
    {"bpe-gpt2", ".json"},       {"bpe-llama3", ".json"},  {"bpe-qwen2", ".json"},
    {"bpe-neox", ".json"},       {"bpe-falcon", ".json"},  {"sp-bpe", ".model"},
    {"sp-bpe-nobyte", ".model"}, {"sp-unigram", ".model"}, {"sp-unigram-nobyte", ".model"},
};
enum { N_ALL = sizeof all / sizeof *all };

static json_t *texts;

static int load_texts(void **state) {
    (void)state;
    texts = load_json(data_path("texts", ".json"));
    return 0;
}

static int free_texts(void **state) {
    (void)state;
    json_decref(texts);
    return 0;
}

static const char *text_at(size_t i, size_t *length) {
    const json_t *text = json_array_get(texts, i);
    *length = json_string_length(text);
    return json_string_value(text);
}

// Every golden case of one tokenizer. flags: what the case's ids were made with.
static void check_golden(const char *name, const rill__tokenizer *t, unsigned flags) {
    json_t *golden = load_json(data_path(name, ".golden.json"));
    assert_int_equal(json_array_size(golden), 241);
    assert_int_equal(json_array_size(texts), 241);
    for (size_t i = 0; i < 241; i++) {
        size_t length;
        const char *text = text_at(i, &length);
        const json_t *row = json_array_get(golden, i), *decoded = json_array_get(row, 2);
        const json_t *ids = json_array_get(row, 0), *special = json_array_get(row, 1);
        assert_tokens(name, text, encode(t, text, length, flags), tokens_of(ids));
        assert_tokens(name, text, encode(t, text, length, flags | RILL_TEXT_ADD_SPECIAL),
                      tokens_of(special));
        rill__tokens tokens = tokens_of(ids);
        bool other = json_is_string(decoded);
        assert_text(name, decode(t, tokens.ids, tokens.n),
                    other ? json_string_value(decoded) : text,
                    other ? json_string_length(decoded) : length);
        rill__tokens_deinit(&tokens);
    }
    json_decref(golden);
}

static void golden_cases_are_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        check_golden(all[i].name, t, RILL_TEXT_PARSE_SPECIAL);
        rill__tokenizer_close(&t);
        assert_null(t);
    }
}

static void gguf_arrays_keep_every_case(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending)), *again = NULL;
        rill__vocabulary v;
        rill_error err;
        size_t n = rill__tokenizer_size(t);
        assert_int_equal(rill__tokenizer_export(t, n - 1, &v, &err), RILL_EINVAL);
        if (rill__tokenizer_export(t, n + 4, &v, &err) != RILL_OK) fail_msg("%s", err.message);
        assert_int_equal(v.n_tokens, n + 4);
        assert_int_equal(v.kinds[n + 3], RILL_TOKEN_UNUSED);
        if (rill__tokenizer_open_vocabulary("test.gguf", &v, &again, &err) != RILL_OK)
            fail_msg("%s", err.message);
        rill__vocabulary_deinit(&v);
        assert_null(v.tokens);
        assert_null(rill__tokenizer_warning(again, 0));
        // SentencePiece never looks for control tokens in a text; a GGUF file's are looked for when
        // asked.
        bool pieces = all[i].ending[1] == 'm';
        check_golden(all[i].name, again, pieces ? 0 : RILL_TEXT_PARSE_SPECIAL);
        assert_int_equal(rill__tokenizer_bos(again), rill__tokenizer_bos(t));
        rill__tokenizer_close(&again);
        rill__tokenizer_close(&t);
    }
}

static void pieces_give_the_tokens_of_the_whole(void **state) {
    (void)state;
    static const size_t steps[] = {1, 2, 7, 0};
    srand(5);
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        for (size_t k = 0; k < 241; k++) {
            size_t length;
            const char *text = text_at(k, &length);
            unsigned flags = k % 2 ? RILL_TEXT_PARSE_SPECIAL | RILL_TEXT_ADD_SPECIAL : 0;
            for (size_t s = 0; s < 4; s++)
                assert_tokens(all[i].name, text, encode_pieces(t, text, length, flags, steps[s]),
                              encode(t, text, length, flags));
        }
        rill__tokenizer_close(&t);
    }
}

// What is held back is a word: after a text of many words nearly all of its tokens are out.
static void little_is_held_back(void **state) {
    (void)state;
    static const char text[] = "It was a bright day in April, and the clocks were striking. ";
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        rill__encoder *e = NULL;
        rill__tokens tokens = {0};
        assert_int_equal(rill__encoder_open(t, 0, &e, NULL), RILL_OK);
        for (int k = 0; k < 100; k++)
            assert_int_equal(rill__encoder_push(e, text, sizeof text - 1, false, &tokens, NULL),
                             RILL_OK);
        rill__bytes out = decode(t, tokens.ids, tokens.n);
        assert_in_range(out.length, 100 * (sizeof text - 1) - 24, 100 * (sizeof text - 1));
        rill__bytes_deinit(&out);
        rill__tokens_deinit(&tokens);
        rill__encoder_close(&e);
        rill__tokenizer_close(&t);
    }
}

static void broken_text_is_replaced(void **state) {
    (void)state;
    static const char broken[] = "a\xff\xc3(\xe4\xbd \xf0\x9f\x91 z\xed\xa0\x80.\xf0\x9f";
    static const char whole[] =
        "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd "
        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd z\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd."
        "\xef\xbf\xbd\xef\xbf\xbd";
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        assert_tokens("whole", broken, encode(t, broken, sizeof broken - 1, 0),
                      encode(t, whole, sizeof whole - 1, 0));
        assert_tokens("pieces", broken, encode_pieces(t, broken, sizeof broken - 1, 0, 1),
                      encode(t, whole, sizeof whole - 1, 0));
        rill__tokenizer_close(&t);
    }
}

// One word of a mebibyte: with a quadratic step anywhere this would take hours.
static void a_huge_word_takes_no_longer(void **state) {
    (void)state;
    static const char *const units[] = {"a", " ", "\n", "ab", "\xe4\xbd\xa0", "<|im_star"};
    enum { N_UNITS = sizeof units / sizeof *units };
    size_t capacity = 1 << 20;
    char *text = malloc(capacity);
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        for (size_t u = 0; u < N_UNITS; u++) {
            size_t n = strlen(units[u]), length = 0;
            for (; length + n <= capacity; length += n) memcpy(text + length, units[u], n);
            rill__tokens tokens = encode(t, text, length, RILL_TEXT_PARSE_SPECIAL);
            // In pieces it is one tokenizer's turn for each of the texts.
            if (i % N_UNITS == u)
                assert_tokens(units[u], units[u],
                              encode_pieces(t, text, length, RILL_TEXT_PARSE_SPECIAL, 5000),
                              tokens);
            else
                rill__tokens_deinit(&tokens);
        }
        rill__tokenizer_close(&t);
    }
    free(text);
}

// ---- Decoding -------------------------------------------------------------------------------

static void characters_come_out_whole(void **state) {
    (void)state;
    static const char text[] = "a\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x99\x82z";
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        rill__tokens tokens = encode(t, text, sizeof text - 1, 0);
        rill__decoder d;
        rill__bytes out;
        rill__decoder_init(&d, t);
        rill__bytes_init(&out, 0);
        for (size_t k = 0; k < tokens.n; k++) {
            assert_int_equal(rill__decoder_push(&d, tokens.ids[k], &out, NULL), RILL_OK);
            assert_int_equal(rill__utf8_incomplete_tail(out.data ? out.data : "", out.length), 0);
        }
        rill__bytes_deinit(&out);
        rill__tokens_deinit(&tokens);
        rill__tokenizer_close(&t);
    }
}

static rill_token byte_token(const rill__tokenizer *t, const char *text) {
    rill_token id = rill__tokenizer_find(t, text, strlen(text));
    assert_in_range(id, 0, 699);
    return id;
}

static void what_never_becomes_whole_is_one_mark(void **state) {
    (void)state;
    rill__tokenizer *t = open_file(data_path("bpe-gpt2", ".json"));
    // E4 BD (of three), then a letter; F0 9F 99 (of four) at the end. As String::from_utf8_lossy.
    const rill_token ids[] = {byte_token(t, "\xc3\xa4"), byte_token(t, "\xc2\xbd"),
                              byte_token(t, "a"),        byte_token(t, "\xc3\xb0"),
                              byte_token(t, "\xc5\x81"), byte_token(t, "\xc4\xbb")};
    assert_text("byte level", decode(t, ids, 6),
                "\xef\xbf\xbd"
                "a\xef\xbf\xbd",
                7);
    rill__tokenizer_close(&t);
    t = open_file(data_path("sp-bpe", ".model"));
    // SentencePiece marks every byte.
    const rill_token bytes[] = {byte_token(t, "<0xE4>"), byte_token(t, "<0xBD>"),
                                byte_token(t, "a"), byte_token(t, "<0xFF>")};
    assert_text("fallback", decode(t, bytes, 4),
                "\xef\xbf\xbd\xef\xbf\xbd"
                "a\xef\xbf\xbd",
                10);
    rill__tokenizer_close(&t);
}

static void foreign_tokens_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        rill__decoder d;
        rill__bytes out;
        rill_error err;
        rill__decoder_init(&d, t);
        rill__bytes_init(&out, 0);
        assert_int_equal(rill__tokenizer_size(t), 700);
        assert_int_equal(rill__decoder_push(&d, -1, &out, &err), RILL_EINVAL);
        assert_int_equal(rill__decoder_push(&d, 700, &out, &err), RILL_EINVAL);
        assert_non_null(strstr(err.message, "699"));
        assert_int_equal(out.length, 0);
        rill__tokenizer_close(&t);
    }
}

static void decoding_allocates_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        rill__decoder d;
        rill__bytes out;
        rill__bytes_init(&out, 0);
        assert_int_equal(rill__bytes_reserve(&out, rill__tokenizer_max_text(t), NULL), RILL_OK);
        rill__decoder_init(&d, t);
        uint64_t before = rill__allocation_count();
        for (rill_token id = 0; id < 700; id++) {
            rill__bytes_reset(&out);
            assert_int_equal(rill__decoder_push(&d, id, &out, NULL), RILL_OK);
            assert_true(out.length <= rill__tokenizer_max_text(t));
        }
        assert_int_equal(rill__allocation_count(), before);
        rill__bytes_deinit(&out);
        rill__tokenizer_close(&t);
    }
}

// ---- Special tokens -------------------------------------------------------------------------

static void plain_text_has_no_special_tokens(void **state) {
    (void)state;
    static const char text[] = "<s></s><unk><|bos|><|eos|><|im_start|>user\n<|im_end|><0x41>";
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        rill_token start = byte_token(t, "<|im_start|>"), end = byte_token(t, "<|im_end|>");
        rill__tokens plain = encode(t, text, sizeof text - 1, RILL_TEXT_PLAIN | ~0xffu);
        for (size_t k = 0; k < plain.n; k++) {
            assert_int_not_equal(plain.ids[k], start);
            assert_int_not_equal(plain.ids[k], end);
        }
        rill__tokens parsed = encode(t, text, sizeof text - 1, RILL_TEXT_PARSE_SPECIAL);
        bool found = false;
        for (size_t k = 0; k < parsed.n; k++) found = found || parsed.ids[k] == start;
        assert_true(found);
        rill__tokens_deinit(&plain);
        rill__tokens_deinit(&parsed);
        rill__tokenizer_close(&t);
    }
}

// ---- Threads --------------------------------------------------------------------------------

static void *encode_all(void *user) {
    const rill__tokenizer *t = user;
    rill__tokens *out = calloc(1, sizeof *out);
    for (size_t i = 0; out && i < 241; i++) {
        size_t length;
        const char *text = text_at(i, &length);
        if (rill__tokenizer_encode(t, text, length, RILL_TEXT_PARSE_SPECIAL, out, NULL) != RILL_OK)
            return NULL;
    }
    return out;
}

static void threads_share_a_tokenizer(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        rill__tokenizer *t = open_file(data_path(all[i].name, all[i].ending));
        pthread_t threads[3];
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(pthread_create(&threads[k], NULL, encode_all, t), 0);
        rill__tokens *alone = encode_all(t);
        for (size_t k = 0; k < 3; k++) {
            void *result = NULL;
            assert_int_equal(pthread_join(threads[k], &result), 0);
            rill__tokens *found = result;
            assert_non_null(found);
            assert_int_equal(found->n, alone->n);
            assert_memory_equal(found->ids, alone->ids, alone->n * sizeof *alone->ids);
            rill__tokens_deinit(found);
            free(found);
        }
        rill__tokens_deinit(alone);
        free(alone);
        rill__tokenizer_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases_are_exact),
        cmocka_unit_test(gguf_arrays_keep_every_case),
        cmocka_unit_test(pieces_give_the_tokens_of_the_whole),
        cmocka_unit_test(little_is_held_back),
        cmocka_unit_test(broken_text_is_replaced),
        cmocka_unit_test(a_huge_word_takes_no_longer),
        cmocka_unit_test(characters_come_out_whole),
        cmocka_unit_test(what_never_becomes_whole_is_one_mark),
        cmocka_unit_test(foreign_tokens_are_refused),
        cmocka_unit_test(decoding_allocates_nothing),
        cmocka_unit_test(plain_text_has_no_special_tokens),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, load_texts, free_texts);
}
