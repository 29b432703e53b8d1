// SPDX-License-Identifier: MIT
// Frequencies and phase steps of every kind of RoPE, against values that a script computed with 60
// decimal digits from the formulas in transformers' modeling_rope_utils.py.
#include "model/description.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

enum { MAX_PAIRS = 16 };

static double short_factors[] = {1, 1.25, 1.5, 2}, long_factors[] = {1.5, 2, 3.5, 8};

static const struct {
    const char *name;
    rill__rope_description rope;
    uint32_t trained;
    uint64_t capacity;
    double frequencies[MAX_PAIRS];
    double magnitude;
} cases[] = {
    {"default", {.theta = 10000, .n_dims = 8}, 4096, 4096, {1, 0.1, 0.01, 0.001}, 1},
    {"default, six dimensions",
     {.theta = 500000, .n_dims = 6},
     4096,
     1 << 20,
     {1, 0.012599210498948731, 0.00015874010519681994},
     1},
    {"linear",
     {.theta = 10000, .n_dims = 8, .scaling = RILL_ROPE_LINEAR, .factor = 4},
     4096,
     4096,
     {0.25, 0.025, 0.0025, 0.00025},
     1},
    {"dynamic within the trained context",
     {.theta = 10000, .n_dims = 8, .scaling = RILL_ROPE_NTK, .factor = 2},
     128,
     64,
     {1, 0.1, 0.01, 0.001},
     1},
    {"dynamic at four times the trained context",
     {.theta = 10000, .n_dims = 8, .scaling = RILL_ROPE_NTK, .factor = 2},
     128,
     512,
     {1, 0.052275795857471025, 0.0027327588325319844, 0.00014285714285714287},
     1},
    {"llama3",
     {.theta = 500000,
      .n_dims = 32,
      .scaling = RILL_ROPE_LLAMA3,
      .factor = 8,
      .low_freq_factor = 1,
      .high_freq_factor = 4,
      .original_context = 8192},
     131072,
     8192,
     {1, 0.44036660267178046, 0.19392274474868576, 0.085397100285765609, 0.037606030930863933,
      0.016560440080994446, 0.0072926647372171093, 0.0032114459947525909, 0.00052484616099295468,
      7.7846552739324498e-05, 3.4281021959525912e-05, 1.509621717643313e-05, 6.6478698711812354e-06,
      2.9274998701761677e-06, 1.2891731721515574e-06, 5.6770881007598369e-07},
     1},
    {"yarn",
     {.theta = 10000,
      .n_dims = 16,
      .scaling = RILL_ROPE_YARN,
      .factor = 4,
      .original_context = 4096,
      .beta_fast = 32,
      .beta_slow = 1,
      .truncate = true},
     16384,
     1024,
     {1, 0.31622776601683794, 0.1, 0.025693505988868083, 0.00625, 0.001383496476323666, 0.00025,
      7.9056941504209485e-05},
     1.1386294361119891},
    {"yarn, the ramp's ends not rounded",
     {.theta = 10000,
      .n_dims = 16,
      .scaling = RILL_ROPE_YARN,
      .factor = 4,
      .original_context = 4096,
      .beta_fast = 32,
      .beta_slow = 1},
     16384,
     1024,
     {1, 0.31622776601683794, 0.1, 0.028613608811988895, 0.0065569715211294347,
      0.001285632030726688, 0.00025, 7.9056941504209485e-05},
     1.1386294361119891},
    {"yarn with a ramp and a magnitude of its own",
     {.theta = 10000,
      .n_dims = 16,
      .scaling = RILL_ROPE_YARN,
      .factor = 4,
      .original_context = 4096,
      .beta_fast = 16,
      .beta_slow = 2,
      .truncate = true,
      .attention_factor = 1.25},
     16384,
     1024,
     {1, 0.31622776601683794, 0.1, 0.031622776601683791, 0.0075, 0.0015811388300841897, 0.00025,
      7.9056941504209485e-05},
     1.25},
    {"yarn with two mscales",
     {.theta = 10000,
      .n_dims = 16,
      .scaling = RILL_ROPE_YARN,
      .factor = 40,
      .original_context = 4096,
      .beta_fast = 32,
      .beta_slow = 1,
      .truncate = true,
      .mscale = 1,
      .mscale_all_dim = 0.5},
     163840,
     1024,
     {1, 0.31622776601683794, 0.1, 0.023914724805023369, 0.005125, 0.00084986212117025195, 2.5e-05,
      7.9056941504209488e-06},
     1.1557219901962608},
    {"longrope within the original context",
     {.theta = 10000,
      .n_dims = 8,
      .scaling = RILL_ROPE_LONGROPE,
      .factor = 32,
      .original_context = 4096,
      .short_factors = short_factors,
      .long_factors = long_factors},
     131072,
     4096,
     {1, 0.08, 0.0066666666666666671, 0.0005},
     1.1902380714238083},
    {"longrope past the original context",
     {.theta = 10000,
      .n_dims = 8,
      .scaling = RILL_ROPE_LONGROPE,
      .factor = 32,
      .original_context = 4096,
      .short_factors = short_factors,
      .long_factors = long_factors},
     131072,
     4097,
     {0.66666666666666663, 0.05, 0.0028571428571428571, 0.000125},
     1.1902380714238083},
    {"GGUF's table of factors",
     {.theta = 10000, .n_dims = 8, .scaling = RILL_ROPE_FACTORS, .short_factors = short_factors},
     128,
     1 << 20,
     {1, 0.08, 0.0066666666666666671, 0.0005},
     1},
};

static bool close_to(double a, double b) {
    return fabs(a - b) <= 4e-15 * fabs(b);
}

static void frequencies_are_right(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (uint32_t pair = 0; pair < cases[i].rope.n_dims / 2; pair++) {
            double f =
                rill__rope_frequency(&cases[i].rope, cases[i].trained, cases[i].capacity, pair);
            if (!close_to(f, cases[i].frequencies[pair]))
                fail_msg("%s: pair %u: %.17g; %.17g is right", cases[i].name, pair, f,
                         cases[i].frequencies[pair]);
        }
        double magnitude = rill__rope_magnitude(&cases[i].rope);
        if (!close_to(magnitude, cases[i].magnitude))
            fail_msg("%s: magnitude %.17g; %.17g is right", cases[i].name, magnitude,
                     cases[i].magnitude);
    }
}

// Of plain RoPE of 8 dimensions. Position interpolation divides every pair by the factor; NTK-aware
// scaling pair i by factor^(i / 3), from not at all to wholly. The capacity is no part of either.
static void plain_rope_is_stretched(void **state) {
    (void)state;
    static const double plain[] = {1, 0.1, 0.01, 0.001};
    static const double ntk[] = {1, 0.05, 0.0025, 0.000125};  // factor 8
    for (int is_ntk = 0; is_ntk < 2; is_ntk++) {
        rill__rope_description rope = {.theta = 10000, .n_dims = 8};
        rill__rope_stretch(&rope, is_ntk, 8);
        for (uint32_t i = 0; i < 4; i++) {
            double right = is_ntk ? ntk[i] : plain[i] / 8;
            assert_true(close_to(rill__rope_frequency(&rope, 128, 64, i), right));
            assert_true(close_to(rill__rope_frequency(&rope, 128, 4096, i), right));
        }
        assert_true(rill__rope_magnitude(&rope) == 1);
    }
    // A factor of 1 changes nothing.
    for (int is_ntk = 0; is_ntk < 2; is_ntk++) {
        rill__rope_description rope = {.theta = 10000, .n_dims = 8};
        rill__rope_stretch(&rope, is_ntk, 1);
        for (uint32_t i = 0; i < 4; i++)
            assert_true(close_to(rill__rope_frequency(&rope, 128, 64, i), plain[i]));
    }
    // A single pair is the slowest one.
    for (int is_ntk = 0; is_ntk < 2; is_ntk++) {
        rill__rope_description rope = {.theta = 10000, .n_dims = 2};
        rill__rope_stretch(&rope, is_ntk, 8);
        assert_true(rill__rope_frequency(&rope, 128, 64, 0) == 0.125);
    }
}

// The difference of two phases, in turns, whichever way round is shorter.
static double apart(uint64_t a, uint64_t b) {
    return fabs((double)(int64_t)(a - b)) * 0x1p-64;
}

static void phase_steps_are_turns_times_2_to_the_64(void **state) {
    (void)state;
    static const uint64_t plain[] = {2935890503282001226u, 293589050328200123u, 29358905032820012u,
                                     2935890503282001u};
    // 16 times as fast: the first pair turns more than twice a position, which leaves a fraction.
    static const uint64_t fast[] = {10080759905092916392u, 4697424805251201962u,
                                    469742480525120196u, 46974248052512020u};
    rill__rope_description rope = {.theta = 10000, .n_dims = 8, .scaling = RILL_ROPE_LINEAR};
    uint64_t steps[4];
    float magnitude = 0;
    rope.factor = 1;
    rill__rope_phase_steps(&rope, 128, 128, steps, &magnitude);
    assert_true(magnitude == 1.0f);
    for (int i = 0; i < 4; i++) assert_true(apart(steps[i], plain[i]) < 1e-16);
    rope.factor = 1.0 / 16;
    rill__rope_phase_steps(&rope, 128, 128, steps, &magnitude);
    for (int i = 0; i < 4; i++) assert_true(apart(steps[i], fast[i]) < 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequencies_are_right),
        cmocka_unit_test(plain_rope_is_stretched),
        cmocka_unit_test(phase_steps_are_turns_times_2_to_the_64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
