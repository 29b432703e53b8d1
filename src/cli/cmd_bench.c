// SPDX-License-Identifier: MIT
// rill bench: tokens a second, beside what the machine could do at most; its subcommands are
// sweeps.
#include "cli/bench.h"
#include "cli/command.h"

#include <string.h>

enum { SINKS = 4, WINDOW = 2044 };

static int run(rill__settings *s, const rill__bench_sweep *sweep) {
    rill_error err = {0}, unwritten = {0};
    rill__bench b = {
        .s = s, .command = sweep->command, .random = s->sampling.seed * 2 + 0x9E3779B97F4A7C15u};
    if (!rill__options_given(s, sweep->command, "sinks")) s->stream.sinks = SINKS;
    if (!s->stream.window) s->stream.window = WINDOW;
    // The window is wider than some models were trained on: speed does not care.
    s->stream.over_context = true;
    rill_status status = rill__evaluation_begin(&b.all, NULL, s, &err);
    if (status == RILL_OK) status = rill__bench_plan(&b, sweep, &err);
    if (status == RILL_OK) status = rill__bench_measure(&b, &err);
    // What was done before Ctrl-C is worth its lines.
    rill_status shown = b.n_done ? rill__bench_show(&b, &unwritten) : RILL_OK;
    rill__bench_close(&b);
    if (status == RILL_OK && shown != RILL_OK) err = unwritten;
    return rill__evaluation_close(&b.all, status == RILL_OK ? shown : status, &err);
}

#define SWEEP(word, ...)                                                                           \
    static int run_##word(rill__settings *s) {                                                     \
        static const rill__bench_sweep sweep = {__VA_ARGS__};                                      \
        return run(s, &sweep);                                                                     \
    }

SWEEP(both, RILL_FOR_BENCH, .prefill = true, .decode = true)
SWEEP(decode, RILL_FOR_BENCH_DECODE, .decode = true)
SWEEP(prefill, RILL_FOR_BENCH_PREFILL, .prefill = true)
SWEEP(batch, RILL_FOR_BENCH_BATCH, .decode = true, .varied = RILL_BENCH_STREAMS)
SWEEP(cache, RILL_FOR_BENCH_CACHE, .decode = true, .varied = RILL_BENCH_CACHE)
SWEEP(threads, RILL_FOR_BENCH_THREADS, .decode = true, .prefill = true,
      .varied = RILL_BENCH_THREADS)
SWEEP(neighbour, RILL_FOR_BENCH_NEIGHBOUR, .decode = true, .varied = RILL_BENCH_BUSY)

#define USAGE "[MODEL | --synthetic llama-1b --type q8_0] [options]"

const rill__command rill__command_bench = {
    .name = "bench",
    .bit = RILL_FOR_BENCH,
    .usage = "[SWEEP] " USAGE,
    .summary = "measure tokens a second beside the machine's limits",
    .details =
        "Reads --prefill tokens at once and writes --decode tokens with a full window, several\n"
        "times: median and spread, beside the roof that the machine's bandwidth and arithmetic,\n"
        "measured in the same rounds, set. A sweep does so with several values, which take\n"
        "turns. --type is for --synthetic.",
    .max_positionals = 1,
    .run = run_both,
};

const rill__command rill__command_bench_decode = {
    .name = "bench decode",
    .bit = RILL_FOR_BENCH_DECODE,
    .usage = USAGE,
    .summary = "writing with a full window",
    .details =
        "Fills the window, then writes --tokens tokens in each run: every one evicts another.\n"
        "Each --type, --threads and --cache-type takes its turn. --compare-recompute times what a\n"
        "sliding window without sinks costs that computes all of it anew for each token.",
    .max_positionals = 1,
    .run = run_decode,
};

const rill__command rill__command_bench_prefill = {
    .name = "bench prefill",
    .bit = RILL_FOR_BENCH_PREFILL,
    .usage = USAGE,
    .summary = "reading texts of some lengths",
    .details =
        "Reads a text of each of --tokens at once, with an empty window at first, up to the\n"
        "logits after its last token. Each --type, --threads and --cache-type takes its turn.",
    .max_positionals = 1,
    .run = run_prefill,
};

const rill__command rill__command_bench_batch = {
    .name = "bench batch",
    .bit = RILL_FOR_BENCH_BATCH,
    .usage = USAGE,
    .summary = "writing with many streams together",
    .details =
        "Fills the windows of as many streams as each of --streams says, and writes --tokens\n"
        "tokens in each of them, all together: one pass over the weights serves all. Ratio is\n"
        "to the first number of streams.",
    .max_positionals = 1,
    .run = run_batch,
};

const rill__command rill__command_bench_cache = {
    .name = "bench cache",
    .bit = RILL_FOR_BENCH_CACHE,
    .usage = USAGE,
    .summary = "writing with each type of cache",
    .details =
        "As rill bench decode, with caches of each --cache-type; ratio is to the first of them.",
    .max_positionals = 1,
    .run = run_cache,
};

const rill__command rill__command_bench_threads = {
    .name = "bench threads",
    .bit = RILL_FOR_BENCH_THREADS,
    .usage = USAGE,
    .summary = "reading and writing with some numbers of threads",
    .details =
        "Reads --prefill and writes --tokens tokens with each of --threads; ratio is to the\n"
        "first of them.",
    .max_positionals = 1,
    .run = run_threads,
};

const rill__command rill__command_bench_neighbour = {
    .name = "bench neighbour",
    .bit = RILL_FOR_BENCH_NEIGHBOUR,
    .usage = USAGE,
    .summary = "writing beside a busy process",
    .details =
        "As rill bench decode, in turns alone and beside a process that computes all the time\n"
        "on the same processors; ratio is what is kept of the speed.",
    .max_positionals = 1,
    .run = run_neighbour,
};
