// SPDX-License-Identifier: MIT
// rill: language models on endless text in constant memory, by attention sinks (StreamingLLM,
// Xiao et al., ICLR 2024).
//
//   rill_device *device;  rill_model *model;  rill_stream *stream;
//   rill_device_open(NULL, &device, &err);                     a processor and its threads
//   rill_model_open(device, "model.gguf", &model, &err);       weights, tokenizer: immutable
//   rill_stream_open(model, NULL, &stream, &err);              one endless text: cache, sampler
//   rill_stream_feed(stream, tokens, n, NULL, &err);           read
//   rill_stream_generate(stream, &options, print, NULL, &result, &err);   write
//
// Ownership. The caller owns what open, new, take and load returned and gives it back with the
// matching close, which takes the address of the pointer and sets it to NULL (NULL there is
// allowed), or free. Everything else is borrowed from its parent and dies with it. Inputs are never
// kept past the call. A model keeps its device alive, a stream its model: they may be closed in any
// order.
//
// Errors. A function that can fail returns rill_status; `err` (NULL if not wanted) receives one
// line that says what was wrong where. Out-parameters are written only on success. Unless said
// otherwise, an object is unchanged by a call that failed. No pointer may be NULL but where it is
// said.
//
// Versions. Until 1.0 each minor version may change structs and functions, and the shared library's
// name changes with it (librill.so.0.1): a program compiled for one never meets another.
//
// Threads. A device and a model may be used by any number of threads at once; a stream, like
// everything else, by one at a time.
#ifndef RILL_RILL_H
#define RILL_RILL_H

#include "rill/files.h"
#include "rill/status.h"
#include "rill/type.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t rill_token;  // an index into the vocabulary, 0 or more

typedef struct rill_device rill_device;
typedef struct rill_model rill_model;
typedef struct rill_stream rill_stream;

// The version of the library, "MAJOR.MINOR.PATCH". Threads: any.
RILL_API const char *rill_version(void);

// ---- Device ---------------------------------------------------------------------------------

typedef struct rill_device_options {
    // "cpu"; "cuda" or "cuda:0", the first GPU; default "auto": that if it works and neither
    // `exact` nor `cpu` is given, else the CPU.
    const char *device;
    unsigned threads;  // threads that compute, the caller's included; 0 (default): as many as pay
    bool exact;        // reference kernels in float32 with double accumulation; default false
    // Highest tier of the CPU: "ref", "avx2", "avx512", "amx", "neon"; NULL: $RILL_CPU, or all.
    const char *cpu;
} rill_device_options;

// Fills options with the defaults above.
RILL_API void rill_device_options_default(rill_device_options *options);

// Opens a processor with a pool of threads, or a GPU (docs/architecture.md: where its
// librill-cuda.so is found). options may be NULL. RILL_EINVAL (unknown device or tier),
// RILL_EUNSUPPORTED (no such library or GPU), RILL_ENOMEM, RILL_EDEVICE (the GPU failed).
RILL_NODISCARD RILL_API rill_status rill_device_open(const rill_device_options *options,
                                                     rill_device **out, rill_error *err);
// Ends its threads once no model uses it any more. Sets *device to NULL; NULL in it is allowed.
RILL_API void rill_device_close(rill_device **device);

// What was opened, for people: "cpu AMD EPYC, avx512, 2 threads". Valid while the device lives.
RILL_API const char *rill_device_describe(const rill_device *device);
// Bytes of a GPU's memory, and those that are free. False, nothing written, for other devices.
RILL_API bool rill_device_memory(const rill_device *device, uint64_t *total, uint64_t *available);
// Threads that compute (multiprocessors), and the tier in use ("ref", "avx2" ... "sm_90").
RILL_API unsigned rill_device_threads(const rill_device *device);
RILL_API const char *rill_device_tier(const rill_device *device);

// The machine's limits, measured: what a figure of rill's is a share of.
typedef struct rill_roof {
    double read_bytes_per_second;  // streaming reads of memory much larger than the caches
    double f32_flops_per_second;   // multiply and add count as two
    double bf16_flops_per_second;  // products of bfloat16 (a GPU's: float16) summed in float32
    double int8_ops_per_second;  // products of bytes summed in 32 bits; all by the tier's best way
} rill_roof;

// How products with weights of a type are computed: which of a roof's arithmetic is theirs.
typedef enum rill_arithmetic {
    RILL_ARITHMETIC_F32,
    RILL_ARITHMETIC_BF16,
    RILL_ARITHMETIC_INT8,
} rill_arithmetic;
typedef struct rill_product {
    rill_arithmetic arithmetic;
    // Products that one multiply-add of the model takes at most: 2 where activations go in two
    // parts (with quantised weights all but gate and up outside experts; a number of 16 bits is
    // worth two of 8). The model's own operations count once all the same.
    unsigned products;
} rill_product;

// How many rows together meet weights of that type on this device; unknown types as floats. (Rows
// of bfloat16 that do not divide by 32 go as floats where others go by tiles.) Threads: any.
RILL_API rill_product rill_device_product(const rill_device *device, rill_type weights);

// Measures for about a second, with all threads of the device. Takes 512 MiB, a GPU's up to 2 GiB.
RILL_NODISCARD RILL_API rill_status rill_device_measure(rill_device *device, rill_roof *out,
                                                        rill_error *err);

// ---- Model ----------------------------------------------------------------------------------

// Opens a .gguf file or a Hugging Face directory, its weights mapped read-only, and its tokenizer
// if it has one. Quantised matrices are copied in the order that the processor multiplies them in
// (not with an exact device), so a model takes about as much memory as they have in the file, and
// opening it about as long as reading and writing them. Returns RILL_EIO, RILL_EFORMAT (malformed),
// RILL_EUNSUPPORTED (a family, tensor type or setting that rill does not know, by name),
// RILL_ENOMEM. Blocks while files are read. The files must stay as they are while the model lives:
// reading on in one that was cut short ends the process (SIGBUS).
RILL_NODISCARD RILL_API rill_status rill_model_open(rill_device *device, const char *path,
                                                    rill_model **out, rill_error *err);

// A model of a named shape ("llama-7b", "mpt-7b" ...: rill_shape_name; "mpt-7b:2" has two of its
// layers) with seeded random weights of `type` or a mix of it, in memory and without a tokenizer:
// for measuring.
RILL_NODISCARD RILL_API rill_status rill_model_open_synthetic(rill_device *device,
                                                              const char *shape, rill_type type,
                                                              rill_mix mix, uint64_t seed,
                                                              rill_model **out, rill_error *err);
// Gives the model back once no stream uses it any more. Sets *model to NULL; NULL in it is allowed.
RILL_API void rill_model_close(rill_model **model);

// The sizes of a model. Counts, not bytes, unless named so.
typedef struct rill_model_info {
    char family[32];  // "llama", "qwen3" ...
    char name[96];    // the model's own name, or the last part of its path
    uint32_t n_layers;
    uint32_t hidden_size;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t ffn_size;
    uint32_t vocab_size;
    uint32_t trained_context;  // tokens the model was trained on at once
    uint32_t trained_window;   // narrowest attention window of any layer, 0 if none has one
    uint64_t n_parameters;
    uint64_t weight_bytes;  // as stored
    rill_type weight_type;  // of the most bytes
    bool has_tokenizer;
    char chat_template[32];  // "chatml", "llama3" ...; "" without a tokenizer
} rill_model_info;

// Fills out with the sizes of an open model.
RILL_API void rill_model_get_info(const rill_model *model, rill_model_info *out);

// Warnings of opening (an unknown chat template, an unknown pre-tokenizer), one line each; NULL
// past the last. Valid while the model lives.
RILL_API const char *rill_model_warning(const rill_model *model, size_t index);

// Fills out with the sizes of a named shape. Returns false if there is none of that name.
RILL_API bool rill_shape_get(const char *name, rill_model_info *out);
// Names of the known shapes, in order; NULL past the last.
RILL_API const char *rill_shape_name(size_t index);

// Bytes of keys and values that one token takes in all layers of such a model.
RILL_API uint64_t rill_token_bytes(const rill_model_info *info, rill_type key_type,
                                   rill_type value_type);

// ---- Text and tokens ------------------------------------------------------------------------

enum {
    RILL_TEXT_ADD_SPECIAL = 1,    // add what the model's tokenizer adds (a begin token ...)
    RILL_TEXT_PARSE_SPECIAL = 2,  // recognise special tokens written in the text
    RILL_TEXT_PLAIN = 4,          // recognise no added token, not even one that is not special
    RILL_TEXT_CONTINUES = 8,      // goes on where other text ended: no space is put in front
};

// Turns UTF-8 text (length bytes; NULs are text) into tokens. *tokens is the caller's:
// rill_tokens_free. RILL_EUNSUPPORTED if the model has no tokenizer; RILL_ENOMEM.
RILL_NODISCARD RILL_API rill_status rill_encode(const rill_model *model, const char *text,
                                                size_t length, unsigned flags, rill_token **tokens,
                                                size_t *n_tokens, rill_error *err);
RILL_API void rill_tokens_free(rill_token *tokens);

// Turns tokens into text, special tokens as they are written. Rows of the model past its tokenizer
// are no text. *text is NUL-terminated and the caller's: rill_text_free. RILL_EINVAL (a token
// outside the vocabulary), RILL_EUNSUPPORTED.
RILL_NODISCARD RILL_API rill_status rill_decode(const rill_model *model, const rill_token *tokens,
                                                size_t n_tokens, char **text, size_t *length,
                                                rill_error *err);
RILL_API void rill_text_free(char *text);

// Encodes text that arrives in pieces, as if it had been one: holds back what more text could
// change.
typedef struct rill_encoder rill_encoder;
RILL_NODISCARD RILL_API rill_status rill_encoder_open(const rill_model *model, unsigned flags,
                                                      rill_encoder **out, rill_error *err);
RILL_API void rill_encoder_close(rill_encoder **encoder);
// Takes the next `length` bytes; `end` says that no more will come. *tokens is borrowed and valid
// until the next call on this encoder; *n_tokens may be 0.
RILL_NODISCARD RILL_API rill_status rill_encoder_push(rill_encoder *encoder, const char *text,
                                                      size_t length, bool end,
                                                      const rill_token **tokens, size_t *n_tokens,
                                                      rill_error *err);

// True for each of the model's end tokens (there may be several).
RILL_API bool rill_is_end(const rill_model *model, rill_token token);

// A tokenizer without a model: a directory with tokenizer.json or tokenizer.model in it, such a
// file by itself, or a .gguf. Close it with rill_model_close; only the functions on text accept it.
RILL_NODISCARD RILL_API rill_status rill_tokenizer_open(const char *path, rill_model **out,
                                                        rill_error *err);

// ---- Chat -----------------------------------------------------------------------------------

typedef enum rill_role { RILL_ROLE_SYSTEM, RILL_ROLE_USER, RILL_ROLE_ASSISTANT } rill_role;

// ---- Stream ---------------------------------------------------------------------------------

// How a stream forgets. S(t), what token t sees, as docs/stream.md defines it.
typedef enum rill_method {
    RILL_METHOD_STREAMING,  // the first n tokens and the m most recent
    RILL_METHOD_WINDOW,     // the m most recent (n = 0)
    RILL_METHOD_DENSE,      // all, until the capacity is full: then RILL_ECONTEXT
    RILL_METHOD_RECOMPUTE,  // as streaming, but recomputed from the kept tokens for each new one
} rill_method;

typedef enum rill_evict {
    RILL_EVICT_TOKEN,    // the oldest recent token goes (the paper)
    RILL_EVICT_MESSAGE,  // the oldest whole message goes, so what is seen is always well formed
} rill_evict;

// How RoPE's frequencies are changed for a stream, to see past the trained context. Only plain RoPE
// can be: not xPos or ALiBi, nor a model with a scaling of its own.
typedef enum rill_rope_scaling {
    RILL_ROPE_SCALING_MODEL,   // not: as the model has them
    RILL_ROPE_SCALING_LINEAR,  // position interpolation (Chen et al., 2023): divided by the factor
    RILL_ROPE_SCALING_NTK,     // NTK-aware: the base grown, so that only the slowest is divided
} rill_rope_scaling;

// Stands for a number of sinks that suits the method: 4 for streaming, 0 for the others.
#define RILL_SINKS_AUTO UINT32_MAX

typedef struct rill_stream_options {
    rill_method method;  // default streaming
    uint32_t sinks;  // n, tokens kept for ever; default RILL_SINKS_AUTO; none for window and dense
    uint32_t
        window;  // m, recent tokens kept, all of them for dense; default 0: trained context - sinks
                 // (of a model whose layers all have a window: the widest of those, if less)
    rill_evict evict;      // default by token
    rill_type key_type;    // f32, f16, bf16, q8_0 or q4_0; default f16 (f32 on an exact device)
    rill_type value_type;  // the same
    bool default_types;    // default true: key_type and value_type are chosen as said above
    float sink_scale;      // s: logits of sinks are multiplied by it; default 1; 0 or more
    float sink_cap;        // most that sinks may take of a softmax's mass, 0 < cap <= 1; default 1:
                           // no cap
    uint32_t chunk;  // tokens computed together when reading, at most 65536; a result never depends
                     // on it; 0: half the window, 32-512; dense, recompute: all, to 512 (GPU 4096)
    uint64_t start;  // position of the first token in the stream frame; default 0. It
                     // changes no result but by rounding
    rill_rope_scaling rope_scaling;  // default: as the model has it
    float rope_factor;  // of the two others, 1 to 1000000; default 0: capacity / trained context,
                        // at least 1. 0 or 1 where nothing is scaled
    bool over_context;  // let dense go past the trained context (8 times as far by default);
                        // default false
} rill_stream_options;

// Fills options with the defaults above.
RILL_API void rill_stream_options_default(rill_stream_options *options);

// Bytes that a stream takes, by purpose; all of it at open.
typedef struct rill_stream_bytes {
    uint64_t cache;   // keys and values
    uint64_t work;    // activations of a chunk, logits, token history
    uint64_t shared;  // of these, the activations: all streams of a model share them, so that each
                      // stream after the one with the largest chunk takes so much less
    // All that a stream takes that is alone on its model. The device's scratch (attention scores,
    // quantised activations) is not in it: the device's streams share it, it grows to the widest of
    // them when that is opened, and stays until the device is closed.
    uint64_t total;
} rill_stream_bytes;

// Checks the options against the model, fills in defaults, and computes what a stream would take,
// without taking it. `resolved` (NULL allowed) receives the options as they would be used.
// RILL_EINVAL names the option at fault and what would be right.
RILL_NODISCARD RILL_API rill_status rill_stream_estimate(const rill_model *model,
                                                         const rill_stream_options *options,
                                                         rill_stream_options *resolved,
                                                         rill_stream_bytes *out, rill_error *err);

// Opens an empty stream. Takes all the memory that it will ever use: RILL_ENOMEM says how much was
// wanted. options may be NULL for the defaults. Other failures as rill_stream_estimate.
RILL_NODISCARD RILL_API rill_status rill_stream_open(rill_model *model,
                                                     const rill_stream_options *options,
                                                     rill_stream **out, rill_error *err);
// Gives back all that the stream holds. Sets *stream to NULL; NULL in it is allowed.
RILL_API void rill_stream_close(rill_stream **stream);

// Forgets everything, sinks too, and keeps the memory and the sampling options. The seed starts
// anew.
RILL_API void rill_stream_reset(rill_stream *stream);

// Reads n tokens, each seeing exactly S(t), as if fed one by one. logits: NULL, or room for
// [n, vocab_size] floats, row-major, the logits after each token.
// RILL_EINVAL: a token outside the vocabulary (nothing was read). RILL_ECONTEXT: dense, and the
// capacity is smaller than what would be held (nothing was read). Allocates nothing.
RILL_NODISCARD RILL_API rill_status rill_stream_feed(rill_stream *stream, const rill_token *tokens,
                                                     size_t n_tokens, float *logits,
                                                     rill_error *err);

// Logits after the last token: vocab_size floats, valid until the next call on the stream.
// RILL_EINVAL if nothing has been read yet.
RILL_NODISCARD RILL_API rill_status rill_stream_logits(rill_stream *stream, const float **logits,
                                                       rill_error *err);

// Makes everything read so far permanent: those tokens become the sinks (n grows to their number, m
// shrinks by as much, the capacity stays). For a system prompt. RILL_EINVAL if something was
// evicted already, or fewer than 16 recent tokens (or half the capacity, if that is less) would
// remain.
RILL_NODISCARD RILL_API rill_status rill_stream_pin(rill_stream *stream, rill_error *err);

// Says that the next token begins a message: where eviction by message may cut. Harmless otherwise.
RILL_API void rill_stream_begin_message(rill_stream *stream);

// What a stream holds.
typedef struct rill_stream_report {
    uint64_t seen;           // tokens read since the start, written ones included
    uint64_t held;           // of them, those the model can still see
    uint64_t evicted;        // seen - held
    uint64_t evictions;      // times that something was evicted
    uint64_t messages_seen;  // messages begun
    uint64_t messages_held;  // of them, those wholly visible
    uint32_t sinks;          // n now (a pinned prefix counts)
    uint32_t window;         // m now
    uint32_t capacity;       // C = n + m
    rill_stream_bytes bytes;
} rill_stream_report;

// Fills out with what the stream holds now.
RILL_API void rill_stream_get_report(const rill_stream *stream, rill_stream_report *out);
// The options in force, resolved. Valid while the stream lives.
RILL_API const rill_stream_options *rill_stream_get_options(const rill_stream *stream);
// The model that the stream was opened with; still owned by the caller and the stream.
RILL_API rill_model *rill_stream_model(const rill_stream *stream);

// Copies the tokens the model can still see, oldest first, at most `capacity` of them (0: out may
// be NULL); returns how many there are.
RILL_API size_t rill_stream_visible(const rill_stream *stream, rill_token *out, size_t capacity);

// Reads one message of a conversation in the model's chat template, boundaries marked. A system
// message is allowed only first; `pin` makes it (and all before it) permanent. Special tokens
// written in the text are taken as plain text. RILL_EUNSUPPORTED without a tokenizer.
RILL_NODISCARD RILL_API rill_status rill_stream_feed_message(rill_stream *stream, rill_role role,
                                                             const char *text, size_t length,
                                                             bool pin, rill_error *err);
// Reads what invites the assistant's answer; rill_stream_generate then writes it, and
// rill_stream_end_answer closes it as the template wants, after any stop reason (a dense stream
// that is full has no room for that: it is left out).
RILL_NODISCARD RILL_API rill_status rill_stream_begin_answer(rill_stream *stream, rill_error *err);
RILL_NODISCARD RILL_API rill_status rill_stream_end_answer(rill_stream *stream, rill_error *err);

// ---- Attention ------------------------------------------------------------------------------

// What the heads of one layer gave each token that a new one sees.
typedef struct rill_attention_row {
    uint32_t layer;
    uint32_t n_heads;
    uint64_t token;         // which saw
    uint64_t n_sinks;       // tokens 0 to n_sinks - 1 ...
    uint64_t first_recent;  // ... and first_recent to token are what it saw
    size_t n_visible;       // how many those are
    const float
        *weights;  // [n_heads, stride], the first n_visible of each row, in that order; they
                   // sum up to 1, less what learned sink logits or softmax_off_by_one took
    size_t stride;
} rill_attention_row;

// Called for each token and layer while tokens are read, on the thread that reads them. The row is
// gone when it returns. It must not call anything on the stream, on its model or on another stream
// of that: they wait until it returns.
typedef void (*rill_attention_fn)(void *user, const rill_attention_row *row);

// From here on `fn` sees the attention of every token that the stream reads; NULL ends that. It
// takes memory for some rows of weights, and tokens are then read that many at a time, which
// changes no result. RILL_ENOMEM; RILL_EINVAL under recompute, which has no lasting attention: who
// looked before has been stopped by then, so after a failure nobody looks. Not from within `fn`.
RILL_NODISCARD RILL_API rill_status rill_stream_observe(rill_stream *stream, rill_attention_fn fn,
                                                        void *user, rill_error *err);

// ---- Sampling -------------------------------------------------------------------------------

typedef struct rill_logit_bias {
    rill_token token;
    float bias;  // added to the token's logit
} rill_logit_bias;

// How the next token is chosen. Applied in this order: bias, penalties, then (temperature > 0)
// top-k, top-p, min-p on the softmax at the temperature, then a draw.
typedef struct rill_sampling {
    float temperature;            // 0: greedy. Default 0.8; 0 to 100
    uint32_t top_k;               // keep the k likeliest; default 0: all
    float top_p;                  // keep the smallest set of this mass; default 0.95; 1e-9 to 1
    float min_p;                  // drop what is less likely than this share of the best; default 0
    float repetition_penalty;     // positive logits of seen tokens are divided by it, negative ones
                                  // multiplied; default 1
    float presence_penalty;       // subtracted once from a seen token; default 0
    float frequency_penalty;      // subtracted for each time it was seen; default 0
    uint32_t penalty_window;      // how many last tokens count as seen; default 256; at most 65536
    uint64_t seed;                // equal seeds, equal draws; default 0
    const rill_logit_bias *bias;  // copied; default NULL
    size_t n_bias;                // at most 1024
} rill_sampling;

// Fills options with the defaults above.
RILL_API void rill_sampling_default(rill_sampling *options);

// Sets how this stream samples, and starts the generator from the seed. RILL_EINVAL names the
// field.
RILL_NODISCARD RILL_API rill_status rill_stream_set_sampling(rill_stream *stream,
                                                             const rill_sampling *options,
                                                             rill_error *err);

// Chooses the next token from the logits after the last one, without reading it. Allocates nothing.
RILL_NODISCARD RILL_API rill_status rill_stream_sample(rill_stream *stream, rill_token *out,
                                                       rill_error *err);

typedef enum rill_stop {
    RILL_STOP_LENGTH,       // max_tokens were written
    RILL_STOP_END,          // the model wrote an end token
    RILL_STOP_STRING,       // a stop string appeared
    RILL_STOP_INTERRUPTED,  // the callback said so
    RILL_STOP_MEMORY,       // dense: the capacity is full; or memory ran out
    RILL_STOP_ERROR,        // the status says which
} rill_stop;

// "length", "end", "string", "interrupted", "memory", "error".
RILL_API const char *rill_stop_name(rill_stop stop);

// Receives text as it is written: whole UTF-8 characters, NUL-terminated, `length` bytes (may be 0:
// a token that completed no character). token is the one just written, -1 for text that was held
// back until the end. Returns false to interrupt. It must not change the stream.
typedef bool (*rill_write_fn)(void *user, rill_token token, const char *text, size_t length);

typedef struct rill_generate_options {
    uint64_t max_tokens;  // 0 (default): no limit
    bool until_end;  // stop at an end token; default true. If false it is read on, and a blank line
                     // is written in its place
    const char *const *stops;  // strings that end it; they are not written
    size_t n_stops;            // at most 16, each 1 to 256 bytes of UTF-8
    // Tokens guessed from what was read before and computed together with the next one, 0 (none) to
    // 15; default RILL_DRAFT_AUTO: as many as pay, by what guesses were worth and what they cost.
    // The text is the same, whatever it is.
    uint32_t draft;
} rill_generate_options;

// As many as pay: see `draft`.
#define RILL_DRAFT_AUTO UINT32_MAX

// Fills options with the defaults above.
RILL_API void rill_generate_options_default(rill_generate_options *options);

typedef struct rill_generate_result {
    rill_stop stop;
    // Written and read back into the stream; an end token that stopped it is not counted.
    uint64_t n_tokens;
    uint64_t n_drafted;   // tokens that were computed on a guess
    uint64_t n_accepted;  // of them, those that were written: each saved a pass over the weights
} rill_generate_result;

// Writes: samples a token, hands its text to `write` (NULL: nobody), reads it, again and again.
// options may be NULL for the defaults. `result` (NULL if not wanted) is filled in every case; the
// status is not RILL_OK only if result->stop is RILL_STOP_ERROR. Text held back
// (a character or a possible stop string) is handed over before it returns. A model without a
// tokenizer writes no text, only tokens.
RILL_NODISCARD RILL_API rill_status rill_stream_generate(rill_stream *stream,
                                                         const rill_generate_options *options,
                                                         rill_write_fn write, void *user,
                                                         rill_generate_result *result,
                                                         rill_error *err);

// ---- Snapshots ------------------------------------------------------------------------------

// Writes the whole state (tokens, cache, sampler, position) to `path`: to a temporary file beside
// it first, which is synced and renamed, so that an earlier snapshot there survives a crash or a
// full disk. RILL_EINVAL: a file is there that is no snapshot, and stays. RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD RILL_API rill_status rill_stream_save(const rill_stream *stream, const char *path,
                                                     rill_error *err);

// Opens the stream of a snapshot, which continues bit for bit. RILL_EFORMAT: not a snapshot, or
// damaged (a checksum says so). RILL_EMISMATCH: made with another model. RILL_EUNSUPPORTED: a newer
// version.
RILL_NODISCARD RILL_API rill_status rill_stream_load(rill_model *model, const char *path,
                                                     rill_stream **out, rill_error *err);

#ifdef __cplusplus
}
#endif

#endif
