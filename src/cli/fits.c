// SPDX-License-Identifier: MIT
// Counts streams: the first takes all that rill_stream_estimate says, each one after it so much
// less as streams of a model share.
#include "cli/fits.h"

#include "cli/terminal.h"

#include "base/number.h"
#include "eval/room.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void find_memory(const rill_device *device, rill__fits *f) {
    if (rill_device_memory(device, &f->total, &f->available)) return;
    long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
    f->total = pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes : 0;
    f->available = rill__room();
}

static rill_status count(const rill_model *model, const rill_stream_options *o, uint64_t available,
                         uint64_t *bytes, uint64_t *n, rill_error *err) {
    rill_stream_bytes b;
    rill_status status = rill_stream_estimate(model, o, NULL, &b, err);
    if (status != RILL_OK) return status;
    *bytes = b.total - b.shared;
    *n = b.total > available || *bytes == 0 ? 0 : 1 + (available - b.total) / *bytes;
    return RILL_OK;
}

// Usual capacities that hold more than the sinks and no more than the model was trained on, and the
// one that is asked for or recommended, in order.
static size_t choose_capacities(const rill_stream_options *o, uint32_t most,
                                uint32_t out[RILL_FITS_CAPACITIES]) {
    static const uint32_t usual[] = {256, 1024, 2048, 4096};
    uint32_t own = o->sinks + o->window;
    size_t n = 0;
    bool there = false;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (!there && own <= usual[i]) {
            out[n++] = own;
            there = true;
        }
        if (usual[i] != own && usual[i] > o->sinks && usual[i] <= most) out[n++] = usual[i];
    }
    if (!there) out[n++] = own;
    return n;
}

rill_status rill__fits_find(const rill_device *device, const rill_model *model,
                            const rill__settings *s, rill__fits *out, rill_error *err) {
    rill__fits f = {.device = rill_device_describe(device),
                    .types = {RILL_TYPE_F16, RILL_TYPE_Q8_0, RILL_TYPE_Q4_0}};
    rill_stream_options o;
    rill_stream_bytes unused;
    rill_model_info info;
    rill_status status = rill_stream_estimate(model, &s->stream, &o, &unused, err);
    if (status != RILL_OK) return status;
    rill_model_get_info(model, &info);
    find_memory(device, &f);
    o.default_types = false;
    o.chunk = s->stream.chunk;  // half the window, if nothing was said
    f.n_capacities = choose_capacities(&o, info.trained_context, f.capacities);
    for (size_t row = 0; row < f.n_capacities; row++) {
        o.window = f.capacities[row] - o.sinks;
        for (size_t t = 0; status == RILL_OK && t < RILL_FITS_TYPES; t++) {
            o.key_type = o.value_type = f.types[t];
            status =
                count(model, &o, f.available, &f.stream_bytes[row][t], &f.n_streams[row][t], err);
        }
        if (status != RILL_OK) return status;
    }
    *out = f;
    return RILL_OK;
}

void rill__fits_print(const rill__fits *f) {
    char available[32], total[32] = "", number[32];
    rill__number_bytes(available, sizeof available, f->available);
    if (f->total) rill__number_bytes(total, sizeof total, f->total);
    rill__outputf("%-12s %s: %s%s%s free, with this model there\n", "device", f->device, available,
                  f->total ? " of " : "", total);
    if (!f->n_capacities) return;
    rill__outputf("%-12s that fit, by the tokens that they see and the type of the cache\n",
                  "streams");
    rill__outputf("%-12s %7s", "", "tokens");
    for (size_t t = 0; t < RILL_FITS_TYPES; t++) rill__outputf("%11s", rill_type_name(f->types[t]));
    rill__outputf("\n");
    for (size_t i = 0; i < f->n_capacities; i++) {
        rill__outputf("%-12s %7u", "", f->capacities[i]);
        for (size_t t = 0; t < RILL_FITS_TYPES; t++) {
            rill__number_grouped(number, sizeof number, f->n_streams[i][t]);
            rill__outputf("%11s", number);
        }
        rill__outputf("\n");
    }
}

void rill__fits_machine(const rill__fits *f, json_t *object) {
    json_object_set_new(object, "device", json_string(f->device));
    json_object_set_new(object, "memory_bytes", json_integer((json_int_t)f->total));
    json_object_set_new(object, "memory_available_bytes", json_integer((json_int_t)f->available));
    json_t *fits = json_array();
    for (size_t i = 0; i < f->n_capacities; i++)
        for (size_t t = 0; t < RILL_FITS_TYPES; t++)
            json_array_append_new(fits, json_pack("{s:i, s:s, s:I, s:I}", "capacity",
                                                  (int)f->capacities[i], "cache_type",
                                                  rill_type_name(f->types[t]), "stream_bytes",
                                                  (json_int_t)f->stream_bytes[i][t], "streams",
                                                  (json_int_t)f->n_streams[i][t]));
    json_object_set_new(object, "fits", fits);
}
