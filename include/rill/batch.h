// SPDX-License-Identifier: MIT
// Many streams at once: one pass over a model's weights serves all of them. For servers.
//
//   rill_model_reserve(model, 512, &err);            once: at most 512 tokens a pass
//   rill_feed feeds[N] = {...};                      one token of each stream that writes, a piece
//   rill_streams_feed(feeds, N, &err);               of the prompt of each that reads; then
//   rill_stream_sample(feeds[i].stream, ...);        the next token of each
#ifndef RILL_BATCH_H
#define RILL_BATCH_H

#include "rill/rill.h"

#ifdef __cplusplus
extern "C" {
#endif

// One stream's part of a batch.
typedef struct rill_feed {
    rill_stream *stream;
    const rill_token *tokens;  // what it reads
    size_t n_tokens;           // 0 or more
    float *logits;             // NULL, or as rill_stream_feed
    // What became of it:
    size_t n_read;       // tokens read: all, or, after a failure, fewer
    rill_status status;  // as rill_stream_feed would have returned
    rill_error error;    // why, unless status is RILL_OK
} rill_feed;

// Reads for many streams of one model what each feed says: as rill_stream_feed of each, bit for
// bit, but a pass over the weights serves them together, prefill beside decoding. A pass has room
// for as many tokens as the largest chunk of the model's streams, or rill_model_reserve; of each
// stream it takes at most its own chunk; there are as many passes as it needs. For a server: give
// each stream that writes its one token, and those that read a piece of their prompt each.
// Streams that recompute (past their first eviction), or are observed, go by themselves.
// Returns RILL_OK if every feed was read; else the status of the first that was not, whose message
// goes to err: the others are read all the same. RILL_EINVAL for a feed also if its stream is of
// another model than the first, or in the batch already. Allocates nothing.
// Threads: any number at once, each with streams of its own; passes of one model go one after the
// other.
RILL_NODISCARD RILL_API rill_status rill_streams_feed(rill_feed *feeds, size_t n_feeds,
                                                      rill_error *err);

// Makes room for passes of max_rows tokens, 1 to 65536, which then holds for all streams of the
// model; less than there is changes nothing. Threads: any. RILL_EINVAL, RILL_ENOMEM.
RILL_NODISCARD RILL_API rill_status rill_model_reserve(rill_model *model, uint32_t max_rows,
                                                       rill_error *err);

#ifdef __cplusplus
}
#endif

#endif
