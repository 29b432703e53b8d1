// SPDX-License-Identifier: MIT
// The rows of a sweep: every combination of what was given as lists.
#include "cli/bench.h"

#include <string.h>

// The machine of that type and number of threads, added if it is new.
static size_t machine_of(rill__bench *b, rill_type type, uint32_t threads) {
    for (size_t i = 0; i < b->n_machines; i++)
        if (b->machines[i].type == type && b->machines[i].threads == threads) return i;
    b->machines[b->n_machines] = (rill__bench_machine){.type = type, .threads = threads};
    return b->n_machines++;
}

static bool equal_but(const rill__bench *b, const rill__bench_row *x, const rill__bench_row *y) {
    const rill__bench_machine *m = &b->machines[x->machine], *n = &b->machines[y->machine];
    const rill_stream_options *o = &x->options, *p = &y->options;
    bool cache = o->key_type == p->key_type && o->value_type == p->value_type;
    return x->kind == y->kind && x->tokens == y->tokens && m->type == n->type &&
           (cache || b->varied == RILL_BENCH_CACHE) &&
           (m->threads == n->threads || b->varied == RILL_BENCH_THREADS) &&
           (x->n_streams == y->n_streams || b->varied == RILL_BENCH_STREAMS) &&
           (x->busy == y->busy || b->varied == RILL_BENCH_BUSY);
}

static void add_row(rill__bench *b, rill__bench_row row) {
    row.base = b->n_rows;
    bool recomputed = b->n_rows && b->rows[b->n_rows - 1].kind == RILL_BENCH_RECOMPUTE;
    if (b->s->compare)
        row.base = 0;
    else if (recomputed)
        row.base = b->n_rows - 1;
    for (size_t i = 0; b->varied != RILL_BENCH_NOTHING && i < b->n_rows; i++) {
        if (!equal_but(b, &b->rows[i], &row)) continue;
        row.base = i;
        break;
    }
    b->rows[b->n_rows++] = row;
}

// 1, 2, 4 and so on up to as many as pay.
static rill_status all_threads(rill__bench *b, rill_error *err) {
    rill__lists *l = &b->s->lists;
    rill_device *device;
    rill_status status = rill_device_open(&b->s->device, &device, err);
    if (status != RILL_OK) return status;
    uint32_t all = rill_device_threads(device);
    rill_device_close(&device);
    for (uint32_t n = 1; n < all && l->n_threads < RILL_MAX_LIST - 1; n *= 2)
        l->threads[l->n_threads++] = n;
    l->threads[l->n_threads++] = all;
    return RILL_OK;
}

// Where a list was not given it is that of the sweep: all of the values that it varies, or one.
static rill_status complete(rill__bench *b, rill_error *err) {
    static const uint32_t streams[] = {1, 8, 32};
    static const rill_type cache[] = {RILL_TYPE_F16, RILL_TYPE_Q8_0, RILL_TYPE_Q4_0};
    rill__lists *l = &b->s->lists;
    if (!l->n_weight_types) l->weight_types[l->n_weight_types++] = RILL_TYPE_Q8_0;
    if (!l->n_lengths) l->lengths[l->n_lengths++] = b->s->prefill;
    if (!l->n_types && b->varied == RILL_BENCH_CACHE) {
        l->n_types = sizeof cache / sizeof *cache;
        memcpy(l->key_types, cache, sizeof cache);
        memcpy(l->value_types, cache, sizeof cache);
    }
    if (!l->n_streams && b->varied == RILL_BENCH_STREAMS) {
        l->n_streams = sizeof streams / sizeof *streams;
        memcpy(l->streams, streams, sizeof streams);
    }
    if (!l->n_streams) l->streams[l->n_streams++] = 1;
    if (!l->n_threads && b->varied == RILL_BENCH_THREADS) return all_threads(b, err);
    if (!l->n_threads) l->threads[l->n_threads++] = 0;
    return RILL_OK;
}

// The same window, each token of which is a pass over all of it: a few of them.
static void add_recompute(rill__bench *b, rill__bench_row row) {
    enum { RECOMPUTED = 3 };
    row.kind = RILL_BENCH_RECOMPUTE;
    row.tokens = RECOMPUTED;
    row.options.method = RILL_METHOD_RECOMPUTE;
    row.options.window += row.options.sinks;
    row.options.sinks = 0;
    add_row(b, row);
}

static void add_rows(rill__bench *b, const rill__bench_sweep *sweep, rill__bench_row row) {
    const rill__lists *l = &b->s->lists;
    for (size_t i = 0; sweep->prefill && i < l->n_lengths; i++) {
        row.kind = RILL_BENCH_PREFILL;
        row.n_streams = 1;
        row.tokens = (uint32_t)l->lengths[i];
        add_row(b, row);
    }
    row.kind = RILL_BENCH_DECODE;
    row.tokens = b->s->decode;
    for (size_t i = 0; sweep->decode && i < l->n_streams; i++)
        for (int busy = 0; busy <= (b->varied == RILL_BENCH_BUSY); busy++) {
            row.n_streams = l->streams[i];
            row.busy = busy;
            if (b->s->compare_recompute) add_recompute(b, row);
            add_row(b, row);
        }
}

static rill_status allocate(rill__bench *b, rill_error *err) {
    const rill__lists *l = &b->s->lists;
    size_t machines = l->n_weight_types * l->n_threads, types = l->n_types ? l->n_types : 1;
    size_t rows = 1 + machines * types * (l->n_lengths + 3 * l->n_streams);
    b->machines = rill__calloc(machines, sizeof *b->machines);
    b->rows = rill__calloc(rows, sizeof *b->rows);
    if (!b->machines || !b->rows)
        return rill__fail_memory(err, "rows", rows * sizeof *b->rows + machines);
    return RILL_OK;
}

// Room for the streams and the figures of every row.
static rill_status allocate_figures(rill__bench *b, rill_error *err) {
    for (size_t i = 0; i < b->n_rows; i++) {
        b->rows[i].rates = rill__calloc(b->s->runs, sizeof *b->rows[i].rates);
        b->rows[i].roofs = rill__calloc(b->s->runs, sizeof *b->rows[i].roofs);
        b->rows[i].streams = rill__calloc(b->rows[i].n_streams + 1, sizeof *b->rows[i].streams);
        if (!b->rows[i].rates || !b->rows[i].roofs || !b->rows[i].streams)
            return rill__fail_memory(err, "figures", b->s->runs * sizeof(rill_roof));
    }
    return RILL_OK;
}

static rill_status check_lengths(const rill__lists *l, rill_error *err) {
    for (size_t i = 0; i < l->n_lengths; i++)
        if (l->lengths[i] > 1000000)
            return rill__fail(err, RILL_EINVAL, "--tokens: %llu: wants at most 1000000",
                              (unsigned long long)l->lengths[i]);
    return RILL_OK;
}

rill_status rill__bench_plan(rill__bench *b, const rill__bench_sweep *sweep, rill_error *err) {
    rill__lists *l = &b->s->lists;
    b->varied = sweep->varied;
    rill_status status = check_lengths(l, err);
    if (status == RILL_OK) status = complete(b, err);
    if (status == RILL_OK) status = allocate(b, err);
    if (status != RILL_OK) return status;
    if (b->s->compare) b->rows[b->n_rows++] = (rill__bench_row){.kind = RILL_BENCH_COMMAND};
    for (size_t type = 0; type < l->n_weight_types; type++)
        for (size_t threads = 0; threads < l->n_threads; threads++)
            for (size_t cache = 0; cache < (l->n_types ? l->n_types : 1); cache++) {
                rill__bench_row row = {
                    .machine = machine_of(b, l->weight_types[type], l->threads[threads]),
                    .options = b->s->stream,
                };
                if (l->n_types) {
                    row.options.key_type = l->key_types[cache];
                    row.options.value_type = l->value_types[cache];
                    row.options.default_types = false;
                }
                add_rows(b, sweep, row);
            }
    return allocate_figures(b, err);
}
