// SPDX-License-Identifier: MIT
// A mixture of experts: rows are sorted by expert, so that an expert's weights are read once for
// all of its rows; each row's results are added in the order of experts, whatever other rows came
// with it.
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

// One row's way through one expert.
typedef struct route {
    uint32_t expert;
    uint32_t slot;  // where its row lies among all, sorted by expert
    float logit;
    float weight;
} route;

_Static_assert(sizeof(route) == RILL_ROUTE_BYTES, "the engine takes the memory");

typedef struct experts_job {
    const rill__experts *e;
    route *routes;    // [n_rows, n_used], each row's by expert
    uint32_t *first;  // [n_experts + 1] first slot of each expert
} experts_job;

// The n_used greatest logits of a row, sorted by expert, weighted by their softmax.
static void choose(const rill__experts *e, const float *logits, route *routes) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n_experts; i++) {
        // The least of those chosen, the last one of equals, makes room.
        uint32_t least = 0;
        for (uint32_t j = 1; j < n; j++)
            if (routes[j].logit <= routes[least].logit) least = j;
        if (n == e->n_used) {
            if (!(logits[i] > routes[least].logit)) continue;
            memmove(routes + least, routes + least + 1, (n - least - 1) * sizeof *routes);
            n--;
        }
        routes[n++] = (route){.expert = i, .logit = logits[i]};
    }
    float greatest = -INFINITY;
    for (uint32_t j = 0; j < n; j++) greatest = fmaxf(greatest, routes[j].logit);
    double sum = 0;
    for (uint32_t j = 0; j < n; j++) sum += exp((double)routes[j].logit - greatest);
    for (uint32_t j = 0; j < n; j++)
        routes[j].weight = (float)(exp((double)routes[j].logit - greatest) / sum);
}

// Gives every route its slot.
static void sort_routes(const experts_job *job) {
    const rill__experts *e = job->e;
    size_t n = e->n_rows * e->n_used;
    memset(job->first, 0, (e->n_experts + 1) * sizeof *job->first);
    for (size_t i = 0; i < n; i++) job->first[job->routes[i].expert + 1]++;
    for (uint32_t i = 0; i < e->n_experts; i++) job->first[i + 1] += job->first[i];
    for (size_t i = 0; i < n; i++) job->routes[i].slot = job->first[job->routes[i].expert]++;
    for (uint32_t i = e->n_experts; i > 0; i--) job->first[i] = job->first[i - 1];
    job->first[0] = 0;
}

static void gather_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const experts_job *job = context;
    const rill__experts *e = job->e;
    const float *in = rill__cpu_floats(e->in) + row * e->hidden;
    for (uint32_t j = 0; j < e->n_used; j++)
        memcpy(rill__cpu_floats(e->gathered) +
                   (size_t)job->routes[row * e->n_used + j].slot * e->hidden,
               in, e->hidden * sizeof *in);
}

static void sum_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const experts_job *job = context;
    const rill__experts *e = job->e;
    float *out = rill__cpu_floats(e->out) + row * e->hidden;
    memset(out, 0, e->hidden * sizeof *out);
    for (uint32_t j = 0; j < e->n_used; j++) {
        const route *r = &job->routes[row * e->n_used + j];
        const float *in = rill__cpu_floats(e->gathered) + (size_t)r->slot * e->hidden;
        for (uint32_t i = 0; i < e->hidden; i++) out[i] += r->weight * in[i];
    }
}

// An expert's rows of a weight that has all experts' one below the other.
static rill__weight matrix_of(const rill__weight *all, uint32_t expert, size_t rows) {
    rill__weight one = *all;
    one.rows = rows;
    one.data += expert * rows * all->row_bytes;
    one.first = expert * rows;
    return one;
}

static rill__weight bias_of(const rill__weight *all, uint32_t expert, size_t rows) {
    rill__weight one = {0};
    if (all) one = *all;
    one.columns = rows;
    if (all) one.vector += expert * rows;
    return one;
}

static rill__buffer rows_of(const rill__buffer *buffer, uint32_t first, size_t width) {
    size_t offset = (size_t)first * width * sizeof(float);
    return (rill__buffer){.data = buffer->data + offset, .bytes = buffer->bytes - offset};
}

// down(act(gate(x), up(x))) of one expert's rows, in place.
static void run_expert(rill__backend *be, const experts_job *job, uint32_t expert) {
    const rill__experts *e = job->e;
    uint32_t first = job->first[expert];
    size_t n = job->first[expert + 1] - first;
    if (n == 0) return;
    rill__buffer x = rows_of(e->gathered, first, e->hidden);
    rill__buffer gates = rows_of(e->gates, first, e->ffn), ups = rows_of(e->ups, first, e->ffn);
    const rill__weight gate = matrix_of(e->gate, expert, e->ffn);
    const rill__weight up = matrix_of(e->up, expert, e->ffn);
    const rill__weight down = matrix_of(e->down, expert, e->hidden);
    const rill__weight gate_bias = bias_of(e->gate_bias, expert, e->ffn);
    const rill__weight up_bias = bias_of(e->up_bias, expert, e->ffn);
    const rill__weight down_bias = bias_of(e->down_bias, expert, e->hidden);
    const rill__projection both[] = {{&gate, e->gate_bias ? &gate_bias : NULL, &gates},
                                     {&up, e->up_bias ? &up_bias : NULL, &ups}};
    rill__cpu_project(be, &x, n, both, 2, RILL_PRECISION_FINE);
    rill__cpu_activate(be, &gates, &gates, &ups, e->activation, e->limit, n, e->ffn);
    const rill__projection last = {&down, e->down_bias ? &down_bias : NULL, &x};
    rill__cpu_project(be, &gates, n, &last, 1, RILL_PRECISION_FINE);
}

void rill__cpu_experts(rill__backend *be, const rill__experts *e) {
    rill__cpu *cpu = rill__cpu_of(be);
    experts_job job = {.e = e, .routes = (route *)(void *)e->routes->data};
    job.first = (uint32_t *)(void *)(job.routes + e->n_rows * e->n_used);
    for (size_t row = 0; row < e->n_rows; row++)
        choose(e, rill__cpu_floats(e->logits) + row * e->n_experts, job.routes + row * e->n_used);
    sort_routes(&job);
    rill__cpu_run(cpu, e->n_rows, gather_row, &job);
    for (uint32_t i = 0; i < e->n_experts; i++) run_expert(be, &job, i);
    rill__cpu_run(cpu, e->n_rows, sum_row, &job);
}
