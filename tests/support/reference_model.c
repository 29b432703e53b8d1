// SPDX-License-Identifier: MIT
// Rounds the frequencies by giving each pair a factor of its own.
#include "support/reference_model.h"

#include "format/types.h"
#include "stream/handles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double through_type(double value, rill_type type) {
    const rill__type_traits *traits = rill__type_traits_get(type);
    float in = (float)value, out;
    uint32_t stored;
    traits->from_float(&in, &stored, 1);
    traits->to_float(&stored, &out, 1);
    return out;
}

static void round_frequencies(rill__model *m, rill__rope_description *r, uint64_t capacity) {
    if (m->weight_type == RILL_TYPE_F32) return;
    // transformers computes the long factors' table anew, when a text first needs it.
    if (r->scaling == RILL_ROPE_LONGROPE && capacity > r->original_context) return;
    double *factors = rill__calloc(r->n_dims / 2, sizeof *factors);
    if (!factors) abort();
    for (uint32_t i = 0; i < r->n_dims / 2; i++) {
        double right = rill__rope_frequency(r, m->description.trained_context, capacity, i);
        double base = pow(r->theta, -2.0 * i / r->n_dims);
        factors[i] = base / through_type(right, m->weight_type);
    }
    r->attention_factor = rill__rope_magnitude(r);
    r->scaling = RILL_ROPE_FACTORS;
    rill__free(r->short_factors);
    r->short_factors = factors;
}

rill_model *reference_model_open(rill_device *device, const char *directory, uint64_t capacity) {
    rill_error err;
    rill__model *files;
    rill_model *model;
    rill_status status = rill__model_open(directory, &files, &err);
    if (status == RILL_OK) {
        rill__description *d = &files->description;
        round_frequencies(files, &d->rope, capacity);
        if (d->local_rope) round_frequencies(files, d->local_rope, capacity);
        if (strcmp(d->family, "falcon") == 0 && d->alibi_slopes)
            for (uint32_t i = 0; i < d->n_heads; i++) d->alibi_slopes[i] *= 2;
        status = rill__model_wrap(device, files, &model, &err);
    }
    if (status == RILL_OK) return model;
    fprintf(stderr, "%s\n", err.message);
    abort();
}
