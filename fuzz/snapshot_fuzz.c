// SPDX-License-Identifier: MIT
// Snapshots of the tiny model. A checksum would stop nearly every mutation at the door, so the
// target writes the right magic, model and checksum over the input, unless the input's first byte
// is 0. With $RILL_FUZZ_SEEDS set it writes seeds into that directory first.
#include "fuzz.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { HEADER = 8 + 4 + 16, CHECKSUM = 8 };  // magic, version, fingerprint

static rill_model *model;
static char header[HEADER];
static bool ready;

static void make_seed(int i) {
    rill_stream_options options;
    rill_stream_options_default(&options);
    options.method = (rill_method)(i % 4);
    options.evict = i == 4 ? RILL_EVICT_MESSAGE : RILL_EVICT_TOKEN;
    options.window = 6;
    options.chunk = 4;
    options.key_type = options.value_type = i == 4 ? RILL_TYPE_Q8_0 : RILL_TYPE_F16;
    options.default_types = false;
    options.sinks = i == 0 || i == 3 ? 2 : i == 4 ? 1 : RILL_SINKS_AUTO;
    static const rill_token tokens[] = {1, 5, 9, 13, 2, 6};
    rill_stream *stream;
    rill_token next;
    char path[512];
    const char *folder = getenv("RILL_FUZZ_SEEDS");
    snprintf(path, sizeof path, "%s/seed-%d", folder ? folder : fuzz_directory(), i);
    if (rill_stream_open(model, &options, &stream, NULL) != RILL_OK) return;
    for (int round = 0; round < (i == 2 ? 1 : 3); round++) {
        rill_stream_begin_message(stream);
        if (rill_stream_feed(stream, tokens, 6, NULL, NULL) != RILL_OK) abort();
        if (rill_stream_sample(stream, &next, NULL) != RILL_OK) abort();
    }
    if (rill_stream_save(stream, path, NULL) != RILL_OK) abort();
    rill_stream_close(&stream);
    char *data;
    size_t size;
    if (rill__file_read(path, 1 << 20, &data, &size, NULL) != RILL_OK) abort();
    memcpy(header, data, HEADER);
    rill__free(data);
}

// What a program may do with a stream; what is refused is no matter.
static void go_on(rill_stream *stream, int choice) {
    rill_error err;
    rill_token next;
    if (choice & 1) (void)rill_stream_pin(stream, &err);
    for (int i = 0; i < 10 && rill_stream_sample(stream, &next, &err) == RILL_OK; i++) {
        if (choice & 2 || i % 3 == 0) rill_stream_begin_message(stream);
        if (rill_stream_feed(stream, &next, 1, NULL, &err) != RILL_OK) break;
        if (i == 5 && choice & 4) (void)rill_stream_pin(stream, &err);
    }
    rill_stream_begin_message(stream);
    // Refused where the model has no tokenizer.
    (void)rill_stream_feed_message(stream, RILL_ROLE_USER, "oh", 2, choice & 8, &err);
    if (rill_stream_begin_answer(stream, &err) == RILL_OK)
        (void)rill_stream_end_answer(stream, &err);
    rill_stream_report report;
    rill_stream_get_report(stream, &report);
    if (report.held > report.capacity || report.messages_held > report.messages_seen) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char buffer[1 << 16];
    rill_stream *stream;
    rill_error err;
    if (!model && rill_model_open(fuzz_device(), fuzz_model(), &model, NULL) != RILL_OK) abort();
    for (int i = getenv("RILL_FUZZ_SEEDS") ? 4 : 0; !ready && i >= 0; i--) make_seed(i);
    ready = true;
    if (size < HEADER + CHECKSUM || size > sizeof buffer) return 0;
    memcpy(buffer, data, size);
    if (buffer[0] != 0) {
        memcpy(buffer, header, HEADER);
        uint64_t checksum = XXH3_64bits(buffer, size - CHECKSUM);
        memcpy(buffer + size - CHECKSUM, &checksum, CHECKSUM);
    }
    const char *path = fuzz_file("snapshot", buffer, size);
    if (rill_stream_load(model, path, &stream, &err) != RILL_OK) return 0;
    go_on(stream, buffer[size - CHECKSUM - 1]);
    if (rill_stream_save(stream, fuzz_file("again", "", 0), &err) != RILL_OK) abort();
    rill_stream_close(&stream);
    return 0;
}
