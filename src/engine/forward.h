// SPDX-License-Identifier: MIT
// The forward pass: one for all families, written against the backend's table.
#ifndef RILL_ENGINE_FORWARD_H
#define RILL_ENGINE_FORWARD_H

#include "engine/cache.h"

// Room for the activations of one batch. Names as in the papers; rows without gaps, float32.
typedef struct rill__workspace {
    rill__backend *backend;     // borrowed
    size_t max_rows;            // tokens of a batch
    size_t max_logits;          // rows of logits computed at once
    rill__buffer *x;            // [max_rows, hidden] the residual
    rill__buffer *h;            // [max_rows, hidden] a norm's output, then a block's
    rill__buffer *h_ffn;        // [max_rows, hidden] the same for a feed-forward beside attention
    rill__buffer *q;            // [max_rows, n_heads * head_dim] stream frame
    rill__buffer *q_sink;       // the same, sink frame
    rill__buffer *q_previous;   // the same, the block before; xPos only
    rill__buffer *k;            // [max_rows, n_kv_heads * head_dim]
    rill__buffer *v;            // the same
    rill__buffer *attended;     // [max_rows, n_heads * head_dim]
    rill__buffer *gate;         // [max_rows, ffn]; with experts [max_rows * n_experts_used, ffn]
    rill__buffer *up;           // the same
    rill__buffer *router;       // [max_rows, n_experts]; experts only, as the next two
    rill__buffer *gathered;     // [max_rows * n_experts_used, hidden]
    rill__buffer *routes;       // see rill__experts
    rill__buffer *table;        // [max_rows, frames, n_pairs, 2] rotary tables
    rill__buffer *local_table;  // the same for layers with a RoPE of their own
    rill__buffer *ends;         // [max_logits, hidden] rows whose logits are wanted
    rill__buffer *logits;       // [max_logits, vocab]
    rill__run *runs;            // [max_rows] of the batch; host memory, as the next
    uint32_t *wanted;           // [max_rows] rows whose logits are wanted
    float **wanted_logits;      // [max_rows] where they go
    // [max_rows] how a token is chosen from a wanted row instead; NULL: its logits are read
    const rill__choice **choices;
} rill__workspace;

// Bytes a workspace takes; false if that overflows.
bool rill__workspace_bytes(const rill__network *net, size_t max_rows, uint64_t *bytes);
// Takes all its memory. RILL_ENOMEM says how much was wanted.
RILL_NODISCARD rill_status rill__workspace_open(const rill__network *net, size_t max_rows,
                                                rill__workspace *out, rill_error *err);
void rill__workspace_close(rill__workspace *ws);

// Has the backend take what it needs beside workspaces and caches, for batches of max_rows rows
// that see up to max_visible tokens each. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__forward_reserve(const rill__network *net, size_t max_rows,
                                                 size_t max_visible, rill_error *err);

// Who looks at attention: called for each layer of a batch when its weights are computed.
// `weights` is [n_rows, n_heads, stride], as rill__attention has it; gone when the call returns.
typedef struct rill__observer {
    void (*see)(void *user, uint32_t layer, const rill__row *rows, size_t n_rows,
                const float *weights, size_t stride);
    void *user;
    rill__buffer *weights;  // [max_rows, n_heads, stride]
    float *copy;            // the same in host memory
    size_t max_rows;
    size_t stride;  // tokens that a row sees at most
} rill__observer;

// One stream's rows of a batch.
typedef struct rill__batch_part {
    rill__cache *cache;   // the rows' keys and values go here; no other part's cache
    size_t n_rows;        // 1 or more
    size_t first_logits;  // logits are wanted for the part's rows [first_logits, n_rows)
    float *logits;        // and go here: [n_rows - first_logits, vocab], host memory
    // Or, of the last row alone, a token is chosen from them where they are: for backends that can.
    const rill__choice *choice;
} rill__batch_part;

// Tokens of one stream or many, computed together: one pass over the weights serves all.
typedef struct rill__batch {
    const rill_token *tokens;       // [n_rows], each inside the vocabulary
    const rill__row *rows;          // [n_rows], what each sees
    size_t n_rows;                  // 1 to max_rows
    const rill__batch_part *parts;  // [n_parts] whose rows those are, one behind another
    size_t n_parts;
    const rill__observer *observer;  // NULL: nobody looks; else n_rows is at most its max_rows
} rill__batch;

// Computes a batch: stores its keys and values, and writes the logits that are wanted. Returns what
// the backend latched. Allocates nothing.
RILL_NODISCARD rill_status rill__forward(const rill__network *net, rill__workspace *ws,
                                         const rill__batch *batch, rill_error *err);

#endif
