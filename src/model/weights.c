// SPDX-License-Identifier: MIT
// Finds each weight's tensor, checks its shape against the description, and cuts fused ones.
#include "model/weights.h"

#include "model/repack.h"

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

static rill_status bad_shape(const binding *b, const rill__tensor *t, const char *name,
                             uint64_t rows, uint64_t columns) {
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

// Checks a tensor against [rows, columns], or [rows] if there are no columns. GGUF has experts in a
// dimension of their own: *flat has them one below the other.
static rill_status check_shape(const binding *b, const rill__tensor *t, const char *name,
                               uint64_t rows, uint64_t columns, rill__tensor *flat) {
    uint32_t n_dims = columns ? 2 : 1;
    uint64_t experts = b->m->description.n_experts;
    *flat = *t;
    if (experts && t->n_dims == n_dims + 1 && t->shape[0] == experts) {
        *flat = (rill__tensor){t->name, t->type, n_dims, {1, 1, 1, 1}, t->data, t->bytes};
        flat->shape[0] = experts * t->shape[1];
        if (columns) flat->shape[1] = t->shape[2];
    }
    if (flat->n_dims != n_dims || flat->shape[0] != rows || (columns && flat->shape[1] != columns))
        return bad_shape(b, t, name, rows, columns);
    // A vector is cut and permuted entry by entry, which blocks would not let it be.
    if (!columns && rill__type_traits_get(t->type)->block != 1)
        return rill__fail(b->err, RILL_EUNSUPPORTED,
                          "%s: tensor '%s': a vector of type %s; f32, f16 and bf16 are known",
                          b->source->path, name, rill_type_name(t->type));
    return RILL_OK;
}

// Rows and columns of an entry's tensor, all its roles together.
static void entry_shape(const rill__description *d, const rill__weight_name *entry, bool bias,
                        uint64_t *rows, uint64_t *columns) {
    *rows = 0;
    for (uint32_t i = 0; i < entry->n_roles; i++) {
        uint64_t more;
        rill__weight_shape(d, entry->roles[i], &more, columns);
        *rows += more;
    }
    if (bias) *columns = 0;
}

// Gives a tensor's rows to the roles, in order.
static rill_status give_rows(const binding *b, const rill__weight_name *entry, uint32_t layer,
                             bool bias, const rill__tensor *t) {
    uint64_t first = 0, rows, columns;
    for (uint32_t i = 0; i < entry->n_roles; i++) {
        rill__parameter *p = &b->m->parameters[rill__parameter_index(entry->roles[i], layer)];
        rill__weight_shape(&b->m->description, entry->roles[i], &rows, &columns);
        *(bias ? &p->bias : &p->weight) = view(t, first, rows);
        first += rows;
    }
    return RILL_OK;
}

// The weight (or bias) of one name in one layer, given to its roles.
static rill_status bind_one(const binding *b, const rill__weight_name *entry, uint32_t layer,
                            bool bias) {
    const rill__description *d = &b->m->description;
    char name[MAX_NAME];
    bool needed = rill__weight_needed(d, entry->roles[0]);
    if (!needed || (bias && entry->whole_name)) return RILL_OK;
    if (bias) needed = (b->biases >> entry->roles[0] & 1) != 0;
    if (!needed && !b->source->is_gguf) return RILL_OK;
    const char *suffix = entry->whole_name ? "" : bias ? ".bias" : ".weight";
    const rill__tensor *t = NULL;
    if (rill__weight_name_make(entry->name, layer, suffix, name, sizeof name))
        t = rill__source_tensor(b->source, name);
    if (!t && !needed) return RILL_OK;
    if (!t)
        return rill__fail(b->err, RILL_EFORMAT, "%s: tensor '%s': it is missing%s", b->source->path,
                          name, b->source->is_gguf ? "" : ", or not F32, F16 or BF16");
    uint64_t rows, columns;
    rill__tensor flat;
    entry_shape(d, entry, bias, &rows, &columns);
    rill_status status = check_shape(b, t, name, rows, columns, &flat);
    if (status != RILL_OK) return status;
    if (entry->layout == RILL_LAYOUT_OFFSET)
        return rill__repack_offset(b->m, entry, layer, &flat, b->err);
    // A single group is in the order of roles as it is.
    if (entry->layout == RILL_LAYOUT_GROUPS && d->n_kv_heads > 1)
        return rill__repack_groups(b->m, entry, layer, bias, &flat, b->err);
    return give_rows(b, entry, layer, bias, &flat);
}

static rill_status bind_entry(const binding *b, const rill__weight_name *entry, uint32_t layer) {
    if (entry->layout == RILL_LAYOUT_EXPERTS)
        return rill__repack_experts(b->m, b->source, entry, layer, b->err);
    rill_status status = bind_one(b, entry, layer, false);
    return status == RILL_OK ? bind_one(b, entry, layer, true) : status;
}

// The forward pass reads every weight that the description asks for: a family whose files have no
// tensor for one (a router, say, because the file speaks of experts) has left it empty.
static rill_status check_bound(const binding *b) {
    const rill__description *d = &b->m->description;
    for (int i = 0; i < RILL_WEIGHTS; i++) {
        rill__weight_role role = (rill__weight_role)i;
        uint32_t times = role < RILL_WEIGHTS_GLOBAL ? 1 : d->n_layers;
        for (uint32_t layer = 0; layer < times && rill__weight_needed(d, role); layer++)
            if (!rill__model_parameter(b->m, role, layer)->weight.data) {
                char where[32] = "";
                if (role >= RILL_WEIGHTS_GLOBAL) snprintf(where, sizeof where, "layer %u: ", layer);
                return rill__fail(b->err, RILL_EFORMAT,
                                  "%s: %s%s: the model needs it, and family '%s' has no tensor of "
                                  "that kind",
                                  b->source->path, where, rill__weight_role_name(role), d->family);
            }
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
        if (names->residuals && !(names->residuals >> m->description.residual & 1)) continue;
        uint32_t times = names->roles[0] < RILL_WEIGHTS_GLOBAL ? 1 : n_layers;
        for (uint32_t layer = 0; layer < times; layer++) {
            rill_status status = bind_entry(&b, names, layer);
            if (status != RILL_OK) return status;
        }
    }
    return check_bound(&b);
}
