// SPDX-License-Identifier: MIT
// The reference of products of whole numbers: quantised activations, packed weights expanded to
// bytes, and their product. Layouts of the types are those of src/format (types.c, k_quants.c).
#include "backend/cpu/kernels.h"
#include "backend/cpu/pack.h"

#include <math.h>
#include <string.h>

static void quantize_whole_c(const float *x, const rill__whole_rows *rows, size_t r) {
    const rill__whole_row at = rill__whole_row_at(rows, r), *row = &at;
    const float most = (float)rill__whole_most(rows->parts);
    for (size_t b = 0; b < rows->columns / RILL_WHOLE_BLOCK; b++) {
        const float *from = x + b * RILL_WHOLE_BLOCK;
        float greatest = 0;
        bool finite = true;
        for (int i = 0; i < RILL_WHOLE_BLOCK; i++) {
            greatest = fmaxf(greatest, fabsf(from[i]));
            finite = finite && isfinite(from[i]);
        }
        float inverse = finite && greatest >= RILL_WHOLE_LEAST ? most / greatest : 0;
        row->d[b] = finite ? greatest / most : NAN;
        row->sums[0][2 * b] = row->sums[0][2 * b + 1] = 0;
        int8_t *bytes = row->bytes + rill__whole_byte_at(b * RILL_WHOLE_BLOCK, rows->parts);
        for (size_t i = 0; i < RILL_WHOLE_BLOCK; i++) {
            int whole = inverse > 0 ? (int)nearbyintf(from[i] * inverse) : 0;
            int coarse = rows->parts == 2 ? (whole + 128) >> 8 : 0;
            size_t pair = i % 4 == 1 ? i + 1 : i % 4 == 2 ? i - 1 : i;
            row->x[b * RILL_WHOLE_BLOCK + pair] = (int16_t)whole;
            if (rows->parts == 2) bytes[i] = (int8_t)coarse;
            bytes[(rows->parts - 1) * RILL_WHOLE_BLOCK + (int)i] = (int8_t)(whole - 256 * coarse);
            row->sums[0][2 * b + i / 16] += whole;
        }
        row->sums[1][b] = row->sums[0][2 * b] + row->sums[0][2 * b + 1];
    }
}

// The sum of (q - zero) * x over a run of weight row o that begins at column c.
static int32_t run_product(const rill__whole *w, const rill__whole_row *x, int parts, size_t c,
                           size_t o) {
    int32_t sum = 0;
    for (size_t i = 0; i < w->format.run; i++) {
        const int8_t *bytes = x->bytes + rill__whole_byte_at(w->first + c, parts) + i;
        int q = w->q[((c + i) / 4 * RILL_CPU_TILE + o) * 4 + i % 4];
        int number = parts == 2 ? 256 * bytes[0] + bytes[RILL_WHOLE_BLOCK] : bytes[0];
        sum += (q - w->format.zero) * number;
    }
    return sum;
}

static void product_whole_c(const rill__whole *w, const rill__whole_rows *rows, float *sums) {
    size_t run = w->format.run;
    for (size_t i = 0; i < rows->n_rows * RILL_CPU_TILE; i++) {
        size_t o = i % RILL_CPU_TILE;
        const rill__whole_row x = rill__whole_row_at(rows, i / RILL_CPU_TILE);
        for (size_t c = 0; c < w->k; c += run) {
            float dx = x.d[(w->first + c) / RILL_WHOLE_BLOCK];
            size_t at = c / run * RILL_CPU_TILE + o;
            sums[i] = fmaf((float)run_product(w, &x, rows->parts, c, o), w->d[at] * dx, sums[i]);
            if (w->format.zero) continue;
            float sum = (float)x.sums[run == 32][(w->first + c) / run];
            sums[i] = fmaf(-w->m[at], dx * sum, sums[i]);
        }
    }
}

static float half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return rill__f16_to_f32(h);
}

// The low halves of 16 bytes, then the high ones.
static void nibbles(const uint8_t *p, uint8_t *q) {
    for (int j = 0; j < 16; j++) {
        q[j] = p[j] & 15;
        q[j + 16] = p[j] >> 4;
    }
}

// Value j's fifth bit is bit j of four bytes.
static void fifth_bits(const uint8_t *p, uint8_t *q) {
    for (int j = 0; j < 32; j++) q[j] = (uint8_t)(q[j] | (p[j / 8] >> (j % 8) & 1) << 4);
}

static void unpack_q8_0_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 32, b += 34, d++) {
        *d = half_at(b);
        for (int j = 0; j < 32; j++) q[i + j] = b[2 + j] ^ 0x80;
    }
}

static void unpack_q4_0_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 32, b += 18, d++) {
        *d = half_at(b);
        nibbles(b + 2, q + i);
    }
}

static void unpack_q4_1_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 32, b += 20, d++, m++) {
        *d = half_at(b);
        *m = -half_at(b + 2);
        nibbles(b + 4, q + i);
    }
}

static void unpack_q5_0_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 32, b += 22, d++) {
        *d = half_at(b);
        nibbles(b + 6, q + i);
        fifth_bits(b + 2, q + i);
    }
}

static void unpack_q5_1_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 32, b += 24, d++, m++) {
        *d = half_at(b);
        *m = -half_at(b + 2);
        nibbles(b + 8, q + i);
        fifth_bits(b + 4, q + i);
    }
}

static void unpack_q2_k_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 256, b += 84) {
        for (int j = 0; j < 256; j++)
            q[i + j] = b[16 + 32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3;
        for (int j = 0; j < 16; j++, d++, m++) {
            *d = half_at(b + 80) * (float)(b[j] & 15);
            *m = half_at(b + 82) * (float)(b[j] >> 4);
        }
    }
}

static void unpack_q3_k_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 256, b += 110) {
        for (int j = 0; j < 256; j++) {
            int low = b[32 + 32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3;
            q[i + j] = (uint8_t)(low | (b[j % 32] >> (j / 32) & 1) << 2);
        }
        const uint8_t *s = b + 96;
        for (int j = 0; j < 16; j++, d++) {
            int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
            int scale = low | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4;
            *d = half_at(b + 108) * (float)(scale - 32);
        }
    }
}

// One super-block of q4_K, or of q5_K with its fifth bits.
static void nibbles_k(const uint8_t *b, const uint8_t *fifth, const uint8_t *from, uint8_t *q,
                      float *d, float *m) {
    const uint8_t *s = b + 4;
    for (int j = 0; j < 8; j++) {
        int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        int minimum = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
        d[j] = half_at(b) * (float)scale;
        m[j] = half_at(b + 2) * (float)minimum;
        for (int i = 0; i < 32; i++) {
            int value = from[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
            if (fifth) value |= (fifth[i] >> j & 1) << 4;
            q[j * 32 + i] = (uint8_t)value;
        }
    }
}

static void unpack_q4_k_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 256, b += 144, d += 8, m += 8)
        nibbles_k(b, NULL, b + 16, q + i, d, m);
}

static void unpack_q5_k_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    for (size_t i = 0; i < n; i += 256, b += 176, d += 8, m += 8)
        nibbles_k(b, b + 16, b + 48, q + i, d, m);
}

static void unpack_q6_k_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 256, b += 210) {
        for (int j = 0; j < 256; j++) {
            int half = j / 128, group = j % 128 / 32, column = j % 32;
            int low = b[64 * half + 32 * (group & 1) + column] >> (4 * (group >> 1)) & 15;
            q[i + j] = (uint8_t)(low | (b[128 + 32 * half + column] >> (2 * group) & 3) << 4);
        }
        for (int j = 0; j < 16; j++, d++) *d = half_at(b + 208) * (float)(int8_t)b[192 + j];
    }
}

// ggml's kvalues_iq4nl, 128 above what they are.
static const uint8_t levels_iq4[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                       129, 141, 153, 166, 181, 197, 217, 241};

static void levels(const uint8_t *table, const uint8_t *from, uint8_t *q) {
    nibbles(from, q);
    for (int j = 0; j < 32; j++) q[j] = table[q[j]];
}

static void unpack_iq4_nl_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 32, b += 18, d++) {
        *d = half_at(b);
        levels(levels_iq4, b + 2, q + i);
    }
}

static void unpack_iq4_xs_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    for (size_t i = 0; i < n; i += 256, b += 136) {
        int high = b[2] | b[3] << 8;
        for (int j = 0; j < 8; j++, d++) {
            int scale = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (high >> (2 * j) & 3) << 4;
            *d = half_at(b) * (float)(scale - 32);
            levels(levels_iq4, b + 8 + 16 * j, q + i + 32 * j);
        }
    }
}

// Twice the floats of 4 bits, so that they are whole, and 16 above: 0, 0.5, 1, 1.5, 2, 3, 4, 6, and
// the same below nought.
static void unpack_mxfp4_c(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m) {
    (void)m;
    static const uint8_t table[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};
    for (size_t i = 0; i < n; i += 32, b += 17, d++) {
        *d = b[0] == 255 ? NAN : ldexpf(1, b[0] - 128);
        levels(table, b + 1, q + i);
    }
}

typedef void (*unpack_fn)(const uint8_t *b, size_t n, uint8_t *q, float *d, float *m);

// Row by row, as blocks again.
static void expand_rows(rill_type type, unpack_fn unpack, const uint8_t *packed, rill__whole *w) {
    for (size_t o = 0; o < RILL_CPU_TILE; o++) {
        uint8_t blocks[RILL_PACKED_ROW_MOST], q[RILL_CPU_CHUNK];
        float d[RILL_CPU_CHUNK / 16] = {0}, m[RILL_CPU_CHUNK / 16] = {0};
        rill__unpack_row(type, packed, w->k, o, blocks);
        unpack(blocks, w->k, q, d, m);
        for (size_t c = 0; c < w->k; c++) w->q[(c / 4 * RILL_CPU_TILE + o) * 4 + c % 4] = q[c];
        for (size_t r = 0; r < w->k / w->format.run; r++) {
            w->d[r * RILL_CPU_TILE + o] = d[r];
            if (!w->format.zero) w->m[r * RILL_CPU_TILE + o] = m[r];
        }
    }
}

#define EXPAND(name, TYPE, ...)                                                                    \
    static void expand_##name##_c(const uint8_t *packed, rill__whole *w) {                         \
        expand_rows(RILL_TYPE_##TYPE, unpack_##name##_c, packed, w);                               \
    }                                                                                              \
    static void product_row_##name##_c(const uint8_t *packed, rill__whole *w,                      \
                                       const rill__whole_rows *rows, float *sums) {                \
        expand_##name##_c(packed, w);                                                              \
        product_whole_c(w, rows, sums);                                                            \
    }
RILL_WHOLE_TYPES(EXPAND)

void rill__cpu_whole_ref(rill__cpu_kernels *k) {
    k->quantize_whole = quantize_whole_c;
    k->product_whole = product_whole_c;
#define SLOT(name, TYPE, ...)                                                                      \
    k->expand[RILL_TYPE_##TYPE] = expand_##name##_c;                                               \
    k->product_row[RILL_TYPE_##TYPE] = product_row_##name##_c;
    RILL_WHOLE_TYPES(SLOT)
}
