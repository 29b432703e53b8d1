// SPDX-License-Identifier: MIT
// Measures the rows of a sweep in turns: in every round each row once, beside a roof measured in
// that round.
//
// Opening a model, making random weights and filling a window are outside the clock. Models stay
// open as long as all of them fit into half of the memory; where they do not, one is open at a
// time, and every round opens it anew.
#include "cli/bench.h"

#include "base/clock.h"

#include "eval/room.h"

#include <stdio.h>

// xorshift64: which tokens are read does not matter, that they differ does.
static rill_token next_token(rill__bench *b, const rill_model_info *info) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return (rill_token)(b->random % info->vocab_size);
}

static rill_status check_interrupt(rill_error *err) {
    return rill__interrupted() ? rill__fail(err, RILL_EINTERRUPTED, "interrupted") : RILL_OK;
}

// ---- Machines -------------------------------------------------------------------------------

static void close_machine(rill__bench *b, size_t machine) {
    for (size_t i = 0; i < b->n_rows; i++)
        if (b->rows[i].machine == machine) rill_stream_close(&b->rows[i].stream);
    b->machines[machine].bytes = 0;
    rill__session_close(&b->machines[machine].open);
}

// Closes the others unless one more of the greatest would fit into half of what is free.
static void make_room(rill__bench *b) {
    uint64_t greatest = 0, all = 0;
    for (size_t i = 0; i < b->n_machines; i++) {
        all += b->machines[i].bytes;
        if (b->machines[i].bytes > greatest) greatest = b->machines[i].bytes;
    }
    if (all + greatest <= (rill__room() + all) / 2) return;
    for (size_t i = 0; i < b->n_machines; i++) close_machine(b, i);
}

static rill_status open_machine(rill__bench *b, size_t machine, rill_error *err) {
    rill__bench_machine *m = &b->machines[machine];
    if (m->open.model) return RILL_OK;
    make_room(b);
    b->s->type = m->type;
    b->s->device.threads = m->threads;
    rill_status status = rill__session_open_synthetic(&m->open, b->s, b->command, err);
    if (status != RILL_OK) {
        rill__session_close(&m->open);
        return status;
    }
    m->bytes = m->open.info.weight_bytes;
    m->product = rill_device_product(m->open.device, m->open.info.weight_type);
    m->threads = rill_device_threads(m->open.device);
    m->tier = rill_device_tier(m->open.device);
    snprintf(m->description, sizeof m->description, "%s", rill_device_describe(m->open.device));
    return RILL_OK;
}

// ---- Runs -----------------------------------------------------------------------------------

// Past the window, so that every token written evicts one.
static rill_status fill(rill__bench *b, rill__bench_row *row, rill_error *err) {
    rill_token tokens[256];
    const rill_model_info *info = &b->machines[row->machine].open.info;
    size_t n = (size_t)row->options.sinks + row->options.window + 1;
    rill_status status = RILL_OK;
    for (size_t done = 0; done < n && status == RILL_OK;) {
        size_t piece = n - done < 256 ? n - done : 256;
        for (size_t i = 0; i < piece; i++) tokens[i] = next_token(b, info);
        status = rill_stream_feed(row->stream, tokens, piece, NULL, err);
        done += piece;
        if (status == RILL_OK) status = check_interrupt(err);
    }
    return status;
}

static rill_status open_stream(rill__bench *b, rill__bench_row *row, rill_error *err) {
    rill__bench_machine *m = &b->machines[row->machine];
    rill_stream_report report;
    if (row->stream) return RILL_OK;
    rill_status status = rill_stream_open(m->open.model, &row->options, &row->stream, err);
    if (status == RILL_OK) status = rill_stream_set_sampling(row->stream, &b->s->sampling, err);
    if (status != RILL_OK) return status;
    row->options = *rill_stream_get_options(row->stream);
    rill_stream_get_report(row->stream, &report);
    m->bytes += report.bytes.total;
    return row->kind == RILL_BENCH_DECODE ? fill(b, row, err) : RILL_OK;
}

static rill_status run_prefill(rill__bench *b, rill__bench_row *row, double *rate,
                               rill_error *err) {
    size_t n = row->tokens;
    const float *logits;
    rill_token *tokens = rill__calloc(n, sizeof *tokens);
    if (!tokens) return rill__fail_memory(err, "tokens", n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) tokens[i] = next_token(b, &b->machines[row->machine].open.info);
    rill_stream_reset(row->stream);
    double start = rill__seconds();
    rill_status status = rill_stream_feed(row->stream, tokens, n, NULL, err);
    if (status == RILL_OK) status = rill_stream_logits(row->stream, &logits, err);
    *rate = (double)n / (rill__seconds() - start);
    rill__free(tokens);
    return status;
}

static rill_status run_decode(const rill__bench_row *row, double *rate, rill_error *err) {
    rill_token token;
    double start = rill__seconds();
    for (uint32_t i = 0; i < row->tokens; i++) {
        rill_status status = rill_stream_sample(row->stream, &token, err);
        if (status == RILL_OK) status = rill_stream_feed(row->stream, &token, 1, NULL, err);
        if (status == RILL_OK) status = check_interrupt(err);
        if (status != RILL_OK) return status;
    }
    *rate = (double)row->tokens / (rill__seconds() - start);
    return RILL_OK;
}

static rill_status run_row(rill__bench *b, rill__bench_row *row, size_t round, rill_error *err) {
    rill__bench_machine *m = &b->machines[row->machine];
    pid_t busy = 0;
    if (row->kind == RILL_BENCH_COMMAND)
        return rill__bench_command(b->s->compare, &row->rates[round], err);
    rill_status status = open_machine(b, row->machine, err);
    if (status == RILL_OK) status = open_stream(b, row, err);
    if (status == RILL_OK && m->round != round + 1) {
        status = rill_device_measure(m->open.device, &m->roof, err);
        m->round = round + 1;
    }
    row->roofs[round] = m->roof;
    if (status == RILL_OK && row->busy) status = rill__bench_busy_start(&busy, err);
    if (status == RILL_OK)
        status = row->kind == RILL_BENCH_PREFILL ? run_prefill(b, row, &row->rates[round], err)
                                                 : run_decode(row, &row->rates[round], err);
    if (busy) rill__bench_busy_stop(busy);
    return status;
}

rill_status rill__bench_measure(rill__bench *b, rill_error *err) {
    rill__bar bar = {.label = "measuring"};
    size_t total = b->s->runs * b->n_rows;
    for (size_t i = 0; i < total; i++) {
        if (!rill__progress(&bar, i, total))
            return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        rill_status status = run_row(b, &b->rows[i % b->n_rows], i / b->n_rows, err);
        if (status != RILL_OK) return status;
        if ((i + 1) % b->n_rows == 0) b->n_done++;
    }
    (void)rill__progress(&bar, total, total);
    return RILL_OK;
}

void rill__bench_close(rill__bench *b) {
    for (size_t i = 0; i < b->n_machines; i++) close_machine(b, i);
    for (size_t i = 0; i < b->n_rows; i++) {
        rill__free(b->rows[i].rates);
        rill__free(b->rows[i].roofs);
    }
    rill__free(b->rows);
    rill__free(b->machines);
}
