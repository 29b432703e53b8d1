// SPDX-License-Identifier: MIT
// rill_convert when it cannot: the target is as it was, and nothing else lies beside it. And the
// vocabularies that go along: the model reads every text as before.
#include "failing_allocator.h"
#include "model/source.h"
#include "support/random_model.h"

#include "model_files.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

// Files of the scratch directory's folder "out".
static size_t count_files(void) {
    DIR *folder = opendir(scratch_path("out"));
    assert_non_null(folder);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(folder));)
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(folder);
    return n;
}

static int make_folder(void **state) {
    return scratch_make(state) || mkdir(scratch_path("out"), 0700);
}

// The target does not exist, or is the text that stood there.
static void check_untouched(const char *target, const char *text) {
    char *bytes;
    size_t size;
    rill_error err;
    if (!text) {
        assert_false(rill__file_exists(target));
        assert_int_equal(count_files(), 0);
        return;
    }
    assert_int_equal(rill__file_read(target, 1 << 16, &bytes, &size, &err), RILL_OK);
    assert_string_equal(bytes, text);
    rill__free(bytes);
    assert_int_equal(count_files(), 1);
}

typedef rill_status (*attempt_fn)(const char *target, rill_error *err);

// Without a target, and over one.
static void leaves_nothing(attempt_fn attempt, rill_status right, const char *word) {
    const char *target = scratch_path("out/model.gguf");
    for (int i = 0; i < 2; i++) {
        rill_error err = {0};
        const char *text = i ? "what was there" : NULL;
        if (text) scratch_text("out/model.gguf", text);
        rill_status status = attempt(target, &err);
        if (status != right || !strstr(err.message, word) || !strstr(err.message, target) ||
            strchr(err.message, '\n'))
            fail_msg("'%s' expected; status %d: %s", word, (int)status, err.message);
        check_untouched(target, text);
    }
    assert_int_equal(remove(target), 0);
}

static const char *source(void) {
    return test_data("golden", "qwen3");
}

// A file may not grow past 300 kB: as on a full disk, writing fails in the middle.
static rill_status with_little_room(const char *target, rill_error *err) {
    struct rlimit before, little;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = (struct rlimit){300000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    rill_status status =
        rill_convert(source(), target, &(rill_convert_options){.type = RILL_TYPE_F32}, NULL, NULL,
                     err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    return status;
}

typedef struct watch {
    uint64_t stop, done, total;
    unsigned calls;
} watch;

static bool look(void *user, uint64_t done, uint64_t total) {
    watch *w = user;
    assert_true(done >= w->done && done <= total);
    if (w->calls++) assert_int_equal(total, w->total);
    w->done = done;
    w->total = total;
    return done < w->stop;
}

static rill_status interrupted(const char *target, rill_error *err) {
    watch w = {.stop = 100000};
    return rill_convert(source(), target, &(rill_convert_options){.type = RILL_TYPE_F32}, look, &w,
                        err);
}

static rill_status of_another_type(const char *target, rill_error *err) {
    return rill_convert(source(), target, &(rill_convert_options){.type = (rill_type)99}, NULL,
                        NULL, err);
}

static void what_fails_leaves_nothing(void **state) {
    (void)state;
    leaves_nothing(with_little_room, RILL_EIO, "File too large");
    leaves_nothing(interrupted, RILL_EINTERRUPTED, "interrupted");
    leaves_nothing(of_another_type, RILL_EINVAL, "type number 99, mix 0: there is no such");
}

static void places_that_cannot_be_written_are_named(void **state) {
    (void)state;
    rill_error err = {0};
    const struct {
        const char *target, *word;
    } cases[] = {
        {"/dev/full", "No space left"},
        {scratch_path("nowhere/model.gguf"), "No such file"},
        {scratch_path("out"), "directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill_status status =
            rill_convert(source(), cases[i].target, &(rill_convert_options){.type = RILL_TYPE_Q8_0},
                         NULL, NULL, &err);
        if (status != RILL_EIO || !strstr(err.message, cases[i].word) ||
            !strstr(err.message, cases[i].target))
            fail_msg("'%s' expected; status %d: %s", cases[i].word, (int)status, err.message);
    }
    assert_int_equal(count_files(), 0);
}

static void broken_sources_leave_nothing(void **state) {
    (void)state;
    rill_error err;
    const char *target = scratch_path("out/model.gguf");
    const tensor_edit edit = {.name = "model.norm.weight", .drop = true};
    assert_int_equal(rill_convert(edited_model("llama", &edit), target,
                                  &(rill_convert_options){.type = RILL_TYPE_F16}, NULL, NULL, &err),
                     RILL_EFORMAT);
    check_untouched(target, NULL);
}

// A file is converted over itself: what is read stays mapped until the new one takes its name.
static void a_file_may_become_itself(void **state) {
    (void)state;
    rill_error err;
    watch w = {.stop = UINT64_MAX};
    char *path = rill__strdup(gguf_of("qwen3", RILL_TYPE_F32));
    assert_int_equal(rill_convert(path, path, &(rill_convert_options){.type = RILL_TYPE_F16}, look,
                                  &w, &err),
                     RILL_OK);
    assert_true(w.calls > 10);
    assert_int_equal(w.done, w.total);
    rill__model *m = open_model(path);
    assert_int_equal(m->weight_type, RILL_TYPE_F16);
    rill__model_close(&m);
    rill__free(path);
}

// ---- Vocabularies ---------------------------------------------------------------------------

// A small model with a tokenizer of tests/data/tokenizers beside it.
static const char *model_with_tokenizer(const char *file, uint32_t vocabulary) {
    static unsigned count;
    char name[32], command[1200];
    test_random r = {7};
    const random_shape shape = {.family = "llama",
                                .n_layers = 1,
                                .n_heads = 2,
                                .n_kv_heads = 1,
                                .head_dim = 16,
                                .hidden_size = 32,
                                .ffn_size = 32,
                                .vocab_size = vocabulary,
                                .trained_context = 64,
                                .tied = true};
    snprintf(name, sizeof name, "vocabulary-%u", count++);
    const char *path = scratch_path(name);
    assert_int_equal(mkdir(path, 0700), 0);
    random_model_write(&r, &shape, path);
    const char *ending = strrchr(file, '.');
    snprintf(command, sizeof command, "cp '%s' %s/tokenizer%s", test_data("tokenizers", file), path,
             ending);
    assert_int_equal(system(command), 0);
    return path;
}

static void same_tokens(const rill__model *a, const rill__model *b, const char *text, size_t n,
                        unsigned flags) {
    rill__tokens x = {0}, y = {0};
    rill_error err;
    assert_int_equal(rill__tokenizer_encode(a->tokenizer, text, n, flags, &x, &err), RILL_OK);
    assert_int_equal(rill__tokenizer_encode(b->tokenizer, text, n, flags, &y, &err), RILL_OK);
    if (x.n != y.n || (x.n > 0 && memcmp(x.ids, y.ids, x.n * sizeof *x.ids) != 0))
        fail_msg("'%.*s': %zu tokens, %zu before", (int)n, text, y.n, x.n);
    rill__tokens_deinit(&x);
    rill__tokens_deinit(&y);
}

static void vocabularies_go_along(void **state) {
    (void)state;
    static const struct {
        const char *file, *model;
    } cases[] = {{"bpe-gpt2.json", "gpt2"},  {"bpe-llama3.json", "gpt2"},
                 {"bpe-qwen2.json", "gpt2"}, {"bpe-falcon.json", "gpt2"},
                 {"bpe-neox.json", "gpt2"},  {"sp-bpe.model", "llama"},
                 {"sp-unigram.model", "t5"}};
    json_t *texts;
    rill_error err;
    assert_int_equal(rill__json_load(test_data("tokenizers", "texts.json"), 1 << 24, &texts, &err),
                     RILL_OK);
    assert_true(json_array_size(texts) > 200);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *from = model_with_tokenizer(cases[i].file, 710);
        const char *to = scratch_path("vocabulary.gguf");
        if (rill_convert(from, to, &(rill_convert_options){.type = RILL_TYPE_Q8_0}, NULL, NULL,
                         &err) != RILL_OK)
            fail_msg("%s: %s", cases[i].file, err.message);
        rill__model *before = open_model(from), *after = open_model(to);
        rill__gguf_string kind;
        assert_true(rill__gguf_text(&after->file.source->gguf, "tokenizer.ggml.model", &kind));
        assert_memory_equal(kind.data, cases[i].model, kind.length);
        // One entry a row of the embeddings, as llama.cpp wants it.
        const rill__gguf_value *tokens =
            rill__gguf_find(&after->file.source->gguf, "tokenizer.ggml.tokens");
        assert_int_equal(tokens->count, 710);
        // SentencePiece itself takes its control symbols in a text for text; readers of GGUF do
        // not.
        unsigned n_flags = strcmp(cases[i].model, "gpt2") == 0 ? 4 : 2;
        for (size_t t = 0; t < json_array_size(texts); t++) {
            const json_t *text = json_array_get(texts, t);
            for (unsigned flags = 0; flags < n_flags; flags++)
                same_tokens(before, after, json_string_value(text), json_string_length(text),
                            (flags & 1 ? RILL_TEXT_ADD_SPECIAL : 0) |
                                (flags & 2 ? RILL_TEXT_PARSE_SPECIAL : 0));
        }
        rill__model_close(&before);
        rill__model_close(&after);
    }
    json_decref(texts);
}

// ---- Memory ---------------------------------------------------------------------------------

typedef rill_status (*scenario_fn)(const char *path, rill_error *err);

static rill_status open_and_close(const char *path, rill_error *err) {
    rill_device_options options;
    rill_device *device;
    rill_model *model;
    rill_device_options_default(&options);
    options.threads = 1;
    options.exact = true;
    rill_status status = rill_device_open(&options, &device, err);
    if (status != RILL_OK) return status;
    status = rill_model_open(device, path, &model, err);
    if (status == RILL_OK) rill_model_close(&model);
    rill_device_close(&device);
    return status;
}

static rill_status convert(const char *path, rill_error *err) {
    return rill_convert(path, scratch_path("out/model.gguf"),
                        &(rill_convert_options){.type = RILL_TYPE_Q4_0}, NULL, NULL, err);
}

// Each allocation fails once, and each once together with all that follow.
static void fails_anywhere(scenario_fn scenario, const char *path) {
    uint64_t n = 1;
    for (bool fired = true; fired; n++) {
        for (int for_good = 0; for_good < 2; for_good++) {
            rill_error err = {0};
            failing_allocator_arm(n, for_good);
            rill_status status = scenario(path, &err);
            fired = failing_allocator_disarm();
            bool right = status == (fired ? RILL_ENOMEM : RILL_OK);
            if (!right || failing_allocator_live_blocks() != 0)
                fail_msg("%s: allocation %llu: status %d, %llu blocks: %s", path,
                         (unsigned long long)n, (int)status,
                         (unsigned long long)failing_allocator_live_blocks(), err.message);
            if (status != RILL_OK) assert_int_not_equal(err.message[0], '\0');
            if (status != RILL_OK) assert_int_equal(count_files(), 0);
            remove(scratch_path("out/model.gguf"));
        }
    }
    assert_true(n > 10);
}

// Byte-level BPE of a handful of tokens.
static const char tiny_tokenizer[] =
    "{\"added_tokens\": [{\"id\": 5, \"content\": \"<|end|>\", \"special\": true}],"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},"
    " \"decoder\": {\"type\": \"ByteLevel\"},"
    " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": "
    "4},"
    " \"merges\": [[\"a\", \"b\"], [\"ab\", \"c\"]]}}";

static const char *model_with_tiny_tokenizer(void) {
    const tensor_edit nothing = {0};
    char path[512];
    const char *directory = edited_model("phi3-longrope", &nothing);
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(tiny_tokenizer, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return directory;
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    char from[5][256];
    rill_error err;
    snprintf(from[0], sizeof *from, "%s", sharded_model("mistral-swa"));
    snprintf(from[1], sizeof *from, "%s", model_with_tiny_tokenizer());
    snprintf(from[2], sizeof *from, "%s/tiny.gguf", scratch_directory);
    snprintf(from[3], sizeof *from, "%s", model_with_tokenizer("sp-bpe.model", 700));
    snprintf(from[4], sizeof *from, "%s/pieces.gguf", scratch_directory);
    for (int i = 1; i < 4; i += 2)
        if (rill_convert(from[i], from[i + 1], &(rill_convert_options){.type = RILL_TYPE_F16}, NULL,
                         NULL, &err) != RILL_OK)
            fail_msg("%s", err.message);
    failing_allocator_install();
    for (int i = 0; i < 5; i++) {
        fails_anywhere(open_and_close, from[i]);
        fails_anywhere(convert, from[i]);
    }
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_leaves_nothing),
        cmocka_unit_test(places_that_cannot_be_written_are_named),
        cmocka_unit_test(broken_sources_leave_nothing),
        cmocka_unit_test(a_file_may_become_itself),
        cmocka_unit_test(vocabularies_go_along),
        cmocka_unit_test(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, make_folder, scratch_remove);
}
