// SPDX-License-Identifier: MIT
// Speculation without a second model: what came before says what may come next, one pass over the
// weights computes several tokens of that ahead, and those that the sampler then chooses are read
// for nothing. See docs/speculation.md.
//
// The stream never reads what was only guessed: a draft is rows of the cache that nobody sees, and
// logits kept aside. So nothing is taken back, and nothing is different but the time.
#ifndef RILL_STREAM_DRAFT_H
#define RILL_STREAM_DRAFT_H

#include "stream/stream.h"

enum { RILL_MAX_DRAFT = 15 };  // tokens guessed at once: with the one before them 16 rows

typedef struct rill__draft {
    rill_stream *s;
    uint32_t most;  // tokens guessed at once; 0: none ever
    bool adaptive;  // as many as pay, up to `most`

    uint64_t *places;  // by hash: the token that follows a sequence of tokens; 0 for none
    uint64_t oldest;   // sequences that end in token `oldest` or later are in
    uint64_t from;     // the next token is guessed to be this one again

    // Computed ahead: the first of them is token number `first` of the stream.
    rill_token tokens[1 + RILL_MAX_DRAFT];
    float *logits;  // [1 + most, vocab_size] after each
    size_t n;
    uint64_t first;

    uint64_t n_drafted;   // tokens computed ahead
    uint64_t n_accepted;  // of them, those that were read
} rill__draft;

// Begins to guess for a stream that is about to write. `most`: 0 for not at all, RILL_DRAFT_AUTO
// for as many as pay. A stream that recomputes or is observed gets no guesses. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__draft_open(rill__draft *d, rill_stream *s, uint32_t most,
                                            rill_error *err);
// Takes a zeroed or half-open draft.
void rill__draft_close(rill__draft *d);

// Reads a token that was chosen, as rill_stream_feed. `wanted`: how many will be read after it at
// most, so that no more are computed.
RILL_NODISCARD rill_status rill__draft_read(rill__draft *d, rill_token token, uint64_t wanted,
                                            rill_error *err);

#endif
