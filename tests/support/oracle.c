// SPDX-License-Identifier: MIT
// The naive oracle. Slow and plain on purpose: it is what the engine is held against.
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct oracle {
    const rill__model *model;
    const rill__description *d;
    oracle_options options;
    uint64_t seen;
    size_t room;        // tokens that fit before the arrays grow
    double **keys;      // [n_layers][seen * n_kv_heads * head_dim] unrotated
    double **values;    // the same
    double *frequency;  // [n_pairs] radians a position
    double magnitude;
    uint64_t *visible;  // the tokens that are seen, in order
    size_t n_visible;
    bool *starts;  // [room] whether a token begins a message
    bool next_starts;
};

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

// Row `row` of a weight, as doubles; `columns` of them.
static void weight_row(const rill__tensor *t, uint64_t row, double *out, size_t columns) {
    const rill__type_traits *traits = rill__type_traits_get(t->type);
    size_t row_bytes = columns / traits->block * traits->block_bytes;
    float *floats = must(malloc(columns * sizeof *floats));
    traits->to_float(t->data + row * row_bytes, floats, columns);
    for (size_t i = 0; i < columns; i++) out[i] = floats[i];
    free(floats);
}

// out = weight x + bias
static void project(const rill__parameter *p, const double *x, double *out) {
    uint64_t rows = p->weight.shape[0], columns = p->weight.shape[1];
    double *row = must(malloc(columns * sizeof *row));
    double *bias = must(calloc(rows, sizeof *bias));
    if (p->bias.data) weight_row(&p->bias, 0, bias, rows);
    for (uint64_t r = 0; r < rows; r++) {
        weight_row(&p->weight, r, row, columns);
        double sum = bias[r];
        for (uint64_t c = 0; c < columns; c++) sum += row[c] * x[c];
        out[r] = sum;
    }
    free(bias);
    free(row);
}

static void rms_norm(const oracle *o, const rill__parameter *p, const double *x, double *out,
                     size_t width) {
    double *weight = must(malloc(width * sizeof *weight));
    weight_row(&p->weight, 0, weight, width);
    double sum = 0;
    for (size_t i = 0; i < width; i++) sum += x[i] * x[i];
    double scale = 1 / sqrt(sum / (double)width + o->d->norm_eps);
    for (size_t i = 0; i < width; i++) out[i] = x[i] * scale * weight[i];
    free(weight);
}

static void rotate(const oracle *o, const double *x, uint64_t position, double *out) {
    const rill__rope_description *rope = &o->d->rope;
    uint32_t n_pairs = rope->n_dims / 2;
    memcpy(out, x, o->d->head_dim * sizeof *out);
    for (uint32_t i = 0; i < n_pairs; i++) {
        uint32_t a = rope->interleaved ? 2 * i : i;
        uint32_t b = rope->interleaved ? 2 * i + 1 : i + n_pairs;
        double angle = (double)position * o->frequency[i];
        double c = cos(angle) * o->magnitude, s = sin(angle) * o->magnitude;
        out[a] = x[a] * c - x[b] * s;
        out[b] = x[b] * c + x[a] * s;
    }
}

oracle *oracle_new(const rill__model *model, const oracle_options *options) {
    oracle *o = must(calloc(1, sizeof *o));
    o->model = model;
    o->d = &model->description;
    o->options = *options;
    o->keys = must(calloc(o->d->n_layers, sizeof *o->keys));
    o->values = must(calloc(o->d->n_layers, sizeof *o->values));
    uint32_t n_pairs = o->d->rope.n_dims / 2;
    o->magnitude = rill__rope_magnitude(&o->d->rope);
    o->frequency = must(calloc(n_pairs + 1, sizeof *o->frequency));
    for (uint32_t i = 0; i < n_pairs; i++)
        o->frequency[i] =
            rill__rope_frequency(&o->d->rope, o->d->trained_context, options->capacity, i);
    return o;
}

void oracle_free(oracle *o) {
    for (uint32_t i = 0; i < o->d->n_layers; i++) {
        free(o->keys[i]);
        free(o->values[i]);
    }
    free(o->keys);
    free(o->values);
    free(o->frequency);
    free(o->visible);
    free(o->starts);
    free(o);
}

void oracle_begin_message(oracle *o) {
    o->next_starts = true;
}

void oracle_pin(oracle *o) {
    if (o->seen > o->options.n_sinks) {
        o->options.window -= (uint32_t)(o->seen - o->options.n_sinks);
        o->options.n_sinks = (uint32_t)o->seen;
    }
}

static void grow(oracle *o) {
    if (o->seen < o->room) return;
    o->room = o->room ? 2 * o->room : 64;
    size_t width = (size_t)o->d->n_kv_heads * o->d->head_dim * sizeof(double);
    for (uint32_t i = 0; i < o->d->n_layers; i++) {
        o->keys[i] = must(realloc(o->keys[i], o->room * width));
        o->values[i] = must(realloc(o->values[i], o->room * width));
    }
    o->visible = must(realloc(o->visible, o->room * sizeof *o->visible));
    o->starts = must(realloc(o->starts, o->room * sizeof *o->starts));
}

// Takes out the visible tokens [first, first + count).
static void forget(oracle *o, size_t first, size_t count) {
    memmove(o->visible + first, o->visible + first + count,
            (o->n_visible - first - count) * sizeof *o->visible);
    o->n_visible -= count;
}

// Makes room for a token, and lists it.
static void update_visible(oracle *o) {
    size_t n = o->options.n_sinks;
    if (o->n_visible == n + o->options.window) {
        size_t count = 1;
        if (o->options.by_message) {
            size_t next = n + 1;
            while (next < o->n_visible && !o->starts[o->visible[next]]) next++;
            size_t others = next < o->n_visible && o->next_starts;
            for (size_t i = next + 1; i < o->n_visible; i++) others += o->starts[o->visible[i]];
            bool whole = next < o->n_visible || o->next_starts;
            // The message before the last one goes whole only if it is not most of the window.
            if (whole && (others > 0 || 2 * (next - n) <= o->options.window)) count = next - n;
        }
        forget(o, n, count);
    }
    o->visible[o->n_visible++] = o->seen;
    o->starts[o->seen] = o->next_starts;
    o->next_starts = false;
}

// Caps the sinks' share of the mass; `rest` holds every other term of the denominator.
static void cap_sinks(const oracle *o, double *weights, size_t n_sinks, double rest) {
    double sinks = 0;
    for (size_t i = 0; i < n_sinks; i++) sinks += weights[i];
    double cap = o->options.sink_cap;
    if (sinks > cap * (sinks + rest) && rest > 0)
        for (size_t i = 0; i < n_sinks; i++) weights[i] *= cap * rest / ((1 - cap) * sinks);
}

// One head: softmax over the visible keys at their positions, times values.
static void attend(const oracle *o, uint32_t layer, uint32_t head, const double *q, double *out) {
    const rill__description *d = o->d;
    size_t dim = d->head_dim;
    uint32_t kv_head = head / (d->n_heads / d->n_kv_heads);
    uint32_t trained = rill__description_window(d, layer);
    size_t n = o->n_visible;
    double *weights = must(calloc(n, sizeof *weights));
    double *key = must(malloc(dim * sizeof *key));
    double *query = must(malloc(dim * sizeof *query));
    rotate(o, q, n - 1, query);

    size_t n_sinks = n < o->options.n_sinks ? n : o->options.n_sinks;
    double greatest = d->softmax_off_by_one ? 0 : -INFINITY;
    for (size_t i = 0; i < n; i++) {
        rotate(o, o->keys[layer] + (o->visible[i] * d->n_kv_heads + kv_head) * dim, i, key);
        double dot = 0;
        for (size_t c = 0; c < dim; c++) dot += query[c] * key[c];
        weights[i] = dot * d->attention_scale * (i < n_sinks ? o->options.sink_scale : 1);
        if (trained && n - 1 - i >= trained) weights[i] = -INFINITY;
        greatest = fmax(greatest, weights[i]);
    }
    double rest = d->softmax_off_by_one ? exp(-greatest) : 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = exp(weights[i] - greatest);
        rest += i < n_sinks ? 0 : weights[i];
    }
    cap_sinks(o, weights, n_sinks, rest);
    double sum = rest;
    for (size_t i = 0; i < n_sinks; i++) sum += weights[i];
    memset(out, 0, dim * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        const double *value = o->values[layer] + (o->visible[i] * d->n_kv_heads + kv_head) * dim;
        for (size_t c = 0; c < dim; c++) out[c] += weights[i] / sum * value[c];
    }
    free(weights);
    free(key);
    free(query);
}

static const rill__parameter *parameter(const oracle *o, rill__weight_role role, uint32_t layer) {
    return rill__model_parameter(o->model, role, layer);
}

static void attention_block(oracle *o, uint32_t layer, double *x) {
    const rill__description *d = o->d;
    size_t queries = (size_t)d->n_heads * d->head_dim, keys = (size_t)d->n_kv_heads * d->head_dim;
    double *h = must(malloc(d->hidden_size * sizeof *h));
    double *q = must(malloc(queries * sizeof *q));
    double *out = must(malloc(queries * sizeof *out));
    double *k = o->keys[layer] + o->seen * keys;
    rms_norm(o, parameter(o, RILL_WEIGHT_ATTENTION_NORM, layer), x, h, d->hidden_size);
    project(parameter(o, RILL_WEIGHT_Q, layer), h, q);
    project(parameter(o, RILL_WEIGHT_K, layer), h, k);
    project(parameter(o, RILL_WEIGHT_V, layer), h, o->values[layer] + o->seen * keys);
    for (uint32_t i = 0; d->qk_norm == RILL_QK_NORM_HEAD && i < d->n_heads; i++)
        rms_norm(o, parameter(o, RILL_WEIGHT_Q_NORM, layer), q + i * d->head_dim,
                 q + i * d->head_dim, d->head_dim);
    for (uint32_t i = 0; d->qk_norm == RILL_QK_NORM_HEAD && i < d->n_kv_heads; i++)
        rms_norm(o, parameter(o, RILL_WEIGHT_K_NORM, layer), k + i * d->head_dim,
                 k + i * d->head_dim, d->head_dim);
    for (uint32_t i = 0; i < d->n_heads; i++)
        attend(o, layer, i, q + i * d->head_dim, out + i * d->head_dim);
    project(parameter(o, RILL_WEIGHT_O, layer), out, h);
    for (uint32_t i = 0; i < d->hidden_size; i++) x[i] += h[i];
    free(h);
    free(q);
    free(out);
}

static void feed_forward_block(const oracle *o, uint32_t layer, double *x) {
    const rill__description *d = o->d;
    double *h = must(malloc(d->hidden_size * sizeof *h));
    double *gate = must(malloc(d->ffn_size * sizeof *gate));
    double *up = must(malloc(d->ffn_size * sizeof *up));
    rms_norm(o, parameter(o, RILL_WEIGHT_FFN_NORM, layer), x, h, d->hidden_size);
    project(parameter(o, RILL_WEIGHT_GATE, layer), h, gate);
    project(parameter(o, RILL_WEIGHT_UP, layer), h, up);
    for (uint32_t i = 0; i < d->ffn_size; i++) gate[i] *= up[i] / (1 + exp(-gate[i]));
    project(parameter(o, RILL_WEIGHT_DOWN, layer), gate, h);
    for (uint32_t i = 0; i < d->hidden_size; i++) x[i] += h[i];
    free(h);
    free(gate);
    free(up);
}

void oracle_step(oracle *o, rill_token token, double *logits) {
    const rill__description *d = o->d;
    grow(o);
    update_visible(o);
    double *x = must(malloc(d->hidden_size * sizeof *x));
    weight_row(&parameter(o, RILL_WEIGHT_EMBEDDING, 0)->weight, (uint64_t)token, x, d->hidden_size);
    for (uint32_t layer = 0; layer < d->n_layers; layer++) {
        attention_block(o, layer, x);
        feed_forward_block(o, layer, x);
    }
    rms_norm(o, parameter(o, RILL_WEIGHT_OUTPUT_NORM, 0), x, x, d->hidden_size);
    project(parameter(o, d->tied_embeddings ? RILL_WEIGHT_EMBEDDING : RILL_WEIGHT_OUTPUT, 0), x,
            logits);
    o->seen++;
    free(x);
}

size_t oracle_visible(const oracle *o, uint64_t *tokens) {
    memcpy(tokens, o->visible, o->n_visible * sizeof *tokens);
    return o->n_visible;
}
