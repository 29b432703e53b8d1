// SPDX-License-Identifier: MIT
// What the fuzz targets share. Whatever cannot fail here ends the program if it does.
#include "fuzz.h"

#include "base/file.h"
#include "base/utf8.h"
#include "tokenizer/chat.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LARGEST = 64 << 20,     // bytes at once: far more than a small file should lead to
    MOST_ALIVE = 512 << 20  // bytes in all
};

static size_t alive;

static void refuse_release(void *user, void *memory) {
    (void)user;
    alive -= malloc_usable_size(memory);
    free(memory);
}

static void *refuse_resize(void *user, void *old, size_t bytes) {
    (void)user;
    if (bytes > LARGEST || bytes > MOST_ALIVE - alive) return NULL;
    size_t before = malloc_usable_size(old);
    void *memory = realloc(old, bytes ? bytes : 1);
    if (memory) alive += malloc_usable_size(memory) - before;
    return memory;
}

static void *refuse_alloc(void *user, size_t bytes) {
    return refuse_resize(user, NULL, bytes);
}

// A snapshot may ask for a cache of any size, and so may a model. Here memory is out past LARGEST,
// and what fails then must fail cleanly.
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const rill_allocator refusing = {refuse_alloc, refuse_resize, refuse_release, NULL};
    (void)argc;
    (void)argv;
    rill_allocator_replace(&refusing);
    return 0;
}

static char directory[64];

static void remove_directory(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", directory);
}

const char *fuzz_directory(void) {
    if (!directory[0]) {
        snprintf(directory, sizeof directory, "/dev/shm/rill-fuzz-XXXXXX");
        if (!mkdtemp(directory)) abort();
        atexit(remove_directory);
    }
    return directory;
}

const char *fuzz_file(const char *name, const void *data, size_t size) {
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_directory(), name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
    return path;
}

const char *fuzz_model(void) {
    const char *given = getenv("RILL_FUZZ_MODEL");
    return given ? given : RILL_FUZZ_MODEL;
}

void fuzz_copy_model_file(const char *name) {
    char path[512], *data;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", fuzz_model(), name);
    if (rill__file_read(path, 1 << 20, &data, &size, NULL) != RILL_OK) abort();
    fuzz_file(name, data, size);
    rill__free(data);
}

rill_device *fuzz_device(void) {
    static rill_device *device;
    if (!device) {
        rill_device_options options;
        rill_device_options_default(&options);
        options.threads = 1;
        options.exact = true;
        options.cpu = "ref";
        if (rill_device_open(&options, &device, NULL) != RILL_OK) abort();
    }
    return device;
}

static const char sample[] =
    "<s>Hello  world, it's 1234567 o'clock!\n\n\t\xe2\x96\x81x \xc3\xa4o\xcc\x88 "
    "\xe4\xbd\xa0\xe5\xa5\xbd "
    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 \xd7\xa9\xd7\x9c \xe0\xa4\xa8 \xff\xc3 a\x00"
    "b</s>";

// Text that arrives in pieces gives the same tokens as the whole.
static void check_pieces(const rill__tokenizer *t, const char *text, size_t length, unsigned flags,
                         const rill__tokens *whole) {
    rill__encoder *encoder;
    rill__tokens tokens = {0};
    rill_error err;
    if (rill__encoder_open(t, flags, &encoder, &err) != RILL_OK) abort();
    rill_status status = RILL_OK;
    for (size_t at = 0, n = 1; status == RILL_OK && at < length; at += n) {
        n = 1 + at % 7 < length - at ? 1 + at % 7 : length - at;
        status = rill__encoder_push(encoder, text + at, n, false, &tokens, &err);
    }
    if (status == RILL_OK) status = rill__encoder_push(encoder, "", 0, true, &tokens, &err);
    bool same =
        tokens.n == whole->n &&
        (whole->n == 0 || memcmp(tokens.ids, whole->ids, whole->n * sizeof *tokens.ids) == 0);
    if (status == RILL_OK && !same) {
        fprintf(stderr, "pieces give %zu tokens, the whole %zu\n", tokens.n, whole->n);
        abort();
    }
    rill__encoder_close(&encoder);
    rill__tokens_deinit(&tokens);
}

// A token that the tokenizer made itself must be one of its own, and no longer than announced.
static void decode(const rill__tokenizer *t, const rill__tokens *tokens) {
    rill__bytes out;
    rill__decoder decoder;
    rill_error err;
    rill__bytes_init(&out, 0);
    rill__decoder_init(&decoder, t);
    size_t most = rill__tokenizer_max_text(t);
    for (size_t i = 0; i < tokens->n; i++) {
        size_t before = out.length;
        if (rill__decoder_push(&decoder, tokens->ids[i], &out, &err) != RILL_OK) abort();
        if (out.length - before > most) abort();
    }
    if (rill__decoder_push(&decoder, -1, &out, &err) == RILL_OK ||
        rill__decoder_push(&decoder, (rill_token)rill__tokenizer_size(t), &out, &err) == RILL_OK)
        abort();
    if (rill__decoder_end(&decoder, &out, &err) != RILL_OK) abort();
    if (!rill__utf8_valid(out.data ? out.data : "", out.length)) abort();
    rill__bytes_deinit(&out);
}

static void round_trip(const rill__tokenizer *t, const char *text, size_t length, unsigned flags) {
    rill__tokens tokens = {0};
    rill_error err;
    if (rill__tokenizer_encode(t, text, length, flags, &tokens, &err) == RILL_OK) {
        check_pieces(t, text, length, flags, &tokens);
        decode(t, &tokens);
    }
    rill__tokens_deinit(&tokens);
}

static void chat(const rill__tokenizer *t) {
    rill__tokens tokens = {0};
    rill_error err;
    bool going = true;
    for (int i = 0; i < 3 && going; i++)
        going = rill__chat_message(t, (rill_role)i, (rill__chat_place)i, "a</s>\n", 6, &tokens,
                                   &err) == RILL_OK &&
                rill__chat_answer_prefix(t, &tokens, &err) == RILL_OK &&
                rill__chat_answer_suffix(t, i == 1, &tokens, &err) == RILL_OK;
    decode(t, &tokens);
    rill__tokens_deinit(&tokens);
}

void fuzz_use_tokenizer(const rill__tokenizer *t, const uint8_t *data, size_t size) {
    const char *own = (const char *)data;
    unsigned special = RILL_TEXT_ADD_SPECIAL | RILL_TEXT_PARSE_SPECIAL;
    round_trip(t, sample, sizeof sample - 1, 0);
    round_trip(t, sample, sizeof sample - 1, special);
    round_trip(t, own, size < 300 ? size : 300, RILL_TEXT_PLAIN | RILL_TEXT_CONTINUES);
    round_trip(t, own, size < 300 ? size : 300, special);
    chat(t);
    rill__tokens all = {0};
    size_t n = rill__tokenizer_size(t);
    for (size_t i = 0; i < n && i < 300; i++)
        if (rill__tokens_push(&all, (rill_token)i, NULL) != RILL_OK) abort();
    decode(t, &all);
    rill__tokens_deinit(&all);
    (void)rill__tokenizer_bos(t);
    (void)rill__tokenizer_is_end(t, 0);
    (void)rill__tokenizer_chat_template(t);
    (void)rill__tokenizer_find(t, "<s>", 3);
    for (size_t i = 0; rill__tokenizer_warning(t, i); i++) {
    }
    rill__vocabulary vocabulary;
    if (n < 10000 && rill__tokenizer_export(t, n + 3, &vocabulary, NULL) == RILL_OK)
        rill__vocabulary_deinit(&vocabulary);
}

void fuzz_use_model(rill_model *model) {
    rill_model_info info;
    rill_model_get_info(model, &info);
    rill_stream_options options;
    rill_stream_options_default(&options);
    options.sinks = 2;
    options.window = 6;
    options.chunk = 4;
    rill_stream_bytes bytes;
    if (info.weight_bytes > 4 << 20 || info.vocab_size > 1 << 16 ||
        rill_stream_estimate(model, &options, NULL, &bytes, NULL) != RILL_OK ||
        bytes.total > 32 << 20)
        return;
    rill_stream *stream;
    if (rill_stream_open(model, &options, &stream, NULL) != RILL_OK) return;
    rill_token tokens[12];
    for (rill_token i = 0; i < 12; i++) tokens[i] = i % (rill_token)info.vocab_size;
    rill_error err;
    rill_token next;
    for (int i = 0; i < 2; i++)
        if (rill_stream_feed(stream, tokens, 12, NULL, &err) == RILL_OK)
            (void)rill_stream_sample(stream, &next, &err);
    rill_stream_close(&stream);
}
