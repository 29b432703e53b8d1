// SPDX-License-Identifier: MIT
// The option table and the values that need more than a number or a word.
#include "cli/option.h"

#include "cli/lists.h"

#include "base/base.h"
#include "base/cpu_flags.h"
#include "base/number.h"

#include <float.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
    STREAMS = RILL_FOR_RUN | RILL_FOR_CHAT | RILL_FOR_LOGITS,
    MEMORY = STREAMS | RILL_FOR_INFO,
    LISTS = RILL_FOR_PERPLEXITY | RILL_FOR_STREAMEVAL |
            RILL_FOR_ARC,  // several configurations in one call
    TUNED = STREAMS | RILL_FOR_PERPLEXITY | RILL_FOR_COMPARE | RILL_FOR_STREAMEVAL | RILL_FOR_ARC,
    READERS = RILL_FOR_PERPLEXITY | RILL_FOR_COMPARE,  // measure on a text
    DEVICES = STREAMS | RILL_FOR_INFO | RILL_FOR_BENCHES | RILL_FOR_EVALS,
    WRITING = RILL_FOR_BENCHES & ~(RILL_FOR_BENCH | RILL_FOR_BENCH_PREFILL),  // sweeps
    COMPARED = RILL_FOR_BENCH_DECODE | RILL_FOR_BENCH_PREFILL,
    WRITERS = RILL_FOR_RUN | RILL_FOR_CHAT,
    ALL = -1,
    NO_JSON = RILL_FOR_LOGITS | RILL_FOR_CONVERT | RILL_FOR_EVAL,
};

static rill_status parse_cache_type(rill__settings *s, const char *text, rill_error *err) {
    if (rill__lists_type_pair(text, strcspn(text, ",/"), &s->stream.key_type,
                              &s->stream.value_type)) {
        s->stream.default_types = false;
        return RILL_OK;
    }
    return rill__fail(err, RILL_EINVAL,
                      "'%s': wants f32, f16, bf16, q8_0 or q4_0, or two of them (keys/values)",
                      text);
}

static rill_status parse_weight_type(rill__settings *s, const char *text, rill_error *err) {
    char known[256] = "";
    if (rill_mix_parse(text, &s->type, &s->mix)) return RILL_OK;
    for (size_t i = 0, n = 0; rill_mix_list(i) && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", rill_mix_list(i));
    return rill__fail(err, RILL_EINVAL, "'%.60s': wants one of %s", text, known);
}

// ID=B, or several with commas between.
static rill_status parse_bias(rill__settings *s, const char *text, rill_error *err) {
    const char *rest = text;
    while (rest) {
        char part[64], *equals;
        const char *comma = strchr(rest, ',');
        size_t length = comma ? (size_t)(comma - rest) : strlen(rest);
        uint64_t id;
        double bias;
        if (length >= sizeof part) break;
        memcpy(part, rest, length);
        part[length] = 0;
        equals = strchr(part, '=');
        if (!equals) break;
        *equals = 0;
        if (!rill__number_whole(part, &id) || id > INT32_MAX ||
            !rill__number_real(equals + 1, &bias))
            break;
        if (s->n_bias == RILL_MAX_BIAS)
            return rill__fail(err, RILL_EINVAL, "more than %d biases", RILL_MAX_BIAS);
        s->bias[s->n_bias++] = (rill_logit_bias){(rill_token)id, (float)bias};
        rest = comma ? comma + 1 : NULL;
        if (!rest) return RILL_OK;
    }
    return rill__fail(err, RILL_EINVAL,
                      "'%s': wants TOKEN=BIAS, as 13=-100 (token ids: rill tokenize)", text);
}

static rill_status parse_stop(rill__settings *s, const char *text, rill_error *err) {
    size_t length = strlen(text);
    if (length == 0 || length > 256)
        return rill__fail(err, RILL_EINVAL, "a text of %zu bytes: wants 1 to 256", length);
    if (s->n_stops == RILL_MAX_STOPS)
        return rill__fail(err, RILL_EINVAL, "more than %d stop strings", RILL_MAX_STOPS);
    s->stops[s->n_stops++] = text;
    return RILL_OK;
}

// What is too many is the library's to say, short of RILL_SINKS_AUTO.
static rill_status parse_sinks(rill__settings *s, const char *text, rill_error *err) {
    uint64_t n;
    s->measured_sinks = strcmp(text, "auto") == 0;
    if (s->measured_sinks) return RILL_OK;
    if (!rill__number_whole(text, &n) || n >= RILL_SINKS_AUTO)
        return rill__fail(err, RILL_EINVAL, "'%.80s': wants a whole number from 0 to %u, or auto",
                          text, RILL_SINKS_AUTO - 1);
    s->stream.sinks = (uint32_t)n;
    return RILL_OK;
}

// 8M is 8 MiB, as all bytes here are counted.
static rill_status parse_memory(rill__settings *s, const char *text, rill_error *err) {
    static const char units[] = "KMGT";
    char digits[24];
    size_t length = strspn(text, "0123456789");
    const char *unit = text[length] ? strchr(units, text[length]) : NULL, *rest = text + length;
    uint64_t n;
    if (unit) rest += strncmp(rest + 1, "iB", 2) == 0 ? 3 : 1;
    // More digits than fit are left out, all of them: none is no number.
    snprintf(digits, sizeof digits, "%.*s", length < sizeof digits ? (int)length : 0, text);
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (*rest || !rill__number_whole(digits, &n) || n == 0 || n > UINT64_MAX >> shift)
        return rill__fail(err, RILL_EINVAL, "'%.80s': wants bytes, as 8M (8 MiB) or 1G", text);
    s->memory = n << shift;
    return RILL_OK;
}

// How many is too many is the library's to say, short of RILL_DRAFT_AUTO.
static rill_status parse_draft(rill__settings *s, const char *text, rill_error *err) {
    uint64_t n = 0;
    bool automatic = strcmp(text, "auto") == 0, off = strcmp(text, "off") == 0;
    if (!automatic && !off && (!rill__number_whole(text, &n) || n >= RILL_DRAFT_AUTO))
        return rill__fail(err, RILL_EINVAL, "'%.80s': wants a whole number, off or auto", text);
    s->draft = automatic ? RILL_DRAFT_AUTO : (uint32_t)n;
    return RILL_OK;
}

static rill_status parse_pin(rill__settings *s, const char *text, rill_error *err) {
    s->pin_system = strcmp(text, "system") == 0;
    if (!s->pin_system && strcmp(text, "none") != 0)
        return rill__fail(err, RILL_EINVAL, "'%s': wants system or none", text);
    return RILL_OK;
}

// No bound but the field's own, short of RILL_SINKS_AUTO: what is right is the library's to say. A
// low bound of 1 is there where 0 stands for the library's choice.
#define ANY_U32   (UINT32_MAX - 1)
#define AT(field) offsetof(rill__settings, field)
#define FLAG(name, letter, commands, field, heading, help)                                         \
    { name, letter, NULL, RILL_OPTION_FLAG, commands, AT(field), 0, 0, NULL, heading, help, NULL }
#define TEXT(name, letter, metavar, commands, field, words, heading, help)                         \
    {                                                                                              \
        name, letter, metavar, RILL_OPTION_TEXT, commands, AT(field), 0, 0, words, heading, help,  \
            NULL                                                                                   \
    }
#define U32(name, commands, field, low, high, heading, help)                                       \
    { name, 0, "N", RILL_OPTION_U32, commands, AT(field), low, high, NULL, heading, help, NULL }
#define U64(name, letter, commands, field, low, heading, help)                                     \
    {                                                                                              \
        name, letter, "N", RILL_OPTION_U64, commands, AT(field), low, 1.8e19, NULL, heading, help, \
            NULL                                                                                   \
    }
#define REAL(name, commands, field, heading, help)                                                 \
    {                                                                                              \
        name, 0, "X", RILL_OPTION_FLOAT, commands, AT(field), -FLT_MAX, FLT_MAX, NULL, heading,    \
            help, NULL                                                                             \
    }
#define CHOICE(name, metavar, commands, field, words, heading, help)                               \
    { name, 0, metavar, RILL_OPTION_CHOICE, commands, AT(field), 0, 0, words, heading, help, NULL }
#define CUSTOM(name, metavar, commands, words, heading, help, parse)                               \
    { name, 0, metavar, RILL_OPTION_CUSTOM, commands, 0, 0, 0, words, heading, help, parse }

static const char text_in[] = "Text", model[] = "Model", measuring[] = "Measuring",
                  writing[] = "Writing", memory[] = "What the model sees",
                  choosing[] = "Choosing words", results[] = "Results", machine[] = "Machine",
                  other[] = "Other";

// clang-format off
const rill__option rill__options[] = {
    TEXT("prompt", 'p', "TEXT", RILL_FOR_RUN, prompt, NULL, text_in, "begin with this text"),
    TEXT("file", 'f', "FILE", RILL_FOR_RUN | READERS | RILL_FOR_SINKS, file, "FILE", text_in, "read the text of a file; - is standard input"),
    U64("tokens", 0, READERS, n_tokens, 1, text_in, "predict at most N tokens of the text (all)"),
    U64("tokens", 0, RILL_FOR_SINKS, n_tokens, 1, text_in, "predict at most N tokens of the text (10000)"),
    U64("every", 0, RILL_FOR_PERPLEXITY, every, 1, text_in, "recompute for every N-th token only; others give its loss too"),
    U64("every", 0, RILL_FOR_COMPARE, every, 1, text_in, "recompute for every N-th token only; others give its loss too (16)"),
    REAL("factor", RILL_FOR_COMPARE, factor, text_in, "unstable: where the running loss is X times what it was at first (1.5)"),
    TEXT("message-token", 0, "TEXT", RILL_FOR_PERPLEXITY, message_token, NULL, text_in, "special tokens are read as such; this one begins a message"),
    FLAG("official", 0, RILL_FOR_PERPLEXITY, official, text_in, "count as the paper's script: the current token on top of n + m"),
    U64("bucket", 0, RILL_FOR_PERPLEXITY, bucket, 1, text_in, "a second table: the perplexity of every N tokens"),
    TEXT("file", 'f', "FILE", RILL_FOR_ARC, file, "FILE", text_in, "questions, JSON lines as ARC is published; - is standard input"),
    U64("queries", 0, RILL_FOR_ARC, n_queries, 1, text_in, "ask at most N questions (all)"),
    FLAG("one-by-one", 0, RILL_FOR_ARC, one_by_one, text_in, "also ask each question in a stream of its own"),
    CUSTOM("distance", "LIST", RILL_FOR_STREAMEVAL, NULL, text_in, "lines back to the record that is asked for; several in turns (20)", rill__lists_distance),
    U64("queries", 0, RILL_FOR_STREAMEVAL, n_queries, 1, text_in, "questions for each distance (100)"),
    U64("lines", 0, RILL_FOR_STREAMEVAL, n_lines, 1, text_in, "records to read, instead of --queries"),
    U64("every", 0, RILL_FOR_STREAMEVAL, every, 1, text_in, "records between two questions (10)"),
    U64("first-line", 0, RILL_FOR_STREAMEVAL, first_line, 1, text_in, "number of the first record (five digits, by the seed)"),
    U64("seed", 0, RILL_FOR_STREAMEVAL, sampling.seed, 0, text_in, "equal seeds, equal text (0)"),
    U64("bucket", 0, RILL_FOR_STREAMEVAL, bucket, 1, text_in, "one more table: the accuracy of every N records"),
    TEXT("write", 0, "FILE", RILL_FOR_STREAMEVAL, write, "FILE", text_in, "write the text in the two-line reference format, and measure nothing"),
    TEXT("read", 0, "FILE", RILL_FOR_STREAMEVAL, read, "FILE", text_in, "read the text from such a file"),
    TEXT("server", 0, "URL", RILL_FOR_STREAMEVAL, server, NULL, measuring, "ask an OpenAI-compatible server, as http://localhost:8080"),
    TEXT("server-model", 0, "NAME", RILL_FOR_STREAMEVAL, server_model, NULL, measuring, "what the server calls its model"),
    U64("server-context", 0, RILL_FOR_STREAMEVAL, server_context, 1, measuring, "send it the last N characters, whole lines (all)"),
    U64("server-tokens", 0, RILL_FOR_STREAMEVAL, server_tokens, 1, measuring, "send it the last N tokens, whole lines, as MODEL counts them (all)"),
    U32("server-timeout", RILL_FOR_STREAMEVAL, server_timeout, 1, 86400, measuring, "seconds that one answer may take (600)"),
    TEXT("system", 0, "TEXT", RILL_FOR_CHAT, system, NULL, text_in, "what the model is told first"),
    TEXT("tokens", 0, "1,2,3", RILL_FOR_LOGITS, token_list, NULL, text_in, "token ids to read"),
    TEXT("tokens-file", 0, "FILE", RILL_FOR_LOGITS, token_file, "FILE", text_in, "read token ids from a file; - is standard input"),
    U64("position", 0, RILL_FOR_LOGITS, stream.start, 0, text_in, "position of the first token (0)"),
    TEXT("out", 0, "FILE", RILL_FOR_LOGITS, out, "FILE", text_in, "safetensors file to write, tensor `logits` [T, V]"),
    FLAG("special", 0, RILL_FOR_TOKENIZE, special, text_in, "add the special tokens that begin and end a text"),
    FLAG("decode", 0, RILL_FOR_TOKENIZE, decode_ids, text_in, "turn ids into text"),
    CUSTOM("type", "LIST", RILL_FOR_BENCHES, "f32|f16|bf16|q8_0|q4_0|q4_1|q5_0|q5_1|q2_K|q3_K|q4_K|q5_K|q6_K|iq4_nl|iq4_xs|mxfp4", model, "how matrices are stored, one type or several (q8_0)", rill__lists_weight_types),
    CUSTOM("type", "TYPE", RILL_FOR_CONVERT | RILL_FOR_LATENCY | RILL_FOR_PERPLEXITY, "f32|f16|bf16|q8_0|q4_0|q4_1|q5_0|q5_1|q2_K|q3_K|q4_K|q5_K|q6_K|iq4_nl|iq4_xs|mxfp4|q2_K_M|q3_K_S|q3_K_M|q3_K_L|q4_K_S|q4_K_M|q5_K_S|q5_K_M", model, "how matrices are stored, _S _M _L: in a mix (q8_0)", parse_weight_type),
    TEXT("synthetic", 0, "SHAPE", RILL_FOR_BENCHES | RILL_FOR_LATENCY | RILL_FOR_PERPLEXITY, synthetic, "llama-1b|llama-7b|llama-13b|pythia-2.8b|falcon-7b|mpt-7b", model, "random weights of a known shape; mpt-7b:2 has 2 layers"),
    TEXT("shape", 0, "SHAPE", RILL_FOR_INFO | RILL_FOR_MEMORY, shape, "llama-1b|llama-7b|llama-13b|pythia-2.8b|falcon-7b|mpt-7b", model, "a name, or layers=24,hidden=768,heads=12,..."),
    U32("prefill", RILL_FOR_BENCH | RILL_FOR_BENCH_THREADS, prefill, 1, 1e6, measuring, "tokens to read in a run (512)"),
    U32("decode", RILL_FOR_BENCH, decode, 1, 1e6, measuring, "tokens to write in a run (32)"),
    U32("tokens", WRITING, decode, 1, 1e6, measuring, "tokens to write in a run (32)"),
    CUSTOM("tokens", "LIST", RILL_FOR_BENCH_PREFILL, NULL, measuring, "tokens to read in a run, as 512,4096 (512)", rill__lists_lengths),
    CUSTOM("streams", "LIST", RILL_FOR_BENCH_BATCH, NULL, measuring, "numbers of streams that write together (1,8,32)", rill__lists_streams),
    U32("runs", RILL_FOR_BENCHES, runs, 1, 1000, measuring, "runs of each, in turns; the median counts (5)"),
    TEXT("compare", 0, "COMMAND", COMPARED, compare, NULL, measuring, "take turns with a command that prints tokens a second"),
    FLAG("compare-recompute", 0, RILL_FOR_BENCH_DECODE, compare_recompute, measuring, "beside a pass over the whole window for each token"),
    U64("tokens", 0, RILL_FOR_LATENCY, n_tokens, 1, measuring, "tokens to time in each row, all runs together (600)"),
    U32("recompute-tokens", RILL_FOR_LATENCY, recompute_tokens, 1, 1e6, measuring, "tokens to time in each run of recompute (3)"),
    U32("runs", RILL_FOR_LATENCY, runs, 1, 1000, measuring, "runs of each, in turns (3)"),
    CUSTOM("lengths", "LIST", RILL_FOR_MEMORY, NULL, measuring, "tokens of the text (1k,10k,100k,1M,10M)", rill__lists_lengths),
    U32("observe", RILL_FOR_SINKS, observe, 0, ANY_U32, measuring, "tokens whose attention is looked at (2000); 0: none"),
    CUSTOM("memory", "BYTES", RILL_FOR_SINKS, NULL, measuring, "also find what predicts best in a cache of so much, as 8M", parse_memory),

    U64("max-tokens", 'n', WRITERS, max_tokens, 1, writing, "write at most N tokens (no limit)"),
    CUSTOM("stop", "TEXT", WRITERS, NULL, writing, "stop before this text; repeatable", parse_stop),
    CUSTOM("draft", "N", WRITERS, NULL, writing, "guess up to N tokens ahead, 0 to 15, off, or as many as pay (auto)", parse_draft),
    FLAG("until-end", 0, RILL_FOR_RUN, until_end, writing, "stop where the model ends its text"),
    TEXT("save", 0, "FILE", RILL_FOR_RUN, save, "FILE", writing, "save the stream when it stops"),
    TEXT("resume", 0, "FILE", WRITERS, resume, "FILE", writing, "go on with a saved stream"),

    CUSTOM("sinks", "N", WRITERS, NULL, memory, "first tokens kept for ever (4); auto: as rill eval sinks found", parse_sinks),
    U32("sinks", (MEMORY & ~WRITERS) | RILL_FOR_LATENCY | RILL_FOR_BENCHES, stream.sinks, 0, ANY_U32, memory, "first tokens kept for ever (4)"),
    U32("window", MEMORY, stream.window, 1, ANY_U32, memory, "most recent tokens kept (trained context - sinks)"),
    U32("window", RILL_FOR_BENCHES, stream.window, 1, ANY_U32, memory, "most recent tokens kept (2044)"),
    CHOICE("attention", "METHOD", MEMORY, stream.method, "streaming|window|dense|recompute", memory, "how the past is seen (streaming)"),
    CUSTOM("cache-type", "K[/V]", MEMORY, "f32|f16|bf16|q8_0|q4_0", memory, "how keys and values are stored (f16; --exact: f32)", parse_cache_type),
    U32("sinks", RILL_FOR_COMPARE, stream.sinks, 0, ANY_U32, memory, "first tokens that streaming keeps for ever (4); if given, recompute too"),
    U32("window", RILL_FOR_COMPARE, stream.window, 1, ANY_U32, memory, "most recent tokens that it keeps (trained context - sinks)"),
    U32("capacity", RILL_FOR_COMPARE, capacity, 1, ANY_U32, memory, "sinks and recent tokens together, instead of --window"),
    CUSTOM("cache-type", "K[/V]", RILL_FOR_COMPARE, "f32|f16|bf16|q8_0|q4_0", memory, "how keys and values are stored (f16)", parse_cache_type),
    CUSTOM("attention", "LIST", LISTS, "streaming|window|dense|recompute", memory, "how the past is seen: one way, or several with commas (streaming)", rill__lists_attention),
    CUSTOM("attention", "LIST", RILL_FOR_LATENCY, "streaming|window|dense|recompute", memory, "what is timed (streaming,dense,recompute)", rill__lists_attention),
    CUSTOM("capacity", "LIST", RILL_FOR_LATENCY, NULL, memory, "tokens in the cache, sinks among them (256,512,1024,2048,4096)", rill__lists_capacity),
    CUSTOM("sinks", "LIST", RILL_FOR_SINKS, NULL, memory, "numbers of first tokens to keep (0,1,2,4,8,16)", rill__lists_sinks),
    U32("capacity", RILL_FOR_SINKS, capacity, 2, ANY_U32, memory, "sinks and recent tokens together (trained context)"),
    CUSTOM("cache-type", "LIST", RILL_FOR_SINKS, "f32|f16|bf16|q8_0|q4_0", memory, "how keys and values are stored (f16); --memory tries all of them (f16,q8_0)", rill__lists_cache_type),
    CUSTOM("sinks", "LIST", LISTS | RILL_FOR_MEMORY, NULL, memory, "first tokens kept for ever, as 0,1,2,4,8 (4)", rill__lists_sinks),
    CUSTOM("window", "LIST", LISTS | RILL_FOR_MEMORY, NULL, memory, "most recent tokens kept (trained context - sinks)", rill__lists_window),
    CUSTOM("capacity", "LIST", LISTS | RILL_FOR_MEMORY, NULL, memory, "sinks and recent tokens together, instead of --window", rill__lists_capacity),
    CUSTOM("cache-type", "LIST", LISTS | RILL_FOR_MEMORY | RILL_FOR_LATENCY | (RILL_FOR_BENCHES & ~RILL_FOR_BENCH_CACHE), "f32|f16|bf16|q8_0|q4_0", memory, "how keys and values are stored, K/V if not alike (f16; --exact: f32)", rill__lists_cache_type),
    CUSTOM("cache-type", "LIST", RILL_FOR_BENCH_CACHE, "f32|f16|bf16|q8_0|q4_0", memory, "how keys and values are stored (f16,q8_0,q4_0)", rill__lists_cache_type),
    CHOICE("evict", "WHAT", STREAMS, stream.evict, "token|message", memory, "what goes at once (run: token, chat: message)"),
    CUSTOM("evict", "LIST", RILL_FOR_PERPLEXITY, "token|message", memory, "what goes at once; message wants --message-token (token)", rill__lists_evict),
    CUSTOM("pin", "WHAT", RILL_FOR_CHAT, "system|none", memory, "what is kept for ever (system)", parse_pin),
    REAL("sink-scale", TUNED, stream.sink_scale, memory, "multiply the attention logits of sinks by X (1)"),
    REAL("sink-cap", TUNED, stream.sink_cap, memory, "most of the attention that sinks may take, 0 to 1 (1)"),
    U32("chunk", TUNED | RILL_FOR_LATENCY | RILL_FOR_MEMORY | RILL_FOR_BENCHES, stream.chunk, 1, ANY_U32, memory, "tokens read at once (half the window, 32-512; no ring: all, GPU 4096)"),
    CHOICE("rope-scaling", "HOW", TUNED & ~RILL_FOR_COMPARE, stream.rope_scaling, "model|linear|ntk", memory, "how RoPE is stretched past the trained context (model: not)"),
    REAL("rope-factor", TUNED, stream.rope_factor, memory, "how far it is stretched (capacity / trained context)"),
    FLAG("over-context", 0, MEMORY | LISTS, stream.over_context, memory, "let dense attention pass the trained context"),
    U64("tokens", 0, RILL_FOR_INFO, n_tokens, 1, memory, "tokens of the full cache to compare with (10000)"),

    REAL("temperature", WRITERS, sampling.temperature, choosing, "0 takes the likeliest, more is bolder (0.8)"),
    REAL("top-p", WRITERS, sampling.top_p, choosing, "keep the likeliest that make up this share (0.95)"),
    U32("top-k", WRITERS, sampling.top_k, 0, ANY_U32, choosing, "keep the N likeliest (0: all)"),
    REAL("min-p", WRITERS, sampling.min_p, choosing, "drop what is below this share of the best (0)"),
    REAL("repetition-penalty", WRITERS, sampling.repetition_penalty, choosing, "above 1 makes repeats less likely (1)"),
    REAL("presence-penalty", WRITERS, sampling.presence_penalty, choosing, "lower the logit of a seen token by X (0)"),
    REAL("frequency-penalty", WRITERS, sampling.frequency_penalty, choosing, "lower it by X for each time it was seen (0)"),
    U32("penalty-window", WRITERS, sampling.penalty_window, 0, ANY_U32, choosing, "last tokens that penalties look at (256)"),
    CUSTOM("logit-bias", "ID=B", WRITERS, NULL, choosing, "add B to a token's logit; repeatable", parse_bias),
    U64("seed", 0, WRITERS | RILL_FOR_BENCHES, sampling.seed, 0, choosing, "equal seeds, equal text, on the same --cpu (0)"),

    CUSTOM("threads", "LIST", RILL_FOR_BENCH_THREADS, NULL, machine, "numbers of threads that compute (1, 2, 4 and so on up to all)", rill__lists_threads),
    CUSTOM("threads", "LIST", RILL_FOR_BENCHES & ~RILL_FOR_BENCH_THREADS, NULL, machine, "threads that compute, one number or several (as many as help)", rill__lists_threads),
    U32("threads", (DEVICES & ~RILL_FOR_BENCHES) | RILL_FOR_CONVERT, device.threads, 1, ANY_U32, machine, "threads that compute (as many as help)"),
    TEXT("device", 0, "NAME", DEVICES, device.device, "auto|cpu|cuda", machine, "where to compute: auto, cpu, cuda, or cuda:1 and so on (auto)"),
    TEXT("cpu", 0, "TIER", DEVICES, device.cpu, RILL_CPU_TIERS, machine, "highest instruction set to use ($RILL_CPU, or all)"),
    FLAG("exact", 0, DEVICES, device.exact, machine, "reference arithmetic: slow, for checking"),

    TEXT("csv", 0, "FILE", RILL_FOR_EVALS | RILL_FOR_BENCHES, csv, "FILE", results, "write the table to a file, for spreadsheets and programs"),
    TEXT("figure", 0, "FILE", RILL_FOR_EVALS, figure, "FILE", results, "draw it: FILE.svg or FILE.png, both without an ending (gnuplot)"),
    TEXT("resume", 0, "DIR", RILL_FOR_EVALS & ~RILL_FOR_MEMORY, journal, "DIR", results, "keep what is done there; the same command goes on from it"),
    FLAG("json", 0, ALL & ~NO_JSON, json, other, "for machines: one object a line"),
    FLAG("help", 'h', ALL, help, other, "show this help"),
    {0},
};
// clang-format on
_Static_assert(sizeof rill__options / sizeof *rill__options <= RILL_MAX_OPTIONS,
               "room for a mark for each row of the table");

void rill__settings_default(rill__settings *s) {
    memset(s, 0, sizeof *s);
    rill_device_options_default(&s->device);
    rill_stream_options_default(&s->stream);
    rill_sampling_default(&s->sampling);
    s->pin_system = true;
    s->draft = RILL_DRAFT_AUTO;
    s->factor = 1.5f;
    s->type = RILL_TYPE_Q8_0;
    s->prefill = 512;
    s->decode = 32;
    s->runs = 5;
    s->recompute_tokens = 3;
    s->observe = 2000;
}
