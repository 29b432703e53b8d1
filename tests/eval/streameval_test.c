// SPDX-License-Identifier: MIT
// StreamEval on a stream: answers that the model would give are right and others are not, what it
// can see is what the stream says, and an interrupted measurement goes on as if nothing had
// happened.
#include "eval/streameval.h"

#include "base/file.h"

#include "support/open.h"
#include "unit/scratch.h"

#include <math.h>

enum { SINKS = 4, WINDOW = 92, QUESTIONS = 4, ASKED = 8, MAX_TOKENS = 8192 };

static rill_model *model;

static int setup(void **state) {
    if (scratch_make(state) != 0) return -1;
    model = test_model(test_shipped_model(), &(rill_device_options){.threads = 1});
    return 0;
}

static int teardown(void **state) {
    rill_model_close(&model);
    return scratch_remove(state);
}

static rill_stream_options options_of(rill_method method) {
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.method = method;
    o.window = WINDOW;
    if (method == RILL_METHOD_STREAMING) o.sinks = SINKS;
    return o;
}

static rill_stream *open_stream(const rill_stream_options *o) {
    rill_stream *stream;
    rill_error err;
    must(rill_stream_open(model, o, &stream, &err), &err);
    return stream;
}

// ---- Right and wrong ------------------------------------------------------------------------

// What the model says after the text, n tokens, and the next token. Feeds them.
static void continue_text(const char *text, const rill_stream_options *o, size_t n,
                          rill_token said[8]) {
    rill_stream *stream = open_stream(o);
    rill_token *tokens;
    size_t n_tokens;
    const float *logits;
    rill_model_info info;
    rill_error err;
    rill_model_get_info(model, &info);
    must(rill_encode(model, text, strlen(text), RILL_TEXT_ADD_SPECIAL, &tokens, &n_tokens, &err),
         &err);
    must(rill_stream_feed(stream, tokens, n_tokens, NULL, &err), &err);
    rill_tokens_free(tokens);
    for (size_t i = 0; i <= n; i++) {
        must(rill_stream_logits(stream, &logits, &err), &err);
        said[i] = 0;
        for (uint32_t j = 1; j < info.vocab_size; j++)
            if (logits[j] > logits[said[i]]) said[i] = (rill_token)j;
        must(rill_stream_feed(stream, &said[i], 1, NULL, &err), &err);
    }
    rill_stream_close(&stream);
}

// The same as text; false unless its tokens are what the text encodes to.
static bool greedy(const char *text, const rill_stream_options *o, size_t n, char *out,
                   size_t capacity, char *after) {
    rill_token *tokens, said[8];
    size_t n_tokens, length;
    rill_error err;
    char *words;
    continue_text(text, o, n, said);
    must(rill_decode(model, &said[n], 1, &words, &length, &err), &err);
    after[0] = words[0], after[1] = 0;
    rill_text_free(words);
    must(rill_decode(model, said, n, &words, &length, &err), &err);
    assert_true(length < capacity);
    memcpy(out, words, length + 1);
    rill_text_free(words);
    must(rill_encode(model, out, length, RILL_TEXT_CONTINUES, &tokens, &n_tokens, &err), &err);
    bool same = n_tokens == n && !memcmp(tokens, said, n * sizeof *said);
    rill_tokens_free(tokens);
    return same;
}

// Questions of a story, the model's own words the answer to some: a text, and which are right.
static const char *write_story(const rill_stream_options *o, bool right[QUESTIONS]) {
    static char text[1 << 16], file[1 << 17];
    size_t n = 0, f = 0;
    const char *path = scratch_path("story.jsonl");
    int made = 0;
    text[0] = file[0] = 0;
    for (int i = 0; made < QUESTIONS; i++) {
        char record[128], question[128], answer[256], after[2];
        assert_true(i < 200);
        snprintf(record, sizeof record, "The old man went to the house number %d.", i * 37);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", record);
        f += (size_t)snprintf(file + f, sizeof file - f, "{\"text\":\"%s\\n\"}\n", record);
        snprintf(question, sizeof question, "And the %s said:",
                 i % 3 == 0   ? "woman"
                 : i % 3 == 1 ? "captain"
                              : "boy");
        size_t saved = n;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", question);
        if (!greedy(text, o, 2 + (size_t)made % 3, answer, sizeof answer, after) ||
            (unsigned char)after[0] <= ' ' || strchr(answer, '\n') || strchr(answer, '"') ||
            strchr(answer, '\\') || after[0] == '"' || after[0] == '\\') {
            n = saved;  // no words of which a file can be made
            text[n] = 0;
            continue;
        }
        // Every third question has another answer, every third another end.
        right[made] = made % 3 == 0;
        if (made % 3 == 1) strcpy(answer, " nobody knew");
        if (made % 3 == 2) after[0] = after[0] == '#' ? '%' : '#';
        f += (size_t)snprintf(file + f, sizeof file - f,
                              "{\"question\":\"%s\",\"answer\":\"%s\",\"end\":\"%s\\n\","
                              "\"distance\":0}\n",
                              question, answer, after);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s\n", answer, after);
        made++;
    }
    scratch_file("story.jsonl", file, f);
    return path;
}

static void answers_are_what_the_model_would_write(void **state) {
    (void)state;
    bool right[QUESTIONS];
    rill_stream_options o = options_of(RILL_METHOD_STREAMING);
    rill__records *records;
    rill__streameval result;
    rill_error err;
    must(rill__records_open(write_story(&o, right), &records, &err), &err);
    must(rill__streameval_measure(model, &o, records, &(rill__job){0}, &result, &err), &err);
    assert_int_equal(result.n_answers, QUESTIONS);
    for (int i = 0; i < QUESTIONS; i++) {
        const rill__answer *a = &result.answers[i];
        if (a->right != right[i]) fail_msg("question %d: %u", i, a->right);
        // A wrong end alone leaves every character right.
        if (i % 3 != 1) assert_int_equal(a->n_matching, a->n_characters);
        assert_true(a->n_matching <= a->n_characters);
    }
    rill__streameval_deinit(&result);
    rill__records_close(&records);
}

// The shipped model with another token for the end of a text, in a file of its own.
static rill_model *with_end_token(rill_token end) {
    static const char key[] = "tokenizer.ggml.eos_token_id";
    char *bytes, *at;
    size_t length;
    rill_error err;
    uint32_t value = (uint32_t)end;
    must(rill__file_read(test_shipped_model(), SIZE_MAX / 2, &bytes, &length, &err), &err);
    at = memmem(bytes, length, key, sizeof key - 1);
    assert_non_null(at);
    memcpy(at + sizeof key - 1 + 4, &value, 4);  // behind the type of the value
    const char *path = scratch_file("ends.gguf", bytes, length);
    rill__free(bytes);
    return test_model(path, &(rill_device_options){.threads = 1});
}

// An answer behind which the model ends its text is as right as one that ends as the text goes on.
static void an_answer_may_end_the_text(void **state) {
    (void)state;
    static const char record[] = "The old man went to the house.\n";
    char text[512], question[64], answer[256], after[2];
    rill_token said[8];
    rill_stream_options o = options_of(RILL_METHOD_STREAMING);
    rill__records *records;
    rill__streameval result;
    rill_error err;
    for (int i = 0, found = 0; !found; i++) {
        assert_true(i < 200);
        snprintf(question, sizeof question, "And number %d said:", i);
        snprintf(text, sizeof text, "%s%s", record, question);
        found = greedy(text, &o, 2, answer, sizeof answer, after) && !strpbrk(answer, "\n\"\\");
    }
    continue_text(text, &o, 2, said);
    snprintf(text, sizeof text,
             "{\"text\":\"%.*s\\n\"}\n{\"question\":\"%s\",\"answer\":\"%s\",\"end\":\"#\\n\","
             "\"distance\":0}\n",
             (int)strlen(record) - 1, record, question, answer);
    for (uint32_t ends = 0; ends < 2; ends++) {
        rill_model *other = ends ? with_end_token(said[2]) : model;
        must(rill__records_open(scratch_text("end.jsonl", text), &records, &err), &err);
        must(rill__streameval_measure(other, &o, records, &(rill__job){0}, &result, &err), &err);
        assert_int_equal(result.n_answers, 1);
        assert_int_equal(result.answers[0].n_matching, result.answers[0].n_characters);
        assert_int_equal(result.answers[0].right, ends);
        rill__streameval_deinit(&result);
        rill__records_close(&records);
        if (ends) rill_model_close(&other);
    }
}

// ---- What can be seen -----------------------------------------------------------------------

static rill__records *make_records(uint32_t n_questions) {
    static const uint32_t distances[] = {0, 1, 2, 3, 4, 9};
    rill__records *r;
    rill_error err;
    const rill__records_options options = {.seed = 3,
                                           .every = 2,
                                           .distances = distances,
                                           .n_distances = 6,
                                           .n_questions = n_questions};
    must(rill__records_make(&options, &r, &err), &err);
    return r;
}

// The whole text's tokens at once, and where the records and answers are in them.
typedef struct layout {
    rill_token *tokens;
    size_t n;
    size_t starts[256], ends[256];  // of records
    size_t asked_at[64], answered_at[64], record[64];
    size_t n_records, n_questions;
} layout;

static size_t count(const char *text) {
    rill_token *tokens;
    size_t n;
    rill_error err;
    must(rill_encode(model, text, strlen(text), RILL_TEXT_ADD_SPECIAL, &tokens, &n, &err), &err);
    rill_tokens_free(tokens);
    return n;
}

static void lay_out(rill__records *records, layout *l) {
    static char text[1 << 16];
    size_t n = 0;
    rill_error err;
    *l = (layout){0};
    for (;;) {
        rill__item item;
        must(rill__records_next(records, &item, &err), &err);
        if (item.kind == RILL_ITEM_END) break;
        if (item.kind == RILL_ITEM_RECORD) l->starts[l->n_records] = n ? count(text) : 1;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", item.text);
        if (item.kind == RILL_ITEM_RECORD) {
            l->ends[l->n_records++] = count(text);
            continue;
        }
        l->asked_at[l->n_questions] = count(text);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", item.answer);
        l->answered_at[l->n_questions] = count(text);
        l->record[l->n_questions++] = l->n_records - 1 - item.distance;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", item.end);
    }
    must(rill_encode(model, text, n, RILL_TEXT_ADD_SPECIAL, &l->tokens, &l->n, &err), &err);
    must(rill__records_rewind(records, &err), &err);
}

// Tokens of a record among those that the stream says are visible.
static size_t in_sight(const rill_stream *stream, const layout *l, size_t record) {
    static rill_token seen[MAX_TOKENS];
    rill_stream_report r;
    rill_stream_get_report(stream, &r);
    size_t held = rill_stream_visible(stream, seen, MAX_TOKENS), n = 0;
    size_t sinks = r.sinks < held ? r.sinks : held, after = (size_t)r.seen - (held - sinks);
    assert_memory_equal(seen, l->tokens, sinks * sizeof *seen);
    assert_memory_equal(seen + sinks, l->tokens + after, (held - sinks) * sizeof *seen);
    for (size_t t = l->starts[record]; t < l->ends[record]; t++) n += t < sinks || t >= after;
    return n;
}

static void check_sight(rill_method method, uint32_t window, const layout *l,
                        rill__records *records) {
    rill_stream_options o = options_of(method);
    rill__streameval result;
    rill_error err;
    unsigned kinds[3] = {0};
    o.window = window;
    o.over_context = true;
    must(rill__streameval_measure(model, &o, records, &(rill__job){0}, &result, &err), &err);
    must(rill__records_rewind(records, &err), &err);
    assert_int_equal(result.n_answers, l->n_questions);
    rill_stream *stream = open_stream(&o);
    size_t fed = 0;
    for (size_t i = 0; i < l->n_questions; i++) {
        const rill__answer *a = &result.answers[i];
        size_t record = l->record[i];
        assert_int_equal(a->place, l->asked_at[i]);
        assert_int_equal(a->record, l->ends[record] - l->starts[record]);
        assert_int_equal(a->back, l->asked_at[i] - l->starts[record]);
        must(rill_stream_feed(stream, l->tokens + fed, l->asked_at[i] - fed, NULL, &err), &err);
        assert_int_equal(a->visible_first, in_sight(stream, l, record));
        fed = l->answered_at[i];
        must(rill_stream_feed(stream, l->tokens + l->asked_at[i], fed - l->asked_at[i], NULL, &err),
             &err);
        assert_int_equal(a->visible_last, in_sight(stream, l, record));
        kinds[rill__answer_visibility(a)]++;
    }
    assert_true(kinds[RILL_VISIBLE_WHOLLY] > 0);
    assert_int_equal(kinds[RILL_VISIBLE_NOT] > 0, method != RILL_METHOD_DENSE);
    rill_stream_close(&stream);
    rill__streameval_deinit(&result);
}

static void what_is_seen_is_what_the_stream_says(void **state) {
    (void)state;
    layout l;
    rill__records *records = make_records(ASKED);
    lay_out(records, &l);
    uint64_t n;
    rill_error err;
    must(rill__streameval_tokens(model, records, NULL, &n, &err), &err);
    assert_int_equal(n, l.n);
    check_sight(RILL_METHOD_STREAMING, WINDOW, &l, records);
    check_sight(RILL_METHOD_WINDOW, WINDOW + 31, &l, records);
    check_sight(RILL_METHOD_RECOMPUTE, WINDOW, &l, records);
    check_sight(RILL_METHOD_DENSE, MAX_TOKENS, &l, records);
    rill_tokens_free(l.tokens);
    rill__records_close(&records);
}

// ---- Going on -------------------------------------------------------------------------------

static bool until_five(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_int_equal(total, ASKED);
    return done != 5;
}

static void an_interrupted_one_goes_on(void **state) {
    (void)state;
    rill_stream_options o = options_of(RILL_METHOD_STREAMING);
    rill__records *records = make_records(ASKED);
    rill__streameval straight, halves;
    rill__journal *journal;
    rill_error err;
    must(rill__streameval_measure(model, &o, records, &(rill__job){0}, &straight, &err), &err);
    must(rill__journal_open(scratch_path("journal"), &journal, &err), &err);
    for (int run = 0; run < 3; run++) {
        must(rill__records_rewind(records, &err), &err);
        rill__job job = {.progress = run == 0 ? until_five : NULL};
        must(rill__journal_case(journal, "case", "text", sizeof(rill__answer), &job.journal, &err),
             &err);
        assert_int_equal(rill__case_finished(job.journal), run == 2);
        rill_status status = rill__streameval_measure(model, &o, records, &job, &halves, &err);
        rill__case_close(&job.journal);
        assert_int_equal(status, run == 0 ? RILL_EINTERRUPTED : RILL_OK);
        assert_int_equal(halves.n_answers, run == 0 ? 5 : ASKED);
        assert_memory_equal(halves.answers, straight.answers,
                            halves.n_answers * sizeof *halves.answers);
        rill__streameval_deinit(&halves);
    }
    rill__journal_close(&journal);
    rill__streameval_deinit(&straight);
    rill__records_close(&records);
}

static void a_full_dense_stream_ends(void **state) {
    (void)state;
    rill_stream_options o = options_of(RILL_METHOD_DENSE);
    rill__records *records = make_records(ASKED);
    rill__streameval result;
    rill_error err;
    o.window = 500;
    assert_int_equal(rill__streameval_measure(model, &o, records, &(rill__job){0}, &result, &err),
                     RILL_ECONTEXT);
    assert_true(result.n_answers > 0 && result.n_answers < ASKED);
    assert_true(result.answers[result.n_answers - 1].place <= 500);
    rill__streameval_deinit(&result);
    rill__records_close(&records);
}

// ---- A model that knows the format ----------------------------------------------------------

static void a_trained_model_knows_what_it_sees(void **state) {
    (void)state;
    char path[512];
    const char *shared = getenv("RILL_SHARED");
    if (!shared) skip();
    snprintf(path, sizeof path, "%s/models/streameval", shared);
    rill_model *trained = test_model(path, &(rill_device_options){.threads = 2});
    static const uint32_t distances[] = {1, 10, 25};
    const rill__records_options made = {
        .seed = 5, .every = 10, .distances = distances, .n_distances = 3, .n_questions = 60};
    rill__accuracy sums[3] = {{0}};
    rill__records *records;
    rill__streameval result;
    rill_stream_options o;
    rill_error err;
    rill_stream_options_default(&o);
    o.sinks = 4;
    o.window = 508;
    must(rill__records_make(&made, &records, &err), &err);
    must(rill__streameval_measure(trained, &o, records, &(rill__job){0}, &result, &err), &err);
    for (size_t i = 0; i < result.n_answers; i++)
        rill__accuracy_add(&sums[rill__answer_visibility(&result.answers[i])], &result.answers[i]);
    assert_int_equal(sums[RILL_VISIBLE_WHOLLY].n, 40);
    assert_int_equal(sums[RILL_VISIBLE_NOT].n, 20);
    assert_true(rill__accuracy_exact(&sums[RILL_VISIBLE_WHOLLY]) >= 0.95);
    assert_int_equal(sums[RILL_VISIBLE_NOT].right, 0);
    // One digit in ten is right by chance: 100 of them within five deviations.
    assert_true(rill__accuracy_characters(&sums[RILL_VISIBLE_NOT]) < 0.25);
    rill__streameval_deinit(&result);
    rill__records_close(&records);
    rill_model_close(&trained);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_what_the_model_would_write),
        cmocka_unit_test(an_answer_may_end_the_text),
        cmocka_unit_test(what_is_seen_is_what_the_stream_says),
        cmocka_unit_test(an_interrupted_one_goes_on),
        cmocka_unit_test(a_full_dense_stream_ends),
        cmocka_unit_test(a_trained_model_knows_what_it_sees),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
