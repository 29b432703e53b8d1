// SPDX-License-Identifier: MIT
// Snapshots: a loaded stream continues bit for bit from any point, for every method and cache type;
// damaged, foreign and cut files are refused, and a failed save leaves the file before it.
#include "rill/rill.h"

#include "support/golden.h"
#include "support/open.h"
#include "support/random_model.h"
#include "support/snapshot_file.h"
#include "support/tensors.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { VOCAB = GOLDEN_VOCABULARY };

static rill_model *model, *other_model;  // "llama" and "qwen3"

static int open_models(void **state) {
    (void)state;
    const rill_device_options options = {.threads = 2};
    model = test_model(golden_directory("llama"), &options);
    other_model = test_model(golden_directory("qwen3"), &options);
    return 0;
}

static int close_models(void **state) {
    (void)state;
    rill_model_close(&model);
    rill_model_close(&other_model);
    test_directory_remove();
    return 0;
}

static const char *snapshot_path(void) {
    static char path[300];
    snprintf(path, sizeof path, "%s/stream.rill", test_directory());
    return path;
}

// Writes n tokens by sampling.
static void write_tokens(rill_stream *s, rill_token *out, size_t n) {
    rill_error err;
    for (size_t i = 0; i < n; i++) {
        must(rill_stream_sample(s, &out[i], &err), &err);
        must(rill_stream_feed(s, &out[i], 1, NULL, &err), &err);
    }
}

static void random_options(test_random *r, rill_stream_options *o) {
    static const rill_type types[] = {RILL_TYPE_F32, RILL_TYPE_F16, RILL_TYPE_BF16, RILL_TYPE_Q8_0,
                                      RILL_TYPE_Q4_0};
    rill_stream_options_default(o);
    o->method = (rill_method)test_random_between(r, 0, 3);
    o->sinks = o->method == RILL_METHOD_STREAMING ? test_random_between(r, 0, 6) : RILL_SINKS_AUTO;
    o->window = o->method == RILL_METHOD_DENSE ? 128 : test_random_between(r, 20, 60);
    o->evict = (rill_evict)test_random_between(r, 0, 1);
    o->chunk = test_random_between(r, 1, 40);
    o->start = test_random_next(r) >> 8;
    o->default_types = false;
    o->key_type = types[test_random_between(r, 0, 4)];
    o->value_type = types[test_random_between(r, 0, 4)];
    o->over_context = true;
}

static void expect_same_report(const rill_stream *a, const rill_stream *b) {
    rill_stream_report x, y;
    rill_stream_get_report(a, &x);
    rill_stream_get_report(b, &y);
    assert_int_equal(x.seen, y.seen);
    assert_int_equal(x.held, y.held);
    assert_int_equal(x.evictions, y.evictions);
    assert_int_equal(x.messages_seen, y.messages_seen);
    assert_int_equal(x.messages_held, y.messages_held);
    assert_int_equal(x.sinks, y.sinks);
    assert_int_equal(x.window, y.window);
    assert_int_equal(x.bytes.total, y.bytes.total);
}

// Saves, goes on, and has a loaded stream go on from the same point.
static void expect_the_same_again(rill_model *m, rill_stream *s) {
    rill_error err;
    rill_token after[24], again[24];
    must(rill_stream_save(s, snapshot_path(), &err), &err);
    write_tokens(s, after, 24);
    rill_stream *loaded;
    must(rill_stream_load(m, snapshot_path(), &loaded, &err), &err);
    write_tokens(loaded, again, 24);
    assert_memory_equal(after, again, sizeof after);
    const float *a, *b;
    must(rill_stream_logits(s, &a, &err), &err);
    must(rill_stream_logits(loaded, &b, &err), &err);
    assert_memory_equal(a, b, VOCAB * sizeof *a);
    expect_same_report(s, loaded);
    rill_stream_close(&loaded);
}

// On the family that is the state.
static void loaded_stream_continues_bit_for_bit(void **state) {
    rill_model *m = test_model(golden_directory(*state), &(rill_device_options){.threads = 2});
    test_random r = {test_seed()};
    for (int round = 0; round < 16; round++) {
        rill_error err;
        rill_stream_options o;
        random_options(&r, &o);
        rill_stream *s;
        must(rill_stream_open(m, &o, &s, &err), &err);
        rill_sampling sampling;
        rill_sampling_default(&sampling);
        const rill_logit_bias bias = {5, 1.0f};
        sampling.repetition_penalty = 1.2f;
        sampling.seed = test_random_next(&r);
        sampling.bias = &bias;
        sampling.n_bias = 1;
        must(rill_stream_set_sampling(s, &sampling, &err), &err);

        uint32_t n = test_random_between(&r, 1, 90);
        for (uint32_t i = 0; i < n; i++) {
            rill_token token = (rill_token)test_random_between(&r, 0, VOCAB - 1);
            if (test_random_between(&r, 0, 9) == 0) rill_stream_begin_message(s);
            must(rill_stream_feed(s, &token, 1, NULL, &err), &err);
            if (i == 3 && test_random_between(&r, 0, 1)) must(rill_stream_pin(s, &err), &err);
        }
        expect_the_same_again(m, s);
        rill_stream_close(&s);
    }
    rill_model_close(&m);
}

// RILL_ENDLESS_TOKENS makes it longer.
static void the_same_after_a_million_evictions(void **state) {
    (void)state;
    enum { BLOCK = 5000 };
    const char *wanted = getenv("RILL_ENDLESS_TOKENS");
    uint64_t n = wanted ? strtoull(wanted, NULL, 10) : 1000 * 1000 + 1000;
    rill_error err;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.sinks = 2;
    o.window = 14;
    o.chunk = 500;
    rill_stream *s;
    must(rill_stream_open(model, &o, &s, &err), &err);
    test_random r = {test_seed()};
    rill_token *tokens = calloc(BLOCK, sizeof *tokens);
    for (uint64_t done = 0; done < n; done += BLOCK) {
        for (int i = 0; i < BLOCK; i++)
            tokens[i] = (rill_token)test_random_between(&r, 0, VOCAB - 1);
        must(rill_stream_feed(s, tokens, BLOCK, NULL, &err), &err);
    }
    expect_the_same_again(model, s);
    rill_stream_report report;
    rill_stream_get_report(s, &report);
    assert_true(report.evictions >= n - 16);
    print_message("%llu evictions\n", (unsigned long long)report.evictions);
    free(tokens);
    rill_stream_close(&s);
}

static void save_one(void) {
    rill_error err;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.window = 12;
    rill_stream *s;
    must(rill_stream_open(model, &o, &s, &err), &err);
    rill_token tokens[40] = {1, 2, 3, 4, 5};
    must(rill_stream_feed(s, tokens, 40, NULL, &err), &err);
    must(rill_stream_save(s, snapshot_path(), &err), &err);
    rill_stream_close(&s);
}

static void damaged_files_are_refused(void **state) {
    (void)state;
    save_one();
    size_t size;
    char *bytes = snapshot_read(snapshot_path(), &size);
    test_random r = {test_seed()};
    rill_error err;
    rill_stream *s = NULL;
    for (int i = 0; i < 200; i++) {
        size_t at = test_random_next(&r) % size;
        char flip = (char)(1 << test_random_between(&r, 0, 7));
        bytes[at] ^= flip;
        snapshot_write(snapshot_path(), bytes, size);
        assert_int_equal(rill_stream_load(model, snapshot_path(), &s, &err), RILL_EFORMAT);
        bytes[at] ^= flip;
    }
    for (int i = 0; i < 200; i++) {
        snapshot_write(snapshot_path(), bytes, test_random_next(&r) % size);
        assert_int_equal(rill_stream_load(model, snapshot_path(), &s, &err), RILL_EFORMAT);
    }
    assert_null(s);
    free(bytes);
}

// A stream of capacity 8 that has read n tokens, every one of them the first of a message; and
// another message begins.
static void save_short_messages(int n) {
    rill_error err;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.sinks = 0;
    o.window = 8;
    rill_stream *s;
    must(rill_stream_open(model, &o, &s, &err), &err);
    for (rill_token token = 0; token < n; token++) {
        rill_stream_begin_message(s);
        must(rill_stream_feed(s, &token, 1, NULL, &err), &err);
    }
    rill_stream_begin_message(s);
    must(rill_stream_save(s, snapshot_path(), &err), &err);
    rill_stream_close(&s);
}

// As many messages as fit, and one more that just begins.
static void the_most_messages_are_loaded(void **state) {
    (void)state;
    for (int n = 7; n < 20; n++) {
        rill_error err;
        rill_stream *s;
        save_short_messages(n);
        must(rill_stream_load(model, snapshot_path(), &s, &err), &err);
        rill_token token = 3;
        must(rill_stream_feed(s, &token, 1, NULL, &err), &err);
        rill_stream_begin_message(s);
        rill_stream_report report;
        rill_stream_get_report(s, &report);
        assert_int_equal(report.messages_held, report.held + 1);
        rill_stream_close(&s);
    }
}

// An allocator of pieces with pages of their own, a page in front for the size, which can be made
// read-only.
enum { PAGE = 4096, MOST_PIECES = 256 };
static char *pieces[MOST_PIECES];

static size_t *piece_bytes(void *memory) {
    return (size_t *)(void *)((char *)memory - PAGE);
}

static void *page_alloc(void *user, size_t bytes) {
    (void)user;
    char *start =
        mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int free_place = 0;
    while (pieces[free_place]) free_place++;
    if (start == MAP_FAILED || free_place >= MOST_PIECES - 1) abort();
    pieces[free_place] = start + PAGE;
    *piece_bytes(start + PAGE) = bytes;
    return start + PAGE;
}

static void page_release(void *user, void *memory) {
    (void)user;
    for (int i = 0; memory && i < MOST_PIECES; i++) {
        if (pieces[i] != memory) continue;
        pieces[i] = NULL;
        munmap(piece_bytes(memory), *piece_bytes(memory) + PAGE);
        return;
    }
}

static void *page_resize(void *user, void *old, size_t bytes) {
    char *memory = page_alloc(user, bytes);
    if (old) memcpy(memory, old, bytes < *piece_bytes(old) ? bytes : *piece_bytes(old));
    page_release(user, old);
    return memory;
}

static void protect_pieces(int protection) {
    for (int i = 0; i < MOST_PIECES; i++)
        if (pieces[i])
            assert_int_equal(mprotect(pieces[i], *piece_bytes(pieces[i]), protection), 0);
}

// The stream is const to a save, so that several threads may save it at once: all its memory is
// read-only meanwhile.
static void saving_writes_nothing_into_the_stream(void **state) {
    (void)state;
    static const rill_allocator own_pages = {page_alloc, page_resize, page_release, NULL};
    for (int method = 0; method < 4; method++) {
        rill_error err;
        rill_stream_options o;
        rill_stream_options_default(&o);
        o.method = (rill_method)method;
        o.window = 24;
        rill_stream *s;
        must(rill_stream_open(model, &o, &s, &err), &err);  // the device's own memory grows here
        rill_stream_close(&s);
        rill_allocator_replace(&own_pages);
        must(rill_stream_open(model, &o, &s, &err), &err);
        rill_sampling sampling;
        rill_sampling_default(&sampling);
        const rill_logit_bias bias = {5, 1.0f};
        sampling.bias = &bias;
        sampling.n_bias = 1;
        must(rill_stream_set_sampling(s, &sampling, &err), &err);
        for (rill_token token = 0; token < (method == RILL_METHOD_DENSE ? 20 : 40); token++) {
            if (token % 4 == 0) rill_stream_begin_message(s);
            must(rill_stream_feed(s, &token, 1, NULL, &err), &err);
        }
        protect_pieces(PROT_READ);
        rill_status status = rill_stream_save(s, snapshot_path(), &err);
        protect_pieces(PROT_READ | PROT_WRITE);
        rill_stream_close(&s);
        rill_allocator_replace(NULL);
        must(status, &err);
        must(rill_stream_load(model, snapshot_path(), &s, &err), &err);
        rill_stream_close(&s);
    }
}

static void foreign_files_are_refused_with_the_reason(void **state) {
    (void)state;
    save_one();
    rill_error err;
    rill_stream *s = NULL;
    assert_int_equal(rill_stream_load(other_model, snapshot_path(), &s, &err), RILL_EMISMATCH);
    assert_non_null(strstr(err.message, "another model"));
    assert_int_equal(rill_stream_load(model, test_data("golden/llama/config.json"), &s, &err),
                     RILL_EFORMAT);
    assert_int_equal(rill_stream_load(model, "/nowhere/at/all", &s, &err), RILL_EIO);
    assert_null(s);
}

static int files_in_directory(void) {
    DIR *directory = opendir(test_directory());
    assert_non_null(directory);
    int n = 0;
    while (readdir(directory)) n++;
    closedir(directory);
    return n;
}

// Saves over the snapshot where files may have `most` bytes. Returns the status.
static rill_status save_with_limit(const rill_stream *s, rlim_t most, rill_error *err) {
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = most, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rill_status status = rill_stream_save(s, snapshot_path(), err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    return status;
}

static void failed_save_keeps_the_file_before(void **state) {
    (void)state;
    save_one();
    size_t size, size_after;
    char *before = snapshot_read(snapshot_path(), &size);
    int n_files = files_in_directory();
    rill_error err;
    rill_stream *s;
    must(rill_stream_load(model, snapshot_path(), &s, &err), &err);
    rill_token more[5];
    write_tokens(s, more, 5);  // what is to be saved differs, and is longer by so much
    const rlim_t limits[] = {0, 1, size / 2, size + sizeof more - 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_int_equal(save_with_limit(s, limits[i], &err), RILL_EIO);
        assert_non_null(strstr(err.message, snapshot_path()));
        char *after = snapshot_read(snapshot_path(), &size_after);
        assert_int_equal(size_after, size);
        assert_memory_equal(after, before, size);
        assert_int_equal(files_in_directory(), n_files);
        free(after);
    }
    must(save_with_limit(s, size + sizeof more, &err), &err);
    free(snapshot_read(snapshot_path(), &size_after));
    assert_int_equal(size_after, size + sizeof more);
    assert_int_equal(rill_stream_save(s, "/dev/full", &err), RILL_EIO);
    assert_int_equal(rill_stream_save(s, "/nowhere/at/all", &err), RILL_EIO);
    rill_stream_close(&s);
    free(before);
}

int main(void) {
    enum { FIXED = 6 };
    static char names[GOLDEN_FAMILIES][80];
    struct CMUnitTest tests[FIXED + GOLDEN_FAMILIES] = {
        cmocka_unit_test(the_same_after_a_million_evictions),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(the_most_messages_are_loaded),
        cmocka_unit_test(saving_writes_nothing_into_the_stream),
        cmocka_unit_test(foreign_files_are_refused_with_the_reason),
        cmocka_unit_test(failed_save_keeps_the_file_before),
    };
    for (size_t i = 0; i < GOLDEN_FAMILIES; i++) {
        const char *family = golden_families[i];
        snprintf(names[i], sizeof names[i], "loaded_stream_continues_bit_for_bit_of_%s", family);
        tests[FIXED + i] = (struct CMUnitTest){names[i], loaded_stream_continues_bit_for_bit, NULL,
                                               NULL, (void *)(uintptr_t)family};
    }
    return cmocka_run_group_tests(tests, open_models, close_models);
}
