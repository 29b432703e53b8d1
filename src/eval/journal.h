// SPDX-License-Identifier: MIT
// What an evaluation has done so far, on disk, so that an interrupted one goes on where it was.
//
// A journal is a directory. Each case (one configuration of one measure) has in it
//
//   NAME.case      the text that describes it: another text under this name is refused
//   NAME.records   a head of 64 bytes, then records of one size, as this machine stores them
//   NAME.stream    the stream's snapshot; gone once the case is finished
//
// Records are synced before the snapshot that they led to is put in place. The head says for the
// last two saves how many records belong to a stream of how many tokens; so the snapshot that
// survived says where the records are cut. A kill at any time loses what came after the last save.
#ifndef RILL_EVAL_JOURNAL_H
#define RILL_EVAL_JOURNAL_H

#include "rill/rill.h"

#include "base/base.h"

typedef struct rill__journal rill__journal;
typedef struct rill__case rill__case;

// Opens the directory, and makes it if it is not there. RILL_EIO.
RILL_NODISCARD rill_status rill__journal_open(const char *directory, rill__journal **out,
                                              rill_error *err);
// Sets *journal to NULL; NULL in it is allowed.
void rill__journal_close(rill__journal **journal);

// Opens or begins a case. `name` is short; characters that do not suit a file's name are replaced.
// `description` is lines of text that say all that the records depend on. RILL_EMISMATCH if the
// case was begun with another description (the message has the lines that differ); RILL_EIO, also
// if another process has it open; RILL_EFORMAT if its files are not a journal's. Close it before
// the journal.
//
// A journal of NULL gives a case of NULL, with which all functions below do nothing: no journal is
// kept.
RILL_NODISCARD rill_status rill__journal_case(rill__journal *journal, const char *name,
                                              const char *description, size_t record_bytes,
                                              rill__case **out, rill_error *err);
// Closes the files; what was not saved is lost. Sets *c to NULL; NULL in it is allowed.
void rill__case_close(rill__case **c);

// Records that were saved, and those appended since. 0 for NULL.
uint64_t rill__case_count(const rill__case *c);
// True once rill__case_finish was called: nothing is left to compute. False for NULL.
bool rill__case_finished(const rill__case *c);
// Seconds of computing that led to the records, as the last save had them. 0 for NULL.
double rill__case_seconds(const rill__case *c);

// Loads the snapshot, and cuts the records to those that led to it. Without a snapshot *stream is
// NULL and no records remain. A measure whose records need no stream does not call this, and goes
// on after all of them. Failures as rill_stream_load, and RILL_EFORMAT if records are missing.
RILL_NODISCARD rill_status rill__case_load(rill__case *c, rill_model *model, rill_stream **stream,
                                           rill_error *err);

// Adds records, in memory until the next save. RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__case_append(rill__case *c, const void *records, size_t n,
                                             rill_error *err);
// Copies n records from number `first` on. RILL_EINVAL if there are not so many.
RILL_NODISCARD rill_status rill__case_read(rill__case *c, uint64_t first, size_t n, void *out,
                                           rill_error *err);

// True half a minute after the last save: time for another. False for NULL.
bool rill__case_due(const rill__case *c);
// Makes what was appended safe, and the stream (NULL: the case has none). RILL_EIO.
RILL_NODISCARD rill_status rill__case_save(rill__case *c, const rill_stream *stream, double seconds,
                                           rill_error *err);
// Saves, marks the case as finished, and removes the snapshot.
RILL_NODISCARD rill_status rill__case_finish(rill__case *c, double seconds, rill_error *err);

// Fills n records; `user` is whoever asked.
typedef rill_status (*rill__fill_fn)(void *user, void *records, size_t n, rill_error *err);
// A case that is done in one go. The n records of a finished one are read; else what there is of
// them is dropped, `fill` fills them, and they are kept. Failures as fill's, and as above.
RILL_NODISCARD rill_status rill__case_once(rill__case *c, void *records, size_t n,
                                           rill__fill_fn fill, void *user, rill_error *err);

#endif
