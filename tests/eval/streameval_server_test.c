// SPDX-License-Identifier: MIT
// StreamEval on a server: what it is asked, how its replies are judged, and what a journal has of
// it.
#include "eval/streameval.h"

#include "support/open.h"
#include "support/server.h"
#include "unit/scratch.h"

#include <sys/stat.h>
#include <unistd.h>

static test_server *server;

static int setup(void **state) {
    server = test_server_start();
    return server && scratch_make(state) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    test_server_stop();
    return scratch_remove(state);
}

static rill__records *records_of(const char *text) {
    rill__records *r;
    rill_error err;
    must(rill__records_open(scratch_text("questions.jsonl", text), &r, &err), &err);
    return r;
}

static rill_status ask(rill__records *records, rill__case *c, rill__streameval *out,
                       rill_error *err) {
    const rill__completer_options options = {.url = server->url};
    const rill__server_context context = {0};
    rill__completer *completer;
    rill__job job = {.journal = c};
    must(rill__completer_open(&options, &completer, err), err);
    rill_status status = rill__streameval_ask(completer, &context, records, &job, out, err);
    rill__completer_close(&completer);
    return status;
}

// An answer ends before the first character of what follows, all of it, or with the reply.
static void replies_are_judged(void **state) {
    (void)state;
    static const struct {
        const char *end, *reply;
        uint32_t right;
    } rows[] = {
        {">", "27182", 1},
        {">", "27182>", 1},
        {">", "27182>\\nline", 1},
        {">", "2718", 0},
        {">", "271828", 0},
        {">", "27182\\n", 0},
        {">", "27183>", 0},
        {"\u00bb", "27182", 1},
        {"\u00bb", "27182\u00bb.", 1},
        {"\u00bb", "27182\u00bc", 0},
    };
    server->n_texts = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        rill__streameval result;
        rill_error err;
        snprintf(text, sizeof text,
                 "{\"text\":\"27182\\n\"}\n{\"question\":\"What?\",\"answer\":\"27182\","
                 "\"end\":\"%s\\n\",\"distance\":0}\n",
                 rows[i].end);
        rill__records *records = records_of(text);
        server->text = rows[i].reply;
        must(ask(records, NULL, &result, &err), &err);
        assert_int_equal(result.n_answers, 1);
        if (result.answers[0].right != rows[i].right) fail_msg("row %zu: %s", i, rows[i].reply);
        // It is told to stop at a whole character.
        snprintf(text, sizeof text, "\"stop\":\"%s\"", rows[i].end);
        assert_non_null(strstr(server->body, text));
        rill__streameval_deinit(&result);
        rill__records_close(&records);
    }
}

// What a file has behind its last save is no answer: the server is asked.
static void zeros_are_no_answers(void **state) {
    (void)state;
    static const char text[] =
        "{\"text\":\"27182\\n\"}\n"
        "{\"question\":\"What?\",\"answer\":\"27182\",\"end\":\">\\n\",\"distance\":0}\n";
    rill__records *records = records_of(text);
    rill__streameval result;
    rill__journal *journal;
    rill__case *c;
    rill_error err;
    const char *path = scratch_path("journal/case.records");
    must(rill__journal_open(scratch_path("journal"), &journal, &err), &err);
    must(rill__journal_case(journal, "case", "text\n", sizeof(rill__answer), &c, &err), &err);
    must(rill__case_save(c, NULL, 1, &err), &err);
    rill__case_close(&c);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size + (off_t)sizeof(rill__answer)), 0);
    must(rill__journal_case(journal, "case", "text\n", sizeof(rill__answer), &c, &err), &err);
    server->text = "27182>";
    server->n_texts = 1;
    size_t before = server->n_requests;
    must(ask(records, c, &result, &err), &err);
    assert_int_equal(server->n_requests, before + 1);
    assert_int_equal(result.n_answers, 1);
    assert_int_equal(result.answers[0].right, 1);
    rill__streameval_deinit(&result);
    rill__case_close(&c);
    rill__journal_close(&journal);
    rill__records_close(&records);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_judged),
        cmocka_unit_test(zeros_are_no_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
