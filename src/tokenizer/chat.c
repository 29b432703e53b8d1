// SPDX-License-Identifier: MIT
// Conversations as tokens.
//
// Text between two special tokens is encoded in one go, what a template writes and what a person
// wrote together, as it was when the model was trained; special tokens are put between by their ids
// and never looked for in the text.
#include "tokenizer/chat.h"

#include "base/utf8.h"
#include "tokenizer/chat_rows.h"
#include "tokenizer/work.h"

#include <string.h>

// ---- Choosing a form ------------------------------------------------------------------------

static bool fits(const rill__chat_row *row, const char *source) {
    for (size_t i = 0; i < 2 && row->needs[i]; i++)
        if (!strstr(source, row->needs[i])) return false;
    return true;
}

static const rill__chat_row *row_named(const char *name) {
    size_t i = 0;
    while (i + 1 < rill__chat_n_rows && strcmp(rill__chat_rows[i].name, name) != 0) i++;
    return &rill__chat_rows[i];
}

// The end of an answer ends a text too.
static void add_row_end(rill__tokenizer *t) {
    const char *end = t->chat->end;
    if (*end == *RILL_CHAT_TOKEN)
        rill__tokenizer_add_end(t, rill__tokenizer_find(t, end + 1, strlen(end) - 2));
}

static rill_status warn_unknown(rill__tokenizer *t, rill_error *err) {
    // A template's first line is as good a name as it has.
    size_t n = strcspn(t->chat_source, "\r\n");
    if (n > 60) n = 60 - rill__utf8_incomplete_tail(t->chat_source, 60);
    return rill__tokenizer_warn(t, err, "chat template '%.*s' is not known: using '%s'", (int)n,
                                t->chat_source, t->chat->name);
}

rill_status rill__tokenizer_choose_chat(rill__tokenizer *t, rill_error *err) {
    bool chatml = rill__tokenizer_find(t, "<|im_start|>", 12) >= 0 &&
                  rill__tokenizer_find(t, "<|im_end|>", 10) >= 0;
    rill_status status = RILL_OK;
    const rill__chat_row *row = NULL;
    for (size_t i = 0; t->chat_source && i < rill__chat_n_rows && !row; i++)
        if (fits(&rill__chat_rows[i], t->chat_source)) row = &rill__chat_rows[i];
    t->chat = row ? row : row_named(chatml ? "chatml" : "plain");
    if (t->chat_source && !row) status = warn_unknown(t, err);
    if (t->chat_source) add_row_end(t);
    return status;
}

// ---- Writing --------------------------------------------------------------------------------

typedef struct writer {
    const rill__tokenizer *t;
    rill__tokens *out;
    rill__bytes run;  // text since the last special token
    bool continues;   // the run goes on with text from before
    bool strip;       // the last special token takes the white space behind it
} writer;

static rill_status flush(writer *w, rill_error *err) {
    const char *text = w->run.data ? w->run.data : "";
    size_t n = w->run.length;
    while (w->strip && n > 0) {
        uint32_t c;
        size_t length = rill__utf8_decode(text, n, &c);
        if (!rill__is_white_space(c)) break;
        text += length;
        n -= length;
    }
    rill_status status = RILL_OK;
    if (n > 0) {
        unsigned flags = RILL_TEXT_PLAIN | (w->continues ? RILL_TEXT_CONTINUES : 0u);
        status = rill__tokenizer_encode(w->t, text, n, flags, w->out, err);
        w->continues = true;
        w->strip = false;
    }
    rill__bytes_reset(&w->run);
    return status;
}

static rill_status put_token(writer *w, rill_token id, rill_error *err) {
    rill_status status = flush(w, err);
    if (status == RILL_OK) status = rill__tokens_push(w->out, id, err);
    w->continues = false;
    w->strip = false;
    for (size_t i = 0; i < w->t->n_added; i++)
        if (w->t->added[i].id == id) w->strip = w->t->added[i].right_strip;
    return status;
}

// Text of a template, with its signs.
static rill_status put_template(writer *w, const char *text, rill_error *err) {
    rill_status status = RILL_OK;
    while (status == RILL_OK && *text) {
        size_t n = strcspn(text, RILL_CHAT_TOKEN RILL_CHAT_BOS RILL_CHAT_EOS);
        status = rill__bytes_append(&w->run, text, n, err);
        text += n;
        if (status != RILL_OK || !*text) break;
        char sign = *text++;
        if (sign == *RILL_CHAT_TOKEN) {
            n = strcspn(text, RILL_CHAT_TOKEN);
            rill_token id = rill__tokenizer_find(w->t, text, n);
            status = id >= 0 ? put_token(w, id, err) : rill__bytes_append(&w->run, text, n, err);
            text += n + 1;
            continue;
        }
        rill_token id = sign == *RILL_CHAT_BOS ? w->t->bos : w->t->eos;
        if (id >= 0) status = put_token(w, id, err);
    }
    return status;
}

static rill_status put_message(writer *w, const char *text, size_t length, bool trim,
                               rill_error *err) {
    uint32_t c;
    while (trim && length > 0) {
        size_t n = rill__utf8_decode(text, length, &c);
        if (!rill__is_white_space(c)) break;
        text += n;
        length -= n;
    }
    while (trim && length > 0) {
        size_t begin = rill__character_before(text, length, &c);
        if (!rill__is_white_space(c)) break;
        length = begin;
    }
    return rill__bytes_append(&w->run, text, length, err);
}

static void begin_writing(writer *w, const rill__tokenizer *t, rill__tokens *out, bool continues) {
    *w = (writer){.t = t, .out = out, .continues = continues};
    rill__bytes_init(&w->run, 0);
}

static rill_status end_writing(writer *w, rill_status status, rill_error *err) {
    if (status == RILL_OK) status = flush(w, err);
    rill__bytes_deinit(&w->run);
    return status;
}

// The tokens in front of everything: what the tokenizer adds, else the begin token.
static rill_status put_first(writer *w, rill_error *err) {
    const rill__tokenizer *t = w->t;
    rill_status status = RILL_OK;
    for (size_t i = 0; status == RILL_OK && i < t->n_before; i++)
        status = put_token(w, t->before[i], err);
    bool wanted = t->chat_source && strstr(t->chat_source, "bos_token");
    if (status == RILL_OK && t->n_before == 0 && wanted && t->bos >= 0)
        status = put_token(w, t->bos, err);
    return status;
}

rill_status rill__chat_message(const rill__tokenizer *t, rill_role role, rill__chat_place place,
                               const char *text, size_t length, rill__tokens *out,
                               rill_error *err) {
    const rill__chat_row *row = t->chat;
    if ((unsigned)role >= RILL_CHAT_ROLES)
        return rill__fail(err, RILL_EINVAL, "role %d: 0 to %d are known", (int)role,
                          RILL_CHAT_ROLES - 1);
    if (role == RILL_ROLE_SYSTEM && place != RILL_CHAT_FIRST)
        return rill__fail(err, RILL_EINVAL, "a system message must be the first");
    const char *begin = row->begin[role];
    if (role == RILL_ROLE_USER && place == RILL_CHAT_AFTER_SYSTEM && row->user_after_system)
        begin = row->user_after_system;
    if (role == RILL_ROLE_USER && place == RILL_CHAT_LATER && row->user_later)
        begin = row->user_later;
    writer w;
    begin_writing(&w, t, out, place != RILL_CHAT_FIRST);
    rill_status status = place == RILL_CHAT_FIRST ? put_first(&w, err) : RILL_OK;
    if (status == RILL_OK) status = put_template(&w, begin, err);
    if (status == RILL_OK) status = put_message(&w, text, length, row->trim, err);
    if (status == RILL_OK && role == RILL_ROLE_ASSISTANT) status = put_template(&w, row->end, err);
    if (status == RILL_OK) status = put_template(&w, row->close[role], err);
    return end_writing(&w, status, err);
}

rill_status rill__chat_answer_prefix(const rill__tokenizer *t, rill__tokens *out, rill_error *err) {
    writer w;
    begin_writing(&w, t, out, true);
    return end_writing(&w, put_template(&w, t->chat->answer, err), err);
}

rill_status rill__chat_answer_suffix(const rill__tokenizer *t, bool ended, rill__tokens *out,
                                     rill_error *err) {
    writer w;
    begin_writing(&w, t, out, !ended);
    rill_status status = ended ? RILL_OK : put_template(&w, t->chat->end, err);
    if (status == RILL_OK) status = put_template(&w, t->chat->close[RILL_ROLE_ASSISTANT], err);
    return end_writing(&w, status, err);
}
