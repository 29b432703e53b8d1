// SPDX-License-Identifier: MIT
// StreamEval: what a stream, or a server, still knows of the records that it read.
//
// An answer is given greedily, with the true one fed in its place: at each of its tokens the
// likeliest is compared with the truth, which is read then. So it is right if, and only if, the
// stream would have written it by itself, and then either the first character of what follows or
// the end of its text; and a wrong one does not spoil the text that follows. A server's reply is
// judged by the same rule.
#ifndef RILL_EVAL_STREAMEVAL_H
#define RILL_EVAL_STREAMEVAL_H

#include "eval/completion.h"
#include "eval/job.h"
#include "eval/records.h"

// One question. Also the journal's record. Lengths are in tokens, or in characters for a server
// whose tokenizer is not known.
typedef struct rill__answer {
    uint64_t place;          // what was read before the answer
    uint64_t n_records;      // of them, records
    uint32_t distance;       // lines back to the record asked for
    uint32_t back;           // its length and that of all that followed, up to the answer
    uint32_t record;         // its length ...
    uint32_t visible_first;  // ... of which so much could be seen when the answer began ...
    uint32_t visible_last;   // ... and when the last of it was predicted
    uint32_t n_characters;   // of the true answer
    uint32_t n_matching;     // of them, those given right
    uint32_t right;          // 1 if all of them, and the answer, or the text, ended there; else 0
} rill__answer;

// How much of the record could be seen.
typedef enum rill__visibility {
    RILL_VISIBLE_WHOLLY,  // as long as the answer was given
    RILL_VISIBLE_PARTLY,
    RILL_VISIBLE_NOT,  // not when the answer began, nor later
} rill__visibility;
rill__visibility rill__answer_visibility(const rill__answer *a);

// Answers added up.
typedef struct rill__accuracy {
    uint64_t n, right, n_characters, n_matching;
    uint64_t visible[3];  // by rill__visibility
    double back;          // sum
} rill__accuracy;
void rill__accuracy_add(rill__accuracy *sum, const rill__answer *a);
// right / n, and n_matching / n_characters; NAN if there are none.
double rill__accuracy_exact(const rill__accuracy *sum);
double rill__accuracy_characters(const rill__accuracy *sum);

typedef struct rill__streameval {
    rill__answer *answers;
    size_t n_answers;
    size_t capacity;
    double seconds;
} rill__streameval;
// Frees what a measurement filled in; a zeroed one is allowed.
void rill__streameval_deinit(rill__streameval *s);

// Tokens that a stream reads of all items: the room that dense needs. Goes back to the first item.
// `go_on` as rill__records_scan; RILL_EUNSUPPORTED: a model without a tokenizer.
RILL_NODISCARD rill_status rill__streameval_tokens(const rill_model *model, rill__records *records,
                                                   bool (*go_on)(void), uint64_t *n,
                                                   rill_error *err);

// Reads all items with a new stream, or goes on where the job's case was, and fills *out, also as
// far as it came when it fails. The job is told questions. RILL_ECONTEXT: dense, and its capacity
// is full. RILL_EINVAL: an answer of more than 32 tokens, or of none. Other failures as
// rill_stream_open, rill_stream_feed, rill__records_next and the job's.
RILL_NODISCARD rill_status rill__streameval_measure(rill_model *model,
                                                    const rill_stream_options *options,
                                                    rill__records *records, rill__job *job,
                                                    rill__streameval *out, rill_error *err);

// How much of the text so far a server is sent, whole lines, the latest ones.
typedef struct rill__server_context {
    uint64_t characters;          // at most; 0: no such limit
    uint64_t tokens;              // at most; 0: no such limit
    const rill_model *tokenizer;  // counts them; NULL: lengths are in characters
} rill__server_context;

// The same, asked of a server: for each question it is sent the text so far, and its completion
// must be the answer, or begin with the answer and what ends it. Failures as rill__completer_ask.
RILL_NODISCARD rill_status rill__streameval_ask(rill__completer *server,
                                                const rill__server_context *context,
                                                rill__records *records, rill__job *job,
                                                rill__streameval *out, rill_error *err);

// ---- What both share ------------------------------------------------------------------------

// Where the records stand in what was read.
typedef struct rill__span {
    uint64_t start;
    uint64_t length;
} rill__span;
typedef struct rill__spans {
    rill__span *items;
    size_t n, capacity;
} rill__spans;
RILL_NODISCARD rill_status rill__spans_add(rill__spans *spans, uint64_t start, uint64_t length,
                                           rill_error *err);
void rill__spans_deinit(rill__spans *spans);

// Adds an answer to s and, unless `c` is NULL, to the journal.
RILL_NODISCARD rill_status rill__streameval_take(rill__streameval *s, rill__case *c,
                                                 const rill__answer *a, rill_error *err);
// Adds the answers that are in the journal.
RILL_NODISCARD rill_status rill__streameval_recall(rill__streameval *s, rill__case *c,
                                                   rill_error *err);

#endif
