// SPDX-License-Identifier: MIT
// Texts: bytes go through the model's encoder piece by piece; tokens wait until they are read.
#include "eval/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { PIECE = 32 * 1024, COUNTED = 4096, CONTEXT = 16 };

struct rill__text {
    const rill_model *model;
    const rill_token *tokens;  // in memory, in the place of a file; NULL otherwise
    char *name;                // for messages
    unsigned flags;
    int file;    // what is read
    int source;  // a pipe, copied while it is read the first time; -1 otherwise
    FILE *copy;  // of it; NULL otherwise
    rill__text_facts facts;
    uint64_t limit;  // tokens
    bool (*go_on)(void);

    rill_encoder *encoder;
    uint64_t next;              // number of the token to read next
    const rill_token *pending;  // the encoder's
    size_t n_pending;
    bool ended;       // the encoder has had all
    rill_token *ids;  // [PIECE], of bytes that are tokens; NULL otherwise
    char buffer[PIECE];
};

static rill_status fail_file(const rill__text *t, rill_error *err) {
    return rill__fail(err, RILL_EIO, "%s: %s", t->name, strerror(errno));
}

static rill_status more_bytes(rill__text *t, size_t *length, rill_error *err) {
    ssize_t n;
    do {
        n = read(t->source >= 0 ? t->source : t->file, t->buffer, PIECE);
        if (t->go_on && !t->go_on())
            return rill__fail(err, RILL_EINTERRUPTED, "%s: interrupted", t->name);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return fail_file(t, err);
    if (t->source >= 0 && fwrite(t->buffer, 1, (size_t)n, t->copy) != (size_t)n)
        return rill__fail(err, RILL_EIO, "%s: its temporary copy: %s", t->name, strerror(errno));
    *length = (size_t)n;
    return RILL_OK;
}

// What the buffer's bytes are.
static rill_status encode(rill__text *t, size_t length, rill_error *err) {
    if (!t->ids)
        return rill_encoder_push(t->encoder, t->buffer, length, t->ended, &t->pending,
                                 &t->n_pending, err);
    for (size_t i = 0; i < length; i++) t->ids[i] = (unsigned char)t->buffer[i];
    t->pending = t->ids;
    t->n_pending = length;
    return RILL_OK;
}

rill_status rill__text_read(rill__text *t, rill_token *out, size_t capacity, size_t *n,
                            rill_error *err) {
    *n = 0;
    if (t->limit - t->next < capacity) capacity = (size_t)(t->limit - t->next);
    while (*n < capacity) {
        if (t->n_pending) {
            size_t some = t->n_pending < capacity - *n ? t->n_pending : capacity - *n;
            if (out) memcpy(out + *n, t->pending, some * sizeof *out);
            t->pending += some;
            t->n_pending -= some;
            t->next += some;
            *n += some;
            continue;
        }
        if (t->ended) break;
        size_t length = 0;
        rill_status status = more_bytes(t, &length, err);
        t->ended = length == 0;
        if (status == RILL_OK) status = encode(t, length, err);
        if (status != RILL_OK) return status;
    }
    return RILL_OK;
}

// To the beginning.
static rill_status rewind_text(rill__text *t, rill_error *err) {
    rill_encoder_close(&t->encoder);
    t->next = 0;
    t->n_pending = 0;
    t->ended = false;
    if (t->tokens) {
        t->pending = t->tokens;
        t->n_pending = (size_t)t->facts.n_tokens;
        t->ended = true;
        return RILL_OK;
    }
    if (t->source < 0 && lseek(t->file, 0, SEEK_SET) < 0) return fail_file(t, err);
    return t->ids ? RILL_OK : rill_encoder_open(t->model, t->flags, &t->encoder, err);
}

rill_status rill__text_seek(rill__text *t, uint64_t index, rill_error *err) {
    rill_status status = index < t->next ? rewind_text(t, err) : RILL_OK;
    while (status == RILL_OK && t->next < index) {
        size_t n, skip = index - t->next < COUNTED ? (size_t)(index - t->next) : COUNTED;
        status = rill__text_read(t, NULL, skip, &n, err);
        if (status == RILL_OK && n == 0)
            status = rill__fail(err, RILL_EIO, "%s: is shorter than it was", t->name);
    }
    return status;
}

// ---- The first reading ----------------------------------------------------------------------

typedef struct counter {
    XXH3_state_t *hash;
    rill_token tokens[CONTEXT + COUNTED];  // the last of before, and those to count
    size_t n_before;
    bool in_word;
} counter;

// The text of tokens, for rill_text_free.
static rill_status decode(const rill__text *t, const rill_token *tokens, size_t n, char **out,
                          size_t *length, rill_error *err) {
    if (!t->ids) return rill_decode(t->model, tokens, n, out, length, err);
    *out = rill__malloc(n + 1);
    if (!*out) return rill__fail_memory(err, "text", n + 1);
    for (size_t i = 0; i < n; i++) (*out)[i] = (char)tokens[i];
    *length = n;
    return RILL_OK;
}

// Adds the text of tokens[n_before ... n_before + n). What a token stands for may depend on those
// before (the first space of a text, a character cut in two): so text is decoded with a few of them
// in front, whose own text is taken away again.
static rill_status count_text(rill__text *t, counter *c, size_t n, rill_error *err) {
    char *before = NULL, *all = NULL;
    size_t skipped = 0, length = 0;
    rill_status status = decode(t, c->tokens, c->n_before, &before, &skipped, err);
    if (status == RILL_OK) status = decode(t, c->tokens, c->n_before + n, &all, &length, err);
    for (size_t i = skipped; status == RILL_OK && i < length; i++) {
        bool space = isspace((unsigned char)all[i]) != 0;
        t->facts.words += !space && !c->in_word;
        c->in_word = !space;
    }
    if (status == RILL_OK) t->facts.bytes += length > skipped ? length - skipped : 0;
    rill_text_free(before);
    rill_text_free(all);
    return status;
}

static rill_status count(rill__text *t, counter *c, rill_error *err) {
    for (;;) {
        size_t n;
        rill_token *fresh = c->tokens + c->n_before;
        rill_status status = rill__text_read(t, fresh, COUNTED, &n, err);
        if (status != RILL_OK || n == 0) return status;
        XXH3_64bits_update(c->hash, fresh, n * sizeof *fresh);
        if (t->facts.n_tokens == 0) {  // the first is given, not predicted
            c->n_before = 1;
            n--;
            t->facts.n_tokens = 1;
        }
        status = count_text(t, c, n, err);
        if (status != RILL_OK) return status;
        t->facts.n_tokens += n;
        size_t have = c->n_before + n, keep = have < CONTEXT ? have : CONTEXT;
        memmove(c->tokens, c->tokens + have - keep, keep * sizeof *fresh);
        c->n_before = keep;
    }
}

static rill_status first_reading(rill__text *t, rill_error *err) {
    counter *c = rill__calloc(1, sizeof *c);
    if (c) c->hash = XXH3_createState();
    rill_status status = c && c->hash ? RILL_OK : rill__fail_memory(err, "a text", sizeof *c);
    if (status == RILL_OK) {
        XXH3_64bits_reset(c->hash);
        status = count(t, c, err);
        t->facts.hash = XXH3_64bits_digest(c->hash);
    }
    if (c) XXH3_freeState(c->hash);
    rill__free(c);
    if (status == RILL_OK && t->copy && fflush(t->copy) != 0)
        status = rill__fail(err, RILL_EIO, "%s: its temporary copy: %s", t->name, strerror(errno));
    return status;
}

static void close_source(rill__text *t) {
    if (t->source > STDIN_FILENO) close(t->source);
    t->source = -1;
}

static rill_status open_file(rill__text *t, const char *path, rill_error *err) {
    bool input = strcmp(path, "-") == 0;
    t->file = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (t->file < 0) return fail_file(t, err);
    if (!input && lseek(t->file, 0, SEEK_CUR) >= 0) return RILL_OK;
    t->source = t->file;
    t->copy = tmpfile();
    t->file = t->copy ? fileno(t->copy) : -1;
    return t->copy ? RILL_OK : fail_file(t, err);
}

rill_status rill__text_open(const rill_model *model, const char *path, unsigned flags,
                            uint64_t max_tokens, bool (*go_on)(void), rill__text **out,
                            rill_error *err) {
    rill__text *t = rill__calloc(1, sizeof *t);
    if (!t) return rill__fail_memory(err, "a text", sizeof *t);
    t->model = model;
    t->flags = flags;
    t->file = t->source = -1;
    t->go_on = go_on;
    t->limit = max_tokens ? max_tokens : UINT64_MAX;
    t->name = rill__strdup(strcmp(path, "-") == 0 ? "standard input" : path);
    if (flags & RILL__TEXT_BYTES) t->ids = rill__malloc(PIECE * sizeof *t->ids);
    rill_status status = t->name && (t->ids || !(flags & RILL__TEXT_BYTES))
                             ? RILL_OK
                             : rill__fail_memory(err, "a text", PIECE * sizeof *t->ids);
    if (status == RILL_OK) status = open_file(t, path, err);
    if (status == RILL_OK) status = rewind_text(t, err);
    if (status == RILL_OK) status = first_reading(t, err);
    close_source(t);
    if (status == RILL_OK) status = rewind_text(t, err);
    if (status == RILL_OK)
        *out = t;
    else
        rill__text_close(&t);
    return status;
}

rill_status rill__text_of_tokens(const rill_token *tokens, size_t n, rill__text **out,
                                 rill_error *err) {
    rill__text *t = rill__calloc(1, sizeof *t);
    if (t) t->name = rill__strdup("the tokens");
    if (!t || !t->name) {
        rill__free(t);
        return rill__fail_memory(err, "a text", sizeof *t);
    }
    t->tokens = tokens;
    t->file = t->source = -1;
    t->limit = UINT64_MAX;
    t->facts.n_tokens = n;
    t->facts.hash = XXH3_64bits(tokens, n * sizeof *tokens);
    *out = t;
    return rewind_text(t, err);
}

void rill__text_close(rill__text **text) {
    rill__text *t = *text;
    if (!t) return;
    rill_encoder_close(&t->encoder);
    close_source(t);
    if (t->copy)
        fclose(t->copy);
    else if (t->file >= 0)
        close(t->file);
    rill__free(t->name);
    rill__free(t->ids);
    rill__free(t);
    *text = NULL;
}

const rill__text_facts *rill__text_get_facts(const rill__text *t) {
    return &t->facts;
}

// ---- Text that is put together --------------------------------------------------------------

rill_status rill__encode_piece(const rill_model *model, const char *text, bool begins,
                               rill_token **tokens, size_t *n, rill_error *err) {
    return rill_encode(model, text, strlen(text), begins ? 0 : RILL_TEXT_CONTINUES, tokens, n, err);
}

rill_status rill__encode_begin(const rill_model *model, rill_token **tokens, size_t *n,
                               rill_error *err) {
    rill_status status = rill_encode(model, "", 0, RILL_TEXT_ADD_SPECIAL, tokens, n, err);
    // What ends a text is not put behind one that goes on; some models begin with their end token.
    if (status == RILL_OK && *n > 1 && rill_is_end(model, (*tokens)[*n - 1])) --*n;
    return status;
}
