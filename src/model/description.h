// SPDX-License-Identifier: MIT
// What a model is: everything the one forward pass needs to know about a family, as data.
//
// A family's file (family_*.c) fills a description from a config.json or from GGUF metadata;
// nothing else in rill asks which family a model belongs to.
#ifndef RILL_MODEL_DESCRIPTION_H
#define RILL_MODEL_DESCRIPTION_H

#include "base/base.h"
#include "base/kinds.h"

enum {
    RILL_MAX_LAYERS = 512,
    RILL_MAX_HIDDEN = 1 << 17,
    RILL_MAX_VOCABULARY = 1 << 22,
};

typedef enum rill__residual {
    RILL_RESIDUAL_SEQUENTIAL,         // x += attention(norm(x)); x += ffn(norm(x))
    RILL_RESIDUAL_PARALLEL,           // x += attention(norm(x)) + ffn(norm(x)), one norm
    RILL_RESIDUAL_PARALLEL_TWO_NORMS  // the same with a norm each
} rill__residual;

// docs/positions.md has what each means for a stream.
typedef enum rill__position_scheme {
    RILL_POSITION_ROPE,   // Su et al., 2021
    RILL_POSITION_ALIBI,  // Press et al., 2022: a head's logits fall by its slope a position
    RILL_POSITION_XPOS,   // Sun et al., 2022: RoPE, and each pair fades with the distance
} rill__position_scheme;

typedef enum rill__qk_norm {
    RILL_QK_NORM_NONE,
    RILL_QK_NORM_HEAD,   // queries and keys are normed head by head (Qwen3, Gemma 3)
    RILL_QK_NORM_WHOLE,  // across all heads (MPT's qk_ln)
} rill__qk_norm;

typedef enum rill__rope_scaling {
    RILL_ROPE_DEFAULT,
    RILL_ROPE_LINEAR,    // frequencies / factor
    RILL_ROPE_NTK,       // base grown with the capacity ("dynamic")
    RILL_ROPE_LLAMA3,    // low frequencies / factor, a smooth passage between
    RILL_ROPE_YARN,      // linear below beta_slow turns, unchanged above beta_fast, a ramp between
    RILL_ROPE_LONGROPE,  // frequencies / short_factors or / long_factors, by the capacity
    RILL_ROPE_FACTORS,   // frequencies / short_factors at any capacity: what GGUF makes of llama3
} rill__rope_scaling;

// Source of the formulas: transformers' modeling_rope_utils.py (Hugging Face), whose names these
// are.
typedef struct rill__rope_description {
    double theta;      // base, 10000 as a rule
    uint32_t n_dims;   // rotated dimensions of a head, even, at most head_dim
    bool interleaved;  // pairs (2i, 2i+1), as GGUF stores Llama; otherwise (i, i + n_dims / 2)
    rill__rope_scaling scaling;
    double factor;              // linear, NTK, llama3, YaRN; longrope: of the magnitude
    uint32_t original_context;  // llama3, YaRN, longrope: trained length before scaling
    double low_freq_factor;     // llama3
    double high_freq_factor;    // llama3
    double beta_fast;           // YaRN, 32
    double beta_slow;           // YaRN, 1
    bool truncate;              // YaRN: round the ramp's ends to whole dimensions, true as a rule
    double attention_factor;    // YaRN, longrope: magnitude of the tables; 0: computed
    double mscale;              // YaRN, 0 if absent
    double mscale_all_dim;      // YaRN, 0 if absent
    double *short_factors;      // longrope, factors: [n_dims / 2], owned by the description
    double *long_factors;       // longrope: the same
    // xPos: pair i fades by zeta_i^(distance / base), zeta_i = (2 i / n_dims + gamma) / (1 + gamma)
    double xpos_base;   // 512 as a rule
    double xpos_gamma;  // 0.4 as a rule
} rill__rope_description;

typedef struct rill__description {
    char family[32];  // "llama"
    char name[96];    // the model's own name

    uint32_t n_layers;
    uint32_t hidden_size;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t ffn_size;
    uint32_t vocab_size;
    uint32_t trained_context;

    // norms
    rill__norm_kind norm;
    float norm_eps;

    // blocks
    rill__residual residual;
    bool post_norms;  // a norm after attention and after the feed-forward too (Gemma)

    // attention
    float attention_scale;    // logits are scale * (q . k)
    rill__qk_norm qk_norm;    // with the norm's kind and epsilon of the model
    float clip_qkv;           // projections are clamped to +-clip, 0 for none (MPT)
    bool sink_logits;         // a learned logit per head in the denominator (gpt-oss)
    bool softmax_off_by_one;  // one more key and value of zeros, visible to all
    uint32_t
        *layer_windows;  // [n_layers] trained windows, 0 for none; owned; NULL if no layer has one

    // positions
    rill__position_scheme position;
    rill__rope_description rope;
    rill__rope_description *local_rope;  // of layers with a window, if it differs (Gemma 3); owned
    float alibi_bias_max;                // ALiBi: what the slopes were made from, 8 as a rule
    float *alibi_slopes;  // [n_heads]: a key at distance x gets -slope * x; owned; NULL: no ALiBi

    // feed-forward
    bool gated;  // down(act(gate(x)) * up(x)), otherwise down(act(up(x)))
    rill__activation activation;
    float activation_limit;   // clamped SwiGLU
    uint32_t n_experts;       // 0 for a dense feed-forward
    uint32_t n_experts_used;  // the likeliest of the router's softmax over just these

    // ends
    bool tied_embeddings;   // logits use the embedding matrix
    float embedding_scale;  // 1 as a rule
    float logit_cap;        // cap * tanh(logit / cap), 0 for none
} rill__description;

// Frees what it owns; leaves it zeroed.
void rill__description_deinit(rill__description *d);

// Refuses sizes that make no sense: RILL_EFORMAT names the field, found and right. `source` leads
// the message.
RILL_NODISCARD rill_status rill__description_check(const rill__description *d, const char *source,
                                                   rill_error *err);

// Window of a layer, 0 for none.
uint32_t rill__description_window(const rill__description *d, uint32_t layer);

// Fills alibi_slopes for n_heads heads as Press et al. do: 2^(-bias_max k / p) for k = 1 ... p, p
// the power of two at or below n_heads, then every other one of 2 p; each times `scale`. `rounded`:
// to bfloat16 before that, which is part of Falcon. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__alibi_slopes(rill__description *d, float bias_max, float scale,
                                              bool rounded, rill_error *err);

// Phase steps for a cache of `capacity` tokens (no distance ever exceeds capacity - 1):
// steps[i] = round(f_i / 2 pi * 2^64), f_i the frequency of pair i in radians a position; and the
// magnitude of the tables. steps has n_dims / 2 entries.
void rill__rope_phase_steps(const rill__rope_description *rope, uint32_t trained_context,
                            uint64_t capacity, uint64_t *steps, float *magnitude);
// The frequency of a pair in radians a position, and the magnitude, as rill__rope_phase_steps has
// them.
double rill__rope_frequency(const rill__rope_description *rope, uint32_t trained_context,
                            uint64_t capacity, uint32_t pair);
double rill__rope_magnitude(const rill__rope_description *rope);
// Position interpolation, or NTK-aware scaling (the base grown so that the slowest pair is divided
// by the factor and the fastest stays), of plain RoPE.
void rill__rope_stretch(rill__rope_description *rope, bool ntk, double factor);
// xPos: the greatest power of two that a key is multiplied by in a cache of `capacity` tokens,
// whose blocks are that long.
double rill__xpos_log2(const rill__rope_description *rope, uint64_t capacity);

#endif
