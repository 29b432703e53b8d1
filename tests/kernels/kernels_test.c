// SPDX-License-Identifier: MIT
// Every kernel of every tier against the reference, on the same inputs.
//
// A row of `cases` is an operation: how it runs, at which sizes, and how far a tier may be off,
// which is `relative` times (the result + the case's own scale, the bound of Cauchy and Schwarz for
// sums of products). Columns are the processor's tiers; a kernel that a higher tier shares with a
// lower one runs once; a tier that the processor lacks is skipped. Usage: kernels_test [SEED]
// [--repeat N] [--bench].
#include "attend_cases.h"
#include "whole_runs.h"

#include "base/clock.h"
#include "base/cpu_flags.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct kernel_case {
    const char *name;
    size_t slot;     // offset of the pointer in rill__cpu_kernels
    rill_type type;  // of the weights, or f32
    size_t unit;     // sizes are multiples of it
    double relative;
    double absolute;
    unsigned fills;  // bits of the legal ones
    // Runs into out, returns the floats it wrote.
    size_t (*run)(const rill__cpu_kernels *k, operands *in, float *out);
} kernel_case;

static size_t run_decode(const rill__cpu_kernels *k, operands *in, float *out) {
    k->decode[in->type](in->bytes, out, in->n);
    return in->n;
}

static rill__tile tile_of(const operands *in, float *out) {
    const rill__type_traits *t = rill__type_traits_get(in->type);
    return (rill__tile){.w = in->bytes,
                        .w_stride = in->n / t->block * t->block_bytes,
                        .n_out = in->n_outs,
                        .x = (const uint8_t *)in->x,
                        .x_stride = in->n * sizeof(float),
                        .n_rows = in->n_rows,
                        .k = in->n,
                        .out = out,
                        .out_stride = in->n_outs};
}

static float decoded[MAX_FLOATS];  // [OUTS rows]: where a table has no kernel for a type, decoding
                                   // comes first

static void decode_all(const rill__cpu_kernels *k, const operands *in, size_t rows) {
    k->decode[in->type](in->bytes, decoded, rows * in->n);
}

static size_t run_product(const rill__cpu_kernels *k, operands *in, float *out) {
    rill__tile tile = tile_of(in, out);
    rill_type type = in->type;
    if (!k->product[type]) {
        decode_all(k, in, in->n_outs);
        tile.w = (const uint8_t *)decoded;
        tile.w_stride = in->n * sizeof(float);
        type = RILL_TYPE_F32;
    }
    k->product[type](&tile);
    if (!in->timing)
        in->scale = largest_norm(in->x, in->n_rows, in->n) * largest_norm(in->y, in->n_outs, in->n);
    return in->n_rows * in->n_outs;
}

// Weights of bfloat16 by tiles; without them as floats.
static size_t run_product_tiles(const rill__cpu_kernels *k, operands *in, float *out) {
    static _Alignas(64) uint8_t w[RILL_TILE_OUTS * 2 * K_MOST];
    static _Alignas(64) uint16_t parts[2][ROWS * K_MOST], row[2][K_MOST];
    static _Alignas(64) float sums[2 * RILL_TILE_OUTS * RILL_TILE_ROWS];
    if (!k->product_tiles) return run_product(k, in, out);
    memset(w, 0, sizeof w);
    memcpy(w, in->bytes, in->n_outs * in->n * 2);
    for (size_t r = 0; r < in->n_rows; r++) {
        size_t group = r / RILL_TILE_ROWS * RILL_TILE_ROWS, left = in->n_rows - group;
        size_t lanes = left < RILL_TILE_ROWS ? left : RILL_TILE_ROWS;
        k->split_bf16(in->x + r * in->n, in->n, row[0], row[1]);
        for (size_t part = 0; part < 2; part++)
            for (size_t i = 0; i < in->n; i++)
                parts[part][group * in->n + (i / 2 * lanes + r - group) * 2 + i % 2] = row[part][i];
    }
    const rill__tiles t = {.w = w,
                           .w_stride = 2 * in->n,
                           .k = in->n,
                           .high = parts[0],
                           .low = parts[1],
                           .n_rows = in->n_rows,
                           .sums = sums};
    k->product_tiles(&t);
    for (size_t r = 0; r < in->n_rows; r++)
        for (size_t o = 0; o < in->n_outs; o++)
            out[r * in->n_outs + o] =
                sums[(r / RILL_TILE_ROWS * RILL_TILE_OUTS + o) * RILL_TILE_ROWS +
                     r % RILL_TILE_ROWS];
    return in->n_rows * in->n_outs;
}

static size_t run_exp_sum(const rill__cpu_kernels *k, operands *in, float *out) {
    float greatest = -INFINITY;
    for (size_t i = 0; i < in->n; i++) {
        out[i] = in->x[i] * 20;
        greatest = fmaxf(greatest, out[i]);
    }
    if (in->n > 2) out[1] = -INFINITY;
    double sum = k->exp_sum(out, in->n, greatest);
    out[in->n] = (float)sum;
    return in->n + 1;
}

static size_t run_silu(const rill__cpu_kernels *k, operands *in, float *out) {
    memcpy(out, in->x, in->n * sizeof *out);
    k->silu(out, in->n % 2 ? in->y : NULL, out, in->n);  // in place is legal
    return in->n;
}

static size_t run_gelu(const rill__cpu_kernels *k, operands *in, float *out) {
    k->gelu(in->x, in->n % 2 ? in->y : NULL, out, in->n);
    return in->n;
}

static size_t run_gelu_tanh(const rill__cpu_kernels *k, operands *in, float *out) {
    k->gelu_tanh(in->x, in->n % 2 ? in->y : NULL, out, in->n);
    return in->n;
}

static size_t run_clamped_swiglu(const rill__cpu_kernels *k, operands *in, float *out) {
    memcpy(out, in->x, in->n * sizeof *out);
    k->clamped_swiglu(out, in->y, out, in->n, 0.5f);  // in place is legal, and the limit binds
    return in->n;
}

static size_t run_rms_norm(const rill__cpu_kernels *k, operands *in, float *out) {
    memcpy(out, in->x, in->n * sizeof *out);
    k->rms_norm(out, in->y, 1e-5f, out, in->n);
    return in->n;
}

#define SLOT(member) offsetof(rill__cpu_kernels, member)
#define ALL          ((1u << N_FILLS) - 1)
#define FINITE       (1u << NORMAL | 1u << CONSTANT | 1u << DENORMAL | 1u << ZERO)

// Whole numbers: every tier the same bits.
#define WHOLE_CASE(name, member, TYPE, unit, run)                                                  \
    { name, SLOT(member), RILL_TYPE_##TYPE, unit, 0, 0, FINITE | 1u << LARGE | 1u << NANS, run }
#define WHOLE(name, TYPE, unit)                                                                    \
    {"expand " name, SLOT(expand[RILL_TYPE_##TYPE]), RILL_TYPE_##TYPE, unit, 0, 0, FINITE,         \
     run_expand},                                                                                  \
        WHOLE_CASE("whole " name, product_whole, TYPE, unit, run_whole),                           \
        WHOLE_CASE("whole fine " name, product_whole, TYPE, unit, run_whole_fine),                 \
        WHOLE_CASE("row " name, product_row[RILL_TYPE_##TYPE], TYPE, unit, run_row),               \
        WHOLE_CASE("row fine " name, product_row[RILL_TYPE_##TYPE], TYPE, unit, run_row_fine)

// Decoding is exact. Sums of floats: k additions, each within 2^-24, over lanes. Exponentials: 2
// ulp, and what underflows is zero.
static const kernel_case cases[] = {
    {"decode f16", SLOT(decode[RILL_TYPE_F16]), RILL_TYPE_F16, 1, 0, 0, FINITE | 1u << SPECIAL,
     run_decode},
    {"decode bf16", SLOT(decode[RILL_TYPE_BF16]), RILL_TYPE_BF16, 1, 0, 0, FINITE | 1u << SPECIAL,
     run_decode},
    {"decode q8_0", SLOT(decode[RILL_TYPE_Q8_0]), RILL_TYPE_Q8_0, 32, 0, 0, FINITE, run_decode},
    {"decode q4_0", SLOT(decode[RILL_TYPE_Q4_0]), RILL_TYPE_Q4_0, 32, 0, 0, FINITE, run_decode},
    {"product f32", SLOT(product[RILL_TYPE_F32]), RILL_TYPE_F32, 1, 2e-6, 1e-36,
     FINITE | 1u << LARGE, run_product},
    {"product f16", SLOT(product[RILL_TYPE_F16]), RILL_TYPE_F16, 1, 2e-6, 1e-36, FINITE,
     run_product},
    {"product bf16", SLOT(product[RILL_TYPE_BF16]), RILL_TYPE_BF16, 1, 2e-6, 1e-36,
     FINITE | 1u << LARGE, run_product},
    WHOLE("q8_0", Q8_0, 32),
    WHOLE("q4_0", Q4_0, 32),
    WHOLE("q4_1", Q4_1, 32),
    WHOLE("q5_0", Q5_0, 32),
    WHOLE("q5_1", Q5_1, 32),
    WHOLE("q2_K", Q2_K, 256),
    WHOLE("q3_K", Q3_K, 256),
    WHOLE("q4_K", Q4_K, 256),
    WHOLE("q5_K", Q5_K, 256),
    WHOLE("q6_K", Q6_K, 256),
    WHOLE("iq4_nl", IQ4_NL, 32),
    WHOLE("iq4_xs", IQ4_XS, 256),
    WHOLE("mxfp4", MXFP4, 32),
    // Activations have 16 bits in two parts.
    {"tiles bf16", SLOT(product_tiles), RILL_TYPE_BF16, 32, 1e-5, 1e-36, FINITE | 1u << LARGE,
     run_product_tiles},
    {"quantize", SLOT(quantize_whole), RILL_TYPE_F32, 32, 0, 0,
     FINITE | 1u << LARGE | 1u << SPECIAL, run_quantize},
    {"quantize fine", SLOT(quantize_whole), RILL_TYPE_F32, 32, 0, 0,
     FINITE | 1u << LARGE | 1u << SPECIAL, run_quantize_fine},
    {"encode f16", SLOT(encode[RILL_TYPE_F16]), RILL_TYPE_F16, 1, 0, 0, ALL, run_encode},
    {"encode bf16", SLOT(encode[RILL_TYPE_BF16]), RILL_TYPE_BF16, 1, 0, 0, ALL, run_encode},
    {"encode q8_0", SLOT(encode[RILL_TYPE_Q8_0]), RILL_TYPE_Q8_0, 32, 0, 0, ALL, run_encode},
    {"encode q4_0", SLOT(encode[RILL_TYPE_Q4_0]), RILL_TYPE_Q4_0, 32, 0, 0, ALL, run_encode},
    // Four sums, of up to 1024 columns one after another.
    {"score f32", SLOT(pack_keys), RILL_TYPE_F32, 1, 2e-5, 1e-36, FINITE | 1u << LARGE, run_score},
    {"score f16", SLOT(pack_keys), RILL_TYPE_F16, 1, 2e-5, 1e-36, FINITE, run_score},
    {"score bf16", SLOT(pack_keys), RILL_TYPE_BF16, 1, 2e-5, 1e-36, FINITE | 1u << LARGE,
     run_score},
    {"score q8_0", SLOT(pack_keys), RILL_TYPE_Q8_0, 32, 2e-5, 1e-36, FINITE, run_score},
    {"score q4_0", SLOT(pack_keys), RILL_TYPE_Q4_0, 32, 2e-5, 1e-36, FINITE, run_score},
    {"soften", SLOT(soften), RILL_TYPE_F32, 1, 6e-6, 2e-38, FINITE | 1u << NANS, run_soften},
    {"mix", SLOT(mix), RILL_TYPE_F32, 1, 2e-6, 1e-36, FINITE, run_mix},
    {"fold", SLOT(fold), RILL_TYPE_F32, 1, 1e-6, 1e-36, FINITE, run_fold},
    {"exp_sum", SLOT(exp_sum), RILL_TYPE_F32, 1, 6e-6, 2e-38, FINITE, run_exp_sum},
    {"silu", SLOT(silu), RILL_TYPE_F32, 1, 1e-6, 1e-31, FINITE | 1u << LARGE | 1u << NANS,
     run_silu},
    // |x| times the 1.5e-7 to which erf is known.
    {"gelu", SLOT(gelu), RILL_TYPE_F32, 1, 1e-6, 1e-6, FINITE | 1u << NANS, run_gelu},
    {"gelu_tanh", SLOT(gelu_tanh), RILL_TYPE_F32, 1, 2e-5, 1e-34, FINITE | 1u << NANS,
     run_gelu_tanh},
    // The exponent, up to 6, is rounded twice.
    {"clamped_swiglu", SLOT(clamped_swiglu), RILL_TYPE_F32, 1, 4e-6, 1e-31,
     FINITE | 1u << LARGE | 1u << NANS, run_clamped_swiglu},
    {"rms_norm", SLOT(rms_norm), RILL_TYPE_F32, 1, 2e-6, 1e-36, FINITE | 1u << LARGE, run_rms_norm},
};

enum { N_CASES = sizeof cases / sizeof *cases };

static const size_t sizes[] = {1,  2,  3,  5,  7,   8,   9,   15,  16,  17,  31,   32,  33,
                               63, 64, 80, 96, 100, 127, 128, 130, 256, 257, 2048, 4096};

static bool same(float a, float b, const kernel_case *c, double scale) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs((double)a - b) <= c->absolute + c->relative * (fabs((double)b) + scale);
}

enum { GUARD = 32 };

// Canaries on both sides of the output.
static float *guarded(float *memory) {
    for (size_t i = 0; i < GUARD; i++) memory[i] = 12345.0f;
    for (size_t i = GUARD; i < MAX_FLOATS + 2 * GUARD; i++) memory[i] = 54321.0f;
    return memory + GUARD;
}

static bool guards_intact(const float *out, size_t n) {
    for (size_t i = 1; i <= GUARD; i++)
        if (out[-(ptrdiff_t)i] != 12345.0f || out[n + i - 1] != 54321.0f) return false;
    return true;
}

typedef struct arena {
    float *x, *y, *expected, *got;
    uint8_t *bytes;
} arena;

// Sized for the largest case: weights and rows of 4096 columns.
static float x_memory[MAX_FLOATS], y_memory[MAX_FLOATS];
static float expected_memory[MAX_FLOATS + 2 * GUARD], got_memory[MAX_FLOATS + 2 * GUARD];
static uint8_t bytes_memory[MAX_FLOATS * sizeof(float)];

static void prepare(const kernel_case *c, arena *a, operands *in, fill kind, size_t n) {
    *in = (operands){.x = a->x + 1, .y = a->y + 3, .bytes = a->bytes + 1, .n = n, .type = c->type};
    in->n_rows = 1 + random_bits() % ROWS;
    in->n_outs = 2 + random_bits() % (OUTS - 1);
    size_t rows = ROWS > OUTS ? ROWS : OUTS;
    size_t count =
        rows * n < ROWS * OUTS ? ROWS * OUTS : rows * n;  // at least the weights of `mix`
    for (size_t i = 0; i < count; i++) {
        in->x[i] = filled(kind);
        in->y[i] = filled(kind == LARGE ? NORMAL : kind);
    }
    encode(in, OUTS);
}

static int check(const kernel_case *c, const char *tier, const rill__cpu_kernels *k, arena *a,
                 fill kind, size_t n, uint64_t seed) {
    static rill__cpu_kernels reference;
    rill__cpu_kernels_init(&reference, 0, false);
    operands in;
    prepare(c, a, &in, kind, n);
    float *expected = guarded(a->expected), *got = guarded(a->got);
    size_t count = c->run(&reference, &in, expected);
    c->run(k, &in, got);
    if (!guards_intact(got, count)) {
        printf("%s %s: n %zu, %s, seed %" PRIu64 ": wrote outside its output\n", c->name, tier, n,
               fill_names[kind], seed);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        if (same(got[i], expected[i], c, in.scale)) continue;
        printf("%s %s: n %zu, rows %zu, outs %zu, %s, seed %" PRIu64
               ": at %zu expected %.9g, got %.9g\n",
               c->name, tier, n, in.n_rows, in.n_outs, fill_names[kind], seed, i, expected[i],
               got[i]);
        return 1;
    }
    return 0;
}

// A product's element is the same bits whatever rows it is computed with.
static int check_invariance(const kernel_case *c, const char *tier, const rill__cpu_kernels *k,
                            arena *a, size_t n, uint64_t seed) {
    operands in;
    prepare(c, a, &in, NORMAL, n);
    in.n_rows = ROWS;
    in.n_outs = OUTS;
    float *all = guarded(a->expected), *one = guarded(a->got);
    c->run(k, &in, all);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t o = 0; o < OUTS; o++) {
            rill__tile tile = tile_of(&in, one);
            tile.w += o * tile.w_stride;
            tile.x += r * tile.x_stride;
            tile.n_rows = tile.n_out = 1;
            k->product[c->type](&tile);
            if (memcmp(&one[0], &all[r * OUTS + o], sizeof *one) != 0) {
                printf("%s %s: n %zu, seed %" PRIu64 ": row %zu, out %zu alone is %.9g, among "
                       "others %.9g\n",
                       c->name, tier, n, seed, r, o, one[0], all[r * OUTS + o]);
                return 1;
            }
        }
    }
    return 0;
}

static double seconds_of(const kernel_case *c, const rill__cpu_kernels *k, operands *in,
                         float *out) {
    double best = 1e9;
    for (int i = 0; i < 15; i++) {
        double start = rill__seconds();
        for (int j = 0; j < 10; j++) c->run(k, in, out);
        double took = (rill__seconds() - start) / 10;
        best = took < best ? took : best;
    }
    return best;
}

static void bench(const kernel_case *c, const char *tier, const rill__cpu_kernels *k, arena *a) {
    rill__cpu_kernels reference;
    rill__cpu_kernels_init(&reference, 0, false);
    operands in;
    prepare(c, a, &in, NORMAL, 2048);
    in.n_rows = ROWS;
    in.n_outs = OUTS;
    in.timing = true;
    double before = seconds_of(c, &reference, &in, guarded(a->expected));
    double after = seconds_of(c, k, &in, guarded(a->got));
    printf("%-14s %-12s %8.2f us  %6.1f times the reference\n", c->name, tier, after * 1e6,
           before / after);
}

static const void *slot_of(const rill__cpu_kernels *k, const kernel_case *c) {
    const void *p;
    memcpy(&p, (const char *)k + c->slot, sizeof p);
    return p;
}

static int run_tier(const char *tier, const rill__cpu_kernels *k, const rill__cpu_kernels *below,
                    arena *a, uint64_t seed, bool benching) {
    int failed = 0, tested = 0;
    for (size_t i = 0; i < N_CASES; i++) {
        const kernel_case *c = &cases[i];
        bool invariant = c->run == run_product;
        if (!slot_of(k, c) || slot_of(k, c) == slot_of(below, c)) continue;
        tested++;
        if (benching) {
            bench(c, tier, k, a);
            continue;
        }
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t n = (sizes[s] + c->unit - 1) / c->unit * c->unit;
            for (int kind = 0; kind < N_FILLS; kind++)
                if (c->fills >> kind & 1) failed += check(c, tier, k, a, (fill)kind, n, seed);
            if (invariant) failed += check_invariance(c, tier, k, a, n, seed);
        }
    }
    printf("%s: %d kernels, %d failures\n", tier, tested, failed);
    return failed;
}

static const struct {
    const char *name;
    unsigned flags;
} tiers[] = {
#if defined(__aarch64__)
    {"neon", RILL_CPU_NEON},
    {"neondot", RILL_CPU_NEON | RILL_CPU_DOTPROD},
    {"neoni8mm", RILL_CPU_NEON | RILL_CPU_DOTPROD | RILL_CPU_I8MM},
#else
    {"avx2", RILL_CPU_AVX2},
    {"avxvnni", RILL_CPU_AVX2 | RILL_CPU_AVX_VNNI},
    {"avx512", RILL_CPU_AVX2 | RILL_CPU_AVX512},
    {"avx512vnni", RILL_CPU_AVX2 | RILL_CPU_AVX512 | RILL_CPU_AVX512_VNNI},
    {"avx512bf16", RILL_CPU_AVX2 | RILL_CPU_AVX512 | RILL_CPU_AVX512_VNNI | RILL_CPU_AVX512_BF16},
    {"amx",
     RILL_CPU_AVX2 | RILL_CPU_AVX512 | RILL_CPU_AVX512_VNNI | RILL_CPU_AVX512_BF16 | RILL_CPU_AMX},
#endif
};

enum { N_TIERS = sizeof tiers / sizeof *tiers };

// What the command line asks for.
static uint64_t first_seed;
static int repeats = 1;
static bool benching;

static void tier_equals_the_reference(void **state) {
    size_t tier = (size_t)(uintptr_t)*state;
    if ((rill__cpu_flags() & tiers[tier].flags) != tiers[tier].flags) skip();
    rill__cpu_kernels below, k;
    rill__cpu_kernels_init(&below, tier ? tiers[tier - 1].flags : 0, false);
    rill__cpu_kernels_init(&k, tiers[tier].flags, false);
    arena a = {x_memory, y_memory, expected_memory, got_memory, bytes_memory};
    int failed = 0;
    for (int i = 0; i < repeats; i++) {
        random_state = first_seed + (uint64_t)i;
        failed += run_tier(tiers[tier].name, &k, &below, &a, random_state, benching);
    }
    assert_int_equal(failed, 0);
}

int main(int argc, char **argv) {
    first_seed = (uint64_t)(rill__seconds() * 1e6);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            benching = true;
        else if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc)
            repeats = (int)strtol(argv[++i], NULL, 10);
        else
            first_seed = strtoull(argv[i], NULL, 10);
    }
    char model[64];
    rill__cpu_model(model, sizeof model);
    printf("%s, seed %" PRIu64 "\n", model, first_seed);
    struct CMUnitTest tests[N_TIERS];
    for (size_t i = 0; i < N_TIERS; i++)
        tests[i] = (struct CMUnitTest){.name = tiers[i].name,
                                       .test_func = tier_equals_the_reference,
                                       .initial_state = (void *)(uintptr_t)i};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
