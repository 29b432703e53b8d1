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
    size_t room;              // tokens that fit before the arrays grow
    double **keys;            // [n_layers][seen * n_kv_heads * head_dim] unrotated
    double **values;          // the same
    double *frequency;        // [n_pairs] radians a position
    double *local_frequency;  // the same of layers with a RoPE of their own
    double magnitude;
    uint64_t *visible;  // the tokens that are seen, in order
    size_t n_visible;
    bool *starts;  // [room] whether a token begins a message
    bool next_starts;
    uint64_t clamped;
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

// out = weight x + bias, of rows [first, first + rows)
static void project_rows(const rill__parameter *p, uint64_t first, uint64_t rows, const double *x,
                         double *out) {
    uint64_t columns = p->weight.shape[1];
    double *row = must(malloc(columns * sizeof *row));
    double *bias = must(calloc(first + rows, sizeof *bias));
    if (p->bias.data) weight_row(&p->bias, 0, bias, first + rows);
    for (uint64_t r = 0; r < rows; r++) {
        weight_row(&p->weight, first + r, row, columns);
        double sum = bias[first + r];
        for (uint64_t c = 0; c < columns; c++) sum += row[c] * x[c];
        out[r] = sum;
    }
    free(bias);
    free(row);
}

static void project(const rill__parameter *p, const double *x, double *out) {
    project_rows(p, 0, p->weight.shape[0], x, out);
}

// RMS: x / sqrt(mean(x^2) + eps) weight. Layer: (x - mean) / sqrt(variance + eps) weight + bias.
static void norm(const oracle *o, const rill__parameter *p, const double *x, double *out,
                 size_t width) {
    double *weight = must(malloc(width * sizeof *weight));
    double *bias = must(calloc(width, sizeof *bias));
    weight_row(&p->weight, 0, weight, width);
    if (p->bias.data) weight_row(&p->bias, 0, bias, width);
    double mean = 0, squares = 0;
    for (size_t i = 0; i < width && o->d->norm == RILL_NORM_LAYER; i++)
        mean += x[i] / (double)width;
    for (size_t i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(squares / (double)width + o->d->norm_eps);
    for (size_t i = 0; i < width; i++) out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    free(weight);
    free(bias);
}

// The product of a query at position q and a key at position k, both not yet rotated.
static double turned_product(const oracle *o, bool local, const double *query, uint64_t q,
                             const double *key, uint64_t k) {
    const rill__description *d = o->d;
    const double *frequency = local ? o->local_frequency : o->frequency;
    uint32_t n_pairs = d->rope.n_dims / 2;
    double sum = 0;
    for (uint32_t c = 2 * n_pairs; c < d->head_dim; c++) sum += query[c] * key[c];
    for (uint32_t i = 0; i < n_pairs; i++) {
        uint32_t a = d->rope.interleaved ? 2 * i : i;
        uint32_t b = d->rope.interleaved ? 2 * i + 1 : i + n_pairs;
        double x = (double)q * frequency[i], y = (double)k * frequency[i];
        double qa = query[a] * cos(x) - query[b] * sin(x);
        double qb = query[b] * cos(x) + query[a] * sin(x);
        double ka = key[a] * cos(y) - key[b] * sin(y), kb = key[b] * cos(y) + key[a] * sin(y);
        double fade = 1;
        if (d->position == RILL_POSITION_XPOS)
            fade = pow((2.0 * i / d->rope.n_dims + d->rope.xpos_gamma) / (1 + d->rope.xpos_gamma),
                       ((double)q - (double)k) / d->rope.xpos_base);
        double magnitude = local ? rill__rope_magnitude(d->local_rope) : o->magnitude;
        sum += (qa * ka + qb * kb) * magnitude * magnitude * fade;
    }
    return sum;
}

// What a pair's frequency is divided by.
static double stretch(const oracle_options *options, uint32_t pair, uint32_t n_pairs) {
    double by = options->interpolation > 0 ? options->interpolation : 1;
    double share = n_pairs > 1 ? pair / (n_pairs - 1.0) : 1;
    return options->ntk > 0 ? by * pow(options->ntk, share) : by;
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
    o->local_frequency = must(calloc(n_pairs + 1, sizeof *o->local_frequency));
    for (uint32_t i = 0; i < n_pairs; i++) {
        uint32_t trained = o->d->trained_context;
        o->frequency[i] = rill__rope_frequency(&o->d->rope, trained, options->capacity, i) /
                          stretch(options, i, n_pairs);
        if (o->d->local_rope)
            o->local_frequency[i] =
                rill__rope_frequency(o->d->local_rope, trained, options->capacity, i);
    }
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
    free(o->local_frequency);
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

static const rill__parameter *parameter(const oracle *o, rill__weight_role role, uint32_t layer) {
    return rill__model_parameter(o->model, role, layer);
}

// Caps the sinks' share of the mass; `rest` holds every other term of the denominator.
static void cap_sinks(const oracle *o, double *weights, size_t n_sinks, double rest) {
    double sinks = 0;
    for (size_t i = 0; i < n_sinks; i++) sinks += weights[i];
    double cap = o->options.sink_cap;
    if (sinks > cap * (sinks + rest) && rest > 0)
        for (size_t i = 0; i < n_sinks; i++) weights[i] *= cap * rest / ((1 - cap) * sinks);
}

// A number rounded to the 8 bits of bfloat16.
static double bfloat16(double x) {
    int exponent;
    double part = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(part, 8)), exponent - 8);
}

// ALiBi as its authors give it: n heads, n a power of two, have the powers 1 to n of 2^(-m / n);
// other numbers of heads have those of the power of two below, and then the odd powers of what
// twice as many would have. Falcon rounds them and scales them like its logits.
static double slope(const rill__description *d, uint32_t head) {
    uint32_t below = 1;
    while (2 * below <= d->n_heads) below *= 2;
    double ratio = exp2(-(double)d->alibi_bias_max / below);
    double s = head < below ? pow(ratio, head + 1) : pow(sqrt(ratio), 2 * (head - below) + 1);
    return strcmp(d->family, "falcon") == 0 ? bfloat16(s) / sqrt(d->head_dim) : s;
}

// One head: softmax over the visible keys at their positions, times values.
static void attend(const oracle *o, uint32_t layer, uint32_t head, const double *q, double *out) {
    const rill__description *d = o->d;
    size_t dim = d->head_dim;
    uint32_t kv_head = head / (d->n_heads / d->n_kv_heads);
    uint32_t trained = rill__description_window(d, layer);
    size_t n = o->n_visible;
    double *weights = must(calloc(n, sizeof *weights));
    double learned = -INFINITY;  // a logit that nothing is seen for
    if (d->sink_logits) {
        double *all = must(malloc(d->n_heads * sizeof *all));
        weight_row(&parameter(o, RILL_WEIGHT_SINK_LOGITS, layer)->weight, 0, all, d->n_heads);
        learned = all[head];
        free(all);
    }

    size_t n_sinks = n < o->options.n_sinks ? n : o->options.n_sinks;
    double greatest = fmax(learned, d->softmax_off_by_one ? 0 : -INFINITY);
    for (size_t i = 0; i < n; i++) {
        const double *key = o->keys[layer] + (o->visible[i] * d->n_kv_heads + kv_head) * dim;
        double logit =
            d->attention_scale * turned_product(o, d->local_rope && trained, q, n - 1, key, i);
        if (d->position == RILL_POSITION_ALIBI) logit -= slope(d, head) * (double)(n - 1 - i);
        weights[i] = logit * (i < n_sinks ? o->options.sink_scale : 1);
        if (trained && n - 1 - i >= trained) weights[i] = -INFINITY;
        greatest = fmax(greatest, weights[i]);
    }
    double rest = exp(learned - greatest) + (d->softmax_off_by_one ? exp(-greatest) : 0);
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
}

static void clamp(double *x, size_t n, double limit) {
    for (size_t i = 0; i < n && limit != 0; i++) x[i] = fmin(fmax(x[i], -limit), limit);
}

static void norm_heads(const oracle *o, rill__weight_role role, uint32_t layer, double *x,
                       uint32_t n_heads) {
    const rill__description *d = o->d;
    bool whole = d->qk_norm == RILL_QK_NORM_WHOLE;
    size_t width = whole ? (size_t)n_heads * d->head_dim : d->head_dim;
    if (d->qk_norm == RILL_QK_NORM_NONE) return;
    for (uint32_t i = 0; i < (whole ? 1 : n_heads); i++)
        norm(o, parameter(o, role, layer), x + i * width, x + i * width, width);
}

// out = attention(h)
static void attention(oracle *o, uint32_t layer, const double *h, double *out) {
    const rill__description *d = o->d;
    size_t queries = (size_t)d->n_heads * d->head_dim, keys = (size_t)d->n_kv_heads * d->head_dim;
    double *q = must(malloc(queries * sizeof *q));
    double *heads = must(malloc(queries * sizeof *heads));
    double *k = o->keys[layer] + o->seen * keys, *v = o->values[layer] + o->seen * keys;
    project(parameter(o, RILL_WEIGHT_Q, layer), h, q);
    project(parameter(o, RILL_WEIGHT_K, layer), h, k);
    project(parameter(o, RILL_WEIGHT_V, layer), h, v);
    clamp(q, queries, d->clip_qkv);
    clamp(k, keys, d->clip_qkv);
    clamp(v, keys, d->clip_qkv);
    norm_heads(o, RILL_WEIGHT_Q_NORM, layer, q, d->n_heads);
    norm_heads(o, RILL_WEIGHT_K_NORM, layer, k, d->n_kv_heads);
    for (uint32_t i = 0; i < d->n_heads; i++)
        attend(o, layer, i, q + i * d->head_dim, heads + i * d->head_dim);
    project(parameter(o, RILL_WEIGHT_O, layer), heads, out);
    free(q);
    free(heads);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double activate(const rill__description *d, double x, double up) {
    double tanh_part = 0.79788456080286535588 * (x + 0.044715 * x * x * x),
           limit = d->activation_limit;
    switch (d->activation) {
    case RILL_ACT_SILU: return x * sigmoid(x) * up;
    case RILL_ACT_GELU: return x * (1 + erf(x * 0.70710678118654752440)) / 2 * up;
    case RILL_ACT_GELU_TANH: return x * (1 + tanh(tanh_part)) / 2 * up;
    case RILL_ACT_CLAMPED_SWIGLU:
        x = fmin(x, limit);
        return x * sigmoid(1.702 * x) * (fmin(fmax(up, -limit), limit) + 1);
    }
    return NAN;
}

// out = the feed-forward of h, of one expert where there are several
static void feed_forward(oracle *o, uint32_t layer, uint64_t expert, const double *h, double *out) {
    const rill__description *d = o->d;
    uint64_t ffn = d->ffn_size, hidden = d->hidden_size;
    double *gate = must(malloc(ffn * sizeof *gate));
    double *up = must(malloc(ffn * sizeof *up));
    project_rows(parameter(o, RILL_WEIGHT_UP, layer), expert * ffn, ffn, h, up);
    if (d->gated) project_rows(parameter(o, RILL_WEIGHT_GATE, layer), expert * ffn, ffn, h, gate);
    for (uint64_t i = 0; i < ffn && d->activation == RILL_ACT_CLAMPED_SWIGLU; i++)
        o->clamped += (gate[i] > d->activation_limit) + (fabs(up[i]) > d->activation_limit);
    for (uint64_t i = 0; i < ffn; i++)
        gate[i] = d->gated ? activate(d, gate[i], up[i]) : activate(d, up[i], 1);
    project_rows(parameter(o, RILL_WEIGHT_DOWN, layer), expert * hidden, hidden, gate, out);
    free(gate);
    free(up);
}

// out = the sum over the experts with the greatest logits, weighted by their softmax
static void experts(oracle *o, uint32_t layer, const double *h, double *out) {
    const rill__description *d = o->d;
    double *logits = must(malloc(d->n_experts * sizeof *logits));
    double *one = must(malloc(d->hidden_size * sizeof *one));
    project(parameter(o, RILL_WEIGHT_ROUTER, layer), h, logits);
    memset(out, 0, d->hidden_size * sizeof *out);
    double sum = 0;
    for (uint32_t used = 0; used < d->n_experts_used; used++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < d->n_experts; i++)
            if (logits[i] > logits[best]) best = i;
        double weight = exp(logits[best]);
        logits[best] = -INFINITY;
        feed_forward(o, layer, best, h, one);
        for (uint32_t i = 0; i < d->hidden_size; i++) out[i] += weight * one[i];
        sum += weight;
    }
    for (uint32_t i = 0; i < d->hidden_size; i++) out[i] /= sum;
    free(logits);
    free(one);
}

// One layer: x becomes x + attention + feed-forward, each behind its norms.
static void run_layer(oracle *o, uint32_t layer, double *x) {
    const rill__description *d = o->d;
    size_t width = d->hidden_size;
    double *h = must(malloc(width * sizeof *h)), *attended = must(malloc(width * sizeof *attended));
    double *fed = must(malloc(width * sizeof *fed));
    norm(o, parameter(o, RILL_WEIGHT_ATTENTION_NORM, layer), x, h, width);
    attention(o, layer, h, attended);
    if (d->post_norms)
        norm(o, parameter(o, RILL_WEIGHT_POST_ATTENTION_NORM, layer), attended, attended, width);
    if (d->residual == RILL_RESIDUAL_SEQUENTIAL)
        for (size_t i = 0; i < width; i++) x[i] += attended[i];
    if (d->residual != RILL_RESIDUAL_PARALLEL)
        norm(o, parameter(o, RILL_WEIGHT_FFN_NORM, layer), x, h, width);
    if (d->n_experts)
        experts(o, layer, h, fed);
    else
        feed_forward(o, layer, 0, h, fed);
    if (d->post_norms) norm(o, parameter(o, RILL_WEIGHT_POST_FFN_NORM, layer), fed, fed, width);
    for (size_t i = 0; i < width; i++) {
        x[i] += fed[i];
        if (d->residual != RILL_RESIDUAL_SEQUENTIAL) x[i] += attended[i];
    }
    free(h);
    free(attended);
    free(fed);
}

void oracle_step(oracle *o, rill_token token, double *logits) {
    const rill__description *d = o->d;
    grow(o);
    update_visible(o);
    double *x = must(malloc(d->hidden_size * sizeof *x));
    weight_row(&parameter(o, RILL_WEIGHT_EMBEDDING, 0)->weight, (uint64_t)token, x, d->hidden_size);
    for (uint32_t i = 0; i < d->hidden_size; i++) x[i] *= d->embedding_scale;
    for (uint32_t layer = 0; layer < d->n_layers; layer++) run_layer(o, layer, x);
    norm(o, parameter(o, RILL_WEIGHT_OUTPUT_NORM, 0), x, x, d->hidden_size);
    project(parameter(o, d->tied_embeddings ? RILL_WEIGHT_EMBEDDING : RILL_WEIGHT_OUTPUT, 0), x,
            logits);
    for (uint32_t i = 0; i < d->vocab_size && d->logit_cap != 0; i++)
        logits[i] = d->logit_cap * tanh(logits[i] / d->logit_cap);
    o->seen++;
    free(x);
}

uint64_t oracle_clamped(const oracle *o) {
    return o->clamped;
}

size_t oracle_visible(const oracle *o, uint64_t *tokens) {
    memcpy(tokens, o->visible, o->n_visible * sizeof *tokens);
    return o->n_visible;
}
