// SPDX-License-Identifier: MIT
// Perplexity: exp of the mean negative log-likelihood of each token given what the stream sees.
#include "eval/perplexity.h"

#include "base/base.h"
#include "base/clock.h"

#include <math.h>

enum { PIECE = 64 };  // tokens fed at once: rows of logits that are held

double rill__nll(const float *logits, size_t n, rill_token token) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = logits[i] > most ? (double)logits[i] : most;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    return most + log(sum) - (double)logits[token];
}

rill_status rill__perplexity_measure(rill_stream *stream, const rill_token *tokens, size_t n_tokens,
                                     rill_progress_fn progress, void *user, rill__perplexity *out,
                                     rill_error *err) {
    rill_model_info info;
    rill_stream_report report;
    size_t bytes;
    rill_model_get_info(rill_stream_model(stream), &info);
    if (n_tokens < 2)
        return rill__fail(err, RILL_EINVAL, "text: %zu tokens: at least 2 are right", n_tokens);
    if (!rill__mul_size(PIECE * sizeof(float), info.vocab_size, &bytes))
        return rill__fail_memory(err, "logits", SIZE_MAX);
    float *logits = rill__malloc(bytes);
    if (!logits) return rill__fail_memory(err, "logits", bytes);

    double sum = 0, start = rill__seconds();
    size_t n = n_tokens - 1;  // the last token is predicted only
    rill_status status = RILL_OK;
    for (size_t i = 0; i < n && status == RILL_OK; i += PIECE) {
        size_t piece = n - i < PIECE ? n - i : PIECE;
        status = rill_stream_feed(stream, tokens + i, piece, logits, err);
        for (size_t j = 0; status == RILL_OK && j < piece; j++)
            sum += rill__nll(logits + j * info.vocab_size, info.vocab_size, tokens[i + j + 1]);
        if (status == RILL_OK && progress && !progress(user, i + piece, n))
            status = rill__fail(err, RILL_EINTERRUPTED, "interrupted after %zu tokens", i + piece);
    }
    rill__free(logits);
    if (status != RILL_OK) return status;

    rill_stream_get_report(stream, &report);
    out->predicted = n;
    out->mean_nll = sum / (double)n;
    out->perplexity = exp(out->mean_nll);
    out->seconds = rill__seconds() - start;
    out->tokens_per_second = out->seconds > 0 ? (double)n / out->seconds : 0;
    out->cache_bytes = report.bytes.cache;
    return RILL_OK;
}
