// SPDX-License-Identifier: MIT
// Finds each weight's tensor, checks its shape against the description, and cuts fused ones.
#include "model/weights.h"

#include <stdio.h>

enum { MAX_NAME = 160 };

size_t rill__parameters_count(uint32_t n_layers) {
    return RILL_WEIGHTS_GLOBAL + (size_t)n_layers * (RILL_WEIGHTS - RILL_WEIGHTS_GLOBAL);
}

size_t rill__parameter_index(rill__weight_role role, uint32_t layer) {
    if (role < RILL_WEIGHTS_GLOBAL) return role;
    return RILL_WEIGHTS_GLOBAL + (size_t)layer * (RILL_WEIGHTS - RILL_WEIGHTS_GLOBAL) +
           (role - RILL_WEIGHTS_GLOBAL);
}

typedef struct binding {
    rill__model *m;
    const rill__source *source;
    uint32_t biases;
    rill_error *err;
} binding;

// Rows [first, first + rows) of a matrix, or of a vector's entries. The type's bytes are known to
// be whole blocks a row: the readers see to it.
static rill__tensor view(const rill__tensor *t, uint64_t first, uint64_t rows) {
    uint64_t all = t->shape[0];
    size_t row_bytes = t->bytes / all;
    rill__tensor out = *t;
    out.shape[0] = rows;
    out.data += first * row_bytes;
    out.bytes = rows * row_bytes;
    return out;
}

static rill_status check_shape(const binding *b, const rill__tensor *t, const char *name,
                               uint64_t rows, uint64_t columns) {
    bool right = columns ? t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == columns
                         : t->n_dims == 1 && t->shape[0] == rows;
    // A vector is cut and permuted entry by entry, which blocks would not let it be.
    if (right && !columns && rill__type_traits_get(t->type)->block != 1)
        return rill__fail(b->err, RILL_EUNSUPPORTED,
                          "%s: tensor '%s': a vector of type %s; f32, f16 and bf16 are known",
                          b->source->path, name, rill_type_name(t->type));
    if (right) return RILL_OK;
    char found[96], wanted[48];
    size_t n = 0;
    for (uint32_t i = 0; i < t->n_dims && n < sizeof found; i++)
        n += (size_t)snprintf(found + n, sizeof found - n, "%s%llu", i ? ", " : "",
                              (unsigned long long)t->shape[i]);
    snprintf(wanted, sizeof wanted, columns ? "%llu, %llu" : "%llu", (unsigned long long)rows,
             (unsigned long long)columns);
    return rill__fail(b->err, RILL_EFORMAT, "%s: tensor '%s': shape [%s]; [%s] is right",
                      b->source->path, name, found, wanted);
}

// The weight (or bias) of one name in one layer, given to its roles.
static rill_status bind_one(const binding *b, const rill__weight_name *entry, uint32_t layer,
                            bool bias) {
    const rill__description *d = &b->m->description;
    char name[MAX_NAME];
    uint64_t rows = 0, columns = 0;
    for (uint32_t i = 0; i < entry->n_roles; i++) {
        uint64_t more;
        rill__weight_shape(d, entry->roles[i], &more, &columns);
        rows += more;
    }
    if (bias && columns == 0) return RILL_OK;  // no family's norm has one yet
    if (bias) columns = 0;
    bool needed =
        bias ? (b->biases >> entry->roles[0] & 1) != 0 : rill__weight_needed(d, entry->roles[0]);
    if (!needed && !(bias && b->source->is_gguf)) return RILL_OK;
    const rill__tensor *t = NULL;
    if (rill__weight_name_make(entry->name, layer, bias ? ".bias" : ".weight", name, sizeof name))
        t = rill__source_tensor(b->source, name);
    if (!t && !needed) return RILL_OK;
    if (!t)
        return rill__fail(b->err, RILL_EFORMAT, "%s: tensor '%s': it is missing%s", b->source->path,
                          name, b->source->is_gguf ? "" : ", or not F32, F16 or BF16");
    rill_status status = check_shape(b, t, name, rows, columns);
    if (status != RILL_OK) return status;
    uint64_t first = 0;
    for (uint32_t i = 0; i < entry->n_roles; i++) {
        rill__parameter *p = &b->m->parameters[rill__parameter_index(entry->roles[i], layer)];
        rill__weight_shape(d, entry->roles[i], &rows, &columns);
        *(bias ? &p->bias : &p->weight) = view(t, first, rows);
        first += rows;
    }
    return RILL_OK;
}

rill_status rill__weights_bind(rill__model *m, const rill__family *family,
                               const rill__source *source, uint32_t biases, rill_error *err) {
    const binding b = {m, source, biases, err};
    uint32_t n_layers = m->description.n_layers;
    size_t n = rill__parameters_count(n_layers);
    m->parameters = rill__calloc(n, sizeof *m->parameters);
    if (!m->parameters)
        return rill__fail_memory(err, "the table of weights", n * sizeof *m->parameters);
    const rill__weight_name *names = source->is_gguf ? family->gguf_names : family->names;
    for (; names->name; names++) {
        uint32_t times = names->roles[0] < RILL_WEIGHTS_GLOBAL ? 1 : n_layers;
        for (uint32_t layer = 0; layer < times; layer++) {
            rill_status status = bind_one(&b, names, layer, false);
            if (status == RILL_OK) status = bind_one(&b, names, layer, true);
            if (status != RILL_OK) return status;
        }
    }
    return RILL_OK;
}
