// SPDX-License-Identifier: MIT
// What is said and how it ends: turns of a conversation, stop reasons, text without a reader.
#include "rill/rill.h"

#include "support/open.h"
#include "support/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static rill_model *model;

static int open_model(void **state) {
    (void)state;
    model = test_model(test_shipped_model(), &(rill_device_options){.threads = 2});
    return 0;
}

static int close_model(void **state) {
    (void)state;
    rill_model_close(&model);
    test_directory_remove();
    return 0;
}

static rill_stream *open_greedy(rill_model *of, rill_method method, uint32_t window) {
    rill_error err;
    rill_stream *s;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.window = window;
    must(rill_stream_open(of, &o, &s, &err), &err);
    rill_sampling greedy;
    rill_sampling_default(&greedy);
    greedy.temperature = 0;
    must(rill_stream_set_sampling(s, &greedy, &err), &err);
    return s;
}

static rill_status say(rill_stream *s, rill_role role, const char *text, rill_error *err) {
    return rill_stream_feed_message(s, role, text, strlen(text), false, err);
}

static void turns_take_their_order(void **state) {
    (void)state;
    rill_error err;
    rill_stream *s = open_greedy(model, RILL_METHOD_STREAMING, 0);
    assert_int_equal(rill_stream_end_answer(s, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "no answer was begun"));
    must(say(s, RILL_ROLE_USER, "Hello", &err), &err);
    assert_int_equal(say(s, RILL_ROLE_SYSTEM, "Be brief.", &err), RILL_EINVAL);
    must(rill_stream_begin_answer(s, &err), &err);
    assert_int_equal(rill_stream_begin_answer(s, &err), RILL_EINVAL);
    assert_int_equal(say(s, RILL_ROLE_USER, "Hello?", &err), RILL_EINVAL);
    must(rill_stream_end_answer(s, &err), &err);
    must(say(s, RILL_ROLE_USER, "Hello?", &err), &err);
    rill_stream_close(&s);
}

static bool refuse(void *user, rill_token token, const char *text, size_t length) {
    (void)user;
    (void)token;
    (void)text;
    (void)length;
    return false;
}

// Answers until the stop, ends the answer, and goes on with another message.
static void answer(rill_stream *s, const rill_generate_options *o, rill_write_fn write,
                   rill_stop stop) {
    rill_error err;
    rill_generate_result result;
    must(say(s, RILL_ROLE_USER, "Tell me a story", &err), &err);
    must(rill_stream_begin_answer(s, &err), &err);
    must(rill_stream_generate(s, o, write, NULL, &result, &err), &err);
    assert_string_equal(rill_stop_name(result.stop), rill_stop_name(stop));
    must(rill_stream_end_answer(s, &err), &err);
}

static void an_answer_ends_whatever_stopped_it(void **state) {
    (void)state;
    rill_error err;
    static const char *const space[] = {" "};
    rill_generate_options o;
    rill_stream *s = open_greedy(model, RILL_METHOD_STREAMING, 100);
    rill_generate_options_default(&o);
    answer(s, &o, refuse, RILL_STOP_INTERRUPTED);
    o.max_tokens = 5;
    answer(s, &o, NULL, RILL_STOP_LENGTH);
    o.stops = space;
    o.n_stops = 1;
    answer(s, &o, NULL, RILL_STOP_STRING);
    rill_generate_options_default(&o);
    answer(s, &o, NULL, RILL_STOP_END);
    rill_stream_close(&s);

    // A full context cannot even hold the words that close an answer; the reason is said again.
    s = open_greedy(model, RILL_METHOD_DENSE, 20);
    answer(s, &o, NULL, RILL_STOP_MEMORY);
    assert_int_equal(say(s, RILL_ROLE_USER, "And then?", &err), RILL_ECONTEXT);
    rill_stream_reset(s);
    must(say(s, RILL_ROLE_USER, "Hello", &err), &err);
    rill_stream_close(&s);
}

static void a_pinned_system_message_stays(void **state) {
    (void)state;
    static const char told[] = "You are an old sailor who remembers every storm.";
    enum { MOST = 128 };
    rill_error err;
    rill_stream_report report;
    rill_token before[MOST], after[MOST];
    rill_stream *s = open_greedy(model, RILL_METHOD_STREAMING, MOST - 4);
    must(rill_stream_feed_message(s, RILL_ROLE_SYSTEM, told, strlen(told), true, &err), &err);
    size_t n = rill_stream_visible(s, before, MOST);
    rill_stream_get_report(s, &report);
    assert_int_equal(report.sinks, n);
    assert_int_equal(report.sinks + report.window, MOST);
    for (int i = 0; i < 30; i++) must(say(s, RILL_ROLE_USER, "And what came then?", &err), &err);
    rill_stream_get_report(s, &report);
    assert_true(report.evicted > 0);
    assert_true(rill_stream_visible(s, after, MOST) > n);
    assert_memory_equal(before, after, n * sizeof *before);
    rill_stream_close(&s);
}

static bool take_all(void *user, rill_token token, const char *text, size_t length) {
    char *all = user;
    (void)token;
    strncat(all, text, length);
    return true;
}

static void stop_strings_need_no_reader(void **state) {
    (void)state;
    rill_error err;
    // Across tokens, so that the beginning must be kept until the rest comes.
    static const char *const stops[] = {"a time"};
    char text[4096] = "";
    rill_generate_result read, unread;
    rill_generate_options o = {.max_tokens = 200, .stops = stops, .n_stops = 1};
    static const char prompt[] = "Once upon";
    for (int with = 0; with < 2; with++) {
        rill_stream *s = open_greedy(model, RILL_METHOD_STREAMING, 0);
        rill_token *tokens;
        size_t n;
        must(rill_encode(model, prompt, strlen(prompt), RILL_TEXT_ADD_SPECIAL, &tokens, &n, &err),
             &err);
        must(rill_stream_feed(s, tokens, n, NULL, &err), &err);
        must(rill_stream_generate(s, &o, with ? take_all : NULL, text, with ? &read : &unread,
                                  &err),
             &err);
        rill_tokens_free(tokens);
        rill_stream_close(&s);
    }
    assert_string_equal(rill_stop_name(read.stop), "string");
    assert_string_equal(rill_stop_name(unread.stop), "string");
    assert_int_equal(read.n_tokens, unread.n_tokens);
    assert_null(strstr(text, "a time"));
}

// The weights of a golden model, of 160 rows, beside a tokenizer of five tokens.
static rill_model *model_of_more_rows(void) {
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[512], beside[512], link[600];
    for (size_t i = 0; i < 2; i++) {
        snprintf(beside, sizeof beside, "golden/llama/%s", files[i]);
        snprintf(link, sizeof link, "%s/%s", test_directory(), files[i]);
        assert_int_equal(symlink(test_data(beside), link), 0);
    }
    snprintf(path, sizeof path, "%s/tokenizer.json", test_directory());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},"
          " \"decoder\": {\"type\": \"ByteLevel\"},"
          " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"d\": 3,"
          " \"ab\": 4}, \"merges\": [[\"a\", \"b\"]]}}",
          file);
    assert_int_equal(fclose(file), 0);
    return test_model(test_directory(), &(rill_device_options){.threads = 1});
}

static void rows_past_the_tokenizer_are_no_text(void **state) {
    (void)state;
    rill_error err;
    rill_model *large = model_of_more_rows();
    rill_stream *s = open_greedy(large, RILL_METHOD_STREAMING, 20);
    rill_sampling wild;
    rill_sampling_default(&wild);
    wild.temperature = 100;
    must(rill_stream_set_sampling(s, &wild, &err), &err);
    must(rill_stream_feed(s, (rill_token[]){0}, 1, NULL, &err), &err);
    rill_generate_result result;
    char text[600] = "";
    must(rill_stream_generate(s, &(rill_generate_options){.max_tokens = 300}, take_all, text,
                              &result, &err),
         &err);
    assert_int_equal(result.n_tokens, 300);
    assert_int_equal(strspn(text, "abcd"), strlen(text));

    char *decoded;
    size_t length;
    must(rill_decode(large, (rill_token[]){4, 159, 2}, 3, &decoded, &length, &err), &err);
    assert_string_equal(decoded, "abc");
    rill_text_free(decoded);
    assert_int_equal(rill_decode(large, (rill_token[]){160}, 1, &decoded, &length, &err),
                     RILL_EINVAL);
    rill_stream_close(&s);
    rill_model_close(&large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_take_their_order),
        cmocka_unit_test(an_answer_ends_whatever_stopped_it),
        cmocka_unit_test(a_pinned_system_message_stays),
        cmocka_unit_test(stop_strings_need_no_reader),
        cmocka_unit_test(rows_past_the_tokenizer_are_no_text),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
