// SPDX-License-Identifier: MIT
// A model of a named shape with random weights, for measuring. A pool of random blocks is made once
// for each width of row, and rows are copied from random places of it: that takes as long as
// writing the memory does, and no two rows are alike.
#include "base/random.h"
#include "model/mix.h"
#include "model/shapes.h"
#include "model/weights.h"

#include <math.h>
#include <string.h>

enum {
    POOL_VALUES = 1 << 20,
    ALIGNMENT = 64,
    LOCAL = 256,
};

typedef struct generator {
    uint64_t s[4];
} generator;

static uint64_t next(generator *g) {
    return rill__random_next(g->s);
}

// Close to normal, deviation 1: the sum of eight bytes of a random number. Each byte is uniform
// with variance (256^2 - 1) / 12.
static float normal(generator *g) {
    uint64_t bits = next(g);
    int sum = 0;
    for (int i = 0; i < 8; i++) sum += (int)(bits >> 8 * i & 255);
    return (float)(sum - 1020) / 209.0216f;  // sqrt(8 * (65536 - 1) / 12)
}

// Blocks of `traits` whose values have the deviation; bytes is a whole number of them.
static void fill_pool(generator *g, const rill__type_traits *traits, uint8_t *pool, size_t bytes,
                      float deviation) {
    float values[LOCAL];
    for (size_t at = 0; at < bytes; at += traits->block_bytes) {
        for (uint32_t i = 0; i < traits->block; i++) values[i] = deviation * normal(g);
        traits->from_float(values, pool + at, traits->block);
    }
}

// Where a weight lies in the one block of memory.
typedef struct layout {
    rill__model *m;
    rill_type type;
    rill_mix mix;
    size_t bytes;  // so far
} layout;

static rill_status place(layout *l, rill__weight_role role, uint32_t layer, rill_error *err) {
    static const char *const name = "synthetic";
    const rill__description *d = &l->m->description;
    uint64_t rows, columns;
    rill__weight_shape(d, role, &rows, &columns);
    rill__tensor *t = &l->m->parameters[rill__parameter_index(role, layer)].weight;
    *t = (rill__tensor){.name = name, .n_dims = columns ? 2 : 1, .shape = {rows, 1, 1, 1}};
    t->type =
        columns ? rill__mix_choose(d, l->type, l->mix, &role, 1, layer, columns) : RILL_TYPE_F32;
    if (columns) t->shape[1] = columns;
    size_t row;
    if (!rill__type_bytes(t->type, columns ? columns : rows, &row) ||
        !rill__mul_size(row, columns ? rows : 1, &t->bytes) ||
        !rill__add_size(l->bytes, t->bytes + ALIGNMENT, &l->bytes))
        return rill__fail(err, RILL_EINVAL, "%s: %llu rows of %llu weights: more than memory has",
                          d->name, (unsigned long long)rows, (unsigned long long)columns);
    l->bytes = l->bytes / ALIGNMENT * ALIGNMENT;
    return RILL_OK;
}

// The pool that rows of one width and type are copied from.
typedef struct pool {
    uint8_t *data;
    size_t bytes;
    uint64_t columns;
    rill_type type;
} pool;

static void fill_matrix(generator *g, pool *from, const rill__tensor *t, uint8_t *data) {
    const rill__type_traits *traits = rill__type_traits_get(t->type);
    uint64_t rows = t->shape[0], columns = t->shape[1];
    if (from->columns != columns || from->type != t->type) {
        from->bytes = POOL_VALUES / traits->block * traits->block_bytes;
        fill_pool(g, traits, from->data, from->bytes, (float)(1 / sqrt((double)columns)));
        from->columns = columns;
        from->type = t->type;
    }
    size_t row = t->bytes / rows;
    size_t starts = (from->bytes - row) / traits->block_bytes + 1;
    for (uint64_t r = 0; r < rows; r++)
        memcpy(data + r * row, from->data + next(g) % starts * traits->block_bytes, row);
}

static void fill_vector(generator *g, const rill__tensor *t, uint8_t *data) {
    for (uint64_t i = 0; i < t->shape[0]; i++) {
        float value = 1 + 0.1f * normal(g);  // a norm's weight
        memcpy(data + i * sizeof value, &value, sizeof value);
    }
}

static bool same_kind(const rill__tensor *a, const rill__tensor *b) {
    return a->n_dims == b->n_dims && a->shape[1] == b->shape[1] && a->type == b->type;
}

// Matrices of equal width and type one after the other, so that each pool is made once.
static void fill_all(rill__model *m, generator *g, pool *from) {
    uint8_t *memory = m->file.memory;
    size_t n = rill__parameters_count(m->description.n_layers), at = 0;
    for (size_t i = 0; i < n; i++) {
        rill__tensor *t = &m->parameters[i].weight;
        if (t->n_dims == 0) continue;
        t->data = memory + at;
        at = (at + t->bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
        if (t->n_dims == 1) fill_vector(g, t, memory + (t->data - memory));
    }
    for (size_t i = 0; i < n; i++) {
        const rill__tensor *first = &m->parameters[i].weight;
        bool is_first = first->n_dims == 2;
        for (size_t j = 0; j < i && is_first; j++)
            is_first = !same_kind(&m->parameters[j].weight, first);
        for (size_t j = i; j < n && is_first; j++) {
            const rill__tensor *t = &m->parameters[j].weight;
            if (same_kind(t, first)) fill_matrix(g, from, t, memory + (t->data - memory));
        }
    }
}

static rill_status build(rill__model *m, rill_type type, rill_mix mix, uint64_t seed,
                         rill_error *err) {
    if (!rill__mix_exists(type, mix))
        return rill__fail(err, RILL_EINVAL,
                          "%s: weights of type number %d, mix %d: there is no such",
                          m->description.name, (int)type, (int)mix);
    size_t n = rill__parameters_count(m->description.n_layers);
    m->parameters = rill__calloc(n, sizeof *m->parameters);
    if (!m->parameters)
        return rill__fail_memory(err, "the table of weights", n * sizeof *m->parameters);
    layout l = {.m = m, .type = type, .mix = mix};
    rill_status status = RILL_OK;
    for (int role = 0; role < RILL_WEIGHTS && status == RILL_OK; role++) {
        uint32_t times = role < RILL_WEIGHTS_GLOBAL ? 1 : m->description.n_layers;
        if (!rill__weight_needed(&m->description, (rill__weight_role)role)) continue;
        for (uint32_t layer = 0; layer < times && status == RILL_OK; layer++)
            status = place(&l, (rill__weight_role)role, layer, err);
    }
    if (status != RILL_OK) return status;
    pool from = {.data = rill__malloc(POOL_VALUES * sizeof(float))};
    m->file.memory = rill__map_memory(l.bytes);
    m->file.memory_bytes = l.bytes;
    if (from.data && m->file.memory) {
        generator g;
        rill__random_seed(g.s, seed);
        fill_all(m, &g, &from);
    } else {
        status = rill__fail_memory(err, m->description.name, l.bytes);
    }
    rill__free(from.data);
    return status;
}

rill_status rill__model_synthesize(const char *shape, rill_type type, rill_mix mix, uint64_t seed,
                                   rill__model **out, rill_error *err) {
    rill__model *m = rill__calloc(1, sizeof *m);
    if (!m) return rill__fail_memory(err, "a model", sizeof *m);
    rill_status status = RILL_OK;
    if (rill__shape_describe(shape, &m->description)) {
        rill__description *d = &m->description;
        if (d->position == RILL_POSITION_ALIBI)
            status = rill__alibi_slopes(d, d->alibi_bias_max, 1, false, err);
        if (status == RILL_OK) status = build(m, type, mix, seed, err);
    } else {
        char known[128];
        rill__shape_list(known, sizeof known);
        status = rill__fail(err, RILL_EINVAL,
                            "shape '%.60s': %s are known, or one of them with fewer "
                            "layers, as llama-7b:2",
                            shape, known);
    }
    if (status != RILL_OK) {
        rill__model_close(&m);
        return status;
    }
    rill__weights_summarise(m);
    *out = m;
    return RILL_OK;
}
