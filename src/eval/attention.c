// SPDX-License-Identifier: MIT
// Sums of attention weights by position. A row's columns are tokens: the sinks 0 ... n-1, then the
// recent ones in order.
#include "eval/attention.h"

#include "base/base.h"

struct rill__attention {
    uint32_t n_layers, n_heads;
    double *sums;  // [n_layers, n_heads, RILL_ATTENTION_PARTS]
    double *seen;  // [n_layers, RILL_ATTENTION_PARTS] rows that saw a position, all rows for the
                   // rest; behind the sums, in the same memory
};

static size_t count_values(const rill__attention *a) {
    return (size_t)a->n_layers * (a->n_heads + 1) * RILL_ATTENTION_PARTS;
}

rill_status rill__attention_new(uint32_t n_layers, uint32_t n_heads, rill__attention **out,
                                rill_error *err) {
    const rill__attention sizes = {.n_layers = n_layers, .n_heads = n_heads};
    size_t n = count_values(&sizes);
    rill__attention *a = rill__calloc(1, sizeof *a);
    if (a) {
        *a = sizes;
        a->sums = rill__calloc(n, sizeof *a->sums);
    }
    if (!a || !a->sums) {
        rill__attention_free(&a);
        return rill__fail_memory(err, "attention by position", n * sizeof(double));
    }
    a->seen = a->sums + (size_t)n_layers * n_heads * RILL_ATTENTION_PARTS;
    *out = a;
    return RILL_OK;
}

void rill__attention_free(rill__attention **a) {
    if (!*a) return;
    rill__free((*a)->sums);
    rill__free(*a);
    *a = NULL;
}

double *rill__attention_values(rill__attention *a, size_t *n) {
    *n = count_values(a);
    return a->sums;
}

static double *head_sums(const rill__attention *a, uint32_t layer, uint32_t head) {
    return a->sums + ((size_t)layer * a->n_heads + head) * RILL_ATTENTION_PARTS;
}

// The token of a column.
static uint64_t token_at(const rill_attention_row *row, size_t column) {
    return column < row->n_sinks ? column : row->first_recent + (column - row->n_sinks);
}

void rill__attention_add(void *user, const rill_attention_row *row) {
    rill__attention *a = user;
    if (row->layer >= a->n_layers) return;
    double *seen = a->seen + (size_t)row->layer * RILL_ATTENTION_PARTS;
    for (size_t i = 0; i < row->n_visible; i++) {
        uint64_t token = token_at(row, i);
        if (token < RILL_ATTENTION_POSITIONS) seen[token]++;
    }
    seen[RILL_ATTENTION_REST]++;
    for (uint32_t head = 0; head < row->n_heads && head < a->n_heads; head++) {
        const float *weights = row->weights + head * row->stride;
        double *sums = head_sums(a, row->layer, head);
        double all = 0, rest = 0;
        for (size_t i = 0; i < row->n_visible; i++) {
            uint64_t token = token_at(row, i);
            double weight = (double)weights[i];
            all += weight;
            if (token < RILL_ATTENTION_POSITIONS)
                sums[token] += weight;
            else
                rest += weight;
        }
        sums[RILL_ATTENTION_REST] += rest;
        sums[RILL_ATTENTION_NOBODY] += all < 1 ? 1 - all : 0;
    }
}

uint64_t rill__attention_rows(const rill__attention *a, uint32_t layer) {
    return (uint64_t)a->seen[(size_t)layer * RILL_ATTENTION_PARTS + RILL_ATTENTION_REST];
}

double rill__attention_mean(const rill__attention *a, uint32_t layer, uint32_t head,
                            uint32_t part) {
    uint32_t counted = part < RILL_ATTENTION_POSITIONS ? part : RILL_ATTENTION_REST;
    double rows = a->seen[(size_t)layer * RILL_ATTENTION_PARTS + counted];
    return rows > 0 ? head_sums(a, layer, head)[part] / rows : 0;
}

double rill__attention_mean_of_all(const rill__attention *a, uint32_t part) {
    double sum = 0;
    for (uint32_t layer = 0; layer < a->n_layers; layer++)
        for (uint32_t head = 0; head < a->n_heads; head++)
            sum += rill__attention_mean(a, layer, head, part);
    return sum / ((double)a->n_layers * a->n_heads);
}

double rill__attention_sink_share(const rill__attention *a, uint32_t position) {
    uint64_t sinks = 0;
    for (uint32_t layer = 0; layer < a->n_layers; layer++)
        for (uint32_t head = 0; head < a->n_heads; head++)
            sinks += rill__attention_mean(a, layer, head, position) > RILL_SINK_THRESHOLD;
    return (double)sinks / ((double)a->n_layers * a->n_heads);
}
