// SPDX-License-Identifier: MIT
// Converts a model to GGUF: one tensor after the other, a tile of rows at a time, through float
// unless the type stays. A tile's rows are shared out among threads. Memory does not grow with the
// model.
#include "model/convert.h"

#include "base/pool.h"
#include "model/mix.h"
#include "model/weights.h"

#include <stdio.h>
#include <string.h>

enum { TILE_VALUES = 1 << 20, PIECE_VALUES = 1 << 13, MAX_NAME = 64 };

typedef struct conversion {
    const rill__model *m;
    const rill__family *family;
    rill_type type;
    rill_mix mix;
    rill__pool *pool;
    rill__gguf_writer writer;
    rill_progress_fn progress;
    void *user;
    const char *target;
    uint64_t done;  // bytes of data written
    uint64_t total;
    float *values;  // a row for each thread
    size_t row_values;
    uint8_t *coded;  // a tile, as stored
    rill_error *err;
} conversion;

// A tensor to write: the rows of one parameter, or of several one after the other.
typedef struct output {
    const rill__weight_name *name;
    uint32_t layer;
    bool bias;
    uint32_t n_dims;
    uint64_t shape[2];
    rill_type type;
} output;

static const rill__tensor *part_of(const conversion *c, const output *o, uint32_t i) {
    rill__weight_role role = o->name->roles[i];
    if (role == RILL_WEIGHT_OUTPUT && c->m->description.tied_embeddings && c->family->gguf_untied)
        role = RILL_WEIGHT_EMBEDDING;
    const rill__parameter *p = rill__model_parameter(c->m, role, o->layer);
    return o->bias ? &p->bias : &p->weight;
}

static bool is_expert(const conversion *c, rill__weight_role role) {
    return c->m->description.n_experts &&
           (role == RILL_WEIGHT_GATE || role == RILL_WEIGHT_UP || role == RILL_WEIGHT_DOWN);
}

// False if the model has no such tensor.
static bool find_output(const conversion *c, const rill__weight_name *name, uint32_t layer,
                        bool bias, output *o) {
    *o = (output){.name = name, .layer = layer, .bias = bias};
    const rill__tensor *first = part_of(c, o, 0);
    if (!first->data) return false;
    o->n_dims = first->n_dims;
    o->shape[1] = first->n_dims == 2 ? first->shape[1] : 1;
    for (uint32_t i = 0; i < name->n_roles; i++) o->shape[0] += part_of(c, o, i)->shape[0];
    // A router's small differences decide which experts work; MXFP4 is what experts were trained
    // in.
    if (o->n_dims == 1 || name->roles[0] == RILL_WEIGHT_ROUTER)
        o->type = RILL_TYPE_F32;
    else if (first->type == RILL_TYPE_MXFP4 && is_expert(c, name->roles[0]))
        o->type = first->type;
    else
        o->type = rill__mix_choose(&c->m->description, c->type, c->mix, name->roles, name->n_roles,
                                   layer, o->shape[1]);
    return true;
}

typedef rill_status (*output_fn)(conversion *c, const output *o);

// All tensors in the order of the file.
static rill_status each_output(conversion *c, output_fn fn) {
    rill_status status = RILL_OK;
    for (const rill__weight_name *name = c->family->gguf_names; name->name; name++) {
        if (name->residuals && !(name->residuals >> c->m->description.residual & 1)) continue;
        uint32_t times = name->roles[0] < RILL_WEIGHTS_GLOBAL ? 1 : c->m->description.n_layers;
        for (uint32_t i = 0; i < 2 * times && status == RILL_OK; i++) {
            output o;
            if (find_output(c, name, i / 2, i % 2 != 0, &o)) status = fn(c, &o);
        }
    }
    return status;
}

static rill_status announce(conversion *c, const output *o) {
    char name[MAX_NAME];
    // Experts have a dimension of their own.
    uint64_t n = c->m->description.n_experts, shape[3] = {o->shape[0], o->shape[1]};
    uint32_t n_dims = o->n_dims;
    if (is_expert(c, o->name->roles[0])) {
        n_dims++;
        shape[0] = n;
        shape[1] = o->shape[0] / n;
        shape[2] = o->shape[1];
    }
    if (!rill__weight_name_make(o->name->name, o->layer, o->bias ? ".bias" : ".weight", name,
                                sizeof name))
        return rill__fail(c->err, RILL_EINVAL, "%s: a name is too long", c->target);
    rill__gguf_add_tensor(&c->writer, name, o->type, n_dims, shape);
    return c->writer.status;
}

static rill_status report(conversion *c, size_t bytes) {
    c->done += bytes;
    if (c->progress && !c->progress(c->user, c->done, c->total))
        return rill__fail(c->err, RILL_EINTERRUPTED, "%s: interrupted; nothing was written",
                          c->target);
    return RILL_OK;
}

// GGUF's llama has pairs (2i, 2i + 1) where the directory has (i, i + half): the row of a head in
// the source for its row in the file.
static uint64_t source_row(const conversion *c, rill__weight_role role, uint64_t row) {
    const rill__description *d = &c->m->description;
    bool turned = (role == RILL_WEIGHT_Q || role == RILL_WEIGHT_K) && c->family->gguf_interleaved &&
                  !d->rope.interleaved;
    if (!turned) return row;
    uint64_t half = d->head_dim / 2, in_head = row % d->head_dim;
    return row - in_head + in_head % 2 * half + in_head / 2;
}

// Rows [first, first + n) of a matrix, in the file's order. A vector's entries are rows of one
// value: biases of queries are permuted like the weights.
typedef struct tile {
    conversion *c;
    const rill__tensor *from;
    rill__weight_role role;
    rill_type type;
    size_t columns;
    uint64_t first, n;
    uint64_t piece;  // rows that a thread takes at once
} tile;

static size_t row_bytes(rill_type type, size_t columns) {
    const rill__type_traits *t = rill__type_traits_get(type);
    return columns / t->block * t->block_bytes;
}

// A piece of a tile becomes the file's type.
static void encode_piece(void *context, size_t piece, unsigned thread) {
    const tile *t = context;
    float *values = t->c->values + thread * t->c->row_values;
    size_t from_row = row_bytes(t->from->type, t->columns), to_row = row_bytes(t->type, t->columns);
    uint64_t begin = piece * t->piece, end = begin + t->piece < t->n ? begin + t->piece : t->n;
    for (uint64_t i = begin; i < end; i++) {
        const uint8_t *row = t->from->data + source_row(t->c, t->role, t->first + i) * from_row;
        uint8_t *to = t->c->coded + i * to_row;
        if (t->from->type == t->type) {
            memcpy(to, row, to_row);
        } else {
            rill__type_traits_get(t->from->type)->to_float(row, values, t->columns);
            rill__type_traits_get(t->type)->from_float(values, to, t->columns);
        }
    }
}

// How many rows of `columns` make about that many values; at least one.
static uint64_t rows_of(uint64_t values, size_t columns) {
    return columns < values ? values / columns : 1;
}

static rill_status write_part(conversion *c, const output *o, uint32_t part) {
    tile t = {.c = c, .from = part_of(c, o, part), .role = o->name->roles[part], .type = o->type};
    uint64_t rows = t.from->shape[0];
    t.columns = o->n_dims == 2 ? o->shape[1] : 1;
    t.piece = rows_of(PIECE_VALUES, t.columns);
    uint64_t step = rows_of(TILE_VALUES, t.columns);
    rill_status status = RILL_OK;
    for (t.first = 0; t.first < rows && status == RILL_OK; t.first += step) {
        t.n = rows - t.first < step ? rows - t.first : step;
        rill__pool_run(c->pool, (t.n + t.piece - 1) / t.piece, encode_piece, &t);
        size_t bytes = t.n * row_bytes(o->type, t.columns);
        status = rill__gguf_write_data(&c->writer, c->coded, bytes);
        if (status == RILL_OK) status = report(c, bytes);
    }
    return status;
}

static rill_status write_output(conversion *c, const output *o) {
    rill_status status = RILL_OK;
    for (uint32_t i = 0; i < o->name->n_roles && status == RILL_OK; i++)
        status = write_part(c, o, i);
    return status == RILL_OK ? rill__gguf_end_tensor(&c->writer) : status;
}

static rill_status write_rope(conversion *c, const rill__rope_tensor *t) {
    size_t bytes = t->n * sizeof *t->values;
    rill_status status = rill__gguf_write_data(&c->writer, t->values, bytes);
    if (status == RILL_OK) status = rill__gguf_end_tensor(&c->writer);
    return status == RILL_OK ? report(c, bytes) : status;
}

static uint64_t widest_row(const rill__description *d) {
    uint64_t widest = 1;
    for (int role = 0; role < RILL_WEIGHTS; role++) {
        uint64_t rows, columns;
        rill__weight_shape(d, (rill__weight_role)role, &rows, &columns);
        if (columns > widest) widest = columns;
    }
    return widest;
}

static rill_status write_all(conversion *c) {
    rill__rope_tensor ropes[2];
    size_t n_ropes = 0;
    c->row_values = widest_row(&c->m->description);
    size_t values = c->row_values * rill__pool_threads(c->pool);
    size_t most = c->row_values > TILE_VALUES ? c->row_values : TILE_VALUES;
    c->values = rill__malloc(values * sizeof *c->values);
    c->coded = rill__malloc(most * sizeof(float));
    rill_status status = c->values && c->coded ? RILL_OK
                                               : rill__fail_memory(c->err, "some rows",
                                                                   (values + most) * sizeof(float));
    if (status == RILL_OK) status = rill__convert_rope(&c->m->description, ropes, &n_ropes, c->err);
    if (status == RILL_OK)
        status = rill__convert_metadata(&c->writer, c->m, c->family, c->type, c->mix, c->err);
    for (size_t i = 0; i < n_ropes && status == RILL_OK; i++)
        rill__gguf_add_tensor(&c->writer, ropes[i].name, RILL_TYPE_F32, 1, &ropes[i].n);
    if (status == RILL_OK) status = each_output(c, announce);
    c->total = c->writer.data_bytes;
    if (status == RILL_OK) status = rill__gguf_writer_begin(&c->writer, c->target);
    for (size_t i = 0; i < n_ropes && status == RILL_OK; i++) status = write_rope(c, &ropes[i]);
    if (status == RILL_OK) status = each_output(c, write_output);
    if (status == RILL_OK) status = report(c, (size_t)(c->total - c->done));
    if (status == RILL_OK) status = rill__gguf_writer_finish(&c->writer);
    for (size_t i = 0; i < n_ropes; i++) rill__free(ropes[i].values);
    return status;
}

void rill_convert_options_default(rill_convert_options *options) {
    *options = (rill_convert_options){.type = RILL_TYPE_Q8_0};
}

rill_status rill_convert(const char *source, const char *target,
                         const rill_convert_options *options, rill_progress_fn progress, void *user,
                         rill_error *err) {
    rill_convert_options defaults;
    rill_convert_options_default(&defaults);
    if (!options) options = &defaults;
    if (!rill__mix_exists(options->type, options->mix))
        return rill__fail(err, RILL_EINVAL,
                          "%s: weights of type number %d, mix %d: there is no such", target,
                          (int)options->type, (int)options->mix);
    rill__model *m;
    rill_status status = rill__model_open(source, &m, err);
    if (status != RILL_OK) return status;
    conversion c = {.m = m,
                    .family = rill__family_find(m->description.family),
                    .type = options->type,
                    .mix = options->mix,
                    .progress = progress,
                    .user = user,
                    .target = target,
                    .err = err};
    status = rill__pool_open(options->threads, &c.pool, err);
    if (status == RILL_OK) {
        rill__gguf_writer_init(&c.writer, err);
        status = write_all(&c);
        rill__gguf_writer_deinit(&c.writer);
        rill__pool_close(&c.pool);
    }
    rill__free(c.values);
    rill__free(c.coded);
    rill__model_close(&m);
    return status;
}
