// SPDX-License-Identifier: MIT
// Packed weights (pack.h) to bytes and scales, LANES rows at a time, a row to a lane, for every
// tier: include after a vec_*.h and words_tmpl.h or bytes_tmpl.h. The bytes are stored for rows of
// activations that meet them later (expand_tmpl.h), or meet the only one at once (row_tmpl.h).
// What the bits mean is in ref/whole_ref.c.
#include "backend/cpu/kernels.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/simd/ahead_tmpl.h"

#define XINLINE static inline __attribute__((always_inline))
#ifdef RILL_SANITIZED  // every step is instrumented: unfolded, compilers would take minutes
#define UNFOLD
#else
#define UNFOLD _Pragma("GCC unroll 16")
#endif

// LANES rows of a chunk: where they are read, and where they go. run and parts are constant
// after inlining.
typedef struct lanes {
    const uint8_t *words;
    float *d, *m;
    uint8_t *q;  // bytes are stored here, or
    // there they meet columns [first, first + k) of x, whose runs have a sum each.
    whole_products *sums;
    const rill__whole_row *x;
    size_t first, run;
    int parts;
    ahead *next;  // asked for with every eight columns, in the order of memory
} lanes;

XINLINE lanes lanes_at(const uint8_t *packed, const rill__whole *w, size_t lane) {
    const uint8_t *words = packed + lane / RILL_PACKED_ROWS * RILL_PACKED_ROWS * w->row_bytes;
    return (lanes){.words = words + 4 * (lane % RILL_PACKED_ROWS),
                   .d = w->d + lane,
                   .m = w->m + lane,
                   .q = w->q + 4 * lane};
}

XINLINE vi word(lanes at, size_t i) {
    return vi_load(at.words + 4 * RILL_PACKED_ROWS * i);
}

XINLINE void put(lanes at, size_t column, vi bytes) {
    if (at.sums) {
        size_t block = column / RILL_WHOLE_BLOCK * RILL_WHOLE_BLOCK;
        whole_products *sum = at.sums + column / at.run;
        whole_activations four = activations_at(at.x, at.first + block, column - block, at.parts);
        if (column % 8 == 0) look_ahead(at.next, true);
        *sum = multiply_four(*sum, weights_of(bytes), four, at.parts);
    } else {
        vi_store(at.q + column * RILL_CPU_TILE, bytes);
    }
}

// Bits [shift, shift + n) of each byte, mask = 2^n - 1 four times.
XINLINE vi bits(vi v, int shift, int32_t mask) {
    return vi_and(vi_srl(v, shift), vi_set(mask));
}

enum { NIBBLES = 0x0f0f0f0f, PAIRS = 0x03030303, BITS = 0x01010101 };

XINLINE void put_d(lanes at, size_t run, vf d) {
    vf_store(at.d + run * RILL_CPU_TILE, d);
}
XINLINE void put_m(lanes at, size_t run, vf m) {
    vf_store(at.m + run * RILL_CPU_TILE, m);
}

// Byte i of each word, without and with its sign.
XINLINE vf byte_number(vi v, int i) {
    return vi_float(vi_and(vi_srl(v, 8 * i), vi_set(255)));
}
XINLINE vf signed_number(vi v, int i) {
    return vi_float(vi_sra(vi_sll(v, 24 - 8 * i), 24));
}

// ---- Blocks of 32: words of scales, of fifth bits where there are, and of nibbles

typedef enum levels_kind { LINEAR, IQ4, FP4 } levels_kind;

XINLINE vi level_of(vi nibbles, levels_kind kind) {
    // ggml's kvalues_iq4nl + 128, and twice the floats of 4 bits + 16.
    static const uint8_t tables[2][16] = {
        {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241},
        {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4}};
    return kind == LINEAR ? nibbles : vi_look_up(tables[kind - 1], nibbles);
}

// 32 columns from c on of nibbles, whose words begin at `from`; `fifth`: their fifth bits.
XINLINE void put_nibbles(lanes at, size_t c, size_t from, bool five, vi fifth, levels_kind kind) {
    UNFOLD for (int j = 0; j < 4; j++) {
        vi both = word(at, from + (size_t)j);
        vi low = bits(both, 0, NIBBLES), high = bits(both, 4, NIBBLES);
        if (five) {
            low = vi_or(low, vi_sll(bits(fifth, j, BITS), 4));
            high = vi_or(high, vi_sll(bits(fifth, j + 4, BITS), 4));
        }
        put(at, c + 4 * (size_t)j, level_of(low, kind));
        put(at, c + 16 + 4 * (size_t)j, level_of(high, kind));
    }
}

// 2^(e - 128), NaN for 255, by its bits; below 2^-126 they are those of a denormal.
XINLINE vf two_to(vi e) {
    vi less = vi_sub(e, vi_set(1));
    vi least = vi_add(vi_set(0x400000), vi_sll(vi_sra(less, 31), 21));
    vi number = vi_max(vi_sll(less, 23), least);
    vi nan = vi_sub(vi_set(0), vi_srl(vi_add(e, vi_set(1)), 8));
    return vi_as_float(vi_or(number, nan));
}

// n blocks of nibbles: with halves for scales, two in a word, or (`minima`) a scale and a minimum
// of the other sign, or (FP4) bytes.
XINLINE void unpack_nibbles(lanes at, size_t n, bool minima, bool five, levels_kind kind) {
    size_t heads = minima ? n : kind == FP4 ? (n + 3) / 4 : (n + 1) / 2;
    size_t from = heads + (five ? n : 0);
    UNFOLD for (size_t b = 0; b < n; b++) {
        if (kind == FP4) {
            put_d(at, b, two_to(bits(word(at, b / 4), 8 * (int)(b % 4), 255)));
        } else if (minima) {
            put_d(at, b, vi_half(word(at, b)));
            put_m(at, b, vf_sub(vf_set(-0.0f), vi_half(vi_srl(word(at, b), 16))));
        } else {
            put_d(at, b, vi_half(vi_srl(word(at, b / 2), 16 * (int)(b % 2))));
        }
        put_nibbles(at, 32 * b, from + 4 * b, five, five ? word(at, heads + b) : vi_set(0), kind);
    }
}

XINLINE void unpack_bytes(lanes at, size_t n) {
    UNFOLD for (size_t b = 0; b < n; b++) {
        put_d(at, b, vi_half(vi_srl(word(at, b / 2), 16 * (int)(b % 2))));
        UNFOLD for (size_t j = 0; j < 8; j++) {
            vi q = word(at, (n + 1) / 2 + 8 * b + j);
            put(at, 32 * b + 4 * j, vi_xor(q, vi_set((int32_t)0x80808080)));
        }
    }
}

// ---- Blocks of 256

// Eight scales and minima of 6 bits in three words.
XINLINE void scales_k(lanes at) {
    vi w[3] = {word(at, 1), word(at, 2), word(at, 3)};
    vi head = word(at, 0);
    vf d = vi_half(head), m = vi_half(vi_srl(head, 16));
    const int32_t six = 0x3f3f3f3f;
    vi scales[2] = {vi_and(w[0], vi_set(six)),
                    vi_or(bits(w[2], 0, NIBBLES), vi_sll(bits(w[0], 6, PAIRS), 4))};
    vi minima[2] = {vi_and(w[1], vi_set(six)),
                    vi_or(bits(w[2], 4, NIBBLES), vi_sll(bits(w[1], 6, PAIRS), 4))};
    UNFOLD for (int j = 0; j < 8; j++) {
        put_d(at, (size_t)j, vf_mul(d, byte_number(scales[j / 4], j % 4)));
        put_m(at, (size_t)j, vf_mul(m, byte_number(minima[j / 4], j % 4)));
    }
}

// q4_K, and q5_K with its fifth bits: nibbles of 64 columns in 8 words.
XINLINE void unpack_k(lanes at, bool five) {
    scales_k(at);
    UNFOLD for (int i = 0; i < 4; i++) {
        UNFOLD for (int j = 0; j < 8; j++) {
            vi fifth = five ? word(at, 4 + (size_t)j) : vi_set(0);
            vi both = word(at, (five ? 12u : 4u) + 8 * (size_t)i + (size_t)j);
            vi low = bits(both, 0, NIBBLES), high = bits(both, 4, NIBBLES);
            if (five) {
                low = vi_or(low, vi_sll(bits(fifth, 2 * i, BITS), 4));
                high = vi_or(high, vi_sll(bits(fifth, 2 * i + 1, BITS), 4));
            }
            put(at, 64 * (size_t)i + 4 * (size_t)j, low);
            put(at, 64 * (size_t)i + 32 + 4 * (size_t)j, high);
        }
    }
}

XINLINE void unpack_2(lanes at) {
    vi head = word(at, 20);
    vf d = vi_half(head), m = vi_half(vi_srl(head, 16));
    UNFOLD for (size_t w = 0; w < 4; w++) {
        vi both = word(at, w);
        UNFOLD for (int r = 0; r < 4; r++) {
            put_d(at, 4 * w + (size_t)r, vf_mul(d, byte_number(bits(both, 0, NIBBLES), r)));
            put_m(at, 4 * w + (size_t)r, vf_mul(m, byte_number(bits(both, 4, NIBBLES), r)));
        }
    }
    UNFOLD for (size_t j = 0; j < 16; j++) {
        vi four = word(at, 4 + j);
        UNFOLD for (int i = 0; i < 4; i++)
            put(at, 128 * (j / 8) + 32 * (size_t)i + 4 * (j % 8), bits(four, 2 * i, PAIRS));
    }
}

XINLINE void unpack_3(lanes at) {
    vi w[3] = {word(at, 24), word(at, 25), word(at, 26)};
    vf d = vi_half(word(at, 27));
    UNFOLD for (int r = 0; r < 16; r++) {
        int i = r / 4;
        vi six = vi_or(bits(w[i % 2], 4 * (i / 2), NIBBLES), vi_sll(bits(w[2], 2 * i, PAIRS), 4));
        put_d(at, (size_t)r, vf_mul(d, vf_sub(byte_number(six, r % 4), vf_set(32))));
    }
    UNFOLD for (size_t j = 0; j < 8; j++) {
        vi low[2] = {word(at, 8 + j), word(at, 16 + j)}, third = word(at, j);
        UNFOLD for (int b = 0; b < 8; b++)
            put(at, 32 * (size_t)b + 4 * j,
                vi_or(bits(low[b / 4], 2 * (b % 4), PAIRS), vi_sll(bits(third, b, BITS), 2)));
    }
}

XINLINE void unpack_6(lanes at) {
    vf d = vi_half(word(at, 52));
    UNFOLD for (int r = 0; r < 16; r++)
        put_d(at, (size_t)r, vf_mul(d, signed_number(word(at, 48 + (size_t)r / 4), r % 4)));
    UNFOLD for (size_t half = 0; half < 2; half++) UNFOLD for (size_t j = 0; j < 8; j++) {
        vi low[2] = {word(at, 16 * half + j), word(at, 16 * half + 8 + j)};
        vi top = word(at, 32 + 8 * half + j);
        UNFOLD for (int i = 0; i < 4; i++)
            put(at, 128 * half + 32 * (size_t)i + 4 * j,
                vi_or(bits(low[i & 1], 4 * (i >> 1), NIBBLES), vi_sll(bits(top, 2 * i, PAIRS), 4)));
    }
}

XINLINE void unpack_xs(lanes at) {
    vi head = word(at, 0), low = word(at, 1);
    vf d = vi_half(head);
    UNFOLD for (int b = 0; b < 8; b++) {
        vi six = vi_or(bits(low, 4 * b, 15), vi_sll(bits(head, 16 + 2 * b, 3), 4));
        put_d(at, (size_t)b, vf_mul(d, vf_sub(vi_float(six), vf_set(32))));
        put_nibbles(at, 32 * (size_t)b, 2 + 4 * (size_t)b, false, vi_set(0), IQ4);
    }
}

// ---- By type

#define UNPACK(name, ...)                                                                          \
    XINLINE void unpack_##name(lanes at, size_t k) {                                               \
        (void)k;                                                                                   \
        __VA_ARGS__;                                                                               \
    }
UNPACK(q4_0, unpack_nibbles(at, k / 32, false, false, LINEAR))
UNPACK(q4_1, unpack_nibbles(at, k / 32, true, false, LINEAR))
UNPACK(q5_0, unpack_nibbles(at, k / 32, false, true, LINEAR))
UNPACK(q5_1, unpack_nibbles(at, k / 32, true, true, LINEAR))
UNPACK(iq4_nl, unpack_nibbles(at, k / 32, false, false, IQ4))
UNPACK(mxfp4, unpack_nibbles(at, k / 32, false, false, FP4))
UNPACK(q8_0, unpack_bytes(at, k / 32))
UNPACK(q2_k, unpack_2(at))
UNPACK(q3_k, unpack_3(at))
UNPACK(q4_k, unpack_k(at, false))
UNPACK(q5_k, unpack_k(at, true))
UNPACK(q6_k, unpack_6(at))
UNPACK(iq4_xs, unpack_xs(at))
