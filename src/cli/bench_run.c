// SPDX-License-Identifier: MIT
// Measures the rows of a sweep in turns: in every round each row once, beside a roof measured in
// that round.
//
// Opening a model, making random weights and filling a window are outside the clock. Models stay
// open as long as all of them fit into half of the memory; where they do not, one is open at a
// time, and every round opens it anew. A window is filled once for each type of weights and cache;
// further streams are copies of its snapshot.
#include "cli/bench.h"

#include "rill/batch.h"

#include "base/clock.h"

#include "eval/room.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
        for (uint32_t j = 0; b->rows[i].machine == machine && j < b->rows[i].n_streams; j++)
            if (b->rows[i].streams) rill_stream_close(&b->rows[i].streams[j]);
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
static rill_status fill(rill__bench *b, const rill__bench_row *row, rill_stream *stream,
                        rill_error *err) {
    rill_token tokens[256];
    const rill_model_info *info = &b->machines[row->machine].open.info;
    size_t n = (size_t)row->options.sinks + row->options.window + 1;
    rill_status status = RILL_OK;
    for (size_t done = 0; done < n && status == RILL_OK;) {
        size_t piece = n - done < 256 ? n - done : 256;
        for (size_t i = 0; i < piece; i++) tokens[i] = next_token(b, info);
        status = rill_stream_feed(stream, tokens, piece, NULL, err);
        done += piece;
        if (status == RILL_OK) status = check_interrupt(err);
    }
    return status;
}

// Where the filled window of a row is kept, and whether there are others who want it.
static bool snapshot_of(rill__bench *b, const rill__bench_row *row, char *path, size_t capacity) {
    const rill__bench_machine *m = &b->machines[row->machine];
    uint32_t users = 0;
    for (size_t i = 0; i < b->n_rows; i++)
        if (b->rows[i].kind == RILL_BENCH_DECODE) users += b->rows[i].n_streams;
    if (users < 2) return false;
    if (!*b->folder) {
        const char *at = getenv("TMPDIR");
        snprintf(b->folder, sizeof b->folder, "%.480s/rill-bench-XXXXXX", at && *at ? at : "/tmp");
        if (!mkdtemp(b->folder)) {
            *b->folder = 0;
            return false;
        }
    }
    snprintf(path, capacity, "%s/%d-%d-%d", b->folder, (int)m->type, (int)row->options.key_type,
             (int)row->options.value_type);
    return true;
}

static rill_status open_stream(rill__bench *b, rill__bench_row *row, rill_stream **out,
                               rill_error *err) {
    rill__bench_machine *m = &b->machines[row->machine];
    rill_stream_report report;
    char path[560];
    bool decode = row->kind == RILL_BENCH_DECODE, filled = row->kind != RILL_BENCH_PREFILL;
    rill_status status = rill__room_check(m->open.model, &row->options, &row->options, err);
    if (status != RILL_OK) return status;
    bool keep = decode && snapshot_of(b, row, path, sizeof path);
    if (keep && access(path, R_OK) == 0) {
        status = rill_stream_load(m->open.model, path, out, err);
    } else {
        status = rill_stream_open(m->open.model, &row->options, out, err);
        if (status == RILL_OK && filled) status = fill(b, row, *out, err);
        if (status == RILL_OK && keep) status = rill_stream_save(*out, path, err);
    }
    // The likeliest token: what is timed is the model, not the drawing of words.
    rill_sampling sampling = b->s->sampling;
    sampling.temperature = 0;
    if (status == RILL_OK) status = rill_stream_set_sampling(*out, &sampling, err);
    if (status != RILL_OK) return status;
    row->options = *rill_stream_get_options(*out);
    rill_stream_get_report(*out, &report);
    m->bytes += report.bytes.total;
    return check_interrupt(err);
}

// One that could not be filled is not left behind for the next round: it ends everything.
static rill_status open_streams(rill__bench *b, rill__bench_row *row, rill_error *err) {
    rill_status status = RILL_OK;
    for (uint32_t i = 0; i < row->n_streams && status == RILL_OK; i++)
        if (!row->streams[i]) status = open_stream(b, row, &row->streams[i], err);
    if (status == RILL_OK && row->n_streams > 1)
        status = rill_model_reserve(b->machines[row->machine].open.model, row->n_streams, err);
    return status;
}

static rill_status run_prefill(rill__bench *b, rill__bench_row *row, double *rate,
                               rill_error *err) {
    size_t n = row->tokens;
    const float *logits;
    rill_token *tokens = rill__calloc(n, sizeof *tokens);
    if (!tokens) return rill__fail_memory(err, "tokens", n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) tokens[i] = next_token(b, &b->machines[row->machine].open.info);
    rill_stream_reset(row->streams[0]);
    double start = rill__seconds();
    rill_status status = rill_stream_feed(row->streams[0], tokens, n, NULL, err);
    if (status == RILL_OK) status = rill_stream_logits(row->streams[0], &logits, err);
    *rate = (double)n / (rill__seconds() - start);
    rill__free(tokens);
    return status;
}

// Every stream's next token, all together.
static rill_status write_tokens(const rill__bench_row *row, rill_feed *feeds, rill_token *tokens,
                                rill_error *err) {
    for (uint32_t i = 0; i < row->n_streams; i++) {
        rill_status status = rill_stream_sample(row->streams[i], &tokens[i], err);
        if (status != RILL_OK) return status;
        feeds[i] = (rill_feed){.stream = row->streams[i], .tokens = &tokens[i], .n_tokens = 1};
    }
    return rill_streams_feed(feeds, row->n_streams, err);
}

static rill_status run_decode(const rill__bench_row *row, double *rate, rill_error *err) {
    rill_feed *feeds = rill__calloc(row->n_streams, sizeof *feeds);
    rill_token *tokens = rill__calloc(row->n_streams, sizeof *tokens);
    rill_status status =
        feeds && tokens ? RILL_OK : rill__fail_memory(err, "feeds", row->n_streams * sizeof *feeds);
    double start = rill__seconds();
    for (uint32_t i = 0; i < row->tokens && status == RILL_OK; i++) {
        status = write_tokens(row, feeds, tokens, err);
        if (status == RILL_OK) status = check_interrupt(err);
    }
    *rate = (double)row->n_streams * row->tokens / (rill__seconds() - start);
    rill__free(tokens);
    rill__free(feeds);
    return status;
}

static rill_status run_row(rill__bench *b, rill__bench_row *row, size_t round, rill_error *err) {
    rill__bench_machine *m = &b->machines[row->machine];
    pid_t busy = 0;
    if (row->kind == RILL_BENCH_COMMAND)
        return rill__bench_command(b->s->compare, &row->rates[round], err);
    rill_status status = open_machine(b, row->machine, err);
    if (status == RILL_OK) status = open_streams(b, row, err);
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

static void remove_snapshots(const rill__bench *b) {
    DIR *folder = *b->folder ? opendir(b->folder) : NULL;
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.') (void)unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    (void)rmdir(b->folder);
}

void rill__bench_close(rill__bench *b) {
    remove_snapshots(b);
    for (size_t i = 0; i < b->n_machines; i++) close_machine(b, i);
    for (size_t i = 0; i < b->n_rows; i++) {
        rill__free(b->rows[i].streams);
        rill__free(b->rows[i].rates);
        rill__free(b->rows[i].roofs);
    }
    rill__free(b->rows);
    rill__free(b->machines);
}
