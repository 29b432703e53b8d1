// SPDX-License-Identifier: MIT
// What the tokenizers' tests share: golden data, and encoding in one call or in pieces.
#ifndef RILL_TESTS_TOKENIZER_DATA_H
#define RILL_TESTS_TOKENIZER_DATA_H

#include "base/json.h"
#include "tokenizer/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A path below the test data, in one of four static buffers.
static inline const char *data_path(const char *name, const char *ending) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/tokenizers/%s%s", getenv("RILL_TEST_DATA"), name, ending);
    return path;
}

static inline json_t *load_json(const char *path) {
    json_t *value = NULL;
    rill_error err;
    if (rill__json_load(path, 1 << 28, &value, &err) != RILL_OK) fail_msg("%s", err.message);
    return value;
}

static inline rill__tokenizer *open_file(const char *path) {
    rill__tokenizer *t = NULL;
    rill_error err;
    if (rill__tokenizer_open_file(path, &t, &err) != RILL_OK) fail_msg("%s", err.message);
    return t;
}

static inline rill__tokenizer *open_text(const char *json) {
    rill__tokenizer *t = NULL;
    rill_error err;
    if (rill__tokenizer_open_memory("test.json", json, strlen(json), &t, &err) != RILL_OK)
        fail_msg("%s", err.message);
    return t;
}

static inline rill__tokens encode(const rill__tokenizer *t, const char *text, size_t length,
                                  unsigned flags) {
    rill__tokens tokens = {0};
    rill_error err;
    if (rill__tokenizer_encode(t, text, length, flags, &tokens, &err) != RILL_OK)
        fail_msg("%s", err.message);
    return tokens;
}

// The same in pieces of `step` bytes, of random sizes if it is 0.
static inline rill__tokens encode_pieces(const rill__tokenizer *t, const char *text, size_t length,
                                         unsigned flags, size_t step) {
    rill__tokens tokens = {0};
    rill__encoder *e = NULL;
    assert_int_equal(rill__encoder_open(t, flags, &e, NULL), RILL_OK);
    for (size_t at = 0; at < length;) {
        size_t n = step ? step : 1 + (size_t)rand() % 9;
        if (n > length - at) n = length - at;
        assert_int_equal(rill__encoder_push(e, text + at, n, false, &tokens, NULL), RILL_OK);
        at += n;
    }
    assert_int_equal(rill__encoder_push(e, "", 0, true, &tokens, NULL), RILL_OK);
    rill__encoder_close(&e);
    return tokens;
}

static inline rill__bytes decode(const rill__tokenizer *t, const rill_token *ids, size_t n) {
    rill__bytes out;
    rill__decoder d;
    rill_error err;
    rill__bytes_init(&out, 0);
    rill__decoder_init(&d, t);
    for (size_t i = 0; i < n; i++)
        if (rill__decoder_push(&d, ids[i], &out, &err) != RILL_OK) fail_msg("%s", err.message);
    assert_int_equal(rill__decoder_end(&d, &out, NULL), RILL_OK);
    return out;
}

static inline rill__tokens tokens_of(const json_t *list) {
    rill__tokens tokens = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        rill_token id = (rill_token)json_integer_value(json_array_get(list, i));
        assert_int_equal(rill__tokens_push(&tokens, id, NULL), RILL_OK);
    }
    return tokens;
}

// Fails with both lists when they differ; frees both.
static inline void assert_tokens(const char *what, const char *text, rill__tokens found,
                                 rill__tokens wanted) {
    bool same = found.n == wanted.n &&
                (found.n == 0 || memcmp(found.ids, wanted.ids, found.n * sizeof *found.ids) == 0);
    if (!same) {
        print_error("%.300s: '%.120s'\nfound: ", what, text);
        for (size_t i = 0; i < found.n && i < 80; i++) print_error(" %d", found.ids[i]);
        print_error("\nwanted:");
        for (size_t i = 0; i < wanted.n && i < 80; i++) print_error(" %d", wanted.ids[i]);
        print_error("\n");
    }
    rill__tokens_deinit(&found);
    rill__tokens_deinit(&wanted);
    assert_true(same);
}

// Fails with both texts when they differ; frees the one found.
static inline void assert_text(const char *what, rill__bytes found, const char *wanted,
                               size_t length) {
    bool same = found.length == length && (length == 0 || memcmp(found.data, wanted, length) == 0);
    if (!same)
        print_error("%s:\nfound:  '%.*s'\nwanted: '%.*s'\n", what, (int)found.length,
                    found.data ? found.data : "", (int)length, wanted);
    rill__bytes_deinit(&found);
    assert_true(same);
}

#endif
