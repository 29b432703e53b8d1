// SPDX-License-Identifier: MIT
// Rows from one order into another, type and bits as they are.
#include "model/repack.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_NAME = 160,
    MXFP4_BLOCK = 32,       // values
    MXFP4_NIBBLES = 16,     // bytes of them
    MXFP4_BLOCK_BYTES = 17  // as GGUF has it: the scale, then the nibbles
};

// Makes room for a role's weight or bias, to be filled by the caller, and points its tensor there.
static rill_status take(rill__model *m, rill__weight_role role, uint32_t layer, bool bias,
                        const rill__tensor *shape, rill_error *err) {
    rill__parameter *p = &m->parameters[rill__parameter_index(role, layer)];
    uint8_t *memory = rill__malloc(shape->bytes);
    if (!memory) return rill__fail_memory(err, shape->name, shape->bytes);
    rill__tensor *t = bias ? &p->bias : &p->weight;
    *t = *shape;
    t->data = memory;
    *(bias ? &p->bias_memory : &p->weight_memory) = memory;
    return RILL_OK;
}

// The memory behind a role's weight or bias that `take` made.
static uint8_t *memory_of(rill__model *m, rill__weight_role role, uint32_t layer, bool bias) {
    rill__parameter *p = &m->parameters[rill__parameter_index(role, layer)];
    return bias ? p->bias_memory : p->weight_memory;
}

rill_status rill__repack_groups(rill__model *m, const rill__weight_name *entry, uint32_t layer,
                                bool bias, const rill__tensor *t, rill_error *err) {
    const rill__description *d = &m->description;
    size_t row = t->bytes / t->shape[0];
    const uint64_t heads = d->n_heads / d->n_kv_heads;
    const uint64_t per_group[3] = {heads * d->head_dim, d->head_dim, d->head_dim};
    uint64_t before = 0;  // rows of a group that stand before the role's
    for (uint32_t i = 0; i < entry->n_roles; i++) {
        rill__tensor shape = *t;
        shape.shape[0] = per_group[i] * d->n_kv_heads;
        shape.bytes = shape.shape[0] * row;
        rill_status status = take(m, entry->roles[i], layer, bias, &shape, err);
        if (status != RILL_OK) return status;
        uint8_t *to = memory_of(m, entry->roles[i], layer, bias);
        for (uint64_t g = 0; g < d->n_kv_heads; g++)
            memcpy(to + g * per_group[i] * row,
                   t->data + (g * (heads + 2) * d->head_dim + before) * row, per_group[i] * row);
        before += per_group[i];
    }
    return RILL_OK;
}

rill_status rill__repack_offset(rill__model *m, const rill__weight_name *entry, uint32_t layer,
                                const rill__tensor *t, rill_error *err) {
    rill__tensor shape = *t;
    shape.type = RILL_TYPE_F32;
    shape.bytes = t->shape[0] * sizeof(float);
    rill_status status = take(m, entry->roles[0], layer, false, &shape, err);
    if (status != RILL_OK) return status;
    float *values = (float *)(void *)memory_of(m, entry->roles[0], layer, false);
    rill__type_traits_get(t->type)->to_float(t->data, values, t->shape[0]);
    for (uint64_t i = 0; i < t->shape[0]; i++) values[i] += 1;
    return RILL_OK;
}

// One fused tensor of all experts, and what it is to become.
typedef struct experts {
    rill__model *m;
    const rill__source *source;
    const rill__weight_name *entry;
    uint32_t layer;
    uint64_t n;        // experts
    uint64_t rows;     // of one role and expert
    uint64_t columns;  // of a row
    rill_error *err;
} experts;

// NAME + suffix with exactly this shape; unused dimensions are 0.
static rill_status find(const experts *e, const char *suffix, bool bytes, const uint64_t shape[4],
                        const rill__tensor **out) {
    char name[MAX_NAME];
    *out = NULL;
    if (rill__weight_name_make(e->entry->name, e->layer, suffix, name, sizeof name))
        *out = bytes ? rill__source_bytes(e->source, name) : rill__source_tensor(e->source, name);
    if (!*out)
        return rill__fail(e->err, RILL_EFORMAT, "%s: tensor '%s': it is missing", e->source->path,
                          name);
    for (uint32_t i = 0; i < 4; i++)
        if ((*out)->shape[i] != (shape[i] ? shape[i] : 1) || ((*out)->n_dims > i) != (shape[i] > 0))
            return rill__fail(e->err, RILL_EFORMAT,
                              "%s: tensor '%s': dimension %u: %llu; %llu is right", e->source->path,
                              name, i, (unsigned long long)(*out)->shape[i],
                              (unsigned long long)shape[i]);
    return RILL_OK;
}

static rill_status take_all(const experts *e, rill_type type, bool bias) {
    rill_status status = RILL_OK;
    for (uint32_t i = 0; i < e->entry->n_roles && status == RILL_OK; i++) {
        rill__tensor shape = {.name = e->entry->name, .type = type, .shape = {1, 1, 1, 1}};
        shape.n_dims = bias ? 1 : 2;
        shape.shape[0] = e->n * e->rows;
        if (!bias) shape.shape[1] = e->columns;
        size_t row;
        if (!rill__type_bytes(type, bias ? 1 : e->columns, &row) ||
            !rill__mul_size(row, shape.shape[0], &shape.bytes))
            return rill__fail(e->err, RILL_EFORMAT, "%s: tensor '%s': %llu columns of %s",
                              e->source->path, e->entry->name, (unsigned long long)e->columns,
                              rill_type_name(type));
        status = take(e->m, e->entry->roles[i], e->layer, bias, &shape, e->err);
    }
    return status;
}

// [experts, columns, rows in turn] of floats.
static rill_status repack_floats(const experts *e) {
    const uint64_t k = e->entry->n_roles, shape[4] = {e->n, e->columns, k * e->rows, 0};
    const rill__tensor *t;
    rill_status status = find(e, "", false, shape, &t);
    if (status == RILL_OK) status = take_all(e, t->type, false);
    if (status != RILL_OK) return status;
    size_t bytes = rill__type_traits_get(t->type)->block_bytes;
    for (uint32_t role = 0; role < k; role++) {
        uint8_t *to = memory_of(e->m, e->entry->roles[role], e->layer, false);
        for (uint64_t x = 0; x < e->n; x++)
            for (uint64_t c = 0; c < e->columns; c++)
                for (uint64_t r = 0; r < e->rows; r++)
                    memcpy(to + ((x * e->rows + r) * e->columns + c) * bytes,
                           t->data + ((x * e->columns + c) * k * e->rows + r * k + role) * bytes,
                           bytes);
    }
    return RILL_OK;
}

// A block as GGUF has it: values 0 to 15 in the low halves of the bytes, 16 to 31 in the high ones.
// In the directory's the halves of a byte are neighbours.
static void repack_block(const uint8_t *from, uint8_t scale, uint8_t *to) {
    *to++ = scale;
    for (int i = 0; i < MXFP4_NIBBLES; i++) {
        int low = from[i / 2] >> (i % 2 * 4) & 15;
        int high = from[MXFP4_NIBBLES / 2 + i / 2] >> (i % 2 * 4) & 15;
        to[i] = (uint8_t)(low | high << 4);
    }
}

// [experts, rows in turn, blocks, 16] and [experts, rows in turn, blocks] of MXFP4.
static rill_status repack_mxfp4(const experts *e) {
    const uint64_t k = e->entry->n_roles, n_blocks = e->columns / MXFP4_BLOCK;
    const uint64_t blocks_shape[4] = {e->n, k * e->rows, n_blocks, MXFP4_NIBBLES};
    const uint64_t scales_shape[4] = {e->n, k * e->rows, n_blocks, 0};
    const rill__tensor *blocks, *scales;
    rill_status status = find(e, "_blocks", true, blocks_shape, &blocks);
    if (status == RILL_OK) status = find(e, "_scales", true, scales_shape, &scales);
    if (status == RILL_OK) status = take_all(e, RILL_TYPE_MXFP4, false);
    if (status != RILL_OK) return status;
    for (uint32_t role = 0; role < k; role++) {
        uint8_t *to = memory_of(e->m, e->entry->roles[role], e->layer, false);
        for (uint64_t r = 0; r < e->n * e->rows; r++) {
            for (uint64_t b = 0; b < n_blocks; b++, to += MXFP4_BLOCK_BYTES) {
                uint64_t at = (r * k + role) * n_blocks + b;
                repack_block(blocks->data + at * MXFP4_NIBBLES, scales->data[at], to);
            }
        }
    }
    return RILL_OK;
}

static rill_status repack_biases(const experts *e) {
    const uint64_t k = e->entry->n_roles, shape[4] = {e->n, k * e->rows, 0, 0};
    const rill__tensor *t;
    rill_status status = find(e, "_bias", false, shape, &t);
    if (status == RILL_OK) status = take_all(e, t->type, true);
    if (status != RILL_OK) return status;
    size_t bytes = rill__type_traits_get(t->type)->block_bytes;
    for (uint32_t role = 0; role < k; role++) {
        uint8_t *to = memory_of(e->m, e->entry->roles[role], e->layer, true);
        for (uint64_t r = 0; r < e->n * e->rows; r++)
            memcpy(to + r * bytes, t->data + (r * k + role) * bytes, bytes);
    }
    return RILL_OK;
}

rill_status rill__repack_experts(rill__model *m, const rill__source *source,
                                 const rill__weight_name *entry, uint32_t layer, rill_error *err) {
    const rill__description *d = &m->description;
    assert(d->n_experts > 0);
    experts e = {m, source, entry, layer, d->n_experts, 0, 0, err};
    uint64_t all;
    rill__weight_shape(d, entry->roles[0], &all, &e.columns);
    e.rows = all / d->n_experts;
    char name[MAX_NAME];
    bool packed = rill__weight_name_make(entry->name, layer, "_blocks", name, sizeof name) &&
                  rill__source_bytes(source, name);
    rill_status status = packed ? repack_mxfp4(&e) : repack_floats(&e);
    return status == RILL_OK ? repack_biases(&e) : status;
}
