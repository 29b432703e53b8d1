// SPDX-License-Identifier: MIT
// A family of models: how its settings become a description, and what its weights are called. Data
// and one function; the forward pass knows nothing of families.
#ifndef RILL_MODEL_FAMILY_H
#define RILL_MODEL_FAMILY_H

#include "model/config.h"
#include "model/model.h"

// How a tensor of a file becomes rows of weights.
typedef enum rill__weight_layout {
    RILL_LAYOUT_ROWS,     // as they lie: the roles' rows one behind another
    RILL_LAYOUT_GROUPS,   // Q, K, V: for each key-value head its queries' rows, its key's, its
                          // value's
    RILL_LAYOUT_OFFSET,   // a norm's weight less 1
    RILL_LAYOUT_EXPERTS,  // of all experts together: see rill__repack_experts
} rill__weight_layout;

// A tensor of a file and the roles that its rows serve, in order: more than one for fused weights.
// '#' in the name stands for the layer's number; ".weight" and ".bias" follow.
typedef struct rill__weight_name {
    const char *name;  // NULL ends a list
    uint32_t n_roles;
    rill__weight_role roles[3];
    rill__weight_layout layout;
    unsigned residuals;  // a bit for each rill__residual that has this tensor; 0: all of them
    bool whole_name;     // neither ".weight" follows nor is there a bias
} rill__weight_name;

// The plain kind: a tensor that serves one role, as it lies.
#define RILL_TENSOR(text, role)                                                                    \
    {                                                                                              \
        .name = text, .n_roles = 1, .roles = { role }                                              \
    }

struct rill__family {
    const char *name;          // model_type in config.json
    const char *architecture;  // general.architecture in GGUF
    // GGUF stores the rows of queries and keys so that rotated pairs are neighbours.
    bool gguf_interleaved;
    // llama.cpp wants the output's matrix in the file, also where it is the embedding's once more.
    bool gguf_untied;
    const rill__weight_name *names;       // in a directory
    const rill__weight_name *gguf_names;  // in GGUF
    // Fills the description (zeroed but for `family`) and sets a bit of *biases for every role that
    // has one. Failures are kept in c.
    void (*read_config)(rill__config *c, rill__description *d, uint32_t *biases);
    // What GGUF's metadata do not say, or say in this family's own way; called when all else of the
    // description is read. NULL if there is nothing.
    void (*read_metadata)(rill__metadata *m, rill__description *d);
};

// All families, NULL-terminated.
extern const rill__family *const rill__families[];
extern const rill__family rill__family_falcon;
extern const rill__family rill__family_gemma3;
extern const rill__family rill__family_gemma3_pictures;
extern const rill__family rill__family_gpt_neox;
extern const rill__family rill__family_gpt_oss;
extern const rill__family rill__family_llama;
extern const rill__family rill__family_mistral;
extern const rill__family rill__family_mpt;
extern const rill__family rill__family_phi3;
extern const rill__family rill__family_qwen2;
extern const rill__family rill__family_qwen3;

// Lists of names that several families share.
extern const rill__weight_name rill__names_plain[];       // self_attn.q_proj ...
extern const rill__weight_name rill__names_fused[];       // self_attn.qkv_proj, mlp.gate_up_proj
extern const rill__weight_name rill__names_gguf[];        // blk.#.attn_q ...
extern const rill__weight_name rill__names_gguf_fused[];  // blk.#.attn_qkv ..., gate in ffn_up
extern const rill__weight_name rill__names_gguf_qkv[];    // blk.#.attn_qkv ..., no gate

// By model_type, by general.architecture, or by the name of a description's family. NULL if
// unknown.
const rill__family *rill__family_find(const char *model_type);
const rill__family *rill__family_find_gguf(const char *architecture);
// What model_type (or, with `gguf`, general.architecture) may be, for messages: "llama, mistral,
// ...".
void rill__family_list(bool gguf, char *out, size_t capacity);

// The name of a tensor: '#' replaced by the layer, the suffix appended. False if it does not fit.
bool rill__weight_name_make(const char *name, uint32_t layer, const char *suffix, char *out,
                            size_t capacity);
// Rows and columns that a role's weight has; columns 0 for a vector.
void rill__weight_shape(const rill__description *d, rill__weight_role role, uint64_t *rows,
                        uint64_t *columns);
// A role in the words of a message: "router".
const char *rill__weight_role_name(rill__weight_role role);
// Whether a model of this description must have the role's weight.
bool rill__weight_needed(const rill__description *d, rill__weight_role role);

// What a family takes for a key that config.json leaves out (transformers' configuration classes).
typedef struct rill__config_defaults {
    uint32_t n_heads;     // 0: must be said
    uint32_t vocab_size;  // the same
    uint32_t n_kv_heads;  // 0: as many as heads
    uint32_t head_dim;    // 0: hidden_size / num_attention_heads
    uint32_t context;
    double norm_eps;
    const char *packing;  // quant_method that the family's own tensors have; NULL: none
} rill__config_defaults;

// The parts of config.json that families of the Llama kind share: sizes, norms, ends, positions.
void rill__config_decoder(rill__config *c, const rill__config_defaults *defaults,
                          rill__description *d);
// rope_theta, rope_scaling or rope_parameters. `share` is the part of a head that is rotated if
// nothing is said; 0: all of it, and nothing else is known. rope_type "xpos" makes the positions
// xPos, with xpos_scale_base (512) and xpos_gamma (0.4).
void rill__config_rope(rill__config *c, double share, rill__description *d);
// The same from an object of its own, where a family has several. `theta` is the base if the object
// names none.
void rill__config_rope_part(rill__config *c, rill__config *part, double theta, double share,
                            rill__description *d, rill__rope_description *r);
// The activation that `key` names, `fallback` if it is missing.
void rill__config_activation(rill__config *c, const char *key, const char *fallback,
                             rill__description *d);
// layer_types, or `window` for all layers from `first` on. window 0: none.
void rill__config_windows(rill__config *c, uint32_t window, uint32_t first, rill__description *d);

// All of a description but its name, from GGUF metadata. Sets m's status.
void rill__metadata_describe(rill__metadata *m, const rill__family *family, rill__description *d);
// The tokenizer in a GGUF file; *out NULL if it has none.
RILL_NODISCARD rill_status rill__gguf_tokenizer(const rill__gguf *gguf, rill__tokenizer **out,
                                                rill_error *err);

#endif
