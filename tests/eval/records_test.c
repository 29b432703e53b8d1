// SPDX-License-Identifier: MIT
// StreamEval's text: byte for byte the format of docs/streameval.md, the same from the same seed,
// and the same again when it was written to a file and read from it.
#include "eval/records.h"

#include "support/open.h"
#include "unit/scratch.h"

#include <inttypes.h>

static rill__records *make(uint64_t seed, uint64_t every, const uint32_t *distances, size_t n,
                           uint64_t n_records, uint64_t n_questions) {
    rill__records *r;
    rill_error err;
    const rill__records_options options = {.seed = seed,
                                           .first_line = 0,
                                           .every = every,
                                           .distances = distances,
                                           .n_distances = n,
                                           .n_records = n_records,
                                           .n_questions = n_questions};
    must(rill__records_make(&options, &r, &err), &err);
    return r;
}

static rill__item next(rill__records *r) {
    rill__item item;
    rill_error err;
    must(rill__records_next(r, &item, &err), &err);
    return item;
}

// All of the text, as a stream reads it; the caller's.
static char *whole(rill__records *r) {
    size_t n = 0, capacity = 1 << 20;
    char *text = calloc(1, capacity);
    assert_non_null(text);
    for (;;) {
        rill__item item = next(r);
        if (item.kind == RILL_ITEM_END) return text;
        n += (size_t)snprintf(text + n, capacity - n, "%s%s%s", item.text,
                              item.answer ? item.answer : "", item.end ? item.end : "");
        assert_true(n < capacity);
    }
}

static void the_format_is_fixed(void **state) {
    (void)state;
    const uint32_t distances[] = {2};
    rill__records *r;
    rill_error err;
    const rill__records_options options = {.seed = 1,
                                           .first_line = 1045,
                                           .every = 3,
                                           .distances = distances,
                                           .n_distances = 1,
                                           .n_questions = 2};
    must(rill__records_make(&options, &r, &err), &err);
    char *text = whole(r);
    assert_string_equal(text, "line 1045: REGISTER_CONTENT is <66592>\n"
                              "line 1046: REGISTER_CONTENT is <72157>\n"
                              "line 1047: REGISTER_CONTENT is <53658>\n"
                              "Question: what is the REGISTER_CONTENT in line 1045?\n"
                              "Answer: <66592>\n"
                              "line 1048: REGISTER_CONTENT is <64837>\n"
                              "line 1049: REGISTER_CONTENT is <14358>\n"
                              "line 1050: REGISTER_CONTENT is <59916>\n"
                              "Question: what is the REGISTER_CONTENT in line 1048?\n"
                              "Answer: <64837>\n");
    free(text);
    rill__records_close(&r);
}

static void seeds_make_texts(void **state) {
    (void)state;
    const uint32_t distances[] = {20};
    rill__records *a = make(7, 10, distances, 1, 0, 30), *b = make(7, 10, distances, 1, 0, 30);
    rill__records *c = make(8, 10, distances, 1, 0, 30);
    rill_error err;
    char *first = whole(a), *same = whole(b), *other = whole(c);
    assert_string_equal(first, same);
    assert_string_not_equal(first, other);
    must(rill__records_rewind(a, &err), &err);
    char *again = whole(a);
    assert_string_equal(first, again);
    free(first), free(same), free(other), free(again);
    rill__records_close(&a), rill__records_close(&b), rill__records_close(&c);
}

// Every question stands where it should and has the answer that its record has. Nothing is asked
// for twice: a question waits no longer than that takes.
static void check_questions(uint64_t seed, uint64_t every, const uint32_t *distances, size_t n) {
    rill__records *r = make(seed, every, distances, n, 0, 10 * n);
    uint64_t numbers[4096], contents[4096], n_records = 0, n_questions = 0, longest = 0, last = 0;
    bool was_asked[4096] = {false};
    for (size_t i = 0; i < n; i++) longest = distances[i] > longest ? distances[i] : longest;
    for (;;) {
        rill__item item = next(r);
        uint64_t asked;
        int length = 0;
        if (item.kind == RILL_ITEM_END) break;
        if (item.kind == RILL_ITEM_RECORD) {
            assert_int_equal(sscanf(item.text,
                                    "line %" SCNu64 ": REGISTER_CONTENT is <%5" SCNu64 ">\n%n",
                                    &numbers[n_records], &contents[n_records], &length),
                             2);
            assert_int_equal(item.text[length], 0);
            assert_in_range(contents[n_records], 10000, 99999);
            assert_true(n_records == 0 || numbers[n_records] == numbers[n_records - 1] + 1);
            assert_true(++n_records < 4096);
            continue;
        }
        uint64_t due = (longest / every + 1 + n_questions) * every;
        uint64_t distance = distances[n_questions++ % n], index = n_records - 1 - distance;
        assert_true(n_records > longest && n_records >= due);
        if (n_records > due && n_records > last) assert_true(was_asked[index - 1]);
        assert_false(was_asked[index]);
        was_asked[index] = true;
        last = n_records;
        assert_int_equal(item.distance, distance);
        assert_int_equal(sscanf(item.text,
                                "Question: what is the REGISTER_CONTENT in line %" SCNu64
                                "?\nAnswer: <%n",
                                &asked, &length),
                         1);
        assert_int_equal(item.text[length], 0);
        assert_int_equal(asked, numbers[n_records - 1] - distance);
        assert_int_equal(strtoull(item.answer, NULL, 10), contents[n_records - 1 - distance]);
        assert_string_equal(item.end, ">\n");
    }
    assert_int_equal(n_questions, 10 * n);
    assert_in_range(numbers[0], 10000, 99999);
    rill__records_close(&r);
}

static void questions_ask_for_the_right_record(void **state) {
    (void)state;
    const uint32_t twenty[] = {20}, several[] = {0, 1, 7, 40, 33}, tens[] = {1, 10, 20, 30, 40};
    check_questions(1, 10, twenty, 1);
    check_questions(2, 10, several, 5);
    check_questions(3, 1, several, 3);
    check_questions(4, 13, several, 4);
    check_questions(5, 10, tens, 5);
}

static void contents_differ(void **state) {
    (void)state;
    const uint32_t distances[] = {0};
    rill__records *r = make(5, 1000000, distances, 1, 2000, 0);
    static bool seen[100000];
    unsigned n_same = 0, content;
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(sscanf(next(r).text, "line %*u: REGISTER_CONTENT is <%u>", &content), 1);
        n_same += seen[content];
        seen[content] = true;
    }
    // 2000 of 90000 at random: some 22 were drawn before.
    assert_in_range(n_same, 5, 60);
    assert_int_equal(next(r).kind, RILL_ITEM_END);
    rill__records_close(&r);
}

static void files_say_the_same(void **state) {
    (void)state;
    const uint32_t distances[] = {3, 12};
    rill__records *made = make(11, 5, distances, 2, 0, 20), *read;
    rill__records_facts facts, same;
    rill_error err;
    const char *path = scratch_path("records.jsonl");
    must(rill__records_scan(made, NULL, &facts, &err), &err);
    must(rill__records_write(made, path, &err), &err);
    must(rill__records_open(path, &read, &err), &err);
    must(rill__records_scan(read, NULL, &same, &err), &err);
    assert_int_equal(facts.n_records, same.n_records);
    assert_int_equal(facts.n_questions, 40 / 2);
    assert_int_equal(facts.n_questions, same.n_questions);
    assert_int_equal(facts.hash, same.hash);
    for (;;) {
        rill__item a = next(made), b = next(read);
        assert_int_equal(a.kind, b.kind);
        if (a.kind == RILL_ITEM_END) break;
        assert_string_equal(a.text, b.text);
        assert_int_equal(a.distance, b.distance);
        if (a.kind != RILL_ITEM_QUESTION) continue;
        assert_string_equal(a.answer, b.answer);
        assert_string_equal(a.end, b.end);
    }
    rill__records_close(&made);
    rill__records_close(&read);
}

static void files_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "no question"},
        {"{\"text\": \"a\\nb\\n\"}\n", "no question"},
        {"{\"text\": \"a\\n\"}\n\n{\"question\": \"b?\", \"end\": \">\", \"distance\": 0}\n",
         ":3: \"answer\""},
        {"{\"text\": \"a\\n\"}\n{\"question\": \"b?\", \"answer\": \"1\", \"distance\": 0}\n",
         ":2: \"end\""},
        {"{\"text\": \"a\\n\"}\n{\"question\": \"b?\", \"answer\": \"1\", \"end\": \">\"}\n",
         ":2: \"distance\""},
        {"{\"text\": \"a\\nb\\n\"}\n{\"question\": \"b?\", \"answer\": \"1\", \"end\": \">\", "
         "\"distance\": 2}\n",
         "below that of the records"},
        {"{\"text\": \"\"}\n", "not empty"},
        {"{\"text\": \"a\", \"question\": \"b\"}\n", "one of \"text\" and \"question\""},
        {"{\"record\": \"a\"}\n", "one of \"text\" and \"question\""},
        {"{\"text\": \"a\\n\"\n", ":1"},
        {"[1]\n", "one of \"text\" and \"question\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rill__records *r;
        rill__records_facts facts;
        rill_error err;
        const char *path = scratch_file("bad.jsonl", rows[i].text, strlen(rows[i].text));
        must(rill__records_open(path, &r, &err), &err);
        assert_int_equal(rill__records_scan(r, NULL, &facts, &err), RILL_EFORMAT);
        if (!strstr(err.message, rows[i].words) || !strstr(err.message, "bad.jsonl"))
            fail_msg("row %zu: %s", i, err.message);
        rill__records_close(&r);
    }
    rill__records *r;
    rill_error err;
    assert_int_equal(rill__records_open(scratch_path("none"), &r, &err), RILL_EIO);
}

static void too_few_lines_are_refused(void **state) {
    (void)state;
    const uint32_t distances[] = {20};
    rill__records *r = make(1, 10, distances, 1, 29, 0);
    rill__records_facts facts;
    rill_error err;
    assert_int_equal(rill__records_scan(r, NULL, &facts, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "the first comes after 30"));
    rill__records_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_format_is_fixed),
        cmocka_unit_test(seeds_make_texts),
        cmocka_unit_test(questions_ask_for_the_right_record),
        cmocka_unit_test(contents_differ),
        cmocka_unit_test(files_say_the_same),
        cmocka_unit_test(files_are_checked),
        cmocka_unit_test(too_few_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
