// SPDX-License-Identifier: MIT
// Mixes: the tensors that a model's output depends on most get more bits than the rest. Which they
// are is llama.cpp's choice (llama-quant.cpp, llama_tensor_get_type_impl, without an importance
// matrix), so that a mix means the same everywhere.
#include "model/mix.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    rill_type type;
    rill_mix mix;
    uint32_t file_type;
} mixes[] = {
    {"f32", RILL_TYPE_F32, RILL_MIX_NONE, 0},
    {"f16", RILL_TYPE_F16, RILL_MIX_NONE, 1},
    {"bf16", RILL_TYPE_BF16, RILL_MIX_NONE, 32},
    {"q8_0", RILL_TYPE_Q8_0, RILL_MIX_NONE, 7},
    {"q4_0", RILL_TYPE_Q4_0, RILL_MIX_NONE, 2},
    {"q4_1", RILL_TYPE_Q4_1, RILL_MIX_NONE, 3},
    {"q5_0", RILL_TYPE_Q5_0, RILL_MIX_NONE, 8},
    {"q5_1", RILL_TYPE_Q5_1, RILL_MIX_NONE, 9},
    {"q2_K", RILL_TYPE_Q2_K, RILL_MIX_NONE, 10},
    {"q3_K", RILL_TYPE_Q3_K, RILL_MIX_NONE, 11},
    {"q4_K", RILL_TYPE_Q4_K, RILL_MIX_NONE, 14},
    {"q5_K", RILL_TYPE_Q5_K, RILL_MIX_NONE, 16},
    {"q6_K", RILL_TYPE_Q6_K, RILL_MIX_NONE, 18},
    {"iq4_nl", RILL_TYPE_IQ4_NL, RILL_MIX_NONE, 25},
    {"iq4_xs", RILL_TYPE_IQ4_XS, RILL_MIX_NONE, 30},
    {"mxfp4", RILL_TYPE_MXFP4, RILL_MIX_NONE, 38},
    {"q2_K_M", RILL_TYPE_Q2_K, RILL_MIX_M, 10},
    {"q3_K_S", RILL_TYPE_Q3_K, RILL_MIX_S, 11},
    {"q3_K_M", RILL_TYPE_Q3_K, RILL_MIX_M, 12},
    {"q3_K_L", RILL_TYPE_Q3_K, RILL_MIX_L, 13},
    {"q4_K_S", RILL_TYPE_Q4_K, RILL_MIX_S, 14},
    {"q4_K_M", RILL_TYPE_Q4_K, RILL_MIX_M, 15},
    {"q5_K_S", RILL_TYPE_Q5_K, RILL_MIX_S, 16},
    {"q5_K_M", RILL_TYPE_Q5_K, RILL_MIX_M, 17},
};
enum { MIXES = sizeof mixes / sizeof *mixes };

static int find(rill_type type, rill_mix mix) {
    for (int i = 0; i < MIXES; i++)
        if (mixes[i].type == type && mixes[i].mix == mix) return i;
    return -1;
}

const char *rill_mix_name(rill_type type, rill_mix mix) {
    int i = find(type, mix);
    return i < 0 ? "unknown" : mixes[i].name;
}

const char *rill_mix_list(size_t index) {
    return index < MIXES ? mixes[index].name : NULL;
}

bool rill_mix_parse(const char *name, rill_type *type, rill_mix *mix) {
    for (int i = 0; i < MIXES; i++) {
        if (strcasecmp(name, mixes[i].name) == 0) {
            *type = mixes[i].type;
            *mix = mixes[i].mix;
            return true;
        }
    }
    return false;
}

bool rill__mix_exists(rill_type type, rill_mix mix) {
    return find(type, mix) >= 0;
}

uint32_t rill__mix_file_type(rill_type type, rill_mix mix) {
    return mixes[find(type, mix)].file_type;
}

// ---- Rules --------------------------------------------------------------------------------------

// A bit a mix.
enum {
    Q2_M = 1 << 0,
    Q3_S = 1 << 1,
    Q3_M = 1 << 2,
    Q3_L = 1 << 3,
    Q4_S = 1 << 4,
    Q4_M = 1 << 5,
    Q5_S = 1 << 6,
    Q5_M = 1 << 7,
    ANY_MIX = (1 << 8) - 1,
};

typedef enum layers {
    ALL_LAYERS,
    FIRST_TWO,
    FIRST_FOUR,
    FIRST_SIXTEENTH,
    FIRST_EIGHTH,
    SENSITIVE,  // the first and the last eighth, and every third between
} layers;

typedef enum models {
    ANY_MODEL,
    FALCON,
    EIGHT_EXPERTS,  // Mixtral's sizes: its attention is small beside its experts
    EIGHTY_LAYERS,  // with fewer key-value heads than heads: Llama-2-70b's sizes
    GROUPED,        // four queries or more to a key-value head
} models;

// Of the rules for a role, the first that fits is taken; with none it is the mix's own type.
static const struct {
    rill__weight_role role;
    unsigned mixes;
    layers layers;
    models models;
    rill_type type;
} rules[] = {
    // Of tied embeddings too.
    {RILL_WEIGHT_OUTPUT, ANY_MIX, ALL_LAYERS, FALCON, RILL_TYPE_Q8_0},
    {RILL_WEIGHT_OUTPUT, ANY_MIX, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q6_K},
    // And of queries, keys and values in one matrix.
    {RILL_WEIGHT_V, ANY_MIX, ALL_LAYERS, EIGHT_EXPERTS, RILL_TYPE_Q8_0},
    {RILL_WEIGHT_V, Q4_M | Q5_M, SENSITIVE, ANY_MODEL, RILL_TYPE_Q6_K},
    {RILL_WEIGHT_V, ANY_MIX, ALL_LAYERS, EIGHTY_LAYERS, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_V, Q2_M, ALL_LAYERS, GROUPED, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_V, Q2_M, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q3_K},
    {RILL_WEIGHT_V, Q3_M, FIRST_TWO, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_V, Q3_M, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_V, Q3_L, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_V, Q4_S, FIRST_FOUR, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_K, ANY_MIX, ALL_LAYERS, EIGHT_EXPERTS, RILL_TYPE_Q8_0},
    {RILL_WEIGHT_O, Q2_M, ALL_LAYERS, FALCON, RILL_TYPE_Q2_K},
    {RILL_WEIGHT_O, Q3_M, ALL_LAYERS, FALCON, RILL_TYPE_Q3_K},
    {RILL_WEIGHT_O, Q3_L, ALL_LAYERS, FALCON, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_O, Q3_L, ALL_LAYERS, EIGHT_EXPERTS, RILL_TYPE_Q3_K},
    {RILL_WEIGHT_O, Q2_M | Q3_S | Q3_M | Q4_S | Q4_M, ALL_LAYERS, EIGHT_EXPERTS, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_O, Q2_M, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q3_K},
    {RILL_WEIGHT_O, Q3_M, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_O, Q3_L, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_DOWN, Q2_M, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q3_K},
    {RILL_WEIGHT_DOWN, Q3_M, FIRST_SIXTEENTH, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_DOWN, Q3_M, SENSITIVE, FALCON, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_DOWN, Q3_M, ALL_LAYERS, FALCON, RILL_TYPE_Q3_K},
    {RILL_WEIGHT_DOWN, Q3_M, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_DOWN, Q3_L, ALL_LAYERS, FALCON, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_DOWN, Q3_L, ALL_LAYERS, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_DOWN, Q4_S, ALL_LAYERS, FALCON, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_DOWN, Q4_S, FIRST_EIGHTH, ANY_MODEL, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_DOWN, Q4_M, FIRST_SIXTEENTH, FALCON, RILL_TYPE_Q6_K},
    {RILL_WEIGHT_DOWN, Q4_M, SENSITIVE, FALCON, RILL_TYPE_Q5_K},
    {RILL_WEIGHT_DOWN, Q4_M, ALL_LAYERS, FALCON, RILL_TYPE_Q4_K},
    {RILL_WEIGHT_DOWN, Q4_M | Q5_M, SENSITIVE, ANY_MODEL, RILL_TYPE_Q6_K},
};

static unsigned mix_bit(rill_type type, rill_mix mix) {
    static const struct {
        rill_type type;
        unsigned small, medium, large;
    } bits[] = {
        {RILL_TYPE_Q2_K, 0, Q2_M, 0},
        {RILL_TYPE_Q3_K, Q3_S, Q3_M, Q3_L},
        {RILL_TYPE_Q4_K, Q4_S, Q4_M, 0},
        {RILL_TYPE_Q5_K, Q5_S, Q5_M, 0},
    };
    for (size_t i = 0; mix != RILL_MIX_NONE && i < sizeof bits / sizeof *bits; i++)
        if (bits[i].type == type)
            return mix == RILL_MIX_S   ? bits[i].small
                   : mix == RILL_MIX_M ? bits[i].medium
                                       : bits[i].large;
    return 0;
}

static bool is_among(layers which, uint32_t layer, uint32_t n) {
    switch (which) {
    case FIRST_TWO: return layer < 2;
    case FIRST_FOUR: return layer < 4;
    case FIRST_SIXTEENTH: return layer < n / 16;
    case FIRST_EIGHTH: return layer < n / 8;
    case SENSITIVE: return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
    default: return true;
    }
}

static bool is_model(models which, const rill__description *d) {
    switch (which) {
    case FALCON: return strcmp(d->family, "falcon") == 0;
    case EIGHT_EXPERTS: return d->n_experts == 8;
    case EIGHTY_LAYERS:
        return d->n_layers == 80 && d->n_kv_heads != d->n_heads && !is_model(FALCON, d);
    case GROUPED: return d->n_heads >= 4 * d->n_kv_heads;
    default: return true;
    }
}

// The role that the rules have for a matrix.
static rill__weight_role leading_role(const rill__description *d, const rill__weight_role *roles,
                                      uint32_t n) {
    const rill__family *family = rill__family_find(d->family);
    for (uint32_t i = 0; i < n; i++)
        if (roles[i] == RILL_WEIGHT_V) return RILL_WEIGHT_V;
    bool is_output =
        roles[0] == RILL_WEIGHT_EMBEDDING && d->tied_embeddings && !(family && family->gguf_untied);
    return is_output ? RILL_WEIGHT_OUTPUT : roles[0];
}

// The next best for rows that are no whole number of super-blocks (llama.cpp's too), and for rows
// that are no whole number of blocks.
static rill_type fitting(rill_type type, uint64_t columns) {
    static const rill_type narrower[][2] = {
        {RILL_TYPE_Q2_K, RILL_TYPE_Q4_0}, {RILL_TYPE_Q3_K, RILL_TYPE_Q4_0},
        {RILL_TYPE_Q4_K, RILL_TYPE_Q5_0}, {RILL_TYPE_Q5_K, RILL_TYPE_Q5_1},
        {RILL_TYPE_Q6_K, RILL_TYPE_Q8_0}, {RILL_TYPE_IQ4_XS, RILL_TYPE_IQ4_NL},
    };
    size_t bytes;
    if (rill__type_bytes(type, columns, &bytes)) return type;
    for (size_t i = 0; i < sizeof narrower / sizeof *narrower; i++)
        if (narrower[i][0] == type && rill__type_bytes(narrower[i][1], columns, &bytes))
            return narrower[i][1];
    return RILL_TYPE_F16;
}

rill_type rill__mix_choose(const rill__description *d, rill_type type, rill_mix mix,
                           const rill__weight_role *roles, uint32_t n_roles, uint32_t layer,
                           uint64_t columns) {
    rill__weight_role role = leading_role(d, roles, n_roles);
    unsigned bit = mix_bit(type, mix);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].role == role && (rules[i].mixes & bit) &&
            is_among(rules[i].layers, layer, d->n_layers) && is_model(rules[i].models, d))
            return fitting(rules[i].type, columns);
    }
    return fitting(type, columns);
}
