// SPDX-License-Identifier: MIT
// The roof of a token.
//
// A token written reads every weight of the matrices once and the whole cache once; tokens read
// together share that (those of several streams the weights alone), and take two operations for
// each weight and four for each number of a key that they see. The roof is the nearer of what
// rill_device_measure found: bytes a second, operations a second.
#include "eval/cost.h"

#include <math.h>

// Weights in the matrices of all layers; the table of embeddings is only looked up.
//
// A feed-forward has two matrices, or three where it is gated, and the logits a table of their own
// or that of the embeddings: of these, what comes nearest to the number of parameters.
static double layer_weights(const rill_model_info *m) {
    double heads = (double)m->n_heads * m->head_dim, kv = (double)m->n_kv_heads * m->head_dim;
    double attention = m->n_layers * (2.0 * m->hidden_size * heads + 2.0 * m->hidden_size * kv);
    double matrix = (double)m->n_layers * m->hidden_size * m->ffn_size;
    double table = (double)m->vocab_size * m->hidden_size, gated = attention + 3 * matrix;
    if (!m->n_parameters) return gated;
    double best = 0, off = INFINITY;
    for (int matrices = 3; matrices >= 2; matrices--)
        for (int tables = 1; tables <= 2; tables++) {
            double weights = attention + matrices * matrix;
            double now = fabs(weights + tables * table - (double)m->n_parameters);
            if (now >= off) continue;
            best = weights;
            off = now;
        }
    return best;
}

double rill__roof_flops(const rill_roof *roof, rill_product product) {
    return product.arithmetic == RILL_ARITHMETIC_INT8   ? roof->int8_ops_per_second
           : product.arithmetic == RILL_ARITHMETIC_BF16 ? roof->bf16_flops_per_second
                                                        : roof->f32_flops_per_second;
}

rill__token_cost rill__token_cost_at(const rill_model_info *m, rill_type key_type,
                                     rill_type value_type, const rill_roof *roof,
                                     rill__token_work work) {
    double weights = layer_weights(m), logits = work.outputs * m->vocab_size * m->hidden_size;
    double per_weight = m->n_parameters ? (double)m->weight_bytes / (double)m->n_parameters : 0;
    double cache = work.visible * (double)rill_token_bytes(m, key_type, value_type);
    rill__token_cost c = {
        .bytes =
            (weights / work.together + logits) * per_weight / work.streams + cache / work.together,
        .flops = 2 * (weights + logits) + 4 * work.visible * m->n_layers * m->n_heads * m->head_dim,
    };
    double by_bytes = roof->read_bytes_per_second / c.bytes;
    double by_flops = rill__roof_flops(roof, work.product) / c.flops;
    c.by_bytes = by_bytes < by_flops;
    c.rate = c.by_bytes ? by_bytes : by_flops;
    return c;
}
