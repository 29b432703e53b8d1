// SPDX-License-Identifier: MIT
// Questions in one stream: every choice as if it had been the first, beside streams that read all
// of the text anew for each of them; files of all shapes that ARC was published in.
#include "eval/arc.h"

#include "eval/perplexity.h"
#include "eval/room.h"

#include "support/open.h"
#include "unit/scratch.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUESTIONS = 5, WINDOW = 60 };

static rill_model *model;
static char questions[512];
static uint64_t room = UINT64_MAX;

// In the place of what the system says: whether a snapshot is kept in memory.
uint64_t rill__room(void) {
    return room;
}

static int setup(void **state) {
    if (scratch_make(state) != 0) return -1;
    model = test_model(test_shipped_model(), &(rill_device_options){.threads = 1});
    snprintf(questions, sizeof questions, "%s/eval/questions.jsonl", getenv("RILL_TEST_DATA"));
    return 0;
}

static int teardown(void **state) {
    rill_model_close(&model);
    return scratch_remove(state);
}

static rill__quiz *open_quiz(void) {
    rill__quiz *quiz;
    rill_error err;
    must(rill__quiz_open(questions, QUESTIONS, &quiz, &err), &err);
    assert_int_equal(rill__quiz_count(quiz), QUESTIONS);
    return quiz;
}

static rill_stream_options options_of(rill_method method) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.window = WINDOW;
    return o;
}

static double naive_score(const rill_stream_options *o, const char *text, const char *choice) {
    rill_stream *stream;
    rill_token *tokens, *more;
    size_t n, n_more;
    rill_model_info info;
    rill_error err;
    const float *logits;
    double sum = 0;
    char with_space[256];
    snprintf(with_space, sizeof with_space, " %s", choice);
    rill_model_get_info(model, &info);
    must(rill_stream_open(model, o, &stream, &err), &err);
    must(rill_encode(model, text, strlen(text), RILL_TEXT_ADD_SPECIAL, &tokens, &n, &err), &err);
    must(rill_encode(model, with_space, strlen(with_space), RILL_TEXT_CONTINUES, &more, &n_more,
                     &err),
         &err);
    must(rill_stream_feed(stream, tokens, n, NULL, &err), &err);
    for (size_t i = 0; i < n_more; i++) {
        must(rill_stream_logits(stream, &logits, &err), &err);
        sum -= rill__nll(logits, info.vocab_size, more[i]);
        must(rill_stream_feed(stream, &more[i], 1, NULL, &err), &err);
    }
    rill_tokens_free(tokens);
    rill_tokens_free(more);
    rill_stream_close(&stream);
    return sum;
}

static void check(rill_method method, bool one_by_one) {
    static char text[1 << 14];
    rill__quiz *quiz = open_quiz();
    rill_stream_options o = options_of(method);
    const rill__arc_options how = {.one_by_one = one_by_one};
    rill__arc result;
    rill_error err;
    size_t n = 0;
    must(rill__arc_measure(model, &o, quiz, &how, &(rill__job){0}, &result, &err), &err);
    assert_int_equal(result.n_answers, QUESTIONS);
    for (size_t q = 0; q < QUESTIONS; q++) {
        const rill__quiz_item *item = rill__quiz_item_at(quiz, q);
        double best = -1e30, best_by_size = -1e30;
        size_t chosen = 0, chosen_by_size = 0;
        if (one_by_one) n = 0;
        n += (size_t)snprintf(text + n, sizeof text - n, "%sQuestion: %s\nAnswer:", n ? "\n\n" : "",
                              item->question);
        for (size_t i = 0; i < item->n_choices; i++) {
            double score = naive_score(&o, text, item->choices[i]);
            double by_size = score / (double)strlen(item->choices[i]);
            if (score > best) best = score, chosen = i;
            if (by_size > best_by_size) best_by_size = by_size, chosen_by_size = i;
        }
        assert_int_equal(result.answers[q].right, item->right);
        assert_int_equal(result.answers[q].n_choices, item->n_choices);
        assert_int_equal(result.answers[q].chosen, chosen);
        assert_int_equal(result.answers[q].chosen_by_size, chosen_by_size);
        n += (size_t)snprintf(text + n, sizeof text - n, " %s", item->choices[item->right]);
    }
    assert_true(result.n_copies <= QUESTIONS * 3);
    rill__arc_deinit(&result);
    rill__quiz_close(&quiz);
}

static void every_choice_is_scored_from_one_state(void **state) {
    (void)state;
    check(RILL_METHOD_STREAMING, false);
    check(RILL_METHOD_WINDOW, false);
    check(RILL_METHOD_RECOMPUTE, false);
    check(RILL_METHOD_STREAMING, true);
}

static bool until_two(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_int_equal(total, QUESTIONS);
    return done != 2;
}

static void an_interrupted_one_goes_on(void **state) {
    (void)state;
    rill__quiz *quiz = open_quiz();
    rill_stream_options o = options_of(RILL_METHOD_STREAMING);
    const rill__arc_options how = {0};
    rill__arc straight, halves;
    rill__journal *journal;
    rill_error err;
    must(rill__arc_measure(model, &o, quiz, &how, &(rill__job){0}, &straight, &err), &err);
    must(rill__journal_open(scratch_path("journal"), &journal, &err), &err);
    for (int run = 0; run < 3; run++) {
        rill__job job = {.progress = run == 0 ? until_two : NULL};
        must(rill__journal_case(journal, "case", "text", sizeof(rill__quiz_answer), &job.journal,
                                &err),
             &err);
        rill_status status = rill__arc_measure(model, &o, quiz, &how, &job, &halves, &err);
        rill__case_close(&job.journal);
        assert_int_equal(status, run == 0 ? RILL_EINTERRUPTED : RILL_OK);
        assert_int_equal(halves.n_answers, run == 0 ? 2 : QUESTIONS);
        assert_memory_equal(halves.answers, straight.answers,
                            halves.n_answers * sizeof *halves.answers);
        assert_int_equal(run == 2, halves.n_copies == 0);
        rill__arc_deinit(&halves);
    }
    rill__journal_close(&journal);
    rill__arc_deinit(&straight);
    rill__quiz_close(&quiz);
}

static size_t count_files(const char *folder, const char *beginning) {
    size_t n = 0;
    DIR *open = opendir(folder);
    for (const struct dirent *entry; open && (entry = readdir(open));)
        n += entry->d_name[0] != '.' && !strncmp(entry->d_name, beginning, strlen(beginning));
    if (open) closedir(open);
    return n;
}

static bool die_at_three(void *user, uint64_t done, uint64_t total) {
    (void)user;
    (void)total;
    if (done == 3) kill(getpid(), SIGKILL);
    return true;
}

// A process that ends at once leaves no snapshot, neither in memory nor on a disk.
static void nothing_is_left_behind(void **state) {
    (void)state;
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("temporary"));
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        size_t before = count_files("/dev/shm", "rill-");
        room = in_memory ? UINT64_MAX : 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            rill_stream_options o = options_of(RILL_METHOD_STREAMING);
            const rill__arc_options how = {0};
            rill__arc result;
            rill__job job = {.progress = die_at_three};
            rill_error err;
            _exit((int)rill__arc_measure(model, &o, open_quiz(), &how, &job, &result, &err));
        }
        int end;
        assert_int_equal(waitpid(child, &end, 0), child);
        assert_true(WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL);
        assert_int_equal(count_files(folder, ""), 0);
        assert_true(count_files("/dev/shm", "rill-") <= before);
    }
    check(RILL_METHOD_STREAMING, false);  // in memory
    room = 0;
    check(RILL_METHOD_STREAMING, false);
    room = UINT64_MAX;
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

static void files_of_all_shapes(void **state) {
    (void)state;
    static const char text[] =
        "{\"id\":\"1\",\"question\":{\"stem\":\"First?\",\"choices\":[{\"text\":\"a\","
        "\"label\":\"1\"},{\"text\":\"b\",\"label\":\"2\"}]},\"answerKey\":\"2\"}\n"
        "\n"
        "{\"question\":\"Second?\",\"choices\":{\"text\":[\"c\",\"d\",\"e\"],\"label\":[\"X\","
        "\"Y\",\"Z\"]},\"answerKey\":\"Z\"}\r\n"
        "{\"question\":\"Third?\",\"choices\":[\"f\",\"g\"],\"answerKey\":\"A\"}\n"
        "{\"question\":\"Fourth?\",\"choices\":[\"f\",\"g\"],\"answerKey\":\"2\"}";
    static const char *const wanted[] = {"First?", "Second?", "Third?", "Fourth?"};
    static const size_t right[] = {1, 2, 0, 1}, n_choices[] = {2, 3, 2, 2};
    rill__quiz *quiz;
    rill_error err;
    must(rill__quiz_open(scratch_file("quiz.jsonl", text, sizeof text - 1), 0, &quiz, &err), &err);
    assert_int_equal(rill__quiz_count(quiz), 4);
    for (size_t i = 0; i < 4; i++) {
        const rill__quiz_item *item = rill__quiz_item_at(quiz, i);
        assert_string_equal(item->question, wanted[i]);
        assert_int_equal(item->right, right[i]);
        assert_int_equal(item->n_choices, n_choices[i]);
    }
    assert_string_equal(rill__quiz_item_at(quiz, 1)->choices[2], "e");
    rill__quiz_close(&quiz);
}

static void files_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"\n", "no question"},
        {"{\"choices\":[\"a\",\"b\"],\"answerKey\":\"A\"}", ":1: \"question\""},
        {"{\"question\":\"a?\",\"answerKey\":\"A\"}", ":1: \"choices\""},
        {"{\"question\":\"a?\",\"choices\":[\"a\"],\"answerKey\":\"A\"}", "2 to 26"},
        {"{\"question\":\"a?\",\"choices\":[\"a\",\"\"],\"answerKey\":\"A\"}", "no text"},
        {"{\"question\":\"a?\",\"choices\":[\"a\",\"b\"]}", ":1: \"answerKey\""},
        {"{\"question\":\"a?\",\"choices\":[\"a\",\"b\"],\"answerKey\":\"C\"}", "no choice"},
        {"{\"question\":\"a?\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",\"B\"]},"
         "\"answerKey\":\"1\"}",
         "no choice"},
        {"\n{\"question\"\n", "quiz.jsonl:2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rill__quiz *quiz;
        rill_error err;
        const char *path = scratch_file("quiz.jsonl", rows[i].text, strlen(rows[i].text));
        assert_int_equal(rill__quiz_open(path, 0, &quiz, &err), RILL_EFORMAT);
        if (!strstr(err.message, rows[i].words)) fail_msg("row %zu: %s", i, err.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_choice_is_scored_from_one_state),
        cmocka_unit_test(an_interrupted_one_goes_on),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(files_of_all_shapes),
        cmocka_unit_test(files_are_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
