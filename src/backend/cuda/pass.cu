// SPDX-License-Identifier: MIT
// A pass on the device: what it works on is copied there, and a pass that comes again is replayed.
//
// The copy has two parts. Tokens, rows, wanted rows and choices are new in every pass. Runs, caches
// and frequencies are new only when other streams come: they are made each time, compared with what
// the device has, and sent when they differ. Both lie at places that follow from the shape's
// limits, so kernels are given the same addresses in every pass.
//
// The second time that a pass of some shape comes its kernels are recorded into a graph (CUDA's
// stream capture), and from then on started by one call. Evictions change no shape.
#include "backend/cuda/host.h"

#include <cstring>

static const size_t ALIGNMENT = 256;
// Memory for a part of a step at least: adjustments, of which there are more as an answer grows,
// should not ask for more of it in its midst.
static const size_t LEAST_STEP = 1 << 20;

// Lays one array behind another; with memory, fills in where.
struct layout {
    uint8_t *base;
    size_t at;
};

static uint8_t *place(layout *l, size_t bytes) {
    uint8_t *p = l->base ? l->base + l->at : nullptr;
    l->at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return p;
}

static uint32_t pairs_of(const rill__pass *pass) {
    uint32_t n = pass->runs[0].rope ? pass->runs[0].rope->n_pairs : 0;
    const rill__rope *local = pass->runs[0].local_rope;
    return local && local->n_pairs > n ? local->n_pairs : n;
}

static size_t count_adjustments(const rill__pass *pass) {
    size_t n = 0;
    for (size_t i = 0; pass->choices && i < pass->n_wanted; i++)
        if (pass->choices[i]) n += pass->choices[i]->n_adjustments;
    return n;
}

static size_t lay_out_rows(uint8_t *base, const rill__pass *pass, rill__cuda_step *s) {
    layout l = {base, 0};
    s->tokens = (rill_token *)place(&l, pass->n_rows * sizeof *s->tokens);
    s->rows = (rill__row *)place(&l, pass->n_rows * sizeof *s->rows);
    s->wanted = (uint32_t *)place(&l, pass->n_wanted * sizeof *s->wanted);
    s->choices = (rill__cuda_choice *)place(&l, pass->n_wanted * sizeof *s->choices);
    // The last: there are more or fewer from pass to pass.
    s->adjustments =
        (rill__adjustment *)place(&l, count_adjustments(pass) * sizeof *s->adjustments);
    return l.at;
}

static size_t lay_out_streams(uint8_t *base, const rill__pass *pass, rill__cuda_step *s) {
    layout l = {base, 0};
    size_t n = pass->n_runs, n_pairs = pairs_of(pass);
    s->run_of = (uint32_t *)place(&l, pass->n_rows * sizeof *s->run_of);
    s->runs = (rill__cuda_run *)place(&l, n * sizeof *s->runs);
    s->caches = (rill__cuda_kv *)place(&l, n * pass->n_layers * sizeof *s->caches);
    s->phase_steps = (uint64_t *)place(&l, 2 * n * n_pairs * sizeof *s->phase_steps);
    s->magnitudes = (float *)place(&l, 2 * n * sizeof *s->magnitudes);
    s->fades = (double *)place(&l, n * n_pairs * sizeof *s->fades);
    s->fade_blocks = (uint64_t *)place(&l, n * sizeof *s->fade_blocks);
    return l.at;
}

static void fill_choices(const rill__pass *pass, const rill__cuda_step *s) {
    uint32_t first = 0;
    for (size_t i = 0; i < pass->n_wanted; i++) {
        const rill__choice *from = pass->choices[i];
        rill__cuda_choice *c = &s->choices[i];
        *c = rill__cuda_choice{};
        if (!from) continue;
        c->kept = rill__cuda_floats(from->kept);
        from->kept->in_step = true;
        c->draw = from->draw;
        c->temperature = from->temperature;
        c->top_p = from->top_p;
        c->min_p = from->min_p;
        c->top_k = from->top_k;
        c->first_adjustment = first;
        c->n_biases = from->n_biases;
        c->n_adjustments = from->n_adjustments;
        memcpy(s->adjustments + first, from->adjustments,
               from->n_adjustments * sizeof *s->adjustments);
        first += from->n_adjustments;
    }
}

static void fill_rows(const rill__pass *pass, const rill__cuda_step *s) {
    memcpy(s->tokens, pass->tokens, pass->n_rows * sizeof *s->tokens);
    memcpy(s->rows, pass->rows, pass->n_rows * sizeof *s->rows);
    memcpy(s->wanted, pass->wanted, pass->n_wanted * sizeof *s->wanted);
    if (pass->choices) fill_choices(pass, s);
}

static rill__cuda_kv kv_of(const rill__kv *kv) {
    rill__cuda_kv k = {};
    kv->keys->in_step = kv->values->in_step = true;
    k.keys = kv->keys->data;
    k.values = kv->values->data;
    k.key_type = kv->key_type;
    k.value_type = kv->value_type;
    k.key_row_bytes = (uint32_t)kv->key_row_bytes;
    k.value_row_bytes = (uint32_t)kv->value_row_bytes;
    k.n_sinks = kv->n_sinks;
    k.ring_rows = kv->ring_rows;
    k.sink_scale = kv->sink_scale;
    k.sink_cap = kv->sink_cap;
    return k;
}

static void fill_rope(const rill__cuda_step *s, const rill__pass *pass, size_t run, bool local) {
    const rill__rope *rope = rill__run_rope(&pass->runs[run], local);
    if (!rope) return;
    size_t at = (local ? pass->n_runs : 0) + run, n_pairs = pairs_of(pass);
    s->magnitudes[at] = rope->magnitude;
    if (rope->n_pairs)
        memcpy(s->phase_steps + at * n_pairs, rope->phase_step,
               rope->n_pairs * sizeof *rope->phase_step);
    if (local) return;
    s->fade_blocks[run] = rope->fade_block;
    if (rope->fade)
        memcpy(s->fades + run * n_pairs, rope->fade, rope->n_pairs * sizeof *rope->fade);
}

static void fill_streams(const rill__pass *pass, const rill__cuda_step *s) {
    for (size_t i = 0; i < pass->n_runs; i++) {
        const rill__run *run = &pass->runs[i];
        s->runs[i].first_row = (uint32_t)run->first_row;
        s->runs[i].n_rows = (uint32_t)run->n_rows;
        for (size_t r = 0; r < run->n_rows; r++) s->run_of[run->first_row + r] = (uint32_t)i;
        for (uint32_t layer = 0; layer < pass->n_layers; layer++)
            s->caches[layer * pass->n_runs + i] = kv_of(&run->kv[layer]);
        fill_rope(s, pass, i, false);
        fill_rope(s, pass, i, true);
    }
}

// Memory of a part, host and device; graphs know the old addresses. The staging has twice the room:
// what is made anew lies behind what the device has.
static bool grow(rill__cuda *cu, int part, size_t bytes) {
    rill__cuda_host *h = cu->host;
    if (bytes <= h->bytes[part]) return true;
    bytes = 2 * bytes > LEAST_STEP ? 2 * bytes : LEAST_STEP;
    rill__cuda_forget_graphs(cu);
    cudaFree(h->device[part]);
    cudaFreeHost(h->staging[part]);
    h->device[part] = h->staging[part] = nullptr;
    h->bytes[part] = h->sent = 0;
    if (RILL_CUDA_TRY(cu, cudaMalloc(&h->device[part], bytes)) ||
        RILL_CUDA_TRY(cu, cudaMallocHost(&h->staging[part], 2 * bytes)))
        return false;
    h->bytes[part] = bytes;
    return true;
}

static void send(rill__cuda *cu, int part, size_t bytes) {
    rill__cuda_host *h = cu->host;
    RILL_CUDA_TRY(cu, cudaMemcpyAsync(h->device[part], h->staging[part], bytes,
                                      cudaMemcpyHostToDevice, cu->stream));
}

static void send_step(rill__cuda *cu, const rill__pass *pass) {
    rill__cuda_host *h = cu->host;
    rill__cuda_step s;
    size_t rows = lay_out_rows(nullptr, pass, &s), streams = lay_out_streams(nullptr, pass, &s);
    if (!grow(cu, 0, rows) || !grow(cu, 1, streams)) return;
    (void)lay_out_rows(h->staging[0], pass, &s);
    fill_rows(pass, &s);
    send(cu, 0, rows);
    uint8_t *fresh = h->staging[1] + h->bytes[1];
    memset(fresh, 0, streams);
    (void)lay_out_streams(fresh, pass, &s);
    fill_streams(pass, &s);
    if (streams != h->sent || memcmp(fresh, h->staging[1], streams) != 0) {
        memcpy(h->staging[1], fresh, streams);
        h->sent = streams;
        send(cu, 1, streams);
    }
    (void)lay_out_rows(h->device[0], pass, &cu->step);
    (void)lay_out_streams(h->device[1], pass, &cu->step);
}

// FNV-1a over what kernels are chosen by.
static uint64_t hash_runs(const rill__pass *pass) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < pass->n_runs; i++) {
        const rill__run *run = &pass->runs[i];
        const uint64_t parts[] = {run->n_rows, (uint64_t)run->kv[0].key_type,
                                  (uint64_t)run->kv[0].value_type};
        for (uint64_t part : parts) hash = (hash ^ part) * 1099511628211u;
    }
    return hash;
}

static bool same_shape(const rill__cuda_shape *a, const rill__cuda_shape *b) {
    return a->room == b->room && a->n_rows == b->n_rows && a->n_runs == b->n_runs &&
           a->n_wanted == b->n_wanted && a->chooses == b->chooses && a->runs == b->runs;
}

// The graph of a shape, or the one that was used longest ago, emptied for it.
static rill__cuda_graph *find_graph(rill__cuda *cu, const rill__cuda_shape *shape) {
    rill__cuda_graph *oldest = cu->host->graphs;
    for (rill__cuda_graph &g : cu->host->graphs) {
        if (g.seen && same_shape(&g.shape, shape)) return &g;
        if (g.last < oldest->last) oldest = &g;
    }
    if (oldest->exec) cudaGraphExecDestroy(oldest->exec);
    *oldest = rill__cuda_graph{};
    oldest->shape = *shape;
    return oldest;
}

// Only what fits into one turn of logits can be replayed: see `begin` in backend.h.
static bool can_repeat(const rill__cuda *cu, const rill__pass *pass) {
    return !pass->observed && pass->n_wanted <= cu->base.ops->logits_rows;
}

bool rill__cuda_begin(rill__backend *be, const rill__pass *pass) {
    rill__cuda *cu = rill__cuda_of(be);
    rill__cuda_host *h = cu->host;
    pthread_mutex_lock(&h->lock);
    RILL_CUDA_TRY(cu, cudaSetDevice(cu->device));
    cu->pass = pass;
    send_step(cu, pass);
    if (cu->failed != RILL_OK) return true;  // there is nothing to work on; `synchronize` says why
    if (!can_repeat(cu, pass)) return false;
    rill__cuda_shape shape = {pass->room,     pass->n_rows,          pass->n_runs,
                              pass->n_wanted, pass->choices != NULL, hash_runs(pass)};
    rill__cuda_graph *g = find_graph(cu, &shape);
    g->seen++;
    g->last = ++h->n_passes;
    if (g->exec) {
        cu->first_choice = 0;
        cu->n_choices = pass->choices ? pass->n_wanted : 0;
        RILL_CUDA_TRY(cu, cudaGraphLaunch(g->exec, cu->stream));
        return true;
    }
    // The first pass of a shape may still take memory; the second is recorded.
    if (g->seen == 2 &&
        !RILL_CUDA_TRY(cu, cudaStreamBeginCapture(cu->stream, cudaStreamCaptureModeThreadLocal)))
        h->recording = g;
    return false;
}

void rill__cuda_launch_recorded(rill__cuda *cu) {
    rill__cuda_graph *g = cu->host->recording;
    cu->host->recording = nullptr;
    if (!g) return;
    cudaGraph_t graph = nullptr;
    if (RILL_CUDA_TRY(cu, cudaStreamEndCapture(cu->stream, &graph))) return;
    // A kernel that could not be started is not in it: `synchronize` tells, and forgets graphs.
    if (cu->failed == RILL_OK && !RILL_CUDA_TRY(cu, cudaGraphInstantiate(&g->exec, graph, 0)))
        RILL_CUDA_TRY(cu, cudaGraphLaunch(g->exec, cu->stream));
    cudaGraphDestroy(graph);
}

void rill__cuda_end(rill__backend *be) {
    rill__cuda *cu = rill__cuda_of(be);
    cu->pass = nullptr;
    pthread_mutex_unlock(&cu->host->lock);
}

void rill__cuda_forget_graphs(rill__cuda *cu) {
    for (rill__cuda_graph &g : cu->host->graphs) {
        if (g.exec) cudaGraphExecDestroy(g.exec);
        g = rill__cuda_graph{};
    }
}

void rill__cuda_pass_close(rill__cuda *cu) {
    if (!cu->host) return;
    rill__cuda_forget_graphs(cu);
    for (int part = 0; part < 2; part++) {
        cudaFree(cu->host->device[part]);
        cudaFreeHost(cu->host->staging[part]);
    }
}
