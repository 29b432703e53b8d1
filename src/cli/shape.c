// SPDX-License-Identifier: MIT
// The sizes of a model that one does not have, as --shape gives them.
#include "cli/shape.h"

#include "base/number.h"

#include <stdio.h>
#include <string.h>

// One NAME=NUMBER of --shape.
static rill_status shape_field(const char *part, rill_model_info *m, rill_error *err) {
    const struct {
        const char *name;
        uint32_t *at;
    } fields[] = {{"layers", &m->n_layers},   {"hidden", &m->hidden_size},
                  {"heads", &m->n_heads},     {"kv", &m->n_kv_heads},
                  {"head_dim", &m->head_dim}, {"ffn", &m->ffn_size},
                  {"vocab", &m->vocab_size},  {"context", &m->trained_context}};
    size_t length = strcspn(part, "=");
    for (size_t i = 0; part[length] && i < sizeof fields / sizeof *fields; i++) {
        uint64_t value;
        if (strlen(fields[i].name) != length || memcmp(part, fields[i].name, length) != 0) continue;
        if (!rill__number_whole(part + length + 1, &value) || value == 0 || value > 1u << 30) break;
        *fields[i].at = (uint32_t)value;
        return RILL_OK;
    }
    return rill__fail(err, RILL_EINVAL,
                      "--shape: '%s': wants a number for layers, hidden, heads, kv, head_dim, ffn, "
                      "vocab or context",
                      part);
}

// A known name, or layers=24,hidden=768,heads=12: heads and head_dim follow from each other.
rill_status rill__shape_parse(const char *text, rill_model_info *m, rill_error *err) {
    memset(m, 0, sizeof *m);
    if (rill_shape_get(text, m)) return RILL_OK;
    if (!strchr(text, '=')) {
        char names[128] = "";
        const char *name;
        for (size_t i = 0; (name = rill_shape_name(i)); i++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s, ", name);
        return rill__fail(err, RILL_EINVAL,
                          "--shape: '%.60s': wants %sor layers=24,hidden=768,heads=12", text,
                          names);
    }
    for (const char *rest = text; rest;) {
        char part[64];
        const char *comma = strchr(rest, ',');
        size_t length = comma ? (size_t)(comma - rest) : strlen(rest);
        snprintf(part, sizeof part, "%.*s", (int)(length < 63 ? length : 63), rest);
        rill_status status = shape_field(part, m, err);
        if (status != RILL_OK) return status;
        rest = comma ? comma + 1 : NULL;
    }
    if (!m->n_layers || !m->n_heads || (!m->hidden_size && !m->head_dim))
        return rill__fail(err, RILL_EINVAL,
                          "--shape: '%.60s': wants layers, heads, and hidden or head_dim", text);
    if (!m->n_kv_heads) m->n_kv_heads = m->n_heads;
    if (m->n_heads % m->n_kv_heads)
        return rill__fail(err, RILL_EINVAL, "--shape: kv=%u does not divide heads=%u",
                          m->n_kv_heads, m->n_heads);
    if (!m->head_dim) {
        m->head_dim = m->hidden_size / m->n_heads;
        if (m->hidden_size % m->n_heads)
            return rill__fail(err, RILL_EINVAL, "--shape: hidden=%u is not a multiple of heads=%u",
                              m->hidden_size, m->n_heads);
    }
    if (!m->hidden_size) m->hidden_size = m->n_heads * m->head_dim;
    snprintf(m->name, sizeof m->name, "%s", text);
    return RILL_OK;
}
