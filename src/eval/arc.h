// SPDX-License-Identifier: MIT
// ARC as the paper streams it: question after question in one stream that never forgets on purpose.
//
// Each choice is scored by its log-likelihood after the question, as EleutherAI's evaluation
// harness does: `acc` takes the likeliest, `acc_norm` the likeliest a character. Then the question
// is followed by its true answer, and the next one.
#ifndef RILL_EVAL_ARC_H
#define RILL_EVAL_ARC_H

#include "eval/job.h"

typedef struct rill__quiz rill__quiz;

enum { RILL_MAX_CHOICES = 26 };

typedef struct rill__quiz_item {
    const char *question;
    const char *const *choices;  // [n_choices], 2 to RILL_MAX_CHOICES
    size_t n_choices;
    size_t right;  // index of the true one
} rill__quiz_item;

// Reads a file of JSON lines. A line has "question" (a text, or an object with "stem" and "choices"
// as the first publication has it), "choices" (an object of lists "text" and "label", a list of
// objects with both, or a list of texts, labelled A, B, C ...), and "answerKey", a label. At most
// `limit` questions (0: all). RILL_EIO; RILL_EFORMAT names file and line.
RILL_NODISCARD rill_status rill__quiz_open(const char *path, uint64_t limit, rill__quiz **out,
                                           rill_error *err);
// Sets *quiz to NULL; NULL in it is allowed.
void rill__quiz_close(rill__quiz **quiz);

// Questions in it, 1 or more.
size_t rill__quiz_count(const rill__quiz *quiz);
// Valid while the quiz lives.
const rill__quiz_item *rill__quiz_item_at(const rill__quiz *quiz, size_t index);
// Of all questions and answers.
uint64_t rill__quiz_hash(const rill__quiz *quiz);
// Tokens that a stream reads of all of it: the room that dense needs.
RILL_NODISCARD rill_status rill__quiz_tokens(const rill_model *model, const rill__quiz *quiz,
                                             uint64_t *n, rill_error *err);

// One question. Also the journal's record.
typedef struct rill__quiz_answer {
    uint64_t place;           // tokens read before the choices
    uint32_t right;           // index of the true choice
    uint32_t chosen;          // the likeliest
    uint32_t chosen_by_size;  // the likeliest a character
    uint32_t n_choices;
} rill__quiz_answer;

typedef struct rill__arc_options {
    bool one_by_one;  // each question in a stream that has read nothing else
} rill__arc_options;

typedef struct rill__arc {
    rill__quiz_answer *answers;  // [n_answers]; rill__arc_deinit
    size_t n_answers;
    uint64_t n_read;         // tokens
    uint64_t n_copies;       // times that the stream was put back where the choices began
    double seconds;          // in all ...
    double copying_seconds;  // ... and of them, for that
} rill__arc;
// Frees what a measurement filled in; a zeroed one is allowed.
void rill__arc_deinit(rill__arc *a);

// Reads the quiz with a new stream, or goes on where the job's case was, and fills *out, also as
// far as it came when it fails. The job is told questions. The stream is put back by a snapshot in
// memory if there is room, else in $TMPDIR or /tmp, in a file without a name: however the process
// ends, nothing is left of it. RILL_ECONTEXT: dense, and its capacity is full. Other failures as
// rill_stream_open, rill_stream_feed, rill_stream_save and the job's.
RILL_NODISCARD rill_status rill__arc_measure(rill_model *model, const rill_stream_options *options,
                                             const rill__quiz *quiz,
                                             const rill__arc_options *arc_options, rill__job *job,
                                             rill__arc *out, rill_error *err);

#endif
