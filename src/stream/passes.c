// SPDX-License-Identifier: MIT
// Room for passes over a model's weights: it only grows, when a stream is opened.
#include "stream/passes.h"

#include <string.h>

void rill__passes_init(rill__passes *p) {
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
}

static void free_room(rill__passes *p) {
    rill__workspace_close(&p->workspace);
    rill__free(p->tokens);
    rill__free(p->rows);
    rill__free(p->parts);
    rill__free(p->feeds);
}

void rill__passes_deinit(rill__passes *p) {
    free_room(p);
    pthread_mutex_destroy(&p->lock);
}

// Of a batch in the making.
static size_t row_bytes(void) {
    return sizeof(rill_token) + sizeof(rill__row) + sizeof(rill__batch_part) + sizeof(rill_feed *);
}

bool rill__passes_bytes(const rill__network *net, size_t max_rows, uint64_t *bytes) {
    if (!rill__workspace_bytes(net, max_rows, bytes)) return false;
    *bytes += max_rows * row_bytes();
    return true;
}

static rill_status take_room(rill__passes *p, const rill__network *net, size_t max_rows,
                             rill_error *err) {
    rill__passes room = {
        .tokens = rill__calloc(max_rows, sizeof *p->tokens),
        .rows = rill__calloc(max_rows, sizeof *p->rows),
        .parts = rill__calloc(max_rows, sizeof *p->parts),
        .feeds = rill__calloc(max_rows, sizeof *p->feeds),
    };
    bool all = room.tokens && room.rows && room.parts && room.feeds;
    rill_status status = all ? rill__workspace_open(net, max_rows, &room.workspace, err)
                             : rill__fail_memory(err, "a batch", max_rows * row_bytes());
    if (status != RILL_OK) {
        free_room(&room);
        return status;
    }
    free_room(p);
    p->workspace = room.workspace;
    p->tokens = room.tokens;
    p->rows = room.rows;
    p->parts = room.parts;
    p->feeds = room.feeds;
    return RILL_OK;
}

rill_status rill__passes_reserve(rill__passes *p, const rill__network *net, size_t max_rows,
                                 size_t max_visible, rill_error *err) {
    pthread_mutex_lock(&p->lock);
    rill_status status = rill__forward_reserve(net, max_rows, max_visible, err);
    if (status == RILL_OK && max_rows > p->workspace.max_rows)
        status = take_room(p, net, max_rows, err);
    pthread_mutex_unlock(&p->lock);
    return status;
}
