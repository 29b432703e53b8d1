// SPDX-License-Identifier: MIT
// Choices scored from one state: the stream is saved where they begin, and loaded again after each
// that was read. The true one comes last, so that the stream goes on from it.
#include "eval/arc.h"

#include "eval/perplexity.h"
#include "eval/room.h"
#include "eval/text.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_CHOICE = 64 };  // tokens whose logits are held at once

typedef struct measurement {
    rill_model *model;
    rill_stream *stream;
    const rill_stream_options *stream_options;
    const rill__quiz *quiz;
    rill__job *job;
    rill__arc *out;
    bool one_by_one;
    int file;  // the snapshot: it has no name, so nothing can be left of it; -1 until it is needed
    char snapshot[32];  // what leads to it while it is open
    size_t vocabulary;
    float *logits;  // [MAX_CHOICE, vocabulary]
    float *first;   // [vocabulary], where the choices begin
} measurement;

void rill__arc_deinit(rill__arc *a) {
    rill__free(a->answers);
    a->answers = NULL;
}

// ---- Texts ----------------------------------------------------------------------------------

// "Question: ...\nAnswer:" of one question; a blank line stands between two.
static rill_status question_text(const rill__quiz_item *item, bool begins, rill__bytes *out,
                                 rill_error *err) {
    const char *parts[] = {begins ? "" : "\n\n", "Question: ", item->question, "\nAnswer:"};
    rill_status status = RILL_OK;
    rill__bytes_reset(out);
    for (size_t i = 0; i < 4 && status == RILL_OK; i++)
        status = rill__bytes_append(out, parts[i], strlen(parts[i]), err);
    return status;
}

static rill_status choice_tokens(const rill_model *model, const char *choice, rill_token **tokens,
                                 size_t *n, rill_error *err) {
    rill__bytes text;
    rill__bytes_init(&text, 0);
    rill_status status = rill__bytes_append(&text, " ", 1, err);
    if (status == RILL_OK) status = rill__bytes_append(&text, choice, strlen(choice), err);
    if (status == RILL_OK) status = rill__encode_piece(model, text.data, false, tokens, n, err);
    rill__bytes_deinit(&text);
    if (status != RILL_OK || *n > 0) return status;
    rill_tokens_free(*tokens);
    return rill__fail(err, RILL_EINVAL, "choice '%.80s': has no token in this model", choice);
}

static rill_status question_tokens(const rill_model *model, const rill__quiz_item *item,
                                   bool begins, rill_token **tokens, size_t *n, rill_error *err) {
    rill__bytes text;
    rill__bytes_init(&text, 0);
    rill_status status = question_text(item, begins, &text, err);
    if (status == RILL_OK) status = rill__encode_piece(model, text.data, begins, tokens, n, err);
    rill__bytes_deinit(&text);
    return status;
}

rill_status rill__quiz_tokens(const rill_model *model, const rill__quiz *quiz, uint64_t *n,
                              rill_error *err) {
    rill_token *tokens;
    size_t some;
    rill_status status = rill__encode_begin(model, &tokens, &some, err);
    if (status != RILL_OK) return status;
    rill_tokens_free(tokens);
    *n = some;
    for (size_t i = 0; i < rill__quiz_count(quiz); i++) {
        const rill__quiz_item *item = rill__quiz_item_at(quiz, i);
        size_t longest = 0;
        status = question_tokens(model, item, i == 0, &tokens, &some, err);
        if (status != RILL_OK) return status;
        rill_tokens_free(tokens);
        *n += some;
        for (size_t j = 0; j < item->n_choices; j++) {
            status = choice_tokens(model, item->choices[j], &tokens, &some, err);
            if (status != RILL_OK) return status;
            rill_tokens_free(tokens);
            if (some > longest) longest = some;
        }
        *n += longest;  // wrong ones are read too
    }
    return RILL_OK;
}

// ---- The stream, put back -------------------------------------------------------------------

// A file in memory if there is room for it twice, else in $TMPDIR or /tmp; -1 with errno.
static int open_nameless(uint64_t bytes) {
    char path[PATH_MAX];
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder) folder = "/tmp";
    int file = rill__room() / 2 > bytes ? memfd_create("rill-arc", MFD_CLOEXEC) : -1;
    if (file < 0) file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0) return file;
    // Not every file system makes files without a name.
    snprintf(path, sizeof path, "%s/rill-arc-XXXXXX", folder);
    file = mkostemp(path, O_CLOEXEC);
    if (file >= 0) (void)unlink(path);
    return file;
}

static rill_status open_snapshot(measurement *m, rill_error *err) {
    rill_stream_report report;
    rill_stream_get_report(m->stream, &report);
    m->file = open_nameless(report.bytes.total);
    if (m->file < 0)
        return rill__fail(err, RILL_EIO, "a temporary file for the stream: %s", strerror(errno));
    snprintf(m->snapshot, sizeof m->snapshot, "/proc/self/fd/%d", m->file);
    return RILL_OK;
}

static rill_status keep_state(measurement *m, rill_error *err) {
    double began = rill__seconds();
    rill_status status = m->file >= 0 ? RILL_OK : open_snapshot(m, err);
    if (status == RILL_OK) status = rill_stream_save(m->stream, m->snapshot, err);
    m->out->copying_seconds += rill__seconds() - began;
    return status;
}

static rill_status put_back(measurement *m, rill_error *err) {
    double began = rill__seconds();
    rill_stream_close(&m->stream);
    rill_status status = rill_stream_load(m->model, m->snapshot, &m->stream, err);
    m->out->copying_seconds += rill__seconds() - began;
    m->out->n_copies++;
    return status;
}

// ---- Questions ------------------------------------------------------------------------------

// Log-likelihood of the tokens after those read so far; n - 1 of them are read, or, for `whole`,
// all.
static rill_status score(measurement *m, const rill_token *tokens, size_t n, bool whole,
                         double *sum, rill_error *err) {
    size_t done = 0, read = whole ? n : n - 1;
    *sum = -rill__nll(m->first, m->vocabulary, tokens[0]);
    while (done < read) {
        size_t some = read - done < MAX_CHOICE ? read - done : MAX_CHOICE;
        rill_status status = rill_stream_feed(m->stream, tokens + done, some, m->logits, err);
        if (status != RILL_OK) return status;
        for (size_t i = 0; i < some && done + i + 1 < n; i++)
            *sum -= rill__nll(m->logits + i * m->vocabulary, m->vocabulary, tokens[done + i + 1]);
        done += some;
    }
    return RILL_OK;
}

static double size_of(const char *choice) {
    return (double)rill__utf8_count(choice, strlen(choice));
}

// Scores all choices; the stream has read the question, and the true choice in the end.
static rill_status score_choices(measurement *m, const rill__quiz_item *item, double *scores,
                                 rill_error *err) {
    bool kept = false, moved = false;
    rill_status status = RILL_OK;
    for (size_t k = 0; k < item->n_choices && status == RILL_OK; k++) {
        // Wrong ones in their order, then the true one.
        bool last = k + 1 == item->n_choices;
        size_t i = last ? item->right : k < item->right ? k : k + 1;
        rill_token *tokens = NULL;
        size_t n;
        status = choice_tokens(m->model, item->choices[i], &tokens, &n, err);
        if (status != RILL_OK) return status;
        // A wrong choice of one token is scored without reading anything.
        bool reads = last || n > 1;
        if (reads && moved) status = put_back(m, err);
        if (status == RILL_OK && reads && !kept && !last) status = keep_state(m, err);
        kept = kept || (reads && !last);
        if (status == RILL_OK) status = score(m, tokens, n, last, &scores[i], err);
        moved = moved || reads;
        rill_tokens_free(tokens);
    }
    return status;
}

static size_t best(const double *scores, size_t n) {
    size_t found = 0;
    for (size_t i = 1; i < n; i++)
        if (scores[i] > scores[found]) found = i;
    return found;
}

static rill_status feed_begin(measurement *m, rill_error *err) {
    rill_token *tokens;
    size_t n;
    rill_status status = rill__encode_begin(m->model, &tokens, &n, err);
    if (status != RILL_OK) return status;
    if (n) status = rill_stream_feed(m->stream, tokens, n, NULL, err);
    rill_tokens_free(tokens);
    return status;
}

static rill_status take(measurement *m, const rill__quiz_answer *answer, rill_error *err) {
    m->out->answers[m->out->n_answers++] = *answer;
    return rill__case_append(m->job->journal, answer, 1, err);
}

static rill_status ask(measurement *m, size_t index, rill_error *err) {
    const rill__quiz_item *item = rill__quiz_item_at(m->quiz, index);
    bool begins = index == 0 || m->one_by_one;
    rill_token *tokens = NULL;
    size_t n;
    const float *logits;
    rill_stream_report report;
    double scores[RILL_MAX_CHOICES], by_size[RILL_MAX_CHOICES];
    if (m->one_by_one) rill_stream_reset(m->stream);
    rill_status status = begins ? feed_begin(m, err) : RILL_OK;
    if (status == RILL_OK) status = question_tokens(m->model, item, begins, &tokens, &n, err);
    if (status != RILL_OK) return status;
    status = rill_stream_feed(m->stream, tokens, n, NULL, err);
    rill_tokens_free(tokens);
    rill_stream_get_report(m->stream, &report);
    if (status == RILL_OK) status = rill_stream_logits(m->stream, &logits, err);
    if (status != RILL_OK) return status;
    memcpy(m->first, logits, m->vocabulary * sizeof *logits);
    status = score_choices(m, item, scores, err);
    if (status != RILL_OK) return status;
    for (size_t i = 0; i < item->n_choices; i++) by_size[i] = scores[i] / size_of(item->choices[i]);
    const rill__quiz_answer answer = {.place = report.seen,
                                      .right = (uint32_t)item->right,
                                      .chosen = (uint32_t)best(scores, item->n_choices),
                                      .chosen_by_size = (uint32_t)best(by_size, item->n_choices),
                                      .n_choices = (uint32_t)item->n_choices};
    return take(m, &answer, err);
}

static rill_status ask_all(measurement *m, rill_error *err) {
    size_t n = rill__quiz_count(m->quiz);
    for (size_t i = m->out->n_answers;; i++) {
        rill_status status = RILL_OK;
        if (rill__job_tell(m->job, i, n))
            status = rill__job_save(m->job, m->stream, "questions", err);
        if (status == RILL_OK && i == n) return RILL_OK;
        if (status == RILL_OK) status = ask(m, i, err);
        if (status != RILL_OK) return status;
    }
}

// ---- All ------------------------------------------------------------------------------------

static rill_status recall(measurement *m, rill_error *err) {
    uint64_t n = rill__case_count(m->job->journal);
    if (n > rill__quiz_count(m->quiz))
        return rill__fail(err, RILL_EFORMAT,
                          "the journal has more answers than there are questions");
    m->out->n_answers = (size_t)n;
    return rill__case_read(m->job->journal, 0, (size_t)n, m->out->answers, err);
}

static rill_status run(measurement *m, rill_error *err) {
    bool finished = rill__case_finished(m->job->journal);
    rill_status status = rill__job_begin(m->job, m->model, &m->stream, err);
    if (status == RILL_OK) status = recall(m, err);
    if (status != RILL_OK || finished) return status;
    if (!m->stream) status = rill_stream_open(m->model, m->stream_options, &m->stream, err);
    if (status == RILL_OK) status = ask_all(m, err);
    return status == RILL_OK ? rill__job_finish(m->job, err) : status;
}

rill_status rill__arc_measure(rill_model *model, const rill_stream_options *options,
                              const rill__quiz *quiz, const rill__arc_options *arc_options,
                              rill__job *job, rill__arc *out, rill_error *err) {
    measurement m = {.model = model,
                     .stream_options = options,
                     .quiz = quiz,
                     .job = job,
                     .out = out,
                     .file = -1,
                     .one_by_one = arc_options->one_by_one};
    rill_model_info info;
    size_t bytes;
    *out = (rill__arc){0};
    rill_model_get_info(model, &info);
    m.vocabulary = info.vocab_size;
    if (!rill__mul_size((MAX_CHOICE + 1) * sizeof(float), m.vocabulary, &bytes))
        return rill__fail_memory(err, "logits", SIZE_MAX);
    m.logits = rill__malloc(bytes);
    out->answers = rill__calloc(rill__quiz_count(quiz) + 1, sizeof *out->answers);
    rill_status status =
        m.logits && out->answers ? RILL_OK : rill__fail_memory(err, "logits", bytes);
    if (status == RILL_OK) {
        m.first = m.logits + (size_t)MAX_CHOICE * m.vocabulary;
        status = run(&m, err);
    }
    out->seconds = rill__job_seconds(job);
    rill_stream_close(&m.stream);
    if (m.file >= 0) close(m.file);
    rill__free(m.logits);
    return status;
}
