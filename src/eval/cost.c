// SPDX-License-Identifier: MIT
// The roof of a token.
//
// A token written reads every weight of the matrices once and the whole cache once; tokens read
// together share that, and take two operations for each weight and four for each number of a key
// that they see. The roof is the nearer of what rill_device_measure found: bytes a second,
// operations a second.
#include "eval/cost.h"

// Weights in the matrices of all layers; the table of embeddings is only looked up.
static double layer_weights(const rill_model_info *m) {
    double heads = (double)m->n_heads * m->head_dim, kv = (double)m->n_kv_heads * m->head_dim;
    return m->n_layers * (2.0 * m->hidden_size * heads + 2.0 * m->hidden_size * kv +
                          3.0 * m->hidden_size * m->ffn_size);
}

double rill__roof_flops(const rill_roof *roof, rill_type weight_type) {
    bool floats = weight_type == RILL_TYPE_F32 || weight_type == RILL_TYPE_F16 ||
                  weight_type == RILL_TYPE_BF16;
    return floats ? roof->f32_flops_per_second : roof->int8_ops_per_second;
}

rill__token_cost rill__token_cost_at(const rill_model_info *m, rill_type key_type,
                                     rill_type value_type, const rill_roof *roof,
                                     rill__token_work work) {
    double weights = layer_weights(m), logits = work.outputs * m->vocab_size * m->hidden_size;
    double per_weight = m->n_parameters ? (double)m->weight_bytes / (double)m->n_parameters : 0;
    double cache = work.visible * (double)rill_token_bytes(m, key_type, value_type);
    rill__token_cost c = {
        .bytes = (weights / work.together + logits) * per_weight + cache / work.together,
        .flops = 2 * (weights + logits) + 4 * work.visible * m->n_layers * m->n_heads * m->head_dim,
    };
    double by_bytes = roof->read_bytes_per_second / c.bytes;
    double by_flops = rill__roof_flops(roof, m->weight_type) / c.flops;
    c.by_bytes = by_bytes < by_flops;
    c.rate = c.by_bytes ? by_bytes : by_flops;
    return c;
}
