// SPDX-License-Identifier: MIT
// Packed weights to bytes and scales in memory, for rows of activations that meet them there.
// Include after unpack_tmpl.h.

#define EXPAND(name, ...)                                                                          \
    static void NAME(expand_##name)(const uint8_t *packed, rill__whole *w) {                       \
        for (size_t lane = 0; lane < RILL_CPU_TILE; lane += LANES) {                               \
            lanes at = lanes_at(packed, w, lane);                                                  \
            if (w->k == RILL_CPU_CHUNK)                                                            \
                unpack_##name(at, RILL_CPU_CHUNK);                                                 \
            else                                                                                   \
                unpack_##name(at, w->k);                                                           \
        }                                                                                          \
    }
RILL_WHOLE_TYPES(EXPAND)
#undef EXPAND

static void NAME(expand_slots)(rill__cpu_kernels *k) {
#define SLOT(name, TYPE, ...) k->expand[RILL_TYPE_##TYPE] = NAME(expand_##name);
    RILL_WHOLE_TYPES(SLOT)
#undef SLOT
}
