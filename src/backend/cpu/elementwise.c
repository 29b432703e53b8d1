// SPDX-License-Identifier: MIT
// What works on rows one by one: embeddings, norms, activations, sums.
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

typedef struct rows_job {
    rill__cpu *cpu;
    float *out;
    const float *in;
    const float *other;
    const rill__weight *weight;
    const rill__weight *bias;
    const rill_token *tokens;
    rill__norm_kind kind;
    rill__activation act;
    float number;  // a scale, epsilon, or limit
    size_t width;
} rows_job;

static void embed_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const rows_job *job = context;
    const rill__weight *w = job->weight;
    float *out = job->out + row * w->columns;
    job->cpu->kernels.decode[w->type](w->data + (size_t)job->tokens[row] * w->row_bytes, out,
                                      w->columns);
    if (job->number != 1.0f)
        for (size_t i = 0; i < w->columns; i++) out[i] *= job->number;
}

void rill__cpu_embed(rill__backend *be, rill__buffer *out, const rill__weight *weight,
                     const rill_token *tokens, size_t n_rows, float scale) {
    rows_job job = {.cpu = rill__cpu_of(be),
                    .out = rill__cpu_floats(out),
                    .weight = weight,
                    .tokens = tokens,
                    .number = scale};
    rill__cpu_run(job.cpu, n_rows, embed_row, &job);
}

static void layer_norm(const float *x, const rows_job *job, float *out) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < job->width; i++) sum += x[i];
    double mean = sum / (double)job->width;
    for (size_t i = 0; i < job->width; i++) squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(squares / (double)job->width + job->number);
    for (size_t i = 0; i < job->width; i++)
        out[i] = (float)((x[i] - mean) * scale * job->weight->vector[i] +
                         (job->bias ? job->bias->vector[i] : 0));
}

static void norm_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const rows_job *job = context;
    const float *x = job->in + row * job->width;
    float *out = job->out + row * job->width;
    if (job->kind == RILL_NORM_LAYER)
        layer_norm(x, job, out);
    else
        job->cpu->kernels.rms_norm(x, job->weight->vector, job->number, out, job->width);
}

void rill__cpu_norm(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                    const rill__weight *weight, const rill__weight *bias, rill__norm_kind kind,
                    float eps, size_t n_rows, size_t width) {
    rows_job job = {.cpu = rill__cpu_of(be),
                    .out = rill__cpu_floats(out),
                    .in = rill__cpu_floats(in),
                    .weight = weight,
                    .bias = bias,
                    .kind = kind,
                    .number = eps,
                    .width = width};
    rill__cpu_run(job.cpu, n_rows, norm_row, &job);
}

static void activate_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const rows_job *job = context;
    const float *gate = job->in + row * job->width;
    const float *up = job->other ? job->other + row * job->width : NULL;
    float *out = job->out + row * job->width;
    const rill__cpu_kernels *kernels = &job->cpu->kernels;
    if (job->act == RILL_ACT_CLAMPED_SWIGLU)
        kernels->clamped_swiglu(gate, up, out, job->width, job->number);
    else if (job->act == RILL_ACT_SILU)
        kernels->silu(gate, up, out, job->width);
    else if (job->act == RILL_ACT_GELU_TANH)
        kernels->gelu_tanh(gate, up, out, job->width);
    else
        kernels->gelu(gate, up, out, job->width);
}

void rill__cpu_activate(rill__backend *be, rill__buffer *out, const rill__buffer *gate,
                        const rill__buffer *up, rill__activation act, float limit, size_t n_rows,
                        size_t width) {
    rows_job job = {.cpu = rill__cpu_of(be),
                    .number = limit,
                    .out = rill__cpu_floats(out),
                    .in = rill__cpu_floats(gate),
                    .other = up ? rill__cpu_floats(up) : NULL,
                    .act = act,
                    .width = width};
    rill__cpu_run(job.cpu, n_rows, activate_row, &job);
}

static void add_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const rows_job *job = context;
    float *x = job->out + row * job->width;
    const float *y = job->in + row * job->width;
    for (size_t i = 0; i < job->width; i++) x[i] += y[i];
}

void rill__cpu_add(rill__backend *be, rill__buffer *x, const rill__buffer *y, size_t n_rows,
                   size_t width) {
    rows_job job = {.out = rill__cpu_floats(x), .in = rill__cpu_floats(y), .width = width};
    rill__cpu_run(rill__cpu_of(be), n_rows, add_row, &job);
}

static void clamp_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const rows_job *job = context;
    float *x = job->out + row * job->width;
    for (size_t i = 0; i < job->width; i++)
        x[i] = x[i] > job->number ? job->number : x[i] < -job->number ? -job->number : x[i];
}

void rill__cpu_clamp(rill__backend *be, rill__buffer *x, float limit, size_t n_rows, size_t width) {
    rows_job job = {.out = rill__cpu_floats(x), .number = limit, .width = width};
    rill__cpu_run(rill__cpu_of(be), n_rows, clamp_row, &job);
}

static void cap_row(void *context, size_t row, unsigned thread) {
    (void)thread;
    const rows_job *job = context;
    float *x = job->out + row * job->width;
    for (size_t i = 0; i < job->width; i++)
        x[i] = (float)(job->number * tanh((double)x[i] / job->number));
}

void rill__cpu_cap(rill__backend *be, rill__buffer *x, float cap, size_t n_rows, size_t width) {
    rows_job job = {.out = rill__cpu_floats(x), .number = cap, .width = width};
    rill__cpu_run(rill__cpu_of(be), n_rows, cap_row, &job);
}

void rill__cpu_select_rows(rill__backend *be, rill__buffer *out, const rill__buffer *in,
                           const uint32_t *rows, size_t n_rows, size_t width) {
    (void)be;
    for (size_t i = 0; i < n_rows; i++)
        memcpy(rill__cpu_floats(out) + i * width, rill__cpu_floats(in) + rows[i] * width,
               width * sizeof(float));
}
