// SPDX-License-Identifier: MIT
// One pass over a text, token by token of loss, saved on the way.
#include "eval/trial.h"

#include "eval/perplexity.h"

#include "base/base.h"
#include "base/clock.h"

#include <math.h>

enum { PIECE = 64 };  // tokens fed at once: rows of logits that are held

typedef struct run {
    const rill__trial *trial;
    rill_stream *stream;
    rill__case *c;
    rill_progress_fn progress;
    void *user;
    float *logits;  // [PIECE, vocab_size]
    uint32_t vocab_size;
    size_t done;           // tokens predicted, of n_tokens - 1
    double sum;            // of their losses
    double since, before;  // clock at the start, seconds of earlier processes
} run;

static double seconds(const run *r) {
    return r->before + rill__seconds() - r->since;
}

static rill_status open_stream(rill_model *model, run *r, rill_error *err) {
    rill_status status = RILL_OK;
    if (r->c && !rill__case_finished(r->c)) status = rill__case_load(r->c, model, &r->stream, err);
    if (status == RILL_OK && !r->stream) {
        status = rill_stream_open(model, &r->trial->stream, &r->stream, err);
        if (status == RILL_OK && !rill__case_finished(r->c) && r->trial->n_fed)
            status = rill_stream_feed(r->stream, r->trial->fed, r->trial->n_fed, NULL, err);
    }
    return status;
}

// The losses that the journal has.
static rill_status read_losses(run *r, rill_error *err) {
    double losses[PIECE];
    size_t count = (size_t)rill__case_count(r->c);
    rill_status status = RILL_OK;
    while (r->done < count && status == RILL_OK) {
        size_t n = count - r->done < PIECE ? count - r->done : PIECE;
        status = rill__case_read(r->c, r->done, n, losses, err);
        for (size_t i = 0; i < n && status == RILL_OK; i++) r->sum += losses[i];
        r->done += n;
    }
    return status;
}

static rill_status predict_piece(run *r, rill_error *err) {
    const rill__trial *t = r->trial;
    double losses[PIECE];
    size_t left = t->n_tokens - 1 - r->done, n = left < PIECE ? left : PIECE;
    rill_status status = rill_stream_feed(r->stream, t->tokens + r->done, n, r->logits, err);
    if (status != RILL_OK) return status;
    for (size_t i = 0; i < n; i++) {
        losses[i] =
            rill__nll(r->logits + i * r->vocab_size, r->vocab_size, t->tokens[r->done + i + 1]);
        r->sum += losses[i];
    }
    r->done += n;
    status = rill__case_append(r->c, losses, n, err);
    bool stop = status == RILL_OK && r->progress && !r->progress(r->user, r->done, t->n_tokens - 1);
    if (status == RILL_OK && (stop || rill__case_due(r->c)))
        status = rill__case_save(r->c, r->stream, seconds(r), err);
    return status == RILL_OK && stop ? rill__fail(err, RILL_EINTERRUPTED, "interrupted") : status;
}

rill_status rill__trial_measure(rill_model *model, const rill__trial *trial, rill__case *c,
                                rill_progress_fn progress, void *user, double *perplexity,
                                uint64_t *cache_bytes, rill_error *err) {
    run r = {.trial = trial, .c = c, .progress = progress, .user = user, .since = rill__seconds()};
    rill_model_info info;
    size_t bytes;
    rill_model_get_info(model, &info);
    r.vocab_size = info.vocab_size;
    if (!rill__mul_size(PIECE * sizeof(float), info.vocab_size, &bytes) ||
        !(r.logits = rill__malloc(bytes)))
        return rill__fail_memory(err, "logits", (size_t)PIECE * sizeof(float) * info.vocab_size);
    r.before = rill__case_seconds(c);
    rill_status status = open_stream(model, &r, err);
    if (status == RILL_OK) status = read_losses(&r, err);
    while (status == RILL_OK && r.done < trial->n_tokens - 1) status = predict_piece(&r, err);
    if (status == RILL_OK && !rill__case_finished(c))
        status = rill__case_finish(c, seconds(&r), err);
    if (status == RILL_OK) {
        rill_stream_report report;
        rill_stream_get_report(r.stream, &report);
        *perplexity = exp(r.sum / (double)(trial->n_tokens - 1));
        *cache_bytes = report.bytes.cache;
    }
    rill_stream_close(&r.stream);
    rill__free(r.logits);
    return status;
}
