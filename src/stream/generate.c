// SPDX-License-Identifier: MIT
// Writing: sample a token, hand out its text, read it; again and again until something ends it.
#include "stream/draft.h"

#include "base/utf8.h"

#include <string.h>

enum { MAX_STOPS = 16, MAX_STOP = 256 };
// What stands in the text for an end token that is read on.
static const char blank_line[] = "\n\n";

typedef struct writing {
    rill_stream *s;
    const rill_generate_options *options;
    rill_write_fn write;
    void *user;
    const rill__tokenizer *tokenizer;  // NULL: there is no text
    rill__decoder decoder;
    rill__bytes text;  // written by the model and not handed out: it may begin a stop string
    size_t lengths[MAX_STOPS];
    rill__draft draft;
    rill_generate_result *result;
} writing;

const char *rill_stop_name(rill_stop stop) {
    static const char *const names[] = {"length",      "end",    "string",
                                        "interrupted", "memory", "error"};
    return (unsigned)stop < sizeof names / sizeof *names ? names[stop] : "unknown";
}

void rill_generate_options_default(rill_generate_options *options) {
    *options = (rill_generate_options){.until_end = true, .draft = RILL_DRAFT_AUTO};
}

static rill_status check_stops(writing *w, rill_error *err) {
    const rill_generate_options *o = w->options;
    if (o->n_stops > MAX_STOPS)
        return rill__fail(err, RILL_EINVAL, "stops: %zu strings; at most %d are right", o->n_stops,
                          MAX_STOPS);
    for (size_t i = 0; i < o->n_stops; i++) {
        size_t length = strnlen(o->stops[i], MAX_STOP + 1);
        if (length == 0 || length > MAX_STOP)
            return rill__fail(err, RILL_EINVAL, "stops: string %zu: 1 to %d bytes are right", i,
                              MAX_STOP);
        if (!rill__utf8_valid(o->stops[i], length))
            return rill__fail(err, RILL_EINVAL, "stops: string %zu is not UTF-8", i);
        w->lengths[i] = length;
    }
    return RILL_OK;
}

// Where the first stop string in the text begins; all of the text if there is none.
static size_t find_stop(const writing *w, bool *found) {
    size_t first = w->text.length;
    *found = false;
    for (size_t i = 0; i < w->options->n_stops; i++) {
        const char *at = memmem(w->text.data, w->text.length, w->options->stops[i], w->lengths[i]);
        if (!at || (size_t)(at - w->text.data) >= first) continue;
        first = (size_t)(at - w->text.data);
        *found = true;
    }
    return first;
}

// How many bytes at the end of the text could be the beginning of a stop string.
static size_t held_back(const writing *w) {
    size_t most = 0;
    for (size_t i = 0; i < w->options->n_stops; i++) {
        size_t n = w->lengths[i] - 1 < w->text.length ? w->lengths[i] - 1 : w->text.length;
        while (n > most && memcmp(w->text.data + w->text.length - n, w->options->stops[i], n) != 0)
            n--;
        most = n > most ? n : most;
    }
    return most;
}

// Hands out the first n bytes of the text, which stand for `token`, to whom wants them. False:
// interrupted.
static bool hand_out(writing *w, rill_token token, size_t n) {
    if (!w->text.data) return !w->write || w->write(w->user, token, "", 0);
    char next = w->text.data[n];
    w->text.data[n] = '\0';
    bool go_on = !w->write || w->write(w->user, token, w->text.data, n);
    w->text.data[n] = next;
    w->text.length -= n;
    memmove(w->text.data, w->text.data + n, w->text.length + 1);
    return go_on;
}

// Room for all the text that can be pending at once, so that writing allocates nothing.
static rill_status open_writing(writing *w, rill_error *err) {
    rill__bytes_init(&w->text, 0);
    rill_status status = check_stops(w, err);
    if (status == RILL_OK) status = rill__draft_open(&w->draft, w->s, w->options->draft, err);
    if (status != RILL_OK || !w->tokenizer) return status;
    rill__decoder_init(&w->decoder, w->tokenizer);
    // After a begin token alone the text is at its start; anything else it continues.
    w->decoder.at_start = w->s->policy.seen == 1 &&
                          rill__history_get(&w->s->history, 0) == rill__tokenizer_bos(w->tokenizer);
    return rill__bytes_reserve(
        &w->text, MAX_STOP + rill__tokenizer_max_text(w->tokenizer) + sizeof blank_line, err);
}

// Hands out the text of a token. True: a stop string is complete, or nobody wants more.
static rill_status write_token(writing *w, rill_token token, bool is_end, bool *stopped,
                               rill_error *err) {
    rill_status status = RILL_OK;
    bool found = false;
    size_t n = 0;
    if (w->tokenizer) {
        // An end shows as a blank line, other signs not at all, nor do rows of the model past the
        // tokenizer.
        if (is_end)
            status = rill__bytes_append(&w->text, blank_line, sizeof blank_line - 1, err);
        else if (rill__tokenizer_is_text(w->tokenizer, token))
            status = rill__decoder_push(&w->decoder, token, &w->text, err);
        if (status != RILL_OK) return status;
        n = find_stop(w, &found);
        if (!found) n -= held_back(w);
    }
    bool go_on = hand_out(w, token, n);
    if (found && w->text.data) rill__bytes_reset(&w->text);
    *stopped = found || !go_on;
    w->result->stop = found ? RILL_STOP_STRING : RILL_STOP_INTERRUPTED;
    return RILL_OK;
}

// One token. *stopped says that w->result->stop is why there is no other.
static rill_status step(writing *w, bool *stopped, rill_error *err) {
    rill_stream *s = w->s;
    if (s->plan.options.method == RILL_METHOD_DENSE && s->policy.seen >= s->plan.capacity) {
        *stopped = true;
        w->result->stop = RILL_STOP_MEMORY;
        return RILL_OK;
    }
    rill_token token;
    rill_status status = rill_stream_sample(s, &token, err);
    if (status != RILL_OK) return status;
    bool is_end = w->tokenizer && rill__tokenizer_is_end(w->tokenizer, token);
    if (is_end && w->options->until_end) {
        *stopped = true;
        w->result->stop = RILL_STOP_END;
        return RILL_OK;
    }
    status = write_token(w, token, is_end, stopped, err);
    // What was written is read even if it is the last, so that the stream holds what the user saw.
    uint64_t max = w->options->max_tokens;
    uint64_t wanted = *stopped ? 0 : max ? max - w->result->n_tokens - 1 : UINT64_MAX;
    if (status == RILL_OK) status = rill__draft_read(&w->draft, token, wanted, err);
    if (status == RILL_OK) w->result->n_tokens++;
    return status;
}

// Hands out what was held back: no stop string and no rest of a character will come.
static rill_status close_writing(writing *w, rill_error *err) {
    rill_status status = RILL_OK;
    if (w->tokenizer && w->result->stop != RILL_STOP_STRING && w->text.data) {
        status = rill__decoder_end(&w->decoder, &w->text, err);
        if (status == RILL_OK && w->text.length > 0) (void)hand_out(w, -1, w->text.length);
    }
    w->result->n_drafted = w->draft.n_drafted;
    w->result->n_accepted = w->draft.n_accepted;
    rill__draft_close(&w->draft);
    rill__bytes_deinit(&w->text);
    return status;
}

rill_status rill_stream_generate(rill_stream *stream, const rill_generate_options *options,
                                 rill_write_fn write, void *user, rill_generate_result *result,
                                 rill_error *err) {
    rill_generate_options defaults;
    rill_generate_options_default(&defaults);
    rill_generate_result unwanted;
    writing w = {
        .s = stream,
        .options = options ? options : &defaults,
        .write = write,
        .user = user,
        .tokenizer = stream->model->model->tokenizer,
        .result = result ? result : &unwanted,
    };
    *w.result = (rill_generate_result){.stop = RILL_STOP_LENGTH};
    uint64_t max = w.options->max_tokens;
    bool stopped = false;
    rill_status status = open_writing(&w, err);
    while (status == RILL_OK && !stopped && (max == 0 || w.result->n_tokens < max))
        status = step(&w, &stopped, err);
    if (status == RILL_OK && !stopped) w.result->stop = RILL_STOP_LENGTH;
    rill_status closed = close_writing(&w, status == RILL_OK ? err : NULL);
    if (status == RILL_OK) status = closed;
    if (status == RILL_ENOMEM) {
        w.result->stop = RILL_STOP_MEMORY;
        return RILL_OK;
    }
    if (status != RILL_OK) w.result->stop = RILL_STOP_ERROR;
    return status;
}
