// SPDX-License-Identifier: MIT
// rill bench: tokens a second, beside what the machine could do at most.
//
// The roof is that of src/eval/cost.c, with the limits that rill_device_measure found in the same
// run. The share says how near to it we are.
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/clock.h"
#include "base/number.h"

#include "eval/cost.h"

#include <stdio.h>
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
    rill__bar reading = {.label = "reading"}, writing = {.label = "writing"};
    rill_status status = rill_device_measure(b->session.device, &b->roof, err);
    for (size_t i = 0; i < runs && status == RILL_OK; i++) {
        if (!rill__progress(&reading, i, runs))
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        status = run_prefill(b, &b->prefill.rates[i], err);
    }
    // Past the window, so that every token written evicts one.
    rill_stream_reset(b->session.stream);
    if (status == RILL_OK) status = feed_random(b, b->settings->context + 1u, err);
    for (size_t i = 0; i < runs && status == RILL_OK; i++) {
        if (!rill__progress(&writing, i, runs))
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        status = run_decode(b, &b->decode.rates[i], err);
    }
    (void)rill__progress(&writing, runs, runs);
    finish_figure(&b->prefill, runs);
    finish_figure(&b->decode, runs);
    return status;
}

// `sharing` tokens are read together and share one pass over the weights, each sees `visible`
// others, and `outputs` of a token's share of the logits is computed.
static rill__token_cost token_cost(const bench *b, double sharing, double visible, double outputs) {
    const rill_stream_options *o = rill_stream_get_options(b->session.stream);
    return rill__token_cost_at(
        &b->session.info, o->key_type, o->value_type, &b->roof,
        (rill__token_work){.together = sharing, .visible = visible, .outputs = outputs});
}

static double peak_flops(const bench *b) {
    return rill__roof_flops(&b->roof, b->session.info.weight_type);
}

// One case: a line for people, an object for machines.
static void print_row(const bench *b, const char *name, uint32_t tokens, const figure *f,
                      rill__token_cost c) {
    const rill_model_info *m = &b->session.info;
    double share = c.rate > 0 ? f->median / c.rate : 0;
    if (b->settings->json) {
        (void)rill__machine_line(json_pack(
            "{s:s, s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i}", "case",
            name, "model", m->name, "type", rill_type_name(m->weight_type), "tier",
            rill_device_tier(b->session.device), "threads",
            (int)rill_device_threads(b->session.device), "tokens", (int)tokens, "tokens_per_second",
            f->median, "low", f->low, "high", f->high, "bytes_per_token", c.bytes,
            "roof_bytes_per_second", b->roof.read_bytes_per_second, "flops_per_token", c.flops,
            "roof_flops_per_second", peak_flops(b), "share", share, "runs",
            (int)b->settings->runs));
        return;
    }
    char range[48];
    snprintf(range, sizeof range, "%.1f to %.1f", f->low, f->high);
    rill__outputf("%-8s %6u %10.1f   %-20s %8.1f  %5.1f%%  %s\n", name, tokens, f->median, range,
                  c.rate, 100 * share, c.by_bytes ? "memory" : "arithmetic");
}

static void print(const bench *b) {
    const rill_model_info *m = &b->session.info;
    uint32_t prefill = b->settings->prefill;
    uint32_t chunk = rill_stream_get_options(b->session.stream)->chunk;
    rill_stream_report report;
    rill_stream_get_report(b->session.stream, &report);
    double together = chunk < prefill ? chunk : prefill;
    double seen = prefill < report.capacity ? prefill / 2.0 : report.capacity;
    rill__token_cost reading = token_cost(b, together, seen, 1.0 / prefill);
    rill__token_cost writing = token_cost(b, 1, report.capacity, 1);
    if (!b->settings->json) {
        char size[32];
        rill__number_bytes(size, sizeof size, (uint64_t)writing.bytes);
        rill__outputf("%s, %s, %s\n", m->name, rill_type_name(m->weight_type),
                      rill_device_describe(b->session.device));
        rill__outputf("machine: reads %.1f GB/s, computes %.0f G%s/s; a token written reads %s\n\n",
                      b->roof.read_bytes_per_second / 1e9, peak_flops(b) / 1e9,
                      peak_flops(b) == b->roof.f32_flops_per_second ? "flop (f32)" : "op (int8)",
                      size);
        rill__outputf("%-8s %6s %10s   %-20s %8s  %6s  %s\n", "case", "tokens", "tokens/s",
                      "low to high", "roof", "share", "roof is");
    }
    print_row(b, "prefill", prefill, &b->prefill, reading);
    print_row(b, "decode", report.capacity, &b->decode, writing);
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
    rill_status status = rill__session_open_synthetic(&b.session, s, RILL_FOR_BENCH, &err);
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
        "times: median and spread, beside the roof that the machine's bandwidth and arithmetic,\n"
        "measured in the same run, set. --type is for --synthetic.",
    .max_positionals = 1,
    .run = run,
};
