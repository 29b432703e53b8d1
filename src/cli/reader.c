// SPDX-License-Identifier: MIT
// Reads text piece by piece through the model's encoder, and lists of ids.
#include "cli/reader.h"

#include "cli/terminal.h"

#include "base/buffer.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 32 * 1024 };

static rill_status read_piece(int file, const char *name, char *buffer, size_t *length,
                              rill_error *err) {
    ssize_t n = rill__read_input(file, buffer, PIECE);
    if (n < 0 && errno == EINTR) return rill__fail(err, RILL_EINTERRUPTED, "%s: interrupted", name);
    if (n < 0) return rill__fail(err, RILL_EIO, "%s: %s", name, strerror(errno));
    *length = (size_t)n;
    return RILL_OK;
}

static rill_status open_input(const char *path, int *file, rill_error *err) {
    *file = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (*file < 0) return rill__fail(err, RILL_EIO, "%s: %s", path, strerror(errno));
    return RILL_OK;
}

static void close_input(int file) {
    if (file > STDIN_FILENO) close(file);
}

static rill_status push(rill_encoder *encoder, const char *text, size_t length, bool end,
                        rill__take_fn take, void *user, rill_error *err) {
    const rill_token *tokens;
    size_t n;
    rill_status status = rill_encoder_push(encoder, text, length, end, &tokens, &n, err);
    return status == RILL_OK && n ? take(user, tokens, n, err) : status;
}

rill_status rill__read_tokens(const rill_model *model, const char *text, const char *path,
                              unsigned flags, rill__take_fn take, void *user, rill_error *err) {
    int file = -1;
    char *buffer = NULL;
    rill_encoder *encoder = NULL;
    rill_status status = rill_encoder_open(model, flags, &encoder, err);
    if (status == RILL_OK && text) {
        status = push(encoder, text, strlen(text), true, take, user, err);
        rill_encoder_close(&encoder);
        return status;
    }
    if (status == RILL_OK) status = open_input(path, &file, err);
    if (status == RILL_OK && !(buffer = rill__malloc(PIECE)))
        status = rill__fail_memory(err, "text to read", PIECE);
    for (size_t length = 1; status == RILL_OK && length > 0;) {
        const char *name = file == STDIN_FILENO ? "standard input" : path;
        status = read_piece(file, name, buffer, &length, err);
        if (status == RILL_OK) status = push(encoder, buffer, length, length == 0, take, user, err);
        if (status == RILL_OK && rill__interrupted())
            status = rill__fail(err, RILL_EINTERRUPTED, "%s: interrupted", name);
    }
    rill__free(buffer);
    close_input(file);
    rill_encoder_close(&encoder);
    return status;
}

static rill_status parse_ids(const char *name, char *text, rill__bytes *ids, rill_error *err) {
    static const char between[] = ", \t\r\n";
    for (char *word = text + strspn(text, between); *word;) {
        size_t length = strcspn(word, between);
        char *next = word + length;
        next += strspn(next, between);
        word[length] = 0;
        uint64_t id;
        if (!rill__number_whole(word, &id) || id > INT32_MAX)
            return rill__fail(err, RILL_EINVAL, "%s: '%.40s': wants token ids, as 1,2,3", name,
                              word);
        rill_token token = (rill_token)id;
        rill_status status = rill__bytes_append(ids, &token, sizeof token, err);
        if (status != RILL_OK) return status;
        word = next;
    }
    return RILL_OK;
}

rill_status rill__read_ids(const char *text, const char *path, rill_token **tokens,
                           size_t *n_tokens, rill_error *err) {
    rill__bytes all, ids;
    rill__bytes_init(&all, (size_t)1 << 30);
    rill__bytes_init(&ids, 0);
    int file = -1;
    rill_status status = RILL_OK;
    if (text)
        status = rill__bytes_append(&all, text, strlen(text), err);
    else
        status = open_input(path, &file, err);
    for (size_t length = 1; !text && status == RILL_OK && length > 0;) {
        status = rill__bytes_reserve(&all, PIECE, err);
        if (status == RILL_OK) status = read_piece(file, path, all.data + all.length, &length, err);
        if (status == RILL_OK) {
            all.length += length;
            all.data[all.length] = 0;
        }
    }
    close_input(file);
    if (status == RILL_OK && all.length && memchr(all.data, 0, all.length))
        status = rill__fail(err, RILL_EINVAL, "%s: holds a NUL: wants token ids, as 1,2,3", path);
    if (status == RILL_OK && all.length)
        status = parse_ids(text ? "--tokens" : path, all.data, &ids, err);
    if (status == RILL_OK && ids.length == 0)
        status = rill__fail(err, RILL_EINVAL, "%s: no token ids there", text ? "--tokens" : path);
    if (status == RILL_OK) {
        size_t bytes;
        *tokens = (rill_token *)(void *)rill__bytes_take(&ids, &bytes);
        *n_tokens = bytes / sizeof(rill_token);
    }
    rill__bytes_deinit(&all);
    rill__bytes_deinit(&ids);
    return status;
}
