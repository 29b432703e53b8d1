// SPDX-License-Identifier: MIT
// The smallest program that uses the library: reads a beginning and writes on for a while.
//
//   cc example.c $(pkg-config --cflags --libs rill) && ./a.out MODEL 'It was' 50
#include <rill/rill.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool print(void *user, rill_token token, const char *text, size_t length) {
    (void)token;
    return fwrite(text, 1, length, user) == length;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    rill_error err = {0};
    rill_device *device = NULL;
    rill_model *model = NULL;
    rill_stream *stream = NULL;
    rill_token *tokens = NULL;
    size_t n = 0;
    rill_generate_options options;
    rill_generate_result result;
    rill_generate_options_default(&options);
    options.max_tokens = strtoull(argv[3], NULL, 10);
    options.until_end = false;

    bool done = rill_device_open(NULL, &device, &err) == RILL_OK &&
                rill_model_open(device, argv[1], &model, &err) == RILL_OK &&
                rill_stream_open(model, NULL, &stream, &err) == RILL_OK &&
                rill_encode(model, argv[2], strlen(argv[2]), RILL_TEXT_ADD_SPECIAL, &tokens, &n,
                            &err) == RILL_OK &&
                rill_stream_feed(stream, tokens, n, NULL, &err) == RILL_OK &&
                rill_stream_generate(stream, &options, print, stdout, &result, &err) == RILL_OK;
    if (!done) fprintf(stderr, "%s\n", err.message);
    rill_tokens_free(tokens);
    rill_stream_close(&stream);
    rill_model_close(&model);
    rill_device_close(&device);
    return done ? 0 : 1;
}
