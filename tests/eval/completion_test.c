// SPDX-License-Identifier: MIT
// Asking a server: a key of any length arrives, and what went wrong is called by its name.
#include "eval/completion.h"

#include "failing_allocator.h"

#include "support/open.h"
#include "support/server.h"

enum { LONG_KEY = 9000, LONG_TEXT = 300000, MIB = 1 << 20 };

static test_server *server;

static int setup(void **state) {
    (void)state;
    server = test_server_start();
    return server ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    test_server_stop();
    return 0;
}

static rill_status ask(const rill__completer_options *options, const char *prompt, rill__bytes *out,
                       rill_error *err) {
    rill__completer *c = NULL;
    rill__bytes_init(out, 0);
    rill_status status = rill__completer_open(options, &c, err);
    if (status == RILL_OK)
        status = rill__completer_ask(c, prompt, strlen(prompt), 8, ">", out, err);
    rill__completer_close(&c);
    return status;
}

static void a_key_of_any_length(void **state) {
    (void)state;
    static char key[LONG_KEY + 1], wanted[LONG_KEY + 64];
    const rill__completer_options options = {.url = server->url, .key = key};
    rill__bytes reply;
    rill_error err;
    memset(key, 'k', LONG_KEY);
    key[LONG_KEY - 1] = 'e';  // its end is not cut off
    snprintf(wanted, sizeof wanted, "Authorization: Bearer %s\r\n", key);
    server->text = "42";
    server->n_texts = 1;
    must(ask(&options, "What is it?", &reply, &err), &err);
    assert_string_equal(reply.data, "42");
    assert_non_null(strstr(server->head, wanted));
    rill__bytes_deinit(&reply);
}

static void what_is_no_utf8_is_refused(void **state) {
    (void)state;
    const rill__completer_options plain = {.url = server->url};
    const rill__completer_options named = {.url = server->url, .model = "caf\xe9"};
    rill__bytes reply;
    rill_error err;
    assert_int_equal(ask(&plain, "caf\xe9", &reply, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "UTF-8"));
    assert_int_equal(ask(&named, "coffee", &reply, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "UTF-8"));
}

static void a_reply_that_is_too_long(void **state) {
    (void)state;
    static char text[MIB + 1];
    const rill__completer_options options = {.url = server->url};
    rill__bytes reply;
    rill_error err;
    memset(text, 'a', MIB);
    server->text = text;
    server->n_texts = 17;
    assert_int_equal(ask(&options, "Say more.", &reply, &err), RILL_EFORMAT);
    assert_non_null(strstr(err.message, "longer than 16 MiB"));
}

// Wherever memory runs out, it is memory that is named, while a long reply comes in as well.
static void memory_that_runs_out(void **state) {
    (void)state;
    static char text[LONG_TEXT + 1];
    const rill__completer_options options = {.url = server->url, .model = "m", .key = "k"};
    rill__bytes reply;
    rill_error err;
    memset(text, 'a', LONG_TEXT);
    server->text = text;
    server->n_texts = 1;
    failing_allocator_install();
    bool fired = true;
    for (uint64_t n = 1; fired; n++) {
        failing_allocator_arm(n, true);
        rill_status status = ask(&options, "Say more.", &reply, &err);
        fired = failing_allocator_disarm();
        rill__bytes_deinit(&reply);
        assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
        assert_int_equal(failing_allocator_live_blocks(), 0);
    }
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_of_any_length),
        cmocka_unit_test(what_is_no_utf8_is_refused),
        cmocka_unit_test(a_reply_that_is_too_long),
        cmocka_unit_test(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
