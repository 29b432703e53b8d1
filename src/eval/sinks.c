// SPDX-License-Identifier: MIT
// Choices of sinks, and what the measured perplexities recommend.
#include "eval/sinks.h"

#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The token at a position of head and body together.
static rill_token token_at(const rill__sinks_text *t, size_t position) {
    return position < t->n_head ? t->head[position] : t->body[position - t->n_head];
}

static rill__sinks_choice make(const char *key, const char *name, uint32_t n, const rill_token *fed,
                               size_t n_fed) {
    rill__sinks_choice c = {.n = n, .n_fed = n_fed};
    snprintf(c.key, sizeof c.key, "%s", key);
    snprintf(c.name, sizeof c.name, "%s", name);
    memcpy(c.fed, fed, n_fed * sizeof *fed);
    return c;
}

// The token with most attention, unless it is the first, and the two with most.
static size_t most_attended(const rill__sinks_text *t, const uint32_t by_attention[2],
                            rill__sinks_choice *out) {
    const rill_token most[2] = {token_at(t, by_attention[0]), token_at(t, by_attention[1])};
    char key[24], name[64];
    size_t n = 0;
    if (by_attention[0] != 0) {
        snprintf(key, sizeof key, "most_%u", by_attention[0]);
        snprintf(name, sizeof name, "token %u alone: most attention", by_attention[0]);
        out[n++] = make(key, name, 1, most, 1);
    }
    snprintf(key, sizeof key, "most_%u_%u", by_attention[0], by_attention[1]);
    snprintf(name, sizeof name, "tokens %u and %u: most attention", by_attention[0],
             by_attention[1]);
    out[n++] = make(key, name, 2, most, 2);
    return n;
}

size_t rill__sinks_choices(const rill__sinks_text *t, const uint32_t by_attention[2],
                           const rill_token *newline, rill__sinks_choice *out) {
    size_t n = 0, n_head = t->n_head < RILL_SINKS_MOST_FED ? t->n_head : RILL_SINKS_MOST_FED;
    const rill_token *head = t->n_head ? t->head : t->body;
    out[n++] = make("first_4", "the first 4 tokens", 4, head, n_head);
    out[n++] = make("first_1", "the first token", 1, head, n_head);
    if (by_attention) n += most_attended(t, by_attention, out + n);
    if (t->n_head) out[n++] = make("no_begin", "the first 4, no begin token", 4, t->body, 0);
    if (newline) {
        const rill_token lines[4] = {*newline, *newline, *newline, *newline};
        out[n++] = make("newline_4", "4 newlines", 4, lines, 4);
    }
    out[n++] = make("middle_4", "4 tokens of the middle", 4, t->body + t->n_body / 2, 4);
    return n;
}

bool rill__sinks_best(const rill__sinks_trial *trials, size_t n, size_t *best) {
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(trials[i].perplexity)) continue;
        if (!found || trials[i].perplexity < trials[*best].perplexity) *best = i;
        found = true;
    }
    return found;
}

bool rill__sinks_fewest(const rill__sinks_trial *trials, size_t n, size_t *fewest) {
    if (!rill__sinks_best(trials, n, fewest)) return false;
    double enough = trials[*fewest].perplexity * (1 + RILL_SINKS_TOLERANCE);
    for (size_t i = 0; i < n; i++)
        if (trials[i].perplexity <= enough && trials[i].sinks < trials[*fewest].sinks) *fewest = i;
    return true;
}

static rill_status cache_bytes(const rill_model *model, const rill_stream_options *options,
                               uint32_t window, uint64_t *bytes, rill_error *err) {
    rill_stream_options o = *options;
    rill_stream_bytes taken;
    o.window = window;
    rill_status status = rill_stream_estimate(model, &o, NULL, &taken, err);
    *bytes = status == RILL_OK ? taken.cache : 0;
    return status;
}

rill_status rill__sinks_least(const rill_model *model, const rill_stream_options *options,
                              uint64_t *bytes, rill_error *err) {
    return cache_bytes(model, options, 1, bytes, err);
}

rill_status rill__sinks_widest(const rill_model *model, const rill_stream_options *options,
                               uint64_t memory, uint32_t most, uint32_t *window, rill_error *err) {
    uint64_t bytes;
    uint32_t low = 1, high = most > options->sinks ? most - options->sinks : 1;
    rill_status status = cache_bytes(model, options, low, &bytes, err);
    if (status == RILL_OK && bytes > memory)
        return rill__fail(err, RILL_EINVAL,
                          "memory: %llu bytes: a cache with %u sinks wants at least %llu",
                          (unsigned long long)memory, options->sinks, (unsigned long long)bytes);
    // The bytes rise with the window: the last one that fits lies in [low, high].
    while (low < high && status == RILL_OK) {
        uint32_t middle = low + (high - low + 1) / 2;
        status = cache_bytes(model, options, middle, &bytes, err);
        if (bytes <= memory)
            low = middle;
        else
            high = middle - 1;
    }
    if (status == RILL_OK) *window = low;
    return status;
}
