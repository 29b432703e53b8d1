// SPDX-License-Identifier: MIT
// A stream's remembered tokens.
#include "stream/history.h"

#include <string.h>

rill_status rill__history_init(rill__history *h, size_t n_first, size_t n_latest, rill_error *err) {
    *h = (rill__history){.n_first = n_first, .n_latest = n_latest};
    h->first = rill__map_resident(n_first * sizeof *h->first);
    h->latest = rill__map_resident(n_latest * sizeof *h->latest);
    if (!h->first || !h->latest) {
        rill__history_deinit(h);
        return rill__fail_memory(err, "the tokens of a stream",
                                 (n_first + n_latest) * sizeof *h->first);
    }
    return RILL_OK;
}

void rill__history_deinit(rill__history *h) {
    rill__unmap_memory(h->first, h->n_first * sizeof *h->first);
    rill__unmap_memory(h->latest, h->n_latest * sizeof *h->latest);
    memset(h, 0, sizeof *h);
}

void rill__history_push(rill__history *h, rill_token token) {
    if (h->seen < h->n_first) h->first[h->seen] = token;
    h->latest[h->seen % h->n_latest] = token;
    h->seen++;
}

rill_token rill__history_get(const rill__history *h, uint64_t t) {
    return h->seen - t <= h->n_latest ? h->latest[t % h->n_latest] : h->first[t];
}
