// SPDX-License-Identifier: MIT
// rill bench: tokens a second, beside what the machine could do at most.
//
// A token written reads every weight of its matrices once and the whole cache once; a token read
// takes two operations for each such weight. Both are divided by what rill_device_measure found in
// the same run: the shares say how near the roof is.
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/number.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/clock.h"

#include <stdlib.h>

enum { MAX_RUNS = 1000 };

typedef struct figure {
    double rates[MAX_RUNS];  // tokens a second of each run, sorted at the end
    double median, low, high;
} figure;

typedef struct bench {
    rill__session session;
    const rill__settings *settings;
    rill_roof roof;
    uint64_t state;  // of the generator of tokens
    figure prefill, decode;
} bench;

// xorshift64: which tokens are read does not matter, that they differ does.
static rill_token next_token(bench *b) {
    b->state ^= b->state << 13;
    b->state ^= b->state >> 7;
    b->state ^= b->state << 17;
    return (rill_token)(b->state % b->session.info.vocab_size);
}

static rill_status feed_random(bench *b, size_t n, rill_error *err) {
    rill_token tokens[256];
    rill_status status = RILL_OK;
    for (size_t done = 0; done < n && status == RILL_OK;) {
        size_t piece = n - done < 256 ? n - done : 256;
        for (size_t i = 0; i < piece; i++) tokens[i] = next_token(b);
        status = rill_stream_feed(b->session.stream, tokens, piece, NULL, err);
        done += piece;
        if (status == RILL_OK && rill__interrupted())
            status = rill__fail(err, RILL_EINTERRUPTED, "interrupted");
    }
    return status;
}

static rill_status run_prefill(bench *b, double *rate, rill_error *err) {
    size_t n = b->settings->prefill;
    const float *logits;
    rill_token *tokens = rill__calloc(n, sizeof *tokens);
    if (!tokens) return rill__fail_memory(err, "tokens", n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) tokens[i] = next_token(b);
    rill_stream_reset(b->session.stream);
    double start = rill__seconds();
    rill_status status = rill_stream_feed(b->session.stream, tokens, n, NULL, err);
    if (status == RILL_OK) status = rill_stream_logits(b->session.stream, &logits, err);
    *rate = (double)n / (rill__seconds() - start);
    rill__free(tokens);
    return status;
}

static rill_status run_decode(bench *b, double *rate, rill_error *err) {
    size_t n = b->settings->decode;
    rill_token token;
    double start = rill__seconds();
    for (size_t i = 0; i < n; i++) {
        rill_status status = rill_stream_sample(b->session.stream, &token, err);
        if (status == RILL_OK) status = rill_stream_feed(b->session.stream, &token, 1, NULL, err);
        if (status == RILL_OK && rill__interrupted())
            status = rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        if (status != RILL_OK) return status;
    }
    *rate = (double)n / (rill__seconds() - start);
    return RILL_OK;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void finish_figure(figure *f, size_t runs) {
    qsort(f->rates, runs, sizeof *f->rates, compare_doubles);
    f->low = f->rates[0];
    f->high = f->rates[runs - 1];
    f->median = runs % 2 ? f->rates[runs / 2] : (f->rates[runs / 2 - 1] + f->rates[runs / 2]) / 2;
}

static rill_status measure(bench *b, rill_error *err) {
    size_t runs = b->settings->runs;
    rill_status status = rill_device_measure(b->session.device, &b->roof, err);
    for (size_t i = 0; i < runs && status == RILL_OK; i++) {
        if (!rill__progress((void *)"reading", i, runs))
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        status = run_prefill(b, &b->prefill.rates[i], err);
    }
    // Past the window, so that every token written evicts one.
    rill_stream_reset(b->session.stream);
    if (status == RILL_OK) status = feed_random(b, b->settings->context + 1u, err);
    for (size_t i = 0; i < runs && status == RILL_OK; i++) {
        if (!rill__progress((void *)"writing", i, runs))
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        status = run_decode(b, &b->decode.rates[i], err);
    }
    (void)rill__progress((void *)"writing", runs, runs);
    finish_figure(&b->prefill, runs);
    finish_figure(&b->decode, runs);
    return status;
}

// Weights in the matrices that a token goes through: all but the table of embeddings.
static double active_weights(const rill_model_info *m) {
    double heads = (double)m->n_heads * m->head_dim, kv = (double)m->n_kv_heads * m->head_dim;
    double layer = 2.0 * m->hidden_size * heads + 2.0 * m->hidden_size * kv +
                   3.0 * m->hidden_size * m->ffn_size;
    return m->n_layers * layer + (double)m->vocab_size * m->hidden_size;
}

static void print(const bench *b) {
    const rill_model_info *m = &b->session.info;
    rill_stream_report report;
    rill_stream_get_report(b->session.stream, &report);
    double weights = active_weights(m);
    double weight_bytes =
        m->n_parameters ? weights * (double)m->weight_bytes / (double)m->n_parameters : 0;
    const rill_stream_options *o = rill_stream_get_options(b->session.stream);
    double cache_bytes =
        (double)report.capacity * (double)rill_token_bytes(m, o->key_type, o->value_type);
    double bytes = weight_bytes + cache_bytes;
    // Weights in blocks of bytes are multiplied as bytes, the others as floats.
    bool quantised = m->weight_type != RILL_TYPE_F32 && m->weight_type != RILL_TYPE_F16 &&
                     m->weight_type != RILL_TYPE_BF16;
    double peak = quantised ? b->roof.int8_ops_per_second : b->roof.f32_flops_per_second;
    double read_share = bytes * b->decode.median / b->roof.read_bytes_per_second;
    double ops_share = 2 * weights * b->prefill.median / peak;
    if (b->settings->json) {
        (void)rill__machine_line(json_pack(
            "{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
            "s:f, s:i}",
            "model", m->name, "type", rill_type_name(m->weight_type), "device",
            rill_device_describe(b->session.device), "runs", (int)b->settings->runs, "prefill",
            (int)b->settings->prefill, "prefill_tokens_per_second", b->prefill.median,
            "prefill_low", b->prefill.low, "prefill_high", b->prefill.high, "window",
            (int)report.capacity, "decode_tokens_per_second", b->decode.median, "decode_low",
            b->decode.low, "decode_high", b->decode.high, "bytes_per_token", bytes, "ops_per_token",
            2 * weights, "read_bytes_per_second", b->roof.read_bytes_per_second, "ops_per_second",
            peak, "decode_share", read_share, "prefill_share", ops_share, "threads",
            (int)rill_device_threads(b->session.device)));
        return;
    }
    char size[32];
    rill__number_bytes(size, sizeof size, (uint64_t)bytes);
    rill__outputf("%s, %s, %s\n", m->name, rill_type_name(m->weight_type),
                  rill_device_describe(b->session.device));
    rill__outputf("reading %u tokens       %9.1f tokens/s  (%.1f to %.1f)  %5.1f%% of %.0f G%s/s\n",
                  b->settings->prefill, b->prefill.median, b->prefill.low, b->prefill.high,
                  100 * ops_share, peak / 1e9, quantised ? "op (int8)" : "flop");
    rill__outputf(
        "writing, %u visible    %9.1f tokens/s  (%.1f to %.1f)  %5.1f%% of %.1f GB/s, %s a "
        "token\n",
        report.capacity, b->decode.median, b->decode.low, b->decode.high, 100 * read_share,
        b->roof.read_bytes_per_second / 1e9, size);
}

static rill_status open_model(bench *b, rill_error *err) {
    const rill__settings *s = b->settings;
    rill__session *session = &b->session;
    if (!s->synthetic)
        return rill__session_open(session, s, s->n_positionals ? s->positionals[0] : NULL, err);
    if (s->n_positionals)
        return rill__fail(err, RILL_EINVAL, "--synthetic: %.80s is given too: one of them",
                          s->positionals[0]);
    rill_status status = rill_device_open(&s->device, &session->device, err);
    if (status == RILL_OK)
        status = rill_model_open_synthetic(session->device, s->synthetic, s->type, s->sampling.seed,
                                           &session->model, err);
    if (status == RILL_OK) rill_model_get_info(session->model, &session->info);
    return status;
}

static int run(rill__settings *s) {
    static bench b;  // 16 KB of figures: not for the stack
    rill_error err = {0};
    b.settings = s;
    b.state = s->sampling.seed * 2 + 0x9E3779B97F4A7C15u;
    // The window is wider than some models were trained on: speed does not care.
    s->stream.sinks = 4;
    s->stream.window = s->context - 4;
    s->stream.over_context = true;
    rill_status status = open_model(&b, &err);
    if (status == RILL_OK) status = rill__session_stream(&b.session, s, RILL_FOR_BENCH, true, &err);
    if (status == RILL_OK) status = measure(&b, &err);
    if (status == RILL_OK) print(&b);
    rill__session_close(&b.session);
    return status == RILL_OK ? rill__output_status() : rill__report(&err);
}

const rill__command rill__command_bench = {
    .name = "bench",
    .bit = RILL_FOR_BENCH,
    .usage = "[MODEL | --synthetic llama-1b --type q8_0] [options]",
    .summary = "measure tokens a second beside the machine's limits",
    .details =
        "Reads --prefill tokens at once and writes --decode tokens with a full window, several\n"
        "times: medians, spreads, and their shares of the memory bandwidth and arithmetic that\n"
        "were measured in the same run. --type is for --synthetic.",
    .max_positionals = 1,
    .run = run,
};
