// SPDX-License-Identifier: MIT
// What a command line can say. One struct for all subcommands: an option's row in option.c says
// which of them take it, and where its value goes.
#ifndef RILL_CLI_SETTINGS_H
#define RILL_CLI_SETTINGS_H

#include "rill/rill.h"

enum {
    RILL_MAX_STOPS = 16,       // as rill_generate_options
    RILL_MAX_BIAS = 1024,      // as rill_sampling
    RILL_MAX_OPTIONS = 160,    // rows of the option table
    RILL_MAX_POSITIONALS = 3,  // no subcommand takes more
};

// What `rill eval` and `rill bench` take as lists: a configuration for each combination.
enum { RILL_MAX_LIST = 32 };
typedef struct rill__lists {
    rill_method methods[RILL_METHOD_RECOMPUTE + 1];
    uint32_t sinks[RILL_MAX_LIST];
    uint32_t windows[RILL_MAX_LIST];
    uint32_t capacities[RILL_MAX_LIST];
    rill_type key_types[RILL_MAX_LIST], value_types[RILL_MAX_LIST];
    uint64_t lengths[RILL_MAX_LIST];
    uint32_t distances[RILL_MAX_LIST];  // eval streameval: lines back
    size_t n_methods, n_sinks, n_windows, n_capacities, n_types, n_lengths;  // 0: not given
    size_t n_distances;
    uint32_t threads[RILL_MAX_LIST];        // bench
    rill_type weight_types[RILL_MAX_LIST];  // bench: --type
    uint32_t streams[RILL_MAX_LIST];        // bench batch
    size_t n_threads, n_weight_types, n_streams;
    rill_evict evictions[2];
    size_t n_evictions;
} rill__lists;

typedef struct rill__settings {
    // Options that the library has a struct for.
    rill_device_options device;
    rill_stream_options stream;
    rill_sampling sampling;
    uint64_t max_tokens;                // -n
    const char *stops[RILL_MAX_STOPS];  // --stop
    size_t n_stops;
    uint32_t draft;                       // --draft
    rill_logit_bias bias[RILL_MAX_BIAS];  // --logit-bias
    size_t n_bias;

    // Text that goes in, files that go out. Borrowed from argv, NULL if not given.
    const char *prompt;
    const char *file;
    const char *save;
    const char *resume;
    const char *system;
    const char *out;
    const char *token_list;
    const char *token_file;
    const char *shape;
    const char *synthetic;

    // eval
    rill__lists lists;
    const char *csv;
    const char *figure;
    const char *journal;  // --resume DIR
    uint64_t every;
    uint32_t capacity;  // compare, sinks: n + m; 0: the trained context
    float factor;       // compare: --factor
    uint64_t bucket;
    bool official;
    const char *message_token;  // eval perplexity: what begins a message
    uint32_t recompute_tokens;  // eval latency
    uint32_t observe;           // eval sinks: tokens whose attention is looked at
    uint64_t n_queries;         // eval streameval: questions for each distance
    uint64_t n_lines;           // eval streameval: records
    uint64_t first_line;        // eval streameval: number of the first record
    const char *read;           // eval streameval: --read FILE
    const char *write;          // eval streameval: --write FILE
    const char *server;         // eval streameval: --server URL
    const char *server_model;   // the name sent to it
    uint64_t server_context;    // characters that it is sent at most; 0: all
    uint64_t server_tokens;     // tokens that it is sent at most; 0: all
    uint32_t server_timeout;    // seconds; 0: the client's default
    bool one_by_one;            // eval arc
    uint64_t memory;            // eval sinks: --memory in bytes; 0: not given

    uint64_t n_tokens;  // eval, info: --tokens
    uint32_t prefill;   // bench
    uint32_t decode;
    uint32_t runs;
    const char *compare;  // bench: --compare
    bool compare_recompute;
    rill_type type;  // convert, synthetic: --type
    rill_mix mix;    // the same

    bool measured_sinks;  // run, chat: --sinks auto
    bool until_end;
    bool pin_system;
    bool special;
    bool decode_ids;
    bool json;
    bool help;

    const char *positionals[RILL_MAX_POSITIONALS];
    size_t n_positionals;
    bool given[RILL_MAX_OPTIONS];  // by row of the option table
} rill__settings;

// The defaults of every option.
void rill__settings_default(rill__settings *s);

#endif
