// SPDX-License-Identifier: MIT
// Times tokens one by one with a full cache.
//
// A token's time is from handing it over to having the logits after it, whatever the method does
// in between. Every token that was timed counts. Which tokens are read does not matter to the
// time; they are drawn from a seed, the same for all methods.
#include "eval/latency.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/random.h"

#include "eval/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 256 };  // tokens fed between two looks at `progress`

typedef struct timer {
    const rill__latency_case *c;
    rill_stream *stream;
    uint32_t vocab_size;
    uint64_t random[4];
    rill_progress_fn progress;
    void *user;
    uint64_t done, total;  // tokens computed, and to be computed
} timer;

const char *rill__latency_kind_name(rill__latency_kind kind) {
    return kind == RILL_LATENCY_PREFILL ? "prefill" : rill__method_name((rill_method)kind);
}

static double now(const timer *t) {
    return t->c->clock ? t->c->clock(t->c->clock_user) : rill__seconds();
}

static rill_token next_token(timer *t) {
    return (rill_token)(rill__random_next(t->random) % t->vocab_size);
}

static rill_status advance(timer *t, uint64_t tokens, rill_error *err) {
    t->done += tokens;
    if (t->progress && !t->progress(t->user, t->done, t->total) && t->done < t->total)
        return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
    return RILL_OK;
}

// Off the clock.
static rill_status fill(timer *t, size_t n, rill_error *err) {
    rill_token tokens[PIECE];
    rill_status status = RILL_OK;
    while (n > 0 && status == RILL_OK) {
        size_t piece = n < PIECE ? n : PIECE;
        for (size_t i = 0; i < piece; i++) tokens[i] = next_token(t);
        status = rill_stream_feed(t->stream, tokens, piece, NULL, err);
        if (status == RILL_OK) status = advance(t, piece, err);
        n -= piece;
    }
    return status;
}

// Hands tokens over and waits for the logits after the last.
static rill_status step(timer *t, const rill_token *tokens, size_t n, double *seconds,
                        rill_error *err) {
    const float *logits;
    double start = now(t);
    rill_status status = rill_stream_feed(t->stream, tokens, n, NULL, err);
    if (status == RILL_OK) status = rill_stream_logits(t->stream, &logits, err);
    *seconds = now(t) - start;
    return status;
}

static uint64_t capacity_of(const rill__latency_case *c) {
    return (uint64_t)c->stream.sinks + c->stream.window;
}

// Tokens read before the first one is timed.
static uint64_t to_fill(const rill__latency_case *c) {
    return capacity_of(c) - (c->kind == RILL_LATENCY_DENSE ? c->n : 0);
}

// Tokens computed for one time: those of the whole window where all of it is passed over.
static uint64_t work_of_one(const rill__latency_case *c) {
    bool pass = c->kind == RILL_LATENCY_RECOMPUTE || c->kind == RILL_LATENCY_PREFILL;
    return pass ? capacity_of(c) : 1;
}

uint64_t rill__latency_work(const rill__latency_case *c) {
    // A reading is preceded by one that is not timed.
    uint64_t before = c->kind == RILL_LATENCY_PREFILL ? capacity_of(c) : to_fill(c);
    return before + c->n * work_of_one(c);
}

static rill_status time_tokens(timer *t, double *seconds, rill_error *err) {
    rill_status status = fill(t, (size_t)to_fill(t->c), err);
    for (size_t i = 0; i < t->c->n && status == RILL_OK; i++) {
        rill_token token = next_token(t);
        status = step(t, &token, 1, &seconds[i], err);
        if (status == RILL_OK) status = advance(t, work_of_one(t->c), err);
    }
    return status;
}

static rill_status time_readings(timer *t, double *seconds, rill_error *err) {
    size_t capacity = (size_t)capacity_of(t->c);
    double warm_up;
    rill_token *tokens = rill__calloc(capacity, sizeof *tokens);
    if (!tokens) return rill__fail_memory(err, "tokens", capacity * sizeof *tokens);
    rill_status status = RILL_OK;
    for (size_t i = 0; i <= t->c->n && status == RILL_OK; i++) {
        for (size_t j = 0; j < capacity; j++) tokens[j] = next_token(t);
        rill_stream_reset(t->stream);
        status = step(t, tokens, capacity, i ? &seconds[i - 1] : &warm_up, err);
        if (status == RILL_OK) status = advance(t, capacity, err);
    }
    rill__free(tokens);
    return status;
}

rill_status rill__latency_resolve(const rill_model *model, rill__latency_case *c, rill_error *err) {
    rill_stream_options *o = &c->stream;
    rill_stream_bytes bytes;
    o->method = c->kind == RILL_LATENCY_PREFILL ? RILL_METHOD_DENSE : (rill_method)c->kind;
    if (c->kind != RILL_LATENCY_STREAMING) o->sinks = 0;
    o->over_context = true;  // nonsense takes as long as sense
    rill_status status = rill_stream_estimate(model, o, o, &bytes, err);
    if (status != RILL_OK) return status;
    uint64_t capacity = capacity_of(c);
    if (capacity < 2)
        return rill__fail(err, RILL_EINVAL, "capacity: %llu: at least 2 is right",
                          (unsigned long long)capacity);
    if (c->n == 0 || (c->kind == RILL_LATENCY_DENSE && c->n > capacity))
        return rill__fail(err, RILL_EINVAL, "tokens: %zu to time: 1 to %llu is right", c->n,
                          (unsigned long long)capacity);
    return RILL_OK;
}

// Bytes of this process that are in memory; 0 where the system does not say.
static uint64_t resident_bytes(void) {
    unsigned long kib = 0;
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Rss: %lu", &kib) == 1) break;
    if (file) fclose(file);
    return (uint64_t)kib * 1024;
}

static void report(const timer *t, rill__latency_run *out) {
    rill_stream_report r;
    const rill_stream_options *o = rill_stream_get_options(t->stream);
    rill_stream_get_report(t->stream, &r);
    bool grows = t->c->kind == RILL_LATENCY_DENSE;
    *out = (rill__latency_run){
        .evictions = r.evictions,
        .held_first = grows ? r.held - t->c->n + 1 : r.held,
        .held_last = r.held,
        .cache_bytes = r.bytes.cache,
        .stream_bytes = r.bytes.total,
        .resident_bytes = resident_bytes(),
        .chunk = o->chunk,
        .key_type = o->key_type,
        .value_type = o->value_type,
        .roof = t->c->roof,
    };
}

rill_status rill__latency_measure(rill_model *model, const rill__latency_case *c, double *seconds,
                                  rill__latency_run *out, rill_progress_fn progress, void *user,
                                  rill_error *err) {
    timer t = {.c = c, .progress = progress, .user = user, .total = rill__latency_work(c)};
    rill_model_info info;
    rill_model_get_info(model, &info);
    t.vocab_size = info.vocab_size;
    rill__random_seed(t.random, c->seed);
    rill_status status = rill_stream_open(model, &c->stream, &t.stream, err);
    if (status == RILL_OK)
        status = c->kind == RILL_LATENCY_PREFILL ? time_readings(&t, seconds, err)
                                                 : time_tokens(&t, seconds, err);
    if (status == RILL_OK) report(&t, out);
    rill_stream_close(&t.stream);
    return status;
}

size_t rill__latency_record(const rill__latency_case *c) {
    return sizeof(rill__latency_run) + c->n * sizeof(double);
}

typedef struct resumed {
    rill_model *model;
    const rill__latency_case *c;
    const rill__job *job;
    double *seconds;
    rill__latency_run *out;
} resumed;

static rill_status fill_record(void *user, void *record, size_t n, rill_error *err) {
    const resumed *r = user;
    (void)n;
    rill_status status = rill__latency_measure(r->model, r->c, r->seconds, r->out, r->job->progress,
                                               r->job->user, err);
    if (status != RILL_OK) return status;
    memcpy(record, r->out, sizeof *r->out);
    memcpy((char *)record + sizeof *r->out, r->seconds, r->c->n * sizeof *r->seconds);
    return RILL_OK;
}

rill_status rill__latency_resume(rill_model *model, const rill__latency_case *c,
                                 const rill__job *job, double *seconds, rill__latency_run *out,
                                 rill_error *err) {
    resumed r = {model, c, job, seconds, out};
    size_t bytes = rill__latency_record(c);
    char *record = rill__malloc(bytes);
    if (!record) return rill__fail_memory(err, "times", bytes);
    rill_status status = rill__case_once(job->journal, record, 1, fill_record, &r, err);
    if (status == RILL_OK) {
        memcpy(out, record, sizeof *out);
        memcpy(seconds, record + sizeof *out, c->n * sizeof *seconds);
    }
    rill__free(record);
    return status;
}

double rill__percentile(const double *sorted, size_t n, unsigned thousandths) {
    size_t rank = (n * thousandths + 999) / 1000;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, compare_doubles);
    return rill__percentile(values, n, 500);
}

// The median of the tokens [from, from + count) of every run.
static double median_of_parts(const double *seconds, size_t n_runs, size_t n, size_t from,
                              size_t count, double *scratch) {
    for (size_t run = 0; run < n_runs; run++)
        memcpy(scratch + run * count, seconds + run * n + from, count * sizeof *seconds);
    return median(scratch, n_runs * count);
}

rill_status rill__latency_summarize(const double *seconds, size_t n_runs, size_t n,
                                    rill__latency_summary *out, rill_error *err) {
    size_t all = n_runs * n, tenth = n < 10 ? 1 : n / 10;
    double *scratch = rill__calloc(all, sizeof *scratch);
    if (!scratch) return rill__fail_memory(err, "times", all * sizeof *scratch);
    rill__latency_summary s = {.n = all};
    for (size_t i = 0; i < all; i++) s.mean += seconds[i] / (double)all;
    for (size_t run = 0; run < n_runs; run++) {
        double m = median_of_parts(seconds + run * n, 1, n, 0, n, scratch);
        s.low = run == 0 || m < s.low ? m : s.low;
        s.high = m > s.high ? m : s.high;
    }
    s.first = median_of_parts(seconds, n_runs, n, 0, tenth, scratch);
    s.last = median_of_parts(seconds, n_runs, n, n - tenth, tenth, scratch);
    s.p50 = median_of_parts(seconds, n_runs, n, 0, n, scratch);  // sorts them all
    s.p99 = rill__percentile(scratch, all, 990);
    s.worst = scratch[all - 1];
    rill__free(scratch);
    *out = s;
    return RILL_OK;
}
